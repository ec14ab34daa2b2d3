//! Whether a connection is alive: a silent connection is probed, then dead; a market connection
//! that speaks but brings no ticks has a dead feed; one that nears the exchange's limit on a
//! connection's life is replaced before.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct LivenessRules {
    pub(super) probe_after: Duration,
    pub(super) dead_after: Duration,
    /// For market connections: no tick for this long.
    pub(super) feed_silence: Option<Duration>,
    pub(super) lifetime: Option<Duration>,
}

/// What must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Probe,
    Dead { silent_for: Duration },
    FeedSilent { silent_for: Duration },
    TooOld,
}

#[derive(Debug)]
pub(super) struct Liveness {
    rules: LivenessRules,
    opened: Instant,
    last_frame: Instant,
    last_tick: Instant,
    probed: bool,
}

impl Liveness {
    pub(super) fn new(rules: LivenessRules, now: Instant) -> Self {
        Self { rules, opened: now, last_frame: now, last_tick: now, probed: false }
    }

    /// Something arrived.
    pub(super) fn frame(&mut self, now: Instant) {
        self.last_frame = now;
        self.probed = false;
    }

    /// A tick arrived.
    pub(super) fn tick(&mut self, now: Instant) {
        self.last_tick = now;
    }

    /// The feed is unsubscribed: its silence means nothing any more.
    pub(super) fn expect_no_ticks(&mut self) {
        self.rules.feed_silence = None;
    }

    /// What is due now, if anything. A probe is told once for each silence.
    pub(super) fn check(&mut self, now: Instant) -> Option<Verdict> {
        let silent_for = now.duration_since(self.last_frame);
        if silent_for >= self.rules.dead_after {
            return Some(Verdict::Dead { silent_for });
        }
        let without_ticks = now.duration_since(self.last_tick);
        if self.rules.feed_silence.is_some_and(|limit| without_ticks >= limit) {
            return Some(Verdict::FeedSilent { silent_for: without_ticks });
        }
        if self.rules.lifetime.is_some_and(|limit| now.duration_since(self.opened) >= limit) {
            return Some(Verdict::TooOld);
        }
        if silent_for >= self.rules.probe_after && !self.probed {
            self.probed = true;
            return Some(Verdict::Probe);
        }
        None
    }

    /// When to check again at the latest.
    pub(super) fn next_check(&self) -> Instant {
        let quiet = if self.probed { self.rules.dead_after } else { self.rules.probe_after };
        let quiet = quiet.min(self.rules.dead_after);
        let feed = self.rules.feed_silence.map(|limit| self.last_tick + limit);
        let age = self.rules.lifetime.map(|limit| self.opened + limit);
        [feed, age].into_iter().flatten().fold(self.last_frame + quiet, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn liveness(now: Instant) -> Liveness {
        let rules = LivenessRules {
            probe_after: SECOND * 5,
            dead_after: SECOND * 15,
            feed_silence: Some(SECOND * 60),
            lifetime: Some(SECOND * 3600),
        };
        Liveness::new(rules, now)
    }

    #[test]
    fn a_silent_connection_is_probed_once_and_then_dead() {
        let start = Instant::now();
        let mut liveness = liveness(start);
        assert_eq!(liveness.next_check(), start + SECOND * 5);
        assert_eq!(liveness.check(start + SECOND * 4), None);
        assert_eq!(liveness.check(start + SECOND * 5), Some(Verdict::Probe));
        assert_eq!(liveness.check(start + SECOND * 6), None);
        assert_eq!(liveness.next_check(), start + SECOND * 15);
        let dead = Verdict::Dead { silent_for: SECOND * 15 };
        assert_eq!(liveness.check(start + SECOND * 15), Some(dead));
    }

    #[test]
    fn any_frame_ends_the_silence() {
        let start = Instant::now();
        let mut liveness = liveness(start);
        assert_eq!(liveness.check(start + SECOND * 5), Some(Verdict::Probe));
        liveness.frame(start + SECOND * 6);
        assert_eq!(liveness.check(start + SECOND * 10), None);
        assert_eq!(liveness.check(start + SECOND * 11), Some(Verdict::Probe));
    }

    #[test]
    fn heartbeats_without_ticks_are_a_dead_feed() {
        let start = Instant::now();
        let mut liveness = liveness(start);
        for second in 1..60 {
            liveness.frame(start + SECOND * second);
            assert_eq!(liveness.check(start + SECOND * second), None);
        }
        liveness.frame(start + SECOND * 60);
        let silent = Verdict::FeedSilent { silent_for: SECOND * 60 };
        assert_eq!(liveness.check(start + SECOND * 60), Some(silent));
    }

    #[test]
    fn an_old_connection_is_replaced() {
        let start = Instant::now();
        let mut liveness = liveness(start);
        let now = start + SECOND * 3600;
        liveness.frame(now);
        liveness.tick(now);
        assert_eq!(liveness.check(now), Some(Verdict::TooOld));
    }
}
