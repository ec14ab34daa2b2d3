//! An order's intent is stored before its bytes are written, everything that happens to it after,
//! and what cannot be stored is told.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, rest, resting, submit_when_open, update, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::state::{Durability, StateView};
use exchange_gateway::types::{Order, OrderStatus};
use exchange_gateway::{Gateway, OrderError, StartError};
use mock_exchange::{Fault, FaultAction};

/// The orders of the database, newest first.
fn stored(gateway: &Gateway) -> Vec<Order> {
    let view = StateView::open(gateway.state_directory().path()).expect("it is there");
    let found = view.orders(1000, false).expect("it is readable");
    assert_eq!(found.damaged, []);
    found.rows
}

async fn the_intent_is_there_when_the_exchange_sees_the_order(durability: Durability) {
    let mut bench = Bench::start(BOTH).await;
    bench.config.gateway.durability = durability;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        bench.add(Fault::new(FaultAction::LoseAck).at(exchange));
        let id = gateway.orders().submit_nowait(resting(exchange)).expect("it is taken");
        bench.ledger(|ledger| ledger.exchange(exchange).order(id.as_str()).is_some()).await;
        let order = stored(&gateway).into_iter().find(|order| order.client_id == id);
        let order = order.expect("its intent is stored");
        assert_eq!(order.request, resting(exchange));
        assert!(!order.status.is_terminal());
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_on_the_wire_is_in_the_database() {
    the_intent_is_there_when_the_exchange_sees_the_order(Durability::Process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_on_the_wire_is_on_the_disk() {
    the_intent_is_there_when_the_exchange_sees_the_order(Durability::Power).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_end_the_database_agrees_with_the_ledger_and_holds_the_report() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 3).await;
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let orders = stored(&gateway);
    assert_eq!(orders.len(), 6);
    for order in &orders {
        let witness = bench.mock.ledger();
        let seen = witness.exchange(order.request.instrument.exchange().as_str());
        let seen = seen.order(order.client_id.as_str()).expect("the exchange saw it");
        assert_eq!(order.status, OrderStatus::Canceled);
        assert_eq!(seen.status, mock_exchange::OrderStatus::Canceled);
    }
    let view = StateView::open(gateway.state_directory().path()).expect("it is there");
    let run = view.runs(1).expect("it is readable").rows.remove(0);
    assert_eq!(run.outcome.as_deref(), Some("clean"));
    assert_eq!(run.trigger.as_deref(), Some("shutdown()"));
    let saved: serde_json::Value =
        serde_json::from_str(run.report.as_deref().expect("a report")).expect("it is JSON");
    assert_eq!(saved["exchanges"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_one_directory_is_refused_and_told_the_holder() {
    let bench = Bench::start(&["binance"]).await;
    let gateway = bench.gateway().await;
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("it is in use");
    assert!(matches!(error, StartError::State(_)), "{error:?}");
    let holder = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
    // Whoever comes after the end may have it.
    let next = bench.gateway().await;
    assert_eq!(within(next.shutdown()).await.outcome, Outcome::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_stops_new_orders_lets_cancels_out_and_is_the_exit_code() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let mut orders = Vec::new();
    for exchange in BOTH {
        orders.extend(rest(&gateway, exchange, 2).await);
    }
    // Another program takes the database and does not give it back.
    let path = gateway.state_directory().path().join("gateway.db");
    let intruder = rusqlite::Connection::open(&path).expect("a second connection");
    intruder.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let refused = within(async {
        loop {
            match gateway.orders().submit(resting("binance")).await {
                Err(OrderError::NotSent { .. }) => {}
                Err(refused) => return refused,
                Ok(order) => panic!("{order:?} was sent and is not stored"),
            }
        }
    })
    .await;
    assert!(matches!(refused, OrderError::StateFailed { .. }), "{refused:?}");
    let placed = bench.mock.ledger().exchange("binance").orders.len();
    assert_eq!(placed, 2, "what is not stored is not sent");

    let ended = within(gateway.orders().cancel(orders[0].id())).await.expect("it is cancelled");
    assert_eq!(ended.status, OrderStatus::Canceled);
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::StateNotSaved, "{report:#?}");
    assert_eq!(report.outcome.exit_code(), 14);
    assert!(bench.mock.ledger().exchanges.values().all(|e| e.open_orders.is_empty()));
    assert!(report.failures.iter().any(|failure| failure.scope == "gateway/state"), "{report:#?}");
    // What could not be stored is kept in a file beside the database.
    let file = report.state.emergency_file.as_deref().expect("an emergency file");
    let text = std::fs::read_to_string(file).expect("it is readable");
    for order in &orders {
        let cancelled = |line: &&str| {
            line.contains(order.client_id.as_str()) && line.contains("\"status\":\"canceled\"")
        };
        assert!(text.lines().any(|line| cancelled(&line)), "{order:?} is in the file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_are_saved_while_the_gateway_runs() {
    let mut bench = Bench::start(BOTH).await;
    bench.config.gateway.save_every = Duration::from_millis(10);
    let gateway = bench.gateway().await;
    bench.quote("kraken", 61_234);
    let path = gateway.state_directory().path().to_owned();
    common::until("the tick is stored", || {
        let view = StateView::open(&path).expect("it is there");
        let ticks = view.last_ticks().expect("it is readable").rows;
        ticks.iter().any(|last| format!("{:?}", last.quote).contains("61234"))
    })
    .await;
    within(gateway.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transition_of_an_order_is_stored_in_order() {
    let bench = Bench::start(&["kraken"]).await;
    let gateway = bench.gateway().await;
    let mut updates = gateway.orders().updates();
    let order = submit_when_open(&gateway, resting("kraken")).await;
    within(gateway.orders().cancel(order.id())).await.expect("it is cancelled");
    update(&mut updates, |update| update.order.status == OrderStatus::Canceled).await;
    within(gateway.shutdown()).await;
    let path = gateway.state_directory().path().join("gateway.db");
    let database = rusqlite::Connection::open(path).expect("any SQLite tool opens it");
    let mut statement = database
        .prepare("SELECT status FROM transitions WHERE client_id = ? ORDER BY seq")
        .expect("the table is there");
    let rows = statement.query_map([order.client_id.as_str()], |row| row.get::<_, String>(0));
    let history: Vec<_> = rows.expect("rows").map(|row| row.expect("a status")).collect();
    assert_eq!(history, ["pending", "sent", "open", "canceled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_a_run_that_ended_and_not_one_that_was_killed() {
    let mut bench = Bench::start(&["kraken"]).await;
    let configured = bench.config.exchanges[0].instruments.clone();
    bench.config.exchanges[0].instruments = vec!["kraken:NONE-SUCH".parse().expect("a name")];
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("nobody trades it");
    assert!(matches!(error, StartError::UnknownInstruments { .. }), "{error:?}");
    bench.config.exchanges[0].instruments = configured;
    let gateway = bench.gateway().await;
    let view = StateView::open(gateway.state_directory().path()).expect("it is there");
    let runs = view.runs(2).expect("it is readable").rows;
    let failed = runs.iter().find(|run| run.id == 1).expect("the run that failed");
    assert_eq!(failed.outcome.as_deref(), Some("not_started"));
    within(gateway.shutdown()).await;
}
