//! What the gateway's own fills add up to.

use std::collections::BTreeMap;

use jiff::civil::Date;
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
    /// What the profit was when its UTC day began, or when it was first seen on that day.
    #[serde(default)]
    pub day: Option<DayStart>,
}

/// What the profit of a position was when a UTC day began: the profit of the day is what there is
/// more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayStart {
    /// Which day, in UTC.
    pub date: Date,
    /// Profit of what had been closed less all fees.
    pub net: Decimal,
    /// Profit of what was held at the first price of the day; absent as long as there was none.
    pub unrealized: Option<Decimal>,
}

/// A position, and what it is worth at the last tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Valuation {
    /// What is held.
    #[serde(flatten)]
    pub position: Position,
    /// The price at which what is held could be given up now; absent without a tick, and if nothing
    /// is held.
    pub price: Option<Price>,
    /// Where that price is from.
    pub basis: Option<PriceBasis>,
    /// Profit of what is held at that price, in the position's `currency`, before fees; zero if
    /// nothing is held, absent without a price.
    pub unrealized: Option<Decimal>,
}

impl Valuation {
    /// All profit less all fees, in the position's `currency`; absent without a price.
    pub fn profit(&self) -> Option<Decimal> {
        self.position.net().checked_add(self.unrealized?)
    }
}

/// Which price of the last ticks a position is valued at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceBasis {
    /// The best bid: a long position would be sold at it.
    Bid,
    /// The best ask: a short position would be bought back at it.
    Ask,
    /// The last trade, where nobody quotes that side.
    Trade,
}

impl PriceBasis {
    /// The name used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bid => "bid",
            Self::Ask => "ask",
            Self::Trade => "trade",
        }
    }
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
            day: None,
        }
    }

    /// Whether nothing is held.
    pub fn is_flat(&self) -> bool {
        self.quantity.is_zero()
    }

    /// Profit of what was closed less all fees, in `currency`.
    pub fn net(&self) -> Decimal {
        self.realized.saturating_sub(self.fees)
    }
}
