//! Once a stop has begun no new order reaches the wire, however many tasks go on trying.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::judge::{cancels, judge, places, told};
use common::{BOTH, Bench, quiet, rest, resting, within};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::ClientOrderId;
use exchange_gateway::{Gateway, OrderError, Phase};
use mock_exchange::{ExchangeLedger, VenueConfig};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_after_the_stop_is_refused_with_the_phase() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in BOTH {
        let refused = gateway.orders().submit(resting(exchange)).await.expect_err("it stopped");
        assert!(
            matches!(refused, OrderError::Stopping { phase } if phase > Phase::Running),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("stopping (phase "), "{refused}");
        let refused = gateway.orders().submit_nowait(resting(exchange)).expect_err("it stopped");
        assert!(matches!(refused, OrderError::Stopping { .. }), "{refused:?}");
        assert_eq!(bench.venue(exchange).ledger().requests, [], "{exchange}");
    }
}

/// What a task that never tires was answered.
#[derive(Default)]
struct Answers {
    placed: Vec<ClientOrderId>,
    not_sent: Vec<ClientOrderId>,
    unknown: Vec<ClientOrderId>,
    stopping: u32,
}

async fn submit_until_refused(gateway: &Gateway, exchange: &str) -> Answers {
    let mut answers = Answers::default();
    // A few tries more than the first refusal, to knock at the closed gate.
    while answers.stopping < 50 {
        match gateway.orders().submit(resting(exchange)).await {
            Ok(order) => answers.placed.push(order.id()),
            Err(OrderError::Stopping { .. }) => answers.stopping += 1,
            Err(OrderError::NotSent { id, .. }) => answers.not_sent.push(id),
            Err(OrderError::OutcomeUnknown { id, .. } | OrderError::Abandoned { id }) => {
                answers.unknown.push(id);
            }
            Err(OrderError::Busy { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
    answers
}

fn no_order_after_the_first_cancel(exchange: &str, witness: &ExchangeLedger) {
    let first_cancel = witness.requests.iter().position(|request| cancels(&request.method));
    let first_cancel = first_cancel.expect("open orders were cancelled");
    let late = witness.requests[first_cancel..].iter().find(|request| places(&request.method));
    assert_eq!(late, None, "{exchange}");
}

async fn stop_under_load(venue: VenueConfig) {
    const TASKS: usize = 4;
    let bench = Bench::start_with(BOTH, venue).await;
    let gateway = std::sync::Arc::new(bench.gateway().await);
    let updates = gateway.orders().updates();
    let mut first = Vec::new();
    for exchange in BOTH {
        first.extend(rest(&gateway, exchange, 1).await);
    }
    let mut tasks = JoinSet::new();
    for task in 0..TASKS * BOTH.len() {
        let (gateway, exchange) = (gateway.clone(), BOTH[task % BOTH.len()]);
        tasks.spawn(async move { (exchange, submit_until_refused(&gateway, exchange).await) });
    }
    // The stop comes in the middle of it.
    bench.ledger(|ledger| BOTH.iter().all(|e| ledger.exchange(e).orders.len() > 100)).await;
    let report = within(gateway.shutdown()).await;
    let mut answers: BTreeMap<&str, Vec<Answers>> = BTreeMap::new();
    while let Some(done) = within(tasks.join_next()).await {
        let (exchange, answered) = done.expect("the task did not panic");
        answers.entry(exchange).or_default().push(answered);
    }

    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{:?} {:?}", report.phases, report.failures);
    let told = told(updates).await;
    for exchange in BOTH {
        let witness = ledger.exchange(exchange);
        no_order_after_the_first_cancel(exchange, witness);
        for seen in &witness.orders {
            assert!(!seen.status.is_open(), "{seen:?}");
            assert!(told[&seen.client_id].last.as_ref().is_some_and(|o| o.status.is_terminal()));
        }
        let answers = &answers[exchange];
        let placed: usize = answers.iter().map(|a| a.placed.len() + a.unknown.len()).sum();
        assert_eq!(witness.orders.len(), placed + 1, "{exchange}: every order was answered for");
        for id in answers.iter().flat_map(|a| &a.placed) {
            assert!(witness.order(id.as_str()).is_some(), "{exchange}: {id}");
        }
        for id in answers.iter().flat_map(|a| &a.not_sent) {
            assert!(witness.order(id.as_str()).is_none(), "{exchange}: {id}");
        }
    }
    let fates = report.exchanges.iter().flat_map(|exchange| &exchange.orders).map(|o| o.fate);
    assert!(fates.into_iter().all(|fate| matches!(fate, OrderFate::Canceled | OrderFate::NotSent)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_lets_no_order_through_after_the_first_cancel() {
    stop_under_load(quiet()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_with_slow_exchanges_answers_every_order() {
    let latency = Duration::from_millis(15);
    stop_under_load(VenueConfig { latency, ..quiet() }).await;
}
