//! Wire types of Deribit. A message is split into its raw tokens, and a token is read once its
//! meaning is known: numbers are JSON numbers, read from their digits and never through a float,
//! and the order of keys is free.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::DecodeError;
use crate::types::{ClientOrderId, ExchangeOrderId, Side, Timestamp, exact_json_number};

/// Words of the exchange and of the JSON reader are kept up to this many characters.
const MAX_WORDS: usize = 256;

/// One value of a message, still as it stands on the wire. Its readers name the key in their error.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Field<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl<'a> Field<'a> {
    /// A value that was read raw, be it `null`.
    pub(super) fn raw(value: &'a RawValue) -> Self {
        Self(Some(value))
    }

    /// Whether it was [read raw](Self::raw) and is `null`.
    pub(super) fn is_null(self) -> bool {
        self.0.is_some() && !self.is_present()
    }

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

    /// A string that may be missing, empty, `null` or something else.
    pub(super) fn optional_text(self) -> Option<Cow<'a, str>> {
        self.text("").ok().filter(|text| !text.is_empty())
    }

    /// A number, read exactly.
    pub(super) fn decimal(self, key: &str) -> Result<Decimal, DecodeError> {
        let token = self.required(key)?;
        exact_json_number(token).map_err(|error| DecodeError::new(format!("`{key}`: {error}")))
    }

    /// A price or an amount: a number that is not negative.
    pub(super) fn amount<N: From<Decimal>>(self, key: &str) -> Result<N, DecodeError> {
        let value = self.decimal(key)?;
        if value.is_sign_negative() && !value.is_zero() {
            return Err(DecodeError::new(format!("`{key}` is negative: {value}")));
        }
        Ok(N::from(value))
    }

    /// The same where it may be missing or `null`.
    pub(super) fn optional_amount<N: From<Decimal>>(
        self,
        key: &str,
    ) -> Result<Option<N>, DecodeError> {
        if self.is_present() { self.amount(key).map(Some) } else { Ok(None) }
    }

    /// A Unix time in milliseconds, be it written `1.0`.
    pub(super) fn time(self, key: &str) -> Result<Timestamp, DecodeError> {
        self.whole(key).and_then(|value| {
            Timestamp::from_millisecond(value).map_err(|_| out_of_range(key, value))
        })
    }

    /// A time that may be missing, but not wrong.
    pub(super) fn optional_time(self, key: &str) -> Result<Option<Timestamp>, DecodeError> {
        if self.is_present() { self.time(key).map(Some) } else { Ok(None) }
    }

    /// A Unix time in microseconds, where there is one.
    pub(super) fn optional_microseconds(self) -> Option<Timestamp> {
        self.whole("").ok().and_then(|value| Timestamp::from_microsecond(value).ok())
    }

    /// A whole number, be it written `21.0`.
    pub(super) fn whole(self, key: &str) -> Result<i64, DecodeError> {
        let token = self.required(key)?;
        if let Ok(value) = token.parse() {
            return Ok(value);
        }
        let value = self.decimal(key)?;
        let whole = value.trunc();
        if whole == value
            && let Ok(value) = i64::try_from(whole)
        {
            return Ok(value);
        }
        Err(DecodeError::new(format!("`{key}` is {}, not a whole number in range", shorten(token))))
    }

    /// Whether the key is there and says `false`.
    pub(super) fn is_false(self) -> bool {
        self.token() == Some("false")
    }

    /// `buy` or `sell`.
    pub(super) fn side(self, key: &str) -> Result<Side, DecodeError> {
        match &*self.text(key)? {
            "buy" => Ok(Side::Buy),
            "sell" => Ok(Side::Sell),
            other => {
                let shown = shorten(other);
                Err(DecodeError::new(format!("`{key}` is `{shown}`, neither buy nor sell")))
            }
        }
    }

    /// A client order id, where there is one that the gateway can hold; others are a person's.
    pub(super) fn client_id(self) -> Option<ClientOrderId> {
        self.optional_text().and_then(|text| ClientOrderId::new(&text).ok())
    }

    /// The exchange's order id, where there is one.
    pub(super) fn exchange_id(self) -> Option<ExchangeOrderId> {
        self.optional_text().and_then(|text| ExchangeOrderId::new(&text).ok())
    }

    /// The id of a request as text, a string without its quotes.
    pub(super) fn request_id(self) -> Option<String> {
        let token = self.token()?;
        Some(shorten(&self.text("id").unwrap_or(Cow::Borrowed(token))))
    }

    /// The id of a request that this gateway numbered.
    pub(super) fn request_number(self) -> Option<u64> {
        self.token().and_then(|token| token.parse().ok())
    }

    /// Reads the token as another type.
    pub(super) fn read<T: Deserialize<'a> + Default>(self, key: &str) -> Result<T, DecodeError> {
        let Some(token) = self.token() else { return Ok(T::default()) };
        serde_json::from_str(token)
            .map_err(|error| DecodeError::new(shorten(&format!("`{key}`: {error}"))))
    }
}

/// Any message of a trading connection: a response, a notification, or (in recordings) a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) id: Field<'a>,
    #[serde(borrow)]
    pub(super) method: Field<'a>,
    #[serde(borrow)]
    pub(super) params: Field<'a>,
    #[serde(borrow)]
    pub(super) result: Field<'a>,
    #[serde(borrow)]
    pub(super) error: Field<'a>,
    /// When the exchange answered, in microseconds.
    #[serde(borrow, rename = "usOut")]
    pub(super) answered_at: Field<'a>,
}

