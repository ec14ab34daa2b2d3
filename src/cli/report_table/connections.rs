//! The stages of connections and orders, and the dead-man's switches.

use comfy_table::{Cell, Table};
use exchange_gateway::shutdown::{
    ConnectionReport, ExchangeReport, ShutdownReport, Stage, StageReport, SwitchState,
};

use super::table::{clean, judged, new_table, right};

pub(super) fn connections(report: &ShutdownReport, colors: bool) -> Table {
    let header =
        ["connection", "unsubscribed", "close sent", "close received", "TCP ended", "closed"];
    let mut table = new_table(&header, colors);
    for exchange in &report.exchanges {
        for connection in &exchange.connections {
            let closed = match &connection.problem {
                Some(problem) => judged(clean(problem), false),
                None if !connection.closed_in_order => judged("not in order", false),
                None if connection.closed_earlier => judged("in order, by a drain before", true),
                None => judged("in order", true),
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
    match entry {
        None => String::new(),
        Some(_) if connection.closed_earlier => code.trim_start().to_owned(),
        Some(entry) => format!("{}{code}", entry.elapsed_ms),
    }
}

/// When the orders of each exchange reached their stages.
pub(super) fn order_stages(report: &ShutdownReport, colors: bool) -> Table {
    let header =
        ["exchange", "intake stopped", "cancels sent", "cancels confirmed", "not confirmed"];
    let mut table = new_table(&header, colors);
    for exchange in report.exchanges.iter().filter(|exchange| !exchange.stages.is_empty()) {
        let reached = |stage| {
            // The last word counts.
            exchange.stages.iter().rev().find(|reached| reached.stage == stage)
        };
        let time = |reached: Option<&StageReport>| {
            right(reached.map_or_else(String::new, |stage| {
                let count = stage.count.map_or_else(String::new, |count| format!(" ({count})"));
                format!("{}{count}", stage.elapsed_ms)
            }))
        };
        let confirmed = reached(Stage::CancelsConfirmed);
        let missing = confirmed.and_then(|stage| stage.unconfirmed);
        table.add_row(vec![
            Cell::new(exchange.exchange),
            time(reached(Stage::IntakeStopped)),
            time(reached(Stage::CancelsSent)),
            time(confirmed),
            missing.map_or_else(|| Cell::new(""), |count| right(judged(count, count == 0))),
        ]);
    }
    table
}

pub(super) fn trades(exchange: &ExchangeReport) -> bool {
    exchange.connections.iter().any(|connection| connection.connection == "trading")
}

pub(super) fn switches(report: &ShutdownReport, colors: bool) -> Table {
    let mut table = new_table(&["exchange", "set off by", "scope", "left"], colors);
    for exchange in report.exchanges.iter().filter(|exchange| trades(exchange)) {
        let switch = &exchange.dead_mans_switch;
        let left = clean(&switch.state.to_string());
        let left = match switch.state {
            SwitchState::LeftArmed { .. } | SwitchState::Unconfirmed { .. } => judged(left, false),
            _ => Cell::new(left),
        };
        table.add_row(vec![
            Cell::new(exchange.exchange),
            Cell::new(switch.kind.describe()),
            Cell::new(switch.scope.as_deref().unwrap_or_default()),
            left,
        ]);
    }
    table
}
