//! Hooks with real exchanges: programs of the configuration and functions of a bot, each in its phase.

#![cfg(unix)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, rest, within};
use exchange_gateway::config::HookConfig;
use exchange_gateway::shutdown::{Hook, HookEnd, HookPriority, Outcome, Phase};
use mock_exchange::Ledger;

fn open_orders(ledger: &Ledger) -> usize {
    ledger.exchanges.values().map(|exchange| exchange.open_orders.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_configuration_run_in_their_phases() {
    let mut bench = Bench::start(BOTH).await;
    let file = bench.state.path().join("told");
    let script = format!("env | grep ^EXCHANGE_GATEWAY | sort > {}", file.display());
    let hook = |name, phase, script: &str| HookConfig {
        timeout: Duration::from_secs(10),
        ..HookConfig::new(name, phase, ["sh", "-c", script])
    };
    bench.config.shutdown.save_state = Duration::from_secs(10);
    bench.config.shutdown.hooks = vec![
        hook("notes", Phase::SaveState, &script),
        hook("fails", Phase::SaveState, "echo no disk >&2; exit 4"),
        HookConfig {
            timeout: Duration::from_millis(200),
            ..hook("hangs", Phase::Disconnect, "sleep 600")
        },
    ];
    let gateway = bench.gateway().await;
    rest(&gateway, "kraken", 2).await;
    let report = within(gateway.shutdown_because("the test")).await;
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    let told = std::fs::read_to_string(&file).expect("the program wrote it");
    for expected in [
        "EXCHANGE_GATEWAY_EXCHANGES=binance kraken\n",
        "EXCHANGE_GATEWAY_HOOK=notes\n",
        "EXCHANGE_GATEWAY_PHASE=save_state\n",
        "EXCHANGE_GATEWAY_TRIGGER=the test\n",
    ] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    let ends = |name| {
        let hook = report.hooks.iter().find(|hook| hook.name == name).expect("it is reported");
        (hook.ended, hook.reason.clone().unwrap_or_default())
    };
    assert_eq!(ends("notes").0, HookEnd::Done);
    assert_eq!(ends("fails"), (HookEnd::Failed, "sh ended with exit status: 4: no disk".into()));
    assert_eq!(ends("hangs"), (HookEnd::TimedOut, "it did not end within 200 ms".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_do_not_wait_for_a_hook_and_connections_close_only_after_the_first_hooks() {
    let mut bench = Bench::start(BOTH).await;
    bench.config.shutdown.cancel_pending = Duration::from_secs(20);
    bench.config.shutdown.disconnect = Duration::from_secs(20);
    bench.config.shutdown.deadline = Duration::from_secs(60);
    let bench = Arc::new(bench);
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 2).await;
    }
    // It ends only when the cancels, which it would hold up, have arrived.
    let of_hook = Arc::clone(&bench);
    let cancelled = move || async move {
        of_hook.ledger(|ledger| open_orders(ledger) == 0).await;
        Ok::<(), String>(())
    };
    let hook = Hook::new("cancels", Phase::CancelPending, cancelled);
    let hook = hook.priority(HookPriority::Critical).timeout(Duration::from_secs(5));
    gateway.on_shutdown(hook).expect("it is taken");
    let of_hook = Arc::clone(&bench);
    let connected = move || async move {
        let ledger = of_hook.mock.ledger();
        let mut all = ledger.exchanges.values().flat_map(|exchange| &exchange.connections);
        if all.all(|connection| connection.closed.is_none()) { Ok(()) } else { Err("closed") }
    };
    let hook = Hook::new("farewell", Phase::Disconnect, connected).priority(HookPriority::Critical);
    gateway.on_shutdown(hook).expect("it is taken");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let names: Vec<_> = report.hooks.iter().map(|hook| hook.name.as_str()).collect();
    assert_eq!(names, ["cancels", "farewell"]);
}
