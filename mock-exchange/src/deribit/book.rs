//! The book as a channel has shown it, and what changed since.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use super::number::Number;
use crate::engine::{Book, Side};

/// A level as the venue writes it: `["change", price, amount]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LevelChange(&'static str, Number, Number);

/// What a channel's clients hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
    pub(crate) change_id: u64,
}

/// Levels that differ, best first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) bids: Vec<LevelChange>,
    pub(crate) asks: Vec<LevelChange>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }
}

impl Shown {
    pub(crate) fn of(book: &Book) -> Self {
        Self {
            bids: book.levels(Side::Buy, usize::MAX).into_iter().collect(),
            asks: book.levels(Side::Sell, usize::MAX).into_iter().collect(),
            change_id: book.update_id(),
        }
    }

    /// Every level as new.
    pub(crate) fn snapshot(&self) -> Changes {
        let new = |(price, amount): (&Decimal, &Decimal)| {
            LevelChange("new", Number(*price), Number(*amount))
        };
        Changes {
            bids: self.bids.iter().rev().map(new).collect(),
            asks: self.asks.iter().map(new).collect(),
        }
    }

    /// What turns this book into the later one.
    pub(crate) fn changes_to(&self, later: &Self) -> Changes {
        let mut bids = side_changes(&self.bids, &later.bids);
        bids.reverse();
        Changes { bids, asks: side_changes(&self.asks, &later.asks) }
    }
}

fn side_changes(
    before: &BTreeMap<Decimal, Decimal>,
    after: &BTreeMap<Decimal, Decimal>,
) -> Vec<LevelChange> {
    let mut changes = BTreeMap::new();
    for (price, amount) in after {
        let word = match before.get(price) {
            None => "new",
            Some(old) if old == amount => continue,
            Some(_) => "change",
        };
        changes.insert(*price, LevelChange(word, Number(*price), Number(*amount)));
    }
    for price in before.keys().filter(|price| !after.contains_key(price)) {
        changes.insert(*price, LevelChange("delete", Number(*price), Number(Decimal::ZERO)));
    }
    changes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(levels: &[(i64, i64)]) -> BTreeMap<Decimal, Decimal> {
        levels.iter().map(|(p, a)| (Decimal::from(*p), Decimal::from(*a))).collect()
    }

    #[test]
    fn changes_are_written_as_recorded() {
        let before =
            Shown { bids: side(&[(99, 5), (98, 5)]), asks: side(&[(101, 1)]), change_id: 1 };
        let after =
            Shown { bids: side(&[(99, 6), (97, 5)]), asks: side(&[(101, 1)]), change_id: 4 };
        let changes = before.changes_to(&after);
        assert_eq!(
            serde_json::to_string(&changes.bids).expect("levels"),
            r#"[["change",99.0,6.0],["delete",98.0,0.0],["new",97.0,5.0]]"#
        );
        assert!(changes.asks.is_empty());
        assert!(after.changes_to(&after).is_empty());
        let snapshot = serde_json::to_string(&after.snapshot().bids).expect("levels");
        assert_eq!(snapshot, r#"[["new",99.0,6.0],["new",97.0,5.0]]"#);
    }
}
