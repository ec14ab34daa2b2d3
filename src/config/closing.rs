//! What a shutdown does with positions: `[positions]`, `[exchanges.NAME.positions]`, and
//! `[exchanges.NAME.positions.instruments.PAIR]`. Each begins with what the one before says.

use std::time::Duration;

use rust_decimal::Decimal;

use super::duration::format_duration;
use super::effective::{duration, plain, section, string};
use super::file::set;
use super::reader::{Reader, Section};
use super::{Config, ExchangeConfig, Fault};
use crate::types::{ClosePolicy, ClosingOrder, Instrument};

/// A phase shorter than this hardly lets an exchange answer.
const SHORT_PHASE: Duration = Duration::from_secs(1);
const MAX_SLIPPAGE_PERCENT: u32 = 50;
const QUOTE_AGES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);

/// What a shutdown does with positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionsConfig {
    /// Whether a shutdown (and the drain of an exchange) closes what the gateway holds by its own
    /// fills. Default keep. `close` trades at once, whatever it costs within `max_slippage_percent`,
    /// and needs time: `shutdown.close_positions`. On spot exchanges what was sold is bought back.
    pub on_shutdown: ClosePolicy,
    /// The orders that close. Default ioc: immediate-or-cancel limit orders, which never trade at a
    /// worse price than the limit. `market` closes more surely, at whatever price a thin book has.
    pub order: ClosingOrder,
    /// How much worse than the best bid (or ask) at the beginning of the phase the price may be, in
    /// percent. Default 1, from 0 to 50. It bounds all closing orders of a position together; what
    /// does not trade within it is left, and named. Too small leaves positions in a moving market;
    /// too large sells a thin one off.
    pub max_slippage_percent: Decimal,
    /// A best bid and ask older than this are no price to go by: nothing is closed until a new one
    /// comes. Default 30 s, from 10 ms to 1 h. Some exchanges tell quotes only when they change, so
    /// short values leave positions in quiet markets; long ones trust a feed that has stopped.
    pub max_quote_age: Duration,
}

impl Default for PositionsConfig {
    fn default() -> Self {
        Self {
            on_shutdown: ClosePolicy::Keep,
            order: ClosingOrder::Ioc,
            max_slippage_percent: Decimal::ONE,
            max_quote_age: Duration::from_secs(30),
        }
    }
}

impl ExchangeConfig {
    /// What a shutdown does with the position in an instrument.
    pub fn positions_of(&self, instrument: Instrument) -> &PositionsConfig {
        self.instrument_positions.get(&instrument).unwrap_or(&self.positions)
    }

    fn closes(&self) -> bool {
        let all = std::iter::once(&self.positions).chain(self.instrument_positions.values());
        self.trading && all.into_iter().any(|of| of.on_shutdown == ClosePolicy::Close)
    }
}

pub(super) fn read<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>, into: &mut PositionsConfig) {
    let policies = [ClosePolicy::Keep, ClosePolicy::Close].map(|policy| (policy.as_str(), policy));
    let orders = [ClosingOrder::Ioc, ClosingOrder::Market].map(|order| (order.as_str(), order));
    set(&mut into.on_shutdown, reader.choice(s, "on_shutdown", &policies));
    set(&mut into.order, reader.choice(s, "order", &orders));
    set(&mut into.max_slippage_percent, reader.decimal(s, "max_slippage_percent"));
    set(&mut into.max_quote_age, reader.duration(s, "max_quote_age"));
}

