//! A gateway that is dropped while it runs cannot cancel anything: it says so, with its orders.

mod common;

use common::judge::cancels;
use common::{BOTH, Bench, logs, rest, resting, within};
use exchange_gateway::OrderError;
use mock_exchange::{Fault, FaultAction};
use tracing::Level;

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_gateway_names_its_open_orders_at_error_level_and_closes_its_sockets() {
    logs::keep();
    let mut bench = Bench::start(BOTH).await;
    bench.config.gateway.order_tag = "drp".into();
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        ids.extend(rest(&gateway, exchange, 2).await.iter().map(|order| order.id().to_string()));
    }
    drop(gateway);
    let said = logs::with(&["dropped without a shutdown", ids[0].as_str()]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].level, Level::ERROR);
    assert!(said[0].text.contains("open_orders=4"), "{said:?}");
    for id in &ids {
        assert!(said[0].text.contains(id), "{id}: {said:?}");
    }
    let ledger = bench.all_closed().await;
    for exchange in BOTH {
        assert_eq!(ledger.exchange(exchange).open_orders.len(), 2, "they stay on the exchange");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dropped_after_its_shutdown_has_nothing_to_say() {
    logs::keep();
    let mut bench = Bench::start(BOTH).await;
    bench.config.gateway.order_tag = "drq".into();
    let gateway = bench.gateway().await;
    let order = rest(&gateway, "kraken", 1).await.remove(0);
    within(gateway.shutdown()).await;
    drop(gateway);
    let said = logs::with(&["dropped without a shutdown", order.id().as_str()]);
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_goes_on_when_the_gateway_is_dropped() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 2).await;
    }
    // The future is dropped as well: polled once, so that the shutdown has begun.
    {
        let mut stopping = Box::pin(gateway.shutdown());
        assert!(futures::poll!(&mut stopping).is_pending());
    }
    drop(gateway);
    let ledger = bench.all_closed().await;
    for exchange in BOTH {
        assert_eq!(ledger.exchange(exchange).open_orders, [], "{exchange}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever_for_a_dropped_gateway() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let orders = gateway.orders().clone();
    let mut updates = orders.updates();
    let mut ticks = gateway.subscribe(common::instrument("kraken")).expect("it is configured");
    let order = rest(&gateway, "kraken", 1).await.remove(0);
    bench.add(Fault::new(FaultAction::LoseAck).at("binance").times(0));
    bench.add(Fault::new(FaultAction::LoseUpdates).at("binance").times(0));
    let ignored = FaultAction::IgnoreCancel { ack: false, for_ms: None };
    bench.add(Fault::new(ignored).at("kraken").times(0));
    let (placing, cancelling) = (orders.clone(), orders.clone());
    let placed = tokio::spawn(async move { placing.submit(resting("binance")).await });
    let ended = tokio::spawn(async move { cancelling.cancel(order.id()).await });
    let asked = bench.ledger(|ledger| {
        let cancelled = ledger.exchange("kraken").requests.iter().any(|r| cancels(&r.method));
        cancelled && !ledger.exchange("binance").orders.is_empty()
    });
    asked.await;
    drop(gateway);
    let placed = within(placed).await.expect("no panic");
    let uncertain =
        matches!(placed, Err(OrderError::Abandoned { .. } | OrderError::OutcomeUnknown { .. }));
    assert!(uncertain, "{placed:?}");
    let ended = within(ended).await.expect("no panic");
    assert!(matches!(ended, Err(OrderError::Abandoned { .. })), "{ended:?}");
    within(async { while updates.next().await.is_some() {} }).await;
    within(async { while ticks.next().await.is_some() {} }).await;
    let refused = orders.submit(resting("kraken")).await;
    assert!(matches!(refused, Err(OrderError::Stopping { .. })), "{refused:?}");
}
