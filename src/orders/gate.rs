//! The gate: a new order needs a permit, and keeps it until its bytes are written or it is certain
//! that they never will be. Closing the gate and waiting for the permits therefore means that no
//! new order is written afterwards.
//!
//! In the phase that closes positions, orders that do so pass the closed gate. Their permits hold
//! until that phase is over, and not a moment longer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::report::Phase;

/// Lets new orders in, until it is closed for good or until it is opened again.
#[derive(Clone)]
pub(crate) struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    returned: Notify,
}

struct State {
    phase: Phase,
    out: usize,
    /// Whether orders that close positions pass.
    closing: bool,
}

/// The right to write one new order. Dropping it gives it back.
pub(crate) struct Permit {
    inner: Arc<Inner>,
    closes: bool,
}

impl Permit {
    /// Whether it is for an order that closes a position.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let state = Mutex::new(State { phase: Phase::Running, out: 0, closing: false });
        Self { inner: Arc::new(Inner { state, returned: Notify::new() }) }
    }

    /// A permit, or the phase that forbids it.
    pub(crate) fn enter(&self) -> Result<Permit, Phase> {
        let mut state = self.inner.state();
        if state.phase > Phase::Running {
            return Err(state.phase);
        }
        state.out += 1;
        Ok(Permit { inner: Arc::clone(&self.inner), closes: false })
    }

    /// Lets orders that close positions pass; tells whether that is new. The phase, if it is not the
    /// one for it.
    pub(crate) fn begin_closing(&self) -> Result<bool, Phase> {
        let mut state = self.inner.state();
        if state.phase != Phase::ClosePositions {
            return Err(state.phase);
        }
        Ok(!std::mem::replace(&mut state.closing, true))
    }

    /// They do not pass any more.
    pub(crate) fn end_closing(&self) {
        self.inner.state().closing = false;
    }

    /// A permit for an order that closes a position, or the phase that forbids it.
    pub(crate) fn enter_closing(&self) -> Result<Permit, Phase> {
        let mut state = self.inner.state();
        if !state.closing {
            return Err(state.phase);
        }
        state.out += 1;
        Ok(Permit { inner: Arc::clone(&self.inner), closes: true })
    }

    /// Whether an order with this permit may be written now.
    pub(crate) fn allows(&self, permit: &Permit) -> bool {
        let state = self.inner.state();
        state.phase == Phase::Running || (permit.closes && state.closing)
    }

    /// Closes the gate, and tells those who come later which phase it is. It never goes back: an
    /// exchange that is drained stays so when the whole gateway begins to stop.
    pub(crate) fn close(&self, phase: Phase) {
        let mut state = self.inner.state();
        state.phase = state.phase.max(phase);
        state.closing &= state.phase == Phase::ClosePositions;
    }

    /// Opens it again after a drain. Nobody but the one who knows that no shutdown of the whole
    /// gateway has begun, and that none begins meanwhile, may do so.
    pub(crate) fn reopen(&self) {
        self.inner.state().phase = Phase::Running;
    }

    /// Whether new orders are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.state().phase > Phase::Running
    }

    /// The phase it was last told.
    pub(crate) fn phase(&self) -> Phase {
        self.inner.state().phase
    }

    /// Waits until no permit is out. Cancel safe.
    pub(crate) async fn drained(&self) {
        loop {
            let returned = self.inner.returned.notified();
            if self.inner.state().out == 0 {
                return;
            }
            returned.await;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.out -= 1;
        let last = state.out == 0;
        drop(state);
        if last {
            self.inner.returned.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_gate_is_drained_only_when_the_last_permit_is_back() {
        let gate = Gate::new();
        let permit = gate.enter().unwrap();
        gate.close(Phase::StopNewOrders);
        assert_eq!(gate.enter().err(), Some(Phase::StopNewOrders));
        let mut drained = Box::pin(gate.drained());
        assert!(futures::poll!(drained.as_mut()).is_pending());
        drop(permit);
        drained.await;
        gate.close(Phase::CancelPending);
        assert_eq!(gate.enter().err(), Some(Phase::CancelPending));
        gate.close(Phase::StopNewOrders);
        assert_eq!(gate.enter().err(), Some(Phase::CancelPending));
    }

    #[tokio::test]
    async fn only_orders_that_close_positions_pass_and_only_in_their_phase() {
        let gate = Gate::new();
        let early = gate.enter().unwrap();
        assert_eq!(gate.begin_closing(), Err(Phase::Running));
        gate.close(Phase::ClosePositions);
        assert_eq!(gate.enter_closing().err(), Some(Phase::ClosePositions));
        assert_eq!(gate.begin_closing(), Ok(true));
        assert_eq!(gate.begin_closing(), Ok(false), "it is given once");
        let permit = gate.enter_closing().unwrap();
        assert!(gate.allows(&permit) && !gate.allows(&early));
        assert_eq!(gate.enter().err(), Some(Phase::ClosePositions));
        gate.end_closing();
        assert!(!gate.allows(&permit) && gate.enter_closing().is_err());
        assert_eq!(gate.begin_closing(), Ok(true));
        gate.close(Phase::SaveState);
        assert!(!gate.allows(&permit) && gate.enter_closing().is_err());
        assert_eq!(gate.begin_closing(), Err(Phase::SaveState));
        drop(early);
        let mut drained = Box::pin(gate.drained());
        assert!(futures::poll!(drained.as_mut()).is_pending());
        drop(permit);
        drained.await;
    }
}
