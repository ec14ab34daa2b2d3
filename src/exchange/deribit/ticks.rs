//! Market messages. A message is parsed once: while it is read, the fields of a quote are collected
//! and the trades of a list go straight into the outbox. Should the channel, which may stand after
//! the data, turn out to be another one, they are taken out again.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::messages::{Field, malformed, shorten};
use crate::exchange::{DecodeError, Outbox, SessionEvent, SymbolTable};
use crate::types::{Price, Quantity, Quote, Tick, TickData, Timestamp, Trade};

/// What of a message is no tick.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) id: Field<'a>,
    pub(super) method: Field<'a>,
    pub(super) result: Field<'a>,
    pub(super) error: Field<'a>,
    /// `params.type` of a heartbeat.
    pub(super) kind: Field<'a>,
    /// `params.channel` of a notification.
    pub(super) channel: Field<'a>,
    quote: QuoteFields<'a>,
    has_list: bool,
}

/// Where ticks go.
pub(super) struct Sink<'s> {
    pub(super) symbols: &'s SymbolTable,
    pub(super) received: Timestamp,
    pub(super) out: &'s mut Outbox,
}

/// Reads one message. Its ticks are in the outbox afterwards; after an error nothing of it is.
pub(super) fn read<'a>(text: &'a str, sink: &mut Sink<'_>) -> Result<Message<'a>, DecodeError> {
    let before = (sink.out.ticks.len(), sink.out.events.len());
    let result = read_message(text, sink);
    if result.is_err() {
        sink.out.ticks.truncate(before.0);
        sink.out.events.truncate(before.1);
    }
    result
}

fn read_message<'a>(text: &'a str, sink: &mut Sink<'_>) -> Result<Message<'a>, DecodeError> {
    let before = (sink.out.ticks.len(), sink.out.events.len());
    let mut message = Message::default();
    let mut fault = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut reader = Reader { message: &mut message, sink, fault: &mut fault };
    json.deserialize_map(MessageVisitor(&mut reader))
        .and_then(|()| json.end())
        .map_err(|error| malformed(&error))?;
    if !message.channel.is_present() {
        sink.out.ticks.truncate(before.0);
        sink.out.events.truncate(before.1);
        return Ok(message);
    }
    let channel = message.channel.text("channel")?;
    if channel.starts_with(TRADES) {
        if let Some(fault) = fault {
            return Err(fault);
        }
        if !message.has_list {
            return Err(DecodeError::new("`data` of trades is no list"));
        }
    } else {
        sink.out.ticks.truncate(before.0);
        sink.out.events.truncate(before.1);
        if channel.starts_with(QUOTE) {
            message.quote.emit(sink)?;
        } else {
            let what = format!("channel {}", shorten(&channel));
            sink.out.event(SessionEvent::Ignored { what });
        }
    }
    Ok(message)
}

const QUOTE: &str = "quote.";
const TRADES: &str = "trades.";

impl Sink<'_> {
    fn tick(
        &mut self,
        symbol: Field<'_>,
        time: Field<'_>,
        data: TickData,
    ) -> Result<(), DecodeError> {
        let exchange_time = Some(time.time("timestamp")?);
        let symbol = symbol.text("instrument_name")?;
        let received = self.received;
        if let Some(instrument) = self.symbols.instrument(&symbol) {
            self.out.ticks.push(Tick { instrument, exchange_time, received, data });
        } else {
            let what = format!("tick of the unknown instrument {}", shorten(&symbol));
            self.out.event(SessionEvent::Ignored { what });
        }
        Ok(())
    }
}

/// The data of `quote.X`.
#[derive(Debug, Default)]
struct QuoteFields<'a> {
    instrument_name: Field<'a>,
    timestamp: Field<'a>,
    best_bid_price: Field<'a>,
    best_bid_amount: Field<'a>,
    best_ask_price: Field<'a>,
    best_ask_amount: Field<'a>,
}

impl QuoteFields<'_> {
    fn emit(&self, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let quote = Quote {
            bid: side(self.best_bid_price, "best_bid_price")?,
            bid_quantity: side(self.best_bid_amount, "best_bid_amount")?,
            ask: side(self.best_ask_price, "best_ask_price")?,
            ask_quantity: side(self.best_ask_amount, "best_ask_amount")?,
        };
        sink.tick(self.instrument_name, self.timestamp, TickData::Quote(quote))
    }
}

/// A side of the book that is empty has `null` or zero for its price.
fn side<N: From<rust_decimal::Decimal>>(field: Field<'_>, key: &str) -> Result<N, DecodeError> {
    if field.is_null() { Ok(N::from(rust_decimal::Decimal::ZERO)) } else { field.amount(key) }
}

