//! A bounded queue in front of a thread of its own that writes. Whoever hands something over never
//! waits for the writing: a terminal that is held, a pipe that nobody reads or a disk that hangs
//! holds up that thread alone. What does not fit is counted, and the writer is told.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a spool's thread does with what it is given.
pub(crate) trait Work: Send + 'static {
    /// What is handed over.
    type Item: Send + 'static;

    /// Does one thing, for as long as it takes. An error ends the spool.
    fn work(&mut self, item: Self::Item) -> io::Result<()>;

    /// So many things did not fit before the next.
    fn lost(&mut self, count: u64) -> io::Result<()>;
}

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full; the loss is counted.
    Full,
    /// The spool was closed, or its writer has failed.
    Closed,
}

pub(crate) struct Spool<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Spool<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Something is waiting, or there is nothing more to wait for.
    filled: Condvar,
    /// There is room again, or the thread has ended.
    drained: Condvar,
    capacity: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Not told to the writer yet.
    lost: u64,
    /// The thread is at work, so what is waiting may not be all that is unwritten.
    working: bool,
    closed: bool,
    ended: bool,
}

impl<T: Send + 'static> Spool<T> {
    /// Starts the thread under this name. If the system grants none, the spool is closed from the
    /// beginning.
    pub(crate) fn start(name: &str, capacity: usize, work: impl Work<Item = T>) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            lost: 0,
            working: false,
            closed: false,
            ended: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            filled: Condvar::new(),
            drained: Condvar::new(),
            capacity,
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned());
        if thread.spawn(move || of_thread.run(work)).is_err() {
            shared.end();
        }
        Self { shared }
    }

    /// Queues something, without waiting.
    pub(crate) fn put(&self, item: T) -> Result<(), Refused> {
        self.put_or_replace(item, |_| false)
    }

    /// The same, but in place of the last thing that waits if that has become stale.
    pub(crate) fn put_or_replace(
        &self,
        item: T,
        replaces: impl FnOnce(&T) -> bool,
    ) -> Result<(), Refused> {
        let mut state = self.shared.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if let Some(last) = state.waiting.back_mut()
            && replaces(last)
        {
            *last = item;
            return Ok(());
        }
        if state.waiting.len() >= self.shared.capacity {
            state.lost += 1;
            return Err(Refused::Full);
        }
        self.shared.push(state, item);
        Ok(())
    }

    /// Queues something, and waits up to `limit` for room. Not for those who must not wait.
    pub(crate) fn put_within(&self, item: T, limit: Duration) -> Result<(), Refused> {
        let full =
            |state: &mut State<T>| !state.closed && state.waiting.len() >= self.shared.capacity;
        let waited = self.shared.drained.wait_timeout_while(self.shared.state(), limit, full);
        let (mut state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Refused::Closed);
        }
        if result.timed_out() && state.waiting.len() >= self.shared.capacity {
            state.lost += 1;
            return Err(Refused::Full);
        }
        self.shared.push(state, item);
        Ok(())
    }

    /// Waits up to `limit` until everything so far is written, and returns how many things were
    /// not.
    pub(crate) fn settle(&self, limit: Duration) -> u64 {
        self.wait(self.shared.state(), limit, |state| state.working || !state.waiting.is_empty())
    }

    /// The same, but takes nothing more and waits until the thread has ended.
    pub(crate) fn close(&self, limit: Duration) -> u64 {
        let mut state = self.shared.state();
        state.closed = true;
        self.shared.filled.notify_one();
        self.wait(state, limit, |state| !state.ended)
    }

    fn wait(
        &self,
        state: MutexGuard<'_, State<T>>,
        limit: Duration,
        busy: impl Fn(&State<T>) -> bool,
    ) -> u64 {
        let waited = self.shared.drained.wait_timeout_while(state, limit, |state| busy(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting.len() as u64 + u64::from(state.working) + state.lost
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut state: MutexGuard<'_, State<T>>, item: T) {
        state.waiting.push_back(item);
        let asleep = !state.working;
        drop(state);
        if asleep {
            self.filled.notify_one();
        }
    }

    fn run(&self, mut work: impl Work<Item = T>) {
        while let Some((item, lost)) = self.next() {
            let told = if lost > 0 { work.lost(lost) } else { Ok(()) };
            if told.and_then(|()| work.work(item)).is_err() {
                break;
            }
        }
        self.end();
    }

    /// The next thing and how many were lost before it; none once the spool is closed and empty.
    fn next(&self) -> Option<(T, u64)> {
        let mut state = self.state();
        state.working = false;
        self.drained.notify_all();
        let idle = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        let waited = self.filled.wait_while(state, idle);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        let item = state.waiting.pop_front()?;
        state.working = true;
        Some((item, std::mem::take(&mut state.lost)))
    }

    fn end(&self) {
        let mut state = self.state();
        state.closed = true;
        state.ended = true;
        state.working = false;
        state.waiting.clear();
        drop(state);
        self.drained.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Passes on what it is given, each after it was allowed to.
    struct Held(Receiver<()>, Sender<String>);

    impl Work for Held {
        type Item = &'static str;

        fn work(&mut self, item: &'static str) -> io::Result<()> {
            _ = self.1.send(format!("begins {item}"));
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(item.to_owned()).map_err(io::Error::other)
        }

        fn lost(&mut self, count: u64) -> io::Result<()> {
            self.1.send(format!("lost {count}")).map_err(io::Error::other)
        }
    }

    fn held() -> (Spool<&'static str>, Sender<()>, Receiver<String>) {
        let (allow, allowed) = channel();
        let (done, written) = channel();
        (Spool::start("held", 2, Held(allowed, done)), allow, written)
    }

    #[test]
    fn a_writer_that_hangs_holds_nobody_up_and_what_is_lost_is_told() {
        let (spool, allow, written) = held();
        spool.put("a").unwrap();
        assert_eq!(written.recv_timeout(LONG).unwrap(), "begins a");
        assert_eq!((spool.put("b"), spool.put("c")), (Ok(()), Ok(())));
        assert_eq!(spool.put("d"), Err(Refused::Full));
        assert_eq!(spool.put_within("e", Duration::from_millis(5)), Err(Refused::Full));
        for _ in 0..3 {
            allow.send(()).unwrap();
        }
        assert_eq!(spool.close(LONG), 0);
        let written: Vec<_> = written.try_iter().collect();
        assert_eq!(written, ["a", "lost 2", "begins b", "b", "begins c", "c"]);
        assert_eq!(spool.put("f"), Err(Refused::Closed));
    }

    #[test]
    fn closing_waits_no_longer_than_its_limit() {
        let (spool, _allow, written) = held();
        spool.put("a").unwrap();
        assert_eq!(written.recv_timeout(LONG).unwrap(), "begins a");
        spool.put("b").unwrap();
        assert_eq!(spool.close(Duration::from_millis(5)), 2, "one in the works and one waiting");
    }

    #[test]
    fn what_is_stale_gives_way() {
        let (spool, allow, written) = held();
        spool.put("a").unwrap();
        assert_eq!(written.recv_timeout(LONG).unwrap(), "begins a");
        for table in ["table 1", "table 2", "table 3"] {
            spool.put_or_replace(table, |last| last.starts_with("table")).unwrap();
        }
        allow.send(()).unwrap();
        allow.send(()).unwrap();
        assert_eq!(spool.close(LONG), 0);
        let written: Vec<_> = written.try_iter().collect();
        assert_eq!(written, ["a", "begins table 3", "table 3"]);
    }

    #[test]
    fn a_writer_that_failed_closes_its_spool() {
        let (spool, allow, _written) = held();
        drop(allow);
        spool.put("a").unwrap();
        assert_eq!(spool.close(LONG), 0);
        assert_eq!(spool.put_within("b", LONG), Err(Refused::Closed));
    }
}
