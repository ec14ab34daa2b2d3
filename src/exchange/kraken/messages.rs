//! Wire types of the WebSocket API v2 and of the HTTP API, borrowed from the message.
//!
//! Kraken writes prices and quantities as JSON numbers. They are kept as raw tokens
//! ([`RawValue`]) and read as decimals, so that no digit passes through a float. The order of keys
//! is free.

use std::borrow::Cow;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::value::RawValue;

use crate::exchange::{DecodeError, HttpResponse, TradingRestriction};
use crate::types::{InvalidNumber, Quantity, Timestamp};

/// Words of the exchange and of the JSON reader are kept up to this many characters.
const MAX_WORDS: usize = 256;

/// Any message of the server: a response (`method`), channel data (`channel`), or a bare error.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text", rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) sequence: Option<u64>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) req_id: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) success: Option<bool>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) error: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) symbol: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) time_out: Option<Cow<'a, str>>,
    /// Only requests have it, which a server never sends.
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    /// `{"Error":"Exceeded msg rate"}`: capital E, nothing else in the message.
    #[serde(borrow, default, deserialize_with = "text", rename = "Error")]
    pub(super) fault: Option<Cow<'a, str>>,
}

/// Text that is borrowed where it has no escapes. Serde borrows a plain `Cow`, and copies one that
/// is within an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads text that may be `null`, without copying it.
pub(super) fn text<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(<Option<Text<'de>>>::deserialize(json)?.map(|text| text.0))
}

/// Text as the value of a key.
pub(super) struct OptionalText;

impl<'de> DeserializeSeed<'de> for OptionalText {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        text(json)
    }
}

/// What a response says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// `success` is true.
    Done(Option<&'a RawValue>),
    /// `success` is false.
    Failed(&'a str),
}

impl<'a> Envelope<'a> {
    /// Reads a whole message.
    pub(super) fn read(text: &'a str) -> Result<Self, DecodeError> {
        serde_json::from_str(text).map_err(|error| malformed(&error))
    }

    /// The request id as it stands on the wire, without quotes.
    pub(super) fn request_id(&self) -> Option<String> {
        self.req_id.map(|id| shorten(id.get().trim_matches('"')))
    }

    /// The request id as a number; `None` for one that this gateway did not write.
    pub(super) fn request_number(&self) -> Option<u64> {
        self.req_id.and_then(|id| id.get().parse().ok())
    }

    /// Whether the message is one that only clients write (it stands so in recordings).
    pub(super) fn is_client_request(&self) -> bool {
        let unanswered = self.success.is_none() && self.error.is_none() && self.result.is_none();
        unanswered && (self.params.is_some() || self.method.as_deref() == Some("ping"))
    }

    /// Whether the request succeeded.
    pub(super) fn outcome(&self) -> Result<Outcome<'_>, DecodeError> {
        let error = || Outcome::Failed(self.error.as_deref().unwrap_or("no reason given"));
        match self.success {
            Some(true) => Ok(Outcome::Done(self.result)),
            Some(false) => Ok(error()),
            None if self.error.is_some() => Ok(error()),
            None if self.result.is_some() => Ok(Outcome::Done(self.result)),
            None => Err(DecodeError::new(format!(
                "response to `{}` without `success`",
                shorten(self.method.as_deref().unwrap_or("?"))
            ))),
        }
    }

    /// What kind of message it is, for the log.
    pub(super) fn describe(&self) -> String {
        match (&self.channel, &self.method) {
            (Some(channel), _) => format!("channel {}", shorten(channel)),
            (None, Some(method)) if self.is_client_request() => {
                format!("client request {}", shorten(method))
            }
            (None, Some(method)) => format!("response {}", shorten(method)),
            (None, None) => "message without channel and method".into(),
        }
    }
}

/// One element of the `ticker` channel; the other fields are of no interest.
#[derive(Debug, Deserialize)]
pub(super) struct Ticker<'a> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) bid: &'a RawValue,
    #[serde(borrow)]
    pub(super) bid_qty: &'a RawValue,
    #[serde(borrow)]
    pub(super) ask: &'a RawValue,
    #[serde(borrow)]
    pub(super) ask_qty: &'a RawValue,
    /// Absent in messages from before 2024.
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) timestamp: Option<Cow<'a, str>>,
}

/// One element of the `trade` channel.
#[derive(Debug, Deserialize)]
pub(super) struct PublicTrade<'a> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) price: &'a RawValue,
    #[serde(borrow)]
    pub(super) qty: &'a RawValue,
    pub(super) trade_id: u64,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) timestamp: Option<Cow<'a, str>>,
}

