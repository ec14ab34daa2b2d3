//! How long to wait before the next attempt.

use std::time::Duration;

/// Full-jitter exponential backoff: each wait is drawn between zero and a ceiling that doubles with
/// every failure. Only a connection that stayed live for a while resets it, so that one which fails
/// right after each login does not hammer the exchange.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    stable_after: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, stable_after: Duration) -> Self {
        Self { min, max, stable_after, failures: 0 }
    }

    /// A connection ended that had been live for so long.
    pub(super) fn was_live(&mut self, live_for: Duration) {
        if live_for >= self.stable_after {
            self.failures = 0;
        }
    }

    /// The longest that the next wait can be.
    pub(super) fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.min.checked_mul(factor).map_or(self.max, |grown| grown.min(self.max))
    }

    /// Draws the next wait and counts a failure.
    pub(super) fn next(&mut self, random: &mut fastrand::Rng) -> Duration {
        let ceiling = self.ceiling();
        self.failures = (self.failures + 1).min(31);
        let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random.u64(0..=micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(30);
    const STABLE: Duration = Duration::from_secs(30);

    #[test]
    fn waits_are_jittered_below_a_ceiling_that_doubles_to_the_maximum() {
        let mut backoff = Backoff::new(MIN, MAX, STABLE);
        let mut random = fastrand::Rng::with_seed(7);
        let mut ceilings = Vec::new();
        for _ in 0..12 {
            let ceiling = backoff.ceiling();
            assert!(backoff.next(&mut random) <= ceiling);
            ceilings.push(ceiling);
        }
        assert_eq!(ceilings[..3], [MIN, MIN * 2, MIN * 4]);
        assert_eq!(ceilings[11], MAX);
    }

    #[test]
    fn only_a_stable_connection_resets_it() {
        let mut backoff = Backoff::new(MIN, MAX, STABLE);
        let mut random = fastrand::Rng::with_seed(7);
        backoff.next(&mut random);
        backoff.next(&mut random);
        backoff.was_live(Duration::from_secs(29));
        assert_eq!(backoff.ceiling(), MIN * 4);
        backoff.was_live(STABLE);
        assert_eq!(backoff.ceiling(), MIN);
    }
}
