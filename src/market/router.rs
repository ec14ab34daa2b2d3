//! Hands every tick to the subscribers of its instrument and remembers the last one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::mailbox::Mailbox;
use super::{Delivery, Gap, MarketEvent, Ticks};
use crate::types::{ExchangeName, Instrument, Tick, TickData, Timestamp};

/// A subscription to an instrument that the configuration does not name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{instrument} is not among the configured instruments; add it to `exchanges.{}.instruments`", instrument.exchange())]
pub struct UnknownInstrument {
    /// Which one.
    pub instrument: Instrument,
}

/// The last trade and the last quote of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTick {
    /// Which instrument.
    pub instrument: Instrument,
    /// The last trade, if there was one.
    pub trade: Option<Tick>,
    /// The last quote, if there was one.
    pub quote: Option<Tick>,
    /// How many ticks were delivered in this run.
    pub count: u64,
}

/// Routes ticks. Its instruments are fixed when it is built.
pub(crate) struct Router {
    slots: FxHashMap<Instrument, Mutex<Slot>>,
    frozen: AtomicBool,
    late: AtomicU64,
}

struct Slot {
    last: LastTick,
    subscribers: Vec<Weak<Mailbox>>,
}

impl Router {
    pub(crate) fn new(instruments: impl IntoIterator<Item = Instrument>) -> Self {
        let slot = |instrument| {
            let last = LastTick { instrument, trade: None, quote: None, count: 0 };
            (instrument, Mutex::new(Slot { last, subscribers: Vec::new() }))
        };
        Self {
            slots: instruments.into_iter().map(slot).collect(),
            frozen: AtomicBool::new(false),
            late: AtomicU64::new(0),
        }
    }

    fn slot(&self, instrument: Instrument) -> Option<MutexGuard<'_, Slot>> {
        let slot = self.slots.get(&instrument)?;
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Delivers a tick. Allocates nothing and never waits for a subscriber. After
    /// [`freeze`](Self::freeze) ticks are only counted.
    pub(crate) fn publish(&self, tick: &Tick) {
        let Some(mut slot) = self.slot(tick.instrument) else { return };
        // Read under the slot's lock, so that no tick is delivered after the freeze has passed it.
        if self.frozen.load(Ordering::Acquire) {
            self.late.fetch_add(1, Ordering::Relaxed);
            return;
        }
        slot.last.count += 1;
        match tick.data {
            TickData::Trade(_) => slot.last.trade = Some(*tick),
            TickData::Quote(_) => slot.last.quote = Some(*tick),
        }
        slot.deliver(MarketEvent::Tick(*tick));
    }

    /// Tells the subscribers of an exchange's instruments that ticks may be missing.
    pub(crate) fn gap(&self, exchange: ExchangeName, from: Timestamp, to: Timestamp) {
        for instrument in self.instruments_of(exchange) {
            if let Some(mut slot) = self.slot(instrument) {
                slot.deliver(MarketEvent::Gap(Gap { instrument, from, to }));
            }
        }
    }

    fn instruments_of(&self, exchange: ExchangeName) -> Vec<Instrument> {
        let mut found: Vec<_> =
            self.slots.keys().copied().filter(|i| i.exchange() == exchange).collect();
        found.sort_unstable();
        found
    }

    pub(crate) fn subscribe(
        &self,
        instruments: &[Instrument],
        delivery: Delivery,
    ) -> Result<Ticks, UnknownInstrument> {
        if let Some(&instrument) = instruments.iter().find(|i| !self.slots.contains_key(i)) {
            return Err(UnknownInstrument { instrument });
        }
        let mailbox = Arc::new(Mailbox::new(delivery, instruments));
        for &instrument in instruments {
            if let Some(mut slot) = self.slot(instrument) {
                slot.subscribers.retain(|known| known.strong_count() > 0);
                slot.subscribers.push(Arc::downgrade(&mailbox));
            }
        }
        if self.frozen.load(Ordering::Acquire) {
            mailbox.close();
        }
        Ok(Ticks { mailbox })
    }

    /// Stops delivery for good: what has been delivered is what there is to save.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
        for instrument in self.slots.keys() {
            if let Some(slot) = self.slot(*instrument) {
                for mailbox in slot.subscribers.iter().filter_map(Weak::upgrade) {
                    mailbox.close();
                }
            }
        }
    }

    /// Ticks that arrived after the freeze.
    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// The last tick of one instrument.
    pub(crate) fn last(&self, instrument: Instrument) -> Option<LastTick> {
        self.slot(instrument).map(|slot| slot.last)
    }

    /// The last tick of every instrument, in order of their names.
    pub(crate) fn last_ticks(&self) -> Vec<LastTick> {
        let mut all: Vec<_> = self.slots.keys().filter_map(|i| self.last(*i)).collect();
        all.sort_unstable_by_key(|last| last.instrument);
        all
    }
}

