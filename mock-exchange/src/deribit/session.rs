//! What the venue knows of one connection.

use std::time::Duration;

use tokio::time::Instant;

use super::auth::Grant;

/// Heartbeats that a client asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) next: Instant,
    /// A test request waits for its answer.
    pub(crate) unanswered: bool,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) grant: Option<Grant>,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Whether the connection's orders are cancelled when it ends.
    pub(crate) cancel_on_disconnect: bool,
}
