//! The public channels: `ticker`, `trade`, `book` and `instrument`.

use std::fmt::Write as _;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};

use super::book::{self, Precision, Sides, WireLevel};
use super::messages::{Kind, channel_data};
use super::number::Number;
use super::rest_messages::{kind_text, side_text};
use super::time::micros;
use crate::engine::{Book, Engine, PublicTrade, Quote, Side};
use crate::instrument::{Instrument, InstrumentId};

/// The decimals a pair is written with.
pub(crate) fn precision(instrument: &Instrument) -> Precision {
    Precision { price: instrument.price_decimals(), quantity: instrument.quantity_decimals() }
}

/// What a ticker shows beside the rolling figures. A market that only prints ticks leaves the
/// book and the figures as they are, so the event itself says what is new.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick {
    pub(crate) quote: Quote,
    /// The trade's price, if a trade is the reason.
    pub(crate) last: Option<Decimal>,
    pub(crate) at: Timestamp,
}

impl Tick {
    /// The market as it stands.
    pub(crate) fn now(engine: &Engine, id: InstrumentId, at: Timestamp) -> Self {
        Self { quote: engine.book(id).quote(), last: None, at }
    }
}

/// A `ticker` message. Tickers and trades come in floods, so they are written without the detour
/// over raw JSON values.
pub(crate) fn ticker(engine: &Engine, id: InstrumentId, kind: Kind, tick: Tick) -> String {
    let instrument = &engine.instruments()[id];
    let Precision { price, quantity } = precision(instrument);
    let (price, quantity) = (price as usize, quantity as usize);
    let (quote, stats) = (tick.quote, engine.stats(id));
    format!(
        r#"{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{symbol}","bid":{bid:.price$},"bid_qty":{bid_quantity:.quantity$},"ask":{ask:.price$},"ask_qty":{ask_quantity:.quantity$},"last":{last:.price$},"volume":{volume:.quantity$},"vwap":{vwap:.price$},"low":{low:.price$},"high":{high:.price$},"change":{change:.price$},"change_pct":{percent:.2},"timestamp":"{at}"}}]}}"#,
        kind = kind.as_str(),
        symbol = instrument.symbol,
        bid = quote.bid,
        bid_quantity = quote.bid_quantity,
        ask = quote.ask,
        ask_quantity = quote.ask_quantity,
        last = tick.last.unwrap_or(stats.last),
        volume = stats.volume,
        vwap = stats.vwap(),
        low = stats.low,
        high = stats.high,
        change = stats.change(),
        percent = stats.change_percent(),
        at = micros(tick.at),
    )
}

/// A `trade` message with one or many trades of one pair.
pub(crate) fn trades<'a>(
    instrument: &Instrument,
    trades: impl Iterator<Item = &'a PublicTrade>,
    kind: Kind,
) -> String {
    let Precision { price, quantity } = precision(instrument);
    let (price, quantity) = (price as usize, quantity as usize);
    let mut text = format!(r#"{{"channel":"trade","type":"{}","data":["#, kind.as_str());
    for (n, trade) in trades.enumerate() {
        if n > 0 {
            text.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"symbol":"{symbol}","side":"{side}","price":{at:.price$},"qty":{amount:.quantity$},"ord_type":"{kind}","trade_id":{id},"timestamp":"{time}"}}"#,
            symbol = instrument.symbol,
            side = side_text(trade.taker),
            at = trade.price,
            amount = trade.quantity,
            kind = kind_text(trade.taker_kind),
            id = trade.id,
            time = micros(trade.time),
        );
    }
    text.push_str("]}");
    text
}

/// Both sides of a book up to a depth.
pub(crate) fn sides(book: &Book, depth: usize) -> Sides {
    Sides { bids: book.levels(Side::Buy, depth), asks: book.levels(Side::Sell, depth) }
}

#[derive(Serialize)]
struct BookData<'a> {
    symbol: &'a str,
    bids: Vec<WireLevel>,
    asks: Vec<WireLevel>,
    checksum: u32,
    timestamp: String,
}

