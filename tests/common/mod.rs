//! What the integration tests share: mock exchanges, a gateway connected to them, and waiting for
//! events.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use exchange_gateway::config::{Config, ExchangeConfig};
use exchange_gateway::exchange::{AdapterKind, Credentials, Secret};
use exchange_gateway::types::{Instrument, NewOrder, Order, Side};
use exchange_gateway::{Gateway, OrderUpdates};
use mock_exchange::{Ledger, MockConfig, MockExchange, Venue, VenueConfig};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Both exchanges.
pub const BOTH: &[&str] = &["binance", "kraken"];

/// Mock exchanges with a still market, and a configuration for a gateway to them.
pub struct Bench {
    pub mock: MockExchange,
    pub config: Config,
    pub state: tempfile::TempDir,
}

impl Bench {
    /// The named exchanges, quiet and without limits.
    pub async fn start(exchanges: &[&str]) -> Self {
        Self::start_with(exchanges, VenueConfig::quiet()).await
    }

    /// The named exchanges with other settings.
    pub async fn start_with(exchanges: &[&str], venue: VenueConfig) -> Self {
        let wanted = |name: &str| exchanges.contains(&name).then(|| venue.clone());
        let mock = MockExchange::start(MockConfig {
            seed: 7,
            binance: wanted("binance"),
            kraken: wanted("kraken"),
            ..MockConfig::default()
        })
        .await
        .expect("the mock starts");
        let state = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::default();
        config.gateway.state_dir = state.path().join("state");
        config.shutdown.cancel_retry = Duration::from_millis(200);
        config.orders.query_retry = Duration::from_millis(200);
        config.connection.backoff_min = Duration::from_millis(20);
        config.connection.backoff_max = Duration::from_millis(200);
        let venues = mock.venues();
        config.exchanges = venues.iter().map(|venue| exchange(venue, &config)).collect();
        Self { mock, config, state }
    }

    /// Changes the connection settings of every exchange.
    pub fn connections(
        &mut self,
        change: impl Fn(&mut exchange_gateway::config::ConnectionConfig),
    ) {
        for exchange in &mut self.config.exchanges {
            change(&mut exchange.connection);
        }
    }

    pub fn venue(&self, name: &str) -> Venue {
        self.mock.venue(name).expect("the venue was started")
    }

    pub async fn gateway(&self) -> Gateway {
        Gateway::start(self.config.clone()).await.expect("the gateway starts")
    }

    /// Waits until the ledger is as wanted.
    pub async fn ledger(&self, wanted: impl Fn(&Ledger) -> bool + Send) -> Ledger {
        self.mock.wait_for(wanted, PATIENCE).await.expect("the ledger becomes as wanted")
    }
}

/// A gateway's configuration for one mock exchange.
pub fn exchange(venue: &Venue, config: &Config) -> ExchangeConfig {
    let adapter = AdapterKind::from_name(venue.name()).expect("an adapter for the venue");
    let mut exchange = ExchangeConfig::new(adapter);
    let (market, trading) = match adapter {
        AdapterKind::Kraken => ("/v2", "/v2"),
        _ => ("/stream", "/ws-api/v3"),
    };
    let url = |base: String, path: &str| Some(format!("{base}{path}").parse().expect("a URL"));
    exchange.market_url = url(venue.ws_url(), market);
    exchange.trading_url = url(venue.ws_url(), trading);
    exchange.http_url = url(venue.http_url(), "");
    exchange.instruments = vec![instrument(venue.name())];
    let keys = venue.credentials();
    exchange.credentials = Some(Credentials {
        api_key: Secret::new(keys.api_key),
        api_secret: Secret::new(keys.api_secret),
    });
    exchange.connection = config.connection.clone();
    exchange
}

/// The instrument that the tests trade.
pub fn instrument(exchange: &str) -> Instrument {
    format!("{exchange}:BTC-USDT").parse().expect("an instrument")
}

/// The symbol that the mock knows it by.
pub fn symbol(exchange: &str) -> &'static str {
    if exchange == "kraken" { "BTC/USDT" } else { "BTCUSDT" }
}

/// A buy order far below the market, which rests.
pub fn resting(exchange: &str) -> NewOrder {
    let price = "20000".parse().expect("a price");
    NewOrder::limit(instrument(exchange), Side::Buy, price, "0.01".parse().expect("a quantity"))
}

/// Places orders that rest.
pub async fn rest(gateway: &Gateway, exchange: &str, count: usize) -> Vec<Order> {
    let mut orders = Vec::new();
    for _ in 0..count {
        orders.push(gateway.orders().submit(resting(exchange)).await.expect("the order rests"));
    }
    orders
}

/// Reads updates until one is as wanted.
pub async fn update(
    updates: &mut OrderUpdates,
    wanted: impl Fn(&exchange_gateway::OrderUpdate) -> bool,
) -> Arc<exchange_gateway::OrderUpdate> {
    within(async {
        loop {
            let update = updates.next().await.expect("the gateway runs");
            if wanted(&update) {
                return update;
            }
        }
    })
    .await
}

/// Waits for something that must happen.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}
