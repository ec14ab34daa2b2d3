//! Recorded messages, scripted dialogues and mutations, over both sessions.

mod fills;
mod fixtures;
mod holdings;
mod http;
mod market;
mod mutations;
mod opening;
mod trading;

use std::sync::Arc;

use serde_json::Value;

use super::Deribit;
use crate::exchange::{
    Adapter, AdapterSetup, ConnectionKind, Credentials, DecodeError, OrderEvent, OrderNews, Outbox,
    Secret, Session, SessionEvent, SymbolTable, TradingSession,
};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Instrument, InstrumentSpec, NewOrder, Order, OrderStatus,
    Quantity, Side, Timestamp,
};

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        /// All recorded messages, by file name without its ending.
        pub(super) const FIXTURES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../testdata/", $name, ".json")))),*];
    };
}

fixtures![
    "auth_client_credentials_request",
    "auth_response",
    "book_change",
    "book_snapshot",
    "buy_response_open",
    "cancel_all_response",
    "cancel_response",
    "enable_cancel_on_disconnect_request",
    "error_bad_request",
    "error_too_many_requests",
    "get_open_orders_response",
    "heartbeat_test_request",
    "public_test_request",
    "public_test_response",
    "quote",
    "sell_response_filled_with_trades",
    "set_heartbeat_request",
    "subscribe_response",
    "ticker_100ms",
    "trades_100ms",
    "user_orders_raw",
    "user_portfolio",
    "user_trades_raw",
];

pub(super) fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).unwrap()
}

pub(super) fn now() -> Timestamp {
    time(1_700_000_000_123)
}

pub(super) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap()
}

pub(super) fn instrument(name: &str) -> Instrument {
    format!("deribit:{name}").parse().unwrap()
}

pub(super) fn client_id(text: &str) -> ClientOrderId {
    ClientOrderId::new(text).unwrap()
}

pub(super) fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub(super) fn symbols(names: &[&str]) -> Arc<SymbolTable> {
    Arc::new(SymbolTable::new(names.iter().map(|name| InstrumentSpec {
        instrument: instrument(name),
        symbol: (*name).to_owned(),
        tick_size: "0.5".parse().unwrap(),
        tick_size_steps: Vec::new(),
        lot_size: "10".parse().unwrap(),
        min_quantity: quantity("10"),
        max_quantity: None,
        min_notional: None,
        contract_size: Some("10".parse().unwrap()),
    })))
}

pub(super) fn known() -> Arc<SymbolTable> {
    symbols(&["BTC-PERPETUAL", "ETH-PERPETUAL", "ETH_USDC-PERPETUAL", "BTC-15FEB19-3250-P"])
}

pub(super) fn adapter(credentials: bool) -> Deribit {
    Deribit::new(AdapterSetup {
        exchange: "deribit".parse().unwrap(),
        endpoints: super::production(),
        credentials: credentials.then(|| Credentials {
            api_key: Secret::new("AMANDA"),
            api_secret: Secret::new("AMANDASECRECT"),
        }),
    })
}

pub(super) fn receive(session: &mut dyn Session, text: &str) -> Result<Outbox, DecodeError> {
    let mut out = Outbox::default();
    session.received(text, now(), &mut out).map(|()| out)
}

/// What a session makes of one message that it can read and does not answer.
pub(super) fn told(session: &mut dyn Session, text: &str) -> Vec<SessionEvent> {
    let out = receive(session, text).unwrap();
    assert!(out.messages.is_empty() && out.ticks.is_empty(), "{out:?}");
    out.events
}

/// The messages that were written, as JSON.
pub(super) fn written(out: &Outbox) -> Vec<Value> {
    out.messages.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// The only message that was written.
pub(super) fn only(out: &Outbox) -> Value {
    assert_eq!(out.messages.len(), 1, "{:?}", out.messages);
    written(out).remove(0)
}

pub(super) fn answer(id: &Value, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result},"usIn":1,"usOut":2,"usDiff":1}}"#)
}

pub(super) fn error(id: &Value, code: i64, message: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}},"usOut":1700000000123456}}"#
    )
}

