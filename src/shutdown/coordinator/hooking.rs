//! Runs the hooks of a phase around its own work.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{join, join_all};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::super::hooks::{Hook, HookContext, Hooks};
use super::{Coordinator, FORCED_LIMIT, millis};
use crate::report::{HookEnd, HookPriority, HookReport, Phase};
use crate::scope::{Scope, panic_message};

/// A priority that runs before the phase's own work has this part of the phase's time at most.
const EARLY_SHARE: u32 = 4;
/// A hook that is cut ends at once, unless it blocks its thread.
const ABORT_LIMIT: Duration = Duration::from_millis(20);

/// The hooks of the whole gateway, and where they run.
pub(crate) struct Hooking {
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) scope: Scope,
    /// When the shutdown did.
    pub(crate) began: Instant,
}

impl Coordinator {
    /// Runs a phase's work with its hooks around it. `work` begins when the first of them have
    /// ended; it keeps the phase's limit itself.
    pub(super) async fn with_hooks<T>(
        &self,
        phase: Phase,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> T {
        let Some(hooking) = &self.hooking else { return work.await };
        let mut hooks = hooking.hooks.take(phase);
        if hooks.is_empty() {
            return work.await;
        }
        let ends = Instant::now() + limit;
        let mut of =
            |priority| hooks.extract_if(.., |hook| hook.priority == priority).collect::<Vec<_>>();
        let [critical, high, normal, low, cleanup] = HookPriority::ALL.map(&mut of);

        let (early_ended, mut early) = tokio::sync::watch::channel(false);
        let around = async {
            for group in [critical, high] {
                self.side_by_side(group, ends, limit / EARLY_SHARE).await;
            }
            early_ended.send_replace(true);
            self.side_by_side(normal, ends, limit).await;
        };
        let work = async {
            // Cancels wait for nobody, and nothing does once the exit is forced.
            if phase != Phase::CancelPending {
                tokio::select! {
                    biased;
                    _ = early.wait_for(|ended| *ended) => {}
                    () = self.force.cancelled() => {}
                }
            }
            work.await
        };
        let ((), output) = join(around, work).await;
        for group in [low, cleanup] {
            self.side_by_side(group, ends, limit).await;
        }
        output
    }

    async fn side_by_side(&self, group: Vec<Hook>, ends: Instant, share: Duration) {
        join_all(group.into_iter().map(|hook| self.run_hook(hook, ends, share))).await;
    }

    /// Runs one hook for its share at most, and not beyond the end of its phase.
    async fn run_hook(&self, hook: Hook, ends: Instant, share: Duration) {
        let Some(hooking) = &self.hooking else { return };
        let Hook { name, phase, priority, timeout: own_limit, work } = hook;
        let began = Instant::now();
        let budget = own_limit.min(share).min(ends.saturating_duration_since(began));
        let scope = hooking.scope.child(&name, Phase::Complete);
        let mut report = HookReport {
            name,
            phase,
            priority,
            began_ms: millis(began.saturating_duration_since(hooking.began)),
            budget_ms: millis(budget),
            used_ms: 0,
            ended: HookEnd::Done,
            reason: None,
        };
        let late_force = self.force.is_cancelled() && priority != HookPriority::Critical;
        let (ended, reason) = if late_force {
            (HookEnd::Forced, Some("the exit was forced before it began".to_owned()))
        } else if budget.is_zero() {
            (HookEnd::Skipped, Some("its phase had no time left".to_owned()))
        } else {
            let context = HookContext {
                name: report.name.as_str().into(),
                phase,
                trigger: self.trigger.as_str().into(),
                exchanges: self.exchanges.iter().map(|exchange| exchange.name).collect(),
                ends: began + budget,
            };
            let work = AssertUnwindSafe(async move { work(context).await }).catch_unwind();
            let mut task = scope.spawn(work);
            let cut = tokio::select! {
                biased;
                result = &mut task => Err(result),
                () = sleep_until(began + budget) => Ok(false),
                () = self.forced_since(FORCED_LIMIT) => Ok(true),
            };
            let failed = |words: &str| (HookEnd::Failed, Some(words.to_owned()));
            match cut {
                Err(Ok(Some(Ok(Ok(()))))) => (HookEnd::Done, None),
                Err(Ok(Some(Ok(Err(words))))) => failed(&words),
                Err(Ok(Some(Err(panic)))) => {
                    (HookEnd::Panicked, Some(panic_message(panic.as_ref()).to_owned()))
                }
                Err(Ok(None) | Err(_)) => failed("its task was ended"),
                Ok(forced) => {
                    task.abort();
                    let (ended, mut words) = if forced {
                        let words = "the exit was forced before it was done";
                        (HookEnd::Forced, words.to_owned())
                    } else {
                        let words = format!("it did not end within {} ms", report.budget_ms);
                        (HookEnd::TimedOut, words)
                    };
                    if timeout(ABORT_LIMIT, &mut task).await.is_err() {
                        words.push_str("; it blocks its thread and runs on");
                    }
                    (ended, Some(words))
                }
            }
        };
        report.used_ms = millis(began.elapsed());
        (report.ended, report.reason) = (ended, reason);
        let (name, used_ms) = (report.name.as_str(), report.used_ms);
        match &report.reason {
            None => info!(hook = name, %phase, used_ms, "hook done"),
            Some(reason) => {
                let panicked = if ended == HookEnd::Panicked { "panicked: " } else { "" };
                scope.fail(format!("hook of phase {phase}: {panicked}{reason}"));
            }
        }
        hooking.hooks.report(report);
    }

    /// Ends some time after the exit was forced.
    async fn forced_since(&self, pause: Duration) {
        self.force.cancelled().await;
        tokio::time::sleep(pause).await;
    }

    /// What became of every hook.
    pub(super) fn hook_reports(&self) -> Vec<HookReport> {
        let Some(hooking) = &self.hooking else { return Vec::new() };
        hooking.hooks.finish(millis(hooking.began.elapsed()))
    }
}

#[cfg(test)]
mod tests;
