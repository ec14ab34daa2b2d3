//! The market session: `ticker` on every change of the best bid and ask, and `trade`.
//!
//! A tick message is parsed once: while the object is read, the elements of `data` go straight
//! into the outbox, without an intermediate list. Only where `data` stands before `channel` is it
//! kept raw and read afterwards.

use std::borrow::Cow;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::exchange::{
    DecodeError, MarketSession, Outbox, Refusal, Session, SessionEvent, SymbolTable,
};
use crate::types::{Instrument, Price, Quantity, Quote, Side, Tick, TickData, Timestamp, Trade};

use super::messages::{
    Envelope, Outcome, PublicTrade, Subscription, Ticker, decimal, is_permanent, malformed,
    shorten, timestamp, trading_restriction,
};

/// The two channels; a request for one covers all symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Channel {
    Ticker,
    Trade,
}

impl Channel {
    const ALL: [Self; 2] = [Self::Ticker, Self::Trade];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ticker => "ticker",
            Self::Trade => "trade",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == name)
    }

    /// The parameter that an unsubscription must repeat, and the one that a subscription adds.
    fn parameters(self, subscribe: bool) -> &'static str {
        match (self, subscribe) {
            // The default trigger, `trades`, lets bid and ask go stale between trades.
            (Self::Ticker, _) => r#""event_trigger":"bbo","#,
            (Self::Trade, true) => r#""snapshot":false,"#,
            (Self::Trade, false) => "",
        }
    }

    /// Each session makes these four requests at most, so their numbers are fixed.
    fn request(self, subscribe: bool) -> u64 {
        match (self, subscribe) {
            (Self::Ticker, true) => 1,
            (Self::Trade, true) => 2,
            (Self::Ticker, false) => 3,
            (Self::Trade, false) => 4,
        }
    }
}

/// The acknowledgements that are awaited, one a channel and symbol.
type Awaited = HashSet<(Channel, Instrument)>;

/// One connection attempt of the market half.
#[derive(Debug)]
pub(super) struct KrakenMarket {
    symbols: Arc<SymbolTable>,
    /// `None` before [`Session::opened`] and once all are in.
    subscribing: Option<Awaited>,
    /// `None` before [`MarketSession::unsubscribe`] and once all are in.
    unsubscribing: Option<Awaited>,
}

impl KrakenMarket {
    pub(super) fn new(symbols: Arc<SymbolTable>) -> Self {
        Self { symbols, subscribing: None, unsubscribing: None }
    }

    fn request_all(&self, subscribe: bool, out: &mut Outbox) -> Awaited {
        let method = if subscribe { "subscribe" } else { "unsubscribe" };
        let symbols: Vec<&str> = self.symbols.specs().map(|spec| spec.symbol.as_str()).collect();
        let symbols = serde_json::to_string(&symbols).unwrap_or_default();
        let mut awaited = Awaited::new();
        if self.symbols.instruments().is_empty() {
            return awaited;
        }
        for channel in Channel::ALL {
            out.messages.push(format!(
                r#"{{"method":"{method}","params":{{"channel":"{}",{}"symbol":{symbols}}},"req_id":{}}}"#,
                channel.as_str(),
                channel.parameters(subscribe),
                channel.request(subscribe),
            ));
            awaited.extend(self.symbols.instruments().iter().map(|one| (channel, *one)));
        }
        awaited
    }

    fn data(&self, envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        match (envelope.channel.as_deref(), envelope.data) {
            (Some("heartbeat"), _) => out.event(SessionEvent::Heartbeat),
            (Some("status"), Some(data)) => out.event(match trading_restriction(data)? {
                Some(restriction) => SessionEvent::Restricted(restriction),
                None => SessionEvent::Ignored { what: "unknown system status".into() },
            }),
            (Some(channel @ ("status" | "ticker" | "trade")), None) => {
                return Err(DecodeError::new(format!("`data` of {channel}: missing")));
            }
            _ => out.event(SessionEvent::Ignored { what: envelope.describe() }),
        }
        Ok(())
    }

    fn response(&mut self, envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        let method = envelope.method.as_deref().unwrap_or_default();
        if method == "pong" {
            out.event(SessionEvent::Heartbeat);
            return Ok(());
        }
        if envelope.is_client_request() {
            out.event(SessionEvent::Ignored { what: envelope.describe() });
            return Ok(());
        }
        let outcome = envelope.outcome()?;
        // A refused unsubscription calls itself `subscribe`: only the request number tells.
        let number = envelope.request_number();
        let unsubscription =
            Channel::ALL.into_iter().find(|one| number == Some(one.request(false)));
        match outcome {
            Outcome::Done(result) if matches!(method, "subscribe" | "unsubscribe") => {
                let subscription = Subscription::read(result)?;
                out.event(SessionEvent::Acknowledged { request: subscription.describe(method) });
                let channel = subscription.channel.as_deref().and_then(Channel::from_name);
                let instrument = self.find(subscription.symbol.as_deref());
                if let (Some(channel), Some(instrument)) = (channel, instrument) {
                    self.acknowledged(method == "subscribe", channel, Some(instrument), out);
                }
            }
            Outcome::Failed(error) if unsubscription.is_some() => {
                let symbol = envelope.symbol.as_deref();
                let request = request_name("unsubscribe", unsubscription, symbol);
                let reason = shorten(&format!("{request}: {error}"));
                out.event(SessionEvent::ExchangeError { code: None, reason });
                if let Some(channel) = unsubscription {
                    self.acknowledged(false, channel, self.find(symbol), out);
                }
            }
            Outcome::Failed(error) if method == "subscribe" => {
                let channel =
                    Channel::ALL.into_iter().find(|one| number == Some(one.request(true)));
                out.event(SessionEvent::Refused(Refusal {
                    request: request_name("subscribe", channel, envelope.symbol.as_deref()),
                    code: None,
                    reason: shorten(error),
                    permanent: is_permanent(error),
                }));
            }
            Outcome::Failed(error) if !matches!(method, "add_order" | "cancel_order") => {
                out.event(SessionEvent::ExchangeError { code: None, reason: shorten(error) });
            }
            _ => out.event(SessionEvent::Ignored { what: envelope.describe() }),
        }
        Ok(())
    }

