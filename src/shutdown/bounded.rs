//! Work that may hang, done where it holds nobody up.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Work in a thread of its own. A thread that hangs is left behind.
pub(super) struct Bounded<T>(Option<Receiver<T>>);

impl<T: Send + 'static> Bounded<T> {
    /// Begins the work; if the system grants no thread, it is as work that hangs.
    pub(super) fn begin(work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (done, result) = sync_channel(1);
        let thread = std::thread::Builder::new().name("bounded-work".to_owned());
        let begun = thread.spawn(move || _ = done.send(work()));
        Self(begun.is_ok().then_some(result))
    }

    /// Its result, unless it hangs or panics.
    pub(super) fn until(self, end: Instant) -> Option<T> {
        self.0?.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    /// The same.
    pub(super) fn within(self, limit: Duration) -> Option<T> {
        self.until(Instant::now() + limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_or_panics_is_given_up() {
        let (sender, never) = std::sync::mpsc::channel::<()>();
        let hangs = Bounded::begin(move || never.recv().is_ok());
        assert_eq!(hangs.within(Duration::from_millis(5)), None);
        assert_eq!(Bounded::begin(|| 7).within(Duration::from_secs(20)), Some(7));
        let panics = Bounded::begin(|| std::panic::resume_unwind(Box::new("boom")));
        assert_eq!(panics.within(Duration::from_secs(20)), None::<()>);
        drop(sender);
    }
}
