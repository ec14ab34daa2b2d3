//! What the gateway's own fills add up to.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Instrument, Price, Timestamp};

/// What the gateway holds of an instrument by its own fills, of this run and of earlier ones with
/// the same state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// What was traded, and where.
    pub instrument: Instrument,
    /// Above zero what was bought, below zero what was sold, in the unit that quantities of orders
    /// have. On spot markets fees taken in the base asset are deducted: this is what can be sold.
    pub quantity: Decimal,
    /// Average price of what is held now; absent if nothing is.
    pub entry: Option<Price>,
    /// The asset that profit and fees are counted in: the quote asset, or what a derivative settles
    /// in.
    pub currency: String,
    /// Profit of what was closed, in `currency`, before fees. A loss is below zero.
    pub realized: Decimal,
    /// Fees paid, in `currency`; those taken in the base asset at the price of their fill. A rebate
    /// is below zero.
    pub fees: Decimal,
    /// Fees in any other asset, by asset; they are in no sum.
    #[serde(default)]
    pub other_fees: BTreeMap<String, Decimal>,
    /// Quantity bought ever.
    pub bought: Decimal,
    /// Quantity sold ever.
    pub sold: Decimal,
    /// When it last changed.
    pub updated: Timestamp,
}

impl Position {
    /// Nothing traded yet.
    pub fn empty(instrument: Instrument, currency: &str) -> Self {
        Self {
            instrument,
            quantity: Decimal::ZERO,
            entry: None,
            currency: currency.to_owned(),
            realized: Decimal::ZERO,
            fees: Decimal::ZERO,
            other_fees: BTreeMap::new(),
            bought: Decimal::ZERO,
            sold: Decimal::ZERO,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    /// Whether nothing is held.
    pub fn is_flat(&self) -> bool {
        self.quantity.is_zero()
    }

    /// Profit of what was closed less all fees, in `currency`.
    pub fn net(&self) -> Decimal {
        self.realized - self.fees
    }
}
