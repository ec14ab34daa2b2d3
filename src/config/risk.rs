//! `[risk]`: the limits that an order must keep, and its reading, checks and output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use rust_decimal::Decimal;

use super::format_duration;
use super::reader::{Reader, Section};
use super::{Config, Fault};
use crate::types::{ExchangeName, Instrument};

/// The most orders that a limit can speak of.
const MAX_ORDERS: usize = 1_000_000;
/// The most orders a second that a limit can speak of: each is remembered for a second.
const MAX_PER_SECOND: usize = 10_000;
const AGE_MIN: Duration = Duration::from_millis(100);
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The keys that everything together and an exchange have; an instrument has the first four.
const COMMON: [&str; 6] = [
    "max_order_notional",
    "max_price_distance_percent",
    "stale_tick_after",
    "max_open_orders",
    "max_orders_per_second",
    "max_gross_exposure",
];

/// Amounts of money by their currency, which cannot be added to each other. The currency of an
/// instrument is what its profit is counted in: the quote asset of a spot pair, what a derivative
/// settles in (`BTC` for `deribit:BTC-PERPETUAL`).
pub type Amounts = BTreeMap<String, Decimal>;

/// The limits that every new order must keep; an order that would break one is refused before
/// anything of it is stored or sent. Whatever is absent is not limited, which is the default of all.
///
/// Limits of a single order (`max_order_notional`, `max_price_distance_percent`,
/// `stale_tick_after`) hold for each order, and are replaced for an exchange or an instrument by a
/// value given there. Limits of a sum (`max_open_orders`, `max_orders_per_second`,
/// `max_gross_exposure`) hold for each of the scopes that they are given for: everything together,
/// an exchange, an instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskConfig {
    /// Most that one order may be worth, by currency: quantity times the last price or its own
    /// price, whichever makes more. Above zero. Needs a fresh tick.
    pub max_order_notional: Amounts,
    /// Farthest that a limit price may be from the last price, in percent of it, on either side. Above
    /// zero, at most 1000. Needs a fresh tick. Low values refuse orders that are to rest far away.
    pub max_price_distance_percent: Option<Decimal>,
    /// A last tick older than this is no price: orders are refused whose limits need one. Default
    /// 10 s, from 100 ms to 24 h. Long values trust prices of a market that may have moved; short
    /// ones refuse orders of instruments that seldom tick.
    pub stale_tick_after: Duration,
    /// Most orders that have not ended, on all exchanges together; 1 to 1,000,000.
    pub max_open_orders: Option<usize>,
    /// Most new orders within any second, on all exchanges together; 1 to 10,000. Other than an
    /// exchange's rate limit it does not delay an order: one too many is refused.
    pub max_orders_per_second: Option<usize>,
    /// Most that all positions and open orders may be worth, by currency, without regard to their
    /// sign: of each instrument the larger of what it comes to if all its buys fill, and if all its
    /// sells do, at the last price. Above zero. Needs a fresh tick.
    pub max_gross_exposure: Amounts,
    /// Most that may be lost in a day (UTC), by currency: profit of closed positions less fees, and
    /// what open positions have gained since the day began. Above zero. When it is lost, the kill
    /// switch trips: every open order is cancelled, and no new one is taken until a person resets it.
    pub max_daily_loss: Amounts,
    /// Of single exchanges, `[risk.exchanges.NAME]`.
    pub exchanges: BTreeMap<ExchangeName, ExchangeRisk>,
    /// Of single instruments, `[risk.instruments."EXCHANGE:BASE-QUOTE"]`.
    pub instruments: BTreeMap<Instrument, InstrumentRisk>,
}

impl Default for RiskConfig {
    fn default() -> Self {
        Self {
            max_order_notional: Amounts::new(),
            max_price_distance_percent: None,
            stale_tick_after: Duration::from_secs(10),
            max_open_orders: None,
            max_orders_per_second: None,
            max_gross_exposure: Amounts::new(),
            max_daily_loss: Amounts::new(),
            exchanges: BTreeMap::new(),
            instruments: BTreeMap::new(),
        }
    }
}

