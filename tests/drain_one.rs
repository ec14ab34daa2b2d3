//! One exchange is drained while the other trades on.

mod common;

use common::judge::judge;
use common::{BOTH, Bench, connection, instrument, quoted, reported, rest, resting, within};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::{ConnectionStatus, Delivery, DrainError, OrderError, Phase};
use mock_exchange::ClosedBy;

async fn drain(drained: &'static str, other: &'static str) {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let queue = Delivery::Queue { capacity: 1024 };
    let mut ticks = gateway.subscribe_with(&[instrument(other)], queue).expect("it is configured");
    let gone = rest(&gateway, drained, 3).await;
    let staying = rest(&gateway, other, 2).await;

    let report = within(gateway.drain(drained)).await.expect("it is configured");
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(report.trigger, format!("drain({drained})"));
    assert_eq!(report.exchanges.len(), 1);
    for order in &gone {
        assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
    }
    let ledger = bench.ledger(|ledger| {
        ledger.exchange(drained).connections.iter().all(|connection| connection.closed.is_some())
    });
    let ledger = ledger.await;
    judge(&report, &ledger);
    assert_eq!(ledger.exchange(drained).open_orders, []);
    for closed in &ledger.exchange(drained).connections {
        assert_eq!(closed.closed_by, Some(ClosedBy::Client));
        assert_eq!((closed.close_code_received, closed.close_code_sent), (Some(1000), Some(1000)));
    }
    let refused = gateway.orders().submit(resting(drained)).await.expect_err("it is drained");
    assert!(matches!(refused, OrderError::Stopping { .. }), "{refused:?}");

    // The other exchange noticed nothing.
    assert_eq!(*gateway.phase().borrow(), Phase::Running);
    for kind in ["market", "trading"] {
        let now = connection(&gateway, other, kind);
        assert_eq!((now.status, now.reconnects), (ConnectionStatus::Live, 0), "{other} {kind}");
    }
    assert_eq!(ledger.exchange(other).open_orders.len(), 2);
    assert_eq!(ledger.exchange(other).cancels, []);
    bench.quote(other, 31_000);
    assert_eq!(quoted(&mut ticks, 31_000).await, []);
    rest(&gateway, other, 1).await;

    // Asked again, it tells the same; an exchange that does not exist is named.
    let again = within(gateway.drain(drained)).await.expect("it was drained");
    assert_eq!(again, report);
    let unknown = gateway.drain("nasdaq").await.expect_err("there is none");
    assert!(matches!(unknown, DrainError::UnknownExchange { .. }), "{unknown:?}");
    assert!(unknown.to_string().contains(other), "{unknown}");

    let whole = within(gateway.shutdown()).await;
    judge(&whole, &bench.mock.ledger());
    assert_eq!(whole.outcome, Outcome::Clean, "{whole:#?}");
    for order in &staying {
        assert_eq!(reported(&whole, order.id()).fate, OrderFate::Canceled);
    }
    for exchange in &whole.exchanges {
        assert!(exchange.connections.iter().all(|connection| connection.closed_in_order));
    }
    assert!(matches!(gateway.drain(other).await, Err(DrainError::AlreadyStopping { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn kraken_is_drained_while_binance_trades_on() {
    drain("kraken", "binance").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_is_drained_while_kraken_trades_on() {
    drain("binance", "kraken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_in_the_middle_of_a_drain_leaves_no_order_behind() {
    let bench = Bench::start(BOTH).await;
    let gateway = std::sync::Arc::new(bench.gateway().await);
    for exchange in BOTH {
        rest(&gateway, exchange, 3).await;
    }
    let slow = mock_exchange::FaultAction::IgnoreCancel { ack: false, for_ms: Some(300) };
    bench.add(mock_exchange::Fault::new(slow).at("kraken").times(0));
    let draining = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.drain("kraken").await }
    });
    bench.ledger(|ledger| !ledger.exchange("kraken").cancels.is_empty()).await;
    let refused = gateway.orders().submit(resting("kraken")).await.expect_err("it is drained");
    assert!(matches!(refused, OrderError::Stopping { .. }), "{refused:?}");
    let report = within(gateway.shutdown()).await;
    let drained = within(draining).await.expect("no panic").expect("it was running");
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    judge(&drained, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert!(BOTH.iter().all(|exchange| ledger.exchange(exchange).open_orders.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_drain_kept_is_still_kept_when_the_whole_gateway_ends() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let order = within(gateway.orders().submit(resting("kraken").keep_on_shutdown())).await;
    let order = order.expect("it rests");
    let drained = within(gateway.drain("kraken")).await.expect("it is configured");
    assert_eq!(drained.outcome, Outcome::Clean, "{drained:#?}");
    assert_eq!(reported(&drained, order.id()).fate, OrderFate::Kept);

    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(reported(&report, order.id()).fate, OrderFate::Kept);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}
