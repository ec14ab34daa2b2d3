//! A TOML file as a configuration.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::closing;
use super::hooks;
use super::reader::{Environment, Reader, Section, nearest, shorten};
use super::{
    Config, ConfigError, ConnectionConfig, ExchangeConfig, Fault, OnRestart, PositionsConfig,
};
use crate::exchange::{AdapterKind, Credentials, DeadMansSwitch, Secret};
use crate::state::Durability;
use crate::types::{ExchangeName, Instrument};

const INSTRUMENTS_HELP: &str = "write pairs like [\"BTC-USDT\", \"ETH-USDT\"]";

impl Config {
    /// Reads and checks a file. Secrets are read from the environment variables and files that it
    /// names.
    ///
    /// # Errors
    ///
    /// Every fault of the file together; one fault if it cannot be read at all.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, &origin),
            Err(error) => {
                let mut fault = Fault::new("", format!("cannot be read: {error}"));
                fault.file = origin;
                Err(ConfigError { faults: vec![fault.help("check the path and its permissions")] })
            }
        }
    }

    /// Reads and checks a text; `origin` is what faults name as the file. Secrets are read from
    /// the environment variables and files that it names.
    ///
    /// # Errors
    ///
    /// Every fault of the text together.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        read(text, origin, &|name| std::env::var(name).ok())
    }
}

pub(super) fn read(
    text: &str,
    origin: &str,
    environment: Environment<'_>,
) -> Result<Config, ConfigError> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(origin, text, environment);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        reader.fault_at(offset, Fault::new("", error.message().replace('\n', ", ")));
    }
    let config = config(&mut reader, document.get_ref());
    for fault in config.faults() {
        reader.fault_of_check(fault);
    }
    match reader.finish() {
        Some(error) => Err(error),
        None => Ok(config),
    }
}

/// Replaces the default where the file gives a readable value.
pub(super) fn set<T>(field: &mut T, read: Option<T>) {
    if let Some(value) = read {
        *field = value;
    }
}

fn config<'t>(reader: &mut Reader<'t>, table: &'t DeTable<'t>) -> Config {
    let mut config = Config::default();
    let mut root = Section::root(table);

    let mut s = reader.section(&mut root, "gateway");
    set(&mut config.gateway.state_dir, reader.path(&mut s, "state_dir"));
    let tag = reader.text(&mut s, "order_tag", "write 1 to 3 letters or digits in quotes");
    set(&mut config.gateway.order_tag, tag.map(|(text, _)| text.to_owned()));
    let durability = [("process", Durability::Process), ("power", Durability::Power)];
    set(&mut config.gateway.durability, reader.choice(&mut s, "durability", &durability));
    set(&mut config.gateway.save_every, reader.duration(&mut s, "save_every"));
    reader.close(&s);

    let mut s = reader.section(&mut root, "shutdown");
    let shutdown = &mut config.shutdown;
    set(&mut shutdown.deadline, reader.duration(&mut s, "deadline"));
    set(&mut shutdown.stop_new_orders, reader.duration(&mut s, "stop_new_orders"));
    set(&mut shutdown.cancel_pending, reader.duration(&mut s, "cancel_pending"));
    set(&mut shutdown.close_positions, reader.duration(&mut s, "close_positions"));
    set(&mut shutdown.save_state, reader.duration(&mut s, "save_state"));
    set(&mut shutdown.disconnect, reader.duration(&mut s, "disconnect"));
    set(&mut shutdown.cancel_retry, reader.duration(&mut s, "cancel_retry"));
    set(&mut shutdown.force_debounce, reader.duration(&mut s, "force_debounce"));
    shutdown.hooks = hooks::read(reader, &mut s);
    reader.close(&s);

    let mut s = reader.section(&mut root, "connection");
    connection(reader, &mut s, &mut config.connection);
    reader.close(&s);

    let mut s = reader.section(&mut root, "orders");
    let orders = &mut config.orders;
    set(&mut orders.ack_timeout, reader.duration(&mut s, "ack_timeout"));
    set(&mut orders.query_retry, reader.duration(&mut s, "query_retry"));
    set(&mut orders.queue, reader.count(&mut s, "queue"));
    let percent = reader.count(&mut s, "cancel_reserve_percent");
    let percent = percent.map(|percent| u32::try_from(percent).unwrap_or(u32::MAX));
    set(&mut orders.cancel_reserve_percent, percent);
    set(&mut orders.updates_backlog, reader.count(&mut s, "updates_backlog"));
    set(&mut orders.closed_kept, reader.count(&mut s, "closed_kept"));
    let on_restart = [OnRestart::Cancel, OnRestart::Adopt].map(|choice| (choice.as_str(), choice));
    set(&mut orders.on_restart, reader.choice(&mut s, "on_restart", &on_restart));
    reader.close(&s);

    super::alerts::read(reader, &mut root, &mut config.alerts);
    config.risk.read(reader, &mut root);
    config.log.read(reader, &mut root);
    let mut s = reader.section(&mut root, "positions");
    closing::read(reader, &mut s, &mut config.positions);
    reader.close(&s);

    let exchanges = reader.section(&mut root, "exchanges");
    for (name, offset, mut section) in reader.tables(&exchanges) {
        let base = (config.connection.clone(), &config.positions);
        if let Some(exchange) = exchange(reader, name, offset, &mut section, base) {
            config.exchanges.push(exchange);
        }
    }
    reader.close(&root);
    config
}

