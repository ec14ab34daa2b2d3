//! Rate limits: pools of credits that refill with time.

use jiff::Timestamp;

/// Which pool a method draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Heartbeat answers cost nothing.
    Free,
    /// Whatever reads: 20 a second, 100 at once.
    Reading,
    /// Subscribing: 3.3 a second, 10 at once.
    Subscribing,
    /// What goes to the matching engine: 5 a second, 20 at once.
    Matching,
    /// Cancels of many orders: 200 a second, 250 at once.
    CancelAll,
}

/// One pool, in thousandths of a credit so that a millisecond refills a whole number.
#[derive(Clone, Copy, Debug)]
struct Pool {
    capacity: i64,
    per_millisecond: i64,
    cost: i64,
    level: i64,
    at: Timestamp,
}

impl Pool {
    fn new(capacity: i64, per_second: i64, cost: i64) -> Self {
        let capacity = capacity * 1000;
        let (cost, at) = (cost * 1000, Timestamp::UNIX_EPOCH);
        Self { capacity, per_millisecond: per_second, cost, level: capacity, at }
    }

    fn draw(&mut self, now: Timestamp) -> bool {
        let passed = now.as_millisecond().saturating_sub(self.at.as_millisecond()).max(0);
        let refill = passed.saturating_mul(self.per_millisecond);
        self.level = self.level.saturating_add(refill).min(self.capacity);
        self.at = now;
        let enough = self.level >= self.cost;
        if enough {
            self.level -= self.cost;
        }
        enough
    }
}

/// The pools of one account, or of all who are not authenticated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credits {
    reading: Pool,
    subscribing: Pool,
    matching: Pool,
    cancel_all: Pool,
}

impl Default for Credits {
    fn default() -> Self {
        Self {
            reading: Pool::new(50_000, 10_000, 500),
            subscribing: Pool::new(30_000, 10_000, 3_000),
            matching: Pool::new(20, 5, 1),
            cancel_all: Pool::new(250, 200, 1),
        }
    }
}

impl Credits {
    /// Pays for a call; false when there are too few credits.
    pub(crate) fn draw(&mut self, cost: Cost, now: Timestamp) -> bool {
        match cost {
            Cost::Free => true,
            Cost::Reading => self.reading.draw(now),
            Cost::Subscribing => self.subscribing.draw(now),
            Cost::Matching => self.matching.draw(now),
            Cost::CancelAll => self.cancel_all.draw(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pool_has_its_burst_and_its_refill() {
        let table = [
            (Cost::Reading, 100, 20),
            (Cost::Subscribing, 10, 3),
            (Cost::Matching, 20, 5),
            (Cost::CancelAll, 250, 200),
        ];
        for (cost, burst, per_second) in table {
            let mut credits = Credits::default();
            let start = Timestamp::from_second(1_700_000_000).expect("a time");
            let later = Timestamp::from_second(1_700_000_001).expect("a time");
            for count in [(start, burst), (later, per_second)] {
                for call in 0..count.1 {
                    assert!(credits.draw(cost, count.0), "{cost:?} {call}");
                }
                assert!(!credits.draw(cost, count.0), "{cost:?}");
            }
        }
    }
}