/// Limits of one exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExchangeRisk {
    /// In place of [`RiskConfig::max_order_notional`], for the currencies that it names.
    pub max_order_notional: Amounts,
    /// In place of [`RiskConfig::max_price_distance_percent`].
    pub max_price_distance_percent: Option<Decimal>,
    /// In place of [`RiskConfig::stale_tick_after`].
    pub stale_tick_after: Option<Duration>,
    /// Most orders that have not ended on this exchange.
    pub max_open_orders: Option<usize>,
    /// Most new orders within any second on this exchange.
    pub max_orders_per_second: Option<usize>,
    /// Most that positions and open orders on this exchange may be worth, by currency.
    pub max_gross_exposure: Amounts,
}

/// Limits of one instrument. Its money is in the instrument's own currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstrumentRisk {
    /// Largest quantity of one order, in the unit that its quantities have (of an inverse perpetual
    /// US dollars). Above zero.
    pub max_order_quantity: Option<Decimal>,
    /// In place of the exchange's or the common one.
    pub max_order_notional: Option<Decimal>,
    /// Largest quantity that may be held, bought or sold, if every open order of that side fills.
    /// Zero or more: at zero only what reduces a position is let in.
    pub max_position: Option<Decimal>,
    /// In place of the exchange's or the common one.
    pub max_price_distance_percent: Option<Decimal>,
    /// In place of the exchange's or the common one.
    pub stale_tick_after: Option<Duration>,
    /// Most orders of this instrument that have not ended.
    pub max_open_orders: Option<usize>,
}

