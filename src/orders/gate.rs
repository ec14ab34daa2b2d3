//! The gate: a new order needs a permit, and keeps it until its bytes are written or it is certain
//! that they never will be. Closing the gate and waiting for the permits therefore means that no
//! new order is written afterwards.

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
}

/// The right to write one new order. Dropping it gives it back.
pub(crate) struct Permit {
    inner: Arc<Inner>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let state = Mutex::new(State { phase: Phase::Running, out: 0 });
        Self { inner: Arc::new(Inner { state, returned: Notify::new() }) }
    }

    /// A permit, or the phase that forbids it.
    pub(crate) fn enter(&self) -> Result<Permit, Phase> {
        let mut state = self.inner.state();
        if state.phase > Phase::Running {
            return Err(state.phase);
        }
        state.out += 1;
        Ok(Permit { inner: Arc::clone(&self.inner) })
    }

    /// Closes the gate, and tells those who come later which phase it is. It never goes back: an
    /// exchange that is drained stays so when the whole gateway begins to stop.
    pub(crate) fn close(&self, phase: Phase) {
        let mut state = self.inner.state();
        state.phase = state.phase.max(phase);
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
}
