//! Keeps messages below the rate that an exchange accepts.

use tokio::time::Instant;

use crate::exchange::RateRule;
use crate::rate::{Meter, Share};

/// As many messages as a rule lets pass; without a rule that is all of them.
#[derive(Debug)]
pub(super) struct Pacer {
    meter: Option<Meter>,
}

impl Pacer {
    pub(super) fn new(rule: Option<RateRule>, now: Instant) -> Self {
        Self { meter: rule.map(|rule| Meter::new(rule, 0, now)) }
    }

    /// Counts a message that goes out now, perhaps because it must, as a pong does.
    pub(super) fn count(&mut self, now: Instant) {
        if let Some(meter) = &self.meter {
            meter.charge(1, now);
        }
    }

    /// Until when the next message must wait, if it must.
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        self.meter.as_ref()?.look(Share::Whole, 1, now).err()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    #[test]
    fn messages_that_wait_are_spread_and_no_second_has_more_than_its_five() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(RateRule::Window { most: 5, per: WINDOW }), start);
        let (mut now, mut sent) = (start, Vec::new());
        while sent.len() < 20 {
            if let Some(at) = pacer.wait(now) {
                now = at;
            }
            pacer.count(now);
            sent.push(now);
        }
        assert_eq!((sent[0], sent[1]), (start, start), "some go at once");
        for stretch in sent.windows(6) {
            assert!(stretch[5] - stretch[0] > WINDOW, "{stretch:?}");
        }
    }

    #[test]
    fn a_pong_that_could_not_wait_holds_up_the_next_message() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(RateRule::Window { most: 5, per: WINDOW }), start);
        for _ in 0..3 {
            pacer.count(start);
        }
        assert!(pacer.wait(start).is_some_and(|at| at > start + WINDOW / 2));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut pacer = Pacer::new(None, now);
        for _ in 0..1000 {
            pacer.count(now);
        }
        assert_eq!(pacer.wait(now), None);
    }
}
