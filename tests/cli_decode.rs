//! `decode` with the real program: every recorded message is decoded as what it is.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn decode(exchange: &str, connection: &str, files: &[&Path], input: &[u8]) -> (Output, Vec<Value>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .args(["decode", "--exchange", exchange, "--connection", connection])
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it has read all of it.
    _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    let events = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output, events)
}

fn testdata(exchange: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exchange").join(exchange).join("testdata")
}

/// Exchange, connection, file, and the events that it holds.
const FIXTURES: &[(&str, &str, &str, &[&str])] = &[
    ("binance", "trading", "api_open_orders_status", &["order"]),
    ("binance", "trading", "api_order_cancel_ack", &["ack"]),
    ("binance", "trading", "api_order_place_ack", &["ack"]),
    ("binance", "trading", "api_order_place_full_filled", &["ack"]),
    ("binance", "trading", "api_order_place_rejected", &["reject"]),
    ("binance", "trading", "api_order_place_request_signed_hmac", &["ignored"]),
    ("binance", "trading", "api_session_logon_ack", &["ack"]),
    ("binance", "trading", "api_user_data_subscribe_ack", &["ack"]),
    ("binance", "market", "stream_book_ticker_raw", &["quote"]),
    ("binance", "market", "stream_error_missing_method", &["reject"]),
    ("binance", "market", "stream_server_shutdown_combined", &["ignored"]),
    ("binance", "market", "stream_subscribe_ack", &["ack"]),
    ("binance", "market", "stream_subscribe_request", &["ignored"]),
    ("binance", "market", "stream_ticker_24hr", &["ignored"]),
    ("binance", "market", "stream_trade_combined_legacy", &["trade"]),
    ("binance", "market", "stream_trade_raw", &["trade"]),
    ("binance", "trading", "user_account_position", &["ignored"]),
    ("binance", "trading", "user_execution_report_expired_ioc", &["order"]),
    ("binance", "trading", "user_execution_report_new", &["order"]),
    ("binance", "trading", "user_execution_report_trade_filled", &["fill"]),
    ("deribit", "trading", "auth_client_credentials_request", &["ignored"]),
    ("deribit", "trading", "auth_response", &["ack"]),
    ("deribit", "market", "book_change", &["ignored"]),
    ("deribit", "market", "book_snapshot", &["ignored"]),
    ("deribit", "trading", "buy_response_open", &["ack"]),
    ("deribit", "trading", "cancel_all_response", &["ack"]),
    ("deribit", "trading", "cancel_response", &["order"]),
    ("deribit", "trading", "enable_cancel_on_disconnect_request", &["ignored"]),
    ("deribit", "trading", "error_bad_request", &["reject"]),
    ("deribit", "trading", "error_too_many_requests", &["reject"]),
    ("deribit", "trading", "get_open_orders_response", &["order"]),
    ("deribit", "market", "heartbeat_test_request", &["heartbeat"]),
    ("deribit", "market", "public_test_request", &["ignored"]),
    ("deribit", "market", "public_test_response", &["heartbeat"]),
    ("deribit", "market", "quote", &["quote"]),
    ("deribit", "trading", "sell_response_filled_with_trades", &["ack", "fill"]),
    ("deribit", "market", "set_heartbeat_request", &["ignored"]),
    ("deribit", "market", "subscribe_response", &["ack"]),
    ("deribit", "market", "ticker_100ms", &["ignored"]),
    ("deribit", "market", "trades_100ms", &["trade", "trade"]),
    ("deribit", "trading", "user_orders_raw", &["order"]),
    ("deribit", "trading", "user_portfolio", &["ignored"]),
    ("deribit", "trading", "user_trades_raw", &["fill", "fill"]),
    ("kraken", "trading", "add_order_ack", &["ack"]),
    ("kraken", "trading", "add_order_reject", &["reject"]),
    ("kraken", "trading", "add_order_request_limit_post_only", &["ignored"]),
    ("kraken", "trading", "balances_snapshot", &["ignored"]),
    ("kraken", "market", "book_snapshot_depth10_checksum", &["ignored"]),
    ("kraken", "market", "book_update_1_after_snapshot", &["ignored"]),
    ("kraken", "market", "book_update_2_after_snapshot", &["ignored"]),
    ("kraken", "trading", "cancel_all_orders_after_ack", &["ack"]),
    ("kraken", "trading", "cancel_all_orders_after_request", &["ignored"]),
    ("kraken", "trading", "cancel_order_ack", &["ack"]),
    ("kraken", "trading", "cancel_order_request", &["ignored"]),
    ("kraken", "trading", "executions_new", &["order"]),
    ("kraken", "trading", "executions_pending_new", &["ack"]),
    ("kraken", "trading", "executions_subscribe_ack", &["ack"]),
    ("kraken", "trading", "executions_subscribe_request", &["ignored"]),
    ("kraken", "trading", "executions_trade_full_qty_but_partially_filled", &["fill"]),
    ("kraken", "market", "pong", &["heartbeat"]),
    ("kraken", "market", "status_on_connect", &["ignored"]),
    ("kraken", "market", "subscribe_ticker_ack", &["ack"]),
    ("kraken", "market", "ticker_update", &["quote"]),
    ("kraken", "market", "trade_update_two_trades", &["trade", "trade"]),
];