impl RiskConfig {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        let unlimited = Self { stale_tick_after: self.stale_tick_after, ..Self::default() };
        *self == unlimited
    }

    /// What changes from these limits to others, as key, old and new value in words; absent values
    /// are `no limit`.
    pub fn changes(&self, to: &Self) -> Vec<LimitChange> {
        let (old, new) = (self.values(), to.values());
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let value = |of: &BTreeMap<String, String>, key: &str| {
            of.get(key).cloned().unwrap_or_else(|| "no limit".to_owned())
        };
        keys.into_iter()
            .map(|key| LimitChange {
                key: key.clone(),
                old: value(&old, key),
                new: value(&new, key),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }

    /// Every limit that is set, by its key.
    fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        let mut own = Values { path: "risk".to_owned(), values: &mut values };
        own.amounts("max_order_notional", &self.max_order_notional);
        own.value("max_price_distance_percent", self.max_price_distance_percent);
        own.value("stale_tick_after", Some(format_duration(self.stale_tick_after)));
        own.value("max_open_orders", self.max_open_orders);
        own.value("max_orders_per_second", self.max_orders_per_second);
        own.amounts("max_gross_exposure", &self.max_gross_exposure);
        own.amounts("max_daily_loss", &self.max_daily_loss);
        for (name, risk) in &self.exchanges {
            let mut own = Values { path: format!("risk.exchanges.{name}"), values: &mut values };
            own.amounts("max_order_notional", &risk.max_order_notional);
            own.value("max_price_distance_percent", risk.max_price_distance_percent);
            own.value("stale_tick_after", risk.stale_tick_after.map(format_duration));
            own.value("max_open_orders", risk.max_open_orders);
            own.value("max_orders_per_second", risk.max_orders_per_second);
            own.amounts("max_gross_exposure", &risk.max_gross_exposure);
        }
        for (name, risk) in &self.instruments {
            let mut own =
                Values { path: format!("risk.instruments.\"{name}\""), values: &mut values };
            own.value("max_order_quantity", risk.max_order_quantity);
            own.value("max_order_notional", risk.max_order_notional);
            own.value("max_position", risk.max_position);
            own.value("max_price_distance_percent", risk.max_price_distance_percent);
            own.value("stale_tick_after", risk.stale_tick_after.map(format_duration));
            own.value("max_open_orders", risk.max_open_orders);
        }
        values
    }

    // ---- reading --------------------------------------------------------------------------

    pub(super) fn read<'t>(&mut self, reader: &mut Reader<'t>, root: &mut Section<'t>) {
        let mut s = reader.section(root, "risk");
        let s = &mut s;
        self.max_order_notional = amounts(reader, s, "max_order_notional");
        self.max_price_distance_percent = reader.decimal(s, "max_price_distance_percent");
        if let Some(age) = reader.duration(s, "stale_tick_after") {
            self.stale_tick_after = age;
        }
        self.max_open_orders = reader.count(s, "max_open_orders");
        self.max_orders_per_second = reader.count(s, "max_orders_per_second");
        self.max_gross_exposure = amounts(reader, s, "max_gross_exposure");
        self.max_daily_loss = amounts(reader, s, "max_daily_loss");
        let exchanges = reader.section(s, "exchanges");
        for (name, offset, mut section) in reader.tables(&exchanges) {
            let risk = ExchangeRisk::read(reader, &mut section);
            match ExchangeName::new(name) {
                Ok(name) => _ = self.exchanges.insert(name, risk),
                Err(error) => {
                    reader.fault_at(offset, Fault::new(section.path, error.to_string()));
                }
            }
        }
        let instruments = reader.section(s, "instruments");
        for (name, offset, mut section) in reader.tables(&instruments) {
            let risk = InstrumentRisk::read(reader, &mut section);
            match name.parse::<Instrument>() {
                Ok(name) => _ = self.instruments.insert(name, risk),
                Err(error) => {
                    let help = "write it like [risk.instruments.\"binance:BTC-USDT\"]";
                    let fault = Fault::new(section.path, error.to_string());
                    reader.fault_at(offset, fault.help(help));
                }
            }
        }
        reader.close(s);
    }

    // ---- checks ---------------------------------------------------------------------------

    /// What is wrong with the limits, for the exchanges of a configuration.
    pub(super) fn faults(&self, config: &Config) -> Vec<Fault> {
        let mut check = Check { currencies: currencies(config), faults: Vec::new() };
        check.amounts("risk.max_order_notional", &self.max_order_notional);
        check.percent("risk.max_price_distance_percent", self.max_price_distance_percent);
        check.age("risk.stale_tick_after", Some(self.stale_tick_after));
        check.count("risk.max_open_orders", self.max_open_orders, MAX_ORDERS);
        check.count("risk.max_orders_per_second", self.max_orders_per_second, MAX_PER_SECOND);
        check.amounts("risk.max_gross_exposure", &self.max_gross_exposure);
        check.amounts("risk.max_daily_loss", &self.max_daily_loss);
        for (name, risk) in &self.exchanges {
            let path = format!("risk.exchanges.{name}");
            if !config.exchanges.iter().any(|exchange| exchange.name == *name) {
                check.fault(&path, "no exchange of this name is configured", "remove it");
                continue;
            }
            let key = |limit: &str| format!("{path}.{limit}");
            check.amounts(&key("max_order_notional"), &risk.max_order_notional);
            check.percent(&key("max_price_distance_percent"), risk.max_price_distance_percent);
            check.age(&key("stale_tick_after"), risk.stale_tick_after);
            check.count(&key("max_open_orders"), risk.max_open_orders, MAX_ORDERS);
            check.count(&key("max_orders_per_second"), risk.max_orders_per_second, MAX_PER_SECOND);
            check.amounts(&key("max_gross_exposure"), &risk.max_gross_exposure);
        }
        for (name, risk) in &self.instruments {
            let path = format!("risk.instruments.{name}");
            if !config.exchanges.iter().any(|exchange| exchange.instruments.contains(name)) {
                let help = format!("add it to exchanges.{}.instruments", name.exchange());
                check.fault(&path, "this instrument is not configured", &help);
                continue;
            }
            let key = |limit: &str| format!("{path}.{limit}");
            check.above_zero(&key("max_order_quantity"), risk.max_order_quantity);
            check.above_zero(&key("max_order_notional"), risk.max_order_notional);
            if risk.max_position.is_some_and(|most| most < Decimal::ZERO) {
                check.fault(&key("max_position"), "it is below zero", "use 0 or more");
            }
            check.percent(&key("max_price_distance_percent"), risk.max_price_distance_percent);
            check.age(&key("stale_tick_after"), risk.stale_tick_after);
            check.count(&key("max_open_orders"), risk.max_open_orders, MAX_ORDERS);
        }
        check.faults
    }

    // ---- output ---------------------------------------------------------------------------

    pub(super) fn effective(&self, text: &mut String) {
        let mut of = |path: &str, keys: &[&str]| {
            _ = writeln!(text, "\n[{path}]");
            let values = self.values();
            for key in keys {
                let whole = format!("{path}.{key}");
                let amounts: Vec<_> = values
                    .iter()
                    .filter_map(|(name, value)| {
                        let currency = name.strip_prefix(&whole)?.strip_prefix('.')?;
                        Some(format!("{} = \"{value}\"", quote(currency)))
                    })
                    .collect();
                match values.get(&whole) {
                    Some(value) if value.parse::<usize>().is_ok() && is_count(key) => {
                        _ = writeln!(text, "{key} = {value}");
                    }
                    Some(value) => _ = writeln!(text, "{key} = \"{value}\""),
                    None if !amounts.is_empty() => {
                        _ = writeln!(text, "{key} = {{ {} }}", amounts.join(", "));
                    }
                    None if path == "risk" => _ = writeln!(text, "# {key}: no limit"),
                    None => {}
                }
            }
        };
        let mut own = COMMON.to_vec();
        own.push("max_daily_loss");
        of("risk", &own);
        for name in self.exchanges.keys() {
            of(&format!("risk.exchanges.{name}"), &COMMON);
        }
        for name in self.instruments.keys() {
            let mut keys = COMMON[..4].to_vec();
            keys.extend(["max_order_quantity", "max_position"]);
            of(&format!("risk.instruments.\"{name}\""), &keys);
        }
    }
}

