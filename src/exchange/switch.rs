//! What an exchange itself does with the orders when the gateway dies: one model for all of them.

use std::time::Duration;

use crate::types::Timestamp;

/// An exchange's dead-man's switch: what cancels the orders if the gateway itself dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadMansSwitch {
    /// The exchange has none: orders stay open if the gateway dies.
    None,
    /// A timer that must be set again and again; when it runs out the exchange cancels. The last
    /// setting counts, whichever connection it came over, and the end of a connection changes
    /// nothing.
    Timer {
        /// Which orders it cancels.
        scope: SwitchScope,
        /// The shortest time that it can be set to.
        timeout_min: Duration,
        /// The longest time that it can be set to.
        timeout_max: Duration,
        /// The exchange counts in these: other times are rounded up.
        step: Duration,
        /// The longest time between two settings that the exchange recommends.
        refresh_max: Duration,
    },
    /// The end of a connection: the exchange then cancels. So it does at each reconnect.
    ConnectionDrop {
        /// Which orders it cancels.
        scope: SwitchScope,
        /// Whether a close in order, with both close frames, sets it off as well.
        fires_on_clean_close: bool,
        /// Whether a logout before the close keeps it from going off.
        suppressed_by_logout: bool,
    },
}

/// Which orders a dead-man's switch cancels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchScope {
    /// Those that were placed over the connection it was set on.
    Connection,
    /// Those on one instrument.
    Instrument,
    /// Every order of the account, whoever placed it.
    Account,
}

impl SwitchScope {
    /// `connection`, `instrument` or `account`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Instrument => "instrument",
            Self::Account => "account",
        }
    }
}

/// A setting of the switch. Its number comes back with the answer, so that an answer to an older
/// setting is never taken for one to a newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchRequest {
    /// Different for each request of a gateway.
    pub number: u64,
    /// What is asked for.
    pub setting: SwitchSetting,
}

/// What a dead-man's switch can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchSetting {
    /// On. The timeout is a timer's; the end of a connection has none and it is not read.
    Arm {
        /// Until a timer goes off, from when the exchange reads the request.
        timeout: Duration,
    },
    /// Off.
    Disarm,
}

/// The exchange's answer to a [`SwitchRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchAnswer {
    /// The request.
    pub request: SwitchRequest,
    /// What came of it.
    pub outcome: SwitchOutcome,
}

/// What came of a [`SwitchRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchOutcome {
    /// It is set as asked.
    Done {
        /// When an armed timer goes off, where the exchange says so.
        fires_at: Option<Timestamp>,
    },
    /// The exchange refused: it is set as before.
    Refused {
        /// The exchange's number for it, where it has one.
        code: Option<i64>,
        /// In the exchange's words.
        reason: String,
    },
}
