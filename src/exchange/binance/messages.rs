//! Wire types of Binance. A message is split into its raw tokens in one borrowed pass, and a token
//! is read only once the message's meaning is known: the same key has other types in other events
//! (`b` is a price, an order id or a list).

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::exchange::DecodeError;
use crate::types::{ClientOrderId, ExchangeOrderId, OrderStatus, Price, Timestamp};

/// Times at or above this are microseconds: as milliseconds it is the year 5138. A URL with
/// `timeUnit=MICROSECOND` turns every time of a connection into microseconds.
const MICROSECONDS_FROM: u64 = 100_000_000_000_000;

/// One value of a message, still as it stands on the wire. Its readers name the key in their error.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Field<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl<'a> Field<'a> {
    /// Whether the key is there with a value; `null` is none.
    pub(super) fn is_present(self) -> bool {
        self.token().is_some()
    }

    /// The JSON text of the value, where it is there and not `null`.
    pub(super) fn token(self) -> Option<&'a str> {
        self.0.map(RawValue::get).filter(|token| *token != "null")
    }

    fn required(self, key: &str) -> Result<&'a str, DecodeError> {
        self.token().ok_or_else(|| DecodeError::new(format!("`{key}` is missing")))
    }

    /// A string.
    pub(super) fn text(self, key: &str) -> Result<Cow<'a, str>, DecodeError> {
        let token = self.required(key)?;
        let inner = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner {
            None => Err(DecodeError::new(format!("`{key}` is no string"))),
            Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
            Some(_) => serde_json::from_str::<String>(token)
                .map(Cow::Owned)
                .map_err(|error| DecodeError::new(format!("`{key}`: {error}"))),
        }
    }

    /// A string that may be missing, `null` or something else.
    pub(super) fn optional_text(self, key: &str) -> Option<Cow<'a, str>> {
        self.text(key).ok()
    }

    /// A decimal in a string, read exactly; a bare number is read as exactly.
    pub(super) fn decimal(self, key: &str) -> Result<Decimal, DecodeError> {
        let token = self.required(key)?;
        let inner = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        // Plain digits, as ever. A string with escapes is no number yet and is read below.
        if let Some(Ok(value)) = inner.map(str::parse::<Price>) {
            return Ok(value.0);
        }
        let parsed: Result<Price, _> =
            if token.starts_with('"') { self.text(key)?.parse() } else { token.parse() };
        match parsed {
            Ok(value) => Ok(value.0),
            Err(error) => Err(DecodeError::new(format!("`{key}`: {error}"))),
        }
    }

    /// A price or a quantity: a decimal that is not negative.
    pub(super) fn amount<N: From<Decimal>>(self, key: &str) -> Result<N, DecodeError> {
        let value = self.decimal(key)?;
        if value.is_sign_negative() {
            return Err(DecodeError::new(format!("`{key}` is negative: {value}")));
        }
        Ok(N::from(value))
    }

    /// A whole number that is not negative.
    pub(super) fn unsigned(self, key: &str) -> Result<u64, DecodeError> {
        let token = self.required(key)?;
        token.parse().map_err(|_| {
            let shown = shorten(token);
            DecodeError::new(format!("`{key}` is {shown}, not a whole number in range"))
        })
    }

    /// A whole number, where there is one.
    pub(super) fn optional_integer(self) -> Option<i64> {
        self.token().and_then(|token| token.parse().ok())
    }

    /// `true` or `false`.
    pub(super) fn boolean(self, key: &str) -> Result<bool, DecodeError> {
        match self.required(key)? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(DecodeError::new(format!("`{key}` is neither true nor false"))),
        }
    }

    /// A Unix time in milliseconds or microseconds.
    pub(super) fn time(self, key: &str) -> Result<Timestamp, DecodeError> {
        let value = self.unsigned(key)?;
        unix_time(value)
            .ok_or_else(|| DecodeError::new(format!("`{key}` is {value}, not a time in range")))
    }

    /// A time that may be missing, but not wrong.
    pub(super) fn optional_time(self, key: &str) -> Result<Option<Timestamp>, DecodeError> {
        if self.is_present() { self.time(key).map(Some) } else { Ok(None) }
    }

    /// The exchange's order number.
    pub(super) fn exchange_id(self, key: &str) -> Result<ExchangeOrderId, DecodeError> {
        let number = self.unsigned(key)?;
        ExchangeOrderId::new(&number.to_string())
            .map_err(|error| DecodeError::new(format!("`{key}`: {error}")))
    }

    /// A client order id, where there is one that the gateway can hold; others are a person's.
    pub(super) fn client_id(self, key: &str) -> Option<ClientOrderId> {
        self.optional_text(key).and_then(|text| ClientOrderId::new(&text).ok())
    }

    /// The id of a request as text, a string without its quotes.
    pub(super) fn request_id(self) -> Option<String> {
        let token = self.token()?;
        Some(self.optional_text("id").map_or_else(|| token.to_owned(), Cow::into_owned))
    }
}