/// A limit that is another one now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitChange {
    /// Its key in the configuration.
    pub key: String,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
}

impl ExchangeRisk {
    fn read<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>) -> Self {
        let risk = Self {
            max_order_notional: amounts(reader, s, "max_order_notional"),
            max_price_distance_percent: reader.decimal(s, "max_price_distance_percent"),
            stale_tick_after: reader.duration(s, "stale_tick_after"),
            max_open_orders: reader.count(s, "max_open_orders"),
            max_orders_per_second: reader.count(s, "max_orders_per_second"),
            max_gross_exposure: amounts(reader, s, "max_gross_exposure"),
        };
        reader.close(s);
        risk
    }
}

impl InstrumentRisk {
    fn read<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>) -> Self {
        let risk = Self {
            max_order_quantity: reader.decimal(s, "max_order_quantity"),
            max_order_notional: reader.decimal(s, "max_order_notional"),
            max_position: reader.decimal(s, "max_position"),
            max_price_distance_percent: reader.decimal(s, "max_price_distance_percent"),
            stale_tick_after: reader.duration(s, "stale_tick_after"),
            max_open_orders: reader.count(s, "max_open_orders"),
        };
        reader.close(s);
        risk
    }
}

fn amounts<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>, name: &'static str) -> Amounts {
    reader.decimals(s, name, "write it like { USDT = \"500\" }").into_iter().collect()
}

/// What the instruments of a configuration may be counted in: which of them it is, an exchange's list
/// of instruments tells.
fn currencies(config: &Config) -> BTreeSet<&'static str> {
    let instruments = config.exchanges.iter().flat_map(|exchange| &exchange.instruments);
    instruments
        .flat_map(|instrument| {
            let parts = instrument.base().split('_').chain([instrument.base()]);
            parts.chain([instrument.quote()]).collect::<Vec<_>>()
        })
        .collect()
}

fn is_count(key: &str) -> bool {
    matches!(key, "max_open_orders" | "max_orders_per_second")
}

fn quote(name: &str) -> String {
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

struct Values<'v> {
    path: String,
    values: &'v mut BTreeMap<String, String>,
}

impl Values<'_> {
    fn value(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.values.insert(format!("{}.{name}", self.path), value.to_string());
        }
    }

    fn amounts(&mut self, name: &str, amounts: &Amounts) {
        for (currency, amount) in amounts {
            self.value(&format!("{name}.{currency}"), Some(amount));
        }
    }
}

