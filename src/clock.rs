//! Wall-clock time, injected so that tests and simulations decide what it is.

use crate::types::Timestamp;

/// Tells the wall-clock time. Durations are measured with tokio's clock, not with this one.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
