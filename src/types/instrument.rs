//! Instrument names, interned once so that a tick can carry one in eight bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names are kept for the life of the process, so their number is bounded.
const MAX_NAMES: usize = 65_536;

/// Why a text is no instrument or exchange name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInstrument {
    /// The text is not `exchange:BASE-QUOTE`, which derivatives are written in too.
    #[error("`{0}` is no instrument: write `exchange:BASE-QUOTE`, for example `binance:BTC-USDT`")]
    Form(String),
    /// The exchange part holds other characters than a-z, 0-9 and `-`, or is over 20 long.
    #[error("`{0}` is no exchange name: use 1 to 20 of a-z, 0-9 and `-`")]
    Exchange(String),
    /// A part holds other characters than A-Z, 0-9, `_` and `.` (and `-` after the first one, as in
    /// the name of a future or an option), or is over 20 long.
    #[error("`{0}` is no asset: use 1 to 20 of A-Z, 0-9, `_` and `.`, and `-` only after the base")]
    Asset(String),
    /// More than 65,536 different names in one process.
    #[error("too many different instrument names in this process (65,536)")]
    TooMany,
}

/// The name of an exchange connection set in the configuration, for example `binance`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeName(&'static str);

impl ExchangeName {
    /// Checks and interns the name: 1 to 20 of a-z, 0-9 and `-`.
    pub fn new(name: &str) -> Result<Self, InvalidInstrument> {
        let fits = (1..=20).contains(&name.len());
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !fits || !name.bytes().all(allowed) {
            return Err(InvalidInstrument::Exchange(shorten(name)));
        }
        let mut names = names();
        if let Some(known) = names.exchanges.get(name) {
            return Ok(Self(known));
        }
        if names.exchanges.len() >= MAX_NAMES {
            return Err(InvalidInstrument::TooMany);
        }
        let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
        names.exchanges.insert(kept);
        Ok(Self(kept))
    }

    /// The name as written in the configuration.
    pub fn as_str(&self) -> &'static str {
        self.0
    }

    /// The instrument of this name on this exchange, from `BASE-QUOTE`; the base ends at the first
    /// dash.
    pub fn instrument(self, pair: &str) -> Result<Instrument, InvalidInstrument> {
        let (base, quote) =
            pair.split_once('-').ok_or_else(|| InvalidInstrument::Form(shorten(pair)))?;
        Instrument::new(self, base, quote)
    }
}

impl fmt::Display for ExchangeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for ExchangeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for ExchangeName {
    type Err = InvalidInstrument;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for ExchangeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for ExchangeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

struct Interned {
    exchange: ExchangeName,
    base: String,
    quote: String,
    text: String,
}

/// A traded pair on one exchange, `exchange:BASE-QUOTE`, the same on every exchange but for the
/// prefix. A derivative has the exchange's own name after the colon, in capitals:
/// `deribit:BTC-PERPETUAL`, `deribit:BTC-27DEC24-60000-C`. `Copy` and eight bytes: names are
/// interned for the life of the process, at most 65,536.
#[derive(Clone, Copy)]
pub struct Instrument(&'static Interned);

impl Instrument {
    /// Checks and interns the name.
    pub fn new(exchange: ExchangeName, base: &str, quote: &str) -> Result<Self, InvalidInstrument> {
        for (asset, extra) in [(base, &b"_."[..]), (quote, b"_.-")] {
            let fits = (1..=20).contains(&asset.len());
            let is_dashed = asset.starts_with('-') || asset.ends_with('-');
            let allowed =
                |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || extra.contains(&b);
            if !fits || is_dashed || !asset.bytes().all(allowed) {
                return Err(InvalidInstrument::Asset(shorten(asset)));
            }
        }
        let text = format!("{exchange}:{base}-{quote}");
        let mut names = names();
        if let Some(known) = names.instruments.get(text.as_str()) {
            return Ok(Self(known));
        }
        if names.instruments.len() >= MAX_NAMES {
            return Err(InvalidInstrument::TooMany);
        }
        let kept: &'static Interned = Box::leak(Box::new(Interned {
            exchange,
            base: base.into(),
            quote: quote.into(),
            text,
        }));
        names.instruments.insert(&kept.text, kept);
        Ok(Self(kept))
    }

    /// The exchange it is traded on.
    pub fn exchange(self) -> ExchangeName {
        self.0.exchange
    }

    /// The asset that is bought and sold; of a derivative, what stands before the first dash.
    pub fn base(self) -> &'static str {
        &self.0.base
    }

    /// The asset that prices are given in; of a derivative, what stands after the first dash, for
    /// example `PERPETUAL` or `27DEC24-60000-C`.
    pub fn quote(self) -> &'static str {
        &self.0.quote
    }

    /// `BASE-QUOTE`, without the exchange.
    pub fn pair(self) -> &'static str {
        &self.0.text[self.0.exchange.as_str().len() + 1..]
    }

    /// `exchange:BASE-QUOTE`.
    pub fn as_str(self) -> &'static str {
        &self.0.text
    }
}

