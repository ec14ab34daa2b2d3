//! Ticks out of market messages.
//!
//! A tick message is parsed once: while the object is read, the elements of `data` go straight
//! into the outbox, without an intermediate list. Only where `data` stands before `channel` is it
//! kept raw and read afterwards.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::exchange::{DecodeError, Outbox, SessionEvent, SymbolTable};
use crate::types::{Price, Quantity, Quote, Side, Tick, TickData, Timestamp, Trade};

use super::messages::{
    Envelope, OptionalText, PublicTrade, Ticker, decimal, malformed, shorten, timestamp,
};

/// The two channels; a request for one covers all symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    Ticker,
    Trade,
}

impl Channel {
    pub(super) const ALL: [Self; 2] = [Self::Ticker, Self::Trade];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ticker => "ticker",
            Self::Trade => "trade",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == name)
    }
}

/// Where elements go.
pub(super) struct Sink<'s> {
    pub(super) symbols: &'s SymbolTable,
    pub(super) received: Timestamp,
    pub(super) out: &'s mut Outbox,
}

impl Sink<'_> {
    fn tick(&mut self, symbol: &str, time: Option<Timestamp>, channel: &str, data: TickData) {
        let Some(instrument) = self.symbols.instrument(symbol) else {
            let what = format!("{channel} of unknown symbol {}", shorten(symbol));
            self.out.event(SessionEvent::Ignored { what });
            return;
        };
        let received = self.received;
        self.out.ticks.push(Tick { instrument, exchange_time: time, received, data });
    }
}

/// An element of `data` that is a tick.
trait Element<'de>: Deserialize<'de> {
    fn emit(self, sink: &mut Sink<'_>) -> Result<(), DecodeError>;
}

impl<'de> Element<'de> for Ticker<'de> {
    fn emit(self, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let quote = Quote {
            bid: Price(decimal(self.bid, "bid")?),
            bid_quantity: Quantity(decimal(self.bid_qty, "bid_qty")?),
            ask: Price(decimal(self.ask, "ask")?),
            ask_quantity: Quantity(decimal(self.ask_qty, "ask_qty")?),
        };
        let time = timestamp(self.timestamp.as_deref(), "timestamp")?;
        sink.tick(&self.symbol, time, "ticker", TickData::Quote(quote));
        Ok(())
    }
}

impl<'de> Element<'de> for PublicTrade<'de> {
    fn emit(self, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let taker_side = match &*self.side {
            "buy" => Side::Buy,
            "sell" => Side::Sell,
            other => {
                let reason = format!("`side`: `{}` is neither buy nor sell", shorten(other));
                return Err(DecodeError::new(reason));
            }
        };
        let trade = Trade {
            price: Price(decimal(self.price, "price")?),
            quantity: Quantity(decimal(self.qty, "qty")?),
            taker_side,
            trade_id: self.trade_id,
        };
        let time = timestamp(self.timestamp.as_deref(), "timestamp")?;
        sink.tick(&self.symbol, time, "trade", TickData::Trade(trade));
        Ok(())
    }
}

/// A message whose ticks, if it has any, are in the outbox already.
pub(super) struct Message<'a> {
    pub(super) envelope: Envelope<'a>,
    pub(super) ticks_read: bool,
}

/// Reads one message. After an error the outbox may hold a part of it.
pub(super) fn read_message<'a>(
    text: &'a str,
    mut sink: Sink<'_>,
) -> Result<Message<'a>, DecodeError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(MessageVisitor { sink: &mut sink });
    let mut message =
        read.and_then(|message| json.end().map(|()| message)).map_err(|error| malformed(&error))?;
    if let (Some(channel), Some(data)) =
        (message.envelope.channel.as_deref().and_then(Channel::from_name), message.envelope.data)
    {
        let mut json = serde_json::Deserializer::from_str(data.get());
        read_elements(channel, &mut sink, &mut json).map_err(|error| malformed(&error))?;
        message.ticks_read = true;
    }
    Ok(message)
}

fn read_elements<'de, D: Deserializer<'de>>(
    channel: Channel,
    sink: &mut Sink<'_>,
    json: D,
) -> Result<(), D::Error> {
    match channel {
        Channel::Ticker => Elements::<Ticker<'de>> { sink, element: PhantomData }.deserialize(json),
        Channel::Trade => {
            Elements::<PublicTrade<'de>> { sink, element: PhantomData }.deserialize(json)
        }
    }
}

/// The keys of a message.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Channel,
    Type,
    Data,
    Sequence,
    Method,
    ReqId,
    Success,
    Result,
    Error,
    Symbol,
    TimeOut,
    Params,
    #[serde(rename = "Error")]
    Fault,
    #[serde(other)]
    Other,
}

struct MessageVisitor<'v, 's> {
    sink: &'v mut Sink<'s>,
}

impl<'de> Visitor<'de> for MessageVisitor<'_, '_> {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        let mut ticks_read = false;
        while let Some(key) = map.next_key()? {
            match key {
                Key::Data => match envelope.channel.as_deref().and_then(Channel::from_name) {
                    Some(_) if ticks_read => {
                        return Err(A::Error::custom("duplicate field `data`"));
                    }
                    Some(channel) => {
                        map.next_value_seed(Data { channel, sink: self.sink })?;
                        ticks_read = true;
                    }
                    None => envelope.data = map.next_value()?,
                },
                Key::Channel => envelope.channel = map.next_value_seed(OptionalText)?,
                Key::Type => envelope.kind = map.next_value_seed(OptionalText)?,
                Key::Method => envelope.method = map.next_value_seed(OptionalText)?,
                Key::Error => envelope.error = map.next_value_seed(OptionalText)?,
                Key::Symbol => envelope.symbol = map.next_value_seed(OptionalText)?,
                Key::TimeOut => envelope.time_out = map.next_value_seed(OptionalText)?,
                Key::Fault => envelope.fault = map.next_value_seed(OptionalText)?,
                Key::Sequence => envelope.sequence = map.next_value()?,
                Key::ReqId => envelope.req_id = map.next_value()?,
                Key::Success => envelope.success = map.next_value()?,
                Key::Result => envelope.result = map.next_value()?,
                Key::Params => envelope.params = map.next_value()?,
                Key::Other => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        Ok(Message { envelope, ticks_read })
    }
}

struct Data<'v, 's> {
    channel: Channel,
    sink: &'v mut Sink<'s>,
}

impl<'de> DeserializeSeed<'de> for Data<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        read_elements(self.channel, self.sink, json)
    }
}

/// An array whose elements are emitted one by one.
struct Elements<'v, 's, T> {
    sink: &'v mut Sink<'s>,
    element: PhantomData<T>,
}

impl<'de, T: Element<'de>> DeserializeSeed<'de> for Elements<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Element<'de>> Visitor<'de> for Elements<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of ticks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<T>()? {
            element.emit(self.sink).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
