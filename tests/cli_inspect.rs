//! `inspect` with the real program, on complete and incomplete logs.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::process::{Command, Output};

use serde_json::{Value, json};

fn inspect(log: &str, options: &[&str]) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.log");
    std::fs::write(&path, log).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .arg("inspect")
        .args(options)
        .arg(&path)
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    (output, shown)
}

fn started(time: &str) -> String {
    json!({"time": time, "target": "exchange_gateway::gateway", "message": "gateway started"})
        .to_string()
}

fn stage(exchange: &str, connection: &str, stage: &str, elapsed_ms: u64, more: &Value) -> String {
    let mut line = json!({
        "target": "exchange_gateway::stage", "exchange": exchange, "connection": connection,
        "stage": stage, "elapsed_ms": elapsed_ms, "message": "stage",
    });
    for (key, value) in more.as_object().unwrap() {
        line[key] = value.clone();
    }
    line.to_string()
}

/// The stages of one exchange that is shut down in order.
fn in_order(exchange: &str) -> Vec<String> {
    let none = json!({});
    let mut lines = vec![
        stage(exchange, "orders", "intake_stopped", 0, &none),
        stage(exchange, "orders", "cancels_sent", 1, &json!({"count": 6})),
        stage(exchange, "orders", "cancels_confirmed", 20, &json!({"count": 6, "unconfirmed": 0})),
        stage(exchange, "market", "unsubscribed", 30, &none),
    ];
    for connection in ["market", "trading"] {
        lines.push(stage(exchange, connection, "close_frame_sent", 31, &json!({"code": 1000})));
        let answer = json!({"code": 1000, "reason": "bye"});
        lines.push(stage(exchange, connection, "close_frame_received", 32, &answer));
        lines.push(stage(exchange, connection, "tcp_closed", 33, &none));
    }
    lines
}

fn log(parts: &[Vec<String>]) -> String {
    parts.concat().join("\n") + "\n"
}

#[test]
fn a_complete_log_is_shown_with_times_and_nothing_is_missing() {
    let text =
        log(&[vec![started("2026-01-01T00:00:00Z")], in_order("binance"), in_order("kraken")]);
    let (output, shown) = inspect(&text, &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for expected in ["binance", "kraken", "20 ms", "cancels_confirmed", "code 1000, bye"] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert!(shown.contains("Nothing is missing."), "{shown}");
}

#[test]
fn each_absent_stage_is_pointed_out() {
    let whole = in_order("kraken");
    for absent in 0..whole.len() {
        let mut lines = whole.clone();
        let removed: Value = serde_json::from_str(&lines.remove(absent)).unwrap();
        let (output, shown) = inspect(&log(&[vec![started("now")], lines]), &[]);
        assert_eq!(output.status.code(), Some(1), "without {removed}:\n{shown}");
        assert!(shown.contains("Missing:\n  - kraken"), "without {removed}:\n{shown}");
    }
}

#[test]
fn a_close_never_answered_and_a_cancel_never_confirmed_are_named() {
    let none = json!({});
    let lines = vec![
        started("2026-01-01T00:00:00Z"),
        stage("kraken", "orders", "intake_stopped", 0, &none),
        stage("kraken", "orders", "cancels_sent", 1, &json!({"count": 2})),
        json!({
            "target": "exchange_gateway::order", "message": "cancel not confirmed",
            "exchange": "kraken", "order": "gw42", "reason": "no answer",
        })
        .to_string(),
        stage(
            "kraken",
            "orders",
            "cancels_confirmed",
            8000,
            &json!({"count": 1, "unconfirmed": 1}),
        ),
        stage("kraken", "trading", "close_frame_sent", 8001, &json!({"code": 1000})),
        stage("kraken", "trading", "dropped", 11_001, &json!({"reason": "no answer within 3 s"})),
    ];
    let (output, shown) = inspect(&log(&[lines]), &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let run: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        run["missing"],
        json!([
            "kraken: the cancel of order gw42 was never confirmed: no answer",
            "kraken/trading: the close frame was never answered",
            "kraken/trading: it was dropped: no answer within 3 s",
        ])
    );
}

#[test]
fn the_last_run_is_shown_and_all_runs_on_request() {
    let mut broken_off = in_order("kraken");
    broken_off.truncate(3);
    let text = log(&[
        vec![started("2026-01-01T00:00:00Z")],
        broken_off,
        vec![started("2026-01-02T00:00:00Z")],
        in_order("kraken"),
    ]);
    let (output, shown) = inspect(&text, &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("2026-01-02") && !shown.contains("2026-01-01"), "{shown}");
    let (output, shown) = inspect(&text, &["--all"]);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("2026-01-02") && shown.contains("2026-01-01"), "{shown}");
}

