//! An order whose answer does not come is unknown, never lost, and never sent twice.

mod common;

use std::time::Duration;

use common::judge::{judge, places, told};
use common::{BOTH, Bench, reported, resting, until, update, within};
use exchange_gateway::OrderError;
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::{ClientOrderId, OrderStatus};
use mock_exchange::{ConnectionKind, Disconnect, Fault, FaultAction, OrderStatus as Seen, Target};

async fn impatient() -> Bench {
    let mut bench = Bench::start(BOTH).await;
    bench.config.orders.ack_timeout = Duration::from_millis(150);
    bench.config.orders.query_retry = Duration::from_millis(100);
    bench
}

/// The exchange places the order and says nothing of it, until the faults are cleared.
fn hush(bench: &Bench, exchange: &str) {
    bench.fault(exchange, FaultAction::LoseAck);
    bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_then_settled_by_asking() {
    let bench = impatient().await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let mut updates = gateway.orders().updates();
        hush(&bench, exchange);
        let unknown = within(gateway.orders().submit(resting(exchange))).await;
        let Err(OrderError::OutcomeUnknown { id, reason }) = unknown else {
            panic!("{exchange}: {unknown:?}")
        };
        assert!(reason.contains("150 ms"), "{reason}");
        let settled = update(&mut updates, |update| {
            update.order.client_id == id && update.order.status == OrderStatus::Open
        });
        settled.await;
        assert!(gateway.orders().get(id).expect("it is known").exchange_id.is_some());
        bench.mock.faults().clear();
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in BOTH {
        assert_eq!(ledger.exchange(exchange).orders.len(), 1);
        assert_eq!(ledger.exchange(exchange).orders[0].status, Seen::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_stream_settles_an_order_whose_answer_is_lost() {
    let bench = impatient().await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        bench.fault(exchange, FaultAction::LoseAck);
        let order = within(gateway.orders().submit(resting(exchange))).await.expect("it rests");
        assert_eq!(order.status, OrderStatus::Open, "{exchange}");
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_answered_for_is_cancelled_by_the_shutdown() {
    let mut bench = impatient().await;
    // Nothing is asked before the shutdown: the order is in flight when it begins.
    bench.config.orders.ack_timeout = Duration::from_secs(30);
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        hush(&bench, exchange);
        ids.push(gateway.orders().submit_nowait(resting(exchange)).expect("it is taken"));
        bench.ledger(|ledger| !ledger.exchange(exchange).open_orders.is_empty()).await;
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for id in ids {
        assert_eq!(reported(&report, id).fate, OrderFate::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_unknown_when_the_shutdown_begins_is_settled_over_a_fresh_connection() {
    let mut bench = impatient().await;
    // The reconnect falls into the shutdown.
    bench.connections(|connection| {
        connection.backoff_min = Duration::from_millis(400);
        connection.backoff_max = Duration::from_millis(400);
    });
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        let drop = FaultAction::Drop { how: Disconnect::Rst };
        bench.add(Fault::new(drop).at(exchange).on(Target::NthOrder(1)));
        let unknown = within(gateway.orders().submit(resting(exchange))).await;
        let Err(OrderError::OutcomeUnknown { id, reason }) = unknown else {
            panic!("{exchange}: {unknown:?}")
        };
        assert!(reason.contains("connection was lost"), "{reason}");
        ids.push(id);
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for id in ids {
        assert_eq!(reported(&report, id).fate, OrderFate::Canceled);
    }
    for exchange in BOTH {
        let places = |witness: &mock_exchange::ExchangeLedger| {
            witness.requests.iter().filter(|request| places(&request.method)).count()
        };
        assert_eq!(places(ledger.exchange(exchange)), 1, "{exchange}: never sent again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_during_the_shutdown_revives_nothing() {
    let bench = impatient().await;
    let gateway = bench.gateway().await;
    let updates = gateway.orders().updates();
    let mut ids = Vec::new();
    for exchange in BOTH {
        bench.fault(exchange, FaultAction::DelayAck { ms: 500 });
        bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0));
        // The cancel takes longer than the answer.
        let slow = FaultAction::IgnoreCancel { ack: false, for_ms: Some(900) };
        bench.add(Fault::new(slow).at(exchange).times(0));
        ids.push(gateway.orders().submit_nowait(resting(exchange)).expect("it is taken"));
        bench.ledger(|ledger| !ledger.exchange(exchange).open_orders.is_empty()).await;
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let told = told(updates).await;
    for id in ids {
        assert_eq!(reported(&report, id).fate, OrderFate::Canceled);
        let last = told[id.as_str()].last.as_ref().expect("it was told");
        assert_eq!(last.status, OrderStatus::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_the_patience_is_believed() {
    let bench = impatient().await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let mut updates = gateway.orders().updates();
        bench.fault(exchange, FaultAction::DelayAck { ms: 400 });
        bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0));
        let unknown = within(gateway.orders().submit(resting(exchange))).await;
        let Err(OrderError::OutcomeUnknown { id, .. }) = unknown else {
            panic!("{exchange}: {unknown:?}")
        };
        let open = update(&mut updates, |update| {
            update.order.client_id == id && update.order.status == OrderStatus::Open
        });
        open.await;
        bench.mock.faults().clear();
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_s_own_unknown_is_asked_and_never_sent_again() {
    let bench = impatient().await;
    let gateway = bench.gateway().await;
    let mut updates = gateway.orders().updates();
    let text = "Timeout waiting for response from backend server.".to_owned();
    bench.fault("binance", FaultAction::Reject { code: Some(-1007), text: text.clone() });
    let unknown = within(gateway.orders().submit(resting("binance"))).await;
    let Err(OrderError::OutcomeUnknown { id, reason }) = unknown else { panic!("{unknown:?}") };
    assert!(reason.contains(&text), "{reason}");
    let ended = update(&mut updates, |update| {
        update.order.client_id == id && update.order.status.is_terminal()
    });
    let ended = ended.await;
    assert_eq!(ended.order.status, OrderStatus::Rejected);
    assert_eq!(ended.order.reason.as_deref(), Some("the exchange knows no such order"));
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let witness = ledger.exchange("binance");
    assert_eq!(witness.requests.iter().filter(|r| places(&r.method)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_still_waits_in_the_socket_is_not_denied_by_another_way_of_asking() {
    for stop_at_once in [true, false] {
        let bench = impatient().await;
        let gateway = bench.gateway().await;
        let updates = gateway.orders().updates();
        let mut ids = Vec::new();
        for exchange in BOTH {
            let deaf = FaultAction::StopReading { for_ms: Some(1_200) };
            let trading = Target::Connection(ConnectionKind::Trading);
            bench.add(Fault::new(deaf).at(exchange).on(trading));
            for _ in 0..3 {
                ids.push(gateway.orders().submit_nowait(resting(exchange)).expect("it is taken"));
            }
        }
        let written = |id: &ClientOrderId| {
            gateway.orders().get(*id).is_some_and(|order| order.status != OrderStatus::Pending)
        };
        until("every order is written", || ids.iter().all(written)).await;
        if !stop_at_once {
            bench.ledger(|l| BOTH.iter().all(|e| l.exchange(e).orders.len() == 3)).await;
        }
        let report = within(gateway.shutdown()).await;
        let ledger = bench.all_closed().await;
        judge(&report, &ledger);
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        for exchange in BOTH {
            assert_eq!(ledger.exchange(exchange).open_orders, [], "{exchange}");
            assert_eq!(ledger.exchange(exchange).orders.len(), 3, "{exchange}");
        }
        let mut updates = updates;
        while let Some(update) = within(updates.next()).await {
            assert_ne!(update.order.status, OrderStatus::Rejected, "{update:?}");
        }
        for id in ids {
            assert_eq!(reported(&report, id).fate, OrderFate::Canceled);
        }
    }
}
