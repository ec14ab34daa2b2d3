//! What orders may still add to positions, counted up and down as they change.
//!
//! An order counts with what is not booked in its position yet and may come to be: while it is open
//! all but the booked part, afterwards what has filled and whose fills are still to be fetched.

use rust_decimal::Decimal;
use rustc_hash::FxHashMap;

use super::{Book, Entry};
use crate::risk::OpenQuantities;
use crate::types::{ClientOrderId, Instrument};

/// What one order counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counted {
    quantity: Decimal,
    is_open: bool,
}

impl Counted {
    fn of(entry: &Entry) -> Self {
        let order = &entry.order;
        let is_open = !order.status.is_terminal();
        let whole = if is_open { order.request.quantity.max(order.filled) } else { order.filled };
        let quantity = whole.0.saturating_sub(order.booked.0).max(Decimal::ZERO);
        Self { quantity, is_open }
    }
}

/// The sums of all orders.
#[derive(Default)]
pub(super) struct Exposure {
    instruments: FxHashMap<Instrument, OpenQuantities>,
    /// Those whose sums have changed since they were last taken.
    changed: Vec<Instrument>,
}

impl Exposure {
    fn count(&mut self, entry: &Entry, now: Counted) {
        let request = &entry.order.request;
        let (before, instrument) = (entry.counted, request.instrument);
        let open = self.instruments.entry(instrument).or_default();
        open.take(request.side, request.reduce_only, before.quantity);
        open.add(request.side, request.reduce_only, now.quantity);
        open.orders += usize::from(now.is_open);
        open.orders = open.orders.saturating_sub(usize::from(before.is_open));
        if !self.changed.contains(&instrument) {
            self.changed.push(instrument);
        }
    }

    /// The order is not to be counted any more.
    pub(super) fn forget(&mut self, entry: &Entry) {
        self.count(entry, Counted::default());
    }
}

impl Book {
    /// Counts an order as it is now. Called wherever an order begins, ends or fills.
    pub(super) fn recount(&mut self, id: ClientOrderId) {
        let Some(entry) = self.open.get_mut(&id).or_else(|| self.closed.get_mut(&id)) else {
            return;
        };
        let now = Counted::of(entry);
        if now != entry.counted {
            self.exposure.count(entry, now);
            entry.counted = now;
        }
    }

    /// What the orders of an instrument may still add to its position.
    pub(crate) fn open_quantities(&self, instrument: Instrument) -> OpenQuantities {
        self.exposure.instruments.get(&instrument).copied().unwrap_or_default()
    }

    /// The next instrument whose quantities have changed since this was last asked.
    pub(crate) fn next_changed(&mut self) -> Option<Instrument> {
        self.exposure.changed.pop()
    }

    /// The same sums, added up from every order that is known.
    #[cfg(test)]
    pub(super) fn open_quantities_searched(&self, instrument: Instrument) -> OpenQuantities {
        let mut sums = OpenQuantities::default();
        let entries = self.open.values().chain(self.closed.values());
        for entry in entries.filter(|entry| entry.order.instrument() == instrument) {
            let (request, now) = (&entry.order.request, Counted::of(entry));
            sums.add(request.side, request.reduce_only, now.quantity);
            sums.orders += usize::from(now.is_open);
        }
        sums
    }
}
