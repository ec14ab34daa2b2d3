//! The least time that a shutdown could have taken.

use serde::{Deserialize, Serialize};

use crate::types::ExchangeName;

/// What the measured round trips allow at best, for the exchange that needs most: its round trips,
/// each as long as the shortest one measured, and what its limits on cancels add. The work of the
/// exchange and of this machine counts as nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeastTime {
    /// Milliseconds.
    pub least_ms: u64,
    /// The exchange that needs most.
    pub exchange: ExchangeName,
    /// The shortest round trip measured on its connections, in microseconds.
    pub round_trip_us: u64,
    /// Round trips that nothing can save: cancels, closing orders, unsubscription, close frames.
    pub round_trips: u32,
    /// Milliseconds that its limits on cancels add, where cancels do not fit into them at once.
    pub paced_ms: u64,
}
