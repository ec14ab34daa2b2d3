//! A connection that breaks comes back with its subscriptions and its orders; one that only
//! brings nonsense lives on; the other exchange notices neither.

mod common;

use common::judge::judge;
use common::{
    BOTH, Bench, connection, instrument, quoted, reconnected, reported, rest, resting,
    submit_when_open, until, update, within,
};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::OrderStatus;
use exchange_gateway::{ConnectionStatus, Delivery, OrderError};
use mock_exchange::{ConnectionKind, Disconnect, Fault, FaultAction, Target};

const QUEUE: Delivery = Delivery::Queue { capacity: 4096 };

fn other(exchange: &str) -> &'static str {
    if exchange == "kraken" { "binance" } else { "kraken" }
}

/// What ends a connection.
fn breaks() -> Vec<FaultAction> {
    vec![
        FaultAction::Drop { how: Disconnect::Fin },
        FaultAction::Drop { how: Disconnect::Rst },
        FaultAction::Close { code: 1001, reason: "going away".into() },
        FaultAction::Close { code: 1012, reason: "service restart".into() },
        FaultAction::SendTruncated,
        FaultAction::SendOversized { bytes: 17 << 20 },
        FaultAction::SendInvalidUtf8,
    ]
}

async fn market_comes_back(exchange: &str) {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let (instrument, other) = (instrument(exchange), other(exchange));
    let mut ticks = gateway.subscribe_with(&[instrument], QUEUE).expect("it is configured");
    let mut others =
        gateway.subscribe_with(&[common::instrument(other)], QUEUE).expect("it is configured");
    let mut price = 30_000;
    for (times, action) in (1..).zip(breaks()) {
        price += 10;
        bench.quote(exchange, price);
        quoted(&mut ticks, price).await;
        let market = Target::Connection(ConnectionKind::Market);
        bench.add(Fault::new(action.clone()).at(exchange).on(market));
        reconnected(&gateway, exchange, "market", times).await;
        price += 10;
        bench.quote(exchange, price);
        let gaps = quoted(&mut ticks, price).await;
        assert_eq!(gaps.len(), 1, "{exchange} {action:?}: {gaps:?}");
        assert_eq!(gaps[0].instrument, instrument);
        assert!(gaps[0].from <= gaps[0].to, "{gaps:?}");
    }
    // The other exchange, and the other connection of this one, noticed nothing.
    bench.quote(other, price);
    assert_eq!(quoted(&mut others, price).await, []);
    for (exchange, kind) in [(other, "market"), (other, "trading"), (exchange, "trading")] {
        assert_eq!(connection(&gateway, exchange, kind).reconnects, 0, "{exchange} {kind}");
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_s_market_data_comes_back_with_a_gap_told() {
    market_comes_back("binance").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kraken_s_market_data_comes_back_with_a_gap_told() {
    market_comes_back("kraken").await;
}

async fn orders_survive(exchange: &str) {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let first = rest(&gateway, exchange, 3).await;
    let elsewhere = rest(&gateway, other(exchange), 1).await;
    for (times, action) in (1..).zip(breaks()) {
        let trading = Target::Connection(ConnectionKind::Trading);
        bench.add(Fault::new(action.clone()).at(exchange).on(trading));
        reconnected(&gateway, exchange, "trading", times).await;
        submit_when_open(&gateway, resting(exchange)).await;
        for order in &first {
            let known = gateway.orders().get(order.id()).expect("it is known");
            assert_eq!(known.status, OrderStatus::Open, "{action:?}");
        }
    }
    for (exchange, kind) in [(other(exchange), "market"), (other(exchange), "trading")] {
        assert_eq!(connection(&gateway, exchange, kind).reconnects, 0, "{exchange} {kind}");
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for order in first.iter().chain(&elsewhere) {
        assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
    }
    assert_eq!(ledger.exchange(exchange).orders.len(), 3 + breaks().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_orders_are_known_after_every_break_and_cancelled_at_shutdown() {
    orders_survive("binance").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kraken_orders_are_known_after_every_break_and_cancelled_at_shutdown() {
    orders_survive("kraken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_counted_and_ends_no_connection() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let mut ticks =
            gateway.subscribe_with(&[instrument(exchange)], QUEUE).expect("it is configured");
        for (kind, name) in
            [(ConnectionKind::Market, "market"), (ConnectionKind::Trading, "trading")]
        {
            for action in [
                FaultAction::SendGarbage { text: None },
                FaultAction::SendGarbage { text: Some("{\"e\":".into()) },
                FaultAction::SendGarbage { text: Some("[[[[[[[[".into()) },
                FaultAction::SendGarbage { text: Some(String::new()) },
                FaultAction::SendBinary,
                FaultAction::SendUnknownEvent,
            ] {
                let noted = || {
                    let now = connection(&gateway, exchange, name);
                    now.unreadable + now.ignored
                };
                let before = noted();
                let target = Target::Connection(kind);
                bench.add(Fault::new(action.clone()).at(exchange).on(target));
                until(&format!("{exchange} {name} notes {action:?}"), || noted() > before).await;
            }
            let now = connection(&gateway, exchange, name);
            assert_eq!((now.reconnects, now.status), (0, ConnectionStatus::Live), "{name}");
        }
        bench.quote(exchange, 31_000);
        assert_eq!(quoted(&mut ticks, 31_000).await, []);
        rest(&gateway, exchange, 1).await;
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_flight_on_a_connection_that_breaks_is_settled_and_not_sent_again() {
    for how in [Disconnect::Fin, Disconnect::Rst] {
        let bench = Bench::start(BOTH).await;
        let gateway = bench.gateway().await;
        for exchange in BOTH {
            let mut updates = gateway.orders().updates();
            bench.add(Fault::new(FaultAction::Drop { how }).at(exchange).on(Target::NthOrder(1)));
            let unknown = within(gateway.orders().submit(resting(exchange))).await;
            let Err(OrderError::OutcomeUnknown { id, .. }) = unknown else {
                panic!("{exchange}: {unknown:?}")
            };
            let open = update(&mut updates, |update| {
                update.order.client_id == id && update.order.status == OrderStatus::Open
            });
            open.await;
        }
        let report = within(gateway.shutdown()).await;
        let ledger = bench.mock.ledger();
        judge(&report, &ledger);
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        for exchange in BOTH {
            assert_eq!(ledger.exchange(exchange).orders.len(), 1, "{exchange} {how:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ends_while_the_connection_is_down_is_asked_about() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let order = rest(&gateway, exchange, 1).await.remove(0);
        let mut updates = gateway.orders().updates();
        bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0));
        let price = "20000".parse().expect("a price");
        let quantity = "0.01".parse().expect("a quantity");
        let side = mock_exchange::Side::Sell;
        let traded = bench.venue(exchange).trade(common::symbol(exchange), side, price, quantity);
        traded.expect("the market moves");
        bench.venue(exchange).drop_connections(Disconnect::Rst);
        let filled = update(&mut updates, |update| {
            update.order.client_id == order.id() && update.order.status == OrderStatus::Filled
        });
        assert_eq!(filled.await.order.filled, order.request.quantity, "{exchange}");
        bench.mock.faults().clear();
        for kind in ["market", "trading"] {
            reconnected(&gateway, exchange, kind, 1).await;
        }
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}
