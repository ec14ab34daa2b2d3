//! One adapter an exchange. An adapter turns wire messages into events and commands into wire
//! messages: it has no socket, no clock and no task. Time is an argument, output goes into an
//! [`Outbox`], so an adapter is tested with recorded messages alone and runs unchanged in a
//! simulation.
//!
//! Every exchange's folder has the same files: `mod.rs` (the [`Adapter`]), `market.rs` (the market
//! session), `trading.rs` (the trading session), `http.rs` (cancels and questions over HTTP),
//! `holdings.rs` (balances or positions of the account),
//! `messages.rs` (wire types), `sign.rs` (authentication), `instruments.rs` (metadata), `testdata/`
//! (recorded messages).

mod credentials;
mod http;
mod http_trading;
mod limits;
mod mass_cancel;
mod outbox;
mod session;
mod switch;
mod symbols;

pub mod binance;
pub mod deribit;
pub mod kraken;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::types::{ExchangeName, Holding, Instrument, InstrumentSpec, Timestamp};

pub use credentials::{Credentials, Secret};
pub use http::{HttpFailure, HttpRequest, HttpResponse};
pub use http_trading::HttpTrading;
pub use limits::{CancelWeight, LimitScope, MessageRate, OrderLimit, OrderLimits, RateRule};
pub use mass_cancel::MassCancel;
pub use outbox::{
    Cumulative, OrderEvent, OrderNews, Outbox, Refusal, SessionEvent, TradingRestriction,
};
pub use session::{DecodeError, MarketSession, Session, TradingSession};
pub use switch::{
    DeadMansSwitch, SwitchAnswer, SwitchOutcome, SwitchRequest, SwitchScope, SwitchSetting,
};
pub use symbols::SymbolTable;

/// The exchanges there are adapters for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AdapterKind {
    /// Binance Spot.
    Binance,
    /// Deribit, WebSocket API v2: futures, perpetuals and options.
    Deribit,
    /// Kraken Spot, WebSocket API v2.
    Kraken,
}

impl AdapterKind {
    /// All of them, in alphabetical order.
    pub const ALL: &'static [Self] = &[Self::Binance, Self::Deribit, Self::Kraken];

    /// The name used in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Deribit => "deribit",
            Self::Kraken => "kraken",
        }
    }

    /// The adapter of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// The exchange's production addresses.
    pub fn production(self) -> Endpoints {
        match self {
            Self::Binance => binance::production(),
            Self::Deribit => deribit::production(),
            Self::Kraken => kraken::production(),
        }
    }

    /// The exchange's dead-man's switch. Sources: named in each adapter beside the values.
    pub fn dead_mans_switch(self) -> DeadMansSwitch {
        match self {
            Self::Binance => binance::DEAD_MANS_SWITCH,
            Self::Deribit => deribit::DEAD_MANS_SWITCH,
            Self::Kraken => kraken::DEAD_MANS_SWITCH,
        }
    }

    /// Builds the adapter.
    pub fn build(self, setup: AdapterSetup) -> Arc<dyn Adapter> {
        match self {
            Self::Binance => Arc::new(binance::Binance::new(setup)),
            Self::Deribit => Arc::new(deribit::Deribit::new(setup)),
            Self::Kraken => Arc::new(kraken::Kraken::new(setup)),
        }
    }
}

/// Where an exchange is reached. For a mock or a testnet only these change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Market data WebSocket with its path, for example `wss://stream.binance.com:9443/stream`.
    pub market: Url,
    /// Order WebSocket with its path, for example `wss://ws-auth.kraken.com/v2`.
    pub trading: Url,
    /// HTTP API without a path, for example `https://api.binance.com`.
    pub http: Url,
}

/// What an adapter is built from.
#[derive(Debug, Clone)]
pub struct AdapterSetup {
    /// The exchange's name in the configuration; instruments carry it.
    pub exchange: ExchangeName,
    /// Where it is reached.
    pub endpoints: Endpoints,
    /// Key and secret; without them only market data is available.
    pub credentials: Option<Credentials>,
}

/// Which half of an exchange a connection serves: ticks are the hot path, orders must be exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionKind {
    /// Public market data.
    Market,
    /// Orders and the private stream of their updates.
    Trading,
}

