//! The desk for whoever cancels and asks over HTTP while there is no trading connection.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Desk;
use crate::exchange::OrderEvent;
use crate::orders::book::Errands;
use crate::orders::lane::LaneState;
use crate::types::{ClientOrderId, Order};

impl Desk {
    /// Whether there is no trading connection.
    pub(crate) fn is_down(&self) -> bool {
        self.lane.state() == LaneState::Down
    }

    /// Why there is no trading connection, in words.
    pub(crate) fn down_reason(&self) -> String {
        self.state().down_reason.clone()
    }

    /// Whether orders are to be cancelled or asked about although there is no trading connection.
    pub(crate) fn has_errands(&self) -> bool {
        self.is_down() && self.state().book.has_errands()
    }

    /// Ends when there are errands and there has been no trading connection for `after`, or for
    /// `hurried` once a shutdown has begun. Cancel safe.
    pub(crate) async fn errands_wanted(&self, after: Duration, hurried: Duration) {
        loop {
            let changed = self.changed.notified();
            let due = self.errands_due(after, hurried);
            if due.is_some_and(|due| due <= Instant::now()) {
                return;
            }
            let time = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = time => {}
            }
        }
    }

    /// The exit is forced: errands wait for no connection any more.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    fn errands_due(&self, after: Duration, hurried: Duration) -> Option<Instant> {
        let after = match self.gate.is_closed() {
            true if self.hurried.load(Ordering::Relaxed) => Duration::ZERO,
            true => after.min(hurried),
            false => after,
        };
        let state = self.state();
        let down_since = state.down_since.filter(|_| state.book.has_errands())?;
        Some(down_since + after)
    }

    /// The errands that are due, at most `limit` of each kind; their cancels count as written.
    pub(crate) fn begin_errands(&self, limit: usize) -> Errands {
        if !self.is_down() {
            return Errands::default();
        }
        let now = self.now();
        let errands = self.state().book.begin_errands(limit, now);
        if !errands.is_empty() {
            self.changed.notify_waiters();
        }
        errands
    }

    /// The questions that follow cancels: about those orders that have not ended by their answers.
    pub(crate) fn begin_questions(&self, ids: &[ClientOrderId]) -> Vec<Order> {
        let now = self.now();
        self.state().book.begin_questions(ids, now)
    }

    /// Cancels that count as written certainly were not.
    pub(crate) fn cancels_not_written(&self, ids: &[ClientOrderId]) {
        let mut state = self.state();
        for id in ids {
            state.book.cancel_not_written(*id);
        }
    }

    /// Books what the exchange says over HTTP, in answer to a request of `asked` or later.
    pub(crate) fn apply_elsewhere(&self, event: &OrderEvent, asked: Instant) {
        let now = self.now();
        let mut state = self.state();
        let effects = state.book.apply_elsewhere(event, asked, now);
        self.carry_out(&mut state, effects);
        self.open_when_reconciled(&state);
    }
}
