//! What stands between the socket and one subscriber. Bounded, and never waited for: a slow
//! subscriber loses its own ticks, and is told how many, but slows nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Delivery, Gap, MarketEvent};
use crate::types::{Instrument, Tick, TickData};

pub(super) struct Mailbox {
    contents: Mutex<Contents>,
    arrived: Notify,
}

struct Contents {
    store: Store,
    missed: u64,
    closed: bool,
}

enum Store {
    /// The latest of each kind for each instrument, and the instruments in the order they changed.
    Latest { slots: Vec<LatestSlot>, changed: VecDeque<usize> },
    /// Everything, up to a capacity.
    Queue { events: VecDeque<MarketEvent>, capacity: usize },
}

struct LatestSlot {
    instrument: Instrument,
    queued: bool,
    gap: Option<Gap>,
    quote: Option<Tick>,
    trade: Option<Tick>,
}

impl Mailbox {
    pub(super) fn new(delivery: Delivery, instruments: &[Instrument]) -> Self {
        let store = match delivery {
            Delivery::Conflate => {
                let slot = |&instrument| LatestSlot {
                    instrument,
                    queued: false,
                    gap: None,
                    quote: None,
                    trade: None,
                };
                let slots: Vec<_> = instruments.iter().map(slot).collect();
                let changed = VecDeque::with_capacity(slots.len());
                Store::Latest { slots, changed }
            }
            Delivery::Queue { capacity } => {
                let capacity = capacity.max(1);
                Store::Queue { events: VecDeque::with_capacity(capacity), capacity }
            }
        };
        let contents = Contents { store, missed: 0, closed: false };
        Self { contents: Mutex::new(contents), arrived: Notify::new() }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event in. The reader is woken only if the mailbox was empty, so that a burst costs
    /// one wake.
    pub(super) fn put(&self, event: MarketEvent) {
        let mut contents = self.contents();
        let was_empty = contents.is_empty();
        contents.put(event);
        drop(contents);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.contents().closed = true;
        self.arrived.notify_one();
    }

    pub(super) fn try_take(&self) -> Taken {
        let mut contents = self.contents();
        match contents.take() {
            Some(event) => Taken::Event(event),
            None if contents.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }

    pub(super) async fn take(&self) -> Option<MarketEvent> {
        loop {
            match self.try_take() {
                Taken::Event(event) => return Some(event),
                Taken::Closed => return None,
                Taken::Empty => self.arrived.notified().await,
            }
        }
    }
}

pub(super) enum Taken {
    Event(MarketEvent),
    Empty,
    Closed,
}

impl Contents {
    fn is_empty(&self) -> bool {
        self.missed == 0
            && match &self.store {
                Store::Latest { changed, .. } => changed.is_empty(),
                Store::Queue { events, .. } => events.is_empty(),
            }
    }

    fn put(&mut self, event: MarketEvent) {
        match &mut self.store {
            Store::Queue { events, capacity } => {
                if events.len() == *capacity {
                    events.pop_front();
                    self.missed += 1;
                }
                events.push_back(event);
            }
            Store::Latest { slots, changed } => {
                let instrument = match &event {
                    MarketEvent::Tick(tick) => tick.instrument,
                    MarketEvent::Gap(gap) => gap.instrument,
                    MarketEvent::Missed { .. } => return,
                };
                let Some(at) = slots.iter().position(|slot| slot.instrument == instrument) else {
                    return;
                };
                let slot = &mut slots[at];
                match event {
                    MarketEvent::Tick(tick) => match tick.data {
                        TickData::Quote(_) => slot.quote = Some(tick),
                        TickData::Trade(_) => slot.trade = Some(tick),
                    },
                    MarketEvent::Gap(gap) => {
                        let from = slot.gap.map_or(gap.from, |earlier| earlier.from);
                        slot.gap = Some(Gap { from, ..gap });
                    }
                    MarketEvent::Missed { .. } => {}
                }
                if !std::mem::replace(&mut slot.queued, true) {
                    changed.push_back(at);
                }
            }
        }
    }

    fn take(&mut self) -> Option<MarketEvent> {
        if self.missed > 0 {
            return Some(MarketEvent::Missed { count: std::mem::take(&mut self.missed) });
        }
        match &mut self.store {
            Store::Queue { events, .. } => {
                let event = events.pop_front();
                if events.is_empty() {
                    // Begins at the front again, so that a reader that keeps up stays within a
                    // small part of the buffer, which the processor's cache holds.
                    events.clear();
                }
                event
            }
            Store::Latest { slots, changed } => {
                let slot = &mut slots[*changed.front()?];
                let event = if let Some(gap) = slot.gap.take() {
                    MarketEvent::Gap(gap)
                } else {
                    // The older of the two first, so that time does not run backwards.
                    let trade_first = match (&slot.trade, &slot.quote) {
                        (Some(trade), Some(quote)) => trade.received <= quote.received,
                        (Some(_), None) => true,
                        _ => false,
                    };
                    let tick = if trade_first { slot.trade.take() } else { slot.quote.take() };
                    MarketEvent::Tick(tick?)
                };
                if slot.gap.is_none() && slot.trade.is_none() && slot.quote.is_none() {
                    slot.queued = false;
                    changed.pop_front();
                }
                Some(event)
            }
        }
    }
}
