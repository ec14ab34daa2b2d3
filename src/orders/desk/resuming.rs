//! The desk of an exchange that was drained and is used again. Its book stays: no order is lost.

use super::{Desk, LaneState, State};

impl Desk {
    /// Begins anew on a connection that will come: cancels and questions pass, new orders only after
    /// [`let_in`](Self::let_in). Only for a gateway that does not stop, see [`Gate::reopen`].
    ///
    /// [`Gate::reopen`]: crate::orders::gate::Gate::reopen
    pub(crate) fn begin_again(&self) {
        let mut state = self.state();
        state.is_resuming = true;
        state.ended = false;
        state.connected_before_close = None;
        state.down_since = None;
        "it is being resumed".clone_into(&mut state.down_reason);
        state.book.begins_again();
        drop(state);
        self.switch_begins_again();
        self.gate.reopen();
    }

    /// Lets new orders in once all is compared, also after the reconnects to come.
    pub(crate) fn let_in(&self) {
        let mut state = self.state();
        state.is_resuming = false;
        self.open_when_reconciled(&state);
    }

    /// Waits until nothing but [`let_in`](Self::let_in) keeps new orders out. Cancel safe.
    pub(crate) async fn compared(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_compared(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether the exchange has said how every order stands, and the dead-man's switch is armed.
    pub(super) fn is_compared(&self, state: &State) -> bool {
        self.lane.state() == LaneState::Reconciling
            && state.book.is_reconciled()
            && self.switch_bars().is_none()
    }
}
