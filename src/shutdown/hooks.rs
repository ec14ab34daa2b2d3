//! Work of others that belongs to a phase of the shutdown.
//!
//! The registry only keeps hooks and what became of them; the coordinator runs them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::report::{HookEnd, HookPriority, HookReport, Phase};
use crate::types::ExchangeName;

/// How many hooks there may be.
const HOOKS_MAX: usize = 1024;
/// A longer name would break the tables it is shown in.
const NAME_MAX: usize = 64;

type Ending = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Work = Box<dyn FnOnce(HookContext) -> Ending + Send>;

/// Work that a shutdown does in one of its phases, beside the gateway's own.
///
/// Each hook runs in a task of its own. One that fails, panics or does not end within its timeout is
/// named in the report and stops nothing. It is then dropped at the point where it waits; one that
/// blocks its thread instead of waiting cannot be stopped, and is left behind.
///
/// # When it runs
///
/// Hooks of one phase run in the order of their priorities, those of one priority side by side:
///
/// * [`Critical`](HookPriority::Critical) and then [`High`](HookPriority::High) hooks before the
///   phase's own work, each of the two for a quarter of the phase's time at most. But cancels wait
///   for nobody: in [`Phase::CancelPending`] they run beside them.
/// * [`Normal`](HookPriority::Normal) hooks beside the phase's work.
/// * [`Low`](HookPriority::Low) and then [`Cleanup`](HookPriority::Cleanup) hooks when it and they
///   have ended, with what is left of the phase's time.
///
/// All of it is within the phase's own time: a hook takes none from a later phase's reserve. A hook
/// for which no time is left is skipped. When the operator forces the exit, running hooks have
/// half a second, and of those to come only critical ones begin.
///
/// ```
/// use exchange_gateway::shutdown::{Hook, HookPriority, Phase};
/// use std::time::Duration;
///
/// let hook = Hook::new("flush-strategy", Phase::SaveState, || async {
///     // …
///     Ok::<(), std::io::Error>(())
/// });
/// let hook = hook.priority(HookPriority::High).timeout(Duration::from_millis(500));
/// # drop(hook);
/// ```
pub struct Hook {
    pub(super) name: String,
    pub(super) phase: Phase,
    pub(super) priority: HookPriority,
    pub(super) timeout: Duration,
    pub(super) work: Work,
}

impl Hook {
    /// The timeout of a hook that sets none.
    pub const TIMEOUT: Duration = Duration::from_secs(1);

    /// A hook of normal priority with the default [`TIMEOUT`](Self::TIMEOUT). The name, of 1 to 64
    /// characters, is what the report and the log call it; two hooks may share one, and are then told
    /// apart by their phase alone.
    pub fn new<F, W, E>(name: impl Into<String>, phase: Phase, work: F) -> Self
    where
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        Self::with_context(name, phase, |_| work())
    }

    /// The same for work that wants to know about the shutdown that it is part of.
    pub fn with_context<F, W, E>(name: impl Into<String>, phase: Phase, work: F) -> Self
    where
        F: FnOnce(HookContext) -> W + Send + 'static,
        W: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        // The closure is called within the future: whatever it does is done in the hook's task.
        let work = |context| -> Ending {
            Box::pin(async move { work(context).await.map_err(|error| error.to_string()) })
        };
        Self {
            name: name.into(),
            phase,
            priority: HookPriority::Normal,
            timeout: Self::TIMEOUT,
            work: Box::new(work),
        }
    }

    /// The same with another priority.
    pub fn priority(mut self, priority: HookPriority) -> Self {
        self.priority = priority;
        self
    }

    /// The same with another timeout. It never has more than its phase allows.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("name", &self.name)
            .field("phase", &self.phase)
            .field("priority", &self.priority)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a hook is told about its shutdown.
#[derive(Debug, Clone)]
pub struct HookContext {
    pub(super) name: Arc<str>,
    pub(super) phase: Phase,
    pub(super) trigger: Arc<str>,
    pub(super) exchanges: Arc<[ExchangeName]>,
    pub(super) ends: Instant,
}

impl HookContext {
    /// The hook's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The phase that it runs in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why the shutdown began: `SIGTERM`, `shutdown()`, ….
    pub fn trigger(&self) -> &str {
        &self.trigger
    }

    /// The exchanges of the gateway, in the order of the configuration.
    pub fn exchanges(&self) -> &[ExchangeName] {
        &self.exchanges
    }

