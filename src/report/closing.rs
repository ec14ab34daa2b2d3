//! Positions at the end: what was closed, what is left, and the profit.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

pub use crate::types::ClosePolicy;
use crate::types::{ClientOrderId, Instrument, Price};

/// One position at the end of a shutdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionReport {
    /// What was traded, and where.
    pub instrument: Instrument,
    /// What was to become of it.
    pub policy: ClosePolicy,
    /// What was held when every cancel was settled; below zero a short one.
    pub quantity: Decimal,
    /// Average price of what was held then.
    pub entry: Option<Price>,
    /// What the closing orders traded, without a sign.
    pub closed: Decimal,
    /// Average price of that.
    pub exit: Option<Price>,
    /// What is held now; below zero a short one.
    pub left: Decimal,
    /// The asset that profit and fees are counted in.
    pub currency: String,
    /// Profit of what was closed before and during the shutdown, before fees.
    pub realized: Decimal,
    /// Fees, in `currency`.
    pub fees: Decimal,
    /// Fees in other assets, in no sum.
    #[serde(default)]
    pub other_fees: BTreeMap<String, Decimal>,
    /// Profit of what is left, at the last tick; absent without one.
    pub unrealized: Option<Decimal>,
    /// The closing orders; their ends are among the orders of the exchange.
    #[serde(default)]
    pub orders: Vec<ClientOrderId>,
    /// Why something is left that was to be closed.
    pub not_closed: Option<String>,
    /// Whether what is left is too little for the exchange to take an order of it. It is named, but
    /// nobody could close it.
    #[serde(default)]
    pub dust: bool,
    /// What the exchange says is held less what the fills say, where it was asked and answered.
    pub difference: Option<Decimal>,
    /// Why it was not compared, where it was to be.
    #[serde(default)]
    pub not_compared: Option<String>,
}

impl PositionReport {
    /// Whether it was to be closed and is not, although the exchange takes orders of this size.
    pub fn is_left(&self) -> bool {
        self.policy == ClosePolicy::Close && !self.left.is_zero() && !self.dust
    }

    /// All profit less all fees, in `currency`; what is left counts as far as it is known.
    pub fn profit(&self) -> Decimal {
        let net = self.realized.saturating_sub(self.fees);
        net.saturating_add(self.unrealized.unwrap_or_default())
    }
}
