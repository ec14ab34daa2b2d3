//! Every other part of the report as a table.

use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::html::{Cell, Mood, Table, badge, count, section, spaced, text};
use super::timeline::hook_end;
use crate::report::{
    AlertDelivery, ConnectionReport, HookEnd, PhaseEnd, PositionReport, ShutdownReport, Stage,
    SwitchState,
};

/// Digits of averages and profits; the JSON has them all.
const DIGITS: u32 = 10;

fn rounded(value: Decimal) -> Decimal {
    value.round_sf(DIGITS).unwrap_or(value).normalize()
}

/// A sum of money with its sign.
fn signed(value: Decimal) -> String {
    signed_to(DIGITS, value)
}

/// The same with so many digits.
pub(super) fn signed_to(digits: u32, value: Decimal) -> String {
    let value = value.round_sf(digits).unwrap_or(value).normalize();
    if value > Decimal::ZERO { format!("+{value}") } else { value.to_string() }
}

pub(super) fn positions(page: &mut String, report: &ShutdownReport) {
    if report.positions.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        "position",
        "policy",
        "held",
        "entry",
        "closed",
        "exit",
        "left",
        "realised",
        "fees",
        "unrealised",
        "profit",
    ]);
    for position in &report.positions {
        let price = |price: Option<crate::types::Price>| price.map(|price| rounded(price.0));
        let quantity = |quantity: Decimal| Cell::number(quantity.normalize());
        let left = if position.is_left() {
            Cell::badge(Mood::Bad, position.left.normalize()).numeric()
        } else {
            quantity(position.left)
        };
        table.row([
            Cell::name(position.instrument),
            Cell::words(position.policy.as_str()),
            quantity(position.quantity),
            Cell::maybe(price(position.entry)),
            quantity(position.closed),
            Cell::maybe(price(position.exit)),
            left,
            Cell::number(signed(position.realized)),
            Cell::number(rounded(position.fees)),
            Cell::maybe(position.unrealized.map(signed)),
            Cell::number(format!("{} {}", signed(position.profit()), position.currency)),
        ]);
        table.note(&position_words(position));
    }
    for (currency, total) in report.profit_totals() {
        let nothing = || Cell::words("");
        table.sum([
            Cell::words(format!("all in {currency}")).under((total.unpriced > 0).then(|| {
                format!("{} without a price left out", count(total.unpriced, "position"))
            })),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            Cell::number(signed(total.realized)),
            Cell::number(rounded(total.fees)),
            Cell::number(signed(total.unrealized)),
            Cell::number(format!("{} {currency}", signed(total.net))),
        ]);
    }
    section(page, "positions", "Positions and profit", &table.to_string());
}

fn position_words(position: &PositionReport) -> String {
    let mut words = Vec::new();
    words.extend(position.not_closed.as_ref().map(|why| format!("not closed: {why}")));
    if let Some(difference) = position.difference.filter(|difference| !difference.is_zero()) {
        words.push(format!("the exchange says {} more", difference.normalize()));
    }
    if !position.other_fees.is_empty() {
        let fees = position.other_fees.iter().map(|(asset, fee)| format!("{fee} {asset}"));
        words.push(format!("other fees: {}", fees.collect::<Vec<_>>().join(", ")));
    }
    if !position.orders.is_empty() {
        let orders: Vec<_> = position.orders.iter().map(ToString::to_string).collect();
        words.push(format!("closing orders: {}", orders.join(", ")));
    }
    words.join("; ")
}

pub(super) fn phases(page: &mut String, report: &ShutdownReport) {
    if report.phases.is_empty() {
        return;
    }
    let mut table = Table::new(&["phase", "began at ms", "allowed ms", "used ms", "ended"]);
    for (phase, began) in report.phases.iter().zip(report.phase_starts()) {
        let (mood, word) = match phase.ended {
            PhaseEnd::Done => (Mood::Good, "done"),
            PhaseEnd::TimedOut => (Mood::Bad, "timed out"),
            PhaseEnd::Forced => (Mood::Bad, "forced"),
        };
        table.row([
            Cell::words(spaced(phase.phase.as_str())),
            Cell::number(began),
            Cell::number(phase.budget_ms),
            Cell::number(phase.used_ms),
            Cell::badge(mood, word),
        ]);
    }
    section(page, "phases", "Phases", &table.to_string());
}

pub(super) fn hooks(page: &mut String, report: &ShutdownReport) {
    if report.hooks.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        "hook",
        "phase",
        "priority",
        "began at ms",
        "allowed ms",
        "used ms",
        "ended",
        "in words",
    ]);
    for hook in &report.hooks {
        table.row([
            Cell::words(&hook.name),
            Cell::words(spaced(hook.phase.as_str())),
            Cell::words(hook.priority.as_str()),
            Cell::number(hook.began_ms),
            Cell::number(hook.budget_ms),
            Cell::number(hook.used_ms),
            Cell::badge(Mood::good_if(hook.ended == HookEnd::Done), hook_end(hook.ended)),
            Cell::words(hook.reason.as_deref().unwrap_or_default()),
        ]);
    }
    section(page, "hooks", "Hooks", &table.to_string());
}

