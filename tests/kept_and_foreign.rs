//! Shutdown cancels the gateway's own orders and nothing else: what a person placed by hand is
//! counted and left alone, what a bot marked to be kept is named as kept.

mod common;

use common::judge::judge;
use common::{BOTH, Bench, connection, reported, resting, symbol, until, within};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::OrderStatus;
use exchange_gateway::{ConnectionStatus, Gateway};
use mock_exchange::{Disconnect, Fault, FaultAction, Refusal, Side};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_s_own_orders_are_cancelled() {
    let bench = Bench::start(BOTH).await;
    let (price, quantity) = ("19000".parse().expect("a price"), "0.02".parse().expect("a number"));
    for exchange in BOTH {
        for (at, id) in ["mine1", "mine2"].into_iter().enumerate() {
            let venue = bench.venue(exchange);
            let placed = venue.place_by_hand(symbol(exchange), id, Side::Buy, price, quantity);
            placed.unwrap_or_else(|error| panic!("{at}: {error}"));
        }
    }
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        let kept = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
        let ours = within(gateway.orders().submit(resting(exchange))).await;
        ids.push((exchange, kept.expect("it rests").id(), ours.expect("it rests").id()));
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    for (exchange, kept, ours) in ids {
        assert_eq!(reported(&report, kept).fate, OrderFate::Kept);
        assert_eq!(reported(&report, kept).cancel_attempts, 0);
        assert_eq!(reported(&report, ours).fate, OrderFate::Canceled);
        let open = &ledger.exchange(exchange).open_orders;
        let open: Vec<_> = open.iter().map(|order| order.client_id.as_str()).collect();
        assert_eq!(open.len(), 3, "{exchange}: {open:?}");
        for left in ["mine1", "mine2", kept.as_str()] {
            assert!(open.contains(&left), "{exchange}: {left} is open: {open:?}");
        }
        let named = report.exchanges.iter().find(|e| e.exchange.as_str() == *exchange);
        assert_eq!(named.expect("it is reported").foreign_orders, 2, "{exchange}");
    }
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

/// Waits until the gateway knows that its trading connection is gone, or has been.
async fn loss_noticed(gateway: &Gateway, exchange: &str) {
    until("the loss is noticed", || {
        let now = connection(gateway, exchange, "trading");
        now.status != ConnectionStatus::Live || now.reconnects > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_order_that_fills_while_the_connection_is_down_is_not_called_kept() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        let order = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
        ids.push(order.expect("it rests").id());
        let refuse = FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: Some(300) };
        bench.mock.faults().add(Fault::new(refuse).at(exchange)).expect("a fault");
        let venue = bench.venue(exchange);
        venue.drop_connections(Disconnect::Rst);
        bench.ledger(|l| l.exchange(exchange).connections.iter().all(|c| c.closed.is_some())).await;
        loss_noticed(&gateway, exchange).await;
        let price = "20000".parse().expect("a price");
        let quantity = "0.01".parse().expect("a quantity");
        venue.trade(symbol(exchange), Side::Sell, price, quantity).expect("a trade");
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    for id in ids {
        assert_eq!(reported(&report, id).fate, OrderFate::FilledDuringCancel);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_an_earlier_run_left_open_is_named_and_is_the_exit_code() {
    let bench = Bench::start(BOTH).await;
    for exchange in BOTH {
        let price = "20000".parse().expect("a price");
        let quantity = "0.01".parse().expect("a quantity");
        let venue = bench.venue(exchange);
        let side = Side::Buy;
        venue
            .place_by_hand(symbol(exchange), "gw88earlier", side, price, quantity)
            .expect("it rests");
    }
    let gateway = bench.gateway().await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft);
    for exchange in &report.exchanges {
        let left: Vec<_> = exchange.leftover_orders.iter().map(|o| o.client_id.as_str()).collect();
        assert_eq!(left, ["gw88earlier"], "{}", exchange.exchange);
        assert_eq!(exchange.foreign_orders, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_order_that_is_unknown_is_settled_or_named_never_called_kept_blindly() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        let order = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
        let order = order.expect("it rests");
        assert_eq!(order.status, OrderStatus::Open);
        ids.push(order.id());
        bench.venue(exchange).drop_connections(Disconnect::Rst);
        loss_noticed(&gateway, exchange).await;
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    for id in ids {
        assert_eq!(reported(&report, id).fate, OrderFate::Kept);
    }
}
