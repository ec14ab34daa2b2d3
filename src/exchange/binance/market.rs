//! The market session: one SUBSCRIBE for everything, then trades and best bid/ask.

use std::sync::Arc;

use serde_json::json;

use super::errors::ApiError;
use super::messages::{Field, MarketMessage, shorten};
use super::plain;
use crate::exchange::{
    DecodeError, MarketSession, Outbox, Refusal, Session, SessionEvent, SymbolTable,
};
use crate::types::{Price, Quantity, Quote, Side, Tick, TickData, Timestamp, Trade};

/// Streams a connection may carry (web-socket-streams.md, "Websocket Limits").
const MAX_STREAMS: usize = 1024;

/// Streams of each instrument.
const STREAMS: [&str; 2] = ["trade", "bookTicker"];

const SUBSCRIBE_ID: u64 = 1;
const UNSUBSCRIBE_ID: u64 = 2;

/// Market data of one connection attempt.
#[derive(Debug)]
pub(super) struct Market {
    symbols: Arc<SymbolTable>,
    subscribing: bool,
    unsubscribing: bool,
}

impl Market {
    pub(super) fn new(symbols: Arc<SymbolTable>) -> Self {
        Self { symbols, subscribing: false, unsubscribing: false }
    }

    fn stream_count(&self) -> usize {
        self.symbols.instruments().len() * STREAMS.len()
    }

    fn control(&self, method: &str, id: u64) -> String {
        let params: Vec<String> = self
            .symbols
            .specs()
            .flat_map(|spec| {
                let symbol = spec.symbol.to_ascii_lowercase();
                STREAMS.map(|stream| format!("{symbol}@{stream}"))
            })
            .collect();
        json!({ "method": method, "params": params, "id": id }).to_string()
    }

    fn trade(
        &self,
        message: &MarketMessage<'_>,
        received: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let price: Price = message.price.amount("trade.p")?;
        let quantity: Quantity = message.quantity.amount("trade.q")?;
        let trade_id = message.trade_id.unsigned("trade.t")?;
        let exchange_time = Some(message.trade_time.time("trade.T")?);
        // The buyer rested, so it was the seller who took.
        let taker_side =
            if message.buyer_is_maker.boolean("trade.m")? { Side::Sell } else { Side::Buy };
        let data = TickData::Trade(Trade { price, quantity, taker_side, trade_id });
        self.tick(message.symbol, "trade.s", exchange_time, received, data, out)
    }

    fn quote(
        &self,
        message: &MarketMessage<'_>,
        received: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let bid: Price = message.bid.amount("bookTicker.b")?;
        let bid_quantity: Quantity = message.bid_quantity.amount("bookTicker.B")?;
        let ask: Price = message.ask.amount("bookTicker.a")?;
        let ask_quantity: Quantity = message.ask_quantity.amount("bookTicker.A")?;
        let data = TickData::Quote(Quote { bid, bid_quantity, ask, ask_quantity });
        // Spot sends no time with it.
        self.tick(message.symbol, "bookTicker.s", None, received, data, out)
    }

    fn tick(
        &self,
        symbol: Field<'_>,
        key: &str,
        exchange_time: Option<Timestamp>,
        received: Timestamp,
        data: TickData,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let symbol = symbol.text(key)?;
        match self.symbols.instrument(&symbol) {
            Some(instrument) => out.ticks.push(Tick { instrument, exchange_time, received, data }),
            None => ignore(out, format!("tick of the unknown symbol {}", shorten(&symbol))),
        }
        Ok(())
    }

    fn answer(&mut self, message: &MarketMessage<'_>, out: &mut Outbox) {
        let request = self.answered_request(message.id);
        match request {
            Some(SUBSCRIBE_ID) => {
                self.subscribing = false;
                let request = format!("SUBSCRIBE {} streams", self.stream_count());
                out.event(SessionEvent::Acknowledged { request });
                out.event(SessionEvent::Ready);
            }
            Some(_) => {
                self.unsubscribing = false;
                let request = format!("UNSUBSCRIBE {} streams", self.stream_count());
                out.event(SessionEvent::Acknowledged { request });
                out.event(SessionEvent::Unsubscribed);
            }
            None => out.event(SessionEvent::Acknowledged { request: named(message.id) }),
        }
    }

    fn failure(&mut self, message: &MarketMessage<'_>, out: &mut Outbox) {
        let error = ApiError::read(message.error, message.code, message.msg, message.status);
        // Without an id the exchange could not read the request: then it is the one that waits.
        let concerns_subscription = match self.answered_request(message.id) {
            Some(id) => id == SUBSCRIBE_ID,
            None => self.subscribing && !message.id.is_present(),
        };
        let permanent = error.permanent();
        let ApiError { code, reason, .. } = error;
        if concerns_subscription {
            self.subscribing = false;
            let request = format!("SUBSCRIBE {} streams", self.stream_count());
            // Codes 0 to 4 are about the request itself, which would be the same next time.
            let permanent = permanent || code.is_some_and(|code| (0..=4).contains(&code));
            out.event(SessionEvent::Refused(Refusal { request, code, reason, permanent }));
        } else {
            out.event(SessionEvent::ExchangeError { code, reason });
        }
    }

    fn answered_request(&self, id: Field<'_>) -> Option<u64> {
        match id.token()?.parse().ok()? {
            SUBSCRIBE_ID if self.subscribing => Some(SUBSCRIBE_ID),
            UNSUBSCRIBE_ID if self.unsubscribing => Some(UNSUBSCRIBE_ID),
            _ => None,
        }
    }
}

