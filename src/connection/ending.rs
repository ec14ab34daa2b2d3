//! How one attempt or one live connection ended.

use crate::exchange::{HttpFailure, Refusal};

/// Peer closed, closed here, timed out and broken are different things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ending {
    #[error("closed here, as asked")]
    ClosedHere,
    #[error("replaced by a new connection: {reason}")]
    Planned { reason: String },
    #[error("closed by the exchange with code {}{}", code.map_or("none".into(), |c| c.to_string()), suffix(reason))]
    ClosedByPeer { code: Option<u16>, reason: String },
    #[error("cannot connect: {reason}")]
    CannotConnect { reason: String },
    #[error("{what} took longer than {limit_ms} ms")]
    TimedOut { what: &'static str, limit_ms: u128 },
    #[error("silent for {silent_ms} ms")]
    Silent { silent_ms: u128 },
    #[error("what was written was not answered for {waited_ms} ms")]
    Unanswered { waited_ms: u128 },
    #[error("the connection broke: {reason}")]
    Broken { reason: String },
    #[error("{} was refused: {}{}", .0.request, .0.reason, code(.0.code))]
    Refused(Refusal),
    #[error("private updates were lost: {reason}")]
    UpdatesLost { reason: String },
}

impl Ending {
    /// Whether trying again with the same configuration is pointless.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.permanent)
    }
}

impl From<HttpFailure> for Ending {
    fn from(failure: HttpFailure) -> Self {
        Self::CannotConnect { reason: failure.to_string() }
    }
}

fn suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn code(code: Option<i64>) -> String {
    code.map(|code| format!(" (code {code})")).unwrap_or_default()
}
