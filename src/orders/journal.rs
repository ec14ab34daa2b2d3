//! The journal of order updates, which loses nothing.
//!
//! Every subscriber has a place in one shared journal; an entry goes when all have read it. A
//! subscriber that stops reading makes the journal grow, so new orders are refused while it is
//! longer than its limit: memory stays bounded, and neither an update is lost nor a cancel held up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use serde::Serialize;
use tokio::sync::Notify;

use crate::types::{Fill, Order};

/// What happened to an order: the order as it is now, and the fill if this is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderUpdate {
    /// The order after the change.
    pub order: Order,
    /// The part that traded, if that is what happened. Each is told once. What filled while the
    /// connection was down is first known by its sum, as `order.filled`, and the fills follow when
    /// they have been fetched: until then `order.booked`, which is their sum, is less.
    pub fill: Option<Fill>,
}

pub(crate) struct Journal {
    state: Mutex<State>,
    added: Notify,
    limit: usize,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Arc<OrderUpdate>>,
    /// The number of the first entry kept.
    first: u64,
    /// How many readers stand before each number.
    readers: BTreeMap<u64, usize>,
    closed: bool,
}

impl Journal {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), added: Notify::new(), limit })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds updates for all present subscribers. Without any, nothing is kept.
    pub(crate) fn add(&self, updates: impl IntoIterator<Item = OrderUpdate>) {
        let mut state = self.state();
        if state.readers.is_empty() {
            return;
        }
        let before = state.entries.len();
        state.entries.extend(updates.into_iter().map(Arc::new));
        let grown = state.entries.len() > before;
        drop(state);
        if grown {
            self.added.notify_waiters();
        }
    }

    /// How many updates the slowest subscriber has not read, if that is over the limit.
    pub(crate) fn overfull(&self) -> Option<usize> {
        let unread = self.state().entries.len();
        (unread >= self.limit).then_some(unread)
    }

    /// Ends the journal: subscribers read what there is and then get `None`.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.added.notify_waiters();
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> OrderUpdates {
        let mut state = self.state();
        let at = state.end();
        *state.readers.entry(at).or_default() += 1;
        drop(state);
        OrderUpdates { journal: Arc::clone(self), at }
    }
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn leave(&mut self, at: u64) {
        if let Some(count) = self.readers.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                self.readers.remove(&at);
            }
        }
    }

    fn trim(&mut self) {
        let slowest = self.readers.keys().next().copied().unwrap_or_else(|| self.end());
        while self.first < slowest && self.entries.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// A subscription to order updates. None is ever lost: if it is not read, new orders are refused
/// with [`OrderError::Busy`](super::OrderError::Busy) once `orders.updates_backlog` are waiting.
/// Dropping it ends it.
pub struct OrderUpdates {
    journal: Arc<Journal>,
    at: u64,
}

impl OrderUpdates {
    /// The next update, or `None` when the gateway has ended and all has been read. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<OrderUpdate>> {
        let journal = Arc::clone(&self.journal);
        loop {
            let added = journal.added.notified();
            if let Some(update) = self.try_next() {
                return Some(update);
            }
            if journal.state().closed {
                return self.try_next();
            }
            added.await;
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Arc<OrderUpdate>> + Send {
        futures::stream::unfold(self, |mut updates| async move {
            updates.next().await.map(|update| (update, updates))
        })
    }

    /// The next update if one is waiting.
    pub fn try_next(&mut self) -> Option<Arc<OrderUpdate>> {
        let mut state = self.journal.state();
        let offset = usize::try_from(self.at - state.first).ok()?;
        let update = state.entries.get(offset).cloned()?;
        state.leave(self.at);
        self.at += 1;
        *state.readers.entry(self.at).or_default() += 1;
        state.trim();
        Some(update)
    }
}

impl Drop for OrderUpdates {
    fn drop(&mut self) {
        let mut state = self.journal.state();
        state.leave(self.at);
        state.trim();
    }
}

impl std::fmt::Debug for OrderUpdates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OrderUpdates")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{NewOrder, OrderStatus, Quantity, Side, Timestamp};

    fn update(id: &str) -> OrderUpdate {
        let instrument = "binance:BTC-USDT".parse().unwrap();
        let order = Order {
            client_id: id.parse().unwrap(),
            exchange_id: None,
            request: NewOrder::market(instrument, Side::Buy, "1".parse().unwrap()),
            status: OrderStatus::Pending,
            filled: Quantity::ZERO,
            booked: Quantity::ZERO,
            reason: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        };
        OrderUpdate { order, fill: None }
    }

    #[tokio::test]
    async fn every_subscriber_reads_every_update_at_its_own_pace() {
        let journal = Journal::new(10);
        let mut quick = journal.subscribe();
        let mut slow = journal.subscribe();
        for id in ["a", "b", "c"] {
            journal.add([update(id)]);
            assert_eq!(quick.next().await.unwrap().order.client_id.as_str(), id);
        }
        journal.close();
        for id in ["a", "b", "c"] {
            assert_eq!(slow.next().await.unwrap().order.client_id.as_str(), id);
        }
        assert!(slow.next().await.is_none() && quick.next().await.is_none());
        assert_eq!(journal.state().entries.len(), 0);
    }

    #[tokio::test]
    async fn an_unread_journal_is_overfull_until_it_is_read_or_dropped() {
        let journal = Journal::new(2);
        journal.add([update("before")]);
        let mut reader = journal.subscribe();
        journal.add([update("a"), update("b")]);
        assert_eq!(journal.overfull(), Some(2));
        reader.next().await.unwrap();
        assert_eq!(journal.overfull(), None);
        journal.add([update("c")]);
        assert_eq!(journal.overfull(), Some(2));
        drop(reader);
        assert_eq!(journal.overfull(), None);
    }
}