/// Reads the section of an exchange, which begins with the common one, and those of its instruments.
pub(super) fn read_exchange<'t>(
    reader: &mut Reader<'t>,
    parent: &mut Section<'t>,
    common: &PositionsConfig,
    exchange: &mut ExchangeConfig,
) {
    let mut s = reader.section(parent, "positions");
    exchange.positions = common.clone();
    read(reader, &mut s, &mut exchange.positions);
    let instruments = reader.section(&mut s, "instruments");
    for (pair, offset, mut section) in reader.tables(&instruments) {
        let mut own = exchange.positions.clone();
        read(reader, &mut section, &mut own);
        reader.close(&section);
        let prefix = format!("{}:", exchange.name);
        let named = exchange.name.instrument(pair.strip_prefix(&prefix).unwrap_or(pair));
        match named {
            Ok(instrument) if exchange.instruments.contains(&instrument) => {
                exchange.instrument_positions.insert(instrument, own);
            }
            _ => {
                let key = section.path.clone();
                let known = exchange.instruments.iter().map(|known| known.pair());
                let known = known.collect::<Vec<_>>().join(", ");
                let fault = Fault::new(key, "it is none of the exchange's instruments");
                reader.fault_at(offset, fault.help(format!("there are: {known}")));
            }
        }
    }
    reader.close(&s);
}

/// What is out of range.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = of(&config.positions, "positions");
    for exchange in &config.exchanges {
        let path = format!("exchanges.{}.positions", exchange.name);
        if exchange.positions != config.positions {
            faults.extend(of(&exchange.positions, &path));
        }
        for (instrument, own) in &exchange.instrument_positions {
            if *own != exchange.positions {
                faults.extend(of(own, &format!("{path}.instruments.{}", instrument.pair())));
            }
        }
    }
    faults
}

fn of(positions: &PositionsConfig, path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (percent, age) = (positions.max_slippage_percent, positions.max_quote_age);
    if !(Decimal::ZERO..=Decimal::from(MAX_SLIPPAGE_PERCENT)).contains(&percent) {
        let fault = Fault::new(
            format!("{path}.max_slippage_percent"),
            format!("{percent} is out of range"),
        );
        faults.push(fault.help(format!("use 0 to {MAX_SLIPPAGE_PERCENT}")));
    }
    if !QUOTE_AGES.contains(&age) {
        let problem = format!("{} is out of range", format_duration(age));
        let fault = Fault::new(format!("{path}.max_quote_age"), problem);
        let (from, to) = (format_duration(*QUOTE_AGES.start()), format_duration(*QUOTE_AGES.end()));
        faults.push(fault.help(format!("use {from} to {to}")));
    }
    faults
}

/// What is allowed and most likely not meant.
pub(super) fn warnings(config: &Config) -> Vec<Fault> {
    let limit = config.shutdown.close_positions;
    if limit >= SHORT_PHASE || !config.exchanges.iter().any(ExchangeConfig::closes) {
        return Vec::new();
    }
    let problem = format!("{} hardly closes a position", format_duration(limit));
    vec![Fault::new("shutdown.close_positions", problem).help("raise it, 4s are usual")]
}

pub(super) fn show(text: &mut String, name: &str, positions: &PositionsConfig) {
    section(text, name);
    string(text, "on_shutdown", positions.on_shutdown.as_str());
    string(text, "order", positions.order.as_str());
    plain(text, "max_slippage_percent", positions.max_slippage_percent);
    duration(text, "max_quote_age", positions.max_quote_age);
}