/// A Unix time in milliseconds or microseconds, if it is in range.
pub(super) fn unix_time(value: u64) -> Option<Timestamp> {
    let signed = i64::try_from(value).ok()?;
    let time = if value >= MICROSECONDS_FROM {
        Timestamp::from_microsecond(signed)
    } else {
        Timestamp::from_millisecond(signed)
    };
    time.ok()
}

/// Any message of the market streams: raw and combined events, acks and errors. The keys of a
/// combined event's `data` count as the message's own.
#[derive(Debug, Default)]
pub(super) struct MarketMessage<'a> {
    /// `stream`: the name of the stream in a combined event.
    pub(super) stream: Field<'a>,
    /// `e`: the event's type. Best-bid-and-ask events have none.
    pub(super) event: Field<'a>,
    /// `s`: symbol.
    pub(super) symbol: Field<'a>,
    /// `t`: trade id.
    pub(super) trade_id: Field<'a>,
    /// `T`: trade time.
    pub(super) trade_time: Field<'a>,
    /// `p`: price.
    pub(super) price: Field<'a>,
    /// `q`: base quantity.
    pub(super) quantity: Field<'a>,
    /// `m`: whether the buyer is the maker.
    pub(super) buyer_is_maker: Field<'a>,
    /// `b`: best bid.
    pub(super) bid: Field<'a>,
    /// `B`: quantity at the best bid.
    pub(super) bid_quantity: Field<'a>,
    /// `a`: best ask.
    pub(super) ask: Field<'a>,
    /// `A`: quantity at the best ask.
    pub(super) ask_quantity: Field<'a>,
    /// `id` of an answer.
    pub(super) id: Field<'a>,
    /// Whether there is a `result`, be it `null`.
    pub(super) has_result: bool,
    /// `status` of an answer of the WebSocket API.
    pub(super) status: Field<'a>,
    /// `error`: the nested form of an error.
    pub(super) error: Field<'a>,
    /// `code`: the flat form of an error.
    pub(super) code: Field<'a>,
    /// `msg`: the flat form of an error.
    pub(super) msg: Field<'a>,
    /// `method`: only clients send one.
    pub(super) method: Field<'a>,
    /// Whether the event is a list, which no subscribed stream sends.
    pub(super) is_list: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum MarketKey {
    #[serde(rename = "stream")]
    Stream,
    #[serde(rename = "data")]
    Data,
    #[serde(rename = "e")]
    Event,
    #[serde(rename = "s")]
    Symbol,
    #[serde(rename = "t")]
    TradeId,
    #[serde(rename = "T")]
    TradeTime,
    #[serde(rename = "p")]
    Price,
    #[serde(rename = "q")]
    Quantity,
    #[serde(rename = "m")]
    BuyerIsMaker,
    #[serde(rename = "b")]
    Bid,
    #[serde(rename = "B")]
    BidQuantity,
    #[serde(rename = "a")]
    Ask,
    #[serde(rename = "A")]
    AskQuantity,
    #[serde(rename = "id")]
    Id,
    #[serde(rename = "result")]
    Result,
    #[serde(rename = "status")]
    Status,
    #[serde(rename = "error")]
    Error,
    #[serde(rename = "code")]
    Code,
    #[serde(rename = "msg")]
    Msg,
    #[serde(rename = "method")]
    Method,
    #[serde(other)]
    Other,
}

impl<'a> MarketMessage<'a> {
    /// Reads a message into this empty one, in place because it is large.
    pub(super) fn read(&mut self, text: &'a str) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_any(Collect(self))?;
        json.end()
    }
}