/// The `params` of a notification.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Notification<'a> {
    /// Of a heartbeat.
    #[serde(borrow, rename = "type")]
    pub(super) kind: Field<'a>,
    #[serde(borrow)]
    pub(super) channel: Field<'a>,
    #[serde(borrow)]
    pub(super) data: Field<'a>,
}

/// An order as it is in responses and in `user.orders`. Nearly every key may be missing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct OrderObject<'a> {
    #[serde(borrow)]
    pub(super) order_id: Field<'a>,
    #[serde(borrow)]
    pub(super) label: Field<'a>,
    #[serde(borrow)]
    pub(super) instrument_name: Field<'a>,
    #[serde(borrow)]
    pub(super) order_state: Field<'a>,
    #[serde(borrow)]
    pub(super) filled_amount: Field<'a>,
    #[serde(borrow)]
    pub(super) last_update_timestamp: Field<'a>,
    #[serde(borrow)]
    pub(super) cancel_reason: Field<'a>,
}

/// A fill as it is in responses and in `user.trades`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct FillObject<'a> {
    #[serde(borrow)]
    pub(super) trade_id: Field<'a>,
    #[serde(borrow)]
    pub(super) order_id: Field<'a>,
    #[serde(borrow)]
    pub(super) label: Field<'a>,
    #[serde(borrow)]
    pub(super) instrument_name: Field<'a>,
    #[serde(borrow)]
    pub(super) price: Field<'a>,
    #[serde(borrow)]
    pub(super) amount: Field<'a>,
    #[serde(borrow)]
    pub(super) fee: Field<'a>,
    #[serde(borrow)]
    pub(super) fee_currency: Field<'a>,
    #[serde(borrow)]
    pub(super) liquidity: Field<'a>,
    /// The order's state after the fill.
    #[serde(borrow)]
    pub(super) state: Field<'a>,
    #[serde(borrow)]
    pub(super) timestamp: Field<'a>,
}

/// The `result` of an order, of a login, or of a test: keys that tell which it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResultObject<'a> {
    #[serde(borrow)]
    pub(super) order: Field<'a>,
    #[serde(borrow)]
    pub(super) trades: Field<'a>,
    #[serde(borrow)]
    pub(super) order_id: Field<'a>,
    #[serde(borrow)]
    pub(super) version: Field<'a>,
    #[serde(borrow)]
    pub(super) access_token: Field<'a>,
    #[serde(borrow)]
    pub(super) refresh_token: Field<'a>,
    /// Seconds.
    #[serde(borrow)]
    pub(super) expires_in: Field<'a>,
    #[serde(borrow)]
    pub(super) scope: Field<'a>,
}

/// What kind of value a token is, as far as answers differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    ListOfTexts,
    ListOfObjects,
    Other,
}

impl Shape {
    pub(super) fn of(field: Field<'_>) -> Self {
        let token = field.token().unwrap_or_default();
        let first = token.strip_prefix('[').map(str::trim_start);
        match first {
            Some(first) if first.starts_with('"') => Self::ListOfTexts,
            Some(first) if first.starts_with('{') => Self::ListOfObjects,
            None if token.starts_with('{') => Self::Object,
            _ => Self::Other,
        }
    }
}

/// What an answer of no known meaning acknowledges.
pub(super) fn named(id: Field<'_>) -> String {
    id.request_id().map_or_else(|| "request without id".into(), |id| format!("request {id}"))
}

/// The `result` of a subscription: the channels that are subscribed, or unsubscribed, now.
pub(super) fn channels(result: Field<'_>) -> Result<Vec<Cow<'_, str>>, DecodeError> {
    let listed: Vec<Field<'_>> = result.read("result")?;
    listed.into_iter().map(|channel| channel.text("result")).collect()
}

fn out_of_range(key: &str, value: i64) -> DecodeError {
    DecodeError::new(format!("`{key}` is {value}, not a time in range"))
}

/// A message that is no JSON of the expected shape.
pub(super) fn malformed(error: &serde_json::Error) -> DecodeError {
    DecodeError::new(shorten(&error.to_string()))
}

/// At most 256 characters of a text from outside.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

/// A text as a JSON string.
pub(super) fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(token: &str) -> Field<'_> {
        serde_json::from_str(token).unwrap()
    }

    #[test]
    fn numbers_are_read_from_their_digits() {
        let read = |token| field(token).decimal("k").map(|value| value.to_string());
        assert_eq!(read("1234567890.123456789").unwrap(), "1234567890.123456789");
        assert_eq!(read("1.6e-7").unwrap(), "0.00000016");
        assert_eq!(read("-2e-8").unwrap(), "-0.00000002");
        for wrong in ["\"5\"", "0.12345678901234567890123456789", "[]", "true", "null", "1e400"] {
            let error = field(wrong).decimal("the key").unwrap_err();
            assert!(error.reason.contains("`the key`"), "{wrong}: {error}");
        }
        assert!(field("-2e-8").amount::<Decimal>("k").is_err());
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        assert_eq!(field("21").whole("k"), Ok(21));
        assert_eq!(field("21.0").whole("k"), Ok(21));
        assert!(field("21.5").whole("k").is_err());
        assert!(field("1e20").whole("k").is_err());
        let time = field("1699999999000.0").time("k").unwrap();
        assert_eq!(time.as_millisecond(), 1_699_999_999_000);
        assert!(field("9223372036854775807").time("k").is_err());
    }

    #[test]
    fn an_empty_label_is_none_and_a_long_one_no_id() {
        assert_eq!(field("\"\"").client_id(), None);
        assert_eq!(field(&json(&"x".repeat(64))).client_id(), None);
        assert_eq!(field("\"gw1\"").client_id().unwrap().as_str(), "gw1");
    }
}
