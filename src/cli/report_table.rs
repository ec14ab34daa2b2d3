//! The shutdown report as tables of at most 100 columns.

use std::fmt::Write as _;

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table,
    TableStyle,
};
use exchange_gateway::shutdown::{
    CancelPath, ConnectionReport, ExchangeReport, LeftoverOrder, OrderFate, OrderReport, Outcome,
    PhaseEnd, ShutdownReport, Stage, SwitchState,
};

const WIDTH: u16 = 100;

/// A line under the header and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// Orders that ended well are listed up to this many an exchange, and counted beyond.
const ORDERS_LISTED: usize = 20;

/// The whole report as text, coloured where the reader is a terminal.
pub(crate) fn render(report: &ShutdownReport, colors: bool) -> String {
    let mut text = String::new();
    _ = writeln!(
        text,
        "Shutdown by {} at {}, took {} ms",
        report.trigger,
        format_args!("{:.0}", report.started),
        report.elapsed_ms
    );
    push(&mut text, "Phases", &phases(report, colors));
    push(
        &mut text,
        "Connections (milliseconds since the shutdown began)",
        &connections(report, colors),
    );
    if report.exchanges.iter().any(|exchange| !exchange.orders.is_empty()) {
        push(&mut text, "Orders that were open, in flight or unknown", &orders(report, colors));
    }
    for exchange in &report.exchanges {
        summary(&mut text, exchange);
    }
    stranded(&mut text, &report.stranded_orders);
    if report.exchanges.iter().any(trades) {
        push(&mut text, "Dead-man's switches", &switches(report, colors));
    }
    state(&mut text, report);
    if !report.failures.is_empty() {
        text.push_str("\nFailures\n");
        for failure in &report.failures {
            _ = writeln!(text, "  {}: {}", failure.scope, failure.reason);
        }
    }
    verdict(&mut text, report, colors);
    text
}

fn push(text: &mut String, title: &str, table: &Table) {
    _ = writeln!(text, "\n{title}\n{}", shown(table));
}

/// The table as text. Its last column may be wrapped to fit, the others not.
pub(crate) fn shown(table: &Table) -> String {
    let mut table = table.clone();
    let last = table.column_count().saturating_sub(1);
    for column in table.column_iter_mut().take(last) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.trim_fmt()
}

