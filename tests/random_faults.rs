//! Random faults at random moments under load, and a stop in the middle of it: many seeds, each
//! judged by the ledger. A failing seed prints itself; `RANDOM_FAULTS_SEED=n` replays its plan.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::judge::{judge, judge_fills, told};
use common::{BOTH, Bench, resting, symbol, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::types::NewOrder;
use exchange_gateway::{Gateway, OrderError};
use fastrand::Rng;
use futures::StreamExt as _;
use mock_exchange::{ConnectionKind, Disconnect, Fault, FaultAction, Refusal, Side, Target, When};
use rust_decimal::Decimal;

/// A fault that an order can survive.
fn any_fault(random: &mut Rng) -> Fault {
    let how = if random.bool() { Disconnect::Fin } else { Disconnect::Rst };
    let ms = random.u64(1..200);
    let text = || "Fault.".to_owned();
    let action = match random.u32(0..22) {
        0 => FaultAction::DelayAck { ms },
        1 => FaultAction::LoseAck,
        2 => FaultAction::Reject { code: None, text: text() },
        3 => FaultAction::FillDuringCancel { quantity: None },
        4 => FaultAction::FillDuringCancel { quantity: Some(Decimal::new(1, 3)) },
        5 => FaultAction::LoseCancelAck,
        6 => FaultAction::DelayCancelAck { ms },
        7 => FaultAction::IgnoreCancel { ack: random.bool(), for_ms: Some(ms) },
        8 => FaultAction::RejectCancel { code: None, text: text() },
        9 => FaultAction::DuplicateUpdates,
        10 => FaultAction::ReorderUpdates,
        11 => FaultAction::LoseUpdates,
        12 => FaultAction::DelayUpdates { ms },
        13 => FaultAction::Drop { how },
        14 => FaultAction::SendTruncated,
        15 => FaultAction::Close { code: 1012, reason: text() },
        16 => FaultAction::SendInvalidUtf8,
        17 => FaultAction::GoSilent { for_ms: None },
        18 => FaultAction::StopReading { for_ms: Some(ms) },
        19 => FaultAction::ServerShutdown,
        20 => FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: Some(ms) },
        _ => FaultAction::SendGarbage { text: None },
    };
    let occasions = [When::Place, When::Cancel, When::Update, When::Message];
    let mut fault = Fault::new(action).at(BOTH[random.usize(0..BOTH.len())]);
    fault = fault.on(Target::Connection(ConnectionKind::Trading));
    fault = fault.when(occasions[random.usize(0..occasions.len())]).times(random.u32(1..4));
    fault.after = random.u32(0..40);
    fault
}

async fn submit_until_refused(gateway: Arc<Gateway>, exchange: &'static str, mut random: Rng) {
    loop {
        let order = if random.u32(0..10) == 0 {
            let instrument = resting(exchange).instrument;
            NewOrder::market(instrument, random_side(&mut random), resting(exchange).quantity)
        } else {
            resting(exchange)
        };
        match gateway.orders().submit(order).await {
            Ok(order) if random.u32(0..4) == 0 => {
                let orders = gateway.orders().clone();
                tokio::spawn(async move { orders.cancel(order.id()).await });
            }
            Err(OrderError::Stopping { .. }) => return,
            Err(OrderError::NotConnected { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => tokio::task::yield_now().await,
        }
    }
}

fn random_side(random: &mut Rng) -> exchange_gateway::types::Side {
    use exchange_gateway::types::Side::{Buy, Sell};
    if random.bool() { Buy } else { Sell }
}

async fn survive(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut bench = Bench::start(BOTH).await;
    bench.config.orders.ack_timeout = Duration::from_millis(150);
    bench.config.orders.query_retry = Duration::from_millis(50);
    bench.config.shutdown.cancel_retry = Duration::from_millis(50);
    for exchange in &mut bench.config.exchanges {
        // Then one request cancels all orders.
        exchange.account_is_ours = seed % 2 == 1;
    }
    bench.connections(|connection| {
        connection.probe_after = Some(Duration::from_millis(150));
        connection.dead_after = Some(Duration::from_millis(400));
        connection.backoff_max = Duration::from_millis(50);
        connection.close_timeout = Duration::from_millis(800);
    });
    let gateway = Arc::new(bench.gateway().await);
    let updates = gateway.orders().updates();
    for _ in 0..random.u32(2..8) {
        bench.add(any_fault(&mut random));
    }
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let exchange = BOTH[task % BOTH.len()];
            tokio::spawn(submit_until_refused(gateway.clone(), exchange, random.fork()))
        })
        .collect();
    for round in 1..=4_usize {
        let wanted = round * random.usize(5..15);
        bench.ledger(|l| BOTH.iter().all(|e| l.exchange(e).orders.len() >= wanted)).await;
        for exchange in BOTH {
            let part = Decimal::new(random.i64(1..30), 3);
            let venue = bench.venue(exchange);
            let traded = venue.trade(symbol(exchange), Side::Sell, Decimal::from(20_000), part);
            traded.expect("the market moves");
            // What traded takes the other participants' bids away.
            bench.quote(exchange, 60_000);
        }
    }
    let report = within(gateway.shutdown()).await;
    for task in tasks {
        within(task).await.expect("no panic");
    }
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.orders_left().count(), 0, "{report:#?}");
    assert!(matches!(report.outcome, Outcome::Clean | Outcome::Degraded), "{report:#?}");
    for failure in &report.failures {
        assert!(!failure.reason.contains("panicked"), "{failure:?}");
    }
    let told = told(updates).await;
    for exchange in BOTH {
        let witness = ledger.exchange(exchange);
        assert_eq!(witness.open_orders, [], "{exchange}");
        judge_fills(&told, witness);
        for seen in &witness.orders {
            let last = told[&seen.client_id].last.as_ref().expect("told");
            assert!(last.status.is_terminal(), "{exchange}: {last:?} is {seen:?}");
            let fills = &told[&seen.client_id].fills;
            let sum: Decimal = fills.iter().map(|fill| fill.quantity.0).sum();
            assert_eq!(sum, seen.filled, "{exchange}: {fills:?} are not {seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_random_the_report_is_the_truth() {
    let chosen = std::env::var("RANDOM_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("RANDOM_FAULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(24_u64);
    let seeds = chosen.map_or(0..count, |seed| seed..seed + 1);
    let runs = futures::stream::iter(seeds).map(|seed| async move {
        let outcome = tokio::spawn(survive(seed)).await;
        outcome.err().map(|_| seed)
    });
    let failed: Vec<u64> =
        runs.buffer_unordered(4).filter_map(|f| async move { f }).collect().await;
    assert!(failed.is_empty(), "these seeds broke it: {failed:?}");
}
