//! Bounds how often the same kind of thing is logged: bad input must not fill a disk.

use std::time::Duration;

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line a second through and counts the rest.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Whether to log now, and how many lines were left out since the last.
    pub(super) fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut limit = LogLimit::default();
        assert_eq!(limit.allow(start), Some(0));
        for _ in 0..9 {
            assert_eq!(limit.allow(start), None);
        }
        assert_eq!(limit.allow(start + INTERVAL), Some(9));
    }
}