pub(super) const GRANTED: &str = r#"{"access_token":"a","expires_in":900,"refresh_token":"r","scope":"connection mainaccount trade:read_write account:read_write","enabled_features":[],"token_type":"bearer"}"#;

/// A limit order to buy 10 USD of BTC at 50000.5, client id `gw1`.
pub(super) fn order() -> Order {
    let (price, amount) = ("50000.50".parse().unwrap(), quantity("10.0"));
    Order {
        client_id: client_id("gw1"),
        exchange_id: None,
        request: NewOrder::limit(instrument("BTC-PERPETUAL"), Side::Buy, price, amount),
        status: OrderStatus::Sent,
        filled: Quantity::ZERO,
        booked: Quantity::ZERO,
        reason: None,
        created: now(),
        updated: now(),
    }
}

/// The same with the id that the exchange gave it.
pub(super) fn known_order() -> Order {
    Order { exchange_id: Some(ExchangeOrderId::new("146062").unwrap()), ..order() }
}

/// An event that a message tells of an order.
pub(super) fn news(
    ids: (&str, &str),
    name: Option<&str>,
    request_id: Option<&str>,
    exchange_time: Option<Timestamp>,
    news: OrderNews,
) -> SessionEvent {
    let (client, exchange) = ids;
    SessionEvent::Order(OrderEvent {
        client_id: (!client.is_empty()).then(|| client_id(client)),
        exchange_id: (!exchange.is_empty()).then(|| ExchangeOrderId::new(exchange).unwrap()),
        instrument: name.map(instrument),
        request_id: request_id.map(str::to_owned),
        exchange_time,
        news,
    })
}

/// The news of the only event, which is about an order.
pub(super) fn only_news(mut events: Vec<SessionEvent>) -> OrderNews {
    events.retain(|event| !matches!(event, SessionEvent::RateLimited { .. }));
    match <[SessionEvent; 1]>::try_from(events) {
        Ok([SessionEvent::Order(event)]) => event.news,
        other => panic!("{other:?}"),
    }
}

/// A session that has logged in, and its requests to set itself up.
pub(super) fn logged_in() -> (Box<dyn TradingSession>, Vec<Value>) {
    let mut session = adapter(true).trading_session(known());
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    let id = only(&out)["id"].clone();
    let out = receive(&mut *session, &answer(&id, GRANTED)).unwrap();
    let requests = written(&out);
    (session, requests)
}

pub(super) const SUBSCRIBED: &str = r#"["user.trades.any.any.raw","user.orders.any.any.raw"]"#;

/// A session that has become ready.
pub(super) fn ready() -> Box<dyn TradingSession> {
    let (mut session, requests) = logged_in();
    assert_eq!(told(&mut *session, &answer(&requests[0]["id"], "\"ok\"")).len(), 1);
    let out = receive(&mut *session, &answer(&requests[1]["id"], SUBSCRIBED)).unwrap();
    let id = only(&out)["id"].clone();
    assert_eq!(told(&mut *session, &answer(&id, "[]")), [SessionEvent::Ready]);
    session
}

#[test]
fn both_connections_go_to_the_documented_address() {
    let adapter = adapter(true);
    for connection in [ConnectionKind::Market, ConnectionKind::Trading] {
        let url = adapter.rules(connection).url;
        assert_eq!(url.as_str(), "wss://www.deribit.com/ws/api/v2");
    }
    let shown = format!("{adapter:?}");
    assert!(!shown.contains("AMANDA"), "{shown}");
}

#[test]
fn a_symbol_is_guessed_to_be_the_instrument_of_that_name() {
    let guess = |symbol: &str| adapter(false).guess_instrument(symbol);
    assert_eq!(guess("BTC-27DEC24-60000-C"), Some(instrument("BTC-27DEC24-60000-C")));
    assert_eq!(guess("XRP_USDC-27DEC24-0d625-C"), Some(instrument("XRP_USDC-27DEC24-0D625-C")));
    assert_eq!(guess("BTC_USDC"), None);
}
