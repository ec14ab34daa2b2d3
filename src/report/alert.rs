//! Which alerts were raised, and whether anybody was reached.

use serde::{Deserialize, Serialize};

use crate::types::{ExchangeName, Timestamp};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertKind {
    /// Orders are open that were to be cancelled.
    OrdersLeft,
    /// What became of orders is not known.
    OrdersUnknown,
    /// Positions are left that were to be closed.
    PositionsLeft,
    /// The daily loss limit stopped trading.
    KillSwitch,
    /// The operator or the deadline ended the shutdown, or the run before ended without one.
    ForcedExit,
    /// State could not be saved.
    StateNotSaved,
    /// An exchange has been unreachable for longer than the limit.
    ExchangeLost,
    /// A part of the gateway failed that nothing else names.
    PartFailed,
}

impl AlertKind {
    /// The name used in logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrdersLeft => "orders_left",
            Self::OrdersUnknown => "orders_unknown",
            Self::PositionsLeft => "positions_left",
            Self::KillSwitch => "kill_switch",
            Self::ForcedExit => "forced_exit",
            Self::StateNotSaved => "state_not_saved",
            Self::ExchangeLost => "exchange_lost",
            Self::PartFailed => "part_failed",
        }
    }
}

/// Something that a person should know now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// When it was raised.
    pub at: Timestamp,
    /// Which exchange it is about, if one.
    #[serde(default)]
    pub exchange: Option<ExchangeName>,
    /// What is wrong and what to do, in words, with the orders or positions by name.
    pub message: String,
}

/// An alert with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertReport {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// How each way of delivery ended; the log is none of them, it has every alert.
    #[serde(default)]
    pub deliveries: Vec<AlertDelivery>,
}

/// One way in which an alert was to reach somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertDelivery {
    /// `webhook` or `command`.
    pub channel: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not delivered; absent if it was.
    #[serde(default)]
    pub error: Option<String>,
}