fn connection<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>, into: &mut ConnectionConfig) {
    set(&mut into.connect_timeout, reader.duration(s, "connect_timeout"));
    set(&mut into.ready_timeout, reader.duration(s, "ready_timeout"));
    set(&mut into.close_timeout, reader.duration(s, "close_timeout"));
    set(&mut into.max_message_bytes, reader.count(s, "max_message_bytes"));
    set(&mut into.backoff_min, reader.duration(s, "backoff_min"));
    set(&mut into.backoff_max, reader.duration(s, "backoff_max"));
    set(&mut into.stable_after, reader.duration(s, "stable_after"));
    set(&mut into.http_fallback_after, reader.duration(s, "http_fallback_after"));
    set(&mut into.feed_silence, reader.duration(s, "feed_silence"));
    into.probe_after = reader.duration(s, "probe_after").or(into.probe_after);
    into.dead_after = reader.duration(s, "dead_after").or(into.dead_after);
}

/// Reads one exchange; none where it can have no name, but its faults are collected all the same.
fn exchange<'t>(
    reader: &mut Reader<'t>,
    name: &str,
    offset: usize,
    s: &mut Section<'t>,
    (base, positions): (ConnectionConfig, &PositionsConfig),
) -> Option<ExchangeConfig> {
    let adapter = adapter(reader, name, offset, s);
    let valid_name = match ExchangeName::new(name) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.fault_at(offset, Fault::new(s.path.clone(), error.to_string()));
            None
        }
    };
    // The rest is read under a stand-in where name or adapter are wrong, for the sake of its faults.
    let shown = adapter.unwrap_or(AdapterKind::ALL[0]);
    let mut exchange = valid_name
        .map_or_else(|| ExchangeConfig::new(shown), |name| ExchangeConfig::named(name, shown));
    exchange.market_url = reader.url(s, "market_url");
    exchange.trading_url = reader.url(s, "trading_url");
    exchange.http_url = reader.url(s, "http_url");
    set(&mut exchange.allow_insecure, reader.flag(s, "allow_insecure"));
    set(&mut exchange.trading, reader.flag(s, "trading"));
    set(&mut exchange.rate_limits, reader.flag(s, "rate_limits"));
    switch(reader, s, &mut exchange);
    exchange.credentials = match credentials(reader, s) {
        Keys::Given(credentials) => Some(credentials),
        Keys::Absent if exchange.trading => {
            let help =
                "set api_key_env and api_secret_env, or trading = false for market data alone";
            let fault = Fault::new(s.path.clone(), "orders need an API key").help(help);
            reader.fault_at(offset, fault);
            None
        }
        Keys::Absent | Keys::Faulty => None,
    };
    exchange.ca_file = readable(reader, s, "ca_file");
    let listed = instruments(reader, s, exchange.name);
    let mut section = reader.section(s, "connection");
    exchange.connection = base;
    connection(reader, &mut section, &mut exchange.connection);
    reader.close(&section);
    exchange.instruments = listed.unwrap_or_default();
    closing::read_exchange(reader, s, positions, &mut exchange);
    reader.close(s);
    valid_name.is_some().then_some(exchange)
}

