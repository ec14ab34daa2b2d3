//! Which orders have yet to be cancelled, looked for from where the last search ended.

use std::ops::Bound;

use super::{Book, Entry};
use crate::types::{ClientOrderId, OnShutdown};

impl Book {
    /// An order that is to be cancelled and that no cancel has been written for. The search begins
    /// at `from`, because cancels are written in about the order of the ids and thousands may
    /// wait; `None` is told only when there is none at all.
    pub(crate) fn next_unwritten(&self, from: Option<ClientOrderId>) -> Option<ClientOrderId> {
        let unwritten = |(id, entry): (&ClientOrderId, &Entry)| {
            let wanted = entry.order.request.on_shutdown == OnShutdown::Cancel;
            let written = entry.cancel.as_ref().is_some_and(|cancel| cancel.attempts > 0);
            (wanted && !written).then_some(*id)
        };
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let later = self.open.range((start, Bound::Unbounded)).find_map(unwritten);
        later.or_else(|| from.and_then(|_| self.open.iter().find_map(unwritten)))
    }

    /// The same by looking at every order that is known.
    #[cfg(test)]
    pub(super) fn lacks_cancel_searched(&self) -> bool {
        self.open.values().chain(self.closed.values()).any(|entry| {
            !entry.order.status.is_terminal()
                && entry.order.request.on_shutdown == OnShutdown::Cancel
                && entry.cancel.as_ref().is_none_or(|cancel| cancel.attempts == 0)
        })
    }
}