/// One element of the `executions` channel. Follow-up reports carry only what changed.
#[derive(Debug, Deserialize)]
pub(super) struct Report<'a> {
    #[serde(borrow)]
    pub(super) exec_type: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) order_status: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) order_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) cl_ord_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) symbol: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) exec_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) last_qty: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) last_price: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) cum_qty: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) liquidity_ind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) fees: Option<Vec<ReportFee<'a>>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) reason: Option<Cow<'a, str>>,
    /// The old name of `reason`; a message may carry both.
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) cancel_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) timestamp: Option<Cow<'a, str>>,
}

/// A fee within a [`Report`].
#[derive(Debug, Deserialize)]
pub(super) struct ReportFee<'a> {
    #[serde(borrow)]
    pub(super) asset: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) qty: &'a RawValue,
}

/// One element of the `status` channel. `connection_id` is above the largest `i64` and not read.
#[derive(Debug, Deserialize)]
struct SystemStatus<'a> {
    #[serde(borrow)]
    system: Cow<'a, str>,
}

/// The `result` of a subscription's acknowledgement.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Subscription<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) symbol: Option<Cow<'a, str>>,
    /// How far the account's rate counter may rise.
    #[serde(borrow, default)]
    maxratecount: Option<&'a RawValue>,
}

impl<'a> Subscription<'a> {
    /// Reads it; an absent result is an empty one.
    pub(super) fn read(result: Option<&'a RawValue>) -> Result<Self, DecodeError> {
        result.map_or_else(|| Ok(Self::default()), |raw| read(raw, "result"))
    }

    /// How far the account's rate counter may rise, if that can be read.
    pub(super) fn rate_threshold(&self) -> Option<u32> {
        self.maxratecount?.get().trim_matches('"').parse().ok()
    }

    /// The request that was acknowledged, for example `subscribe ticker BTC/USD`.
    pub(super) fn describe(&self, method: &str) -> String {
        let mut text = shorten(method);
        for part in [&self.channel, &self.symbol].into_iter().flatten() {
            text.push(' ');
            text.push_str(&shorten(part));
        }
        text
    }
}

/// The `result` of an order request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OrderResult<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) order_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) cl_ord_id: Option<Cow<'a, str>>,
}

/// Every answer of the HTTP API.
#[derive(Debug, Deserialize)]
struct HttpAnswer<'a> {
    #[serde(borrow, default)]
    error: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// The `result` of an answer of the HTTP API, or the exchange's error text.
pub(super) fn http_result(response: &HttpResponse) -> Result<&RawValue, String> {
    let answer: HttpAnswer<'_> = match serde_json::from_str(&response.body) {
        Ok(answer) => answer,
        Err(error) => {
            let status = response.status;
            return Err(shorten(&format!("status {status}, and no JSON answer: {error}")));
        }
    };
    // The first letter is the severity: `E` is an error, `W` a warning.
    if let Some(error) = answer.error.iter().find(|error| !error.starts_with('W')) {
        return Err(shorten(error));
    }
    if !(200..300).contains(&response.status) {
        return Err(format!("status {} without an error text", response.status));
    }
    answer.result.ok_or_else(|| "answer without `error` and `result`".into())
}

/// What the `status` channel's message allows; `None` for a state that is not known.
pub(super) fn trading_restriction(
    data: &RawValue,
) -> Result<Option<TradingRestriction>, DecodeError> {
    let states: Vec<SystemStatus<'_>> = read(data, "data")?;
    let Some(state) = states.last() else {
        return Err(DecodeError::new("`data` of status: empty"));
    };
    Ok(match &*state.system {
        "online" => Some(TradingRestriction::None),
        "post_only" => Some(TradingRestriction::PostOnly),
        "cancel_only" => Some(TradingRestriction::CancelOnly),
        "maintenance" => Some(TradingRestriction::Maintenance),
        _ => None,
    })
}

/// Reads a part of a message that was kept raw.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue, key: &str) -> Result<T, DecodeError> {
    serde_json::from_str(raw.get())
        .map_err(|error| DecodeError::new(shorten(&format!("`{key}`: {error}"))))
}

/// Reads a JSON number exactly.
pub(super) fn decimal(raw: &RawValue, key: &str) -> Result<Decimal, DecodeError> {
    exact(raw.get()).map_err(|error| DecodeError::new(format!("`{key}`: {error}")))
}

/// Reads a decimal exactly, or refuses it.
pub(super) fn exact(text: &str) -> Result<Decimal, InvalidNumber> {
    text.parse().map(Quantity::decimal)
}

/// Reads an RFC 3339 time.
pub(super) fn timestamp(text: Option<&str>, key: &str) -> Result<Option<Timestamp>, DecodeError> {
    let Some(text) = text else { return Ok(None) };
    if let Some(time) = plain_utc(text) {
        return Ok(Some(time));
    }
    text.parse()
        .map(Some)
        .map_err(|_| DecodeError::new(format!("`{key}`: `{}` is no RFC 3339 time", shorten(text))))
}

