//! What the desk knows of the least time that a shutdown needs.

use std::time::Duration;

use super::Desk;

impl Desk {
    /// The shortest time from the writing of an order to the exchange's first word on it.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.state().book.round_trip()
    }

    /// Whether the shutdown had to cancel anything here, and the least time that the exchange's
    /// limits make its cancels wait, were they not used by anything else.
    pub(crate) fn cancels_needed(&self) -> (bool, Duration) {
        let state = self.state();
        let least = self.lane.least_wait(&state.last_cancels);
        (!state.last_cancels.is_empty(), least)
    }
}
