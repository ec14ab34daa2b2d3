//! The `mock-exchange` program: the mock beside the process that it is for.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mock_exchange::{
    Ledger, Limits, MarketConfig, MockConfig, MockExchange, ReplayConfig, VenueConfig,
};

/// Exchanges on loopback that speak the real protocols, keep a ledger and fail on request.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where Binance listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    binance: SocketAddr,
    /// Where Kraken listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9002")]
    kraken: SocketAddr,
    /// Where Deribit listens; port 0 picks a free one. It is left out without this option.
    #[arg(long, value_name = "ADDRESS")]
    deribit: Option<SocketAddr>,
    /// Where the control port (ledger and faults) listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    control: SocketAddr,
    /// Seed of the markets.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Mean market events a second, an instrument; 0 keeps the market still.
    #[arg(long, value_name = "RATE", default_value_t = 20.0)]
    events_per_second: f64,
    /// Delay of every message, each way, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Do not enforce the exchanges' rate limits.
    #[arg(long)]
    no_limits: bool,
    /// Write every field into every Kraken execution report, as ccxt needs.
    #[arg(long)]
    kraken_full_reports: bool,
    /// Recorded messages to play, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How many times faster than recorded.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    replay_speed: f64,
    /// Faults to script from the start, as `[[fault]]` tables.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

impl Arguments {
    fn config(&self) -> MockConfig {
        let market = if self.events_per_second > 0.0 {
            MarketConfig::Seeded { events_per_second: self.events_per_second }
        } else {
            MarketConfig::Quiet
        };
        let venue = |listen| VenueConfig {
            listen,
            market,
            latency: std::time::Duration::from_millis(self.latency_ms),
            limits: if self.no_limits { Limits::Off } else { Limits::Real },
            kraken_full_reports: self.kraken_full_reports,
            ..VenueConfig::default()
        };
        let speed = self.replay_speed;
        MockConfig {
            seed: self.seed,
            binance: Some(venue(self.binance)),
            kraken: Some(venue(self.kraken)),
            deribit: self.deribit.map(venue),
            control: Some(self.control),
            replay: self.replay.clone().map(|file| ReplayConfig { file, speed }),
            ..MockConfig::default()
        }
    }
}

/// Prints a line; a reader who has left is no reason to end, as `println` would.
macro_rules! say {
    ($($words:tt)*) => { _ = writeln!(std::io::stdout(), $($words)*) };
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            _ = writeln!(std::io::stderr(), "mock-exchange: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), String> {
    let faults = match &arguments.faults {
        None => None,
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
            format!("the faults file {} could not be read: {error}", file.display())
        })?),
    };
    // Handlers first: a signal during start must not be lost.
    let signals = Signals::install().map_err(|error| format!("no signal handler: {error}"))?;
    let mock = MockExchange::start(arguments.config()).await.map_err(|error| error.to_string())?;
    if let (Some(text), Some(file)) = (faults, &arguments.faults) {
        mock.faults().add_toml(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    announce(&mock);
    signals.wait().await;
    say!("closing the sockets");
    summarise(&mock.shutdown().await);
    Ok(())
}

fn announce(mock: &MockExchange) {
    for venue in mock.venues() {
        let credentials = venue.credentials();
        say!("{}", venue.name());
        say!("  http    {}", venue.http_url());
        say!("  ws      {}", venue.ws_url());
        say!("  key     {}", credentials.api_key);
        say!("  secret  {}", credentials.api_secret);
    }
    if let Some(url) = mock.control_url() {
        say!("control\n  http    {url}");
    }
    say!("the keys are test data; stop with Ctrl-C");
}

fn summarise(ledger: &Ledger) {
    for (name, exchange) in &ledger.exchanges {
        say!(
            "{name}: {} orders ({} still open), {} fills, {} cancels, {} connections",
            exchange.orders.len(),
            exchange.open_orders.len(),
            exchange.fills.len(),
            exchange.cancels.len(),
            exchange.connections.len(),
        );
        for order in &exchange.open_orders {
            say!(
                "  open: {} {:?} {} {} at {}",
                order.client_id,
                order.side,
                order.quantity - order.filled,
                order.symbol,
                order.price.unwrap_or_default(),
            );
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn wait(self) {
        // Without a handler there is nothing to wait for but the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
