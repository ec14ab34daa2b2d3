//! What all positions of one currency come to.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::ShutdownReport;

/// The sums over all positions that are counted in one asset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProfitTotal {
    /// Profit of what was closed, before fees.
    pub realized: Decimal,
    /// Fees paid; a rebate is below zero.
    pub fees: Decimal,
    /// Profit of what is left, as far as there is a price for it.
    pub unrealized: Decimal,
    /// All profit less all fees.
    pub net: Decimal,
    /// Positions that hold something and have no price, so that `unrealized` and `net` leave it out.
    pub unpriced: u64,
}

impl ShutdownReport {
    /// Profit by the asset that it is counted in. What is too large for a decimal stays out.
    pub fn profit_totals(&self) -> BTreeMap<&str, ProfitTotal> {
        let mut totals = BTreeMap::<&str, ProfitTotal>::new();
        for position in &self.positions {
            let total = totals.entry(&position.currency).or_default();
            let unrealized = position.unrealized.unwrap_or_default();
            add(&mut total.realized, position.realized);
            add(&mut total.fees, position.fees);
            add(&mut total.unrealized, unrealized);
            total.unpriced += u64::from(position.unrealized.is_none() && !position.left.is_zero());
        }
        for total in totals.values_mut() {
            total.net = total.realized;
            add(&mut total.net, -total.fees);
            add(&mut total.net, total.unrealized);
        }
        totals
    }
}

fn add(sum: &mut Decimal, value: Decimal) {
    *sum = sum.checked_add(value).unwrap_or(*sum);
}
