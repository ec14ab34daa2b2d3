//! A silent feed is a dead feed, whether the whole connection is silent or only its ticks.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::judge::judge;
use common::{
    BOTH, Bench, connection, instrument, logs, quiet, quoted, reconnected, reported, rest, until,
    within,
};
use exchange_gateway::Delivery;
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::ExchangeName;
use mock_exchange::{ConnectionKind, Fault, FaultAction, Target, VenueConfig};

const QUEUE: Delivery = Delivery::Queue { capacity: 4096 };

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_probed_then_dead_then_replaced() {
    for kind in [ConnectionKind::Market, ConnectionKind::Trading] {
        let mut bench = Bench::start(BOTH).await;
        bench.connections(|connection| {
            connection.probe_after = Some(Duration::from_millis(300));
            connection.dead_after = Some(Duration::from_millis(1500));
        });
        let gateway = bench.gateway().await;
        let name = if kind == ConnectionKind::Market { "market" } else { "trading" };
        for exchange in BOTH {
            let order = rest(&gateway, exchange, 1).await.remove(0);
            let of_kind = |witness: &mock_exchange::ExchangeLedger| {
                let all = witness.connections.iter().filter(|c| c.kind == kind);
                all.map(|c| (c.id, c.frames_in)).next_back().expect("it is connected")
            };
            let (silent, frames_before) = of_kind(&bench.venue(exchange).ledger());
            let silence = FaultAction::GoSilent { for_ms: None };
            bench.add(Fault::new(silence).at(exchange).on(Target::ConnectionId(silent)));
            reconnected(&gateway, exchange, name, 1).await;
            let witness = bench.venue(exchange).ledger();
            let old = witness.connections.iter().find(|c| c.id == silent).expect("it is kept");
            assert!(old.frames_in > frames_before, "{exchange} {name} was probed: {old:?}");
            let after = gateway.orders().get(order.id()).expect("it is known");
            assert!(!after.status.is_terminal(), "{after:?}");
            // Quiet connections that answer probes live on.
            let other = if name == "market" { "trading" } else { "market" };
            assert_eq!(connection(&gateway, exchange, other).reconnects, 0);
        }
        let report = within(gateway.shutdown()).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_shorter_than_the_limit_ends_nothing() {
    let mut bench = Bench::start(BOTH).await;
    bench.connections(|connection| {
        connection.probe_after = Some(Duration::from_millis(100));
        connection.dead_after = Some(Duration::from_secs(5));
    });
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let mut ticks =
            gateway.subscribe_with(&[instrument(exchange)], QUEUE).expect("it is configured");
        let silence = FaultAction::GoSilent { for_ms: Some(400) };
        let market = Target::Connection(ConnectionKind::Market);
        bench.add(Fault::new(silence).at(exchange).on(market));
        let price = AtomicU32::new(31_000);
        let ticks_before = connection(&gateway, exchange, "market").ticks;
        until("it speaks again", || {
            bench.quote(exchange, price.fetch_add(1, Ordering::Relaxed));
            connection(&gateway, exchange, "market").ticks > ticks_before + 5
        })
        .await;
        bench.quote(exchange, 40_000);
        assert_eq!(quoted(&mut ticks, 40_000).await, []);
        assert_eq!(connection(&gateway, exchange, "market").reconnects, 0);
    }
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_without_ticks_are_a_dead_feed() {
    logs::keep();
    let venue = VenueConfig { heartbeat: Some(Duration::from_millis(50)), ..quiet() };
    let mut bench = Bench::start_with(BOTH, venue).await;
    bench.connections(|connection| connection.feed_silence = Duration::from_millis(300));
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let order = rest(&gateway, exchange, 1).await.remove(0);
        reconnected(&gateway, exchange, "market", 1).await;
        let witness = bench.venue(exchange).ledger();
        let silent = witness.connections.iter().find(|c| c.kind == ConnectionKind::Market);
        let silent = silent.expect("it was connected");
        assert_eq!(silent.close_code_received, Some(1000), "closed in order: {silent:?}");
        // Orders bring no ticks, and need none.
        assert_eq!(connection(&gateway, exchange, "trading").reconnects, 0);
        let name: ExchangeName = exchange.parse().expect("a name");
        let said = logs::with(&[&format!("exchange={name}"), "no tick for"]);
        assert!(!said.is_empty(), "{exchange}: the log says why");
        assert!(gateway.orders().get(order.id()).is_some());
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    let fates = report.exchanges.iter().flat_map(|exchange| &exchange.orders);
    for order in fates {
        assert_eq!(reported(&report, order.client_id).fate, OrderFate::Canceled);
    }
}