/// A file that must be there.
pub(super) fn readable<'t>(
    reader: &mut Reader<'t>,
    s: &mut Section<'t>,
    name: &'static str,
) -> Option<PathBuf> {
    let file = reader.path(s, name)?;
    if let Err(error) = std::fs::File::open(&file) {
        let problem = format!("{} cannot be read: {error}", file.display());
        reader.fault_of_key(Fault::new(s.key(name), problem));
    }
    Some(file)
}

/// The dead-man's switch: a key that the exchange has no use for is a fault, not a silence.
fn switch<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>, exchange: &mut ExchangeConfig) {
    set(&mut exchange.account_is_ours, reader.flag(s, "account_is_ours"));
    exchange.dead_mans_switch = reader.duration(s, "dead_mans_switch");
    let cancels = reader.flag(s, "cancel_on_disconnect");
    let kind = exchange.adapter.dead_mans_switch();
    if cancels.is_some() && !matches!(kind, DeadMansSwitch::ConnectionDrop { .. }) {
        let adapter = exchange.adapter.as_str();
        let problem = format!("{adapter} does not cancel at the end of a connection");
        let help = match kind {
            DeadMansSwitch::Timer { .. } => "remove it; dead_mans_switch sets its timer",
            _ => "remove it; the exchange has no dead-man's switch",
        };
        let fault = Fault::new(s.key("cancel_on_disconnect"), problem);
        reader.fault_of_key(fault.help(help));
    }
    set(&mut exchange.cancel_on_disconnect, cancels);
}

fn adapter<'t>(
    reader: &mut Reader<'t>,
    name: &str,
    offset: usize,
    s: &mut Section<'t>,
) -> Option<AdapterKind> {
    let known = || AdapterKind::ALL.iter().map(|kind| kind.as_str());
    let list = known().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
    if s.get("adapter").is_none() {
        let adapter = AdapterKind::from_name(name);
        if adapter.is_none() {
            let help = match nearest(name, known()) {
                Some(nearest) => {
                    format!("did you mean `{nearest}`? Otherwise set adapter = {list}")
                }
                None => format!("set adapter = {list}"),
            };
            let problem = "there is no adapter of this name";
            reader.fault_at(offset, Fault::new(s.path.clone(), problem).help(help));
        }
        return adapter;
    }
    let (text, _) = reader.text(s, "adapter", "write the adapter's name in quotes")?;
    let adapter = AdapterKind::from_name(text);
    if adapter.is_none() {
        let problem = format!("there is no adapter `{}`", shorten(text));
        reader.fault_of_key(Fault::new(s.key("adapter"), problem).help(format!("use {list}")));
    }
    adapter
}

/// The instruments that can be read; none where one of them cannot, so that the checks of the
/// whole neither count nor number them wrongly.
fn instruments<'t>(
    reader: &mut Reader<'t>,
    s: &mut Section<'t>,
    exchange: ExchangeName,
) -> Option<Vec<Instrument>> {
    if s.get("instruments").is_none() {
        return Some(Vec::new());
    }
    let texts = reader.texts(s, "instruments", INSTRUMENTS_HELP)?;
    let mut instruments = Vec::with_capacity(texts.len());
    let mut sound = true;
    for (key, offset, text) in texts {
        let prefix = format!("{exchange}:");
        match exchange.instrument(text.strip_prefix(&prefix).unwrap_or(text)) {
            Ok(instrument) if instruments.contains(&instrument) => {
                sound = false;
                let fault = Fault::new(key, format!("{} is there twice", instrument.pair()));
                reader.fault_at(offset, fault.help("remove one"));
            }
            Ok(instrument) => instruments.push(instrument),
            Err(_) => {
                sound = false;
                let upper = text.to_ascii_uppercase().replace('/', "-");
                let help = match exchange.instrument(&upper) {
                    Ok(meant) => format!("did you mean \"{}\"?", meant.pair()),
                    Err(_) => INSTRUMENTS_HELP.to_owned(),
                };
                let problem = format!("`{}` is no pair", shorten(text));
                reader.fault_at(offset, Fault::new(key, problem).help(help));
            }
        }
    }
    sound.then_some(instruments)
}

enum Keys {
    Absent,
    Faulty,
    Given(Credentials),
}

