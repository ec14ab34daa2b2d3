//! Wall-clock time as the exchange sees it.

use jiff::Timestamp;
use tokio::time::Instant;

/// Where the mock takes its wall-clock time from. Timers always run on `tokio::time`.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that starts at `epoch` when `tokio::time` reads `base` and moves with it, so that
    /// paused or simulated time moves the exchange's timestamps too.
    Simulated {
        /// The wall-clock time at `base`.
        epoch: Timestamp,
        /// The instant at which `epoch` was read.
        base: Instant,
    },
}

impl Clock {
    /// A simulated clock that reads `epoch` now. Call it inside the runtime.
    pub fn simulated(epoch: Timestamp) -> Self {
        Self::Simulated { epoch, base: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Simulated { epoch, base } => {
                epoch.saturating_add(base.elapsed()).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