/// Reads the form that the exchange writes, `2023-10-06T17:35:55.440295Z`: it stands in every tick,
/// and a reader of all RFC 3339 forms takes as long as for the rest of the tick. `None` for any
/// other form.
fn plain_utc(text: &str) -> Option<Timestamp> {
    let bytes = text.strip_suffix('Z')?.as_bytes();
    let (moment, fraction) = (bytes.get(..19)?, bytes.get(19..)?);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| moment[at] != mark) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let part = |from: usize, to: usize| number(&moment[from..to]);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanosecond = match fraction.split_first() {
        None => 0,
        Some((b'.', digits)) if (1..=9).contains(&digits.len()) => {
            let scale = u32::try_from(9 - digits.len()).ok()?;
            i32::try_from(number(digits)? * 10_i64.pow(scale)).ok()?
        }
        Some(_) => return None,
    };
    let valid = |part: i64| i8::try_from(part).ok();
    Date::new(i16::try_from(year).ok()?, valid(month)?, valid(day)?).ok()?;
    // Days since 1970-01-01: years begin in March here, so that a leap day is a year's last.
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Timestamp::new(seconds, nanosecond).ok()
}

/// A message that is no JSON of the expected shape.
pub(super) fn malformed(error: &serde_json::Error) -> DecodeError {
    DecodeError::new(shorten(&error.to_string()))
}

/// At most 256 characters of a text from outside.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

/// Whether trying again with the same key and symbols is pointless.
///
/// Source: <https://docs.kraken.com/api/docs/guides/spot-errors>.
pub(super) fn is_permanent(error: &str) -> bool {
    const PERMANENT: [&str; 8] = [
        "EAPI:Invalid key",
        "EAPI:Invalid signature",
        "EGeneral:Permission denied",
        "EGeneral:Invalid arguments",
        "EAccount:Invalid permissions",
        "EQuery:Unknown asset pair",
        "EQuery:Invalid asset pair",
        "Currency pair not supported",
    ];
    PERMANENT.iter().any(|prefix| error.starts_with(prefix))
}

/// Whether the exchange was too busy or limits the rate: the same request may pass later.
pub(super) fn is_passing(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["rate limit", "busy", "temporary lockout", "internal error", "too many requests"]
        .iter()
        .any(|words| error.contains(words))
        || error.starts_with("eservice:")
}

/// Whether the exchange itself may not know what became of a new order: its gateway answered for
/// an engine that did not.
pub(super) fn is_outcome_unknown(error: &str) -> bool {
    let refused = ["EService:Market in", "EService:Deadline elapsed"];
    let vague = ["EService:", "EGeneral:Internal error"];
    vague.iter().any(|prefix| error.starts_with(prefix))
        && !refused.iter().any(|prefix| error.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_tick_is_borrowed_from_its_message() {
        let trade = r#"{"symbol":"BTC/USD","side":"buy","price":1,"qty":1,"trade_id":1,"timestamp":"2023-10-06T17:35:55Z"}"#;
        let trade: PublicTrade<'_> = serde_json::from_str(trade).unwrap();
        assert!(matches!(trade.symbol, Cow::Borrowed(_)));
        assert!(matches!(trade.side, Cow::Borrowed(_)));
        assert!(matches!(trade.timestamp, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn a_plain_time_is_what_a_full_reader_makes_of_it() {
        for text in [
            "2023-10-06T17:35:55.440295Z",
            "2024-02-29T00:00:00Z",
            "2000-03-01T23:59:59.9Z",
            "1969-12-31T23:59:59.123456789Z",
            "0001-01-01T00:00:00.000000001Z",
        ] {
            assert_eq!(plain_utc(text), Some(text.parse().unwrap()), "{text}");
        }
        for day in 0..200_000_i64 {
            let time = Timestamp::from_second(day * 86_399 * 2 - 7_000_000_000).unwrap();
            assert_eq!(plain_utc(&time.to_string()), Some(time), "{time}");
        }
    }

    #[test]
    fn no_other_time_is_taken_for_a_plain_one() {
        for text in [
            "",
            "Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-10-06T24:00:00Z",
            "2023-10-06T23:59:60Z",
            "2023-10-06 23:59:59Z",
            "2023-10-06T23:59:59.Z",
            "2023-10-06T23:59:59.1234567890Z",
            "2023-10-06T23:59:59+00:00",
            "2023-10-0éT23:59:59Z",
            "+023-10-06T23:59:59Z",
        ] {
            assert_eq!(plain_utc(text), None, "{text}");
        }
        let other = timestamp(Some("2023-10-06T23:59:59+01:00"), "timestamp").unwrap();
        assert_eq!(other, Some("2023-10-06T22:59:59Z".parse().unwrap()));
    }

    #[test]
    fn an_error_never_repeats_more_than_a_little_of_its_message() {
        let text = format!(r#"{{"success":"{}"}}"#, "x".repeat(100_000));
        assert!(Envelope::read(&text).unwrap_err().reason.len() <= MAX_WORDS);
    }
}
