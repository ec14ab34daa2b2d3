//! Ranges and sums: the same checks for a file and for a configuration built in code.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::{Host, Url};

use super::duration::format_duration;
use super::{Config, ConfigError, ConnectionConfig, ExchangeConfig, Fault, closing, hooks};
use crate::exchange::{DeadMansSwitch, SwitchScope};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// A dead-man's switch below this goes off at small interruptions.
const SHORT_SWITCH: Duration = Duration::from_secs(15);

impl Config {
    /// Checks ranges, addresses, duplicates and sums, and reports every fault together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
    }

    /// What is allowed but most likely not meant.
    pub fn warnings(&self) -> Vec<Fault> {
        let mut warnings = Vec::new();
        let shutdown = &self.shutdown;
        let limits = shutdown.stop_new_orders
            + shutdown.cancel_pending
            + shutdown.close_positions
            + shutdown.save_state
            + shutdown.disconnect;
        let reserves = shutdown.save_state + shutdown.disconnect;
        let most = shutdown.deadline.saturating_sub(reserves);
        let longest = [
            ("cancel_pending", shutdown.cancel_pending),
            ("close_positions", shutdown.close_positions),
        ];
        let cut = longest.into_iter().find(|(_, limit)| *limit > most);
        if let Some((name, limit)) = cut {
            let problem = format!(
                "never in full: what save_state and disconnect keep in reserve leaves {} of the \
                 deadline, and not {}",
                format_duration(most),
                format_duration(limit)
            );
            let help = "raise shutdown.deadline, or lower this one";
            warnings.push(Fault::new(format!("shutdown.{name}"), problem).help(help));
        } else if limits > shutdown.deadline {
            let problem = format!(
                "the limits of all phases add up to {}, so later phases may be cut short",
                format_duration(limits)
            );
            warnings
                .push(Fault::new("shutdown.deadline", problem).help("raise it, or lower a phase"));
        }
        if shutdown.cancel_retry >= shutdown.cancel_pending {
            let problem = "a lost cancel is never sent again within `cancel_pending`";
            warnings.push(Fault::new("shutdown.cancel_retry", problem).help("lower it"));
        }
        hooks::warnings(self, &mut warnings);
        warnings.extend(closing::warnings(self));
        for exchange in &self.exchanges {
            if exchange.dead_mans_switch.is_some_and(|timeout| timeout < SHORT_SWITCH) {
                let key = format!("exchanges.{}.dead_mans_switch", exchange.name);
                let problem = "an interruption of a few seconds cancels every order of the account";
                warnings.push(Fault::new(key, problem).help("30s to 60s are usual"));
            }
            if exchange.allow_insecure {
                let key = format!("exchanges.{}.allow_insecure", exchange.name);
                warnings.push(Fault::new(key, "unencrypted connections are allowed"));
            }
            if exchange.trading && !exchange.rate_limits {
                let key = format!("exchanges.{}.rate_limits", exchange.name);
                let problem = "orders are written as fast as they come";
                warnings.push(Fault::new(key, problem).help("allow it for a test exchange only"));
            }
        }
        super::alerts::warnings(&self.alerts, &mut warnings);
        warnings
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut check = Check::default();
        check.gateway(self);
        check.shutdown(self);
        hooks::check(&mut check, self);
        check.connection("connection", &self.connection);
        check.orders(self);
        check.alerts(self);
        check.faults.extend(closing::faults(self));
        if self.exchanges.is_empty() {
            let fault = Fault::new("exchanges", "no exchange is configured");
            check.faults.push(fault.help("add a section like [exchanges.kraken]"));
        }
        let mut names = BTreeSet::new();
        for exchange in &self.exchanges {
            if !names.insert(exchange.name) {
                let key = format!("exchanges.{}", exchange.name);
                check.faults.push(Fault::new(key, "this name is used twice"));
            }
            check.exchange(exchange, &self.connection);
        }
        check.faults.extend(self.risk.faults(self));
        check.faults.extend(self.log.faults());
        check.faults
    }
}

#[derive(Default)]
pub(super) struct Check {
    faults: Vec<Fault>,
}

impl Check {
    pub(super) fn fault(&mut self, key: &str, problem: impl Into<String>, help: &str) {
        self.faults.push(Fault::new(key, problem).help(help));
    }

