//! How an exchange's dead-man's switch was left.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

/// An exchange's dead-man's switch at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SwitchReport {
    /// What sets it off.
    pub kind: SwitchKind,
    /// Which orders it cancels: `connection`, `instrument` or `account`; absent where there is none.
    #[serde(default)]
    pub scope: Option<String>,
    /// How it was left.
    #[serde(flatten)]
    pub state: SwitchState,
}

/// What sets a dead-man's switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchKind {
    /// The exchange has none.
    #[default]
    None,
    /// A timer that is not set again in time.
    Timer,
    /// The end of the connection.
    ConnectionDrop,
}

impl SwitchKind {
    /// A few words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Timer => "timer",
            Self::ConnectionDrop => "end of connection",
        }
    }
}

/// How a dead-man's switch was left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SwitchState {
    /// The exchange has none.
    #[default]
    None,
    /// There is one, and the configuration does not use it.
    NotConfigured,
    /// The exchange confirmed that it is off. It was asked to only when every order that was to be
    /// cancelled was confirmed closed.
    Disarmed,
    /// It is armed: the exchange cancels what is in its scope.
    LeftArmed {
        /// When a timer goes off; absent for one that goes off as the connection ends.
        fires_at: Option<Timestamp>,
        /// Why it was left armed.
        reason: String,
    },
    /// The exchange did not confirm the last setting: it may be on or off.
    Unconfirmed {
        /// What was not confirmed.
        reason: String,
    },
}

impl fmt::Display for SwitchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("the exchange has none"),
            Self::NotConfigured => f.write_str("not configured"),
            Self::Disarmed => f.write_str("disarmed"),
            Self::LeftArmed { fires_at: Some(at), reason } => {
                write!(f, "LEFT ARMED, cancels at {at:.0}: {reason}")
            }
            Self::LeftArmed { fires_at: None, reason } => {
                write!(f, "LEFT ARMED, cancels as the connection ends: {reason}")
            }
            Self::Unconfirmed { reason } => write!(f, "UNCONFIRMED: {reason}"),
        }
    }
}
