//! The queue between those who record and the one thread that writes.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::emergency;
use super::record::{IntentRefused, Record, WriteFailed};
use crate::types::Order;

/// Records that may wait before intents are refused.
pub(super) const SOFT_LIMIT: usize = 16_384;
/// Records that may wait at all, and that are kept in memory after a failure.
pub(super) const HARD_LIMIT: usize = 131_072;

/// How long the thread looks for more before it sleeps. Waking it costs more than a commit, and what
/// happens to one order comes in quick succession.
const LINGER: Duration = Duration::from_micros(100);

/// What is called once a record is committed, or is known never to be. It runs on the writer's
/// thread, so it must be quick and must not wait.
pub type Committed = Box<dyn FnOnce(Result<(), WriteFailed>) + Send>;

pub(super) struct Item {
    /// `None` only waits for what was queued before it.
    pub(super) record: Option<Arc<Record>>,
    pub(super) then: Option<Committed>,
}

#[derive(Default)]
pub(super) struct State {
    queue: VecDeque<Item>,
    /// Items that the thread has taken and not finished.
    in_flight: usize,
    /// The records among them. Should the disk never answer, nobody else has them.
    writing: Vec<Arc<Record>>,
    /// Whether the thread waits to be woken.
    sleeping: bool,
    /// No more is taken in.
    closing: bool,
    failure: Option<WriteFailed>,
    /// After a failure: records that were not written, oldest first.
    kept: Vec<Arc<Record>>,
    /// Records that found no room after a failure, or came after the close.
    lost: u64,
}

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// Whether something waits, to be read without the lock.
    filled: AtomicBool,
    failure: watch::Sender<Option<WriteFailed>>,
    soft_limit: usize,
    hard_limit: usize,
    run: i64,
}

impl Queue {
    #[cfg(test)]
    pub(super) fn new(soft_limit: usize, hard_limit: usize) -> Arc<Self> {
        Self::of_run(0, soft_limit, hard_limit)
    }

    pub(super) fn of_run(run: i64, soft_limit: usize, hard_limit: usize) -> Arc<Self> {
        let (failure, _) = watch::channel(None);
        Arc::new(Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            filled: AtomicBool::new(false),
            failure,
            soft_limit,
            hard_limit,
            run,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item) {
        let mut state = self.state();
        if state.closing {
            let failure = state.failure.clone().unwrap_or(WriteFailed::Closed);
            match item.record {
                // The thread is gone before its time, and a dump is still to come.
                Some(record) if state.failure.is_some() && state.kept.len() < self.hard_limit => {
                    state.kept.push(record);
                }
                record => state.lost += u64::from(record.is_some()),
            }
            drop(state);
            // The thread is gone or about to go: the answer is given here.
            if let Some(then) = item.then {
                then(Err(failure));
            }
            return;
        }
        let overflow = state.queue.len() + state.in_flight >= self.hard_limit;
        if overflow && item.record.is_some() {
            state.lost += 1;
            let waiting = state.queue.len() + state.in_flight;
            self.set_failure(&mut state, WriteFailed::Overflow(waiting));
            let failure = state.failure.clone().unwrap_or(WriteFailed::Closed);
            drop(state);
            if let Some(then) = item.then {
                then(Err(failure));
            }
            return;
        }
        self.enqueue(state, item);
    }

    fn enqueue(&self, mut state: MutexGuard<'_, State>, item: Item) {
        state.queue.push_back(item);
        self.filled.store(true, Ordering::Release);
        let wake = std::mem::take(&mut state.sleeping);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    fn set_failure(&self, state: &mut State, failure: WriteFailed) {
        if state.failure.is_none() {
            state.failure = Some(failure.clone());
            self.failure.send_replace(Some(failure));
        }
    }

    // ---- for the writer's thread ----------------------------------------------------------

    /// Moves the next items, at most `limit`, into the empty `group`; waits for some. `false` when
    /// there are none and there will be none.
    pub(super) fn take(&self, group: &mut Vec<Item>, limit: usize) -> bool {
        self.linger();
        let mut state = self.state();
        while state.queue.is_empty() {
            if state.closing {
                return false;
            }
            state.sleeping = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.sleeping = false;
        let count = limit.min(state.queue.len());
        self.filled.store(count < state.queue.len(), Ordering::Release);
        group.extend(state.queue.drain(..count));
        state.in_flight = count;
        state.writing.extend(group.iter().filter_map(|item| item.record.clone()));
        true
    }

    /// Looks for something to do for a moment, and leaves the processor to whoever wants it.
    fn linger(&self) {
        let began = Instant::now();
        while !self.filled.load(Ordering::Acquire) && began.elapsed() < LINGER {
            std::thread::yield_now();
        }
    }

    pub(super) fn failure(&self) -> Option<WriteFailed> {
        self.state().failure.clone()
    }

    /// The group that was taken is committed.
    pub(super) fn committed(&self) {
        let mut state = self.state();
        state.in_flight = 0;
        state.writing.clear();
    }

    /// Notes the failure and keeps the records of a group that was not written.
    pub(super) fn keep(&self, failure: WriteFailed, group: &mut [Item]) {
        let mut state = self.state();
        state.in_flight = 0;
        state.writing.clear();
        self.set_failure(&mut state, failure);
        for record in group.iter_mut().filter_map(|item| item.record.take()) {
            if state.kept.len() < self.hard_limit {
                state.kept.push(record);
            } else {
                state.lost += 1;
            }
        }
    }

    /// The thread ends, in order or by a panic: whoever still waits is told.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if !state.closing {
            self.set_failure(&mut state, WriteFailed::Refused("the writer's thread ended".into()));
        }
        state.closing = true;
        let failure = state.failure.clone().unwrap_or(WriteFailed::Closed);
        // What a panic interrupted is not in the database either.
        let writing = std::mem::take(&mut state.writing);
        state.kept.extend(writing);
        let mut rest: Vec<_> = state.queue.drain(..).collect();
        drop(state);
        if !rest.is_empty() {
            self.keep(failure.clone(), &mut rest);
        }
        for then in rest.into_iter().filter_map(|item| item.then) {
            then(Err(failure.clone()));
        }
    }

    /// Takes in no more; the thread ends when it has written what is there.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.filled.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Hands records to the thread that writes them. Cheap to clone, may be used from everywhere; no
/// method but the async ones ever waits.
#[derive(Clone)]
pub struct Writer {
    queue: Arc<Queue>,
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// A writer of no database, which refuses everything: for tests of what does not write.
    #[cfg(test)]
    pub(crate) fn closed() -> Self {
        let queue = Queue::new(0, 0);
        queue.close();
        Self { queue }
    }

    /// Records something, soon.
    pub fn record(&self, record: Record) {
        self.queue.push(Item { record: Some(Arc::new(record)), then: None });
    }

    /// Records something and calls `then` right after the commit that contains it, or with the
    /// reason why there is none. `then` runs on the writer's thread (or here, if that has ended or
    /// the queue overflows): it must be quick, and must not take a lock that a caller of this
    /// holds.
    pub fn record_then(&self, record: Record, then: Committed) {
        self.queue.push(Item { record: Some(Arc::new(record)), then: Some(then) });
    }

    /// Like [`record_then`](Self::record_then) for an order that is to be sent once it is
    /// recorded, refused while many records wait.
    ///
    /// # Errors
    /// The order must not be sent, and `then` is dropped without being called.
    pub fn intend(&self, order: Box<Order>, then: Committed) -> Result<(), IntentRefused> {
        let state = self.queue.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone().into());
        }
        if state.closing {
            return Err(WriteFailed::Closed.into());
        }
        let depth = state.queue.len() + state.in_flight;
        if depth >= self.queue.soft_limit {
            return Err(IntentRefused::Busy { depth });
        }
        let item = Item { record: Some(Arc::new(Record::Order(order))), then: Some(then) };
        self.queue.enqueue(state, item);
        Ok(())
    }