impl Slot {
    fn deliver(&mut self, event: MarketEvent) {
        let mut ended = false;
        for subscriber in &self.subscribers {
            match subscriber.upgrade() {
                Some(mailbox) => mailbox.put(event),
                None => ended = true,
            }
        }
        if ended {
            self.subscribers.retain(|known| known.strong_count() > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Quote, Side, Trade};

    fn instrument(name: &str) -> Instrument {
        name.parse().unwrap()
    }

    fn trade(name: &str, id: u64) -> Tick {
        let trade = Trade {
            price: "1".parse().unwrap(),
            quantity: "2".parse().unwrap(),
            taker_side: Side::Buy,
            trade_id: id,
        };
        Tick {
            instrument: instrument(name),
            exchange_time: None,
            received: Timestamp::from_microsecond(i64::try_from(id).unwrap()).unwrap(),
            data: TickData::Trade(trade),
        }
    }

    fn quote(name: &str, at: i64) -> Tick {
        let one = "1".parse().unwrap();
        let size = "1".parse().unwrap();
        let quote = Quote { bid: one, bid_quantity: size, ask: one, ask_quantity: size };
        Tick {
            received: Timestamp::from_microsecond(at).unwrap(),
            data: TickData::Quote(quote),
            ..trade(name, 0)
        }
    }

    const BTC: &str = "binance:BTC-USDT";
    const ETH: &str = "binance:ETH-USDT";

    fn router() -> Router {
        Router::new([instrument(BTC), instrument(ETH)])
    }

    #[tokio::test]
    async fn a_conflating_subscriber_sees_the_latest_of_each_kind() {
        let router = router();
        let mut ticks = router.subscribe(&[instrument(BTC)], Delivery::Conflate).unwrap();
        for id in 1..=5 {
            router.publish(&trade(BTC, id));
        }
        router.publish(&quote(BTC, 9));
        router.publish(&trade(ETH, 7));
        assert_eq!(ticks.next().await, Some(MarketEvent::Tick(trade(BTC, 5))));
        assert_eq!(ticks.next().await, Some(MarketEvent::Tick(quote(BTC, 9))));
        assert_eq!(ticks.try_next(), None);
    }

    #[tokio::test]
    async fn a_slow_queue_loses_the_oldest_and_is_told_how_many() {
        let router = router();
        let delivery = Delivery::Queue { capacity: 2 };
        let mut ticks = router.subscribe(&[instrument(BTC)], delivery).unwrap();
        for id in 1..=5 {
            router.publish(&trade(BTC, id));
        }
        assert_eq!(ticks.next().await, Some(MarketEvent::Missed { count: 3 }));
        assert_eq!(ticks.next().await, Some(MarketEvent::Tick(trade(BTC, 4))));
        assert_eq!(ticks.next().await, Some(MarketEvent::Tick(trade(BTC, 5))));
    }

    #[test]
    fn routing_and_reading_a_tick_allocates_nothing() {
        let router = router();
        for delivery in [Delivery::Conflate, Delivery::Queue { capacity: 16 }] {
            let mut ticks = router.subscribe(&[instrument(BTC)], delivery).unwrap();
            let tick = trade(BTC, 1);
            let counted = allocation_counter::measure(|| {
                for _ in 0..1000 {
                    router.publish(&tick);
                    router.publish(&tick);
                    while ticks.try_next().is_some() {}
                }
            });
            assert_eq!(counted.count_total, 0, "{delivery:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_delivered_or_remembered_after_the_freeze() {
        let router = router();
        let mut ticks = router.subscribe(&[instrument(BTC)], Delivery::Conflate).unwrap();
        router.publish(&trade(BTC, 1));
        router.freeze();
        router.publish(&trade(BTC, 2));
        assert_eq!(ticks.next().await, Some(MarketEvent::Tick(trade(BTC, 1))));
        assert_eq!(ticks.next().await, None);
        assert_eq!(router.last(instrument(BTC)).unwrap().trade, Some(trade(BTC, 1)));
        assert_eq!(router.late(), 1);
    }

    #[tokio::test]
    async fn a_gap_reaches_both_kinds_of_subscribers_before_later_ticks() {
        let router = router();
        let mut latest = router.subscribe(&[instrument(BTC)], Delivery::Conflate).unwrap();
        let queue = Delivery::Queue { capacity: 8 };
        let mut queued = router.subscribe(&[instrument(BTC)], queue).unwrap();
        let at = |us| Timestamp::from_microsecond(us).unwrap();
        router.gap("binance".parse().unwrap(), at(1), at(2));
        router.publish(&trade(BTC, 3));
        let gap = MarketEvent::Gap(Gap { instrument: instrument(BTC), from: at(1), to: at(2) });
        for ticks in [&mut latest, &mut queued] {
            assert_eq!(ticks.next().await, Some(gap));
            assert_eq!(ticks.next().await, Some(MarketEvent::Tick(trade(BTC, 3))));
        }
    }

    #[test]
    fn an_unconfigured_instrument_is_refused_with_advice() {
        let error = router().subscribe(&[instrument("kraken:BTC-USD")], Delivery::Conflate);
        let message = error.unwrap_err().to_string();
        assert!(message.contains("exchanges.kraken.instruments"), "{message}");
    }
}
