//! Requests whose answers are awaited.

use std::collections::BTreeMap;

/// Beyond this many unanswered requests the oldest is forgotten.
const MAX_PENDING: usize = 16_384;

/// Numbers requests from 1 and remembers what each is about until its answer comes.
#[derive(Debug)]
pub(super) struct Requests<T> {
    last: u64,
    pending: BTreeMap<u64, T>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { last: 0, pending: BTreeMap::new() }
    }
}

impl<T> Requests<T> {
    /// Remembers a request and returns its number.
    pub(super) fn add(&mut self, about: T) -> u64 {
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        self.last += 1;
        self.pending.insert(self.last, about);
        self.last
    }

    /// What a request is about.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.pending.get(&number)
    }

    /// The answer came: forgets the request.
    pub(super) fn take(&mut self, number: u64) -> Option<T> {
        self.pending.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answered_request_is_forgotten_and_the_oldest_leaves_at_the_cap() {
        let mut requests = Requests::default();
        let first = requests.add("first");
        let second = requests.add("second");
        assert_eq!(requests.take(second), Some("second"));
        assert_eq!(requests.take(second), None);
        for _ in 0..MAX_PENDING {
            requests.add("more");
        }
        assert_eq!(requests.get(first), None);
        assert_eq!(requests.pending.len(), MAX_PENDING);
    }
}
