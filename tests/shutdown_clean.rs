//! A clean shutdown: every order cancelled and confirmed, both close frames exchanged.

mod common;

use common::{BOTH, Bench, rest, within};
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd, Stage};
use exchange_gateway::types::OrderStatus;
use mock_exchange::ClosedBy;

#[tokio::test(flavor = "multi_thread")]
async fn every_open_order_is_cancelled_and_every_connection_closed_in_order() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        for order in rest(&gateway, exchange, 5).await {
            assert_eq!(order.status, OrderStatus::Open);
        }
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert!(report.phases.iter().all(|phase| phase.ended == PhaseEnd::Done));
    assert!(report.state.saved);
    let ledger = bench.ledger(|ledger| {
        let mut all = ledger.exchanges.values().flat_map(|e| &e.connections);
        all.all(|connection| connection.closed.is_some())
    });
    let ledger = ledger.await;
    for (exchange, reported) in BOTH.iter().zip(&report.exchanges) {
        let witness = ledger.exchange(exchange);
        assert_eq!(witness.open_orders, vec![], "{exchange}");
        assert_eq!(witness.orders.len(), 5, "{exchange}");
        assert_eq!(reported.orders.len(), 5);
        assert!(reported.orders.iter().all(|order| order.fate == OrderFate::Canceled));
        for connection in &witness.connections {
            assert_eq!(connection.closed_by, Some(ClosedBy::Client), "{connection:?}");
            assert_eq!(connection.close_code_received, Some(1000), "{connection:?}");
            assert_eq!(connection.close_code_sent, Some(1000), "{connection:?}");
        }
        for connection in &reported.connections {
            let stages: Vec<_> = connection.stages.iter().map(|stage| stage.stage).collect();
            let mut expected =
                vec![Stage::CloseFrameSent, Stage::CloseFrameReceived, Stage::TcpClosed];
            if connection.connection == "market" {
                expected.insert(0, Stage::Unsubscribed);
            }
            assert_eq!(stages, expected, "{exchange} {}", connection.connection);
        }
    }
}
