//! The trading engine's rate counter, one for each pair and account.
//!
//! Source: <https://docs.kraken.com/api/docs/guides/spot-ratelimits>.

use std::time::Duration;

use crate::exchange::{CancelWeight, LimitScope, OrderLimit, OrderLimits, RateRule};

/// The counter's threshold by the account's tier, and after how long one point decays (1, 2.34 and
/// 3.75 points a second, rounded up).
const TIERS: [(u32, Duration); 3] = [
    (60, Duration::from_secs(1)),
    (125, Duration::from_millis(428)),
    (180, Duration::from_millis(267)),
];

/// Points left free, so that what is written at an even pace may arrive bunched together.
const MARGIN: u32 = 4;

/// What a cancel costs by the age of the order, in seconds. Older ones are free.
const CANCEL: &[(Duration, u32)] = &[
    (Duration::from_secs(5), 8),
    (Duration::from_secs(10), 6),
    (Duration::from_secs(15), 5),
    (Duration::from_secs(45), 4),
    (Duration::from_secs(90), 2),
    (Duration::from_secs(300), 1),
];

/// The limits of an account whose counter may rise to `threshold`, as the subscription to its
/// executions tells (`maxratecount`); the lowest tier's where it does not.
///
/// A cancel does not wait: a batch of cancels passes over a full counter, and a single one is
/// cheaper the later it comes. What both add keeps new orders waiting.
pub(super) fn order_limits(threshold: Option<u32>) -> OrderLimits {
    let tier = TIERS.iter().rev().find(|(most, _)| threshold.is_some_and(|told| told >= *most));
    let (most, refill) = *tier.unwrap_or(&TIERS[0]);
    let most = threshold.map_or(most, |told| told.min(most));
    vec![OrderLimit {
        name: "rate counter",
        rule: RateRule::Bucket { burst: most.saturating_sub(MARGIN).max(1), refill },
        scope: LimitScope::Instrument,
        order: 1,
        cancel: CancelWeight::ByAge(CANCEL),
        question: 0,
        fills: 0,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_tells_the_tier_and_an_unknown_one_is_the_lowest() {
        let table = [
            (None, 56, 1000),
            (Some(10), 6, 1000),
            (Some(60), 56, 1000),
            (Some(125), 121, 428),
            (Some(180), 176, 267),
            (Some(500), 176, 267),
        ];
        for (told, burst, refill_ms) in table {
            let refill = Duration::from_millis(refill_ms);
            assert_eq!(order_limits(told)[0].rule, RateRule::Bucket { burst, refill }, "{told:?}");
        }
    }
}
