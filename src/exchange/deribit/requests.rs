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
    /// Remembers a request and writes it. `params` is a JSON object.
    pub(super) fn write(&mut self, method: &str, params: &str, about: T) -> String {
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        self.last += 1;
        let id = self.last;
        self.pending.insert(id, about);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
    }

    /// The answer came: forgets the request.
    pub(super) fn take(&mut self, number: Option<u64>) -> Option<T> {
        self.pending.remove(&number?)
    }

    /// Whether a request of this kind waits for its answer.
    pub(super) fn any(&self, is: impl FnMut(&T) -> bool) -> bool {
        self.pending.values().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answered_request_is_forgotten_and_the_oldest_leaves_at_the_cap() {
        let mut requests = Requests::default();
        let first = requests.write("public/test", "{}", "first");
        assert_eq!(first, r#"{"jsonrpc":"2.0","id":1,"method":"public/test","params":{}}"#);
        requests.write("public/test", "{}", "second");
        assert_eq!(requests.take(Some(2)), Some("second"));
        assert_eq!((requests.take(Some(2)), requests.take(None)), (None, None));
        for _ in 0..MAX_PENDING {
            requests.write("public/test", "{}", "more");
        }
        assert_eq!(requests.take(Some(1)), None);
        assert_eq!(requests.pending.len(), MAX_PENDING);
        assert!(requests.any(|about| *about == "more"));
    }
}
