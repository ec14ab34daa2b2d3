//! The trades that everyone saw, with what is said of a trade beside its figures.

use std::collections::VecDeque;

use rust_decimal::Decimal;

use crate::engine::{EngineEvent, PublicTrade};
use crate::instrument::InstrumentId;

/// Trades kept, an instrument.
const TRADES_MAX: usize = 1_000;

/// A trade and its direction against the one before: 0 up, 1 same after up, 2 down, 3 same after
/// down.
#[derive(Clone, Debug)]
pub(crate) struct Printed {
    pub(crate) trade: PublicTrade,
    pub(crate) tick_direction: u8,
}

/// The latest trades of every instrument.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    instruments: Vec<VecDeque<Printed>>,
}

impl Tape {
    /// Notes the trades of these events; those that are noted already stay as they are.
    pub(crate) fn note(&mut self, events: &[EngineEvent]) {
        for event in events {
            if let EngineEvent::Trade(trade) = event {
                self.note_trade(trade);
            }
        }
    }

    fn note_trade(&mut self, trade: &PublicTrade) {
        if self.instruments.len() <= trade.instrument {
            self.instruments.resize_with(trade.instrument + 1, VecDeque::new);
        }
        let trades = &mut self.instruments[trade.instrument];
        let last = trades.back();
        if last.is_some_and(|last| last.trade.id >= trade.id) {
            return;
        }
        let tick_direction = last.map_or(0, |last| direction(last, trade.price));
        if trades.len() >= TRADES_MAX {
            trades.pop_front();
        }
        trades.push_back(Printed { trade: trade.clone(), tick_direction });
    }

    /// The kept trades of an instrument, oldest first.
    pub(crate) fn trades(
        &self,
        instrument: InstrumentId,
    ) -> impl DoubleEndedIterator<Item = &Printed> {
        self.instruments.get(instrument).into_iter().flatten()
    }

    /// The direction of a trade; 0 when it is long gone.
    pub(crate) fn tick_direction(&self, instrument: InstrumentId, trade_id: u64) -> u8 {
        let mut newest_first = self.trades(instrument).rev();
        let found = newest_first.find(|printed| printed.trade.id == trade_id);
        found.map_or(0, |printed| printed.tick_direction)
    }
}

fn direction(last: &Printed, price: Decimal) -> u8 {
    match price.cmp(&last.trade.price) {
        std::cmp::Ordering::Greater => 0,
        std::cmp::Ordering::Less => 2,
        std::cmp::Ordering::Equal => last.tick_direction | 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{OrderKind, Side};

    #[test]
    fn a_trade_is_noted_once_and_knows_its_direction() {
        let mut tape = Tape::default();
        for (id, price) in [(1, 10), (2, 11), (3, 11), (4, 9), (4, 9), (5, 9)] {
            tape.note(&[EngineEvent::Trade(PublicTrade {
                instrument: 1,
                id,
                sequence: id,
                price: Decimal::from(price),
                quantity: Decimal::ONE,
                taker: Side::Buy,
                taker_kind: OrderKind::Market,
                time: jiff::Timestamp::UNIX_EPOCH,
            })]);
        }
        let directions: Vec<u8> = tape.trades(1).map(|printed| printed.tick_direction).collect();
        assert_eq!(directions, [0, 0, 1, 2, 3]);
        assert_eq!(tape.tick_direction(1, 4), 2);
        assert_eq!(tape.trades(0).count(), 0);
    }
}
