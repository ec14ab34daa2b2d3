//! `report` with the real program and the database of real runs.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod state_common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use exchange_gateway::shutdown::{Outcome, ShutdownReport, Stage};
use exchange_gateway::state::{Record, RunEnd};
use exchange_gateway::types::OrderStatus;
use state_common::*;

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
    program.env_remove("EXCHANGE_GATEWAY_LOG").stdin(Stdio::null());
    program
}

fn report(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut program = program();
    let output = program.arg("report").args(arguments).arg("--state-dir").arg(directory).output();
    shown(&output.unwrap())
}

fn shown(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_report_of_a_run_is_shown_as_tables_as_json_and_as_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let run = program()
        .args(["demo", "--seed", "7", "--for", "1500ms", "--orders", "2", "--state-dir"])
        .arg(&state)
        .output()
        .unwrap();
    let (code, text, errors) = shown(&run);
    assert_eq!(code, Some(0), "{text}{errors}");
    let hint =
        format!("exchange-gateway report --html report.html --state-dir {}", state.display());
    assert!(text.contains(&hint), "{text}");

    let (code, tables, errors) = report(&state, &[]);
    assert_eq!(code, Some(0), "{errors}");
    for expected in
        ["Run 1\nShutdown by the end of --for", "Orders of each exchange", "CLEAN, exit"]
    {
        assert!(tables.contains(expected), "{expected} is not in\n{tables}");
    }
    assert!(!tables.contains('\u{1b}'), "no colour where there is no terminal");

    let (code, json, _) = report(&state, &["1", "--json"]);
    assert_eq!(code, Some(0));
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&all["run"], &all["exit_code"]), (&1.into(), &0.into()));
    let stored: ShutdownReport = serde_json::from_str(&json).unwrap();
    assert_eq!(stored.outcome, Outcome::Clean);
    let mut next = 0;
    for phase in &stored.phases {
        assert!(phase.began_ms.is_some_and(|began| began >= next), "{:?}", stored.phases);
        next = phase.began_ms.unwrap() + phase.used_ms;
    }
    assert!(stored.deadline_ms.is_some());
    for exchange in &stored.exchanges {
        let stages: Vec<_> = exchange.stages.iter().map(|reached| reached.stage).collect();
        assert_eq!(stages.first(), Some(&Stage::IntakeStopped), "{stages:?}");
        assert!(stages.contains(&Stage::CancelsSent), "{stages:?}");
        let confirmed = exchange.stages.iter().filter(|s| s.stage == Stage::CancelsConfirmed);
        let confirmed: Vec<_> = confirmed.map(|s| (s.count, s.unconfirmed)).collect();
        assert_eq!(confirmed, [(Some(2), Some(0))]);
        // The others close positions.
        let cancelled = exchange.orders.iter().filter(|order| order.cancel_attempts > 0);
        assert_eq!(cancelled.clone().count(), 2);
        for order in cancelled {
            let (sent, ended) = (order.cancel_sent_ms.unwrap(), order.ended_ms.unwrap());
            assert!(sent <= ended && ended <= stored.elapsed_ms, "{order:?}");
        }
    }

    let page = directory.path().join("page.html");
    std::fs::write(&page, "an older page").unwrap();
    let file = page.display().to_string();
    let (code, said, errors) = report(&state, &["--html", &file]);
    assert_eq!((code, said), (Some(0), format!("the report of run 1 is in {file}\n")), "{errors}");
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(written.starts_with("<!doctype html>") && written.ends_with("</html>\n"));
    assert!(written.contains("the shutdown of run 1") && written.contains("kraken/trading"));
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(files.len(), 2, "nothing but the page is written beside the state: {files:?}");

    // Both at once, and into a pipe.
    let (code, json, _) = report(&state, &["--json", "--html", "/dev/null"]);
    assert_eq!((code, json.starts_with('{')), (Some(0), true));
    let (code, piped, _) = report(&state, &["--html", "/dev/stdout"]);
    assert_eq!((code, piped.starts_with("<!doctype html>")), (Some(0), true));

    let (code, _, errors) = report(&state, &["--html", "/no/such/place.html"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("the page /no/such/place.html: No such file"), "{errors}");
}

#[test]
fn the_newest_run_with_a_report_is_meant_unless_another_is_named() {
    let directory = tempfile::tempdir().unwrap();
    // One that ended, one by hand, and one that still runs and has placed orders.
    let (database, _) = open(directory.path());
    let mut first = ShutdownReport::new(Outcome::Degraded, "SIGTERM", time(3));
    first.elapsed_ms = 77;
    let report_of_first = serde_json::to_string(&first).unwrap();
    let ended = |trigger: &str, report: &str| {
        Record::RunEnded(Box::new(RunEnd {
            trigger: trigger.to_owned(),
            report: report.to_owned(),
            ..run_end()
        }))
    };
    database.writer().record(ended("SIGTERM", &report_of_first));
    database.close().unwrap();
    let (database, _) = open(directory.path());
    database.writer().record(ended("settled by hand", ""));
    database.close().unwrap();
    let (running, _) = open(directory.path());
    running.writer().record(Record::order(order(1, OrderStatus::Open)));
    flush(&running.writer());

    let (code, tables, errors) = report(directory.path(), &[]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(tables.contains("Run 1\n") && tables.contains("took 77 ms"), "{tables}");

    let (code, nothing, why) = report(directory.path(), &["2"]);
    assert_eq!((code, nothing.as_str()), (Some(1), ""));
    assert!(why.contains("run 2 has no report") && why.contains("settled by hand"), "{why}");

    let (code, _, why) = report(directory.path(), &["3", "--json"]);
    assert_eq!(code, Some(1));
    for known in [
        format!("process {}", std::process::id()),
        "runs still or was killed".to_owned(),
        "1 unfinished order,".to_owned(),
    ] {
        assert!(why.contains(&known), "{known} is not in {why}");
    }

    let (code, _, why) = report(directory.path(), &["4"]);
    assert_eq!(code, Some(2));
    assert!(why.contains("there is no run 4"), "{why}");
}

#[test]
fn a_killed_run_is_said_to_be_one_when_another_followed() {
    let directory = tempfile::tempdir().unwrap();
    let place = |directory: &Path| {
        let (database, _) = open(directory);
        flush(&database.writer());
        drop(database);
    };
    place(directory.path());
    let (code, _, why) = report(directory.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(why.contains("run 1 has no report"), "{why}");
    place(directory.path());
    let (code, _, why) = report(directory.path(), &["1"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("was killed") && why.contains("settled by the next run"), "{why}");
}

#[test]
fn what_cannot_be_read_is_said_to_be_so() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, why) = report(directory.path(), &[]);
    assert_eq!(code, Some(2));
    assert!(why.contains("does not exist"), "{why}");

    // The database of these tests holds a report of no version.
    fill_small(directory.path());
    let (code, _, why) = report(directory.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(why.contains("the report of run 1 cannot be read: missing field"), "{why}");
    assert!(why.contains("state show runs --json"), "{why}");

    rusqlite::Connection::open(directory.path().join("gateway.db"))
        .unwrap()
        .execute("UPDATE runs SET report = '{}' WHERE id = 1", ())
        .unwrap();
    let (code, _, why) = report(directory.path(), &["1"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("damaged: runs 1"), "{why}");

    let (code, _, why) = report(directory.path(), &["0"]);
    assert_eq!((code, why.contains("invalid value '0'")), (Some(2), true), "{why}");
}
