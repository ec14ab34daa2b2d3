//! Once a stop has begun no new order reaches the wire, however many tasks go on trying.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::judge::{cancels, judge, places, told};
use common::network::narrow;
use common::{BOTH, Bench, phase, quiet, rest, resting, within};
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd};
use exchange_gateway::types::{ClientOrderId, OrderStatus};
use exchange_gateway::{Gateway, OrderError, Phase};
use mock_exchange::{ConnectionKind, ExchangeLedger, Fault, FaultAction, Target, VenueConfig};
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
    handed_over: Vec<ClientOrderId>,
    not_sent: Vec<ClientOrderId>,
    unknown: Vec<ClientOrderId>,
    stopping: u32,
}

async fn submit_until_refused(gateway: &Gateway, exchange: &str) -> Answers {
    let mut answers = Answers::default();
    // A few tries more than the first refusal, to knock at the closed gate.
    while answers.stopping < 50 {
        // A burst that nobody waits for keeps the queue filled at every moment.
        let burst = (0..32).map(|_| gateway.orders().submit_nowait(resting(exchange)));
        answers.handed_over.extend(burst.filter_map(Result::ok));
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
    let mut bench = Bench::start_with(BOTH, venue).await;
    // Generous limits: a busy machine is no failed shutdown.
    bench.config.shutdown.deadline = Duration::from_secs(60);
    bench.config.shutdown.cancel_pending = Duration::from_secs(30);
    bench.config.shutdown.disconnect = Duration::from_secs(20);
    bench.connections(|connection| connection.close_timeout = Duration::from_secs(15));
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
        let on_wire = |id: &&ClientOrderId| witness.order(id.as_str()).is_some();
        let handed_over = answers.iter().flat_map(|a| &a.handed_over).filter(on_wire).count();
        let placed: usize = answers.iter().map(|a| a.placed.len() + a.unknown.len()).sum();
        let expected = placed + handed_over + 1;
        assert_eq!(witness.orders.len(), expected, "{exchange}: every order was answered for");
        for id in answers.iter().flat_map(|a| &a.handed_over) {
            let last = told[id.as_str()].last.as_ref().expect("it was told").status;
            let seen = witness.order(id.as_str()).is_some();
            assert_eq!(last == OrderStatus::NotSent, !seen, "{exchange}: {id} is {last}");
        }
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

/// Fills the socket of an exchange that does not read, then stops.
async fn stop_while_orders_are_stuck(exchange: &str, for_ms: Option<u64>) {
    let mut bench = Bench::start(&[exchange]).await;
    bench.config.shutdown.stop_new_orders = Duration::from_millis(300);
    if for_ms.is_none() {
        bench.config.shutdown.cancel_pending = Duration::from_millis(500);
        bench.connections(|connection| connection.close_timeout = Duration::from_millis(300));
    } else {
        // Long enough that the connection is not taken for dead before it is read again.
        bench.config.shutdown.cancel_retry = Duration::from_secs(2);
    }
    let gateway = Gateway::start_in(bench.config.clone(), narrow()).await.expect("it starts");
    let updates = gateway.orders().updates();
    let trading = Target::Connection(ConnectionKind::Trading);
    bench.add(Fault::new(FaultAction::StopReading { for_ms }).at(exchange).on(trading));
    let mut taken = Vec::new();
    let busy = within(async {
        // Full is the queue when the connection writes no more for a while: the socket is stuck.
        let mut full_since = Instant::now();
        loop {
            match gateway.orders().submit_nowait(resting(exchange)) {
                Ok(id) => {
                    taken.push(id);
                    full_since = Instant::now();
                }
                Err(busy @ OrderError::Busy { .. }) => {
                    if full_since.elapsed() > Duration::from_millis(400) {
                        return busy;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert!(busy.to_string().contains("1024 orders already wait"), "{busy}");

    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(phase(&report, Phase::StopNewOrders).ended, PhaseEnd::TimedOut);
    let told = told(updates).await;
    let fate = |id: &ClientOrderId| {
        let orders = report.exchanges.iter().flat_map(|exchange| &exchange.orders);
        orders.into_iter().find(|order| order.client_id == *id).map(|order| order.fate)
    };
    let witness = ledger.exchange(exchange);
    let mut not_sent = 0;
    for id in &taken {
        let last = told[id.as_str()].last.as_ref().expect("it was told").status;
        match (for_ms, last) {
            (_, OrderStatus::NotSent) => {
                not_sent += 1;
                assert_eq!(witness.order(id.as_str()), None, "{id}");
            }
            (Some(_), OrderStatus::Canceled) => {
                assert_eq!(fate(id), Some(OrderFate::Canceled), "{id}");
            }
            // Bytes of it may be on the way: it is named.
            (None, _) => assert_eq!(fate(id), Some(OrderFate::Unknown), "{id} is {last}"),
            (_, other) => panic!("{id} is {other}"),
        }
    }
    assert!(not_sent >= 1024, "what waited in the queue was not sent: {not_sent}");
    if for_ms.is_some() {
        assert_eq!(report.outcome, Outcome::Degraded, "{:?}", report.failures);
        no_order_after_the_first_cancel(exchange, witness);
        assert_eq!(witness.open_orders, []);
    } else {
        assert_eq!(report.outcome, Outcome::OrdersLeft);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_stuck_behind_an_exchange_that_does_not_read_are_cancelled_when_it_reads_again() {
    for exchange in BOTH {
        stop_while_orders_are_stuck(exchange, Some(2_000)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_stuck_behind_an_exchange_that_never_reads_are_named() {
    for exchange in BOTH {
        stop_while_orders_are_stuck(exchange, None).await;
    }
}
