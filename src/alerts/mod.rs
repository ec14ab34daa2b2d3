//! Tells a person what cannot wait: to the log, a webhook and a command.
//!
//! [`Alerts::raise`] never waits: it logs, and leaves the alert to the deliverer's task, which
//! tries the webhook and the command side by side. What is told when and how often, [`board`]
//! decides, which knows no task and no network. A shutdown gives the deliverer a bounded time at
//! its end and then stops it; what had not arrived by then is named so in the report.

mod board;
mod command;
mod delivery;
mod payload;
mod webhook;

use std::fmt::{Display, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, error};

use self::board::{Board, Raised};
use self::command::Command;
use self::delivery::Deliverer;
pub(crate) use self::payload::Origin;
use self::webhook::Webhook;
use crate::clock::Clock;
use crate::config::AlertsConfig;
use crate::net::Connector;
use crate::report::{Alert, AlertKind, AlertReport};
use crate::scope::Scope;
use crate::types::ExchangeName;

/// Orders or positions that an alert names; the rest it counts.
const NAMED: usize = 30;
/// The most bytes of an alert's words. An alert names what it is about; the report lists all.
const MAX_WORDS: usize = 4000;
/// What stopping may take: what was started has to be killed and waited for.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// Where alerts are raised. Clones are the same.
#[derive(Clone)]
pub(crate) struct Alerts {
    shared: Arc<Shared>,
}

struct Shared {
    board: Mutex<Board>,
    origin: Origin,
    clock: Arc<dyn Clock>,
    /// Wakes the deliverer.
    raised: Notify,
    /// How many alerts are waiting or on their way.
    outstanding: watch::Sender<usize>,
    patience: Duration,
    scope: Scope,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut board = self.board();
        board.stop();
        self.count(&board);
        drop(board);
        self.scope.cancel();
    }

    fn count(&self, board: &Board) {
        self.outstanding.send_replace(board.outstanding());
    }
}

impl Alerts {
    /// Starts the deliverer in `scope`, if there is anything to deliver to. The webhook is reached
    /// through `connector`.
    pub(crate) fn start(
        config: &AlertsConfig,
        connector: Option<Arc<dyn Connector>>,
        origin: Origin,
        clock: Arc<dyn Clock>,
        scope: Scope,
    ) -> Self {
        let webhook = connector.and_then(|connector| Webhook::new(config, connector));
        let command = Command::new(config);
        let mut channels = Vec::new();
        channels.extend(webhook.as_ref().map(|_| webhook::CHANNEL));
        channels.extend(command.as_ref().map(|_| command::CHANNEL));
        let delivers = !channels.is_empty();
        let shared = Arc::new(Shared {
            board: Mutex::new(Board::new(channels, config.repeat_after)),
            origin,
            clock,
            raised: Notify::new(),
            outstanding: watch::channel(0).0,
            patience: config.shutdown_wait,
            scope,
        });
        if delivers {
            let deliverer = Deliverer { shared: Arc::clone(&shared), webhook, command };
            shared.scope.spawn(deliverer.run());
        }
        Self { shared }
    }

    /// Logs an alert, and has it delivered unless the same was raised a short time ago. It returns
    /// at once, whatever hangs.
    pub(crate) fn raise(
        &self,
        kind: AlertKind,
        exchange: Option<ExchangeName>,
        message: impl Into<String>,
    ) {
        let message = message.into();
        self.raise_about(kind, exchange, &message.clone(), message);
    }

    /// The same where the matter is looked at again and again: a repetition is not even logged.
    /// Without `about` the words tell what is the same.
    pub(crate) fn raise_if_new(
        &self,
        kind: AlertKind,
        exchange: Option<ExchangeName>,
        about: Option<&str>,
        message: String,
    ) {
        let words = message.clone();
        let (alert, raised) = self.post(kind, exchange, about.unwrap_or(&words), message);
        if matches!(raised, Raised::New { .. }) {
            log(&alert, raised);
        }
    }

    /// The same, where the words change though the matter does not: alerts of one kind and exchange
    /// `about` the same are the same.
    pub(crate) fn raise_about(
        &self,
        kind: AlertKind,
        exchange: Option<ExchangeName>,
        about: &str,
        message: impl Into<String>,
    ) {
        let (alert, raised) = self.post(kind, exchange, about, message.into());
        log(&alert, raised);
    }

