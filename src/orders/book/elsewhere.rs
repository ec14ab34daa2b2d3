//! What is done and heard over HTTP while there is no trading connection.
//!
//! Such news is believed as any other, with two differences: it confirms nothing to a session that
//! comes up meanwhile, which may have begun to follow the orders only after the answer was given,
//! and that an order is not found counts from when the question began.

use tokio::time::Instant;

use super::{Book, Effects, Moment, Work};
use crate::exchange::{OrderEvent, OrderNews};
use crate::report::CancelPath;
use crate::types::{ClientOrderId, Order, OrderStatus};

/// Orders to cancel and to ask about over HTTP.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Errands {
    pub(crate) cancels: Vec<Order>,
    pub(crate) queries: Vec<Order>,
    /// Orders, open or ended, whose single fills are missing.
    pub(crate) fills: Vec<Order>,
}

impl Errands {
    pub(crate) fn is_empty(&self) -> bool {
        self.cancels.is_empty() && self.queries.is_empty() && self.fills.is_empty()
    }
}

impl Book {
    /// Whether some order cannot wait for a connection: it is to be cancelled, it is unknown, or a
    /// shutdown wants to know that it is there, or all its fills.
    pub(crate) fn has_errands(&self) -> bool {
        (self.cancelling_all && self.lacks_fills())
            || self.open.values().any(|entry| {
                entry.order.status != OrderStatus::Pending
                    && (entry.cancel.is_some()
                        || entry.order.status == OrderStatus::OutcomeUnknown
                        || (self.cancelling_all && !entry.is_kept()))
            })
    }

    /// The errands that are due, at most `limit` of each kind. The cancels count as written.
    pub(crate) fn begin_errands(&mut self, limit: usize, now: Moment) -> Errands {
        let mut errands = Errands::default();
        let passed = |since: Option<Instant>, pause| {
            since.is_none_or(|at| now.monotonic.saturating_duration_since(at) >= pause)
        };
        let (mut cancels, mut queries) = (Vec::new(), Vec::new());
        for (&id, entry) in &self.open {
            if entry.order.status == OrderStatus::Pending {
                continue;
            }
            let unsure = entry.order.status == OrderStatus::OutcomeUnknown
                || (self.cancelling_all && !entry.is_kept());
            match &entry.cancel {
                Some(cancel)
                    if passed(cancel.last_written, self.patience.cancel * cancel.pause) =>
                {
                    cancels.push((cancel.last_written, id));
                }
                // A question follows each cancel; one that has to wait long may have ended.
                Some(cancel) if cancel.pause > 1 && passed(entry.asked, self.patience.cancel) => {
                    queries.push(id);
                }
                None if unsure && passed(entry.asked, self.patience.query) => queries.push(id),
                _ => {}
            }
        }
        // Those that have waited longest go first, so that none waits for ever.
        cancels.sort_unstable();
        for (_, id) in cancels.into_iter().take(limit) {
            errands.cancels.extend(self.begin_cancel(id, now));
        }
        for id in queries.into_iter().take(limit) {
            errands.queries.extend(self.begin_query(id, now));
        }
        if self.cancelling_all {
            let mut effects = Effects::default();
            self.fills_due(now, &mut effects);
            for work in effects.work {
                if let Work::Fills(id) = work {
                    errands.fills.extend(self.begin_fills(id, now));
                }
            }
        }
        errands
    }

    /// The questions that follow cancels: about those that have not ended by their answers.
    pub(crate) fn begin_questions(&mut self, ids: &[ClientOrderId], now: Moment) -> Vec<Order> {
        ids.iter().filter_map(|&id| self.begin_query(id, now)).collect()
    }

    /// A cancel that counts as written certainly was not: there was nobody to write it to.
    pub(crate) fn cancel_not_written(&mut self, id: ClientOrderId) {
        let entry = self.open.get_mut(&id);
        if let Some(cancel) = entry.and_then(|entry| entry.cancel.as_mut()) {
            cancel.attempts = cancel.attempts.saturating_sub(1);
            if cancel.attempts == 0 {
                cancel.first_written = None;
            }
        }
    }

    /// Books what the exchange says over HTTP, in answer to a request of `asked` or later.
    pub(crate) fn apply_elsewhere(
        &mut self,
        event: &OrderEvent,
        asked: Instant,
        now: Moment,
    ) -> Effects {
        let Some(id) = event.client_id else { return Effects::default() };
        let mut refreshed = false;
        let mut was_open = false;
        if let Some(entry) = self.open.get_mut(&id) {
            was_open = true;
            refreshed = entry.refreshed;
            let answers_question = matches!(
                event.news,
                OrderNews::Status { .. } | OrderNews::NotFound | OrderNews::QueryFailed { .. }
            );
            if answers_question {
                // Another question may have been put since, over a connection.
                entry.asking = Some(entry.asking.map_or(asked, |at| at.min(asked)));
            }
        }
        let effects = self.apply(event, now);
        if let Some(entry) = self.open.get_mut(&id) {
            entry.refreshed = was_open && refreshed;
            entry.heard_elsewhere |= matches!(event.news, OrderNews::Status { .. });
        } else if let Some(entry) = self.closed.get_mut(&id).filter(|_| was_open) {
            entry.confirmed_over = entry.cancel.as_ref().map(|_| CancelPath::Http);
        }
        if matches!(event.news, OrderNews::Status { .. }) {
            self.fetch_at_once(id);
        }
        effects
    }
}