/// A `book` message: `levels` are the whole book or the changes, `after` is the book that the
/// client holds then, which the checksum is about.
pub(crate) fn book_message(
    instrument: &Instrument,
    kind: Kind,
    levels: &Sides,
    after: &Sides,
    now: Timestamp,
) -> String {
    let decimals = precision(instrument);
    let data = BookData {
        symbol: &instrument.symbol,
        bids: book::wire_levels(&levels.bids, decimals),
        asks: book::wire_levels(&levels.asks, decimals),
        checksum: book::checksum(after, decimals),
        timestamp: micros(now),
    };
    channel_data("book", kind, [data], None)
}

#[derive(Serialize)]
struct Pair<'a> {
    symbol: &'a str,
    base: &'a str,
    quote: &'a str,
    status: &'static str,
    qty_precision: u32,
    qty_increment: Number,
    qty_min: Number,
    price_precision: u32,
    price_increment: Number,
    cost_precision: u32,
    cost_min: Number,
    marginable: bool,
    has_index: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    assets: Vec<Value>,
    pairs: Vec<Pair<'a>>,
}

/// The `instrument` channel: every asset and pair.
pub(crate) fn instruments(instruments: &[Instrument], status: &'static str, kind: Kind) -> String {
    let mut names: Vec<&str> =
        instruments.iter().flat_map(|listed| [&*listed.base, &*listed.quote]).collect();
    names.sort_unstable();
    names.dedup();
    let assets = names
        .into_iter()
        .map(|asset| {
            json!({
                "id": asset, "status": "enabled", "precision": 10, "precision_display": 5,
                "borrowable": false, "collateral_value": 0, "margin_rate": 0,
            })
        })
        .collect();
    let pairs = instruments
        .iter()
        .map(|listed| Pair {
            symbol: &listed.symbol,
            base: &listed.base,
            quote: &listed.quote,
            status,
            qty_precision: listed.quantity_decimals(),
            qty_increment: Number(listed.step),
            qty_min: Number(listed.quantity_min),
            price_precision: listed.price_decimals(),
            price_increment: Number(listed.tick),
            cost_precision: 5,
            cost_min: Number(listed.notional_min),
            marginable: false,
            has_index: true,
        })
        .collect();
    channel_data("instrument", kind, Listing { assets, pairs }, None)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::engine::{FeeAsset, OrderKind};

    fn keys(text: &str) -> Vec<String> {
        let message: Value = serde_json::from_str(text).expect("JSON");
        let element = message["data"][0].as_object().expect("an object");
        let mut keys: Vec<String> = element.keys().cloned().collect();
        keys.sort();
        keys
    }

    fn instrument() -> Instrument {
        Instrument { tick: Decimal::new(1, 1), ..Instrument::new("BTC", "USD", "/") }
    }

    #[test]
    fn a_ticker_has_the_recorded_shape_and_the_pair_s_decimals() {
        let fees = (Decimal::ZERO, Decimal::ZERO);
        let engine = Engine::new(vec![instrument()].into(), FeeAsset::Quote, fees, 10);
        let quote = Quote { bid: Decimal::from(29_000), ..Quote::default() };
        let tick = Tick { quote, last: Some(Decimal::new(289_999, 1)), at: Timestamp::UNIX_EPOCH };
        let text = ticker(&engine, 0, Kind::Update, tick);
        assert_eq!(keys(&text), keys(include_str!("testdata/ticker_update.json")));
        assert!(text.contains(r#""bid":29000.0,"bid_qty":0.00000,"#), "{text}");
        assert!(text.contains(r#""last":28999.9,"#), "{text}");
    }

    #[test]
    fn trades_have_the_recorded_shape_and_the_pair_s_decimals() {
        let trade = PublicTrade {
            instrument: 0,
            id: 7,
            sequence: 1,
            price: Decimal::from(29_000),
            quantity: Decimal::new(15, 1),
            taker: Side::Sell,
            taker_kind: OrderKind::Market,
            time: Timestamp::UNIX_EPOCH,
        };
        let text = trades(&instrument(), [&trade, &trade].into_iter(), Kind::Update);
        assert_eq!(keys(&text), keys(include_str!("testdata/trade_update_two_trades.json")));
        assert!(text.contains(r#""price":29000.0,"qty":1.50000,"ord_type":"market""#), "{text}");
        let none = trades(&instrument(), std::iter::empty(), Kind::Snapshot);
        assert_eq!(none, r#"{"channel":"trade","type":"snapshot","data":[]}"#);
    }
}
