//! When a day's loss trips the kill switch, and what a reset changes about it. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use crate::types::{DayLoss, KillSwitch, Timestamp};

/// The day that a loss is counted in.
pub(crate) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// A reset in the course of a day: losses count from what the day's profit was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// When the switch was reset.
    pub(crate) at: Timestamp,
    /// The day's profit then, of each currency for which it has been worked out.
    pub(crate) day_profit: BTreeMap<String, Decimal>,
}

/// Whether a day's profit trips the switch. A loss of exactly the limit does.
pub(crate) fn judge(
    currency: &str,
    limit: Decimal,
    day_profit: Decimal,
    allowance: Option<&Allowance>,
    now: Timestamp,
) -> Option<KillSwitch> {
    let today = allowance.filter(|allowance| day(allowance.at) == day(now));
    let before = today.and_then(|allowance| allowance.day_profit.get(currency)).copied();
    let lost = before.unwrap_or_default().saturating_sub(day_profit);
    if lost < limit {
        return None;
    }
    let lost = lost.normalize();
    let since = if before.is_some() { "since the kill switch was reset today" } else { "today" };
    let reason = format!(
        "{lost} {currency} were lost {since}, and risk.max_daily_loss is {limit} {currency}"
    );
    let of_day = DayLoss { currency: currency.to_owned(), lost, limit };
    Some(KillSwitch { tripped: now, reason, loss: Some(of_day) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_loss_of_the_limit_trips_and_less_does_not() {
        let now = at("2026-03-01T12:00:00Z");
        let judged = |profit: &str| judge("USDT", 500.into(), profit.parse().unwrap(), None, now);
        for profit in ["1000", "0", "-499.99999999"] {
            assert_eq!(judged(profit), None, "{profit}");
        }
        for profit in ["-500", "-500.00000001", "-1000000"] {
            let tripped = judged(profit).unwrap();
            assert_eq!(tripped.tripped, now);
            assert!(tripped.reason.contains("risk.max_daily_loss is 500 USDT"), "{tripped:?}");
        }
    }

    #[test]
    fn after_a_reset_the_loss_counts_anew_for_the_rest_of_that_day_only() {
        let allowance = Allowance {
            at: at("2026-03-01T12:00:00Z"),
            day_profit: BTreeMap::from([("USDT".to_owned(), Decimal::from(-600))]),
        };
        let judged = |profit: i64, now: &str| {
            judge("USDT", 500.into(), profit.into(), Some(&allowance), at(now)).is_some()
        };
        assert!(!judged(-600, "2026-03-01T12:00:01Z"));
        assert!(!judged(-1099, "2026-03-01T23:59:59Z"));
        assert!(judged(-1100, "2026-03-01T23:59:59Z"));
        // The next day begins at zero by itself.
        assert!(judged(-500, "2026-03-02T00:00:00Z"));
        // A currency that the reset says nothing of counts whole.
        let other = judge("USD", 500.into(), (-500).into(), Some(&allowance), allowance.at);
        assert!(other.is_some());
    }
}
