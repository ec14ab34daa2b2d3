//! What bots place and cancel orders with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Desk, Journal, OrderError, OrderUpdates};
use crate::types::{ClientOrderId, ExchangeName, NewOrder, Order};

/// Places and cancels orders. Cheap to clone, may be used from many tasks.
#[derive(Clone)]
pub struct Orders {
    desks: Arc<BTreeMap<ExchangeName, Arc<Desk>>>,
    journal: Arc<Journal>,
}

impl Orders {
    pub(crate) fn new(desks: BTreeMap<ExchangeName, Arc<Desk>>, journal: Arc<Journal>) -> Self {
        Self { desks: Arc::new(desks), journal }
    }

    fn desk(&self, order: &NewOrder) -> Result<&Arc<Desk>, OrderError> {
        let instrument = order.instrument;
        self.desks.get(&instrument.exchange()).ok_or(OrderError::UnknownInstrument { instrument })
    }

    /// Places an order and waits for the exchange's answer: the order as it then is.
    ///
    /// # Errors
    /// Every variant but [`OrderError::OutcomeUnknown`] and [`OrderError::Abandoned`] means that
    /// the order is not on the exchange.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the order back; its fate is told by the
    /// [`updates`](Self::updates).
    pub async fn submit(&self, order: NewOrder) -> Result<Order, OrderError> {
        let (id, answer) = self.desk(&order)?.submit(order)?;
        answer.await.unwrap_or(Err(OrderError::Abandoned { id }))
    }

    /// Hands an order over and returns its id without waiting for the exchange; what becomes of
    /// it is told by the [`updates`](Self::updates).
    pub fn submit_nowait(&self, order: NewOrder) -> Result<ClientOrderId, OrderError> {
        self.desk(&order)?.submit(order).map(|(id, _answer)| id)
    }

    /// Cancels an order and waits until it has ended: by the cancel, or by a fill that was
    /// quicker. The cancel is repeated until then.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the cancel back.
    pub async fn cancel(&self, id: ClientOrderId) -> Result<Order, OrderError> {
        let desk = self.desks.values().find(|desk| desk.get(id).is_some());
        let answer = desk.ok_or(OrderError::UnknownOrder { id })?.cancel(id)?;
        answer.await.map_err(|_| OrderError::Abandoned { id })
    }

    /// The order as known now; `None` if there never was one or it was forgotten.
    pub fn get(&self, id: ClientOrderId) -> Option<Order> {
        self.desks.values().find_map(|desk| desk.get(id))
    }

    /// Every order that has not ended, of all exchanges.
    pub fn unfinished(&self) -> Vec<Order> {
        self.desks.values().flat_map(|desk| desk.unfinished()).collect()
    }

    /// All changes of all orders from here on. None is ever lost.
    pub fn updates(&self) -> OrderUpdates {
        self.journal.subscribe()
    }
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}