    /// What is left of its time.
    pub fn remaining(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// Why a hook was not taken. It will not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HookRefused {
    /// Nothing of a shutdown happens in that phase.
    #[error("hook `{name}`: a shutdown does no work in phase {phase}; use one of Phase::WORKING")]
    NoWork {
        /// The hook.
        name: String,
        /// Its phase.
        phase: Phase,
    },
    /// The shutdown has come to its phase, or past it.
    #[error("hook `{name}`: the shutdown has already begun its phase {phase}")]
    TooLate {
        /// The hook.
        name: String,
        /// Its phase.
        phase: Phase,
    },
    /// The name is empty, longer than 64 characters, or holds control characters.
    #[error("hook `{name}`: a name has 1 to 64 characters, none of them a control character")]
    Name {
        /// The hook.
        name: String,
    },
    /// There are 1024 already.
    #[error("hook `{name}`: there are {HOOKS_MAX} hooks already")]
    TooMany {
        /// The hook.
        name: String,
    },
}

/// Whether a hook may be called so.
pub(crate) fn is_hook_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// The hooks that wait for their phase, and the reports of those that had it.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Hook>,
    /// The last phase that was begun.
    begun: Option<Phase>,
    reports: Vec<HookReport>,
}

impl Hooks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a hook for its phase.
    pub(crate) fn add(&self, hook: Hook) -> Result<(), HookRefused> {
        let (name, phase) = (hook.name.clone(), hook.phase);
        if !is_hook_name(&name) {
            return Err(HookRefused::Name { name });
        }
        if !Phase::WORKING.contains(&phase) {
            return Err(HookRefused::NoWork { name, phase });
        }
        let mut state = self.state();
        if state.begun.is_some_and(|begun| phase <= begun) {
            return Err(HookRefused::TooLate { name, phase });
        }
        if state.waiting.len() >= HOOKS_MAX {
            return Err(HookRefused::TooMany { name });
        }
        state.waiting.push(hook);
        Ok(())
    }

    /// How many wait for their phase.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// The hooks of a phase that begins now, in the order in which they were added. From here on none
    /// is added to it.
    pub(super) fn take(&self, phase: Phase) -> Vec<Hook> {
        let mut state = self.state();
        state.begun = state.begun.max(Some(phase));
        state.waiting.extract_if(.., |hook| hook.phase == phase).collect()
    }

    pub(super) fn report(&self, report: HookReport) {
        self.state().reports.push(report);
    }

    /// What became of every hook, in the order in which they began. Those whose phase never came are
    /// skipped.
    pub(super) fn finish(&self, elapsed_ms: u64) -> Vec<HookReport> {
        let mut state = self.state();
        state.begun = Some(Phase::Complete);
        let skipped: Vec<_> = state
            .waiting
            .drain(..)
            .map(|hook| HookReport {
                name: hook.name,
                phase: hook.phase,
                priority: hook.priority,
                began_ms: elapsed_ms,
                budget_ms: 0,
                used_ms: 0,
                ended: HookEnd::Skipped,
                reason: Some("the shutdown never came to its phase".to_owned()),
            })
            .collect();
        state.reports.extend(skipped);
        state.reports.sort_by_key(|report| report.began_ms);
        state.reports.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str, phase: Phase) -> Hook {
        Hook::new(name, phase, || async { Ok::<(), String>(()) })
    }

    #[test]
    fn a_hook_is_taken_until_its_phase_begins() {
        let hooks = Hooks::default();
        hooks.add(hook("one", Phase::CancelPending)).unwrap();
        hooks.add(hook("one", Phase::SaveState)).unwrap();
        assert_eq!(hooks.take(Phase::StopNewOrders).len(), 0);
        hooks.add(hook("two", Phase::CancelPending)).unwrap();
        let names: Vec<_> =
            hooks.take(Phase::CancelPending).into_iter().map(|hook| hook.name).collect();
        assert_eq!(names, ["one", "two"]);
        for phase in [Phase::StopNewOrders, Phase::CancelPending] {
            let refused = hooks.add(hook("late", phase)).unwrap_err();
            assert_eq!(refused, HookRefused::TooLate { name: "late".into(), phase });
        }
        let skipped = hooks.finish(7);
        assert_eq!((skipped.len(), skipped[0].ended), (1, HookEnd::Skipped));
        assert!(hooks.add(hook("late", Phase::Disconnect)).is_err());
    }

    #[test]
    fn a_hook_that_can_never_run_is_refused_by_name() {
        let hooks = Hooks::default();
        for phase in [Phase::Running, Phase::Complete] {
            let refused = hooks.add(hook("idle", phase)).unwrap_err();
            assert!(refused.to_string().contains("hook `idle`"), "{refused}");
        }
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(matches!(
                hooks.add(hook(name, Phase::SaveState)),
                Err(HookRefused::Name { .. })
            ));
        }
        for _ in 0..HOOKS_MAX {
            hooks.add(hook("same", Phase::SaveState)).unwrap();
        }
        let refused = hooks.add(hook("more", Phase::SaveState)).unwrap_err();
        assert_eq!(refused, HookRefused::TooMany { name: "more".into() });
    }
}
