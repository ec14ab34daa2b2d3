//! What became of the orders that shutdown found unfinished. Reports on thousands take their time,
//! so that only the last one has them all.

use tokio::time::Instant;

use super::{Desk, State};
use crate::orders::book::Entry;
use crate::orders::report::{fate, order_report};
use crate::report::OrderReport;
use crate::types::{ClientOrderId, Quantity};

/// How many orders have come how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fates {
    /// Of those that a cancel was written for, how many are closed.
    pub(crate) closed: usize,
    /// How many the exchange may still hold against the operator's wish.
    pub(crate) left: usize,
}

impl Desk {
    /// What became of every order, with the times since the shutdown began.
    pub(crate) fn order_reports_since(&self, began: Instant) -> Vec<OrderReport> {
        self.reports(Some(began), |_| true)
    }

    /// What became of every order.
    #[cfg(test)]
    pub(crate) fn order_reports(&self) -> Vec<OrderReport> {
        self.reports(None, |_| true)
    }

    /// The orders that the exchange may still hold against the operator's wish.
    pub(crate) fn orders_left(&self) -> Vec<OrderReport> {
        self.reports(None, |entry| fate(entry).is_left())
    }

    /// How many orders have come how far.
    pub(crate) fn fates(&self) -> Fates {
        let mut fates = Fates { closed: 0, left: 0 };
        for entry in self.state().book.watched() {
            if fate(entry).is_left() {
                fates.left += 1;
            } else if entry.cancel.as_ref().is_some_and(|cancel| cancel.attempts > 0) {
                fates.closed += 1;
            }
        }
        fates
    }

    /// Every order whose single fills the exchange has not told: what is missing, and of how much.
    pub(crate) fn missing_fills(&self) -> Vec<(ClientOrderId, Quantity, Quantity)> {
        let state = self.state();
        let orders = state.book.watched().map(|entry| &entry.order);
        let lacking = orders.filter(|order| order.booked < order.filled);
        lacking.map(|order| (order.client_id, order.filled - order.booked, order.filled)).collect()
    }

    fn reports(
        &self,
        began: Option<Instant>,
        is_meant: impl Fn(&Entry) -> bool,
    ) -> Vec<OrderReport> {
        let state = self.state();
        let connected = self.was_connected(&state);
        let entries = state.book.watched().filter(|entry| is_meant(entry));
        entries.map(|entry| order_report(entry, connected, began)).collect()
    }

    /// Whether there was a connection to cancel over.
    fn was_connected(&self, state: &State) -> bool {
        state.connected_before_close.unwrap_or_else(|| self.lane.state() != super::LaneState::Down)
    }
}