    fn find(&self, symbol: Option<&str>) -> Option<Instrument> {
        symbol.and_then(|symbol| self.symbols.instrument(symbol))
    }

    /// Strikes one acknowledgement off, or a whole channel where no instrument is named.
    fn acknowledged(
        &mut self,
        subscribe: bool,
        channel: Channel,
        instrument: Option<Instrument>,
        out: &mut Outbox,
    ) {
        let list = if subscribe { &mut self.subscribing } else { &mut self.unsubscribing };
        let Some(awaited) = list else { return };
        match instrument {
            Some(instrument) => {
                awaited.remove(&(channel, instrument));
            }
            None => awaited.retain(|(one, _)| *one != channel),
        }
        if awaited.is_empty() {
            *list = None;
            out.event(if subscribe { SessionEvent::Ready } else { SessionEvent::Unsubscribed });
        }
    }
}

fn request_name(method: &str, channel: Option<Channel>, symbol: Option<&str>) -> String {
    let channel = channel.map_or("", Channel::as_str);
    let name = format!("{method} {channel} {}", symbol.unwrap_or_default());
    shorten(name.trim_end())
}

impl Session for KrakenMarket {
    fn opened(&mut self, _now: Timestamp, out: &mut Outbox) {
        let awaited = self.request_all(true, out);
        if awaited.is_empty() {
            out.event(SessionEvent::Ready);
        } else {
            self.subscribing = Some(awaited);
        }
    }

    fn received(
        &mut self,
        text: &str,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let (ticks, events) = (out.ticks.len(), out.events.len());
        let sink = Sink { symbols: &self.symbols, received: now, out: &mut *out };
        let message = read_message(text, sink).inspect_err(|_| {
            out.ticks.truncate(ticks);
            out.events.truncate(events);
        })?;
        let envelope = message.envelope;
        if message.ticks_read {
            // A snapshot of trades tells of the past; none is asked for.
            if envelope.channel.as_deref() == Some("trade")
                && envelope.kind.as_deref() == Some("snapshot")
            {
                out.ticks.truncate(ticks);
                out.event(SessionEvent::Ignored { what: "snapshot of trades".into() });
            }
            return Ok(());
        }
        if let Some(reason) = envelope.fault.as_deref() {
            let reason = shorten(reason);
            out.event(SessionEvent::ExchangeError { code: None, reason });
            return Ok(());
        }
        if envelope.channel.is_some() {
            return self.data(&envelope, out);
        }
        if envelope.method.is_some() || envelope.error.is_some() {
            return self.response(&envelope, out);
        }
        out.event(SessionEvent::Ignored { what: envelope.describe() });
        Ok(())
    }

    fn ping(&mut self, _now: Timestamp, out: &mut Outbox) {
        out.messages.push(super::PING.to_owned());
    }
}

impl MarketSession for KrakenMarket {
    fn unsubscribe(&mut self, out: &mut Outbox) {
        let awaited = self.request_all(false, out);
        if awaited.is_empty() {
            out.event(SessionEvent::Unsubscribed);
        } else {
            self.unsubscribing = Some(awaited);
        }
    }
}

/// Where elements go.
struct Sink<'s> {
    symbols: &'s SymbolTable,
    received: Timestamp,
    out: &'s mut Outbox,
}

impl Sink<'_> {
    fn tick(&mut self, symbol: &str, time: Option<Timestamp>, channel: &str, data: TickData) {
        match self.symbols.instrument(symbol) {
            Some(instrument) => {
                let received = self.received;
                self.out.ticks.push(Tick { instrument, exchange_time: time, received, data });
            }
            None => {
                let what = format!("{channel} of unknown symbol {}", shorten(symbol));
                self.out.event(SessionEvent::Ignored { what });
            }
        }
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
struct Message<'a> {
    envelope: Envelope<'a>,
    ticks_read: bool,
}

fn read_message<'a>(text: &'a str, mut sink: Sink<'_>) -> Result<Message<'a>, DecodeError> {
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
                Key::Channel => envelope.channel = text(&mut map)?,
                Key::Type => envelope.kind = text(&mut map)?,
                Key::Method => envelope.method = text(&mut map)?,
                Key::Error => envelope.error = text(&mut map)?,
                Key::Symbol => envelope.symbol = text(&mut map)?,
                Key::TimeOut => envelope.time_out = text(&mut map)?,
                Key::Fault => envelope.fault = text(&mut map)?,
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

/// Text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(map.next_value::<Option<Text<'de>>>()?.map(|text| text.0))
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