/// Collects an object's tokens; a combined event's `data` goes into the same message, so that it is
/// parsed once and not kept aside for a second parse.
struct Collect<'m, 'de>(&'m mut MarketMessage<'de>);

impl<'de> serde::de::DeserializeSeed<'de> for Collect<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Binance message, which is an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let message = self.0;
        while let Some(key) = map.next_key::<MarketKey>()? {
            let field = match key {
                MarketKey::Stream => &mut message.stream,
                MarketKey::Event => &mut message.event,
                MarketKey::Symbol => &mut message.symbol,
                MarketKey::TradeId => &mut message.trade_id,
                MarketKey::TradeTime => &mut message.trade_time,
                MarketKey::Price => &mut message.price,
                MarketKey::Quantity => &mut message.quantity,
                MarketKey::BuyerIsMaker => &mut message.buyer_is_maker,
                MarketKey::Bid => &mut message.bid,
                MarketKey::BidQuantity => &mut message.bid_quantity,
                MarketKey::Ask => &mut message.ask,
                MarketKey::AskQuantity => &mut message.ask_quantity,
                MarketKey::Id => &mut message.id,
                MarketKey::Status => &mut message.status,
                MarketKey::Error => &mut message.error,
                MarketKey::Code => &mut message.code,
                MarketKey::Msg => &mut message.msg,
                MarketKey::Method => &mut message.method,
                MarketKey::Data => {
                    map.next_value_seed(Collect(message))?;
                    continue;
                }
                MarketKey::Result => {
                    map.next_value::<IgnoredAny>()?;
                    message.has_result = true;
                    continue;
                }
                MarketKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = map.next_value()?;
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        self.0.is_list = true;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Any message of the WebSocket API: answers, and events with or without their envelope.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApiMessage<'a> {
    #[serde(borrow)]
    pub(super) id: Field<'a>,
    #[serde(borrow)]
    pub(super) status: Field<'a>,
    #[serde(borrow)]
    pub(super) result: Field<'a>,
    #[serde(borrow)]
    pub(super) error: Field<'a>,
    #[serde(borrow)]
    pub(super) code: Field<'a>,
    #[serde(borrow)]
    pub(super) msg: Field<'a>,
    #[serde(borrow)]
    pub(super) event: Field<'a>,
    #[serde(borrow)]
    pub(super) method: Field<'a>,
    #[serde(borrow)]
    pub(super) e: Field<'a>,
}

/// The `result` of an order request: of a place, a cancel or a query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct OrderResult<'a> {
    #[serde(borrow)]
    pub(super) symbol: Field<'a>,
    #[serde(borrow)]
    pub(super) order_id: Field<'a>,
    #[serde(borrow)]
    pub(super) client_order_id: Field<'a>,
    #[serde(borrow)]
    pub(super) orig_client_order_id: Field<'a>,
    #[serde(borrow)]
    pub(super) executed_qty: Field<'a>,
    #[serde(borrow)]
    pub(super) status: Field<'a>,
    #[serde(borrow)]
    pub(super) transact_time: Field<'a>,
    #[serde(borrow)]
    pub(super) update_time: Field<'a>,
    #[serde(borrow)]
    pub(super) expiry_reason: Field<'a>,
    #[serde(borrow)]
    pub(super) subscription_id: Field<'a>,
    #[serde(borrow)]
    pub(super) authorized_since: Field<'a>,
}

/// The gateway's word for an order status of Binance (enums.md, "Order status").
pub(super) fn order_status(field: Field<'_>, key: &str) -> Result<OrderStatus, DecodeError> {
    let text = field.text(key)?;
    Ok(match &*text {
        "NEW" | "PENDING_NEW" | "PENDING_CANCEL" => OrderStatus::Open,
        "PARTIALLY_FILLED" => OrderStatus::PartiallyFilled,
        "FILLED" => OrderStatus::Filled,
        "CANCELED" => OrderStatus::Canceled,
        "REJECTED" => OrderStatus::Rejected,
        "EXPIRED" | "EXPIRED_IN_MATCH" => OrderStatus::Expired,
        other => {
            let shown = shorten(other);
            return Err(DecodeError::new(format!("`{key}` is the unknown status `{shown}`")));
        }
    })
}

/// A piece of a foreign text that is short enough for a log line.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}
