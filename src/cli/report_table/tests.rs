use exchange_gateway::shutdown::{HookEnd, OrderFate, Outcome, ShutdownReport};

use super::render;

#[path = "../../../tests/report_common/mod.rs"]
mod report_common;

use report_common::{HOSTILE, OLD_CLEAN, OLD_LEFT, full, order, short, started};

#[track_caller]
fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn the_report_fits_100_columns_and_names_what_is_left_and_the_exit_code() {
    let text = render(&full(), false);
    assert_fits(&text);
    for expected in [
        "Shutdown by SIGTERM at 2026-01-31T12:00:00Z, took 11187 ms of 20000",
        "the measured round trips allow 96 ms: 4 of 20150 µs at kraken, and 15 ms for its limits",
        "cancel pending           1        8000      8000   timed out",
        "tell the operator   save state   high           8086        2000        12   failed",
        "  tell the operator: exit status 1",
        "8123 (1000)",
        "in order",
        "not in it: 3",
        "kraken                  0          6 (7)            8000 (5)               2",
        "unknown",
        "filled during",
        "all of 0.002",
        "8 cancels written, last answer: acknowledged, not yet confirmed",
        "binance: 10 more orders ended",
        "account   LEFT ARMED, cancels at 2026-01-31T12:00:2",
        "gw0earlier: still open, on kraken:ETH-USD",
        "gw0stranded: may be open, on deribit:BTC-PERPETUAL",
        "kraken: 2 open orders are not the gateway's",
        "kraken:ETH-USD     close    0.025   60001.5   60010.25     0.4     -4.875 USD",
        "kraken:ETH-USD: not closed: no price is known",
        "+8.75",
        "without 1 that have no price",
        "webhook: NOT delivered, tried 3 times: connection refused",
        "command: delivered, tried once",
        "told to the log alone",
        "gateway/binance/trading: the exchange closed the connection",
        "ORDERS LEFT, exit code 13",
        "  - kraken: 1 order still open, the cancel was not confirmed",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colour where there is no terminal");
    assert!(render(&full(), true).contains("\x1b[1;31mORDERS LEFT"));
}

#[test]
fn nothing_is_said_of_what_there_was_nothing_of() {
    let text = render(&short(), false);
    for section in ["Hooks", "Positions", "Profit", "Alerts", "Failures", "round trips", "  - "] {
        assert!(!text.contains(section), "{section} is in\n{text}");
    }
    let empty = ShutdownReport::new(Outcome::Clean, "drain(kraken)", started());
    let text = render(&empty, false);
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn what_an_exchange_says_moves_no_cursor_and_a_long_name_breaks_no_table() {
    let mut report = full();
    report.hooks[0].name = "a hook whose name is far longer than a table has room for".into();
    report.hooks[0].ended = HookEnd::TimedOut;
    report.hooks[0].reason = Some(HOSTILE.repeat(3));
    report.failures[0].reason = HOSTILE.repeat(5);
    report.trigger = "\x1b[31mred".into();
    let long = report_common::order("kraken", 9, OrderFate::FilledDuringCancel);
    report.exchanges[1].orders.push(long);
    let text = render(&report, false);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    assert!(text.contains("a hook whose name is fa…"), "{text}");
    let long = order("kraken", 9, OrderFate::Canceled);
    report.exchanges[1].orders = vec![
        exchange_gateway::shutdown::OrderReport {
            instrument: "deribit:BTC-27JUN25-100000-C".parse().unwrap(),
            fate: OrderFate::FilledDuringCancel,
            cancel_path: Some(exchange_gateway::shutdown::CancelPath::Fresh),
            filled: "0.00085912".parse().unwrap(),
            quantity: "123.00085912".parse().unwrap(),
            ..long
        };
        2
    ];
    report.failures.clear();
    report.hooks.clear();
    assert_fits(&render(&report, false));
}

#[test]
fn reports_of_earlier_versions_are_shown_as_far_as_they_tell() {
    for (stored, expected) in [(OLD_CLEAN, "CLEAN, exit code 0"), (OLD_LEFT, "exit code 13")] {
        let report: ShutdownReport = serde_json::from_str(stored).unwrap();
        let text = render(&report, false);
        assert_fits(&text);
        assert!(text.contains(expected) && text.contains("took 1"), "{text}");
    }
}
