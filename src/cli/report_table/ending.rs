//! Alerts, failures, what was saved, and the verdict.

use std::fmt::Write as _;

use comfy_table::{Cell, Table};
use exchange_gateway::shutdown::{AlertDelivery, Outcome, ShutdownReport};

use super::table::{clean, new_table, spaced, wrapped};

pub(super) fn alerts(report: &ShutdownReport, colors: bool) -> Table {
    let mut table = new_table(&["about", "exchange", "alert"], colors);
    for alert in &report.alerts {
        let exchange = alert.alert.exchange.map_or_else(String::new, |name| name.to_string());
        let reached = if alert.deliveries.is_empty() {
            "told to the log alone".to_owned()
        } else {
            alert.deliveries.iter().map(delivery).collect::<Vec<_>>().join("\n")
        };
        table.add_row(vec![
            Cell::new(spaced(alert.alert.kind.as_str())),
            Cell::new(exchange),
            Cell::new(format!("{}\n{reached}", clean(&alert.alert.message))),
        ]);
    }
    table
}

/// How one way of delivery ended.
fn delivery(delivery: &AlertDelivery) -> String {
    let AlertDelivery { channel, attempts, error } = delivery;
    let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
    match error {
        None => format!("{}: delivered, tried {times}", clean(channel)),
        Some(error) => {
            format!("{}: NOT delivered, tried {times}: {}", clean(channel), clean(error))
        }
    }
}

pub(super) fn failures(text: &mut String, report: &ShutdownReport) {
    if report.failures.is_empty() {
        return;
    }
    text.push_str("\nFailures\n");
    for failure in &report.failures {
        text.push_str(&wrapped("  ", &format!("{}: {}", failure.scope, failure.reason)));
    }
}

pub(super) fn state(text: &mut String, report: &ShutdownReport) {
    let state = &report.state;
    if state.saved {
        let (directory, ticks) = (&state.directory, state.last_ticks);
        _ = writeln!(
            text,
            "\nState saved in {directory}, with the last ticks of {ticks} instruments"
        );
        if state.late_ticks > 0 {
            let late = state.late_ticks;
            _ = writeln!(
                text,
                "  ticks that came after market data was frozen and are not in it: {late}"
            );
        }
    } else if report.state_was_due() {
        let error = state.error.as_deref().unwrap_or("no reason given");
        _ = writeln!(text, "\nState NOT saved in {}: {}", state.directory, clean(error));
        if let Some(file) = &state.emergency_file {
            _ = writeln!(text, "  what is not in it was written to {file}");
        }
    }
}

/// How long it took beside what the measured round trips allow.
pub(super) fn least(text: &mut String, report: &ShutdownReport) {
    let Some(least) = &report.least else { return };
    let mut words = format!(
        "the measured round trips allow {} ms: {} of {} µs at {}",
        least.least_ms, least.round_trips, least.round_trip_us, least.exchange
    );
    if least.paced_ms > 0 {
        _ = write!(words, ", and {} ms for its limits", least.paced_ms);
    }
    text.push_str(&wrapped("  ", &words));
}

pub(super) fn verdict(text: &mut String, report: &ShutdownReport, colors: bool) {
    let name = match report.outcome {
        Outcome::Clean => "CLEAN",
        Outcome::Degraded => "DEGRADED",
        Outcome::DeadlineForced => "FORCED BY THE DEADLINE",
        Outcome::OperatorForced => "FORCED BY THE OPERATOR",
        Outcome::OrdersLeft => "ORDERS LEFT",
        Outcome::StateNotSaved => "STATE NOT SAVED",
    };
    let (begin, end) = match (colors, report.outcome) {
        (false, _) => ("", ""),
        (true, Outcome::Clean) => ("\x1b[1;32m", "\x1b[0m"),
        (true, Outcome::Degraded) => ("\x1b[1;33m", "\x1b[0m"),
        (true, _) => ("\x1b[1;31m", "\x1b[0m"),
    };
    let (code, words) = (report.outcome.exit_code(), report.outcome.describe());
    _ = writeln!(text, "\n{begin}{name}{end}, exit code {code}\n  {words}");
    for reason in report.reasons() {
        text.push_str(&wrapped("  - ", &reason));
    }
}
