//! How positions are closed at the end.

use serde::{Deserialize, Serialize};

/// What a shutdown does with a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosePolicy {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is closed by orders that take from the market, as far as the limits let.
    Close,
}

impl ClosePolicy {
    /// The name used in configurations and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Close => "close",
        }
    }
}

/// The orders that close a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosingOrder {
    /// Immediate-or-cancel limit orders: none trades at a worse price than the limit.
    #[default]
    Ioc,
    /// Market orders: they trade at whatever price there is. Where prices are not fresh, or have
    /// moved further than the limit, none is placed.
    Market,
}

impl ClosingOrder {
    /// The name used in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ioc => "ioc",
            Self::Market => "market",
        }
    }
}
