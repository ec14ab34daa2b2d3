//! The stream of changed positions: the latest of each instrument, so that it is bounded however
//! slowly it is read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use tokio::sync::Notify;

use crate::types::{Instrument, Position};

/// What stands between the keeper and one subscriber.
#[derive(Default)]
pub(super) struct Mailbox {
    contents: Mutex<Contents>,
    arrived: Notify,
}

#[derive(Default)]
struct Contents {
    changed: BTreeMap<Instrument, Position>,
    /// The instruments of those, that which changed first in front.
    order: VecDeque<Instrument>,
    closed: bool,
}

impl Mailbox {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what was not read yet of the same instrument.
    pub(super) fn put(&self, position: &Position) {
        let mut contents = self.contents();
        let instrument = position.instrument;
        if contents.changed.insert(instrument, position.clone()).is_none() {
            contents.order.push_back(instrument);
        }
        drop(contents);
        self.arrived.notify_one();
    }

    pub(super) fn close(&self) {
        self.contents().closed = true;
        self.arrived.notify_one();
    }
}

/// A subscription to changes of positions. It never holds more than the latest position of each
/// instrument: what changes twice before it is read is read once, as it is then. Fills one by one
/// are told by [`OrderUpdates`](crate::OrderUpdates). Dropping it ends it.
pub struct PositionUpdates {
    mailbox: Arc<Mailbox>,
}

impl PositionUpdates {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox }
    }

    /// The next changed position, or `None` when the gateway has ended and all has been read.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken before this returns it.
    pub async fn next(&mut self) -> Option<Position> {
        loop {
            if let Some(position) = self.try_next() {
                return Some(position);
            }
            if self.mailbox.contents().closed {
                return self.try_next();
            }
            // A change since the look above has left a permit.
            self.mailbox.arrived.notified().await;
        }
    }

    /// The next changed position if one is waiting.
    pub fn try_next(&mut self) -> Option<Position> {
        let mut contents = self.mailbox.contents();
        let instrument = contents.order.pop_front()?;
        contents.changed.remove(&instrument)
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Position> + Send {
        futures::stream::unfold(self, |mut updates| async move {
            updates.next().await.map(|position| (position, updates))
        })
    }
}

impl std::fmt::Debug for PositionUpdates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PositionUpdates")
    }
}
