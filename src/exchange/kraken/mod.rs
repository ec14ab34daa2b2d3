//! Kraken Spot, WebSocket API v2.
//!
//! Market data comes from the public host, orders and their reports from the authenticated one,
//! whose token is fetched over HTTP before each connection. The WebSocket API has no request for
//! the state of one order: that is asked over HTTP.

mod fills;
#[cfg(test)]
mod fixtures;
mod holdings;
mod http;
mod instruments;
mod limits;
mod market;
mod messages;
mod orders;
mod query;
mod questions;
mod reports;
mod requests;
mod sign;
mod switch;
#[cfg(test)]
mod testing;
mod ticks;
mod trading;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{
    Adapter, AdapterKind, AdapterSetup, ConnectionKind, ConnectionRules, DeadMansSwitch,
    DecodeError, Endpoints, HttpRequest, HttpResponse, HttpTrading, MarketSession, MassCancel,
    OrderLimits, Probe, SwitchScope, SymbolTable, TradingSession,
};
use crate::types::{ExchangeName, Holding, Instrument, InstrumentSpec, Timestamp};

use http::KrakenHttp;
use market::KrakenMarket;
use sign::Account;
use trading::KrakenTrading;

/// The application ping. Source: <https://docs.kraken.com/api/docs/websocket-v2/ping>.
const PING: &str = r#"{"method":"ping"}"#;

/// With a subscription the exchange sends a heartbeat each second in which nothing else came, so
/// five silent seconds are odd already.
/// Source: <https://docs.kraken.com/api/docs/websocket-v2/heartbeat>.
const PROBE_AFTER: Duration = Duration::from_secs(5);

/// A probe has ten seconds to bring an answer.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// How long an order may take to the exchange's engine, told as its `deadline`: the exchange's own
/// default is as long, but counts from when the order comes, which may be late.
const ORDER_VALIDITY: Duration = Duration::from_secs(5);

/// `cancel_all_orders_after`: one timer for the whole account, set in whole seconds below a day; zero
/// takes it off. The exchange advises to set it every 15 to 30 seconds.
/// Source: <https://docs.kraken.com/api/docs/websocket-v2/cancel_after>.
pub(super) const DEAD_MANS_SWITCH: DeadMansSwitch = DeadMansSwitch::Timer {
    scope: SwitchScope::Account,
    timeout_min: Duration::from_secs(1),
    timeout_max: Duration::from_secs(86_399),
    step: Duration::from_secs(1),
    refresh_max: Duration::from_secs(30),
};

/// The production addresses. There is no public test network for spot trading.
///
/// Source: <https://docs.kraken.com/api/docs/guides/spot-ws-intro>.
pub fn production() -> Endpoints {
    Endpoints {
        market: address("wss://ws.kraken.com/v2"),
        trading: address("wss://ws-auth.kraken.com/v2"),
        http: address("https://api.kraken.com"),
    }
}

fn address(text: &'static str) -> Url {
    match Url::parse(text) {
        Ok(url) => url,
        Err(error) => unreachable!("the constant address {text} is checked by a test: {error}"),
    }
}

/// The Kraken adapter. All sessions share the account, whose nonce must never go back.
#[derive(Debug)]
pub struct Kraken {
    exchange: ExchangeName,
    endpoints: Endpoints,
    account: Arc<Account>,
}

impl Kraken {
    /// An adapter from its setup. A secret that is not base64 shows when a trading session opens.
    pub fn new(setup: AdapterSetup) -> Self {
        let AdapterSetup { exchange, endpoints, credentials } = setup;
        let account = Arc::new(Account::new(endpoints.http.clone(), credentials.as_ref()));
        Self { exchange, endpoints, account }
    }
}

impl Adapter for Kraken {
    fn kind(&self) -> AdapterKind {
        AdapterKind::Kraken
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
            // No maximal age and no number for the message rate are documented.
            lifetime: None,
            message_rate: None,
        }
    }

    fn instruments_request(&self, _wanted: &[Instrument]) -> HttpRequest {
        let mut url = self.endpoints.http.clone();
        url.set_path(instruments::PATH);
        HttpRequest { method: "GET", url, headers: Vec::new(), body: String::new() }
    }

    fn read_instruments(
        &self,
        response: &HttpResponse,
        wanted: &[Instrument],
    ) -> Result<Vec<InstrumentSpec>, DecodeError> {
        instruments::read_instruments(response, wanted)
    }

    fn market_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn MarketSession> {
        Box::new(KrakenMarket::new(symbols))
    }

    fn trading_session(&self, symbols: Arc<SymbolTable>) -> Box<dyn TradingSession> {
        Box::new(KrakenTrading::new(symbols, Arc::clone(&self.account)))
    }

    fn http_trading(&self, _: Arc<SymbolTable>) -> Option<Box<dyn HttpTrading>> {
        Some(Box::new(KrakenHttp::new(Arc::clone(&self.account))))
    }

    fn holdings_request(&self, now: Timestamp) -> Result<HttpRequest, DecodeError> {
        holdings::request(&self.account, now)
    }

    fn read_holdings(
        &self,
        response: &HttpResponse,
        _: &SymbolTable,
    ) -> Result<Vec<Holding>, DecodeError> {
        holdings::read(response)
    }

    fn guess_instrument(&self, symbol: &str) -> Option<Instrument> {
        instruments::instrument(self.exchange, symbol)
    }

    /// Source: <https://docs.kraken.com/api/docs/websocket-v2/add_order>, `reduce_only`.
    fn order_limits(&self, _: &HttpResponse) -> OrderLimits {
        limits::order_limits(None)
    }

    /// `cancel_all`, which names no symbol. What it adds to the rate counter is not documented and
    /// taken as that of a batch of the same orders.
    /// Source: <https://docs.kraken.com/api/docs/websocket-v2/cancel_all>.
    fn mass_cancel(&self) -> MassCancel {
        MassCancel { account: true, instrument: false }
    }

    fn no_reduce_only(&self) -> Option<&'static str> {
        Some("Kraken reduces margin positions only, and the gateway places spot orders")
    }

    /// What orders carry as `deadline`, and a second by which the gateway's clock may run ahead.
    /// Source: <https://docs.kraken.com/api/docs/websocket-v2/add_order>.
    fn longest_order_flight(&self) -> Duration {
        ORDER_VALIDITY + Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_own_address() {
        let adapter = testing::adapter("");
        let url = |connection| adapter.rules(connection).url.to_string();
        assert_eq!(url(ConnectionKind::Market), "wss://ws.kraken.com/v2");
        assert_eq!(url(ConnectionKind::Trading), "wss://ws-auth.kraken.com/v2");
        let request = adapter.instruments_request(&[]);
        assert_eq!(request.url.as_str(), "https://api.kraken.com/0/public/AssetPairs");
    }

    #[test]
    fn an_adapter_never_shows_its_keys() {
        let shown = format!("{:?}", testing::adapter("c2VjcmV0"));
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("\"key\""), "{shown}");
    }
}
