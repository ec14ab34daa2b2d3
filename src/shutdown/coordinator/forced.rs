//! What a phase still does once the operator forces the exit.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Coordinator, FORCED_LIMIT};
use crate::report::Phase;

/// What writing one cancel for every open order may take. A live connection needs milliseconds of
/// it; what needs more is an exchange that must be reached over HTTP, or whose rate limits are used
/// up.
const CANCELS_WRITTEN_LIMIT: Duration = Duration::from_millis(1500);

impl Coordinator {
    /// Ends when the phase has had its last chance: every open order has had one cancel written, if
    /// that is possible at all, and a moment has passed for the answers.
    pub(super) async fn last_chance(&self, phase: Phase, phase_ends: Instant) {
        if phase == Phase::CancelPending {
            let written = join_all(self.exchanges.iter().map(|exchange| {
                exchange.desk.hurry();
                exchange.desk.cancels_written()
            }));
            let limit = phase_ends.min(Instant::now() + CANCELS_WRITTEN_LIMIT);
            // What could not be written is named in the report.
            _ = timeout_at(limit, written).await;
        }
        sleep_until(phase_ends.min(Instant::now() + FORCED_LIMIT)).await;
    }
}