    fn post(
        &self,
        kind: AlertKind,
        exchange: Option<ExchangeName>,
        about: &str,
        message: String,
    ) -> (Alert, Raised) {
        let at = self.shared.clock.now();
        let alert = Alert { kind, at, exchange, message: bounded(message) };
        let mut board = self.shared.board();
        let raised = board.raise(alert.clone(), about, Instant::now());
        self.shared.count(&board);
        drop(board);
        if matches!(raised, Raised::New { .. }) {
            self.shared.raised.notify_one();
        }
        (alert, raised)
    }

    /// Raises an alert for every failure in the tree of a scope.
    pub(crate) fn follow(&self, root: &Scope, exchanges: Vec<ExchangeName>) {
        // The tree keeps its listener for life, and this holds a part of the tree.
        let shared = Arc::downgrade(&self.shared);
        root.on_failure(move |kind, failure| {
            let Some(shared) = shared.upgrade() else { return };
            let named = failure.scope.split('/').nth(1);
            let exchange = exchanges.iter().find(|name| Some(name.as_str()) == named);
            let message = format!("{} failed: {}", failure.scope, failure.reason);
            Self { shared }.raise(kind, exchange.copied(), message);
        });
    }

    /// Whether an alert of one of these kinds was raised, and not only repeated, since then.
    pub(crate) fn raised_since(&self, began: Instant, kinds: &[AlertKind]) -> bool {
        self.shared.board().raised_since(began, kinds)
    }

    /// Ends when nothing is waiting or on its way. Cancel safe.
    pub(crate) async fn settled(&self) {
        let mut outstanding = self.shared.outstanding.subscribe();
        // The sender lives as long as this handle.
        let _ = outstanding.wait_for(|count| *count == 0).await;
    }

    /// How long to wait at the end for what is on its way.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.patience
    }

    /// Waits so long, then ends all deliveries: for a gateway that does not come to be.
    pub(crate) async fn give_up(&self) {
        let _ = timeout(self.patience(), self.settled()).await;
        self.stop().await;
    }

    /// Every alert so far with what became of it, the oldest first.
    pub(crate) fn reports(&self) -> Vec<AlertReport> {
        self.shared.board().reports()
    }

    /// Ends all deliveries; what is not delivered now never will be. Later alerts are logged.
    pub(crate) async fn stop(&self) {
        self.shared.stop();
        if timeout(STOP_LIMIT, self.shared.scope.join()).await.is_err() {
            error!("the delivery of alerts did not end");
        }
    }

    /// Alerts that go nowhere but to the log.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        let clock = Arc::new(crate::clock::SystemClock);
        let scope = Scope::root("gateway").child("alerts", crate::report::Phase::Complete);
        Self::start(&AlertsConfig::default(), None, Origin::default(), clock, scope)
    }
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alerts")
    }
}

fn log(alert: &Alert, raised: Raised) {
    let kind = alert.kind.as_str();
    let exchange = alert.exchange.map(tracing::field::display);
    let Alert { message, .. } = alert;
    match raised {
        Raised::New { number } => {
            error!(target: "exchange_gateway::alert", kind, exchange, number, "{message}");
        }
        Raised::Again { log: Some(unlogged) } => {
            error!(
                target: "exchange_gateway::alert",
                kind, exchange, unlogged, "{message} (not delivered again)"
            );
        }
        Raised::Again { log: None } => {
            debug!(target: "exchange_gateway::alert", kind, exchange, "{message}");
        }
    }
}

/// Counts and names what an alert is about: `2 orders still open: gw1, gw2`.
pub(crate) fn named(
    noun: &str,
    what: &str,
    names: impl ExactSizeIterator<Item: Display>,
) -> String {
    let count = names.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut words = format!("{count} {noun}{plural} {what}:");
    for (at, name) in names.take(NAMED).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(words, "{comma} {name}");
    }
    if count > NAMED {
        let _ = write!(words, " and {} more", count - NAMED);
    }
    words
}

fn bounded(mut words: String) -> String {
    if words.len() > MAX_WORDS {
        let mut end = MAX_WORDS;
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alert_is_about_is_named_up_to_a_number_and_counted_beyond() {
        assert_eq!(named("order", "still open", ["gw1"].iter()), "1 order still open: gw1");
        assert_eq!(named("order", "still open", [1, 2].iter()), "2 orders still open: 1, 2");
        let many: Vec<_> = (1..=NAMED + 5).collect();
        let words = named("order", "still open", many.iter());
        assert!(words.ends_with(", 29, 30 and 5 more"), "{words}");
        let cut = bounded("ü".repeat(MAX_WORDS));
        assert!(cut.len() <= MAX_WORDS + 4 && cut.ends_with("ü…"), "{}", cut.len());
    }
}