/// An empty table in the style of all.
pub(crate) fn new_table(header: &[&str], colors: bool) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    if colors {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

pub(crate) fn right(value: impl Into<Cell>) -> Cell {
    value.into().set_alignment(CellAlignment::Right)
}

pub(crate) fn judged(text: impl Into<Cell>, good: bool) -> Cell {
    let cell = text.into();
    if good { cell.fg(Color::Green) } else { cell.fg(Color::Red) }
}

fn phases(report: &ShutdownReport, colors: bool) -> Table {
    let mut table = new_table(&["phase", "budget ms", "used ms", "ended"], colors);
    for phase in &report.phases {
        let ended = match phase.ended {
            PhaseEnd::Done => judged("done", true),
            PhaseEnd::TimedOut => judged("timed out", false),
            PhaseEnd::Forced => judged("forced", false),
        };
        table.add_row(vec![
            Cell::new(phase.phase.as_str().replace('_', " ")),
            right(phase.budget_ms),
            right(phase.used_ms),
            ended,
        ]);
    }
    table
}

fn connections(report: &ShutdownReport, colors: bool) -> Table {
    let header =
        ["connection", "unsubscribed", "close sent", "close received", "TCP ended", "closed"];
    let mut table = new_table(&header, colors);
    for exchange in &report.exchanges {
        for connection in &exchange.connections {
            let closed = match &connection.problem {
                Some(problem) => judged(problem, false),
                None if connection.closed_in_order => judged("in order", true),
                None => judged("not in order", false),
            };
            let reached = |stage, code| right(stage_time(connection, stage, code));
            table.add_row(vec![
                Cell::new(format!("{}/{}", exchange.exchange, connection.connection)),
                reached(Stage::Unsubscribed, None),
                reached(Stage::CloseFrameSent, connection.close_sent),
                reached(Stage::CloseFrameReceived, connection.close_received),
                reached(Stage::TcpClosed, None),
                closed,
            ]);
        }
    }
    table
}

/// When a stage was reached, with the code of its close frame.
fn stage_time(connection: &ConnectionReport, stage: Stage, code: Option<u16>) -> String {
    let entry = connection.stages.iter().find(|entry| entry.stage == stage);
    let code = code.map_or_else(String::new, |code| format!(" ({code})"));
    entry.map_or_else(String::new, |entry| format!("{}{code}", entry.elapsed_ms))
}

fn orders(report: &ShutdownReport, colors: bool) -> Table {
    let header = ["instrument", "order", "fate", "filled", "cancels", "after ms"];
    let mut table = new_table(&header, colors);
    for exchange in &report.exchanges {
        let (left, ended): (Vec<_>, Vec<_>) =
            exchange.orders.iter().partition(|order| order.fate.is_left());
        for order in left.into_iter().chain(ended.into_iter().take(ORDERS_LISTED)) {
            table.add_row(vec![
                Cell::new(order.instrument),
                Cell::new(order.client_id),
                judged(fate(order), !order.fate.is_left()),
                right(format!(
                    "{} of {}",
                    order.filled.0.normalize(),
                    order.quantity.0.normalize()
                )),
                right(order.cancel_attempts),
                right(order.confirmed_after_ms.map_or_else(String::new, |ms| ms.to_string())),
            ]);
        }
    }
    table
}

/// What became of an order, with the fallback that it took to hear so.
fn fate(order: &OrderReport) -> String {
    let fate = order.fate.as_str().replace('_', " ");
    match order.cancel_path {
        Some(CancelPath::Fresh) => format!("{fate} (fresh connection)"),
        Some(CancelPath::Http) => format!("{fate} (HTTP)"),
        _ => fate,
    }
}

fn trades(exchange: &ExchangeReport) -> bool {
    exchange.connections.iter().any(|connection| connection.connection == "trading")
}

fn switches(report: &ShutdownReport, colors: bool) -> Table {
    let mut table = new_table(&["exchange", "set off by", "scope", "left"], colors);
    for exchange in report.exchanges.iter().filter(|exchange| trades(exchange)) {
        let switch = &exchange.dead_mans_switch;
        let state = match switch.state {
            SwitchState::LeftArmed { .. } | SwitchState::Unconfirmed { .. } => {
                judged(&switch.state, false)
            }
            _ => Cell::new(&switch.state),
        };
        table.add_row(vec![
            Cell::new(exchange.exchange),
            Cell::new(switch.kind.describe()),
            Cell::new(switch.scope.as_deref().unwrap_or_default()),
            state,
        ]);
    }
    table
}

fn summary(text: &mut String, exchange: &ExchangeReport) {
    let name = exchange.exchange;
    // A cancelled order is what was asked for; how the others came about must be said.
    let unplanned = exchange.orders.iter().filter(|order| order.fate != OrderFate::Canceled);
    for (order, reason) in unplanned.filter_map(|order| Some((order, order.reason.as_ref()?))) {
        _ = writeln!(text, "  {}: {reason}", order.client_id);
    }
    let ended = exchange.orders.iter().filter(|order| !order.fate.is_left()).count();
    if ended > ORDERS_LISTED {
        _ = writeln!(
            text,
            "{name}: {} more orders ended and are not listed",
            ended - ORDERS_LISTED
        );
    }
    let leftovers = &exchange.leftover_orders;
    if !leftovers.is_empty() {
        let count = leftovers.len();
        _ = writeln!(text, "{name}: {count} orders that an earlier run left open; see to them:");
    }
    leftover_lines(text, leftovers);
    if exchange.foreign_orders > 0 {
        let count = exchange.foreign_orders;
        _ = writeln!(text, "{name}: {count} open orders are not the gateway's and were left alone");
    }
}

fn leftover_lines(text: &mut String, orders: &[LeftoverOrder]) {
    for order in orders {
        let instrument = order.instrument.map_or_else(
            || "an instrument that is not configured".to_owned(),
            |instrument| instrument.to_string(),
        );
        _ = writeln!(text, "  {}: still open, on {instrument}", order.client_id);
    }
}

fn stranded(text: &mut String, orders: &[LeftoverOrder]) {
    if orders.is_empty() {
        return;
    }
    let count = orders.len();
    _ = writeln!(
        text,
        "\n{count} orders of earlier runs cannot be reached with this configuration; see to them:"
    );
    for order in orders {
        let instrument = order.instrument.map_or_else(String::new, |i| i.to_string());
        _ = writeln!(text, "  {}: may be open, on {instrument}", order.client_id);
    }
}

fn state(text: &mut String, report: &ShutdownReport) {
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
    } else {
        let error = state.error.as_deref().unwrap_or("no reason given");
        _ = writeln!(text, "\nState NOT saved in {}: {error}", state.directory);
        if let Some(file) = &state.emergency_file {
            _ = writeln!(text, "  what is not in it was written to {file}");
        }
    }
}

