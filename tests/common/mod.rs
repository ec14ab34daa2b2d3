//! What the integration tests share: mock exchanges, a gateway connected to them, and waiting for
//! events.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

pub mod judge;
pub mod logs;
pub mod network;
#[cfg(unix)]
pub mod process;
pub mod receiver;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use exchange_gateway::config::{Config, ExchangeConfig};
use exchange_gateway::exchange::{AdapterKind, Credentials, Secret};
use exchange_gateway::types::{Instrument, NewOrder, Order, Side, TickData};
use exchange_gateway::{ConnectionSnapshot, ConnectionStatus, Gap, Gateway, MarketEvent};
use exchange_gateway::{OrderError, OrderUpdates, Ticks};
use mock_exchange::{Fault, FaultAction, Ledger, Limits, MockConfig, MockExchange};
use mock_exchange::{Venue, VenueConfig};
use rust_decimal::Decimal;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Seed of the mock's markets.
pub const SEED: u64 = 7;

/// Both exchanges.
pub const BOTH: &[&str] = &["binance", "kraken"];

/// Every exchange.
pub const ALL: &[&str] = &["binance", "kraken", "deribit"];

/// Mock exchanges with a still market, and a configuration for a gateway to them.
pub struct Bench {
    pub mock: MockExchange,
    pub config: Config,
    pub state: tempfile::TempDir,
}

impl Bench {
    /// The named exchanges, quiet and without limits.
    pub async fn start(exchanges: &[&str]) -> Self {
        Self::start_with(exchanges, quiet()).await
    }

    /// The named exchanges with other settings.
    pub async fn start_with(exchanges: &[&str], venue: VenueConfig) -> Self {
        let wanted = |name: &str| exchanges.contains(&name).then(|| venue.clone());
        println!("mock seed {SEED}");
        let mock = MockExchange::start(MockConfig {
            seed: SEED,
            binance: wanted("binance"),
            kraken: wanted("kraken"),
            deribit: wanted("deribit"),
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
        for exchange in &mut config.exchanges {
            exchange.rate_limits = venue.limits == Limits::Real;
        }
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

    /// Adds a fault to one exchange that happens once.
    pub fn fault(&self, exchange: &str, action: FaultAction) {
        self.add(Fault::new(action).at(exchange));
    }

    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        self.mock.faults().add(fault).expect("a fault that can be");
    }

    /// Waits until every connection at the exchanges has ended.
    pub async fn all_closed(&self) -> Ledger {
        self.ledger(|ledger| {
            let mut all = ledger.exchanges.values().flat_map(|e| &e.connections);
            all.all(|connection| connection.closed.is_some())
        })
        .await
    }

    /// Sends a price of its own to the market's subscribers.
    pub fn quote(&self, exchange: &str, price: u32) {
        let (price, one) = (Decimal::from(price), Decimal::ONE);
        let venue = self.venue(exchange);
        venue.set_quote(symbol(exchange), price, one, price + one, one).expect("the market moves");
    }

    pub async fn gateway(&self) -> Gateway {
        Gateway::start(self.config.clone()).await.expect("the gateway starts")
    }

    /// Waits until the ledger is as wanted.
    pub async fn ledger(&self, wanted: impl Fn(&Ledger) -> bool + Send) -> Ledger {
        self.mock.wait_for(wanted, PATIENCE).await.expect("the ledger becomes as wanted")
    }
}

/// A still market without rate limits.
pub fn quiet() -> VenueConfig {
    VenueConfig { limits: Limits::Off, ..VenueConfig::quiet() }
}

/// A gateway's configuration for one mock exchange.
pub fn exchange(venue: &Venue, config: &Config) -> ExchangeConfig {
    let adapter = AdapterKind::from_name(venue.name()).expect("an adapter for the venue");
    let mut exchange = ExchangeConfig::new(adapter);
    let (market, trading) = match adapter {
        AdapterKind::Deribit => ("/ws/api/v2", "/ws/api/v2"),
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
    let pair = if exchange == "deribit" { "BTC-PERPETUAL" } else { "BTC-USDT" };
    format!("{exchange}:{pair}").parse().expect("an instrument")
}

/// The symbol that the mock knows it by.
pub fn symbol(exchange: &str) -> &'static str {
    match exchange {
        "deribit" => "BTC-PERPETUAL",
        "kraken" => "BTC/USDT",
        _ => "BTCUSDT",
    }
}

/// A buy order far below the market, which rests.
pub fn resting(exchange: &str) -> NewOrder {
    let price = "20000".parse().expect("a price");
    // US dollars on an inverse perpetual.
    let quantity = if exchange == "deribit" { "100" } else { "0.01" };
    NewOrder::limit(instrument(exchange), Side::Buy, price, quantity.parse().expect("a quantity"))
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

/// Waits for what no event tells: looks again every few milliseconds.
pub async fn until(what: &str, wanted: impl Fn() -> bool) {
    let looking = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what} in time"));
}

/// One connection of a gateway as it is now.
pub fn connection(gateway: &Gateway, exchange: &str, kind: &str) -> ConnectionSnapshot {
    let all = gateway.connections();
    let found =
        all.into_iter().find(|c| c.exchange.as_str() == exchange && c.connection.as_str() == kind);
    found.expect("the connection is configured")
}

/// Waits until a connection has been live again this often.
pub async fn reconnected(gateway: &Gateway, exchange: &str, kind: &str, times: u64) {
    until(&format!("{exchange} {kind} is live again"), || {
        let now = connection(gateway, exchange, kind);
        now.reconnects >= times && now.status == ConnectionStatus::Live
    })
    .await;
}

/// Places an order as soon as the gateway takes orders again.
pub async fn submit_when_open(gateway: &Gateway, order: NewOrder) -> Order {
    within(async {
        loop {
            match gateway.orders().submit(order).await {
                Ok(order) => return order,
                Err(OrderError::NotConnected { .. } | OrderError::NotSent { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await
}

/// The report's line on an order.
pub fn reported(
    report: &exchange_gateway::ShutdownReport,
    id: exchange_gateway::types::ClientOrderId,
) -> &exchange_gateway::shutdown::OrderReport {
    let mut all = report.exchanges.iter().flat_map(|exchange| &exchange.orders);
    all.find(|order| order.client_id == id)
        .unwrap_or_else(|| panic!("order {id} is in the report: {report:#?}"))
}

/// How a phase of a shutdown went.
pub fn phase(
    report: &exchange_gateway::ShutdownReport,
    wanted: exchange_gateway::Phase,
) -> &exchange_gateway::shutdown::PhaseReport {
    report.phases.iter().find(|phase| phase.phase == wanted).expect("the phase was entered")
}

/// Reads market events until the quote with this bid; tells the gaps before it.
pub async fn quoted(ticks: &mut Ticks, bid: u32) -> Vec<Gap> {
    let mut gaps = Vec::new();
    within(async {
        loop {
            match ticks.next().await.expect("the feed lives") {
                MarketEvent::Gap(gap) => gaps.push(gap),
                MarketEvent::Tick(tick) => {
                    if let TickData::Quote(quote) = tick.data
                        && quote.bid.0 == Decimal::from(bid)
                    {
                        return gaps;
                    }
                }
                _ => {}
            }
        }
    })
    .await
}
