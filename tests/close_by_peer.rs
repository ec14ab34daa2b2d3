//! An exchange that closes first: while the gateway runs it comes back, during a shutdown the
//! work goes on over a fresh connection, and at the end it counts as closed in order.

mod common;

use common::judge::judge;
use common::{
    BOTH, Bench, connection, logs, reconnected, reported, rest, resting, submit_when_open, within,
};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::Order;
use mock_exchange::{ClosedBy, ConnectionKind, Fault, FaultAction, Target, When};

#[tokio::test(flavor = "multi_thread")]
async fn a_close_while_running_is_answered_and_the_connection_comes_back() {
    logs::keep();
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let order = rest(&gateway, exchange, 1).await.remove(0);
        bench.venue(exchange).close_connections(4321, "closing for lunch");
        for kind in ["market", "trading"] {
            reconnected(&gateway, exchange, kind, 1).await;
        }
        let witness = bench.venue(exchange).ledger();
        for closed in witness.connections.iter().filter(|c| c.closed.is_some()) {
            assert_eq!(closed.closed_by, Some(ClosedBy::Server), "{closed:?}");
            assert_eq!(closed.close_code_sent, Some(4321), "{closed:?}");
            assert_eq!(closed.close_code_received, Some(4321), "answered: {closed:?}");
        }
        let said =
            logs::with(&[&format!("exchange={exchange}"), "with code 4321: closing for lunch"]);
        assert!(said.len() >= 2, "{exchange}: who closed, and with which words: {said:?}");
        submit_when_open(&gateway, resting(exchange)).await;
        assert!(gateway.orders().get(order.id()).is_some_and(|order| !order.status.is_terminal()));
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_in_the_middle_of_the_cancels_leaves_no_order_behind() {
    for code in [1000, 1001, 1012] {
        let bench = Bench::start(BOTH).await;
        let gateway = bench.gateway().await;
        let mut ids = Vec::new();
        for exchange in BOTH {
            ids.extend(rest(&gateway, exchange, 10).await.iter().map(Order::id));
            let close = FaultAction::Close { code, reason: "bye".into() };
            let mut fault = Fault::new(close).at(exchange).when(When::Cancel);
            fault.after = 4;
            bench.add(fault);
        }
        let report = within(gateway.shutdown()).await;
        let ledger = bench.mock.ledger();
        judge(&report, &ledger);
        assert_eq!(report.outcome, Outcome::Clean, "{code}: {report:#?}");
        for id in ids {
            assert_eq!(reported(&report, id).fate, OrderFate::Canceled);
        }
        for exchange in BOTH {
            let all = &ledger.exchange(exchange).connections;
            let trading = all.iter().filter(|c| c.kind == ConnectionKind::Trading).count();
            assert_eq!(trading, 2, "{exchange}: a fresh connection did the rest");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_just_before_ours_counts_as_closed_in_order() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        // The unsubscription is the first message of the market connection after the start.
        let close = FaultAction::Close { code: 1001, reason: "bye".into() };
        let market = Target::Connection(ConnectionKind::Market);
        bench.add(Fault::new(close).at(exchange).on(market).when(When::Message));
        assert_eq!(connection(&gateway, exchange, "market").reconnects, 0);
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in &report.exchanges {
        let market = exchange.connections.iter().find(|c| c.connection == "market");
        let market = market.expect("it is reported");
        assert!(market.closed_in_order, "{market:?}");
        assert_eq!(market.close_received, Some(1001), "{market:?}");
    }
}
