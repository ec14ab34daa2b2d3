//! What positions are worth at the last tick. Pure.

use rust_decimal::Decimal;

use super::Terms;
use crate::market::LastTick;
use crate::types::{Position, Price, PriceBasis, TickData, Valuation};

/// The price at which a quantity (below zero: a short one) could be given up by the last ticks.
pub(crate) fn exit_price(quantity: Decimal, last: &LastTick) -> Option<(Price, PriceBasis)> {
    let quoted = match last.quote.map(|tick| tick.data) {
        Some(TickData::Quote(quote)) if quantity > Decimal::ZERO => {
            Some((quote.bid, PriceBasis::Bid))
        }
        Some(TickData::Quote(quote)) => Some((quote.ask, PriceBasis::Ask)),
        _ => None,
    };
    // A side that nobody quotes has a price of zero.
    quoted.filter(|(price, _)| price.0 > Decimal::ZERO).or(match last.trade.map(|tick| tick.data) {
        Some(TickData::Trade(trade)) => Some((trade.price, PriceBasis::Trade)),
        _ => None,
    })
}

/// Values a position by the terms and the last ticks of its instrument, where there are some.
pub(crate) fn value(
    position: Position,
    terms: Option<&Terms>,
    last: Option<&LastTick>,
) -> Valuation {
    if position.is_flat() {
        let unrealized = Some(Decimal::ZERO);
        return Valuation { position, price: None, basis: None, unrealized };
    }
    let (price, basis) = last.and_then(|last| exit_price(position.quantity, last)).unzip();
    let unrealized = terms
        .zip(price)
        .zip(position.entry)
        .and_then(|((terms, price), entry)| terms.profit(position.quantity, entry, price));
    Valuation { position, price, basis, unrealized }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Instrument, Quote, Side, Tick, Timestamp, Trade};

    fn tick(instrument: Instrument, data: TickData) -> Tick {
        let received = Timestamp::UNIX_EPOCH;
        Tick { instrument, exchange_time: None, received, data }
    }

    fn last(bid: &str, ask: &str, trade: &str) -> LastTick {
        let instrument = "kraken:BTC-USD".parse().unwrap();
        let one = "1".parse().unwrap();
        let quote = Quote {
            bid: bid.parse().unwrap(),
            bid_quantity: one,
            ask: ask.parse().unwrap(),
            ask_quantity: one,
        };
        let trade = Trade {
            price: trade.parse().unwrap(),
            quantity: one,
            taker_side: Side::Buy,
            trade_id: 1,
        };
        let quote = Some(tick(instrument, TickData::Quote(quote)));
        let trade = Some(tick(instrument, TickData::Trade(trade)));
        LastTick { instrument, trade, quote, count: 2 }
    }

    fn held(quantity: i64, last: Option<&LastTick>) -> Valuation {
        let instrument = "kraken:BTC-USD".parse().unwrap();
        let terms = Terms { currency: "USD".into(), base: Some("BTC".into()), inverse: false };
        let mut position = Position::empty(instrument, "USD");
        position.quantity = quantity.into();
        position.entry = (quantity != 0).then(|| "100".parse().unwrap());
        value(position, Some(&terms), last)
    }

    #[test]
    fn a_long_position_is_worth_the_bid_and_a_short_one_the_ask() {
        let last = last("110", "111", "105");
        let long = held(2, Some(&last));
        assert_eq!((long.basis, long.unrealized), (Some(PriceBasis::Bid), Some(20.into())));
        let short = held(-2, Some(&last));
        assert_eq!((short.basis, short.unrealized), (Some(PriceBasis::Ask), Some((-22).into())));
    }

    #[test]
    fn a_side_that_nobody_quotes_leaves_the_last_trade_and_no_tick_leaves_nothing() {
        let one_sided = last("0", "111", "105");
        let long = held(2, Some(&one_sided));
        assert_eq!((long.basis, long.unrealized), (Some(PriceBasis::Trade), Some(10.into())));
        let no_quote = LastTick { quote: None, ..one_sided };
        assert_eq!(held(-2, Some(&no_quote)).basis, Some(PriceBasis::Trade));
        let nothing = LastTick { trade: None, ..no_quote };
        for last in [None, Some(&nothing)] {
            let valued = held(2, last);
            assert_eq!((valued.price, valued.unrealized, valued.profit()), (None, None, None));
        }
        assert_eq!(held(0, None).profit(), Some(0.into()));
    }
}
