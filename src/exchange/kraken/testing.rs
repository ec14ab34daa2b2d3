//! What the tests of this folder share.

use std::sync::Arc;

use crate::exchange::{
    AdapterSetup, Credentials, Outbox, Secret, SessionEvent, SymbolTable, TradingSession,
};
use crate::types::{
    ClientOrderId, ExchangeName, InstrumentSpec, NewOrder, Order, OrderStatus, Quantity, Side,
    Timestamp,
};

use super::sign::Account;
use super::{Kraken, production};

/// A moment that no test depends on.
pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn symbols() -> Arc<SymbolTable> {
    let specs = ["BTC", "ALGO"].map(|base| InstrumentSpec {
        instrument: format!("kraken:{base}-USD").parse().unwrap(),
        symbol: format!("{base}/USD"),
        tick_size: "0.1".parse().unwrap(),
        lot_size: "0.00000001".parse().unwrap(),
        min_quantity: Quantity::ZERO,
        max_quantity: None,
        min_notional: None,
        tick_size_steps: Vec::new(),
        contract_size: None,
    });
    Arc::new(SymbolTable::new(specs))
}

pub(super) fn adapter(secret: &str) -> Kraken {
    let credentials =
        Some(Credentials { api_key: Secret::new("key"), api_secret: Secret::new(secret) });
    let exchange = ExchangeName::new("kraken").unwrap();
    Kraken::new(AdapterSetup { exchange, endpoints: production(), credentials })
}

/// An account with this secret, as the sessions of an adapter share it.
pub(super) fn account(secret: &str) -> Account {
    let credentials = Credentials { api_key: Secret::new("key"), api_secret: Secret::new(secret) };
    Account::new(production().http, Some(&credentials))
}

/// A limit order to buy 0.01 BTC at 30000.5, client id `gw1`.
pub(super) fn order() -> Order {
    let instrument = "kraken:BTC-USD".parse().unwrap();
    let (price, quantity) = ("30000.50".parse().unwrap(), "0.010".parse().unwrap());
    Order {
        client_id: ClientOrderId::new("gw1").unwrap(),
        exchange_id: None,
        request: NewOrder::limit(instrument, Side::Buy, price, quantity),
        status: OrderStatus::Pending,
        filled: Quantity::ZERO,
        booked: Quantity::ZERO,
        reason: None,
        created: NOW,
        updated: NOW,
    }
}

/// What a session makes of one message that it can read.
pub(super) fn told(session: &mut dyn TradingSession, text: &str) -> Vec<SessionEvent> {
    let mut out = Outbox::default();
    session.received(text, NOW, &mut out).unwrap();
    assert!(out.messages.is_empty() && out.ticks.is_empty(), "{out:?}");
    out.events
}
