//! What a running gateway takes up from a configuration that is read again, and what it does not.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::Config;

impl Config {
    /// The keys that differ in another configuration and hold only after a restart: all but the risk
    /// limits and the log level.
    pub fn needs_restart(&self, other: &Self) -> Vec<String> {
        let (old, new) = (self.keys(), other.keys());
        let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let mut keys: Vec<_> =
            all.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect();
        // Secrets are never written out, so that they are not among the keys.
        for exchange in &self.exchanges {
            let same = other.exchanges.iter().find(|found| found.name == exchange.name);
            if same.is_some_and(|same| same.credentials != exchange.credentials) {
                keys.push(format!("exchanges.{}: API key or secret", exchange.name));
            }
        }
        keys
    }

    fn keys(&self) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        let table = self.effective_toml().parse::<toml::Table>().unwrap_or_default();
        for (name, value) in table {
            if name != "risk" && name != "log" {
                flatten(name, &value, &mut keys);
            }
        }
        keys
    }
}

fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(format!("{path}.{name}"), value, into);
            }
        }
        value => _ = into.insert(path, value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExchangeConfig;
    use crate::exchange::{AdapterKind, Credentials, Secret};

    #[test]
    fn all_but_limits_and_log_level_needs_a_restart() {
        let mut old = Config::default();
        old.exchanges.push(ExchangeConfig::new(AdapterKind::Kraken));
        let mut new = old.clone();
        new.risk.max_open_orders = Some(1);
        new.log.level = "debug".to_owned();
        assert_eq!(old.needs_restart(&new), Vec::<String>::new());
        new.orders.queue = 7;
        new.exchanges[0].instruments.push("kraken:BTC-USD".parse().unwrap());
        let secret = |text: &str| Secret::new(text.to_owned());
        new.exchanges[0].credentials =
            Some(Credentials { api_key: secret("a"), api_secret: secret("b") });
        let keys = old.needs_restart(&new);
        assert!(keys.contains(&"orders.queue".to_owned()), "{keys:?}");
        assert!(keys.contains(&"exchanges.kraken.instruments".to_owned()), "{keys:?}");
        assert!(keys.iter().any(|key| key.contains("API key")), "{keys:?}");
        assert!(!format!("{keys:?}").contains("secret: "), "{keys:?}");
    }
}