struct Check {
    currencies: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

impl Check {
    fn fault(&mut self, key: &str, problem: &str, help: &str) {
        self.faults.push(Fault::new(key, problem).help(help));
    }

    fn above_zero(&mut self, key: &str, value: Option<Decimal>) {
        if value.is_some_and(|value| value <= Decimal::ZERO) {
            self.fault(key, "it is not above zero", "remove it for no limit");
        }
    }

    /// A limit in a currency that nothing is counted in would limit nothing.
    fn amounts(&mut self, key: &str, amounts: &Amounts) {
        for (currency, amount) in amounts {
            let key = format!("{key}.{currency}");
            self.above_zero(&key, Some(*amount));
            if !self.currencies.contains(currency.as_str()) && !self.currencies.is_empty() {
                let known = self.currencies.iter().copied().collect::<Vec<_>>().join(", ");
                let problem = format!("no instrument is counted in `{currency}`");
                self.fault(&key, &problem, &format!("the assets of the instruments are {known}"));
            }
        }
    }

    fn percent(&mut self, key: &str, value: Option<Decimal>) {
        let most = Decimal::ONE_THOUSAND;
        if value.is_some_and(|value| value <= Decimal::ZERO || value > most) {
            self.fault(key, "it is out of range", "use more than 0, up to 1000");
        }
    }

    fn age(&mut self, key: &str, value: Option<Duration>) {
        if value.is_some_and(|value| !(AGE_MIN..=AGE_MAX).contains(&value)) {
            self.fault(key, "it is out of range", "use 100ms to 24h");
        }
    }

