//! Keeps messages below the rate that an exchange accepts on a connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// At most `limit` messages in any one second; without a limit everything passes.
#[derive(Debug)]
pub(super) struct Pacer {
    limit: Option<usize>,
    sent: VecDeque<Instant>,
}

const WINDOW: Duration = Duration::from_secs(1);

impl Pacer {
    pub(super) fn new(messages_per_second: Option<u32>) -> Self {
        let limit = messages_per_second.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self { limit: limit.map(|limit| limit.max(1)), sent: VecDeque::new() }
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
            (Some(limit), Some(first)) if self.sent.len() >= limit => now.max(*first + WINDOW),
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_message_waits_until_the_first_is_a_second_old() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(5));
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