impl PartialEq for Instrument {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Instrument {}

impl Hash for Instrument {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(self.0, state);
    }
}

impl PartialOrd for Instrument {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

// By text and not by address, so that reports and simulations have one order on every run.
impl Ord for Instrument {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.text.cmp(&other.0.text)
    }
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.text)
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl FromStr for Instrument {
    type Err = InvalidInstrument;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (exchange, pair) =
            text.split_once(':').ok_or_else(|| InvalidInstrument::Form(shorten(text)))?;
        ExchangeName::new(exchange)?.instrument(pair)
    }
}

impl Serialize for Instrument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text)
    }
}

impl<'de> Deserialize<'de> for Instrument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Default)]
struct Names {
    exchanges: BTreeSet<&'static str>,
    instruments: BTreeMap<&'static str, &'static Interned>,
}

fn names() -> std::sync::MutexGuard<'static, Names> {
    static NAMES: OnceLock<Mutex<Names>> = OnceLock::new();
    NAMES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_instrument() {
        let first: Instrument = "binance:BTC-USDT".parse().unwrap();
        let second: Instrument = "binance:BTC-USDT".parse().unwrap();
        assert_eq!(first, second);
        assert_eq!((first.base(), first.quote(), first.pair()), ("BTC", "USDT", "BTC-USDT"));
        assert_ne!(first, "kraken:BTC-USDT".parse().unwrap());
    }

    #[test]
    fn a_derivative_has_the_name_that_its_exchange_gave_it() {
        let cases = [
            ("BTC-PERPETUAL", "BTC", "PERPETUAL"),
            ("BTC-27DEC24", "BTC", "27DEC24"),
            ("BTC-27DEC24-60000-C", "BTC", "27DEC24-60000-C"),
            ("ETH_USDC-PERPETUAL", "ETH_USDC", "PERPETUAL"),
        ];
        for (name, base, quote) in cases {
            let instrument: Instrument = format!("deribit:{name}").parse().unwrap();
            assert_eq!((instrument.base(), instrument.quote()), (base, quote));
            assert_eq!(instrument.pair(), name);
        }
        for wrong in ["-USD", "BTC-", "BTC--C", "BTC-27DEC24-", "BTC-27dec24"] {
            assert!(format!("deribit:{wrong}").parse::<Instrument>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_name_says_what_to_write() {
        let error = "BTCUSDT".parse::<Instrument>().unwrap_err();
        assert!(error.to_string().contains("binance:BTC-USDT"), "{error}");
        assert!("binance:btc-usdt".parse::<Instrument>().is_err());
        assert!("Binance:BTC-USDT".parse::<Instrument>().is_err());
        assert!("binance:BTC".parse::<Instrument>().is_err());
    }
}