impl ConnectionKind {
    /// `market` or `trading`, as in scope names and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Trading => "trading",
        }
    }
}

impl std::fmt::Display for ConnectionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the gateway probes a quiet connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A WebSocket ping frame.
    PingFrame,
    /// The exchange's own ping message, written by [`Session::ping`].
    Message,
}

/// The exchange's rules for one connection. Sources: the exchange's documentation, named in each
/// adapter beside the values.
#[derive(Debug, Clone)]
pub struct ConnectionRules {
    /// Where to connect.
    pub url: Url,
    /// How to probe it when it is quiet.
    pub probe: Probe,
    /// Probe after this long without a frame.
    pub probe_after: Duration,
    /// Dead after this long without a frame.
    pub dead_after: Duration,
    /// The exchange ends the connection after this long; a planned reconnect comes before.
    pub lifetime: Option<Duration>,
    /// Messages that the exchange accepts (pings and pongs count), if it limits them.
    pub message_rate: Option<MessageRate>,
}

/// An exchange's protocol. Immutable and shared; each connection attempt gets a fresh session, so
/// that no state of a dead connection leaks into the next.
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// Which exchange's protocol it speaks.
    fn kind(&self) -> AdapterKind;

    /// The rules of one of its two connections.
    fn rules(&self, connection: ConnectionKind) -> ConnectionRules;

    /// The requests that list the exchange's rules for the wanted instruments; most need one.
    fn instruments_request(&self, wanted: &[Instrument]) -> HttpRequest;

    /// Reads the answer: a spec for each wanted instrument that the exchange trades. One that is
    /// absent from the result is unknown to the exchange.
    fn read_instruments(
        &self,
        response: &HttpResponse,
        wanted: &[Instrument],
    ) -> Result<Vec<InstrumentSpec>, DecodeError>;

    /// The market-data session of one connection attempt, subscribed to trades and best bid/ask of
    /// every instrument in the table.
    fn market_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn MarketSession>;

    /// The trading session of one connection attempt.
    fn trading_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn TradingSession>;

    /// Cancels and questions over HTTP, for when there is no trading connection. `None` if the
    /// exchange takes none over HTTP.
    fn http_trading(&self, symbols: Arc<SymbolTable>) -> Option<Box<dyn HttpTrading>> {
        let _ = symbols;
        None
    }

    /// The request for what the account holds, signed with the time of `now`.
    ///
    /// # Errors
    /// Why nothing can be signed.
    fn holdings_request(&self, now: Timestamp) -> Result<HttpRequest, DecodeError>;

    /// Reads the answer: the balances of a spot account, or the positions in the derivatives of the
    /// table. What is not among them is not held.
    fn read_holdings(
        &self,
        response: &HttpResponse,
        symbols: &SymbolTable,
    ) -> Result<Vec<Holding>, DecodeError>;

    /// The instrument that a symbol most likely means, without the exchange's list: for reading
    /// recorded messages only, never for trading.
    fn guess_instrument(&self, symbol: &str) -> Option<Instrument>;

    /// The exchange's dead-man's switch.
    fn dead_mans_switch(&self) -> DeadMansSwitch {
        self.kind().dead_mans_switch()
    }

    /// The exchange's limits on orders, as the answer to
    /// [`instruments_request`](Self::instruments_request) tells them or as they are documented. A
    /// session may tell others later ([`SessionEvent::LimitsTold`]). Sources: named in each adapter.
    fn order_limits(&self, instruments: &HttpResponse) -> OrderLimits;

    /// Why the exchange takes no reduce-only orders; nothing where it takes them.
    fn no_reduce_only(&self) -> Option<&'static str>;

    /// For which scopes the exchange cancels every order with one request; `NONE` where it has no
    /// such request. Sources: named in each adapter.
    fn mass_cancel(&self) -> MassCancel {
        MassCancel::NONE
    }

    /// The longest time after its writing that a new order can still enter the exchange's book: by
    /// then the exchange refuses it as too old. Only after that does the exchange not knowing an
    /// order mean that it never will. Sources: named in each adapter beside the value.
    fn longest_order_flight(&self) -> Duration;
}
