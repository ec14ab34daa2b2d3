//! What the benches share: a gateway's configuration for a mock exchange, and small tables.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::time::Duration;

use exchange_gateway::Config;
use exchange_gateway::config::ExchangeConfig;
use exchange_gateway::exchange::{AdapterKind, Credentials, Secret};
use exchange_gateway::types::Instrument;
use mock_exchange::{Limits, MockConfig, MockExchange, Venue, VenueConfig};

/// Whether a smoke run is wanted: `--quick`, or `BENCH_QUICK` set to anything. Whoever runs it
/// without the `--bench` of `cargo bench`, such as `cargo test`, wants no more than that.
pub(crate) fn is_quick() -> bool {
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    given("--quick") || !given("--bench") || std::env::var_os("BENCH_QUICK").is_some()
}

/// A mock of the named exchanges that runs on a thread of its own, so that what it costs is not
/// measured, until the process ends.
pub(crate) fn mock(exchanges: &[&str], latency: Duration) -> MockExchange {
    let venue =
        VenueConfig { latency, limits: Limits::Off, heartbeat: None, ..VenueConfig::quiet() };
    let wanted = |name: &str| exchanges.contains(&name).then(|| venue.clone());
    let config = MockConfig {
        seed: 7,
        binance: wanted("binance"),
        kraken: wanted("kraken"),
        ..MockConfig::default()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        current_thread().block_on(async {
            let mock = MockExchange::start(config).await.expect("the mock starts");
            sender.send(mock).expect("the bench waits for the mock");
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("the mock starts")
}

/// A runtime on the calling thread.
pub(crate) fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A configuration for the venues, with its state in `state`.
pub(crate) fn config(venues: &[Venue], state: &tempfile::TempDir) -> Config {
    let mut config = Config::default();
    config.gateway.state_dir = state.path().join("state");
    config.exchanges = venues.iter().map(exchange).collect();
    config
}

pub(crate) fn exchange(venue: &Venue) -> ExchangeConfig {
    exchange_named(venue, venue.name())
}

/// The same under another name, so that there may be several.
pub(crate) fn exchange_named(venue: &Venue, name: &str) -> ExchangeConfig {
    let adapter = AdapterKind::from_name(venue.name()).expect("an adapter for the venue");
    let mut exchange = ExchangeConfig::named(name.parse().expect("a name"), adapter);
    // The mock has none here: what is measured is the gateway and not an exchange's patience.
    exchange.rate_limits = false;
    let url = |base: String, path: &str| Some(format!("{base}{path}").parse().expect("a URL"));
    exchange.market_url = url(venue.ws_url(), market_path(adapter));
    exchange.trading_url = url(venue.ws_url(), trading_path(venue.name()));
    exchange.http_url = url(venue.http_url(), "");
    exchange.instruments = vec![instrument(name)];
    let keys = venue.credentials();
    exchange.credentials = Some(Credentials {
        api_key: Secret::new(keys.api_key),
        api_secret: Secret::new(keys.api_secret),
    });
    exchange
}

/// The path of an exchange's market data.
pub(crate) fn market_path(adapter: AdapterKind) -> &'static str {
    if adapter == AdapterKind::Kraken { "/v2" } else { "/stream" }
}

/// The path of an exchange's orders.
pub(crate) fn trading_path(exchange: &str) -> &'static str {
    if exchange == "kraken" { "/v2" } else { "/ws-api/v3" }
}

/// The instrument of every bench.
pub(crate) fn instrument(exchange: &str) -> Instrument {
    format!("{exchange}:BTC-USDT").parse().expect("an instrument")
}

/// The middle one, which a few slow samples of a busy machine do not move.
pub(crate) fn median<T: PartialOrd + Copy>(samples: &[T]) -> T {
    quantile(samples, 0.5)
}

/// The value below which this share of the samples lies.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index into a few thousand samples"
)]
pub(crate) fn quantile<T: PartialOrd + Copy>(samples: &[T], share: f64) -> T {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("no sample is NaN"));
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Prints a Markdown table.
pub(crate) fn print_table(head: &[&str], rows: &[Vec<String>]) {
    println!("| {} |", head.join(" | "));
    println!("|{}", "---|".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}
