//! The desk and its exchange's dead-man's switch: what the state machine wants is done here, but for
//! the writing, which is the connection's.

use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Desk, LaneState};
use crate::exchange::{DeadMansSwitch, SwitchAnswer, SwitchRequest, SwitchScope};
use crate::orders::switch::{Switch, SwitchAction, SwitchInput};
use crate::report::{Phase, SwitchReport};

impl Desk {
    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the dead-man's switch keeps new orders out, if it does.
    pub(crate) fn switch_bars(&self) -> Option<String> {
        self.switch().bars()
    }

    /// How the dead-man's switch stands.
    pub(crate) fn switch_report(&self) -> SwitchReport {
        self.switch().report()
    }

    // ---- for the connection ---------------------------------------------------------------

    /// The session can set the switch from now on.
    pub(crate) fn switch_ready(&self) {
        self.switch_step(SwitchInput::SessionReady);
    }

    /// The exchange answered a setting.
    pub(crate) fn switch_answered(&self, answer: SwitchAnswer) {
        self.switch_step(SwitchInput::Answered(answer));
    }

    /// What to write to the exchange now, if anything.
    pub(crate) fn switch_request(&self, now: Instant) -> Option<SwitchRequest> {
        let is_due = self.switch().next_due().is_some_and(|due| due <= now);
        if is_due { self.switch_step(SwitchInput::Time) } else { None }
    }

    /// When [`switch_request`](Self::switch_request) must be called next.
    pub(crate) fn switch_due(&self) -> Option<Instant> {
        self.switch().next_due()
    }

    /// A drain is over; see [`Switch::begins_again`].
    pub(super) fn switch_begins_again(&self) {
        self.switch().begins_again();
    }

    /// The state's lock may be held by the caller where no input can let orders in or keep them out.
    pub(super) fn switch_lost(&self) {
        let now = self.now();
        self.switch().step(SwitchInput::SessionLost, now);
    }

    fn switch_step(&self, input: SwitchInput) -> Option<SwitchRequest> {
        let exchange = self.exchange();
        let now = self.now();
        let actions = self.switch().step(input, now);
        let mut request = None;
        for action in actions {
            match action {
                SwitchAction::Ask(asked) => {
                    debug!(%exchange, setting = ?asked.setting, "setting the dead-man's switch");
                    request = Some(asked);
                }
                SwitchAction::LetIn => {
                    info!(%exchange, "dead-man's switch armed");
                    let state = self.state();
                    self.open_when_reconciled(&state);
                }
                SwitchAction::KeepOut { reason } => {
                    warn!(%exchange, reason, "dead-man's switch not armed: new orders are refused");
                    self.keep_out(&reason);
                }
                SwitchAction::Disarmed => info!(%exchange, "dead-man's switch disarmed"),
                SwitchAction::Warn { reason } => warn!(%exchange, reason, "dead-man's switch"),
            }
        }
        self.changed.notify_waiters();
        request
    }

    /// New orders are refused until the switch is armed again; those that wait are not written.
    fn keep_out(&self, reason: &str) {
        if self.lane.state() != LaneState::Open {
            return;
        }
        self.lane.set_state(LaneState::Reconciling);
        for id in self.lane.take_new() {
            self.not_sent(id, &format!("the dead-man's switch is not armed: {reason}"));
        }
    }

    // ---- for shutdown ---------------------------------------------------------------------

    /// A shutdown begins: a timer is set so that it goes off when the shutdown must have ended.
    pub(crate) fn switch_until(&self, deadline: Instant) {
        self.switch_step(SwitchInput::ShutdownBegins { deadline });
        self.lane.wake();
    }

    /// Disarms the switch if nothing that it covers is open or unknown, and waits until the exchange
    /// confirms it. Cancel safe: the request stays.
    pub(crate) async fn disarm_switch(&self) {
        if self.gate.phase() >= Phase::Disconnect {
            // A drain has closed the connection for good.
            return;
        }
        if let Some(reason) = self.not_flat() {
            self.switch_step(SwitchInput::Leave { reason });
            return;
        }
        self.switch_step(SwitchInput::Flat);
        self.lane.wake();
        loop {
            let changed = self.changed.notified();
            if self.switch().is_settled() {
                return;
            }
            changed.await;
        }
    }

    /// The same where nobody has asked for it yet.
    pub(crate) async fn disarm_switch_at_last(&self) {
        let asked = self.switch().is_to_be_off();
        if !asked {
            self.disarm_switch().await;
        }
    }

    /// Leaves the switch as it is, unless it is being disarmed already.
    pub(crate) fn leave_switch(&self, because: &str) {
        let reason = self.not_flat().unwrap_or_else(|| because.to_owned());
        self.switch_step(SwitchInput::Leave { reason });
    }

    /// What is open or unknown that the switch covers, in words.
    fn not_flat(&self) -> Option<String> {
        let kind = self.settings.switch.kind;
        let state = self.state();
        let left = state.book.watched().filter(|entry| {
            let ended = entry.order.status.is_terminal();
            !ended && !entry.is_kept()
        });
        let left = left.count();
        let kept = state.book.watched().filter(|entry| entry.is_kept()).count();
        let account = matches!(kind, DeadMansSwitch::Timer { scope: SwitchScope::Account, .. });
        let leftovers = if account { state.book.leftovers().count() } else { 0 };
        drop(state);
        let mut parts = Vec::new();
        if left > 0 {
            parts.push(format!("orders open or unknown: {left}"));
        }
        if leftovers > 0 {
            parts.push(format!("orders of an earlier run still open: {leftovers}"));
        }
        if parts.is_empty() {
            return None;
        }
        if kept > 0 {
            parts.push(format!("kept orders, which it cancels too: {kept}"));
        }
        Some(parts.join("; "))
    }
}
