//! The task that takes alerts to the webhook and the command.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::future::join;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tracing::{info, warn};

use super::Shared;
use super::board::Job;
use super::command::{self, Command};
use super::payload::{self, Payload};
use super::webhook::{self, Attempts, Webhook};
use crate::scope::panic_message;

/// Alerts on their way at once: one whose receiver hangs holds up no other.
const AT_ONCE: usize = 8;

pub(super) struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) webhook: Option<Webhook>,
    pub(super) command: Option<Command>,
}

impl Deliverer {
    /// Runs until its scope is cancelled; what is on its way then is abandoned.
    pub(super) async fn run(self) {
        let mut running = FuturesUnordered::new();
        let scope = &self.shared.scope;
        loop {
            while running.len() < AT_ONCE && !scope.is_cancelled() {
                let Some(job) = self.shared.board().take() else { break };
                running.push(self.deliver(job));
            }
            tokio::select! {
                biased;
                () = scope.cancelled() => break,
                Some(()) = running.next(), if !running.is_empty() => {}
                () = self.shared.raised.notified() => {}
            }
        }
        // Each sees for itself that it is to end.
        while running.next().await.is_some() {}
    }

    async fn deliver(&self, job: Job) {
        let id = payload::id(&self.shared.origin, job.number);
        let payload = Payload::new(&id, &job, &self.shared.origin);
        let json = serde_json::to_string(&payload).unwrap_or_default();
        let number = job.number;
        let posted = async {
            let Some(webhook) = &self.webhook else { return };
            let progress = Progress { shared: &self.shared, number };
            let posting = async {
                tokio::select! {
                    biased;
                    () = self.shared.scope.cancelled() => None,
                    result = webhook.deliver(&json, &progress) => Some(result),
                }
            };
            if let Some(result) = caught(posting).await {
                self.ended(&payload, number, webhook::CHANNEL, result);
            }
        };
        let commanded = async {
            let Some(command) = &self.command else { return };
            self.shared.board().attempt(number, command::CHANNEL);
            let running = command.deliver(&json, &payload, self.shared.scope.cancelled());
            if let Some(result) = caught(running.map(Some)).await {
                self.ended(&payload, number, command::CHANNEL, result);
            }
        };
        join(posted, commanded).await;
        let mut board = self.shared.board();
        board.arrived();
        self.shared.count(&board);
    }

    fn ended(&self, alert: &Payload<'_>, number: u64, channel: &str, result: Result<(), String>) {
        let (id, kind) = (alert.id, alert.kind.as_str());
        match &result {
            Ok(()) => info!(id, kind, channel, "alert delivered"),
            Err(problem) => warn!(id, kind, channel, problem, "alert not delivered"),
        }
        self.shared.board().ended(number, channel, result);
    }
}

/// A panic in one delivery is the end of that one.
async fn caught(
    delivery: impl Future<Output = Option<Result<(), String>>>,
) -> Option<Result<(), String>> {
    let result = AssertUnwindSafe(delivery).catch_unwind().await;
    result.unwrap_or_else(|panic| {
        Some(Err(format!("delivering it panicked: {}", panic_message(panic.as_ref()))))
    })
}

struct Progress<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Attempts for Progress<'_> {
    fn attempt(&self) {
        self.shared.board().attempt(self.number, webhook::CHANNEL);
    }

    fn failed(&self, words: &str) {
        self.shared.board().failed(self.number, webhook::CHANNEL, words);
    }
}
