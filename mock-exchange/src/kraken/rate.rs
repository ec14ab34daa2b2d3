//! The engine's rate counter: one a pair and account, which grows by transaction and decays.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

/// The account's verification tier, which sets the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Threshold 60, decay 1 a second, 60 open orders a pair.
    Starter,
    /// Threshold 125, decay 2.34 a second, 80 open orders a pair.
    Intermediate,
    /// Threshold 180, decay 3.75 a second, 225 open orders a pair.
    #[default]
    Pro,
}

impl Tier {
    /// The counter's value above which requests are refused.
    pub fn threshold(self) -> u32 {
        match self {
            Self::Starter => 60,
            Self::Intermediate => 125,
            Self::Pro => 180,
        }
    }

    /// What the counter loses in a second.
    pub fn decay_per_second(self) -> Decimal {
        match self {
            Self::Starter => Decimal::ONE,
            Self::Intermediate => Decimal::new(234, 2),
            Self::Pro => Decimal::new(375, 2),
        }
    }

    /// How many orders may be open on one pair.
    pub fn open_orders_max(self) -> usize {
        match self {
            Self::Starter => 60,
            Self::Intermediate => 80,
            Self::Pro => 225,
        }
    }
}

/// A transaction that the counter charges for. Ages are the order's time on the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// One new order.
    Add,
    /// A batch of new orders.
    BatchAdd(u32),
    /// A change in place of an order of this age.
    Amend(Duration),
    /// The cancel of an order of this age.
    Cancel(Duration),
}

impl Transaction {
    /// What the transaction adds to the counter.
    pub(crate) fn cost(self) -> Decimal {
        match self {
            Self::Add => Decimal::ONE,
            Self::BatchAdd(orders) => Decimal::new(i64::from(orders) * 5, 1),
            Self::Amend(age) => Decimal::from(1 + amend_penalty(age)),
            Self::Cancel(age) => Decimal::from(cancel_penalty(age)),
        }
    }
}

fn amend_penalty(age: Duration) -> u32 {
    match age.as_secs() {
        0..5 => 3,
        5..10 => 2,
        10..15 => 1,
        _ => 0,
    }
}

fn cancel_penalty(age: Duration) -> u32 {
    match age.as_secs() {
        0..5 => 8,
        5..10 => 6,
        10..15 => 5,
        15..45 => 4,
        45..90 => 2,
        90..300 => 1,
        _ => 0,
    }
}

#[derive(Debug, Clone, Copy)]
struct Level {
    value: Decimal,
    at: Timestamp,
}

/// The counters of one account, by pair.
#[derive(Debug)]
pub(crate) struct RateCounter {
    tier: Tier,
    levels: BTreeMap<String, Level>,
}

impl RateCounter {
    /// Counters at zero.
    pub(crate) fn new(tier: Tier) -> Self {
        Self { tier, levels: BTreeMap::new() }
    }

    /// The tier's limits.
    pub(crate) fn tier(&self) -> Tier {
        self.tier
    }

    /// The counter of a pair, decayed until `now`.
    pub(crate) fn level(&self, pair: &str, now: Timestamp) -> Decimal {
        self.levels.get(pair).map_or(Decimal::ZERO, |level| {
            let milliseconds = now.as_millisecond().saturating_sub(level.at.as_millisecond());
            let lost = self.tier.decay_per_second() * Decimal::new(milliseconds.max(0), 3);
            (level.value - lost).max(Decimal::ZERO)
        })
    }

    /// Charges a transaction, refused ones too. `true` means that it is within the limit.
    pub(crate) fn charge(&mut self, pair: &str, transaction: Transaction, now: Timestamp) -> bool {
        let threshold = Decimal::from(self.tier.threshold());
        let value = self.level(pair, now) + transaction.cost();
        // A counter far above the threshold would lock the account for hours.
        let level = Level { value: value.min(threshold * Decimal::TWO), at: now };
        self.levels.insert(pair.to_owned(), level);
        value <= threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millisecond).expect("time")
    }

    #[test]
    fn the_tier_s_threshold_is_reached_and_the_next_is_refused() {
        for (tier, threshold) in [(Tier::Starter, 60), (Tier::Intermediate, 125), (Tier::Pro, 180)]
        {
            let mut counter = RateCounter::new(tier);
            for _ in 0..threshold {
                assert!(counter.charge("BTC/USD", Transaction::Add, at(0)));
            }
            assert!(!counter.charge("BTC/USD", Transaction::Add, at(0)));
            assert!(counter.charge("ETH/USD", Transaction::Add, at(0)), "counters are per pair");
        }
    }

    #[test]
    fn the_counter_decays_to_zero_and_not_below() {
        let mut counter = RateCounter::new(Tier::Pro);
        for _ in 0..10 {
            counter.charge("BTC/USD", Transaction::Add, at(0));
        }
        assert_eq!(counter.level("BTC/USD", at(1000)), Decimal::new(625, 2));
        assert_eq!(counter.level("BTC/USD", at(60_000)), Decimal::ZERO);
    }

    #[test]
    fn cancelling_a_young_order_is_the_expensive_act() {
        let cost = |seconds| Transaction::Cancel(Duration::from_secs(seconds)).cost();
        let table =
            [(0, 8), (4, 8), (5, 6), (10, 5), (15, 4), (45, 2), (90, 1), (299, 1), (300, 0)];
        for (seconds, points) in table {
            assert_eq!(cost(seconds), Decimal::from(points), "{seconds} s");
        }
        assert_eq!(Transaction::Amend(Duration::ZERO).cost(), Decimal::from(4));
        assert_eq!(Transaction::Amend(Duration::from_secs(20)).cost(), Decimal::ONE);
        assert_eq!(Transaction::BatchAdd(5).cost(), Decimal::new(25, 1));
    }
}
