//! What a bot holds: a stream of market events.

use std::sync::Arc;

use futures::Stream;
use serde::Serialize;

use super::mailbox::{Mailbox, Taken};
use crate::types::{Instrument, Tick, Timestamp};

/// How a subscriber wants ticks when they come faster than it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Only the latest trade and the latest quote of each instrument.
    Conflate,
    /// Every tick, up to `capacity` unread ones; the oldest go first and their number is told.
    Queue {
        /// Unread events kept, at least 1. A tick takes some 150 bytes.
        capacity: usize,
    },
}

/// A time in which ticks of an instrument may have been missed, because the connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Which instrument.
    pub instrument: Instrument,
    /// When the last message before the gap arrived.
    pub from: Timestamp,
    /// When the subscription was live again.
    pub to: Timestamp,
}

/// What a subscriber receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarketEvent {
    /// A trade or a quote.
    Tick(Tick),
    /// Ticks may be missing between two times.
    Gap(Gap),
    /// The subscriber was too slow: this many events were dropped for it.
    Missed {
        /// How many.
        count: u64,
    },
}

/// A subscription. Dropping it ends it.
pub struct Ticks {
    pub(super) mailbox: Arc<Mailbox>,
}

impl Ticks {
    /// The next event, or `None` when market data has been frozen for shutdown and all that came
    /// before has been read. Cancel safe.
    pub async fn next(&mut self) -> Option<MarketEvent> {
        self.mailbox.take().await
    }

    /// The next tick, skipping other events; `None` as for [`next`](Self::next). Cancel safe.
    pub async fn next_tick(&mut self) -> Option<Tick> {
        loop {
            if let MarketEvent::Tick(tick) = self.next().await? {
                return Some(tick);
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = MarketEvent> + Send {
        futures::stream::unfold(self, |mut ticks| async move {
            ticks.next().await.map(|event| (event, ticks))
        })
    }

    /// The next event if one is waiting.
    pub fn try_next(&mut self) -> Option<MarketEvent> {
        match self.mailbox.try_take() {
            Taken::Event(event) => Some(event),
            Taken::Empty | Taken::Closed => None,
        }
    }
}

impl std::fmt::Debug for Ticks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticks")
    }
}
