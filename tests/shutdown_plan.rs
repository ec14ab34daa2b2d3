//! What a shutdown would do is told beforehand, by the gateway itself and by another process beside
//! it, and is what the shutdown then does.

mod common;

use std::time::Duration;

use common::{Bench, quiet, rest, resting, within};
use exchange_gateway::shutdown::{CancelWay, ExchangePlan, OrderFate, ShutdownPlan};
use exchange_gateway::types::{ClientOrderId, Order};
use mock_exchange::{Fault, FaultAction, VenueConfig, When};

fn of<'a>(plan: &'a ShutdownPlan, exchange: &str) -> &'a ExchangePlan {
    plan.exchanges.iter().find(|plan| plan.exchange.as_str() == exchange).expect("configured")
}

fn ids(orders: &[exchange_gateway::shutdown::PlannedOrder]) -> Vec<ClientOrderId> {
    orders.iter().map(|order| order.client_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_what_its_plan_told() {
    let far = VenueConfig { latency: Duration::from_millis(20), ..quiet() };
    let mut bench = Bench::start_with(&["binance", "deribit", "kraken"], far).await;
    for exchange in &mut bench.config.exchanges {
        exchange.account_is_ours = exchange.name.as_str() != "kraken";
    }
    let gateway = bench.gateway().await;
    let mass = rest(&gateway, "deribit", 4).await;
    let batch = rest(&gateway, "kraken", 3).await;
    let single = rest(&gateway, "binance", 2).await;
    let kept = within(gateway.orders().submit(resting("binance").keep_on_shutdown())).await;
    let kept = kept.expect("it rests");
    // One more is on its way and not answered.
    bench.add(Fault::new(FaultAction::LoseAck).at("kraken").when(When::Place));
    bench.add(Fault::new(FaultAction::LoseUpdates).at("kraken").when(When::Update).times(0));
    let unknown = gateway.orders().submit_nowait(resting("kraken")).expect("it is taken");
    bench.ledger(|ledger| ledger.exchange("kraken").orders.len() == 4).await;

    let plan = gateway.shutdown_plan();
    let [binance, deribit, kraken] = ["binance", "deribit", "kraken"].map(|name| of(&plan, name));
    assert_eq!((deribit.way, deribit.requests), (CancelWay::Mass, 1));
    assert_eq!(ids(&deribit.cancel), mass.iter().map(Order::id).collect::<Vec<_>>());
    assert_eq!((kraken.way, kraken.requests), (CancelWay::Batch, 1));
    assert_eq!(ids(&kraken.cancel), batch.iter().map(Order::id).collect::<Vec<_>>());
    assert_eq!(ids(&kraken.unknown), [unknown]);
    // The account is its own, and yet one of its orders is to stay.
    assert_eq!((binance.way, binance.requests), (CancelWay::Single, 2));
    assert_eq!(ids(&binance.cancel), single.iter().map(Order::id).collect::<Vec<_>>());
    assert_eq!(ids(&binance.keep), [kept.id()]);
    assert!(plan.exchanges.iter().all(|plan| plan.connections == 2 && !plan.drained));
    let least = plan.least.as_ref().expect("measured");
    assert_eq!(least.round_trips, 3);
    assert!(least.least_ms >= 120, "{plan:#?}");
    assert!(plan.expected_ms >= Some(least.least_ms), "{plan:#?}");

    // It said so and did nothing.
    assert!(bench.mock.ledger().exchanges.values().all(|exchange| exchange.cancels.is_empty()));
    bench.mock.faults().clear();
    within(gateway.drain("deribit")).await.expect("it is configured");
    let plan = gateway.shutdown_plan();
    let deribit = of(&plan, "deribit");
    assert!(deribit.drained && deribit.cancel.is_empty() && deribit.requests == 0, "{deribit:?}");

    let report = within(gateway.shutdown()).await;
    for order in mass.iter().chain(&batch).chain(&single) {
        assert_eq!(common::reported(&report, order.id()).fate, OrderFate::Canceled);
    }
    assert_eq!(common::reported(&report, kept.id()).fate, OrderFate::Kept);
    let settled = common::reported(&report, unknown).fate;
    assert!(matches!(settled, OrderFate::Canceled), "{settled:?}");
}

#[cfg(feature = "cli")]
mod cli {
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    fn drain(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, Output) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
        command.arg("drain").args(arguments).arg("--state-dir").arg(directory);
        let output = command.output().expect("the program runs");
        let shown = String::from_utf8(output.stdout.clone()).expect("text");
        (output.status.code(), shown, output)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_process_is_told_what_a_shutdown_would_do_and_that_it_cannot_drain() {
        let far = VenueConfig { latency: Duration::from_millis(20), ..quiet() };
        let bench = Bench::start_with(&["binance", "kraken"], far).await;
        let directory = bench.config.gateway.state_dir.clone();
        let (code, _, output) = drain(&directory, &["--dry-run"]);
        assert_eq!(code, Some(2), "there is no database: {output:?}");

        let gateway = bench.gateway().await;
        let orders = rest(&gateway, "kraken", 3).await;
        let kept = within(gateway.orders().submit(resting("binance").keep_on_shutdown())).await;
        let kept = kept.expect("it rests");
        let (code, shown, output) = drain(&directory, &["--dry-run", "--json"]);
        assert_eq!(code, Some(0), "{output:?}");
        let told: exchange_gateway::StoredPlan = serde_json::from_str(&shown).expect("a plan");
        let expected: Vec<_> = orders.iter().map(Order::id).collect();
        let mut cancelled = ids(&of(&told.plan, "kraken").cancel);
        cancelled.sort_unstable();
        assert_eq!(cancelled, expected);
        assert_eq!(of(&told.plan, "kraken").way, CancelWay::Batch);
        assert_eq!(ids(&of(&told.plan, "binance").keep), [kept.id()]);
        assert_eq!(told.run.as_ref().map(|run| (run.run, run.ended)), Some((1, None)));
        assert_eq!((told.plan.expected_ms, told.measured), (None, None), "nothing is measured yet");
        let (code, shown, _) = drain(&directory, &["--dry-run"]);
        assert_eq!(code, Some(0));
        assert!(shown.contains("no run has measured"), "{shown}");
        assert!(shown.contains(expected[0].as_str()) && shown.contains("kept"), "{shown}");
        let (code, shown, output) = drain(&directory, &["kraken"]);
        assert_eq!((code, shown.as_str()), (Some(2), ""));
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains("gateway.drain(\"kraken\")") && said.contains("--dry-run"), "{said}");
        let (code, _, output) = drain(&directory, &["nasdaq", "--dry-run"]);
        assert_eq!(code, Some(2));
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains("binance, kraken"), "{said}");
        assert!(bench.mock.ledger().exchanges.values().all(|exchange| exchange.cancels.is_empty()));

        // The next run knows what this one measured.
        within(gateway.shutdown()).await;
        let gateway = bench.gateway().await;
        rest(&gateway, "kraken", 1).await;
        let (_, shown, _) = drain(&directory, &["kraken", "--dry-run", "--json"]);
        let told: exchange_gateway::StoredPlan = serde_json::from_str(&shown).expect("a plan");
        let measured = told.measured.expect("the run before measured it");
        assert_eq!(measured.run, 1);
        assert!(measured.round_trip_us >= 40_000, "{measured:?}");
        assert_eq!(told.plan.exchanges.len(), 1);
        let least = told.plan.least.expect("measured");
        assert_eq!((least.round_trips, told.plan.expected_ms), (3, Some(least.least_ms)));
        let (_, shown, _) = drain(&directory, &["--dry-run"]);
        assert!(shown.contains("Expected to take about") && shown.contains("run 1"), "{shown}");
        within(gateway.shutdown()).await;
    }
}