    pub(super) fn duration(&mut self, key: &str, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let (shown, from, to) = (
                format_duration(value),
                format_duration(*range.start()),
                format_duration(*range.end()),
            );
            self.fault(key, format!("{shown} is out of range"), &format!("use {from} to {to}"));
        }
    }

    pub(super) fn count(&mut self, key: &str, value: usize, range: RangeInclusive<usize>) {
        if !range.contains(&value) {
            let help = format!("use {} to {}", range.start(), range.end());
            self.fault(key, format!("{value} is out of range"), &help);
        }
    }

    fn gateway(&mut self, config: &Config) {
        let gateway = &config.gateway;
        if gateway.state_dir.as_os_str().is_empty() {
            self.fault("gateway.state_dir", "the path is empty", "name a directory");
        }
        let tag = &gateway.order_tag;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !(1..=3).contains(&tag.len()) || !tag.bytes().all(allowed) {
            let problem = format!("`{}` is no order tag", tag.chars().take(20).collect::<String>());
            self.fault("gateway.order_tag", problem, "use 1 to 3 lowercase letters or digits");
        }
    }

    fn shutdown(&mut self, config: &Config) {
        let shutdown = &config.shutdown;
        self.duration("shutdown.deadline", shutdown.deadline, 100 * MS..=HOUR);
        let phase = 10 * MS..=HOUR;
        self.duration("shutdown.stop_new_orders", shutdown.stop_new_orders, phase.clone());
        self.duration("shutdown.cancel_pending", shutdown.cancel_pending, phase.clone());
        self.duration("shutdown.close_positions", shutdown.close_positions, Duration::ZERO..=HOUR);
        self.duration("shutdown.save_state", shutdown.save_state, phase.clone());
        self.duration("shutdown.disconnect", shutdown.disconnect, phase);
        self.duration("shutdown.cancel_retry", shutdown.cancel_retry, 10 * MS..=5 * MINUTE);
        self.duration(
            "shutdown.force_debounce",
            shutdown.force_debounce,
            Duration::ZERO..=5000 * MS,
        );
        let reserved = shutdown
            .stop_new_orders
            .saturating_add(shutdown.save_state)
            .saturating_add(shutdown.disconnect);
        if reserved >= shutdown.deadline {
            let problem = format!(
                "{} leaves no time to cancel orders: stop_new_orders, save_state and disconnect \
                 take {} of it",
                format_duration(shutdown.deadline),
                format_duration(reserved)
            );
            self.fault("shutdown.deadline", problem, "raise it, or lower these three");
        }
    }

    fn connection(&mut self, path: &str, connection: &ConnectionConfig) {
        let key = |name: &str| format!("{path}.{name}");
        let wait = 10 * MS..=10 * MINUTE;
        self.duration(&key("connect_timeout"), connection.connect_timeout, wait.clone());
        self.duration(&key("ready_timeout"), connection.ready_timeout, wait.clone());
        self.duration(&key("close_timeout"), connection.close_timeout, wait);
        self.count(&key("max_message_bytes"), connection.max_message_bytes, 1024..=64 << 20);
        self.duration(&key("backoff_min"), connection.backoff_min, MS..=HOUR);
        self.duration(&key("backoff_max"), connection.backoff_max, MS..=HOUR);
        if connection.backoff_min > connection.backoff_max {
            self.fault(&key("backoff_min"), "it is above backoff_max", "lower it");
        }
        self.duration(&key("stable_after"), connection.stable_after, Duration::ZERO..=24 * HOUR);
        self.duration(
            &key("http_fallback_after"),
            connection.http_fallback_after,
            10 * MS..=24 * HOUR,
        );
        self.duration(&key("feed_silence"), connection.feed_silence, 10 * MS..=24 * HOUR);
        for (name, value) in
            [("probe_after", connection.probe_after), ("dead_after", connection.dead_after)]
        {
            if let Some(value) = value {
                self.duration(&key(name), value, 10 * MS..=24 * HOUR);
            }
        }
        if let (Some(probe), Some(dead)) = (connection.probe_after, connection.dead_after)
            && probe >= dead
        {
            self.fault(&key("probe_after"), "it is not below dead_after", "lower it");
        }
    }

    fn orders(&mut self, config: &Config) {
        let orders = &config.orders;
        self.duration("gateway.save_every", config.gateway.save_every, 10 * MS..=HOUR);
        self.duration("orders.ack_timeout", orders.ack_timeout, 10 * MS..=10 * MINUTE);
        self.duration("orders.query_retry", orders.query_retry, 10 * MS..=10 * MINUTE);
        self.count("orders.queue", orders.queue, 1..=65_536);
        let percent = usize::try_from(orders.cancel_reserve_percent).unwrap_or(usize::MAX);
        self.count("orders.cancel_reserve_percent", percent, 0..=90);
        self.count("orders.updates_backlog", orders.updates_backlog, 16..=1 << 20);
        self.count("orders.closed_kept", orders.closed_kept, 0..=1_000_000);
    }

    fn exchange(&mut self, exchange: &ExchangeConfig, common: &ConnectionConfig) {
        let path = format!("exchanges.{}", exchange.name);
        let key = |name: &str| format!("{path}.{name}");
        for (name, url, schemes) in [
            ("market_url", &exchange.market_url, ["wss", "ws"]),
            ("trading_url", &exchange.trading_url, ["wss", "ws"]),
            ("http_url", &exchange.http_url, ["https", "http"]),
        ] {
            if let Some(url) = url {
                self.url(&key(name), url, schemes, exchange.allow_insecure);
            }
        }
        if let Some(url) = &exchange.http_url
            && (url.path() != "/" || url.query().is_some())
        {
            self.fault(&key("http_url"), "it has a path", "give scheme, host and port only");
        }
        let instruments = key("instruments");
        if exchange.instruments.is_empty() {
            self.fault(
                &instruments,
                "no instrument is given",
                "name at least one, like \"BTC-USDT\"",
            );
        } else if exchange.instruments.len() > 500 {
            let problem = format!("{} instruments are too many", exchange.instruments.len());
            self.fault(&instruments, problem, "use at most 500, or a second gateway");
        }
        let mut seen = BTreeSet::new();
        for (index, instrument) in exchange.instruments.iter().enumerate() {
            let key = format!("{instruments}[{index}]");
            if instrument.exchange() != exchange.name {
                let help = format!("write {}:{}", exchange.name, instrument.pair());
                self.fault(&key, format!("{instrument} is of another exchange"), &help);
            }
            if !seen.insert(*instrument) {
                self.fault(&key, format!("{instrument} is there twice"), "remove one");
            }
        }
        if let Some(credentials) = &exchange.credentials {
            for (name, secret) in
                [("api_key", &credentials.api_key), ("api_secret", &credentials.api_secret)]
            {
                if secret.expose().is_empty() {
                    self.fault(&key(name), "it is empty", "give the exchange's value");
                }
            }
        }
        self.switch(&key("dead_mans_switch"), exchange);
        if exchange.connection != *common {
            self.connection(&key("connection"), &exchange.connection);
        }
    }

    fn switch(&mut self, key: &str, exchange: &ExchangeConfig) {
        let Some(timeout) = exchange.dead_mans_switch else { return };
        let adapter = exchange.adapter.as_str();
        match exchange.adapter.dead_mans_switch() {
            DeadMansSwitch::None => {
                let problem = format!("{adapter} has no dead-man's switch");
                self.fault(key, problem, "remove it; its orders stay open if the gateway dies");
            }
            DeadMansSwitch::ConnectionDrop { .. } => {
                let problem = format!("the dead-man's switch of {adapter} has no timer");
                self.fault(key, problem, "remove it; cancel_on_disconnect turns it on and off");
            }
            DeadMansSwitch::Timer { scope, timeout_min, timeout_max, step, .. } => {
                self.duration(key, timeout, timeout_min..=timeout_max);
                if timeout.as_nanos().checked_rem(step.as_nanos()).is_some_and(|rest| rest > 0) {
                    let shown = format_duration(timeout);
                    let problem = format!("{shown} is no multiple of {}", format_duration(step));
                    self.fault(key, problem, "the exchange counts in these");
                }
                if scope == SwitchScope::Account && !exchange.account_is_ours {
                    let problem = format!(
                        "the switch of {adapter} cancels every order of the account, whoever \
                         placed it"
                    );
                    let help = "set account_is_ours = true if nothing else trades on it; \
                                otherwise remove this key, or use an account (sub-account) of \
                                the gateway's own";
                    self.fault(key, problem, help);
                }
            }
        }
    }

    pub(super) fn url(
        &mut self,
        key: &str,
        url: &Url,
        [secure, plain]: [&str; 2],
        allow_insecure: bool,
    ) {
        if url.scheme() == plain {
            if !allow_insecure && !is_loopback(url) {
                let help = format!("use {secure}://, or set allow_insecure = true");
                self.fault(key, format!("{plain}:// to another machine is not encrypted"), &help);
            }
        } else if url.scheme() != secure {
            let help = format!("use {secure}:// (or {plain}:// to this machine)");
            self.fault(key, format!("`{}` is the wrong scheme", url.scheme()), &help);
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.fault(key, "it holds a user name or password", "remove it");
        }
        if url.fragment().is_some() {
            self.fault(key, "it has a fragment (#)", "remove it");
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
