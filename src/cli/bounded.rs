//! Work that may hang, done where it holds nobody up.

use std::sync::mpsc;
use std::time::Duration;

/// Does the work in a thread of its own and waits for it up to `limit`, so that work that hangs
/// holds nobody up.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("bounded-work".to_owned());
    thread.spawn(move || _ = done.send(work())).ok()?;
    result.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_is_given_up() {
        let (sender, never) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(5), move || never.recv().is_ok()), None);
        assert_eq!(within(Duration::from_secs(20), || 7), Some(7));
        drop(sender);
    }
}
