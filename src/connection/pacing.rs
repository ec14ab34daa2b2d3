//! Keeps messages below the rate that an exchange accepts on a connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::MessageRate;

/// At most `limit` messages within any `window`; without a limit everything passes.
#[derive(Debug)]
pub(super) struct Pacer {
    limit: Option<usize>,
    window: Duration,
    sent: VecDeque<Instant>,
}

impl Pacer {
    pub(super) fn new(rate: Option<MessageRate>) -> Self {
        let limit = rate.map(|rate| usize::try_from(rate.messages).unwrap_or(usize::MAX).max(1));
        let window = rate.map(|rate| rate.per).unwrap_or_default();
        Self { limit, window, sent: VecDeque::new() }
    }

    /// Counts a message that had to be sent at once, such as a pong.
    pub(super) fn count(&mut self, now: Instant) {
        let Some(limit) = self.limit else { return };
        self.sent.push_back(now);
        if self.sent.len() > limit {
            self.sent.pop_front();
        }
    }

    /// When the next message may go: now or later.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        match (self.limit, self.sent.front()) {
            (Some(limit), Some(first)) if self.sent.len() >= limit => now.max(*first + self.window),
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    #[test]
    fn the_sixth_message_waits_until_the_first_is_a_second_old() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(MessageRate { messages: 5, per: WINDOW }));
        for step in 0..5 {
            let now = start + Duration::from_millis(10) * step;
            assert_eq!(pacer.ready_at(now), now);
            pacer.count(now);
        }
        let now = start + Duration::from_millis(50);
        assert_eq!(pacer.ready_at(now), start + WINDOW);
        assert_eq!(pacer.ready_at(start + WINDOW * 2), start + WINDOW * 2);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut pacer = Pacer::new(None);
        for _ in 0..1000 {
            pacer.count(now);
        }
        assert_eq!(pacer.ready_at(now), now);
        assert!(pacer.sent.is_empty());
    }
}
