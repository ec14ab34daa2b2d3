//! The desk for the phase that closes positions: the gate is closed, and only the holder of the
//! [`ClosingPass`] may still place orders, until it gives the pass back or the phase is over.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{Desk, OrderError};
use crate::report::Phase;
use crate::types::{
    ClientOrderId, Instrument, InstrumentSpec, NewOrder, Order, Price, Quantity, Side,
};

/// The right to place orders that close positions. There is one for each exchange. Dropping it ends
/// the right: what was not written by then never is.
pub(crate) struct ClosingPass {
    desk: Arc<Desk>,
}

impl ClosingPass {
    /// Places an order that closes a position; see [`Desk::submit`]. It goes ahead of others, as
    /// one that is reduce-only does.
    pub(crate) fn submit(&self, request: NewOrder) -> Result<ClientOrderId, OrderError> {
        let permit = self.desk.gate.enter_closing();
        let permit = permit.map_err(|phase| OrderError::Stopping { phase })?;
        self.desk.place(request, permit).map(|(id, _)| id)
    }
}

impl Drop for ClosingPass {
    fn drop(&mut self) {
        self.desk.gate.end_closing();
        for id in self.desk.lane.take_new() {
            self.desk.not_sent(id, "the phase that closes positions was over");
        }
        self.desk.changed.notify_waiters();
    }
}

impl Desk {
    /// The pass, as soon as nobody else has it; the phase, if that is not the one to close positions
    /// in. Cancel safe.
    pub(crate) async fn closing_pass(self: &Arc<Self>) -> Result<ClosingPass, Phase> {
        loop {
            let changed = self.changed.notified();
            if self.gate.begin_closing()? {
                return Ok(ClosingPass { desk: Arc::clone(self) });
            }
            changed.await;
        }
    }

    /// Whether every order that is to be cancelled has ended, with all its fills.
    pub(crate) fn is_flat(&self) -> bool {
        self.state().book.is_flat()
    }

    /// Whether the exchange has reduce-only orders.
    pub(crate) fn reduces_only(&self) -> bool {
        self.settings.no_reduce_only.is_none()
    }

    /// The exchange's rules for an instrument.
    pub(crate) fn spec(&self, instrument: Instrument) -> Option<Arc<InstrumentSpec>> {
        self.settings.symbols.spec(instrument).cloned()
    }

    /// An order that keeps the position in an instrument from being known: open or unknown and not
    /// kept on purpose, or ended with fills that were not told yet.
    pub(crate) fn unsettled(&self, instrument: Instrument) -> Option<Order> {
        self.state().book.unsettled(instrument).cloned()
    }

    /// What the open orders of one side may still trade.
    pub(crate) fn spoken_for(&self, instrument: Instrument, side: Side) -> Decimal {
        let state = self.state();
        let is_meant =
            |order: &&Order| order.instrument() == instrument && order.request.side == side;
        state.book.unfinished().filter(is_meant).map(|order| order.remaining().0).sum()
    }

    /// Waits until [`unsettled`](Self::unsettled) finds no order. Cancel safe.
    pub(crate) async fn settled(&self, instrument: Instrument) {
        loop {
            let changed = self.changed.notified();
            if self.unsettled(instrument).is_none() {
                return;
            }
            changed.await;
        }
    }

    /// What orders that close a position have traded.
    pub(crate) fn closing_trades(&self, ids: &[ClientOrderId]) -> Vec<(Price, Quantity)> {
        let state = self.state();
        let traded = ids.iter().filter_map(|id| state.book.entry(*id)?.closing.as_ref());
        traded.flatten().copied().collect()
    }
}
