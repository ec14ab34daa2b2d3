//! An exchange that does not close in order costs its limit, is named, and holds up no other.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, phase, quiet, rest, within};
use exchange_gateway::Phase;
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd, Stage};
use mock_exchange::{ClosedBy, Fault, FaultAction, Refusal, VenueConfig};

async fn shut_down_while_one_refuses(stubborn: &str, action: FaultAction, orders: usize) {
    let mut bench = Bench::start(BOTH).await;
    bench.connections(|connection| connection.close_timeout = Duration::from_millis(400));
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, if *exchange == stubborn { orders } else { 1 }).await;
    }
    bench.add(Fault::new(action.clone()).at(stubborn).times(2));
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Degraded, "{action:?}: {report:#?}");
    assert_eq!(report.outcome.exit_code(), 10);
    let closing = phase(&report, Phase::Disconnect);
    assert_eq!(closing.ended, PhaseEnd::Done, "the connection's own limit ends the wait");
    assert!((400..1_400).contains(&closing.used_ms), "{closing:?}");
    for exchange in &report.exchanges {
        assert!(exchange.orders.iter().all(|order| order.fate == OrderFate::Canceled));
        for connection in &exchange.connections {
            let dropped = connection.stages.iter().any(|stage| stage.stage == Stage::Dropped);
            if exchange.exchange.as_str() == stubborn {
                assert!(dropped && !connection.closed_in_order, "{connection:?}");
                let problem = connection.problem.as_deref().expect("it is named");
                assert!(problem.contains("did not answer the close frame"), "{problem}");
                assert_eq!((connection.close_sent, connection.close_received), (Some(1000), None));
            } else {
                assert!(!dropped && connection.closed_in_order, "{connection:?}");
                assert_eq!(connection.problem, None);
            }
        }
    }
    let other = if stubborn == "kraken" { "binance" } else { "kraken" };
    let ended = bench.ledger(|ledger| {
        let mut others = ledger.exchange(other).connections.iter();
        others.all(|connection| connection.closed.is_some())
    });
    for connection in &ended.await.exchange(other).connections {
        assert_eq!(connection.closed_by, Some(ClosedBy::Client));
        assert_eq!(connection.close_code_sent, Some(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_frame_that_is_not_answered_costs_its_limit_and_is_named() {
    for stubborn in BOTH {
        shut_down_while_one_refuses(stubborn, FaultAction::RefuseClose, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_stops_reading_costs_its_limit_and_is_named() {
    for stubborn in BOTH {
        // Without orders: cancels that nobody reads are the business of another test.
        let action = FaultAction::StopReading { for_ms: None };
        shut_down_while_one_refuses(stubborn, action, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_at_an_exchange_that_stops_reading_are_named() {
    for stubborn in BOTH {
        let mut bench = Bench::start(BOTH).await;
        bench.config.shutdown.cancel_pending = Duration::from_millis(500);
        bench.connections(|connection| connection.close_timeout = Duration::from_millis(300));
        let gateway = bench.gateway().await;
        for exchange in BOTH {
            rest(&gateway, exchange, 2).await;
        }
        let action = FaultAction::StopReading { for_ms: None };
        // Nor does it let anybody in, over a fresh connection or HTTP.
        bench.fault(stubborn, FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: None });
        bench.add(Fault::new(action).at(stubborn).times(2));
        let report = within(gateway.shutdown()).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
        assert_eq!(report.orders_left().count(), 2, "{stubborn}");
        assert!(report.orders_left().all(|o| o.instrument.exchange().as_str() == *stubborn));
        assert!(report.state.saved);
        assert!(report.elapsed_ms < 3_000, "{} ms", report.elapsed_ms);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscription_that_is_not_acknowledged_in_time_is_named() {
    // Both ways together take longer than the second that the gateway waits.
    let venue = VenueConfig { latency: Duration::from_millis(600), ..quiet() };
    let bench = Bench::start_with(BOTH, venue).await;
    let gateway = bench.gateway().await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    for exchange in &report.exchanges {
        let market = exchange.connections.iter().find(|c| c.connection == "market");
        let market = market.expect("it is reported");
        let problem = market.problem.as_deref();
        assert_eq!(problem, Some("the unsubscription was not acknowledged in time"));
        assert!(market.closed_in_order, "{market:?}");
    }
}
