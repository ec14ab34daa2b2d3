//! Fetching single fills: an order of which more has filled than its fills tell is asked for them,
//! open or ended, until they are all there.
//!
//! Such orders are never forgotten. Each was on the exchange when its fills got lost, so that their
//! number is bounded by that of the open orders and of those that have ended since; the desk lets no
//! new order in while [`MAX_INCOMPLETE`] ended ones wait.

use std::time::Duration;

use tokio::time::Instant;

use super::{Book, Effects, Entry, Moment, Patience, Work};
use crate::types::{ClientOrderId, Order, Quantity};

/// Questions for fills that may wait for an answer at a time, so that many orders in doubt take
/// neither the exchange's limits nor the line from orders and cancels.
const MAX_ASKING: usize = 8;

/// A question that brought not all fills, or failed, is repeated after at most this many times the
/// usual pause: some exchanges index fills late, and one that never tells them must not be flooded.
const MAX_PAUSE: u32 = 16;

/// Ended orders that may wait for their fills before new orders are refused.
const MAX_INCOMPLETE: usize = 4096;

/// How far the fetching of an order's fills is.
#[derive(Debug)]
pub(super) struct Fetch {
    /// The private stream has until then to tell them by itself; `None` if it has had its time.
    not_before: Option<Instant>,
    /// When the question was queued or written that has not been answered.
    asking: Option<Instant>,
    /// How many times the usual pause to wait after an answer that brought not all.
    pause: u32,
}

impl Default for Fetch {
    fn default() -> Self {
        Self { not_before: None, asking: None, pause: 1 }
    }
}

impl Fetch {
    /// More has filled: the stream may tell it in a moment.
    fn grown(&mut self, now: Instant, patience: Duration) {
        self.not_before = Some(now + patience);
        self.pause = 1;
    }

    fn answered(&mut self, now: Instant, patience: Duration) {
        self.asking = None;
        self.not_before = Some(now + patience * self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    fn is_asking(&self, now: Instant, patience: &Patience) -> bool {
        self.asking.is_some_and(|at| now.duration_since(at) < patience.acknowledgement)
    }

    fn is_due(&self, now: Instant, patience: &Patience) -> bool {
        !self.is_asking(now, patience) && self.not_before.is_none_or(|at| now >= at)
    }
}

impl Book {
    /// The orders that lack fills, open ones first.
    fn lacking(&self) -> Vec<ClientOrderId> {
        let open = self.open.iter().filter(|(_, entry)| entry.order.lacks_fills());
        open.map(|(id, _)| *id).chain(self.incomplete.iter().copied()).collect()
    }

    fn entry_mut(&mut self, id: ClientOrderId) -> Option<&mut Entry> {
        self.open.get_mut(&id).or_else(|| self.closed.get_mut(&id))
    }

    /// Whether so many ended orders wait for their fills that no new one should be let in: how many.
    pub(crate) fn overfull(&self) -> Option<usize> {
        let waiting = self.incomplete.len();
        (waiting >= MAX_INCOMPLETE).then_some(waiting)
    }

    /// Whether the fills of some order have yet to be fetched.
    pub(in crate::orders) fn lacks_fills(&self) -> bool {
        !self.incomplete.is_empty() || self.open.values().any(|entry| entry.order.lacks_fills())
    }

    /// A question for fills is about to be written: the order to ask for, unless they have come.
    pub(crate) fn begin_fills(&mut self, id: ClientOrderId, now: Moment) -> Option<Order> {
        let entry = self.entry_mut(id).filter(|entry| entry.order.lacks_fills())?;
        entry.fetch.asking = Some(now.monotonic);
        Some(entry.order.clone())
    }

    /// Asks for the fills that the stream has not told in its time.
    pub(super) fn fills_due(&mut self, now: Moment, effects: &mut Effects) {
        let (now, patience) = (now.monotonic, self.patience);
        let lacking = self.lacking();
        let asking = |id: &&ClientOrderId| {
            self.entry(**id).is_some_and(|entry| entry.fetch.is_asking(now, &patience))
        };
        let mut room = MAX_ASKING.saturating_sub(lacking.iter().filter(asking).count());
        for id in lacking {
            if room == 0 {
                return;
            }
            let Some(entry) = self.entry_mut(id) else { continue };
            if entry.fetch.is_due(now, &patience) {
                room -= 1;
                entry.fetch.asking = Some(now);
                effects.work.push(Work::Fills(id));
            }
        }
    }

    /// A new session is there, or shutdown has begun: what is known to be missing is asked for
    /// without waiting any more. Tells the first questions; the others follow when they are due.
    pub(super) fn fetch_now(&mut self) -> Vec<Work> {
        let mut work = Vec::new();
        for id in self.lacking() {
            let Some(entry) = self.entry_mut(id) else { continue };
            let asking = entry.fetch.asking;
            entry.fetch = Fetch { asking, ..Fetch::default() };
            if asking.is_none() && work.len() < MAX_ASKING {
                work.push(Work::Fills(id));
            }
        }
        work
    }

    /// There is no stream that might tell the fills of this order.
    pub(super) fn fetch_at_once(&mut self, id: ClientOrderId) {
        let open = self.open.get_mut(&id);
        if let Some(entry) = open.or_else(|| self.closed.get_mut(&id))
            && entry.fetch.pause == 1
        {
            entry.fetch.not_before = None;
        }
    }

    /// The connection is gone, and with it the questions that were written to it.
    pub(super) fn forget_questions_for_fills(&mut self) {
        for id in self.lacking() {
            if let Some(entry) = self.entry_mut(id) {
                entry.fetch = Fetch::default();
            }
        }
    }

    /// Notes whether more has filled, and whether the question for fills was answered.
    pub(super) fn note_fills(
        &mut self,
        id: ClientOrderId,
        filled_before: Quantity,
        answered: bool,
        now: Moment,
    ) {
        let patience = self.patience.query;
        let Some(entry) = self.entry_mut(id) else { return };
        if answered {
            entry.fetch.answered(now.monotonic, patience);
        }
        if entry.order.filled > filled_before {
            entry.fetch.grown(now.monotonic, patience);
        }
        self.file(id);
    }

    /// An ended order is kept while it lacks fills, and among the oldest to be forgotten after.
    pub(super) fn file(&mut self, id: ClientOrderId) {
        let Some(entry) = self.closed.get_mut(&id) else { return };
        if entry.order.lacks_fills() {
            self.incomplete.insert(id);
        } else if self.incomplete.remove(&id) {
            // The line may be long, and many orders may end at once.
            if std::mem::replace(&mut entry.in_line, true) {
                self.closed_order.retain(|known| *known != id);
            }
            self.closed_order.push_back(id);
            self.forget_oldest();
        }
    }
}
