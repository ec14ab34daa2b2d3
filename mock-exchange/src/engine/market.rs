//! Other participants: market makers around a seeded random walk, and takers.

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;

use super::command::Engine;
use super::order::{EngineEvent, OrderKind, PublicTrade, Quote, Side};
use crate::instrument::{Instrument, InstrumentId};

/// Levels that market makers keep on each side.
const DEPTH: usize = 15;
/// Share of events that are trades, in percent.
const TRADES_PERCENT: u32 = 30;

/// The walk of every instrument of a venue. One generator an instrument, so that the prices of
/// one do not depend on how often another moved.
pub(crate) struct SeededMarket {
    walks: Vec<Walk>,
}

struct Walk {
    rng: ChaCha8Rng,
    /// The makers' step; about 1/50 000 of the price.
    unit: Decimal,
    /// Distance of the middle from the reference, in units.
    offset: i64,
}

impl SeededMarket {
    pub(crate) fn new(seed: u64, venue: &str, instruments: &[Instrument]) -> Self {
        let walks = instruments
            .iter()
            .map(|instrument| {
                let label = format!("{venue}:{}", instrument.symbol);
                let ticks =
                    (instrument.reference / Decimal::from(50_000) / instrument.tick).floor();
                Walk {
                    rng: ChaCha8Rng::seed_from_u64(seed ^ fnv1a(label.as_bytes())),
                    unit: ticks.max(Decimal::ONE) * instrument.tick,
                    offset: 0,
                }
            })
            .collect();
        Self { walks }
    }

    /// Opens the book: one quote a side for a still market, the makers' levels otherwise.
    pub(crate) fn open(
        &mut self,
        engine: &mut Engine,
        still: bool,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let instruments = engine.instruments().clone();
        for (id, instrument) in instruments.iter().enumerate() {
            if still {
                let unit = self.walks[id].unit;
                let quantity = match instrument.contract {
                    None => Decimal::TEN,
                    Some(_) => instrument.quantity_worth(Decimal::TEN * instrument.reference),
                };
                let bid = [(instrument.reference - unit, quantity)];
                let ask = [(instrument.reference + unit, quantity)];
                engine.set_market(id, &bid, &ask, now, events);
            } else {
                self.requote(engine, id, now, events);
            }
        }
    }

    /// Picks the instrument of the next event and moves its market.
    pub(crate) fn step(
        &mut self,
        engine: &mut Engine,
        instrument: InstrumentId,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let walk = &mut self.walks[instrument];
        if walk.rng.random_range(0..100) < TRADES_PERCENT {
            let taker = if walk.rng.random_bool(0.5) { Side::Buy } else { Side::Sell };
            let percent = walk.rng.random_range(5..80);
            let step = engine.instruments()[instrument].step;
            let Some((price, total)) = engine.book(instrument).best(taker.opposite()) else {
                return;
            };
            let quantity = (total * Decimal::new(percent, 2) / step).floor() * step;
            if !quantity.is_zero() {
                engine.trade(instrument, taker, price, quantity, now, events);
            }
        } else {
            walk.offset += walk.rng.random_range(-2..=2);
            // A fifth away from the reference (10 000 units) the walk turns back.
            walk.offset = walk.offset.clamp(-10_000, 10_000);
            self.requote(engine, instrument, now, events);
        }
    }

    /// A tick that is only printed: the book stands still.
    pub(crate) fn print(
        &mut self,
        engine: &mut Engine,
        instrument: InstrumentId,
        now: Timestamp,
    ) -> EngineEvent {
        let walk = &mut self.walks[instrument];
        let quantity = walk.rng.random_range(1..1000_i64);
        let listed = &engine.instruments()[instrument];
        let quantity = match listed.contract {
            None => Decimal::new(quantity, 3),
            Some(_) => Decimal::from(quantity) * listed.step,
        };
        let (update_id, mut quote) =
            (engine.book(instrument).update_id(), engine.book(instrument).quote());
        if walk.rng.random_range(0..100) < TRADES_PERCENT {
            let taker = if walk.rng.random_bool(0.5) { Side::Buy } else { Side::Sell };
            let price = if taker == Side::Buy { quote.ask } else { quote.bid };
            let id = engine.next_trade_id();
            let sequence = engine.next_sequence(instrument);
            EngineEvent::Trade(PublicTrade {
                instrument,
                id,
                sequence,
                price,
                quantity,
                taker,
                taker_kind: OrderKind::Market,
                time: now,
            })
        } else {
            quote = Quote { bid_quantity: quantity, ..quote };
            EngineEvent::Quote { instrument, quote, update_id, time: now }
        }
    }

    fn requote(
        &mut self,
        engine: &mut Engine,
        instrument: InstrumentId,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let listed = engine.instruments()[instrument].clone();
        let walk = &mut self.walks[instrument];
        let middle = listed.reference + Decimal::from(walk.offset) * walk.unit;
        // A level is worth some 5 000 to 50 000 of the quote currency.
        let mut quantity = || {
            let value = Decimal::from(walk.rng.random_range(5_000..50_000_u32));
            listed.quantity_worth(value)
        };
        let mut bids = Vec::with_capacity(DEPTH);
        let mut asks = Vec::with_capacity(DEPTH);
        for level in 1..=DEPTH {
            let distance = Decimal::from(level) * walk.unit;
            bids.push((middle - distance, quantity()));
            asks.push((middle + distance, quantity()));
        }
        engine.set_market(instrument, &bids, &asks, now, events);
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
