//! The two tick messages in the form in which the exchange writes them, read straight into types.
//!
//! Anything else, and anything odd in them, is left to the general reader, which also words the
//! errors. Nearly every message is one of these two, and the general reader takes half again as
//! long, because it finds out what a message is before it reads its values.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::messages::unix_time;
use crate::exchange::SymbolTable;
use crate::types::{Price, Quantity, Quote, Side, Tick, TickData, Timestamp, Trade};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Combined<'a, T> {
    #[serde(rename = "stream")]
    _stream: &'a str,
    data: T,
}

#[derive(Deserialize)]
struct PlainTrade<'a> {
    #[serde(rename = "e")]
    event: &'a str,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "t")]
    trade_id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    quantity: &'a str,
    #[serde(rename = "T")]
    trade_time: u64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
}

#[derive(Deserialize)]
struct PlainQuote<'a> {
    /// Quotes name no event; one that does is something else.
    #[serde(rename = "e")]
    event: Option<IgnoredAny>,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "b")]
    bid: &'a str,
    #[serde(rename = "B")]
    bid_quantity: &'a str,
    #[serde(rename = "a")]
    ask: &'a str,
    #[serde(rename = "A")]
    ask_quantity: &'a str,
}

/// The tick of a message that is plainly one.
pub(super) fn read(text: &str, symbols: &SymbolTable, received: Timestamp) -> Option<Tick> {
    let (stream, _) = text.strip_prefix(r#"{"stream":""#)?.split_once('"')?;
    let (symbol, exchange_time, data) = if stream.ends_with("@bookTicker") {
        let quote: PlainQuote<'_> = data(text)?;
        if quote.event.is_some() {
            return None;
        }
        let data = Quote {
            bid: price(quote.bid)?,
            bid_quantity: quantity(quote.bid_quantity)?,
            ask: price(quote.ask)?,
            ask_quantity: quantity(quote.ask_quantity)?,
        };
        (quote.symbol, None, TickData::Quote(data))
    } else if stream.ends_with("@trade") {
        let trade: PlainTrade<'_> = data(text)?;
        if trade.event != "trade" {
            return None;
        }
        let data = Trade {
            price: price(trade.price)?,
            quantity: quantity(trade.quantity)?,
            // The buyer rested, so it was the seller who took.
            taker_side: if trade.buyer_is_maker { Side::Sell } else { Side::Buy },
            trade_id: trade.trade_id,
        };
        (trade.symbol, Some(unix_time(trade.trade_time)?), TickData::Trade(data))
    } else {
        return None;
    };
    let instrument = symbols.instrument(symbol)?;
    Some(Tick { instrument, exchange_time, received, data })
}

fn data<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok().map(|combined: Combined<'a, T>| combined.data)
}

fn price(text: &str) -> Option<Price> {
    text.parse().ok().filter(|price: &Price| !price.0.is_sign_negative())
}

fn quantity(text: &str) -> Option<Quantity> {
    text.parse().ok().filter(|quantity: &Quantity| !quantity.0.is_sign_negative())
}
