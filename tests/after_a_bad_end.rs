//! What a run failed to do is stored with it, and the next start shows it and takes up only what is
//! unfinished.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Bench, phase, rest, resting, symbol, update, within};
use exchange_gateway::config::OnRestart;
use exchange_gateway::shutdown::{Hook, HookEnd, OrderFate, Outcome, Phase, PhaseEnd};
use exchange_gateway::state::{StateView, verify};
use exchange_gateway::types::OrderStatus;
use mock_exchange::{Fault, FaultAction, Side, Target};
use rusqlite::config::DbConfig;
use rust_decimal::Decimal;

/// The orders that requests beyond the first `seen` name.
fn asked_since(bench: &Bench, seen: usize) -> BTreeSet<String> {
    let ledger = bench.venue("kraken").ledger();
    ledger.requests[seen..].iter().filter_map(|request| request.client_id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_were_left_are_named_and_only_they_are_settled() {
    let mut bench = Bench::start(&["kraken"]).await;
    bench.config.shutdown.cancel_pending = Duration::from_millis(500);
    let gateway = bench.gateway().await;
    assert!(gateway.previous_run().is_none());
    let orders = rest(&gateway, "kraken", 3).await;
    within(gateway.orders().cancel(orders[0].client_id)).await.expect("it is cancelled");
    let left = orders[1].client_id;
    let target = Target::ClientId(left.to_string());
    let stays = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    bench.add(Fault::new(stays).at("kraken").on(target).times(0));
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    drop(gateway);

    bench.mock.faults().clear();
    let seen = bench.venue("kraken").ledger().requests.len();
    let gateway = bench.gateway().await;
    let previous = gateway.previous_run().expect("there was one");
    let told = previous.report.as_ref().expect("it left a report");
    assert_eq!(told.exchanges, report.exchanges);
    assert_eq!(previous.unsettled, [left]);
    let notice = previous.notice().join("\n");
    assert!(notice.starts_with("The run before, number 1 of "), "{notice}");
    assert!(notice.contains(", ended by shutdown(): orders left, exit code 13\n"), "{notice}");
    assert!(
        notice.contains(&format!("order {left} on kraken:BTC-USDT was still open")),
        "{notice}"
    );
    assert!(notice.contains("one order had not ended: it is settled now"), "{notice}");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(asked_since(&bench, seen), BTreeSet::from([left.to_string()]));
    assert_eq!(bench.venue("kraken").ledger().open_orders, []);
    drop(gateway);

    let gateway = bench.gateway().await;
    assert_eq!(gateway.previous_run().expect("there was one").notice(), Vec::<String>::new());
    within(gateway.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_stored_with_its_run_and_told_at_the_next_start() {
    let bench = Bench::start(&["kraken"]).await;
    let gateway = bench.gateway().await;
    let hook = Hook::new("notes", Phase::SaveState, || async { Err("no room for notes") });
    gateway.on_shutdown(hook).expect("it is taken");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    assert_eq!(report.hooks[0].ended, HookEnd::Failed);
    let late = Hook::new("late", Phase::Disconnect, || async { Ok::<(), String>(()) });
    assert!(gateway.on_shutdown(late).is_err());
    drop(gateway);

    let gateway = bench.gateway().await;
    let notice = gateway.previous_run().expect("there was one").notice().join("\n");
    let failure = "gateway/hooks/notes: hook of phase save_state: no room for notes";
    assert!(notice.contains("degraded, exit code 10") && notice.contains(failure), "{notice}");
    within(gateway.shutdown()).await;
    let shown = show_runs(gateway.state_directory().path(), &[]);
    assert!(shown.contains(&format!("run 1: {failure}")), "{shown}");
    let json = show_runs(gateway.state_directory().path(), &["--json"]);
    let first: serde_json::Value =
        serde_json::from_str(json.lines().last().expect("two runs")).expect("JSON");
    assert_eq!(first["report"]["hooks"][0]["reason"], "no room for notes");
}

fn show_runs(directory: &Path, more: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .args(["state", "show", "runs", "--state-dir"])
        .arg(directory)
        .args(more)
        .output()
        .expect("the program runs");
    String::from_utf8(output.stdout).expect("text")
}

/// Another program that keeps the database locked, as a person with an open transaction would.
struct Locked(rusqlite::Connection);

impl Locked {
    fn lock(directory: &Path) -> Self {
        let other = rusqlite::Connection::open(directory.join("gateway.db")).expect("it opens");
        // Only the gateway may write to the file.
        let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        other.set_db_config(option, true).expect("an option that there is");
        other.busy_timeout(common::PATIENCE).expect("it can wait");
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
        Self(other)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_saved_is_taken_in_and_not_asked_for_again() {
    let mut bench = Bench::start(&["kraken"]).await;
    bench.config.orders.on_restart = OnRestart::Adopt;
    let gateway = bench.gateway().await;
    let directory = gateway.state_directory().path().to_owned();
    let mut updates = gateway.orders().updates();
    let [part, whole] = &rest(&gateway, "kraken", 2).await[..] else { panic!("two orders") };
    let locked = Locked::lock(&directory);
    let (price, quantity) = (Decimal::from(20_000), Decimal::new(3, 3));
    bench.venue("kraken").trade(symbol("kraken"), Side::Sell, price, quantity).expect("it trades");
    update(&mut updates, |update| update.fill.is_some()).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::StateNotSaved, "{report:#?}");
    let orders = &report.exchanges[0].orders;
    assert!(orders.iter().all(|order| order.fate == OrderFate::Canceled), "{orders:?}");
    let emergency = PathBuf::from(report.state.emergency_file.as_deref().expect("a file"));
    assert_eq!(emergency.parent(), Some(&*directory));
    locked.release();
    drop(gateway);

    let seen = bench.venue("kraken").ledger().requests.len();
    let gateway = bench.gateway().await;
    let previous = gateway.previous_run().expect("there was one");
    assert_eq!(previous.run.outcome.as_deref(), Some("state_not_saved"));
    let told = previous.report.as_ref().expect("its report was in the file");
    assert_eq!(told.exchanges, report.exchanges);
    assert_eq!((previous.unsettled.len(), previous.lacking_fills.len()), (0, 0));
    let notice = previous.notice().join("\n");
    let file = &previous.emergency[0];
    assert_eq!((file.records, file.problems.len()), (file.taken, 0), "{file:?}");
    assert!(
        notice.contains(&format!("records were taken in from {}.imported", emergency.display()))
    );
    assert!(notice.contains("state was not saved: another program keeps"), "{notice}");
    assert!(!emergency.exists() && file.file.exists());

    // The database knows how the orders ended and what filled, and nobody asks for them again.
    let view = StateView::open(&directory).expect("it is there");
    let ended = view.orders(10, false).expect("it is readable").rows;
    assert!(ended.iter().all(|order| order.status == OrderStatus::Canceled), "{ended:?}");
    let fills = view.fills(10).expect("it is readable").rows;
    assert_eq!(fills.len(), 1);
    assert!([part.client_id, whole.client_id].contains(&fills[0].client_id));
    drop(view);
    let again = gateway.orders().submit(resting("kraken")).await.expect("orders are let in");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(asked_since(&bench, seen), BTreeSet::from([again.client_id.to_string()]));
    drop(gateway);
    assert!(verify(&directory).expect("it is readable").is_sound());
    let shown = show_runs(&directory, &[]);
    assert!(shown.contains("state_not_saved"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_could_not_be_sealed_is_taken_in_with_its_last_verdict() {
    let bench = Bench::start(&["kraken"]).await;
    let gateway = bench.gateway().await;
    let directory = gateway.state_directory().path().to_owned();
    let (sender, locked) = tokio::sync::oneshot::channel();
    let path = directory.clone();
    let lock = Hook::new("another program", Phase::Disconnect, move || async move {
        drop(sender.send(Locked::lock(&path)));
        Ok::<(), String>(())
    });
    gateway.on_shutdown(lock).expect("it is early enough");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::StateNotSaved, "{report:#?}");
    assert_eq!(phase(&report, Phase::SaveState).ended, PhaseEnd::Done);
    locked.await.expect("it was locked").release();
    drop(gateway);

    let gateway = bench.gateway().await;
    let previous = gateway.previous_run().expect("there was one");
    assert_eq!(previous.run.outcome.as_deref(), Some("state_not_saved"));
    let told = previous.report.as_ref().expect("its report was in the file");
    assert_eq!((told.outcome, told.state.saved), (Outcome::StateNotSaved, false));
    let notice = previous.notice().join("\n");
    assert!(notice.contains("exit code 14"), "{notice}");
    within(gateway.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_file_that_is_torn_is_named_and_the_start_goes_on() {
    let bench = Bench::start(&["kraken"]).await;
    let gateway = bench.gateway().await;
    within(gateway.shutdown()).await;
    let torn = gateway.state_directory().path().join("emergency-run1-1.jsonl");
    drop(gateway);
    std::fs::write(&torn, "{\"record\":\"order\",\"client_id\":\"gw").expect("it is written");
    let gateway = bench.gateway().await;
    let notice = gateway.previous_run().expect("there was one").notice().join("\n");
    assert!(notice.contains("0 of 0 records were taken in from"), "{notice}");
    assert!(notice.contains("line 1 is no record: "), "{notice}");
    let report = within(gateway.shutdown()).await;
    let told = report.failures.iter().any(|failure| failure.reason.contains("line 1 is no record"));
    assert!(told, "{report:#?}");
    assert_eq!(report.outcome, Outcome::Degraded);
}
