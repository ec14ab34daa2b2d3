//! Recorded messages, scripted dialogues and mutations, over both sessions.

mod fills;
mod fixtures;
mod http;
mod market;
mod mutations;
mod trading;

use std::sync::Arc;

use serde_json::Value;

use super::Binance;
use crate::exchange::{
    Adapter, AdapterSetup, Credentials, DecodeError, OrderEvent, OrderNews, Outbox, Secret,
    Session, SessionEvent, SymbolTable, TradingSession,
};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Instrument, InstrumentSpec, NewOrder, Order, OrderStatus,
    Quantity, Timestamp,
};

pub(super) const API_KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
pub(super) const API_SECRET: &str =
    "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        /// All recorded messages, by file name without its ending.
        pub(super) const FIXTURES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../testdata/", $name, ".json")))),*];
    };
}

fixtures![
    "api_open_orders_status",
    "api_order_cancel_ack",
    "api_order_place_ack",
    "api_order_place_full_filled",
    "api_order_place_rejected",
    "api_order_place_request_signed_hmac",
    "api_session_logon_ack",
    "api_user_data_subscribe_ack",
    "stream_book_ticker_raw",
    "stream_error_missing_method",
    "stream_server_shutdown_combined",
    "stream_subscribe_ack",
    "stream_subscribe_request",
    "stream_ticker_24hr",
    "stream_trade_combined_legacy",
    "stream_trade_raw",
    "user_account_position",
    "user_execution_report_expired_ioc",
    "user_execution_report_new",
    "user_execution_report_trade_filled",
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

pub(super) fn instrument(pair: &str) -> Instrument {
    format!("binance:{pair}").parse().unwrap()
}

pub(super) fn client_id(text: &str) -> ClientOrderId {
    ClientOrderId::new(text).unwrap()
}

pub(super) fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub(super) fn symbols(pairs: &[&str]) -> Arc<SymbolTable> {
    Arc::new(SymbolTable::new(pairs.iter().map(|pair| InstrumentSpec {
        instrument: instrument(pair),
        symbol: pair.replace('-', ""),
        tick_size: "0.01".parse().unwrap(),
        lot_size: "0.00001".parse().unwrap(),
        min_quantity: quantity("0.00001"),
        max_quantity: None,
        min_notional: None,
        tick_size_steps: Vec::new(),
        contract_size: None,
    })))
}

pub(super) fn known() -> Arc<SymbolTable> {
    symbols(&["BTC-USDT", "ETH-USDT", "ETH-BTC", "BNB-BTC", "BNB-USDT"])
}

pub(super) fn adapter(credentials: bool) -> Binance {
    Binance::new(AdapterSetup {
        exchange: "binance".parse().unwrap(),
        endpoints: super::production(),
        credentials: credentials.then(|| Credentials {
            api_key: Secret::new(API_KEY),
            api_secret: Secret::new(API_SECRET),
        }),
    })
}

pub(super) fn receive(session: &mut dyn Session, text: &str) -> Result<Outbox, DecodeError> {
    let mut out = Outbox::default();
    session.received(text, now(), &mut out).map(|()| out)
}

/// The only message that was written, as JSON.
pub(super) fn written(out: &Outbox) -> Value {
    assert_eq!(out.messages.len(), 1, "{:?}", out.messages);
    serde_json::from_str(&out.messages[0]).unwrap()
}

pub(super) fn order(request: NewOrder) -> Order {
    Order {
        client_id: client_id("gw00000001"),
        exchange_id: None,
        request,
        status: OrderStatus::Sent,
        filled: Quantity::ZERO,
        booked: Quantity::ZERO,
        reason: None,
        created: now(),
        updated: now(),
    }
}

/// An event that a message tells of an order.
pub(super) fn news(
    ids: (&str, Option<&str>),
    pair: Option<&str>,
    request_id: Option<&str>,
    exchange_time: Option<Timestamp>,
    news: OrderNews,
) -> SessionEvent {
    let (client, exchange) = ids;
    SessionEvent::Order(OrderEvent {
        client_id: (!client.is_empty()).then(|| client_id(client)),
        exchange_id: exchange.map(|id| ExchangeOrderId::new(id).unwrap()),
        instrument: pair.map(instrument),
        request_id: request_id.map(str::to_owned),
        exchange_time,
        news,
    })
}

/// A trading session that has become ready, and the id that its next request has.
pub(super) fn ready() -> (Box<dyn TradingSession>, u64) {
    let mut session = adapter(true).trading_session(known());
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    let id = written(&out)["id"].as_u64().unwrap();
    let text = format!(r#"{{"id":{id},"status":200,"result":{{"subscriptionId":0}}}}"#);
    let id = written(&receive(&mut *session, &text).unwrap())["id"].as_u64().unwrap();
    let text = format!(r#"{{"id":{id},"status":200,"result":[]}}"#);
    let out = receive(&mut *session, &text).unwrap();
    assert_eq!(out.events.last(), Some(&SessionEvent::Ready));
    (session, id + 1)
}
