//! What a mock exchange is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::kraken::Tier;

/// Everything a [`MockExchange`](crate::MockExchange) is started with.
#[derive(Clone, Debug, Default)]
pub struct MockConfig {
    /// Seed of the markets; the same seed gives the same prices. Default 0.
    pub seed: u64,
    /// The Binance venue; `None` leaves it out.
    pub binance: Option<VenueConfig>,
    /// The Kraken venue; `None` leaves it out.
    pub kraken: Option<VenueConfig>,
    /// The Deribit venue; `None` leaves it out.
    pub deribit: Option<VenueConfig>,
    /// Where the control port listens; `None` leaves it out.
    pub control: Option<SocketAddr>,
    /// Recorded messages to play to subscribers.
    pub replay: Option<ReplayConfig>,
    /// Where the exchange takes its wall-clock time from. Default: the machine's clock.
    pub clock: Clock,
}

/// A recording to play.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// The file: one JSON object a line with `at_ms`, `exchange`, `stream` or `channel`, `message`.
    pub file: PathBuf,
    /// How many times faster than recorded; 1.0 keeps the pace. Must be above 0.
    pub speed: f64,
}

/// One venue of the mock.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    /// Where it listens. Default: a free port on loopback.
    pub listen: SocketAddr,
    /// What its market does on its own. Default: seeded, 20 events a second an instrument.
    pub market: MarketConfig,
    /// Delay of every WebSocket message and HTTP body, each way. Default none.
    pub latency: Duration,
    /// Whether the exchange's rate and size limits are enforced. Default: as the exchange does.
    pub limits: Limits,
    /// Pause between the server's pings (Binance, 20 s) or heartbeats (Kraken, 1 s) of an idle
    /// connection; `None` takes the exchange's own. Deribit takes it in place of the interval
    /// that a client asks for.
    pub heartbeat: Option<Duration>,
    /// How long the server waits for a sign of life before it drops a connection (60 s on
    /// Binance and Kraken, 10 min on Deribit); `None` takes the exchange's own.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may live before the server closes it; `None` takes the exchange's
    /// own (24 h on Binance, no limit elsewhere).
    pub lifetime: Option<Duration>,
    /// How long the server waits for the client's close frame after its own. Default 2 s.
    pub close_timeout: Duration,
    /// Frames queued for one connection before market data is dropped for it. Default 65 536.
    pub queue_frames: usize,
    /// Finished orders and fills kept in the ledger, the oldest are forgotten. Default 200 000.
    pub history: usize,
    /// Kraken only: write every field into every execution report, as some clients need, instead
    /// of the exchange's deltas. Default off.
    pub kraken_full_reports: bool,
    /// Kraken only: the account's tier, which sets its order limits. Default Pro.
    pub kraken_tier: Tier,
}

impl Default for VenueConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            market: MarketConfig::default(),
            latency: Duration::ZERO,
            limits: Limits::Real,
            heartbeat: None,
            idle_timeout: None,
            lifetime: None,
            close_timeout: Duration::from_secs(2),
            queue_frames: 65_536,
            history: 200_000,
            kraken_full_reports: false,
            kraken_tier: Tier::default(),
        }
    }
}

impl VenueConfig {
    /// A venue whose book stands still until a test moves it.
    pub fn quiet() -> Self {
        Self { market: MarketConfig::Quiet, ..Self::default() }
    }
}

/// What a venue's market does on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MarketConfig {
    /// Quotes and trades around a seeded random walk.
    Seeded {
        /// Mean events a second, an instrument. Above 2000 the book stands still and ticks are
        /// only printed, so that a flood costs no matching.
        events_per_second: f64,
    },
    /// One quote a side and instrument that never moves by itself.
    Quiet,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self::Seeded { events_per_second: 20.0 }
    }
}

/// Whether the exchange's limits are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limits {
    /// As the exchange does.
    #[default]
    Real,
    /// None are.
    Off,
}

impl Limits {
    pub(crate) fn enforced(self) -> bool {
        self == Self::Real
    }
}

/// The test account's API key of a venue. These are published sample values, not secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The key.
    pub api_key: String,
    /// The secret; base64 on Kraken.
    pub api_secret: String,
}
