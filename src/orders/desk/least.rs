//! What the desk knows of the time that a shutdown needs, and what it would do.

use std::time::Duration;

use super::Desk;
use crate::exchange::MassCancel;
use crate::orders::limiter::least_wait;
use crate::orders::plan::{self, CancelMeans};
use crate::report::{ExchangePlan, RoundTrips};

impl Desk {
    /// The times from the writing of an order to the exchange's first word on it.
    pub(crate) fn round_trips(&self) -> Option<RoundTrips> {
        self.state().book.round_trips()
    }

    /// Whether the shutdown had to cancel anything here, and the least time that the exchange's
    /// limits make its cancels wait, were they not used by anything else.
    pub(crate) fn cancels_needed(&self) -> (bool, Duration) {
        let state = self.state();
        let least = least_wait(&self.lane.limits(), &state.last_cancels);
        (!state.last_cancels.is_empty(), least)
    }

    /// What a shutdown would cancel now, where a message holds up to `batch` cancels.
    pub(crate) fn plan(&self, batch: usize) -> ExchangePlan {
        let state = self.state();
        let is_alone = !state.book.sees_others(None);
        let mass = if is_alone { self.settings.mass_cancel } else { MassCancel::NONE };
        let limits = self.lane.limits();
        let means = CancelMeans { mass, batch, limits: &limits };
        plan::plan(self.exchange(), state.book.unfinished(), &means)
    }
}