#[test]
fn every_recorded_message_is_decoded_as_what_it_is() {
    for (exchange, connection, name, expected) in FIXTURES {
        let path = testdata(exchange).join(format!("{name}.json"));
        let (output, events) = decode(exchange, connection, &[&path], b"");
        let found: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(found, *expected, "{exchange} {name}: {events:?}");
        assert_eq!(output.status.code(), Some(0), "{exchange} {name}");
    }
}

#[test]
fn no_recorded_message_is_left_out_of_the_table() {
    for exchange in ["binance", "deribit", "kraken"] {
        let listed: BTreeSet<String> = FIXTURES
            .iter()
            .filter(|(of, ..)| *of == exchange)
            .map(|(_, _, name, _)| format!("{name}.json"))
            .collect();
        for entry in std::fs::read_dir(testdata(exchange)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(listed.contains(&name), "{exchange}/testdata/{name} is not in the table");
        }
    }
}

#[test]
fn fields_are_normalised_and_numbers_keep_their_digits() {
    let path = testdata("kraken").join("trade_update_two_trades.json");
    let (_, events) = decode("kraken", "market", &[&path], b"");
    let trade = &events[0];
    assert_eq!(trade["instrument"], "kraken:BTC-USD");
    assert_eq!(trade["price"], "105944.20");
    assert_eq!(trade["quantity"], "0.00027625");
    assert_eq!(trade["taker_side"], "buy");
    assert_eq!(trade["line"], 1);
    let path = testdata("binance").join("user_execution_report_trade_filled.json");
    let (_, events) = decode("binance", "trading", &[&path], b"");
    let fill = &events[0];
    assert_eq!(fill["instrument"], "binance:ETH-USDT");
    assert_eq!(fill["fee"]["asset"], "ETH");
    assert_eq!(fill["liquidity"], "maker");
    assert_eq!(fill["completes"], true);
}

fn compact(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    // Without the line ends only: the numbers keep their digits.
    text.lines().map(str::trim).collect()
}

#[test]
fn lines_and_pretty_printed_documents_are_read_from_files_and_the_standard_input() {
    let trade = testdata("binance").join("stream_trade_raw.json");
    let quote = testdata("binance").join("stream_book_ticker_raw.json");
    let lines = format!("{}\n\n{}\n", compact(&trade), compact(&quote));
    let (_, events) = decode("binance", "market", &[Path::new("-")], lines.as_bytes());
    assert_eq!((events[0]["event"].as_str(), &events[0]["line"]), (Some("trade"), &1.into()));
    assert_eq!((events[1]["event"].as_str(), &events[1]["line"]), (Some("quote"), &3.into()));
    let pretty = format!("{{\n \"result\": null,\n \"id\": 1\n}}\n{}\n", compact(&trade));
    let (output, events) =
        decode("binance", "market", &[Path::new("-"), &quote], pretty.as_bytes());
    let found: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(found, ["ack", "trade", "quote"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_unreadable_message_is_an_error_event_and_the_others_are_read() {
    let trade = compact(&testdata("binance").join("stream_trade_raw.json"));
    let cut = &trade[..trade.len() / 2];
    let inputs: [(&str, Vec<u8>); 5] = [
        ("garbage between", format!("{trade}\n\u{0}garbage\n{trade}\n").into_bytes()),
        ("no text between", [trade.as_bytes(), b"\n\xff\xfe\n", trade.as_bytes()].concat()),
        ("cut short between", format!("{trade}\n{cut}\n{trade}\n").into_bytes()),
        ("cut short at first", format!("{cut}\n{trade}\n{trade}\n").into_bytes()),
        ("cut short at the end", format!("{trade}\n{trade}\n{cut}").into_bytes()),
    ];
    for (what, input) in inputs {
        let (output, events) = decode("binance", "market", &[Path::new("-")], &input);
        assert_eq!(output.status.code(), Some(1), "{what}");
        let trades = events.iter().filter(|event| event["event"] == "trade").count();
        assert_eq!(trades, 2, "{what}: {events:?}");
        let errors: Vec<_> = events.iter().filter(|event| event["event"] == "error").collect();
        assert_eq!(errors.len(), 1, "{what}: {events:?}");
        assert!(!errors[0]["reason"].as_str().unwrap().is_empty(), "{what}");
    }
    let (output, events) = decode("kraken", "market", &[Path::new("/no/such")], b"");
    assert_eq!((output.status.code(), events[0]["event"].as_str()), (Some(1), Some("error")));
}

#[test]
fn every_prefix_of_a_message_is_told_unreadable_without_a_panic() {
    for (exchange, connection, name) in [
        ("kraken", "trading", "executions_new"),
        ("binance", "trading", "user_execution_report_new"),
    ] {
        let whole = compact(&testdata(exchange).join(format!("{name}.json")));
        for end in (1..whole.len()).step_by(37) {
            let input = &whole.as_bytes()[..end];
            let (output, events) = decode(exchange, connection, &[Path::new("-")], input);
            assert_eq!(output.status.code(), Some(1), "{exchange} {name} cut at {end}: {events:?}");
            assert!(output.stderr.is_empty(), "{exchange} {name} cut at {end}");
        }
    }
}