#[test]
fn the_drain_of_one_exchange_is_shown_while_the_other_trades_on() {
    let text = log(&[vec![started("2026-01-01T00:00:00Z")], in_order("binance")]);
    let (output, shown) = inspect(&text, &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("binance") && !shown.contains("kraken"), "{shown}");
}

fn progress(message: &str, more: &Value) -> String {
    let mut line = json!({"target": "exchange_gateway::shutdown::coordinator", "message": message});
    for (key, value) in more.as_object().unwrap() {
        line[key] = value.clone();
    }
    line.to_string()
}

#[test]
fn an_exchange_drained_before_the_shutdown_is_complete() {
    let again = in_order("kraken").into_iter().take(3).collect();
    let text = log(&[vec![started("now")], in_order("kraken"), again, in_order("binance")]);
    let (output, shown) = inspect(&text, &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert_eq!(shown.matches("close_frame_received").count(), 4, "{shown}");
}

#[test]
fn a_shutdown_that_the_report_calls_degraded_is_not_called_complete() {
    let verdict = json!({"outcome": "Degraded", "exit_code": 10});
    let text = log(&[
        vec![started("now"), progress("shutdown begins", &json!({"trigger": "SIGTERM"}))],
        in_order("kraken"),
        vec![progress("shutdown complete", &verdict)],
    ]);
    let (output, shown) = inspect(&text, &[]);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("the shutdown ended as Degraded (10)"), "{shown}");
}

#[test]
fn a_reconnect_before_the_shutdown_is_not_taken_for_a_part_of_it() {
    let dropped = stage("kraken", "market", "dropped", 5, &json!({"reason": "connection reset"}));
    let text = log(&[vec![started("now"), dropped], in_order("kraken")]);
    let (output, shown) = inspect(&text, &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(!shown.contains("connection reset"), "{shown}");
}

#[test]
fn a_broken_line_is_reported_with_its_number_and_skipped() {
    let mut lines = in_order("kraken");
    lines.insert(2, "{\"target\": \"exchange_gate".into());
    let (output, shown) = inspect(&log(&[vec![started("now")], lines]), &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.contains("gateway.log:4: broken line, skipped"), "{warned}");
}

#[test]
fn the_default_json_format_of_tracing_is_read_too() {
    let nested = |line: &String| {
        let Value::Object(mut fields) = serde_json::from_str(line).unwrap() else { panic!() };
        let target = fields.remove("target");
        json!({"target": target, "fields": fields}).to_string()
    };
    let lines = in_order("kraken").iter().map(nested).collect();
    let (output, shown) = inspect(&log(&[lines]), &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
}

#[test]
fn a_log_without_a_shutdown_and_an_unreadable_file_are_told_apart_from_a_bad_one() {
    let (output, _) = inspect(&(started("now") + "\n"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no shutdown in its last run"));
    let output = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .args(["inspect", "/no/such.log"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/no/such.log: cannot be read"));
}

#[test]
fn an_exchange_without_a_stage_and_a_shutdown_without_an_end_are_missed() {
    let live = |exchange: &str, connection: &str| {
        json!({"exchange": exchange, "connection": connection, "message": "connection live"})
            .to_string()
    };
    let progress = |message: &str| {
        json!({
            "target": "exchange_gateway::shutdown::coordinator", "message": message,
            "trigger": "SIGTERM", "outcome": "Clean", "exit_code": 0,
        })
        .to_string()
    };
    let mut lines = vec![started("now"), live("kraken", "market"), live("kraken", "backup")];
    lines.extend([live("binance", "market"), progress("shutdown begins")]);
    lines.extend(in_order("kraken"));
    let (output, shown) = inspect(&log(&[lines.clone()]), &[]);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for expected in [
        "kraken/backup: no close frame was sent",
        "binance: it was never disconnected",
        "the shutdown by SIGTERM never came to its end",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    lines.retain(|line| !line.contains("backup") && !line.contains("binance"));
    lines.push(progress("shutdown complete"));
    let (output, shown) = inspect(&log(&[lines]), &[]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("Shutdown by SIGTERM: Clean, exit code 0"), "{shown}");
}