fn credentials<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>) -> Keys {
    let key = secret(reader, s, ["api_key", "api_key_env", "api_key_file"]);
    let secret = secret(reader, s, ["api_secret", "api_secret_env", "api_secret_file"]);
    let (problem, help) = match (key, secret) {
        (Given::Value(api_key), Given::Value(api_secret)) => {
            return Keys::Given(Credentials { api_key, api_secret });
        }
        (Given::Nothing, Given::Nothing) => return Keys::Absent,
        (Given::Nothing, _) => {
            ("an API secret is given without an API key", "set api_key_env or api_key_file")
        }
        (_, Given::Nothing) => {
            ("an API key is given without an API secret", "set api_secret_env or api_secret_file")
        }
        _ => return Keys::Faulty,
    };
    reader.fault_of_key(Fault::new(s.path.clone(), problem).help(help));
    Keys::Faulty
}

pub(super) enum Given {
    Nothing,
    Faulty,
    Value(Secret),
}

/// Reads one secret from the environment variable or the file that is named, and refuses one that
/// stands in the file itself.
pub(super) fn secret<'t>(
    reader: &mut Reader<'t>,
    s: &mut Section<'t>,
    [inline, by_env, by_file]: [&'static str; 3],
) -> Given {
    let inline_given = s.get(inline).is_some();
    if inline_given {
        let _ = reader.text(s, inline, "");
        let help = format!(
            "remove it, make a new key if the file was shared, and name a variable with {by_env} \
             or a file with {by_file}"
        );
        let problem = "a secret must not stand in the configuration";
        reader.fault_of_key(Fault::new(s.key(inline), problem).help(help));
    }
    let named = named_secret(reader, s, by_env, by_file);
    if inline_given { Given::Faulty } else { named }
}

