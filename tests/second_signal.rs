//! The operator's second signal: waiting ends, state is saved, what is left is named.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::judge::{cancels, cancels_all, judge};
use common::{BOTH, Bench, connection, phase, rest, until, within};
use exchange_gateway::shutdown::{Outcome, PhaseEnd};
use exchange_gateway::{ConnectionStatus, Gateway, Phase};
use mock_exchange::{Disconnect, Fault, FaultAction, Refusal};

/// A shutdown that would wait long: for cancels that never work and for closes never answered.
async fn stubborn() -> Bench {
    let mut bench = Bench::start(BOTH).await;
    bench.config.shutdown.deadline = Duration::from_secs(60);
    bench.config.shutdown.cancel_pending = Duration::from_secs(30);
    bench.config.shutdown.disconnect = Duration::from_secs(15);
    bench.connections(|connection| connection.close_timeout = Duration::from_secs(15));
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_shutdown_ends_soon_saves_state_and_names_its_orders() {
    let bench = stubborn().await;
    let gateway = Arc::new(bench.gateway().await);
    for exchange in BOTH {
        rest(&gateway, exchange, 2).await;
        bench.add(Fault::new(FaultAction::RefuseClose).at(exchange).times(2));
        let ignore = FaultAction::IgnoreCancel { ack: true, for_ms: None };
        bench.add(Fault::new(ignore).at(exchange).times(0));
    }
    let stopping = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.shutdown_because("SIGTERM").await }
    });
    bench.ledger(|ledger| BOTH.iter().all(|e| ledger.exchange(e).cancels.len() >= 2)).await;
    let forced = Instant::now();
    gateway.force();
    let report = within(stopping).await.expect("no panic");
    assert!(forced.elapsed() < Duration::from_secs(4), "{:?}", forced.elapsed());
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.trigger, "SIGTERM");
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert_eq!(report.orders_left().count(), 4);
    assert_eq!(phase(&report, Phase::CancelPending).ended, PhaseEnd::Forced);
    assert!(report.state.saved);
    assert!(gateway.state_directory().last_ticks_file().exists());
    let mut connections = report.exchanges.iter().flat_map(|exchange| &exchange.connections);
    assert!(connections.all(|connection| connection.problem.is_some()), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn force_without_orders_drops_the_sockets_and_says_who_forced() {
    let bench = stubborn().await;
    let gateway = Arc::new(bench.gateway().await);
    for exchange in BOTH {
        bench.add(Fault::new(FaultAction::RefuseClose).at(exchange).times(2));
    }
    let stopping = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.shutdown().await }
    });
    let mut phases = gateway.phase();
    within(phases.wait_for(|phase| *phase == Phase::Disconnect)).await.expect("it goes on");
    let forced = Instant::now();
    gateway.force();
    let report = within(stopping).await.expect("no panic");
    assert!(forced.elapsed() < Duration::from_secs(4), "{:?}", forced.elapsed());
    assert_eq!(report.outcome, Outcome::OperatorForced, "{report:#?}");
    assert_eq!(report.outcome.exit_code(), 12);
    assert!(report.state.saved);
}

#[tokio::test(flavor = "multi_thread")]
async fn force_alone_still_cancels_what_can_be_cancelled() {
    let bench = stubborn().await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 5).await;
    }
    gateway.force();
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::OperatorForced, "{report:#?}");
    assert_eq!(report.trigger, "force()");
    assert!(BOTH.iter().all(|exchange| ledger.exchange(exchange).open_orders.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn force_writes_one_request_for_all_orders_where_the_account_is_ours() {
    let mut bench = stubborn().await;
    for exchange in &mut bench.config.exchanges {
        exchange.account_is_ours = true;
    }
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 5).await;
    }
    gateway.force();
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::OperatorForced, "{report:#?}");
    for exchange in BOTH {
        let requests = &ledger.exchange(exchange).requests;
        let written: Vec<_> =
            requests.iter().map(|request| &*request.method).filter(|m| cancels(m)).collect();
        assert_eq!(written.len(), 1, "{exchange}: {written:?}");
        assert!(cancels_all(written[0]), "{exchange}: {written:?}");
    }
}

/// Ends the connections, and lets no new ones in.
async fn cut_off(bench: &Bench, gateway: &Gateway, how: Refusal) {
    for exchange in BOTH {
        let refused = FaultAction::RefuseConnections { how, for_ms: None };
        bench.add(Fault::new(refused).at(exchange));
        bench.add(Fault::new(FaultAction::Drop { how: Disconnect::Rst }).at(exchange).times(2));
    }
    until("the connections are lost", || {
        let is_lost = |exchange: &&str| {
            connection(gateway, exchange, "trading").status != ConnectionStatus::Live
        };
        BOTH.iter().all(is_lost)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn force_does_not_wait_for_a_connection_to_cancel() {
    let mut bench = stubborn().await;
    // Longer than a forced exit takes, as is the eighth of a phase that a shutdown would wait.
    bench.connections(|connection| connection.http_fallback_after = Duration::from_secs(30));
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 3).await;
    }
    cut_off(&bench, &gateway, Refusal::Upgrades).await;
    gateway.force();
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::OperatorForced, "{report:#?}");
    assert!(BOTH.iter().all(|exchange| ledger.exchange(exchange).open_orders.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn force_names_the_orders_of_an_exchange_that_is_gone_and_does_not_hang() {
    let bench = stubborn().await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 2).await;
    }
    cut_off(&bench, &gateway, Refusal::Rst).await;
    let forced = Instant::now();
    gateway.force();
    let report = within(gateway.shutdown()).await;
    assert!(forced.elapsed() < Duration::from_secs(8), "{:?}", forced.elapsed());
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert!(report.state.saved);
}
