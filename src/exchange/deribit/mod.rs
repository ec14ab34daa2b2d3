//! Deribit, WebSocket API v2: JSON-RPC 2.0 over one socket, for futures, perpetuals and options.
//!
//! Market data and orders go over two connections to the same address. An order's quantity is what
//! Deribit calls `amount`: US dollars for inverse futures and perpetuals, the base coin for options
//! and linear contracts.
//!
//! Sources: <https://docs.deribit.com/api-reference> (methods), and its articles
//! `json-rpc-overview`, `connection-management-best-practices`, `rate-limits`, `errors`.

mod errors;
mod holdings;
mod http;
mod instruments;
mod market;
mod messages;
mod orders;
mod reports;
mod requests;
mod sign;
#[cfg(test)]
mod tests;
mod ticks;
mod trading;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::http::DeribitHttp;
use self::market::DeribitMarket;
use self::sign::Signer;
use self::trading::DeribitTrading;
use super::{
    Adapter, AdapterKind, AdapterSetup, CancelWeight, ConnectionKind, ConnectionRules,
    DeadMansSwitch, DecodeError, Endpoints, HttpRequest, HttpResponse, HttpTrading, LimitScope,
    MarketSession, MassCancel, OrderLimit, OrderLimits, Probe, RateRule, SwitchScope, SymbolTable,
    TradingSession,
};
use crate::types::{ExchangeName, Holding, Instrument, InstrumentSpec, Timestamp};

/// A trading connection is quiet but for the heartbeats, which are asked for every ten seconds.
const PROBE_AFTER: Duration = Duration::from_secs(15);

/// A probe has fifteen seconds to bring an answer. The exchange itself gives up a connection after
/// ten minutes without traffic.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Orders and cancels of the lowest tier of accounts: 20 at once, refilled by 5 a second. More ends
/// the session with the error 10028, and the orders with it (article `rate-limits`). Two are left
/// free, so that messages may arrive up to 400 ms closer together than they were written.
const MATCHING: RateRule = RateRule::Bucket { burst: 18, refill: Duration::from_millis(200) };

/// All other private requests: 100 at once, refilled by 20 a second (same article). A part is left
/// to what is no question about an order: logins, heartbeats, lists.
const NON_MATCHING: RateRule = RateRule::Bucket { burst: 70, refill: Duration::from_millis(50) };

/// How long after its writing the exchange may take an order in: each carries the time as
/// `valid_until`, and a later one is refused (`private/buy`).
const ORDER_VALIDITY: Duration = Duration::from_secs(5);

/// Cancel on disconnect, asked for with the scope `connection`: a close frame sets it off like the
/// loss of the socket, only `private/logout` does not (`private/enable_cancel_on_disconnect`,
/// `private/logout`).
pub(super) const DEAD_MANS_SWITCH: DeadMansSwitch = DeadMansSwitch::ConnectionDrop {
    scope: SwitchScope::Connection,
    fires_on_clean_close: true,
    suppressed_by_logout: true,
};

/// The production addresses. The public test network has the same paths on `test.deribit.com`.
pub fn production() -> Endpoints {
    Endpoints {
        market: address("wss://www.deribit.com/ws/api/v2"),
        trading: address("wss://www.deribit.com/ws/api/v2"),
        http: address("https://www.deribit.com"),
    }
}

fn address(text: &'static str) -> Url {
    match Url::parse(text) {
        Ok(url) => url,
        Err(error) => unreachable!("the constant address {text} is checked by a test: {error}"),
    }
}

/// The Deribit adapter.
#[derive(Debug)]
pub struct Deribit {
    exchange: ExchangeName,
    endpoints: Endpoints,
    signer: Option<Arc<Signer>>,
}

impl Deribit {
    /// An adapter from its setup. The key is the client id of an API key, the secret its client
    /// secret, which never leaves this process.
    pub fn new(setup: AdapterSetup) -> Self {
        let AdapterSetup { exchange, endpoints, credentials } = setup;
        let signer = credentials.map(|credentials| Arc::new(Signer::new(&credentials)));
        Self { exchange, endpoints, signer }
    }
}

impl Adapter for Deribit {
    fn kind(&self) -> AdapterKind {
        AdapterKind::Deribit
    }

    fn rules(&self, connection: ConnectionKind) -> ConnectionRules {
        let url = match connection {
            ConnectionKind::Market => &self.endpoints.market,
            ConnectionKind::Trading => &self.endpoints.trading,
        };
        ConnectionRules {
            url: url.clone(),
            probe: Probe::Message,
            probe_after: PROBE_AFTER,
            dead_after: DEAD_AFTER,
            // No maximal age is documented.
            lifetime: None,
            // Requests cost credits, by what they ask for. One subscription costs more than other
            // requests, but there is only one.
            message_rate: None,
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
        Box::new(DeribitMarket::new(symbols))
    }

    fn trading_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn TradingSession> {
        Box::new(DeribitTrading::new(symbols, self.signer.clone()))
    }

    fn http_trading(&self, symbols: Arc<SymbolTable>) -> Option<Box<dyn HttpTrading>> {
        let http = self.endpoints.http.clone();
        Some(Box::new(DeribitHttp::new(http, symbols, self.signer.clone()?)))
    }

    fn holdings_request(&self, now: Timestamp) -> Result<HttpRequest, DecodeError> {
        let signer = self.signer.as_ref();
        let signer = signer.ok_or_else(|| DecodeError::new("no API key is configured"))?;
        Ok(holdings::request(&self.endpoints.http, signer, now))
    }

    fn read_holdings(
        &self,
        response: &HttpResponse,
        symbols: &SymbolTable,
    ) -> Result<Vec<Holding>, DecodeError> {
        holdings::read(response, symbols)
    }

    fn guess_instrument(&self, symbol: &str) -> Option<Instrument> {
        self.exchange.instrument(&symbol.to_ascii_uppercase()).ok()
    }

    fn order_limits(&self, _: &HttpResponse) -> OrderLimits {
        let scope = LimitScope::Account;
        let matching = OrderLimit {
            name: "matching engine",
            rule: MATCHING,
            scope,
            order: 1,
            cancel: CancelWeight::Waits(1),
            question: 0,
            fills: 0,
        };
        let other = OrderLimit {
            name: "non-matching engine",
            rule: NON_MATCHING,
            order: 0,
            cancel: CancelWeight::Waits(0),
            question: 1,
            fills: 1,
            ..matching.clone()
        };
        vec![matching, other]
    }

    /// They have credits of their own, which are not counted: one more is taken from those of single
    /// cancels instead (`private/cancel_all`, `private/cancel_all_by_instrument`).
    fn mass_cancel(&self) -> MassCancel {
        MassCancel { account: true, instrument: true }
    }

    fn no_reduce_only(&self) -> Option<&'static str> {
        None
    }

    /// What orders carry as `valid_until`, and a second by which the gateway's clock may run ahead.
    fn longest_order_flight(&self) -> Duration {
        ORDER_VALIDITY + Duration::from_secs(1)
    }
}