/// Reads one secret from the environment variable or the file that is named.
pub(super) fn named_secret<'t>(
    reader: &mut Reader<'t>,
    s: &mut Section<'t>,
    by_env: &'static str,
    by_file: &'static str,
) -> Given {
    let variable = reader.text(s, by_env, "name an environment variable in quotes");
    let file = reader.path(s, by_file);
    let (key, found) = match (variable, file) {
        (None, None) => return Given::Nothing,
        (Some(_), Some(_)) => {
            let problem = format!("both {by_env} and {by_file} are given");
            reader.fault_of_key(Fault::new(s.key(by_file), problem).help("remove one"));
            return Given::Faulty;
        }
        (Some((name, _)), None) => {
            let found = (reader.environment)(name);
            let missing = || format!("the environment variable {} is not set", shorten(name));
            (s.key(by_env), found.ok_or_else(missing))
        }
        (None, Some(path)) => {
            let read = std::fs::read_to_string(&path);
            (
                s.key(by_file),
                read.map_err(|error| format!("{} cannot be read: {error}", path.display())),
            )
        }
    };
    match found.map(|text| text.trim().to_owned()) {
        Ok(text) if text.is_empty() => {
            reader.fault_of_key(Fault::new(key, "the secret is empty"));
            Given::Faulty
        }
        Ok(text) => Given::Value(Secret::new(text)),
        Err(problem) => {
            reader.fault_of_key(Fault::new(key, problem));
            Given::Faulty
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("the-key".into()),
            "SECRET" => Some("hush\n".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn faults(text: &str) -> Vec<String> {
        read(text, "gateway.toml", &environment)
            .err()
            .map(|error| error.to_string().lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    const KRAKEN: &str = "[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\n";
    const FEED_ONLY: &str = "[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\ntrading = false\n";

    #[test]
    fn a_file_overrides_defaults_and_an_exchange_overrides_the_common_connection() {
        let text = r#"
            gateway.order_tag = "ab"
            shutdown.deadline = "1m 30s"
            connection.close_timeout = "2s"
            connection.probe_after = "7s"
            [exchanges.kraken]
            instruments = ["BTC-USD", "kraken:ETH-USD"]
            api_key_env = "KEY"
            api_secret_env = "SECRET"
            [exchanges.kraken.connection]
            backoff_min = "1s"
            [exchanges.paper]
            adapter = "binance"
            trading = false
            market_url = "ws://127.0.0.1:9001/stream"
            instruments = ["BTC-USDT"]
        "#;
        let config = read(text, "gateway.toml", &environment).unwrap();
        assert_eq!(config.gateway.order_tag, "ab");
        assert_eq!(config.shutdown.deadline, Duration::from_secs(90));
        assert_eq!(config.shutdown.save_state, Duration::from_secs(3));
        let [kraken, paper] = config.exchanges.as_slice() else { panic!("{config:?}") };
        assert_eq!(kraken.instruments[1].as_str(), "kraken:ETH-USD");
        assert_eq!(kraken.connection.close_timeout, Duration::from_secs(2));
        assert_eq!(kraken.connection.backoff_min, Duration::from_secs(1));
        assert_eq!(kraken.connection.probe_after, Some(Duration::from_secs(7)));
        let credentials = kraken.credentials.as_ref().unwrap();
        assert_eq!(credentials.api_key.expose(), "the-key");
        assert_eq!(credentials.api_secret.expose(), "hush");
        assert_eq!(paper.adapter, AdapterKind::Binance);
        assert_eq!(paper.connection.backoff_min, Duration::from_millis(250));
        assert!(!paper.trading && paper.credentials.is_none());
    }

    #[test]
    fn every_kind_of_fault_names_its_line_key_and_remedy() {
        let cases = [
            (
                "[shutdown]\n  deadlne = \"5s\"",
                ":2:3: shutdown.deadlne: unknown key; did you mean `deadline`?",
            ),
            ("shutdwon.deadline = \"5s\"", ":1:1: shutdwon: unknown key; did you mean `shutdown`?"),
            (
                "[shutdown]\ndeadline = 5",
                ":2:12: shutdown.deadline: expected text, found a whole number",
            ),
            ("[shutdown]\ndeadline = \"5\"", ":2:12: shutdown.deadline: `5` is no duration"),
            (
                "[shutdown]\ndeadline = \"2h\"",
                ":2:12: shutdown.deadline: 2h is out of range; use 100ms to 1h",
            ),
            (
                "[shutdown]\ndeadline = \"8s\"",
                ":2:12: shutdown.deadline: 8s leaves no time to cancel orders",
            ),
            ("[gateway]\norder_tag = \"GW\"", ":2:13: gateway.order_tag: `GW` is no order tag"),
            ("[orders]\nqueue = 0", ":2:9: orders.queue: 0 is out of range; use 1 to 65536"),
            ("[orders]\nqueue = -1", ":2:9: orders.queue: the number is out of range"),
            (
                "[connection]\nbackoff_min = \"31s\"",
                ":2:15: connection.backoff_min: it is above backoff_max",
            ),
            ("gateway = 1", ":1:11: gateway: expected a table, found a whole number"),
            ("[gateway]\nstate_dir = ", ":2:13: "),
            ("[gateway]\n[gateway]", ":2:2: duplicate key"),
        ];
        for (text, expected) in cases {
            let found = faults(&format!("{text}\n{FEED_ONLY}"));
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
            assert!(found[0].starts_with(&format!("gateway.toml{expected}")), "{text}: {found:#?}");
        }
    }

    #[test]
    fn every_kind_of_exchange_fault_names_its_line_key_and_remedy() {
        let cases = [
            (
                "market_url = \"ws://example.com/\"",
                "market_url: ws:// to another machine is not encrypted; use wss://, or set allow_insecure",
            ),
            (
                "market_url = \"https://example.com/\"",
                "market_url: `https` is the wrong scheme; use wss://",
            ),
            ("market_url = \"example\"", "market_url: no address"),
            (
                "trading_url = \"wss://me:pw@example.com/\"",
                "trading_url: it holds a user name or password",
            ),
            ("http_url = \"https://example.com/api\"", "http_url: it has a path"),
            (
                "api_key = \"abc\"",
                "api_key: a secret must not stand in the configuration; remove it",
            ),
            (
                "api_key_env = \"KEY\"",
                ": an API key is given without an API secret; set api_secret_env",
            ),
            (
                "api_key_env = \"KEY\"\napi_secret_env = \"NOPE\"",
                "api_secret_env: the environment variable NOPE is not set",
            ),
            (
                "api_key_env = \"KEY\"\napi_secret_env = \"EMPTY\"",
                "api_secret_env: the secret is empty",
            ),
            (
                "api_key_env = \"KEY\"\napi_secret_file = \"/no/such\"",
                "api_secret_file: /no/such cannot be read: ",
            ),
            ("colour = 1", "api_secret_file, ca_file, instruments, connection"),
            ("ca_file = \"/no/such\"", "ca_file: /no/such cannot be read: "),
            (
                "adapter = \"krakn\"",
                "adapter: there is no adapter `krakn`; use \"binance\" or \"deribit\" or \"kraken\"",
            ),
            ("connection.backoff_max = \"2h\"", "connection.backoff_max: 2h is out of range"),
            ("trading = \"yes\"", "trading: expected true or false, found text"),
            (
                "dead_mans_switch = \"60s\"",
                "dead_mans_switch: the switch of kraken cancels every order of the account, whoever \
                 placed it; set account_is_ours = true if nothing else trades on it; otherwise",
            ),
            (
                "account_is_ours = true\ndead_mans_switch = \"24h\"",
                "dead_mans_switch: 24h is out of range; use 1s to 23h 59m 59s",
            ),
            (
                "account_is_ours = true\ndead_mans_switch = \"2s 500ms\"",
                "dead_mans_switch: 2s 500ms is no multiple of 1s",
            ),
            (
                "adapter = \"deribit\"\ndead_mans_switch = \"60s\"",
                "dead_mans_switch: the dead-man's switch of deribit has no timer; remove it; \
                 cancel_on_disconnect",
            ),
            (
                "adapter = \"binance\"\ndead_mans_switch = \"60s\"",
                "dead_mans_switch: binance has no dead-man's switch; remove it; its orders stay open",
            ),
            (
                "cancel_on_disconnect = true",
                "cancel_on_disconnect: kraken does not cancel at the end of a connection; remove it; \
                 dead_mans_switch",
            ),
        ];
        for (text, expected) in cases {
            let found = faults(&format!("{KRAKEN}{text}\n"));
            let relevant: Vec<_> = found.iter().filter(|fault| fault.contains(expected)).collect();
            assert_eq!(relevant.len(), 1, "{text}: {found:#?}");
            let place = if expected.starts_with(": ") { ":1:1: " } else { ":3:" };
            let line = if text.contains('\n') { ":4:" } else { place };
            assert!(relevant[0].starts_with(&format!("gateway.toml{line}")), "{found:#?}");
        }
    }

    #[test]
    fn instruments_are_numbered_and_corrected() {
        let found = faults(
            "[exchanges.kraken]\ninstruments = [\n \"BTC-USD\",\n \"eth/usd\",\n \"BTC-USD\",\n 7 ]\ntrading = false",
        );
        assert_eq!(
            found,
            [
                "gateway.toml:4:2: exchanges.kraken.instruments[1]: `eth/usd` is no pair; did you mean \"ETH-USD\"?",
                "gateway.toml:5:2: exchanges.kraken.instruments[2]: BTC-USD is there twice; remove one",
                "gateway.toml:6:2: exchanges.kraken.instruments[3]: expected text, found a whole number; write pairs like [\"BTC-USDT\", \"ETH-USDT\"]",
            ]
        );
        let found = faults("[exchanges.kraken]\ninstruments = []\ntrading = false");
        assert!(found[0].contains(":2:15: exchanges.kraken.instruments: no instrument is given"));
    }

    #[test]
    fn all_faults_of_a_file_come_together_in_its_order() {
        let text = "[gateway]\ncolour = 1\n[shutdown]\ndeadline = \"x\"\n[exchanges.krakn]\ninstruments = [\"x\"]\ntrading = false\n";
        let found = faults(text);
        let places: Vec<_> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
        let expected =
            ["gateway.toml:2:1", "gateway.toml:4:12", "gateway.toml:5:12", "gateway.toml:6:16"];
        assert_eq!(places, expected, "{found:#?}");
        assert!(found[2].contains("did you mean `kraken`?"), "{found:#?}");
        assert_eq!(faults("").len(), 1);
    }

    #[test]
    fn a_built_configuration_is_checked_too() {
        let mut config = Config::default();
        config.shutdown.cancel_pending = Duration::ZERO;
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("configuration: shutdown.cancel_pending: 0s is out of range"));
        assert!(message.contains("exchanges: no exchange is configured"), "{message}");
    }
}
