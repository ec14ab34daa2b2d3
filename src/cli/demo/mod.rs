//! `demo`: the gateway against exchanges of its own making, from the first tick to the ledger.

mod strategy;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use exchange_gateway::config::ExchangeConfig;
use exchange_gateway::exchange::{AdapterKind, Credentials, DeadMansSwitch, Secret};
use exchange_gateway::shutdown::WatchdogSettings;
use exchange_gateway::state::{StateView, settle};
use exchange_gateway::types::{ClosePolicy, OrderStatus};
use exchange_gateway::{Config, Gateway, StateDirectory, StateError};
use mock_exchange::{MockConfig, MockExchange, Venue, VenueConfig};
use url::Url;

use super::args::DemoArgs;
use super::run::{Ends, complete, not_started, say, show_end, show_previous, until_end};
use super::{NOT_STARTED, USAGE, ledger_table, logging, screen, view};
use strategy::{Activity, Strategy};

/// How often an instrument is shown where there is no terminal.
const PLAIN_PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn demo(args: &DemoArgs) -> io::Result<u8> {
    let log = args.log.clone().unwrap_or_else(|| args.state_dir.join("gateway.log"));
    if let Err(error) = logging::install(&args.log_level, Some(&log)) {
        eprintln!("exchange-gateway: {error}");
        return Ok(USAGE);
    }
    let faults = match args.faults.as_ref().map(std::fs::read_to_string).transpose() {
        Ok(faults) => faults,
        Err(error) => {
            let file = args.faults.clone().unwrap_or_default();
            eprintln!("exchange-gateway: the faults {}: {error}", file.display());
            return Ok(USAGE);
        }
    };
    complete(async {
        let mock = match MockExchange::start(mock_config(args)).await {
            Ok(mock) => mock,
            Err(error) => {
                eprintln!("exchange-gateway: {error}");
                return Ok(NOT_STARTED);
            }
        };
        if let Some(faults) = faults
            && let Err(error) = mock.faults().add_toml(&faults)
        {
            eprintln!("exchange-gateway: {error}");
            return Ok(USAGE);
        }
        trade(args, mock, log).await
    })
}

fn mock_config(args: &DemoArgs) -> MockConfig {
    let venue = |kind| args.exchanges.contains(&kind).then(VenueConfig::default);
    MockConfig {
        seed: args.seed,
        binance: venue(AdapterKind::Binance),
        kraken: venue(AdapterKind::Kraken),
        deribit: venue(AdapterKind::Deribit),
        control: args.control,
        ..MockConfig::default()
    }
}

async fn trade(args: &DemoArgs, mock: MockExchange, log: PathBuf) -> io::Result<u8> {
    let config = match gateway_config(args, &mock) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("exchange-gateway: {error}");
            return Ok(NOT_STARTED);
        }
    };
    introduce(&mock);
    if let Err(error) = forget_earlier_exchanges(&args.state_dir) {
        return Ok(not_started(&error.into()));
    }
    let limit = config.shutdown.deadline + WatchdogSettings::default().grace;
    let gateway = match Gateway::start(config).await {
        Ok(gateway) => gateway,
        Err(error) => return Ok(not_started(&error)),
    };
    show_previous(gateway.previous_ticks());
    let activity = Activity::default();
    let strategy = Strategy::new(&gateway, &activity, args.orders.into(), args.seed);
    let title = || {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "demo   {} orders open, {} placed, {} fills",
            gateway.orders().unfinished().len(),
            count(&activity.placed),
            count(&activity.fills),
        )
    };
    let shown = async {
        let shown = view::show(&gateway, title, PLAIN_PAUSE);
        tokio::join!(shown, strategy.trade(), strategy.follow()).0
    };
    let ends = Ends { limit, duration: Some(args.duration), report: args.report.as_deref() };
    let report = until_end(&gateway, &ends, shown).await?;
    let code = show_end(&gateway, &report, args.report.as_deref());
    let state = gateway.state_directory().path().display().to_string();
    drop(gateway);
    let ledger = mock.shutdown().await;
    say(&format!(
        "\nWhat the exchanges saw (an independent ledger)\n{}\n\
         state directory  {state}\n\
         JSON log         {log}\n\
         see its stages   exchange-gateway inspect {log}\n\
         see it as a page exchange-gateway report --html report.html --state-dir {state}",
        ledger_table::render(&ledger, screen::stdout_colors()),
        log = log.display(),
    ));
    Ok(code)
}

