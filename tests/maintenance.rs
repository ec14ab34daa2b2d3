//! An exchange that restricts trading or announces its end: orders are refused here with what it
//! allows, and none is lost.

mod common;

use common::judge::{judge, places};
use common::{Bench, reconnected, reported, rest, resting, submit_when_open, within};
use exchange_gateway::OrderError;
use exchange_gateway::exchange::TradingRestriction;
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::OrderStatus;
use mock_exchange::{ConnectionKind, Fault, FaultAction, SystemStatus, Target};

fn status(status: SystemStatus) -> FaultAction {
    FaultAction::Status { status, for_ms: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_kraken_takes_only_what_it_allows() {
    for (stated, expected) in [
        (SystemStatus::CancelOnly, TradingRestriction::CancelOnly),
        (SystemStatus::PostOnly, TradingRestriction::PostOnly),
        (SystemStatus::Maintenance, TradingRestriction::Maintenance),
    ] {
        let bench = Bench::start(&["kraken"]).await;
        let gateway = bench.gateway().await;
        let first = rest(&gateway, "kraken", 2).await;
        bench.fault("kraken", status(stated));
        let refused = within(async {
            loop {
                match gateway.orders().submit(resting("kraken")).await {
                    Err(error @ OrderError::Restricted { .. }) => return error,
                    // Until the notice is here the exchange itself says no, or takes the order.
                    Ok(_)
                    | Err(OrderError::Rejected { .. } | OrderError::OutcomeUnknown { .. }) => {
                        tokio::task::yield_now().await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let refused = refused.await;
        let OrderError::Restricted { restriction, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(restriction, expected);
        let witness = bench.venue("kraken").ledger();
        let asked = witness.requests.iter().filter(|r| places(&r.method)).count();
        let refused = gateway.orders().submit(resting("kraken")).await;
        assert!(matches!(refused, Err(OrderError::Restricted { .. })), "{refused:?}");
        let witness = bench.venue("kraken").ledger();
        assert_eq!(witness.requests.iter().filter(|r| places(&r.method)).count(), asked);
        if expected == TradingRestriction::PostOnly {
            let makes = within(gateway.orders().submit(resting("kraken").post_only())).await;
            assert_eq!(makes.expect("makers are welcome").status, OrderStatus::Open);
        }
        if expected != TradingRestriction::Maintenance {
            let ended = within(gateway.orders().cancel(first[0].id())).await;
            assert_eq!(ended.expect("cancels pass").status, OrderStatus::Canceled);
        }
        // Back online, orders pass again.
        bench.fault("kraken", status(SystemStatus::Online));
        within(async {
            while gateway.orders().submit(resting("kraken")).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let report = within(gateway.shutdown()).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_during_cancel_only_cancels_all() {
    let bench = Bench::start(&["kraken"]).await;
    let gateway = bench.gateway().await;
    let orders = rest(&gateway, "kraken", 3).await;
    bench.fault("kraken", status(SystemStatus::CancelOnly));
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for order in orders {
        assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_s_notice_of_a_shutdown_is_a_planned_reconnect_without_loss() {
    let bench = Bench::start(&["binance"]).await;
    let gateway = bench.gateway().await;
    let orders = rest(&gateway, "binance", 3).await;
    bench.add(Fault::new(FaultAction::ServerShutdown).at("binance").times(2));
    for kind in ["market", "trading"] {
        reconnected(&gateway, "binance", kind, 1).await;
    }
    let witness = bench.venue("binance").ledger();
    let replaced: Vec<_> = witness.connections.iter().filter(|c| c.closed.is_some()).collect();
    assert_eq!(replaced.len(), 2, "{replaced:?}");
    for old in replaced {
        assert_eq!(old.close_code_received, Some(1000), "closed in order: {old:?}");
        assert_eq!(old.close_code_sent, Some(1000), "{old:?}");
    }
    submit_when_open(&gateway, resting("binance")).await;
    for order in &orders {
        let known = gateway.orders().get(order.id()).expect("it is known");
        assert_eq!(known.status, OrderStatus::Open);
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for order in &orders {
        assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_meets_orders_in_flight_settles_each_of_them() {
    let bench = Bench::start(&["binance"]).await;
    let gateway = bench.gateway().await;
    let trading = Target::Connection(ConnectionKind::Trading);
    let orders = gateway.orders().clone();
    let submitting = tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..300 {
            answers.push(orders.submit(resting("binance")).await);
        }
        answers
    });
    bench.ledger(|ledger| ledger.exchange("binance").orders.len() > 20).await;
    bench.add(Fault::new(FaultAction::ServerShutdown).at("binance").on(trading));
    reconnected(&gateway, "binance", "trading", 1).await;
    let answers = within(submitting).await.expect("no panic");
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let witness = ledger.exchange("binance");
    for answer in answers {
        match answer {
            Ok(order) => assert!(witness.order(order.id().as_str()).is_some()),
            Err(OrderError::NotSent { id, .. }) => assert!(witness.order(id.as_str()).is_none()),
            Err(OrderError::OutcomeUnknown { .. } | OrderError::NotConnected { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(witness.orders.iter().all(|order| !order.status.is_open()));
}
