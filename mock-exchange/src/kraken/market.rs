//! The public channels: `ticker`, `trade`, `book` and `instrument`.

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

#[derive(Serialize)]
struct Ticker<'a> {
    symbol: &'a str,
    bid: Number,
    bid_qty: Number,
    ask: Number,
    ask_qty: Number,
    last: Number,
    volume: Number,
    vwap: Number,
    low: Number,
    high: Number,
    change: Number,
    change_pct: Number,
    timestamp: String,
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

/// A `ticker` message.
pub(crate) fn ticker(engine: &Engine, id: InstrumentId, kind: Kind, tick: Tick) -> String {
    let instrument = &engine.instruments()[id];
    let decimals = precision(instrument);
    let price = |value: Decimal| Number::with_decimals(value, decimals.price);
    let quantity = |value: Decimal| Number::with_decimals(value, decimals.quantity);
    let (quote, stats) = (tick.quote, engine.stats(id));
    let data = Ticker {
        symbol: &instrument.symbol,
        bid: price(quote.bid),
        bid_qty: quantity(quote.bid_quantity),
        ask: price(quote.ask),
        ask_qty: quantity(quote.ask_quantity),
        last: price(tick.last.unwrap_or(stats.last)),
        volume: quantity(stats.volume),
        vwap: price(stats.vwap()),
        low: price(stats.low),
        high: price(stats.high),
        change: price(stats.change()),
        change_pct: Number::with_decimals(stats.change_percent(), 2),
        timestamp: micros(tick.at),
    };
    channel_data("ticker", kind, [data], None)
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the wire's names")]
struct Trade<'a> {
    symbol: &'a str,
    side: &'static str,
    price: Number,
    qty: Number,
    ord_type: &'static str,
    trade_id: u64,
    timestamp: String,
}

/// A `trade` message with one or many trades of one pair.
pub(crate) fn trades<'a>(
    instrument: &Instrument,
    trades: impl Iterator<Item = &'a PublicTrade>,
    kind: Kind,
) -> String {
    let decimals = precision(instrument);
    let data: Vec<Trade<'_>> = trades
        .map(|trade| Trade {
            symbol: &instrument.symbol,
            side: side_text(trade.taker),
            price: Number::with_decimals(trade.price, decimals.price),
            qty: Number::with_decimals(trade.quantity, decimals.quantity),
            ord_type: kind_text(trade.taker_kind),
            trade_id: trade.id,
            timestamp: micros(trade.time),
        })
        .collect();
    channel_data("trade", kind, data, None)
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
