//! The values that a configuration comes to, written out.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Config, ConnectionConfig, ExchangeConfig, closing, format_duration, hooks};
use crate::exchange::DeadMansSwitch;

impl Config {
    /// Every effective value as TOML, defaults and production addresses filled in, secrets shown
    /// as `<redacted>`.
    pub fn effective_toml(&self) -> String {
        let mut text = String::new();
        let (shutdown, orders) = (&self.shutdown, &self.orders);
        section(&mut text, "gateway");
        string(&mut text, "state_dir", &self.gateway.state_dir.to_string_lossy());
        string(&mut text, "order_tag", &self.gateway.order_tag);
        string(&mut text, "durability", self.gateway.durability.as_str());
        duration(&mut text, "save_every", self.gateway.save_every);
        section(&mut text, "shutdown");
        duration(&mut text, "deadline", shutdown.deadline);
        duration(&mut text, "stop_new_orders", shutdown.stop_new_orders);
        duration(&mut text, "cancel_pending", shutdown.cancel_pending);
        duration(&mut text, "close_positions", shutdown.close_positions);
        duration(&mut text, "save_state", shutdown.save_state);
        duration(&mut text, "disconnect", shutdown.disconnect);
        duration(&mut text, "cancel_retry", shutdown.cancel_retry);
        duration(&mut text, "force_debounce", shutdown.force_debounce);
        hooks::effective(&mut text, self);
        section(&mut text, "connection");
        connection(&mut text, &self.connection);
        section(&mut text, "orders");
        duration(&mut text, "ack_timeout", orders.ack_timeout);
        duration(&mut text, "query_retry", orders.query_retry);
        plain(&mut text, "queue", orders.queue);
        plain(&mut text, "cancel_reserve_percent", orders.cancel_reserve_percent);
        plain(&mut text, "updates_backlog", orders.updates_backlog);
        plain(&mut text, "closed_kept", orders.closed_kept);
        string(&mut text, "on_restart", orders.on_restart.as_str());
        super::alerts::effective(&mut text, &self.alerts);
        self.risk.effective(&mut text);
        self.log.effective(&mut text);
        closing::show(&mut text, "positions", &self.positions);
        for exchange in &self.exchanges {
            self.exchange(&mut text, exchange);
        }
        text
    }

    fn exchange(&self, text: &mut String, exchange: &ExchangeConfig) {
        section(text, &format!("exchanges.{}", exchange.name));
        string(text, "adapter", exchange.adapter.as_str());
        let endpoints = exchange.endpoints();
        string(text, "market_url", endpoints.market.as_str());
        string(text, "trading_url", endpoints.trading.as_str());
        string(text, "http_url", endpoints.http.as_str());
        plain(text, "allow_insecure", exchange.allow_insecure);
        let pairs: Vec<_> = exchange.instruments.iter().map(|i| quote(i.pair())).collect();
        plain(text, "instruments", format!("[{}]", pairs.join(", ")));
        plain(text, "trading", exchange.trading);
        plain(text, "rate_limits", exchange.rate_limits);
        if let Some(credentials) = &exchange.credentials {
            string(text, "api_key", &credentials.api_key.to_string());
            string(text, "api_secret", &credentials.api_secret.to_string());
        }
        if let Some(file) = &exchange.ca_file {
            string(text, "ca_file", &file.to_string_lossy());
        }
        plain(text, "account_is_ours", exchange.account_is_ours);
        match (exchange.adapter.dead_mans_switch(), exchange.dead_mans_switch) {
            (DeadMansSwitch::ConnectionDrop { .. }, _) => {
                plain(text, "cancel_on_disconnect", exchange.cancel_on_disconnect);
            }
            (_, Some(timeout)) => duration(text, "dead_mans_switch", timeout),
            (DeadMansSwitch::Timer { .. }, None) => {
                _ = writeln!(text, "# dead_mans_switch: not used");
            }
            (DeadMansSwitch::None, None) => {
                _ = writeln!(text, "# dead_mans_switch: the exchange has none");
            }
        }
        if exchange.connection != self.connection {
            section(text, &format!("exchanges.{}.connection", exchange.name));
            connection(text, &exchange.connection);
        }
        closing::show_exchange(text, &self.positions, exchange);
    }
}

fn connection(text: &mut String, connection: &ConnectionConfig) {
    duration(text, "connect_timeout", connection.connect_timeout);
    duration(text, "ready_timeout", connection.ready_timeout);
    duration(text, "close_timeout", connection.close_timeout);
    plain(text, "max_message_bytes", connection.max_message_bytes);
    duration(text, "backoff_min", connection.backoff_min);
    duration(text, "backoff_max", connection.backoff_max);
    duration(text, "stable_after", connection.stable_after);
    duration(text, "http_fallback_after", connection.http_fallback_after);
    duration(text, "feed_silence", connection.feed_silence);
    for (name, value) in
        [("probe_after", connection.probe_after), ("dead_after", connection.dead_after)]
    {
        match value {
            Some(value) => duration(text, name, value),
            None => _ = writeln!(text, "# {name}: the exchange's rule"),
        }
    }
}

pub(super) fn section(text: &mut String, name: &str) {
    let gap = if text.is_empty() { "" } else { "\n" };
    _ = writeln!(text, "{gap}[{name}]");
}

pub(super) fn plain(text: &mut String, name: &str, value: impl std::fmt::Display) {
    _ = writeln!(text, "{name} = {value}");
}

pub(super) fn duration(text: &mut String, name: &str, value: Duration) {
    string(text, name, &format_duration(value));
}

pub(super) fn string(text: &mut String, name: &str, value: &str) {
    plain(text, name, quote(value));
}

pub(super) fn quote(value: &str) -> String {
    toml::Value::from(value).to_string()
}
