//! Binance Spot: market streams, and the WebSocket API v3 for orders and their updates.
//!
//! Sources: <https://github.com/binance/binance-spot-api-docs>: `web-socket-streams.md`,
//! `web-socket-api.md`, `user-data-stream.md`, `errors.md`, `enums.md`, `rest-api.md`.

mod errors;
mod fills;
mod holdings;
mod http;
mod instruments;
mod limits;
mod market;
mod messages;
mod plain;
mod reports;
mod sign;
#[cfg(test)]
mod tests;
mod trading;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::http::BinanceHttp;
use self::market::Market;
use self::sign::{RECEIVE_WINDOW_MS, Signer, SignerError};
use self::trading::Trading;
use super::{
    Adapter, AdapterKind, AdapterSetup, ConnectionKind, ConnectionRules, DeadMansSwitch,
    DecodeError, Endpoints, HttpRequest, HttpResponse, HttpTrading, MarketSession, MassCancel,
    MessageRate, OrderLimits, Probe, SymbolTable, TradingSession,
};
use crate::types::{ExchangeName, Holding, Instrument, InstrumentSpec, Timestamp};

/// The server pings every 20 seconds, so that a connection is silent for longer only when it is in
/// trouble (both documents, section on ping frames).
const PROBE_AFTER: Duration = Duration::from_secs(25);

/// The server itself gives up a connection after a minute without a pong; so does the gateway.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// A connection is cut after 24 hours; ten minutes earlier leave room for its successor.
const LIFETIME: Duration = Duration::from_secs(24 * 3600 - 600);

/// Incoming messages on a market connection, pings and pongs included (`web-socket-streams.md`).
/// The API has request weights instead.
const MARKET_MESSAGE_RATE: MessageRate = MessageRate { messages: 5, per: Duration::from_secs(1) };

/// Only the futures have a countdown (`countdownCancelAll`); Spot has none.
pub(super) const DEAD_MANS_SWITCH: DeadMansSwitch = DeadMansSwitch::None;

/// The production addresses.
pub fn production() -> Endpoints {
    let address = |host: &str| {
        Url::parse(host).unwrap_or_else(|error| unreachable!("{host} is an address: {error}"))
    };
    Endpoints {
        market: address("wss://stream.binance.com:9443/stream"),
        trading: address("wss://ws-api.binance.com:443/ws-api/v3"),
        http: address("https://api.binance.com"),
    }
}

/// The Binance Spot adapter.
#[derive(Debug)]
pub struct Binance {
    exchange: ExchangeName,
    endpoints: Endpoints,
    signer: Result<Arc<Signer>, SignerError>,
}

impl Binance {
    /// An adapter from its setup. A secret that begins with a PEM mark is an Ed25519 private key,
    /// any other is an HMAC secret; one that cannot sign is refused when the first trading session
    /// opens.
    pub fn new(setup: AdapterSetup) -> Self {
        let AdapterSetup { exchange, endpoints, credentials } = setup;
        Self { exchange, endpoints, signer: Signer::new(credentials.as_ref()).map(Arc::new) }
    }
}

impl Adapter for Binance {
    fn kind(&self) -> AdapterKind {
        AdapterKind::Binance
    }

    fn rules(&self, connection: ConnectionKind) -> ConnectionRules {
        let (url, message_rate) = match connection {
            ConnectionKind::Market => (&self.endpoints.market, Some(MARKET_MESSAGE_RATE)),
            ConnectionKind::Trading => (&self.endpoints.trading, None),
        };
        ConnectionRules {
            url: url.clone(),
            probe: Probe::PingFrame,
            probe_after: PROBE_AFTER,
            dead_after: DEAD_AFTER,
            lifetime: Some(LIFETIME),
            message_rate,
        }
    }

    fn instruments_request(&self, _: &[Instrument]) -> HttpRequest {
        instruments::request(&self.endpoints.http)
    }

    fn read_instruments(
        &self,
        response: &HttpResponse,
        wanted: &[Instrument],
    ) -> Result<Vec<InstrumentSpec>, DecodeError> {
        instruments::read(response, wanted)
    }

    fn market_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn MarketSession> {
        Box::new(Market::new(symbols))
    }

    fn trading_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn TradingSession> {
        Box::new(Trading::new(symbols, self.signer.clone()))
    }

    fn http_trading(&self, symbols: Arc<SymbolTable>) -> Option<Box<dyn HttpTrading>> {
        let http = self.endpoints.http.clone();
        Some(Box::new(BinanceHttp::new(http, symbols, self.signer.clone())))
    }

    fn holdings_request(&self, now: Timestamp) -> Result<HttpRequest, DecodeError> {
        let signer = self.signer.as_ref().map_err(|error| DecodeError::new(error.to_string()))?;
        Ok(holdings::request(&self.endpoints.http, signer, now))
    }

    fn read_holdings(
        &self,
        response: &HttpResponse,
        _: &SymbolTable,
    ) -> Result<Vec<Holding>, DecodeError> {
        holdings::read(response)
    }

    fn guess_instrument(&self, symbol: &str) -> Option<Instrument> {
        let (base, quote) = instruments::split(symbol)?;
        Instrument::new(self.exchange, base, quote).ok()
    }

    fn order_limits(&self, instruments: &HttpResponse) -> OrderLimits {
        limits::read(instruments)
    }

    /// `openOrders.cancelAll`, of one symbol and weight 1; there is none of the account
    /// (`web-socket-api.md`, cancel open orders).
    fn mass_cancel(&self) -> MassCancel {
        MassCancel { account: false, instrument: true }
    }

    fn no_reduce_only(&self) -> Option<&'static str> {
        Some("Binance Spot has balances and no positions, so its API has no such order")
    }

    /// The receive window, and a second by which the gateway's clock may run ahead
    /// (`rest-api.md`, timing security).
    fn longest_order_flight(&self) -> Duration {
        Duration::from_millis(RECEIVE_WINDOW_MS) + Duration::from_secs(1)
    }
}
