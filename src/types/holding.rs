//! What an account holds by the exchange's own books, beside what the fills explain.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{ExchangeName, Instrument, Timestamp};

/// Something that an account has an amount of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// The balance of an asset, for example `BTC`, what orders hold of it included.
    Asset(String),
    /// The position in a derivative, in the unit that quantities of orders have.
    Instrument(Instrument),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asset(asset) => f.pad(asset),
            Self::Instrument(instrument) => f.pad(instrument.pair()),
        }
    }
}

/// How much an account holds of something; below zero a short position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Of what.
    pub held: Held,
    /// How much.
    pub amount: Decimal,
}

/// What one exchange said its account holds, beside what it held when the gateway started and what
/// the gateway's fills since then explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Which exchange.
    pub exchange: ExchangeName,
    /// When it answered, or was given up.
    pub at: Timestamp,
    /// Everything that the configured instruments and the fees are paid in, or that is a position.
    pub lines: Vec<ComparisonLine>,
    /// Why there was nothing to compare.
    pub problem: Option<String>,
}

/// One line of a [`Comparison`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparisonLine {
    /// What is held.
    pub held: Held,
    /// What the exchange says.
    pub told: Decimal,
    /// What it held at the start and what the fills since then add up to.
    pub expected: Decimal,
    /// `told` less `expected`. A trade that a person makes on the same account is in it, as are
    /// deposits and withdrawals: it is to be looked at, and no error of the gateway by itself.
    pub difference: Decimal,
    /// Whether the difference is no more than what an exchange rounds away.
    pub is_rounding: bool,
}