/// Shows what differs from the section above.
pub(super) fn show_exchange(text: &mut String, common: &PositionsConfig, of: &ExchangeConfig) {
    let path = format!("exchanges.{}.positions", of.name);
    if of.positions != *common {
        show(text, &path, &of.positions);
    }
    for (instrument, own) in &of.instrument_positions {
        if *own != of.positions {
            show(text, &format!("{path}.instruments.{}", instrument.pair()), own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, super::super::ConfigError> {
        super::super::file::read(text, "gateway.toml", &|_| None)
    }

    const FEED: &str =
        "[exchanges.kraken]\ninstruments = [\"BTC-USD\", \"ETH-USD\"]\ntrading = false\n";

    #[test]
    fn each_section_begins_with_the_one_above() {
        let text = format!(
            "[positions]\non_shutdown = \"close\"\nmax_slippage_percent = 0.25\n{FEED}\
             [exchanges.kraken.positions]\norder = \"market\"\n\
             [exchanges.kraken.positions.instruments.ETH-USD]\non_shutdown = \"keep\"\n\
             max_quote_age = \"5s\"\n"
        );
        let config = read(&text).unwrap();
        let kraken = &config.exchanges[0];
        let btc = kraken.positions_of("kraken:BTC-USD".parse().unwrap());
        let eth = kraken.positions_of("kraken:ETH-USD".parse().unwrap());
        assert_eq!((btc.on_shutdown, btc.order), (ClosePolicy::Close, ClosingOrder::Market));
        assert_eq!((eth.on_shutdown, eth.order), (ClosePolicy::Keep, ClosingOrder::Market));
        for of in [btc, eth] {
            assert_eq!(of.max_slippage_percent, Decimal::new(25, 2));
        }
        assert_eq!(eth.max_quote_age, Duration::from_secs(5));
        let shown = config.effective_toml();
        for expected in [
            "[positions]\non_shutdown = \"close\"\norder = \"ioc\"\nmax_slippage_percent = 0.25\n",
            "[exchanges.kraken.positions]\non_shutdown = \"close\"\norder = \"market\"\n",
            "[exchanges.kraken.positions.instruments.ETH-USD]\non_shutdown = \"keep\"\n",
        ] {
            assert!(shown.contains(expected), "{expected} is not in\n{shown}");
        }
        let again = &read(&shown).unwrap().exchanges[0];
        assert_eq!(again.positions, kraken.positions);
        assert_eq!(again.instrument_positions, kraken.instrument_positions);
    }

    #[test]
    fn positions_are_kept_unless_asked_otherwise() {
        let config = read(FEED).unwrap();
        assert_eq!(config.exchanges[0].positions, PositionsConfig::default());
        assert_eq!(PositionsConfig::default().on_shutdown, ClosePolicy::Keep);
    }

    #[test]
    fn every_fault_names_its_key_and_remedy() {
        let cases = [
            ("[positions]\non_shutdown = \"sell\"", "positions.on_shutdown: `sell` is none"),
            (
                "[positions]\nmax_slippage_percent = 51",
                ":2:24: positions.max_slippage_percent: 51 is out of range; use 0 to 50",
            ),
            (
                "[positions]\nmax_slippage_percent = -0.1",
                "positions.max_slippage_percent: -0.1 is out of range",
            ),
            (
                "[positions]\nmax_slippage_percent = nan",
                "positions.max_slippage_percent: `nan` is no decimal number",
            ),
            (
                "[positions]\nmax_slippage_percent = true",
                "positions.max_slippage_percent: expected a number, found true or false",
            ),
            (
                "[positions]\nmax_quote_age = \"0s\"",
                "positions.max_quote_age: 0s is out of range; use 10ms to 1h",
            ),
            ("[positions]\nordr = \"ioc\"", "unknown key; did you mean `order`?"),
            (
                "[exchanges.kraken.positions.instruments.BTC-EUR]\norder = \"ioc\"",
                ".instruments.BTC-EUR: it is none of the exchange's instruments; there are: BTC-USD, \
                 ETH-USD",
            ),
            (
                "[exchanges.kraken.positions.instruments.BTC-USD]\nmax_quote_age = \"2h\"",
                ".instruments.BTC-USD.max_quote_age: 2h is out of range",
            ),
        ];
        for (text, expected) in cases {
            let whole = if text.starts_with("[exchanges") {
                format!("{FEED}{text}\n")
            } else {
                format!("{text}\n{FEED}")
            };
            let faults = read(&whole).unwrap_err().to_string();
            assert_eq!(faults.lines().count(), 1, "{faults}");
            assert!(faults.contains(expected), "{expected} is not in {faults}");
        }
    }

    #[test]
    fn a_phase_too_short_for_closing_is_warned_of() {
        let mut config = read(FEED).unwrap();
        config.shutdown.close_positions = Duration::from_millis(500);
        assert_eq!(warnings(&config), []);
        config.exchanges[0].trading = true;
        config.exchanges[0].positions.on_shutdown = ClosePolicy::Close;
        let warned = warnings(&config);
        assert!(warned[0].to_string().contains("shutdown.close_positions: 500ms"), "{warned:?}");
    }
}
