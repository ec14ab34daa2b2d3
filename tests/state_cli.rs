//! `state show`, `state verify` and `state recover` with the real program.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]
#![cfg(feature = "cli")]

mod state_common;

use std::path::Path;
use std::process::{Command, Output};

use state_common::*;

fn state(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, Output) {
    let output = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .arg("state")
        .args(arguments)
        .arg("--state-dir")
        .arg(directory)
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), shown, output)
}

#[test]
fn everything_stored_is_shown_as_a_table_and_as_json() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    for (rows, expected) in [
        ("orders", "64123.1 "),
        ("fills", "-0.01 USD"),
        ("positions", "64123.1 "),
        ("ticks", "0.00000001 @ 1234567890.123456789"),
        ("runs", "SIGTERM"),
    ] {
        let (code, shown, _) = state(directory.path(), &["show", rows]);
        assert_eq!(code, Some(0));
        assert!(shown.contains(expected), "{shown}");
    }
    let (_, shown, _) = state(directory.path(), &["show", "orders", "--open", "--json"]);
    let ids: Vec<String> = shown
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|order| order["client_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["gw000002", "gw000001", "gw000000"]);
    let (_, shown, _) = state(directory.path(), &["show", "positions", "--json"]);
    let shown: exchange_gateway::types::Position = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown, position());
}

#[test]
fn a_running_gateway_may_be_looked_at_and_not_verified() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    let (_database, _) = open(directory.path());
    let (code, shown, _) = state(directory.path(), &["show", "runs"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("not ended"), "{shown}");
    let (code, _, output) = state(directory.path(), &["verify"]);
    assert_eq!(code, Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
}

#[test]
fn damage_is_found_named_and_recovered_from() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    let (code, shown, _) = state(directory.path(), &["verify"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Everything is as it was written."), "{shown}");

    let path = directory.path().join("gateway.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("UPDATE orders SET quantity = '1' WHERE client_id = 'gw000002'", ())
        .unwrap();
    let (code, shown, _) = state(directory.path(), &["verify"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("gw000002"), "{shown}");
    let (code, _, output) = state(directory.path(), &["show"]);
    assert_eq!(code, Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("damaged: orders gw000002"), "{message}");

    let (code, shown, _) = state(directory.path(), &["recover"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("set aside in damaged_rows: orders gw000002"), "{shown}");
    assert_eq!(state(directory.path(), &["verify"]).0, Some(0));
    let (code, shown, _) = state(directory.path(), &["recover"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("nothing to recover"), "{shown}");
}

#[test]
fn a_directory_without_a_database_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    for action in ["show", "verify", "recover"] {
        let (code, _, output) = state(directory.path(), &[action]);
        assert_eq!(code, Some(2), "{action}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("does not exist"), "{message}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "a file is left behind");
}

#[test]
fn an_order_that_nobody_will_settle_is_settled_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    let open = |directory: &Path| {
        let (_, shown, _) = state(directory, &["show", "orders", "--open", "--json"]);
        shown.lines().count()
    };
    assert_eq!(open(directory.path()), 3);
    let runs = |directory: &Path| state(directory, &["show", "runs", "--json"]).1.lines().count();
    let before = runs(directory.path());
    let (code, ..) = state(directory.path(), &["settle", "gw999999", "--as", "canceled"]);
    assert_eq!((code, runs(directory.path())), (Some(1), before), "nothing to settle is no run");
    let (code, shown, output) =
        state(directory.path(), &["settle", "gw000001", "gw999999", "--as", "canceled"]);
    assert_eq!(code, Some(1), "one of them is not there");
    assert_eq!(shown, "gw000001 is canceled\n");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("gw999999: there is no unfinished order"), "{message}");
    assert_eq!(open(directory.path()), 2);
    let (code, ..) = state(directory.path(), &["settle", "gw000002", "--as", "filled"]);
    assert_eq!((code, open(directory.path())), (Some(0), 1));
    // Nothing is made where there was nothing.
    let empty = tempfile::tempdir().unwrap();
    let (code, ..) = state(empty.path(), &["settle", "gw000001", "--as", "canceled"]);
    assert_eq!(code, Some(2));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