pub(super) fn connections(page: &mut String, report: &ShutdownReport) {
    let mut table = Table::new(&[
        "connection",
        "unsubscribed at ms",
        "close sent at ms",
        "close received at ms",
        "TCP ended at ms",
        "closed",
    ]);
    let mut some = false;
    for exchange in &report.exchanges {
        for connection in &exchange.connections {
            some = true;
            let reached = |stage, code| Cell::maybe(stage_time(connection, stage, code));
            let closed = match &connection.problem {
                Some(problem) => Cell::badge(Mood::Bad, problem),
                None if connection.closed_in_order => Cell::badge(Mood::Good, "in order"),
                None => Cell::badge(Mood::Bad, "not in order"),
            };
            let drained = connection.closed_earlier.then_some("by a drain before");
            table.row([
                Cell::name(format!("{}/{}", exchange.exchange, connection.connection)),
                reached(Stage::Unsubscribed, None),
                reached(Stage::CloseFrameSent, connection.close_sent),
                reached(Stage::CloseFrameReceived, connection.close_received),
                reached(Stage::TcpClosed, None),
                closed.under(drained),
            ]);
        }
    }
    if some {
        section(page, "connections", "Connections", &table.to_string());
    }
}

/// When a stage was reached, with the code of its close frame.
fn stage_time(connection: &ConnectionReport, stage: Stage, code: Option<u16>) -> Option<String> {
    let reached = connection.stages.iter().find(|reached| reached.stage == stage)?;
    let time = (!connection.closed_earlier).then(|| reached.elapsed_ms.to_string());
    let code = code.map(|code| format!("({code})"));
    Some(time.into_iter().chain(code).collect::<Vec<_>>().join(" "))
}

pub(super) fn switches(page: &mut String, report: &ShutdownReport) {
    let trades = |e: &&crate::report::ExchangeReport| {
        e.connections.iter().any(|c| c.connection == "trading")
    };
    let mut table = Table::new(&["exchange", "set off by", "scope", "left"]);
    let mut some = false;
    for exchange in report.exchanges.iter().filter(trades) {
        some = true;
        let switch = &exchange.dead_mans_switch;
        let left = match &switch.state {
            state @ (SwitchState::LeftArmed { .. } | SwitchState::Unconfirmed { .. }) => {
                Cell::badge(Mood::Bad, state)
            }
            state => Cell::words(state),
        };
        table.row([
            Cell::words(exchange.exchange),
            Cell::words(switch.kind.describe()),
            Cell::words(switch.scope.as_deref().unwrap_or_default()),
            left,
        ]);
    }
    if some {
        section(page, "switches", "Dead-man's switches", &table.to_string());
    }
}

pub(super) fn alerts(page: &mut String, report: &ShutdownReport) {
    if report.alerts.is_empty() {
        return;
    }
    let mut table = Table::new(&["at", "about", "alert", "reached"]);
    for alert in &report.alerts {
        let reached: Vec<_> = alert.deliveries.iter().map(delivery).collect();
        let failed = alert.deliveries.iter().any(|delivery| delivery.error.is_some());
        let reached = match reached.as_slice() {
            [] => Cell::words("the log alone"),
            some => Cell::badge(Mood::good_if(!failed), some.join("; ")),
        };
        let alert = &alert.alert;
        table.row([
            Cell::name(format_args!("{:.3}", alert.at)),
            Cell::words(spaced(alert.kind.as_str())).under(alert.exchange),
            Cell::words(&alert.message),
            reached,
        ]);
    }
    section(page, "alerts", "Alerts", &table.to_string());
}

/// How one way of delivery ended, in words.
fn delivery(delivery: &AlertDelivery) -> String {
    let AlertDelivery { channel, attempts, error } = delivery;
    match error {
        None => format!("{channel} after {}", count((*attempts).into(), "attempt")),
        Some(error) => format!("{channel} not reached: {error}"),
    }
}

pub(super) fn failures(page: &mut String, report: &ShutdownReport) {
    if report.failures.is_empty() {
        return;
    }
    let mut table = Table::new(&["part", "what failed"]);
    for failure in &report.failures {
        table.row([Cell::id(&failure.scope), Cell::words(&failure.reason)]);
    }
    section(page, "failures", "Failures", &table.to_string());
}

pub(super) fn state(page: &mut String, report: &ShutdownReport) {
    if !report.state_was_due() {
        return;
    }
    let state = &report.state;
    let mut content = String::new();
    let word = if state.saved { "saved" } else { "not saved" };
    _ = writeln!(
        content,
        "<p>{} in <code>{}</code>, with the last ticks of {}.</p>",
        badge(Mood::good_if(state.saved), word),
        text(&state.directory),
        count(state.last_ticks as u64, "instrument")
    );
    if let Some(error) = &state.error {
        _ = writeln!(content, "<p>{}</p>", text(error));
    }
    if let Some(file) = &state.emergency_file {
        _ = writeln!(
            content,
            "<p>What is not in it was written to <code>{}</code>.</p>",
            text(file)
        );
    }
    if state.late_ticks > 0 {
        _ = writeln!(
            content,
            "<p>{} came after market data was frozen and are not in it.</p>",
            count(state.late_ticks, "tick")
        );
    }
    section(page, "state", "State", &content);
}
