//! A cancel is done when the exchange has confirmed that the order has ended: not when it was
//! written, and not when it was acknowledged.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, reported, rest, within};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::OrderStatus;
use mock_exchange::{CancelOutcome, Fault, FaultAction, OrderStatus as Seen};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_by_the_bot_returns_when_the_order_has_ended() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let order = rest(&gateway, exchange, 1).await.remove(0);
        let ended = within(gateway.orders().cancel(order.id())).await.expect("it is cancelled");
        assert_eq!(ended.status, OrderStatus::Canceled);
        let ledger = bench.mock.ledger();
        let seen = ledger.exchange(exchange).order(order.id().as_str()).expect("it was placed");
        assert_eq!(seen.status, Seen::Canceled, "{exchange}");
        let again = within(gateway.orders().cancel(order.id())).await.expect("it has ended");
        assert_eq!(again, ended, "the same answer, however late the question");
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

/// Shuts down with one order an exchange whose first cancel meets a fault. The order must end as
/// cancelled all the same.
async fn shut_down_through(action: FaultAction, seen_first: CancelOutcome) -> Vec<(u32, u64)> {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        ids.push((exchange, rest(&gateway, exchange, 1).await.remove(0).id()));
        bench.fault(exchange, action.clone());
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{action:?}: {report:#?}");
    let mut efforts = Vec::new();
    for (exchange, id) in ids {
        let witness = ledger.exchange(exchange);
        assert_eq!(witness.cancels[0].outcome, seen_first, "{exchange}: {action:?}");
        assert_eq!(witness.open_orders, [], "{exchange}: {action:?}");
        let line = reported(&report, id);
        assert_eq!(line.fate, OrderFate::Canceled, "{action:?}");
        efforts.push((line.cancel_attempts, line.confirmed_after_ms.expect("it was confirmed")));
    }
    efforts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_cancel_is_not_a_cancelled_order() {
    let action = FaultAction::IgnoreCancel { ack: true, for_ms: Some(500) };
    for (_, confirmed_after_ms) in shut_down_through(action, CancelOutcome::Ignored).await {
        // The second cancel, after 200 ms, is the one that works.
        assert!(confirmed_after_ms >= 150, "{confirmed_after_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_cancel_that_never_happens_is_written_again() {
    let action = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    for (attempts, _) in shut_down_through(action, CancelOutcome::Ignored).await {
        assert!(attempts >= 2, "{attempts} attempts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_cancel_is_written_again() {
    let action = FaultAction::IgnoreCancel { ack: false, for_ms: None };
    for (attempts, _) in shut_down_through(action, CancelOutcome::Ignored).await {
        assert!(attempts >= 2, "{attempts} attempts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_does_not_hide_that_the_order_has_ended() {
    shut_down_through(FaultAction::LoseCancelAck, CancelOutcome::Canceled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_acknowledgement_does_not_hide_that_the_order_has_ended() {
    let action = FaultAction::DelayCancelAck { ms: 5_000 };
    for (_, confirmed_after_ms) in shut_down_through(action, CancelOutcome::Canceled).await {
        assert!(confirmed_after_ms < 4_000, "{confirmed_after_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_cancel_is_written_again() {
    let text = "Rate limit exceeded".to_owned();
    let action = FaultAction::RejectCancel { code: Some(-1015), text };
    for (attempts, _) in shut_down_through(action, CancelOutcome::Refused).await {
        assert!(attempts >= 2, "{attempts} attempts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_whose_answer_and_update_are_both_lost_is_settled_by_asking() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let order = rest(&gateway, exchange, 1).await.remove(0);
        bench.fault(exchange, FaultAction::LoseCancelAck);
        bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0));
        let started = std::time::Instant::now();
        let ended = within(gateway.orders().cancel(order.id())).await.expect("it is settled");
        assert_eq!(ended.status, OrderStatus::Canceled, "{exchange}");
        assert!(started.elapsed() < Duration::from_secs(5), "{exchange}");
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}
