//! A connection as the venue sees it: a queue of what to send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

use crate::faults::Disconnect;
use crate::protocol::ConnectionId;

/// What goes out over a connection.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Text(Utf8Bytes),
    Close { code: u16, reason: String },
    Disturb(Disturbance),
}

/// Something that goes wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Drop(Disconnect),
    StopReading(Option<Duration>),
    GoSilent(Option<Duration>),
    Binary,
    InvalidUtf8,
    Oversized(usize),
    Truncated,
    RefuseClose,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Outgoing>,
    delayed: BTreeMap<(Instant, u64), Outgoing>,
    sequence: u64,
    heartbeat: Option<Utf8Bytes>,
}

/// The venue's end of a connection. Shared between the venue and the connection's loop.
pub(crate) struct Peer {
    pub(crate) id: ConnectionId,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Ends the loop at once, even while a write is stuck.
    pub(crate) kill: CancellationToken,
    pub(crate) frames_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) frames_dropped: AtomicU64,
    latency: Duration,
    limit: usize,
}

impl Peer {
    pub(crate) fn new(id: ConnectionId, latency: Duration, limit: usize) -> Self {
        Self {
            id,
            queue: Mutex::default(),
            wake: Notify::new(),
            kill: CancellationToken::new(),
            frames_in: AtomicU64::new(0),
            frames_out: AtomicU64::new(0),
            frames_dropped: AtomicU64::new(0),
            latency,
            limit,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; a peer that is far behind is cut off.
    pub(crate) fn push(&self, outgoing: Outgoing, delay: Duration) {
        let mut queue = self.queue();
        // Twice the bound of market data, so that a flood of ticks leaves room for what matters.
        if queue.ready.len() + queue.delayed.len() >= self.limit.saturating_mul(2) {
            self.kill.cancel();
            return;
        }
        let delay = delay + self.latency;
        if delay.is_zero() {
            queue.ready.push_back(outgoing);
        } else {
            queue.sequence += 1;
            let key = (Instant::now() + delay, queue.sequence);
            queue.delayed.insert(key, outgoing);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Queues a frame that may be left out when the peer does not keep up.
    pub(crate) fn push_market(&self, text: Utf8Bytes) {
        let queue = self.queue();
        let full = queue.ready.len() + queue.delayed.len() >= self.limit;
        drop(queue);
        if full {
            self.frames_dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            self.push(Outgoing::Text(text), Duration::ZERO);
        }
    }

    /// Sets the text that is sent when the connection was idle; `None` stops it.
    pub(crate) fn set_heartbeat(&self, text: Option<Utf8Bytes>) {
        self.queue().heartbeat = text;
        self.wake.notify_one();
    }

    pub(crate) fn heartbeat(&self) -> Option<Utf8Bytes> {
        self.queue().heartbeat.clone()
    }

    /// Waits until something was queued. Cancel safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Moves up to `limit` frames that are due at `now` into `batch`.
    pub(crate) fn take_due(&self, now: Instant, limit: usize, batch: &mut Vec<Outgoing>) {
        let mut queue = self.queue();
        while batch.len() < limit {
            if let Some(outgoing) = queue.ready.pop_front() {
                batch.push(outgoing);
            } else if let Some(entry) = queue.delayed.first_entry()
                && entry.key().0 <= now
            {
                batch.push(entry.remove());
            } else {
                break;
            }
        }
    }

    /// When the next delayed frame is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queue().delayed.first_key_value().map(|((due, _), _)| *due)
    }
}
