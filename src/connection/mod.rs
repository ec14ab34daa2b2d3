//! Connections: one driver owns every socket; its decisions are pure and stand in their own files.
//!
//! A connection lives through: wait → prepare (a token, where the exchange wants one) → connect →
//! log in and subscribe → live → close. The driver ([`driver`]) walks through these and starts
//! again after a failure; [`live`] serves one open socket; [`backoff`], [`liveness`], [`pacing`]
//! and [`log_limit`] decide and know no socket; [`record`] keeps what happened. While there is no
//! trading connection, [`fallback`] cancels over HTTP. [`account`] asks what is held.

mod account;
mod backoff;
mod driver;
mod ending;
mod fallback;
mod live;
mod liveness;
mod log_limit;
mod pacing;
mod record;
mod socket;

pub(crate) use account::AccountCheck;
pub(crate) use driver::{Driver, Role};
pub(crate) use fallback::HttpFallback;
pub(crate) use record::{ConnectionRecord, StageDetails, log_stage};
pub use record::{ConnectionSnapshot, ConnectionStatus};
