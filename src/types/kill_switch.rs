//! That trading was stopped until a person allows it again.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The kill switch has tripped: no new order is taken, on no exchange, until a person resets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillSwitch {
    /// When.
    pub tripped: Timestamp,
    /// Why, in words.
    pub reason: String,
    /// The loss that tripped it; absent if something else did.
    #[serde(default)]
    pub loss: Option<DayLoss>,
}

/// What was lost in a day, and what may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayLoss {
    /// The currency that it is counted in.
    pub currency: String,
    /// What was lost since the day (UTC) began, or since the switch was reset in it; above zero.
    pub lost: Decimal,
    /// The limit, `risk.max_daily_loss`.
    pub limit: Decimal,
}