    /// Waits until all that was recorded before is committed.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing back.
    pub async fn flush(&self) -> Result<(), WriteFailed> {
        let (sender, receiver) = oneshot::channel();
        let then: Committed = Box::new(move |result| drop(sender.send(result)));
        self.queue.push(Item { record: None, then: Some(then) });
        receiver.await.unwrap_or(Err(WriteFailed::Closed))
    }

    /// How many records are not committed yet.
    pub fn depth(&self) -> usize {
        let state = self.queue.state();
        state.queue.len() + state.in_flight
    }

    /// Why nothing is written any more; `None` while all is well.
    pub fn failure(&self) -> Option<WriteFailed> {
        self.queue.failure()
    }

    /// Waits until nothing is written any more, and tells why. Never ends while all is well; a
    /// close in order is no failure.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn failed(&self) -> WriteFailed {
        let mut failure = self.queue.failure.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            // The sender lives in the queue that this holds.
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Records that were neither written nor kept for a dump, for want of room or after the close.
    pub fn lost(&self) -> u64 {
        self.queue.state().lost
    }

    /// What a file of [`emergency_dump`](Self::emergency_dump) must be called, in the state directory,
    /// for the next start to take it in; `number` tells one from another.
    pub fn emergency_name(&self, number: u32) -> String {
        emergency::name(self.queue.run, std::process::id(), number)
    }

    /// After a failure, or when the disk does not answer: writes every record that is not known to be
    /// in the database into a new file, one JSON object a line, oldest first, and tells how many.
    /// Blocks; meant for the way out.
    pub fn emergency_dump(&self, path: &Path) -> io::Result<usize> {
        let records: Vec<Arc<Record>> = {
            let state = self.queue.state();
            let waiting = state.queue.iter().filter_map(|item| item.record.as_ref());
            state.kept.iter().chain(&state.writing).chain(waiting).cloned().collect()
        };
        let mut file = BufWriter::new(std::fs::File::create_new(path)?);
        for record in &records {
            serde_json::to_writer(&mut file, &**record)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(records.len())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks() -> Record {
        Record::Ticks { ticks: Vec::new() }
    }

    fn dumped(writer: &Writer) -> usize {
        let directory = tempfile::tempdir().unwrap();
        writer.emergency_dump(&directory.path().join("dump.jsonl")).unwrap()
    }

    #[test]
    fn what_a_disk_that_hangs_has_in_its_hands_is_dumped_as_well() {
        let queue = Queue::new(8, 8);
        let writer = Writer::new(queue.clone());
        for _ in 0..3 {
            writer.record(ticks());
        }
        let mut group = Vec::new();
        assert!(queue.take(&mut group, 2));
        assert_eq!(dumped(&writer), 3, "two that are being written, and one that waits");
        queue.committed();
        assert_eq!(dumped(&writer), 1);
        group.clear();
        assert!(queue.take(&mut group, 2));
        queue.keep(WriteFailed::Closed, &mut group);
        assert_eq!(dumped(&writer), 1);
    }

    #[test]
    fn what_a_thread_that_panicked_was_writing_is_dumped() {
        let queue = Queue::new(8, 8);
        let writer = Writer::new(queue.clone());
        writer.record(ticks());
        assert!(queue.take(&mut Vec::new(), 2));
        queue.end();
        assert_eq!(dumped(&writer), 1);
        writer.record(ticks());
        assert_eq!((dumped(&writer), writer.lost()), (2, 0), "what comes later as well");
    }
}