impl Session for Market {
    fn opened(&mut self, _: Timestamp, out: &mut Outbox) {
        let streams = self.stream_count();
        if streams == 0 {
            out.event(SessionEvent::Ready);
        } else if streams > MAX_STREAMS {
            out.event(SessionEvent::Refused(Refusal {
                request: format!("SUBSCRIBE {streams} streams"),
                code: None,
                reason: format!(
                    "a connection carries {MAX_STREAMS} streams, two for each instrument: split \
                     the instruments over several configured exchanges"
                ),
                permanent: true,
            }));
        } else {
            self.subscribing = true;
            out.messages.push(self.control("SUBSCRIBE", SUBSCRIBE_ID));
        }
    }

    fn received(
        &mut self,
        text: &str,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        if let Some(tick) = plain::read(text, &self.symbols, now) {
            out.ticks.push(tick);
            return Ok(());
        }
        self.any(text, now, out)
    }
}

impl Market {
    /// Reads a message of any kind.
    fn any(&mut self, text: &str, now: Timestamp, out: &mut Outbox) -> Result<(), DecodeError> {
        let mut message = MarketMessage::default();
        message.read(text)?;
        if message.event.is_present() {
            return match &*message.event.text("e")? {
                "trade" => self.trade(&message, now, out),
                "bookTicker" => self.quote(&message, now, out),
                "serverShutdown" => {
                    out.event(SessionEvent::ClosingSoon { reason: "serverShutdown".into() });
                    Ok(())
                }
                other => {
                    ignore(out, format!("event {}", shorten(other)));
                    Ok(())
                }
            };
        }
        if message.symbol.is_present() {
            // The only event of Spot with a symbol and without a type.
            return self.quote(&message, now, out);
        }
        if message.method.is_present() {
            ignore(out, format!("client request {}", shorten(&message.method.text("method")?)));
        } else if message.error.is_present() || message.code.is_present() {
            self.failure(&message, out);
        } else if message.has_result {
            self.answer(&message, out);
        } else if let Some(stream) = message.stream.optional_text("stream") {
            ignore(out, format!("stream {}", shorten(&stream)));
        } else if message.is_list {
            ignore(out, "list of events".into());
        } else {
            ignore(out, "message of unknown shape".into());
        }
        Ok(())
    }
}

impl MarketSession for Market {
    fn unsubscribe(&mut self, out: &mut Outbox) {
        if self.stream_count() == 0 {
            out.event(SessionEvent::Unsubscribed);
        } else {
            self.unsubscribing = true;
            out.messages.push(self.control("UNSUBSCRIBE", UNSUBSCRIBE_ID));
        }
    }
}

fn ignore(out: &mut Outbox, what: String) {
    out.event(SessionEvent::Ignored { what });
}

fn named(id: Field<'_>) -> String {
    id.request_id().map_or_else(|| "request without id".into(), |id| format!("request {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::InstrumentSpec;

    const QUOTE: &str = r#"{"stream":"btcusdt@bookTicker","data":{"u":400900217,"s":"BTCUSDT","b":"60000.35190000","B":"31.21000000","a":"60000.36520000","A":"40.66000000"}}"#;
    const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,"p":"60000.1","q":"0.001","T":1672515782136,"m":true,"M":true}}"#;

    fn symbols() -> Arc<SymbolTable> {
        let spec = InstrumentSpec {
            instrument: "binance:BTC-USDT".parse().unwrap(),
            symbol: "BTCUSDT".into(),
            tick_size: "0.01".parse().unwrap(),
            lot_size: "0.00001".parse().unwrap(),
            min_quantity: Quantity::ZERO,
            max_quantity: None,
            min_notional: None,
            tick_size_steps: Vec::new(),
            contract_size: None,
        };
        Arc::new(SymbolTable::new([spec]))
    }

    #[test]
    fn a_plain_tick_is_what_the_general_reader_makes_of_it() {
        let (symbols, now) = (symbols(), Timestamp::UNIX_EPOCH);
        for text in [
            QUOTE.to_owned(),
            TRADE.to_owned(),
            TRADE.replace("true", "false"),
            TRADE.replace("1672515782136", "1672515782136789"),
            QUOTE.replace("0.35190000", "1e-7"),
        ] {
            let mut out = Outbox::default();
            Market::new(Arc::clone(&symbols)).any(&text, now, &mut out).unwrap();
            let tick = plain::read(&text, &symbols, now).unwrap();
            assert_eq!(out.ticks, [tick], "{text}");
        }
    }

    #[test]
    fn what_is_not_plainly_a_tick_is_left_to_the_general_reader() {
        for text in [
            TRADE.replace("\"e\":\"trade\"", "\"e\":\"aggTrade\""),
            QUOTE.replace("\"u\":400900217", "\"e\":\"trade\""),
            QUOTE.replace("BTCUSDT", "ETHUSDT"),
            QUOTE.replace("BTCUSDT", "\\u0042TCUSDT"),
            QUOTE.replace("\"31.2", "\"-31.2"),
            QUOTE.replace("\"31.21000000\"", "31.21"),
            TRADE.replace("12345", "-1"),
            TRADE.replace("1672515782136", "18446744073709551615"),
            QUOTE.replace("}}", "},\"id\":1}"),
            QUOTE.replace("@bookTicker", "@ticker"),
            QUOTE.replace("}}", "}"),
        ] {
            assert_eq!(plain::read(&text, &symbols(), Timestamp::UNIX_EPOCH), None, "{text}");
        }
    }
}
