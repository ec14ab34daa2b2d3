//! One order in the book.

use std::collections::HashSet;

use tokio::time::Instant;

use super::exposure::Counted;
use super::fills::Fetch;
use super::{Change, Moment, Work};
use crate::report::CancelPath;
use crate::types::{Fill, OnShutdown, Order, OrderStatus, Price, Quantity};

/// One order with what the book needs beside what it tells.
#[expect(clippy::struct_excessive_bools, reason = "facts that come true in any order")]
pub(in crate::orders) struct Entry {
    pub(in crate::orders) order: Order,
    /// When it was written.
    pub(super) sent: Option<Instant>,
    /// When it ended.
    pub(in crate::orders) ended: Option<Instant>,
    /// Whether the exchange has shown that it has the order.
    pub(super) answered: bool,
    /// Whether it may still be on its way over the connection that it was written to: nothing that
    /// was written there after it has been answered.
    pub(super) under_way: bool,
    /// Whether the present session has said something of it.
    pub(super) refreshed: bool,
    /// Whether the exchange has said over HTTP that it is there, since the last session began.
    pub(super) heard_elsewhere: bool,
    /// Which way the news of its end came, if a cancel was wanted.
    pub(in crate::orders) confirmed_over: Option<CancelPath>,
    /// Whether its end was concluded from the exchange not knowing it.
    pub(super) presumed: bool,
    /// Whether it waits in the line of ended orders to be forgotten.
    pub(super) in_line: bool,
    /// Whether it ended with the refusal of the request that placed it.
    pub(super) refused: bool,
    /// When the exchange was last asked.
    pub(super) asked: Option<Instant>,
    /// When the oldest question was written that has not been answered.
    pub(super) asking: Option<Instant>,
    /// When the question was written that was answered last.
    pub(super) answered_to: Option<Instant>,
    pub(in crate::orders) last_query_failure: Option<String>,
    pub(in crate::orders) cancel: Option<Cancel>,
    /// The ids of the fills that are booked.
    fills: HashSet<String>,
    /// Price and quantity of each, if it is an order of the shutdown that closes a position.
    pub(in crate::orders) closing: Option<Vec<(Price, Quantity)>>,
    /// How far the fetching of those that are not is.
    pub(super) fetch: Fetch,
    /// What it counts for among what orders may still add to positions.
    pub(super) counted: Counted,
}

/// A wanted cancel.
pub(in crate::orders) struct Cancel {
    pub(in crate::orders) attempts: u32,
    pub(in crate::orders) first_written: Option<Instant>,
    pub(super) last_written: Option<Instant>,
    /// How many sessions there had been when it was first written.
    pub(super) session: u64,
    /// Whether it was refused while the exchange had not shown yet that it has the order.
    pub(super) overtook: bool,
    /// How many times the usual pause to wait before it is written again: more than one while the
    /// exchange says that it has no room for it.
    pub(super) pause: u32,
    /// The exchange's last words on it.
    pub(in crate::orders) last_answer: Option<String>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self {
            attempts: 0,
            first_written: None,
            last_written: None,
            session: 0,
            overtook: false,
            pause: 1,
            last_answer: None,
        }
    }
}

impl Entry {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            sent: None,
            ended: None,
            answered: false,
            under_way: false,
            refreshed: true,
            heard_elsewhere: false,
            confirmed_over: None,
            presumed: false,
            in_line: false,
            refused: false,
            asked: None,
            asking: None,
            answered_to: None,
            last_query_failure: None,
            cancel: None,
            fills: HashSet::new(),
            closing: None,
            fetch: Fetch::default(),
            counted: Counted::default(),
        }
    }

    /// An order of an earlier run, with the fills that were booked then.
    pub(super) fn adopted(order: Order, fills: &[Fill], now: Moment) -> Self {
        let answered = order.exchange_id.is_some()
            || matches!(order.status, OrderStatus::Open | OrderStatus::PartiallyFilled);
        let mut entry = Self::new(order);
        entry.answered = answered;
        entry.refreshed = false;
        // It may have been written the moment before that run ended.
        entry.sent = Some(now.monotonic);
        // A fill may be stored and the order after it not.
        entry.order.booked = Quantity::ZERO;
        for fill in fills {
            entry.book_fill(fill, None);
        }
        entry
    }

    /// Whether it is left open on purpose, and the exchange has said that it is there.
    pub(in crate::orders) fn is_kept(&self) -> bool {
        self.order.request.on_shutdown == OnShutdown::Keep
            && self.cancel.is_none()
            && (self.refreshed || self.heard_elsewhere)
            && matches!(self.order.status, OrderStatus::Open | OrderStatus::PartiallyFilled)
    }

    pub(super) fn change(&mut self, fill: Option<Fill>, now: Moment) -> Change {
        self.order.updated = now.wall;
        Change { order: self.order.clone(), fill }
    }

    pub(super) fn becomes_unknown(&mut self, reason: String, now: Moment) -> Change {
        self.order.status = OrderStatus::OutcomeUnknown;
        self.order.reason = Some(reason);
        self.change(None, now)
    }

    /// The exchange has the order and it has not ended. Tells a change if this is news.
    pub(super) fn is_live(&mut self, cumulative: Option<Quantity>, now: Moment) -> Option<Change> {
        let before = (self.order.status, self.order.filled, self.answered);
        self.answered = true;
        self.book_cumulative(cumulative);
        self.order.status = if self.order.filled.is_zero() {
            OrderStatus::Open
        } else {
            OrderStatus::PartiallyFilled
        };
        self.order.reason = None;
        let after = (self.order.status, self.order.filled, self.answered);
        (before != after).then(|| self.change(None, now))
    }

    /// Books a fill unless it was booked before (`None`); tells whether the order is filled whole.
    pub(super) fn book_fill(&mut self, fill: &Fill, cumulative: Option<Quantity>) -> Option<bool> {
        if !self.fills.insert(fill.fill_id.clone()) {
            return None;
        }
        if let Some(trades) = &mut self.closing {
            trades.push((fill.price, fill.quantity));
        }
        let total = self.order.booked.0.checked_add(fill.quantity.0);
        self.order.booked = total.map_or(self.order.booked, Quantity);
        self.order.filled = self.order.filled.max(self.order.booked);
        self.book_cumulative(cumulative);
        Some(self.order.filled >= self.order.request.quantity)
    }

    pub(super) fn book_cumulative(&mut self, cumulative: Option<Quantity>) {
        if let Some(cumulative) = cumulative {
            self.order.filled = self.order.filled.max(cumulative);
        }
    }

    pub(super) fn note_cancel(&mut self, answer: &str) {
        if let Some(cancel) = &mut self.cancel {
            cancel.last_answer = Some(answer.to_owned());
        }
    }

    /// A cancel that came before the order did was refused: now that the order is there, it is
    /// written again at once.
    pub(super) fn cancel_again(&mut self) -> Option<Work> {
        let cancel = self.cancel.as_mut()?;
        std::mem::take(&mut cancel.overtook).then_some(Work::Cancel(self.order.client_id))
    }
}
