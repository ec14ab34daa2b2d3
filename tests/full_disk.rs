//! A disk that is full: the state database cannot be written any more. No new order is sent then,
//! those that are open are cancelled all the same, and the report says what was not saved.
//!
//! The real program runs under a limit on the size of its files, so that a real write fails.

#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use exchange_gateway::shutdown::{OrderFate, Outcome, ShutdownReport};

/// Files of at most 100 KiB: enough for the database's schema, the log and the report.
const SHELL: &str = "trap '' XFSZ; ulimit -f 200; exec \"$@\"";

/// A demo that has ended: its exit code, its report, and all that it printed.
struct Ended {
    code: Option<i32>,
    report: ShutdownReport,
    output: String,
    errors: String,
}

impl Ended {
    /// Orders and open orders of Binance, as the exchange's own ledger tells them.
    fn ledger(&self) -> (u32, u32) {
        let ledger = self.output.split("What the exchanges saw").nth(1).unwrap();
        let row = ledger.lines().find(|line| line.starts_with("  binance ")).unwrap();
        let mut cells = row.split_whitespace().skip(1).map(|cell| cell.parse().unwrap());
        (cells.next().unwrap(), cells.next().unwrap())
    }
}

/// Runs a demo until its database cannot be written, and then asks it to end.
fn demo(directory: &Path, more: &[&str]) -> Ended {
    let report = directory.join("report.json");
    let mut child = Command::new("sh")
        .args(["-c", SHELL, "sh", env!("CARGO_BIN_EXE_exchange-gateway")])
        .args(["demo", "--seed", "7", "--for", "5m", "--exchanges", "binance", "--orders", "3"])
        .args(more)
        .arg("--state-dir")
        .arg(directory.join("state"))
        .arg("--report")
        .arg(&report)
        .env_remove("EXCHANGE_GATEWAY_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let output = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut errors = String::new();
    // The second of them is said to the bot whose order is refused, which a later one is.
    for expected in ["no new orders are taken", "demo: no new orders: "] {
        while !errors.contains(expected) {
            assert_ne!(stderr.read_line(&mut errors).unwrap(), 0, "it ended early: {errors}");
        }
    }
    // The shell has become the program.
    let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
    stderr.read_to_string(&mut errors).unwrap();
    let code = child.wait().unwrap().code();
    let report = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    Ended { code, report, output: output.join().unwrap(), errors }
}

/// What the report must say of the state, whatever became of the orders.
fn assert_not_saved(ended: &Ended) {
    let (state, output) = (&ended.report.state, &ended.output);
    assert!(!state.saved, "{output}");
    let error = state.error.as_deref().unwrap();
    assert!(error.contains("the state database cannot be written"), "{error}");
    assert!(
        output.contains(&format!("State NOT saved in {}: {error}", state.directory)),
        "{output}"
    );
    let failures: Vec<_> = ended.report.failures.iter().map(|failure| &*failure.reason).collect();
    let told = |text: &str| failures.iter().any(|failure| failure.contains(text));
    assert!(told("no new orders are taken: the state database cannot be written"), "{failures:?}");
    match &state.emergency_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(text.lines().count() > 0, "{file} is empty");
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
            assert!(output.contains(&format!("what is not in it was written to {file}")));
        }
        None => assert!(told("no emergency file could be written"), "{failures:?}"),
    }
}

#[test]
fn a_full_disk_stops_new_orders_and_keeps_no_cancel_back() {
    let directory = tempfile::tempdir().unwrap();
    let ended = demo(directory.path(), &[]);
    // What the demo holds by then cannot be closed without a stored intent, which weighs more.
    let holds = ended.report.positions_left().next().is_some();
    let (outcome, code) =
        if holds { (Outcome::OrdersLeft, 13) } else { (Outcome::StateNotSaved, 14) };
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.output, ended.errors);
    assert_eq!(ended.report.outcome, outcome);
    assert_not_saved(&ended);
    let orders = &ended.report.exchanges[0].orders;
    assert!(orders.iter().all(|order| !order.fate.is_left()), "{orders:?}");
    let (placed, open) = ended.ledger();
    assert!(placed > 0, "orders were sent before the disk was full");
    assert_eq!(open, 0, "{}", ended.output);
}

#[test]
fn an_order_that_is_left_weighs_more_than_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let faults = directory.path().join("faults.toml");
    let stays = "[[fault]]\nexchange = \"binance\"\ncount = 0\n\
                 action = { ignore_cancel = { ack = true } }\n";
    std::fs::write(&faults, stays).unwrap();
    let ended = demo(directory.path(), &["--faults", faults.to_str().unwrap()]);
    assert_eq!(ended.code, Some(13), "{}\n{}", ended.output, ended.errors);
    assert_eq!(ended.report.outcome, Outcome::OrdersLeft);
    assert_not_saved(&ended);
    let orders = &ended.report.exchanges[0].orders;
    let left = orders.iter().filter(|order| order.fate == OrderFate::StillOpen).count();
    let (_, open) = ended.ledger();
    assert!(left > 0, "{orders:?}");
    assert_eq!(u32::try_from(left).unwrap(), open, "each is named: {}", ended.output);
}
