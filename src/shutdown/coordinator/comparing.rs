//! Comparing positions with what the exchanges say.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::Coordinator;

/// What comparing may take at most: it proves nothing about orders, so nothing waits long for it.
const COMPARE_LIMIT: Duration = Duration::from_secs(1);

impl Coordinator {
    /// The report tells only what is compared from here on.
    pub(super) fn forget_comparisons(&self) {
        for exchange in &self.exchanges {
            self.positions.forget_comparison(exchange.name);
        }
    }

    /// Compares the positions of every exchange that was traded at, in at most half of what is left
    /// of a phase that ends then. What differs, and what could not be asked, is logged and kept with
    /// the positions.
    pub(super) async fn compare_positions(&self, ends: Instant) {
        let left = ends.saturating_duration_since(Instant::now());
        let limit = (left / 2).min(COMPARE_LIMIT);
        if limit.is_zero() || self.force.is_cancelled() {
            return;
        }
        let exchanges =
            self.exchanges.iter().filter(|exchange| !self.positions.is_idle(exchange.name));
        let comparing = exchanges.filter_map(|exchange| exchange.account.as_ref());
        tokio::select! {
            biased;
            () = self.force.cancelled() => {}
            _ = join_all(comparing.map(|account| account.compare(limit))) => {}
        }
    }
}