/// An element of the data of `trades.X`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TradeFields<'a> {
    #[serde(borrow)]
    instrument_name: Field<'a>,
    #[serde(borrow)]
    timestamp: Field<'a>,
    #[serde(borrow)]
    trade_id: Field<'a>,
    #[serde(borrow)]
    price: Field<'a>,
    #[serde(borrow)]
    amount: Field<'a>,
    /// The side that took.
    #[serde(borrow)]
    direction: Field<'a>,
}

impl TradeFields<'_> {
    fn emit(&self, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let price: Price = self.price.amount("price")?;
        let quantity: Quantity = self.amount.amount("amount")?;
        let taker_side = self.direction.side("direction")?;
        let trade_id = trade_number(&self.trade_id.text("trade_id")?)?;
        let trade = Trade { price, quantity, taker_side, trade_id };
        sink.tick(self.instrument_name, self.timestamp, TickData::Trade(trade))
    }
}

/// The number in a trade id: `403691824`, or `ETH-2696097`, whose currency is the same for all
/// trades of an instrument.
fn trade_number(id: &str) -> Result<u64, DecodeError> {
    let digits = id.rsplit_once('-').map_or(id, |(_, digits)| digits);
    digits
        .parse()
        .map_err(|_| DecodeError::new(format!("`trade_id` is `{}`, no number", shorten(id))))
}

struct Reader<'r, 's, 'a> {
    message: &'r mut Message<'a>,
    sink: &'r mut Sink<'s>,
    fault: &'r mut Option<DecodeError>,
}

impl<'a> Reader<'_, '_, 'a> {
    /// Whether the channel is known already and brings no ticks.
    fn is_of_no_interest(&self) -> bool {
        let channel = self.message.channel;
        channel.is_present()
            && channel
                .text("channel")
                .is_ok_and(|name| !name.starts_with(QUOTE) && !name.starts_with(TRADES))
    }

    fn element(&mut self, trade: &TradeFields<'a>) {
        if let Err(error) = trade.emit(self.sink) {
            self.fault.get_or_insert(error);
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum MessageKey {
    Id,
    Method,
    Params,
    Result,
    Error,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ParamsKey {
    Type,
    Channel,
    Data,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum QuoteKey {
    InstrumentName,
    Timestamp,
    BestBidPrice,
    BestBidAmount,
    BestAskPrice,
    BestAskAmount,
    #[serde(other)]
    Other,
}

struct MessageVisitor<'v, 'r, 's, 'a>(&'v mut Reader<'r, 's, 'a>);

impl<'de> Visitor<'de> for MessageVisitor<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message, which is an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<MessageKey>()? {
            let field = match key {
                MessageKey::Id => &mut self.0.message.id,
                MessageKey::Method => &mut self.0.message.method,
                MessageKey::Result => &mut self.0.message.result,
                MessageKey::Error => &mut self.0.message.error,
                MessageKey::Params => {
                    map.next_value_seed(Params(self.0))?;
                    continue;
                }
                MessageKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Field::raw(map.next_value()?);
        }
        Ok(())
    }
}

/// Anything but an object is passed over: only requests in recordings have it.
macro_rules! pass_over_scalars {
    () => {
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }

        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }

        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }

        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    };
}

struct Params<'v, 'r, 's, 'a>(&'v mut Reader<'r, 's, 'a>);

impl<'de> DeserializeSeed<'de> for Params<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Params<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parameters of a message")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<ParamsKey>()? {
            match key {
                ParamsKey::Type => self.0.message.kind = Field::raw(map.next_value()?),
                ParamsKey::Channel => self.0.message.channel = Field::raw(map.next_value()?),
                ParamsKey::Data if !self.0.is_of_no_interest() => {
                    map.next_value_seed(Data(&mut *self.0))?;
                }
                ParamsKey::Data | ParamsKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    pass_over_scalars!();
}

struct Data<'v, 'r, 's, 'a>(&'v mut Reader<'r, 's, 'a>);

impl<'de> DeserializeSeed<'de> for Data<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the data of a notification")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let quote = &mut self.0.message.quote;
        while let Some(key) = map.next_key::<QuoteKey>()? {
            let field = match key {
                QuoteKey::InstrumentName => &mut quote.instrument_name,
                QuoteKey::Timestamp => &mut quote.timestamp,
                QuoteKey::BestBidPrice => &mut quote.best_bid_price,
                QuoteKey::BestBidAmount => &mut quote.best_bid_amount,
                QuoteKey::BestAskPrice => &mut quote.best_ask_price,
                QuoteKey::BestAskAmount => &mut quote.best_ask_amount,
                QuoteKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Field::raw(map.next_value()?);
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        self.0.message.has_list = true;
        while let Some(trade) = list.next_element::<TradeFields<'de>>()? {
            self.0.element(&trade);
        }
        Ok(())
    }

    pass_over_scalars!();
}