/// The exchanges of a demo end with it, and with them the orders that a killed one left open.
fn forget_earlier_exchanges(state_dir: &Path) -> Result<(), StateError> {
    // There was no demo before, or the start will say what is wrong with its database.
    let Ok(view) = StateView::open(state_dir) else { return Ok(()) };
    let was_killed = view.runs(1)?.rows.iter().any(|run| run.outcome.is_none());
    if !was_killed && view.orders(1, true)?.rows.is_empty() {
        return Ok(());
    }
    drop(view);
    let directory = StateDirectory::open(state_dir)?;
    let reason = "its mock exchange ended with the demo that was killed";
    let settled = settle(&directory, |_| true, OrderStatus::Expired, reason)?;
    if !settled.is_empty() {
        let count = settled.len();
        say(&format!("{count} orders of a demo that was killed ended with its exchanges"));
    }
    Ok(())
}

fn introduce(mock: &MockExchange) {
    for venue in mock.venues() {
        say(&format!("mock {} listens on {}", venue.name(), venue.address()));
    }
    if let Some(url) = mock.control_url() {
        say(&format!("control port at {url} (ledger at {url}/ledger)"));
    }
}

/// A gateway on the venues of the mock, with the first instruments that each lists.
fn gateway_config(
    args: &DemoArgs,
    mock: &MockExchange,
) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = Config::default();
    config.gateway.state_dir.clone_from(&args.state_dir);
    for &kind in &args.exchanges {
        let Some(venue) = mock.venue(kind.as_str()) else { continue };
        let mut exchange = ExchangeConfig::new(kind);
        let production = kind.production();
        exchange.market_url = Some(at_venue(&production.market, &venue)?);
        exchange.trading_url = Some(at_venue(&production.trading, &venue)?);
        exchange.http_url = Some(venue.http_url().parse()?);
        let keys = venue.credentials();
        exchange.credentials = Some(Credentials {
            api_key: Secret::new(keys.api_key),
            api_secret: Secret::new(keys.api_secret),
        });
        if matches!(kind.dead_mans_switch(), DeadMansSwitch::Timer { .. }) {
            // Nobody else trades on the account of a mock.
            exchange.account_is_ours = true;
            exchange.dead_mans_switch = Some(SWITCH);
        }
        // Its exchanges end with a demo, and what is held on them with it.
        exchange.positions.on_shutdown = ClosePolicy::Close;
        for instrument in venue.instruments().iter().take(INSTRUMENTS) {
            let pair = match instrument.contract {
                // A contract is no pair of assets; it goes by the exchange's own name.
                Some(_) => instrument.symbol.to_string(),
                None => format!("{}-{}", instrument.base, instrument.quote),
            };
            exchange.instruments.push(exchange.name.instrument(&pair)?);
        }
        config.exchanges.push(exchange);
    }
    Ok(config)
}

/// The time of a dead-man's switch that is a timer.
const SWITCH: Duration = Duration::from_secs(60);

/// Instruments an exchange.
const INSTRUMENTS: usize = 3;

/// The path of a production address at a venue of the mock.
fn at_venue(production: &Url, venue: &Venue) -> Result<Url, url::ParseError> {
    let mut url: Url = venue.ws_url().parse()?;
    url.set_path(production.path());
    url.set_query(production.query());
    Ok(url)
}
