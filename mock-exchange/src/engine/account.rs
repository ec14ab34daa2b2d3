//! The test account's balances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::order::Balance;

/// In which asset a venue takes its fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeeAsset {
    /// In what the trade brings in.
    Received,
    /// Always in the quote asset.
    Quote,
}

/// Free and locked amounts, and which of them changed since last asked.
#[derive(Debug, Default)]
pub(crate) struct Account {
    balances: BTreeMap<Arc<str>, Balance>,
    touched: BTreeSet<Arc<str>>,
}

impl Account {
    /// Adds to what is free; negative amounts take away.
    pub(crate) fn credit(&mut self, asset: &Arc<str>, amount: Decimal) {
        let balance = self.entry(asset);
        balance.free = sum(balance.free, amount);
    }

    /// Moves from free to locked.
    pub(crate) fn lock(&mut self, asset: &Arc<str>, amount: Decimal) {
        let balance = self.entry(asset);
        balance.free = sum(balance.free, -amount);
        balance.locked = sum(balance.locked, amount);
    }

    /// Moves from locked to free.
    pub(crate) fn unlock(&mut self, asset: &Arc<str>, amount: Decimal) {
        self.lock(asset, -amount);
    }

    pub(crate) fn free(&self, asset: &str) -> Decimal {
        self.balances.get(asset).map_or(Decimal::ZERO, |balance| balance.free)
    }

    pub(crate) fn balance(&self, asset: &str) -> Balance {
        self.balances.get(asset).copied().unwrap_or_default()
    }

    pub(crate) fn balances(&self) -> &BTreeMap<Arc<str>, Balance> {
        &self.balances
    }

    /// The assets that changed since the last call.
    pub(crate) fn drain_touched(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    fn entry(&mut self, asset: &Arc<str>) -> &mut Balance {
        if !self.touched.contains(asset) {
            self.touched.insert(asset.clone());
        }
        self.balances.entry(asset.clone()).or_default()
    }
}

/// A sum whose zero has no sign: a balance is never written as `-0.00`.
fn sum(left: Decimal, right: Decimal) -> Decimal {
    let sum = left + right;
    if sum.is_zero() { Decimal::ZERO } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_balance_is_plain_zero() {
        let asset: Arc<str> = "USD".into();
        let mut account = Account::default();
        account.lock(&asset, Decimal::ZERO);
        account.unlock(&asset, Decimal::ZERO);
        assert_eq!(format!("{:.2}", account.balance("USD").locked), "0.00");
    }
}
