//! How many orders there were within the last second.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// More than any limit, so that what is remembered is bounded.
const MOST: usize = 10_000;

/// The times of the orders of the last second.
#[derive(Debug, Default)]
pub(crate) struct Window {
    times: VecDeque<Instant>,
}

impl Window {
    /// How many there were in the second that ends now.
    pub(crate) fn count(&mut self, now: Instant) -> usize {
        while self.times.front().is_some_and(|at| now.saturating_duration_since(*at) >= SECOND) {
            self.times.pop_front();
        }
        self.times.len()
    }

    /// One more.
    pub(crate) fn add(&mut self, now: Instant) {
        if self.times.len() == MOST {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_counts_for_one_second() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut window = Window::default();
        for at in [0, 400, 900] {
            window.add(start + ms(at));
        }
        assert_eq!(window.count(start + ms(999)), 3);
        assert_eq!(window.count(start + ms(1000)), 2);
        assert_eq!(window.count(start + ms(1399)), 2);
        assert_eq!(window.count(start + ms(1400)), 1);
        assert_eq!(window.count(start + ms(5000)), 0);
    }
}
