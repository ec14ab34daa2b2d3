//! What bots place and cancel orders with.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Desk, Journal, OrderError, OrderUpdates};
use crate::types::{ClientOrderId, ExchangeName, Instrument, NewOrder, Order};

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

    /// Cancels every order of this gateway's run on an instrument, also those marked to be kept at
    /// shutdown, and waits until each has ended: by its cancel, or by a fill that was quicker. The
    /// orders are told as they ended. Orders of others are never touched, which is why each order is
    /// cancelled by its own id, in batches where the exchange has them; only where the configuration
    /// says that the account is this gateway's alone (`account_is_ours`), and the exchange shows no
    /// other order there, does one request stand for them all. An order placed meanwhile is not
    /// meant.
    ///
    /// # Errors
    /// [`OrderError::Abandoned`] names the first order that was not settled when the gateway ended.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the cancels back.
    pub async fn cancel_instrument(
        &self,
        instrument: Instrument,
    ) -> Result<Vec<Order>, OrderError> {
        let desk = self.desks.get(&instrument.exchange());
        let desk = desk.ok_or(OrderError::UnknownInstrument { instrument })?;
        Self::ended(desk.cancel_where(Some(instrument))?).await
    }

    /// The same for every order on one exchange. One without orders, or that is not configured, has
    /// none to cancel.
    pub async fn cancel_exchange(&self, exchange: ExchangeName) -> Result<Vec<Order>, OrderError> {
        match self.desks.get(&exchange) {
            Some(desk) => Self::ended(desk.cancel_where(None)?).await,
            None => Ok(Vec::new()),
        }
    }

    /// The same for every order on every exchange: all cancels are on their way before the first is
    /// waited for.
    pub async fn cancel_all(&self) -> Result<Vec<Order>, OrderError> {
        let (mut wanted, mut failure) = (Vec::new(), None);
        for desk in self.desks.values() {
            match desk.cancel_where(None) {
                Ok(more) => wanted.extend(more),
                // One exchange that was drained keeps no other from being cancelled.
                Err(error) => failure = Some(error),
            }
        }
        let orders = Self::ended(wanted).await?;
        failure.map_or(Ok(orders), Err)
    }

    async fn ended(
        wanted: Vec<(ClientOrderId, oneshot::Receiver<Order>)>,
    ) -> Result<Vec<Order>, OrderError> {
        let mut orders = Vec::with_capacity(wanted.len());
        for (id, ended) in wanted {
            orders.push(ended.await.map_err(|_| OrderError::Abandoned { id })?);
        }
        Ok(orders)
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
