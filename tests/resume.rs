//! An exchange that was drained is taken up again while the other trades on.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::judge::judge;
use common::{Bench, connection, instrument, quoted, reported, rest, resting, until, within};
use exchange_gateway::shutdown::{OrderFate, Outcome, SwitchState};
use exchange_gateway::types::OrderStatus;
use exchange_gateway::{
    ConnectionStatus, Delivery, DrainError, Gateway, OrderError, Phase, ResumeError, StartError,
};
use mock_exchange::{ConnectionKind, Fault, FaultAction, Refusal, Target, When};

const ALL: &[&str] = &["binance", "deribit", "kraken"];

async fn drained(gateway: &Gateway, exchange: &str) -> Arc<exchange_gateway::ShutdownReport> {
    within(gateway.drain(exchange)).await.expect("it is configured")
}

async fn resumed(gateway: &Gateway, exchange: &str) {
    within(gateway.resume(exchange)).await.expect("it comes up again");
}

/// Keeps the exchange's market connection from becoming live, so that a resume waits for it.
fn mute_the_market(bench: &Bench, exchange: &str) {
    let silence = Fault::new(FaultAction::GoSilent { for_ms: None }).at(exchange).times(0);
    bench.add(silence.on(Target::Connection(ConnectionKind::Market)).when(When::Open));
}