    fn count(&mut self, key: &str, value: Option<usize>, most: usize) {
        if value.is_some_and(|value| !(1..=most).contains(&value)) {
            self.fault(key, "it is out of range", &format!("use 1 to {most}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGES: &str = "[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\ntrading = false\n\
                             [exchanges.binance]\ninstruments = [\"BTC-USDT\"]\ntrading = false\n";

    fn read(risk: &str) -> Result<RiskConfig, String> {
        let config = Config::from_toml(&format!("{risk}\n{EXCHANGES}"), "gateway.toml");
        config.map(|config| config.risk).map_err(|error| error.to_string())
    }

    fn amount(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn every_limit_is_read_exactly_and_what_is_absent_is_no_limit() {
        assert!(read("").unwrap().is_unlimited());
        let text = r#"
            [risk]
            max_order_notional = { USDT = "1000", USD = 0.10000000000000000001 }
            max_price_distance_percent = 2.5
            stale_tick_after = "3s"
            max_open_orders = 100
            max_orders_per_second = 20
            max_gross_exposure.USDT = 20_000
            max_daily_loss = { USDT = "500.5", USD = 5e2 }
            [risk.exchanges.kraken]
            max_open_orders = 7
            max_gross_exposure = { USD = "9" }
            [risk.instruments."binance:BTC-USDT"]
            max_order_quantity = "0.5"
            max_position = 1
            max_order_notional = "70000"
        "#;
        let risk = read(text).unwrap();
        assert_eq!(risk.max_order_notional["USD"], amount("0.10000000000000000001"));
        assert_eq!(risk.max_price_distance_percent, Some(amount("2.5")));
        assert_eq!(risk.stale_tick_after, Duration::from_secs(3));
        assert_eq!((risk.max_open_orders, risk.max_orders_per_second), (Some(100), Some(20)));
        assert_eq!(risk.max_gross_exposure["USDT"], amount("20000"));
        assert_eq!(risk.max_daily_loss["USDT"], amount("500.5"));
        assert_eq!(risk.max_daily_loss["USD"], amount("500"));
        let kraken = &risk.exchanges[&"kraken".parse().unwrap()];
        assert_eq!((kraken.max_open_orders, kraken.max_order_notional.len()), (Some(7), 0));
        let btc = &risk.instruments[&"binance:BTC-USDT".parse().unwrap()];
        assert_eq!(btc.max_order_quantity, Some(amount("0.5")));
        assert_eq!(btc.max_position, Some(amount("1")));
        assert!(!risk.is_unlimited());
    }

    #[test]
    fn what_is_shown_as_effective_reads_back_as_the_same() {
        let text = r#"
            [risk]
            max_order_notional = { USDT = "1000" }
            max_open_orders = 100
            max_daily_loss = { USDT = "500.5", USD = "1" }
            [risk.exchanges.kraken]
            max_orders_per_second = 3
            [risk.instruments."binance:BTC-USDT"]
            max_position = "1"
            stale_tick_after = "1m 30s"
        "#;
        let risk = read(text).unwrap();
        let mut shown = String::new();
        risk.effective(&mut shown);
        assert_eq!(read(&shown).unwrap(), risk, "{shown}");
        assert!(shown.contains("# max_gross_exposure: no limit"), "{shown}");
    }

    #[test]
    fn every_fault_of_a_limit_names_its_line_key_and_remedy() {
        let cases = [
            (
                "max_open_orders = 0",
                "3:19: risk.max_open_orders: it is out of range; use 1 to 1000000",
            ),
            ("max_orders_per_second = 20000", "risk.max_orders_per_second: it is out of range"),
            ("max_daily_loss = 5", "risk.max_daily_loss: expected a table, found a whole number"),
            (
                "max_daily_loss = { USDT = \"-1\" }",
                "risk.max_daily_loss.USDT: it is not above zero; remove it for no limit",
            ),
            (
                "max_daily_loss = { EUR = \"1\" }",
                "risk.max_daily_loss.EUR: no instrument is counted in `EUR`; the assets of the \
                 instruments are BTC, USD, USDT",
            ),
            (
                "max_daily_loss = { USDT = \"1.0.0\" }",
                "risk.max_daily_loss.USDT: `1.0.0` is no decimal number",
            ),
            (
                "max_daily_loss = { USDT = true }",
                "risk.max_daily_loss.USDT: expected a number, found true or false",
            ),
            (
                "max_daily_loss = { USDT = 0.12345678901234567890123456789 }",
                "risk.max_daily_loss.USDT: `0.12345678901234567890123456789` is no decimal number",
            ),
            ("max_price_distance_percent = inf", "`inf` is no decimal number"),
            ("max_price_distance_percent = 0", "use more than 0, up to 1000"),
            ("stale_tick_after = \"1ms\"", "risk.stale_tick_after: it is out of range"),
            ("max_order_quantity = 1", "risk.max_order_quantity: unknown key"),
            ("exchanges.binanc.max_open_orders = 1", "no exchange of this name is configured"),
            (
                "instruments.\"binance:ETH-USDT\".max_position = 1",
                "this instrument is not configured; add it to exchanges.binance.instruments",
            ),
            ("instruments.BTC-USDT.max_position = 1", "write it like [risk.instruments."),
            (
                "instruments.\"binance:BTC-USDT\".max_position = -1",
                "max_position: it is below zero; use 0 or more",
            ),
        ];
        for (text, expected) in cases {
            let found = read(&format!("\n[risk]\n{text}")).unwrap_err();
            assert_eq!(found.lines().count(), 1, "{text}: {found}");
            assert!(found.contains(expected), "{text}: {found}");
            assert!(found.starts_with("gateway.toml:3:"), "{text}: {found}");
        }
    }

    #[test]
    fn a_change_is_told_with_the_old_and_the_new_value() {
        let old = read("[risk]\nmax_open_orders = 5\nmax_daily_loss = { USDT = \"1\" }").unwrap();
        let new = read("[risk]\nmax_open_orders = 6\nmax_daily_loss = { USD = \"1\" }").unwrap();
        let changes = old.changes(&new);
        let told: Vec<_> =
            changes.iter().map(|c| format!("{}: {} -> {}", c.key, c.old, c.new)).collect();
        assert_eq!(
            told,
            [
                "risk.max_daily_loss.USD: no limit -> 1",
                "risk.max_daily_loss.USDT: 1 -> no limit",
                "risk.max_open_orders: 5 -> 6",
            ]
        );
        assert!(old.changes(&old).is_empty());
    }
}