fn verdict(text: &mut String, report: &ShutdownReport, colors: bool) {
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
}

#[cfg(test)]
mod tests {
    use exchange_gateway::shutdown::{
        Failure, Phase, PhaseReport, StageReport, StateReport, SwitchKind, SwitchReport,
    };
    use exchange_gateway::types::{ClientOrderId, ExchangeName, OrderStatus};

    use super::*;

    fn report() -> ShutdownReport {
        let exchange = ExchangeName::new("binance").unwrap();
        let order = |fate, reason: Option<&str>| OrderReport {
            client_id: ClientOrderId::new("gw0abc123def456xyz").unwrap(),
            exchange_id: None,
            instrument: exchange.instrument("BTC-USDT").unwrap(),
            fate,
            status: OrderStatus::OutcomeUnknown,
            quantity: "0.00200000".parse().unwrap(),
            filled: "0".parse().unwrap(),
            booked: "0".parse().unwrap(),
            cancel_attempts: 3,
            confirmed_after_ms: (fate == OrderFate::Canceled).then_some(12),
            cancel_path: None,
            reason: reason.map(str::to_owned),
        };
        let mut orders = vec![order(OrderFate::Canceled, None); 25];
        orders.push(order(
            OrderFate::Unknown,
            Some("no answer to the cancel within 8 s, asked 3 times"),
        ));
        let stage = |stage, elapsed_ms| StageReport { stage, elapsed_ms };
        let started = "2026-01-31T12:00:00.123Z".parse().unwrap();
        ShutdownReport {
            elapsed_ms: 8123,
            phases: vec![PhaseReport {
                phase: Phase::CancelPending,
                budget_ms: 8000,
                used_ms: 8000,
                ended: PhaseEnd::TimedOut,
            }],
            exchanges: vec![ExchangeReport {
                exchange,
                orders,
                foreign_orders: 2,
                leftover_orders: vec![LeftoverOrder {
                    client_id: ClientOrderId::new("gw0earlier").unwrap(),
                    exchange_id: None,
                    instrument: exchange.instrument("ETH-USDT").ok(),
                }],
                dead_mans_switch: SwitchReport {
                    kind: SwitchKind::Timer,
                    scope: Some("account".into()),
                    state: SwitchState::LeftArmed {
                        fires_at: Some("2026-01-31T12:00:20.5Z".parse().unwrap()),
                        reason: "orders open or unknown: 1; kept orders, which it cancels too: 3"
                            .into(),
                    },
                },
                connections: vec![ConnectionReport {
                    connection: "trading".into(),
                    stages: vec![
                        stage(Stage::Unsubscribed, 8005),
                        stage(Stage::CloseFrameSent, 8006),
                        stage(Stage::CloseFrameReceived, 8007),
                        stage(Stage::TcpClosed, 8009),
                    ],
                    close_sent: Some(1000),
                    close_received: Some(1000),
                    closed_in_order: true,
                    problem: None,
                }],
            }],
            state: StateReport {
                emergency_file: None,
                saved: true,
                directory: "gateway-state".into(),
                last_ticks: 4,
                late_ticks: 3,
                error: None,
            },
            failures: vec![Failure {
                scope: "gateway/binance/trading".into(),
                reason: "lost".into(),
            }],
            ..ShutdownReport::new(Outcome::OrdersLeft, "SIGTERM", started)
        }
    }

    #[test]
    fn the_report_fits_100_columns_and_names_what_is_left_and_the_exit_code() {
        let text = render(&report(), false);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for expected in [
            "Shutdown by SIGTERM",
            "timed out",
            "8006 (1000)",
            "in order",
            "not in it: 3",
            "unknown",
            "no answer to the cancel within 8 s",
            "binance: 5 more orders ended",
            "binance    timer        account   LEFT ARMED, cancels at 2026-01-31T12:00:2",
            "gw0earlier: still open, on binance:ETH-USDT",
            "binance: 2 open orders are not the gateway's",
            "gateway/binance/trading: lost",
            "ORDERS LEFT, exit code 13",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'), "no colour where there is no terminal");
        assert!(render(&report(), true).contains('\x1b'));
    }
}