async fn drain_and_resume(exchange: &'static str, other: &'static str) {
    let mut bench = Bench::start(&[exchange, other]).await;
    for config in &mut bench.config.exchanges {
        config.account_is_ours = true;
        if config.name.as_str() == "kraken" {
            config.dead_mans_switch = Some(Duration::from_secs(60));
        }
    }
    let gateway = bench.gateway().await;
    let queue = Delivery::Queue { capacity: 1024 };
    let mut ticks = gateway.subscribe_with(&[instrument(exchange)], queue).expect("configured");
    bench.quote(exchange, 31_000);
    quoted(&mut ticks, 31_000).await;
    let kept = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
    let kept = kept.expect("it rests");
    let staying = rest(&gateway, other, 2).await;

    for round in 1..=2_u32 {
        let gone = rest(&gateway, exchange, 2).await;
        let report = drained(&gateway, exchange).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        for order in &gone {
            assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
        }
        assert_eq!(reported(&report, kept.id()).fate, OrderFate::Kept);
        rest(&gateway, other, 1).await;

        resumed(&gateway, exchange).await;
        assert_eq!(*gateway.phase().borrow(), Phase::Running);
        for kind in ["market", "trading"] {
            let now = connection(&gateway, exchange, kind);
            assert_eq!(now.status, ConnectionStatus::Live);
            assert_eq!(now.reconnects, u64::from(round));
            let untouched = connection(&gateway, other, kind);
            assert_eq!(
                (untouched.status, untouched.reconnects),
                (ConnectionStatus::Live, 0),
                "{other} {kind}"
            );
        }
        // The subscription from before tells the hole, then ticks.
        let price = 31_000 + round;
        bench.quote(exchange, price);
        let gaps = quoted(&mut ticks, price).await;
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert!(gaps[0].from < gaps[0].to && gaps[0].instrument == instrument(exchange));
        // The kept order is the gateway's as before, and new ones are taken at once.
        assert_eq!(gateway.orders().get(kept.id()).map(|o| o.status), Some(OrderStatus::Open));
        let again = rest(&gateway, exchange, 1).await.remove(0);
        within(gateway.orders().cancel(again.id())).await.expect("it can be cancelled");
    }
    let open = bench.mock.ledger().exchange(exchange).open_orders.len();
    assert_eq!(open, 1, "the kept one");
    within(gateway.orders().cancel(kept.id())).await.expect("it can be cancelled");
    let last = rest(&gateway, exchange, 1).await.remove(0);

    let whole = within(gateway.shutdown()).await;
    let ledger = bench.all_closed().await;
    judge(&whole, &ledger);
    assert_eq!(whole.outcome, Outcome::Clean, "{whole:#?}");
    for order in staying.iter().chain([&last]) {
        assert_eq!(reported(&whole, order.id()).fate, OrderFate::Canceled);
    }
    // What the drains cancelled is in the last report as well.
    let of = |name: &str| whole.exchanges.iter().find(|e| e.exchange.as_str() == name);
    assert_eq!(of(exchange).map(|e| e.orders.len()), Some(6), "{whole:#?}");
    for closed in of(exchange).into_iter().flat_map(|e| &e.connections) {
        assert!(closed.closed_in_order, "{closed:?}");
    }
    let witness = ledger.exchange(exchange);
    let opened = witness.connections.iter().filter(|c| c.closed.is_some()).count();
    assert_eq!(opened, 6, "two connections, three times");
    if exchange != "binance" {
        let switched = &of(exchange).expect("it is in the report").dead_mans_switch;
        assert_eq!(switched.state, SwitchState::Disarmed, "{switched:?}");
        let method = |request: &&mock_exchange::RequestRecord| {
            request.method == "cancel_all_orders_after"
                || request.method == "private/enable_cancel_on_disconnect"
        };
        assert!(witness.requests.iter().filter(method).count() >= 3, "armed on each connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kraken_is_drained_and_resumed_twice_while_binance_trades_on() {
    drain_and_resume("kraken", "binance").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_is_drained_and_resumed_twice_while_kraken_trades_on() {
    drain_and_resume("binance", "kraken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deribit_is_drained_and_resumed_twice_while_kraken_trades_on() {
    drain_and_resume("deribit", "kraken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_drain_left_open_is_cancelled_by_the_resume() {
    for exchange in ALL {
        let mut bench = Bench::start(&[exchange]).await;
        bench.config.shutdown.cancel_pending = Duration::from_millis(700);
        let gateway = bench.gateway().await;
        let order = rest(&gateway, exchange, 1).await.remove(0);
        let stubborn = FaultAction::IgnoreCancel { ack: false, for_ms: None };
        bench.add(Fault::new(stubborn).at(exchange).times(0));
        let report = drained(&gateway, exchange).await;
        assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
        assert_eq!(bench.mock.ledger().exchange(exchange).open_orders.len(), 1);
        bench.mock.faults().clear();

        let mut updates = gateway.orders().updates();
        resumed(&gateway, exchange).await;
        common::update(&mut updates, |update| {
            update.order.client_id == order.id() && update.order.status == OrderStatus::Canceled
        })
        .await;
        assert_eq!(bench.mock.ledger().exchange(exchange).open_orders, []);
        rest(&gateway, exchange, 1).await;
        // The second drain tells nothing of what failed before the resume.
        let second = drained(&gateway, exchange).await;
        assert_eq!(second.outcome, Outcome::Clean, "{second:#?}");
        let whole = within(gateway.shutdown()).await;
        judge(&whole, &bench.mock.ledger());
        assert_eq!(reported(&whole, order.id()).fate, OrderFate::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_unknown_outcome_is_settled_before_the_resumed_exchange_takes_orders() {
    for exchange in ALL {
        let mut bench = Bench::start(&[exchange]).await;
        bench.config.shutdown.cancel_pending = Duration::from_millis(700);
        let gateway = bench.gateway().await;
        // Neither the answer nor any update: the exchange has the order and nobody says so.
        let lost = || Fault::new(FaultAction::LoseAck).at(exchange).times(0).when(When::Place);
        bench.add(lost());
        bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0).when(When::Update));
        let stubborn = FaultAction::IgnoreCancel { ack: false, for_ms: None };
        bench.add(Fault::new(stubborn).at(exchange).times(0));
        let id = gateway.orders().submit_nowait(resting(exchange)).expect("it is taken");
        bench.ledger(|ledger| !ledger.exchange(exchange).open_orders.is_empty()).await;
        let report = drained(&gateway, exchange).await;
        assert!(reported(&report, id).fate.is_left(), "{report:#?}");
        bench.mock.faults().clear();

        let mut updates = gateway.orders().updates();
        resumed(&gateway, exchange).await;
        common::update(&mut updates, |update| {
            update.order.client_id == id && update.order.status == OrderStatus::Canceled
        })
        .await;
        let whole = within(gateway.shutdown()).await;
        judge(&whole, &bench.mock.ledger());
        assert_eq!(reported(&whole, id).fate, OrderFate::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resumed_says_why() {
    let bench = Bench::start(&["binance", "kraken"]).await;
    let gateway = Arc::new(bench.gateway().await);
    let unknown = gateway.resume("nasdaq").await.expect_err("there is none");
    assert!(matches!(unknown, ResumeError::UnknownExchange { .. }), "{unknown:?}");
    assert!(unknown.to_string().contains("binance, kraken"), "{unknown}");
    let running = gateway.resume("binance").await.expect_err("it runs");
    assert!(matches!(running, ResumeError::NotDrained { .. }), "{running:?}");

    rest(&gateway, "binance", 1).await;
    let slow = FaultAction::IgnoreCancel { ack: false, for_ms: Some(500) };
    bench.add(Fault::new(slow).at("binance").times(0));
    let draining = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.drain("binance").await }
    });
    bench.ledger(|ledger| !ledger.exchange("binance").cancels.is_empty()).await;
    let early = gateway.resume("binance").await.expect_err("it is being drained");
    assert!(matches!(early, ResumeError::Draining { .. }), "{early:?}");
    within(draining).await.expect("no panic").expect("it was running");

    mute_the_market(&bench, "binance");
    let resuming = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.resume("binance").await }
    });
    until("it is being resumed", || {
        connection(&gateway, "binance", "trading").status == ConnectionStatus::Live
    })
    .await;
    let twice = gateway.resume("binance").await.expect_err("it is being resumed");
    assert!(matches!(twice, ResumeError::Resuming { .. }), "{twice:?}");
    let again = gateway.drain("binance").await.expect_err("it is being resumed");
    assert!(matches!(again, DrainError::Resuming { .. }), "{again:?}");
    // Its trading connection is live, and yet nothing is let in before the whole exchange is.
    let refused = gateway.orders().submit(resting("binance")).await.expect_err("not yet");
    assert!(matches!(refused, OrderError::NotConnected { .. }), "{refused:?}");
    assert!(refused.to_string().contains("resumed"), "{refused}");
    rest(&gateway, "kraken", 1).await;

    // A shutdown takes over what is half up.
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    let stopped = within(resuming).await.expect("no panic").expect_err("the gateway stops");
    assert!(matches!(stopped, ResumeError::Stopping { .. }), "{stopped:?}");
    let late = gateway.resume("binance").await.expect_err("the gateway stopped");
    assert!(matches!(late, ResumeError::Stopping { .. }), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_does_not_come_up_stays_drained_and_may_be_resumed_later() {
    for exchange in ALL {
        let mut bench = Bench::start(&[exchange]).await;
        bench.connections(|connection| {
            connection.connect_timeout = Duration::from_millis(700);
            connection.ready_timeout = Duration::from_millis(700);
        });
        let gateway = bench.gateway().await;
        let kept = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
        let kept = kept.expect("it rests");
        let before = drained(&gateway, exchange).await;
        // On Binance the trading connection comes up and the market connection does not; on the
        // others neither does.
        mute_the_market(&bench, exchange);
        let error = within(gateway.resume(exchange)).await.expect_err("half of it is down");
        let ResumeError::NotStarted(StartError::NotLive { .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(error.to_string().contains("stays drained"), "{error}");
        let closed = bench.all_closed().await;
        assert_eq!(closed.exchange(exchange).open_orders.len(), 1);
        bench.mock.faults().clear();
        let away = FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: Some(2_000) };
        bench.fault(exchange, away);
        let error = within(gateway.resume(exchange)).await.expect_err("it is down");
        assert!(matches!(error, ResumeError::NotStarted(_)), "{error:?}");
        let refused = gateway.orders().submit(resting(exchange)).await.expect_err("drained");
        assert!(matches!(refused, OrderError::Stopping { .. }), "{refused:?}");
        assert_eq!(drained(&gateway, exchange).await, before);

        within(async { while gateway.resume(exchange).await.is_err() {} }).await;
        assert_eq!(gateway.orders().get(kept.id()).map(|o| o.status), Some(OrderStatus::Open));
        rest(&gateway, exchange, 1).await;
        let report = within(gateway.shutdown()).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(reported(&report, kept.id()).fate, OrderFate::Kept);
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_and_resumes_that_race_a_shutdown_leave_no_order_behind() {
    for round in 0..6_u64 {
        let bench = Bench::start(&["binance", "kraken"]).await;
        let gateway = Arc::new(bench.gateway().await);
        let stopped = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for exchange in ["binance", "kraken"] {
            let (orders, ends) = (gateway.clone(), stopped.clone());
            tasks.push(tokio::spawn(async move {
                while !ends.load(Ordering::Acquire) {
                    let _ = orders.orders().submit(resting(exchange)).await;
                    tokio::task::yield_now().await;
                }
            }));
            for _ in 0..2 {
                let (gateway, ends) = (gateway.clone(), stopped.clone());
                tasks.push(tokio::spawn(async move {
                    while !ends.load(Ordering::Acquire) {
                        let _ = gateway.drain(exchange).await;
                        let _ = gateway.resume(exchange).await;
                        tokio::task::yield_now().await;
                    }
                }));
            }
        }
        // No event to wait for: the shutdown is to come at any moment of the others.
        tokio::time::sleep(Duration::from_millis(7 + 13 * round)).await;
        let report = within(gateway.shutdown()).await;
        stopped.store(true, Ordering::Release);
        for task in tasks {
            within(task).await.expect("no panic");
        }
        let ledger = bench.all_closed().await;
        judge(&report, &ledger);
        assert!(report.orders_left().next().is_none(), "{report:#?}");
        assert!(["binance", "kraken"].iter().all(|e| ledger.exchange(e).open_orders.is_empty()));
    }
}
