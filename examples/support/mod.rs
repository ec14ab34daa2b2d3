//! Starts mock exchanges in the process and makes a configuration for them. A bot for production
//! would read its configuration with `Config::from_file("gateway.toml")` instead.

use std::error::Error;
use std::io::IsTerminal;

use exchange_gateway::Config;
use exchange_gateway::config::ExchangeConfig;
use exchange_gateway::exchange::{AdapterKind, Credentials, Secret};
use mock_exchange::{MockConfig, MockExchange, VenueConfig};

pub(crate) async fn mock_exchanges() -> Result<(MockExchange, Config), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let mock = MockExchange::start(MockConfig {
        seed: 7,
        binance: Some(VenueConfig::default()),
        kraken: Some(VenueConfig::default()),
        deribit: Some(VenueConfig::default()),
        ..MockConfig::default()
    })
    .await?;
    let mut config = Config::default();
    // A directory for each run: the exchanges in the process remember no earlier one.
    config.gateway.state_dir = tempfile::tempdir()?.keep();
    for venue in mock.venues() {
        let adapter = AdapterKind::from_name(venue.name()).ok_or("no adapter for this exchange")?;
        let (market, trading) = match adapter {
            AdapterKind::Kraken => ("/v2", "/v2"),
            AdapterKind::Deribit => ("/ws/api/v2", "/ws/api/v2"),
            _ => ("/stream", "/ws-api/v3"),
        };
        let keys = venue.credentials();
        let mut exchange = ExchangeConfig::new(adapter);
        exchange.market_url = Some(format!("{}{market}", venue.ws_url()).parse()?);
        exchange.trading_url = Some(format!("{}{trading}", venue.ws_url()).parse()?);
        exchange.http_url = Some(venue.http_url().parse()?);
        let pair = if adapter == AdapterKind::Deribit { "BTC-PERPETUAL" } else { "BTC-USDT" };
        exchange.instruments = vec![exchange.name.instrument(pair)?];
        exchange.credentials = Some(Credentials {
            api_key: Secret::new(keys.api_key),
            api_secret: Secret::new(keys.api_secret),
        });
        config.exchanges.push(exchange);
    }
    Ok((mock, config))
}
