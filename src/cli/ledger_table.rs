//! What the mock exchange saw, in a few lines: the independent witness of a demo.

use comfy_table::Cell;
use mock_exchange::{
    CancelOutcome, ClosedBy, ConnectionKind, ConnectionRecord, ExchangeLedger, Ledger,
};

use super::report_table::{judged, new_table, right, shown};
use super::view::time_of_day;

/// A line for each exchange's orders and one for each of its connections.
pub(crate) fn render(ledger: &Ledger, colors: bool) -> String {
    let header =
        ["exchange", "orders", "open now", "fills", "cancels", "cancelled", "held by its fills"];
    let mut orders = new_table(&header, colors);
    let header = ["connection", "closed by", "gateway's close", "exchange's close", "ended"];
    let mut connections = new_table(&header, colors);
    for (name, exchange) in &ledger.exchanges {
        let open = exchange.open_orders.len();
        orders.add_row(vec![
            Cell::new(name),
            right(exchange.orders.len()),
            judged(open, open == 0),
            right(exchange.fills.len()),
            right(exchange.cancels.len()),
            right(cancelled(exchange)),
            Cell::new(held(exchange)),
        ]);
        for connection in &exchange.connections {
            connections.add_row(connection_row(name, connection));
        }
    }
    format!("{}\n\n{}\n", shown(&orders), shown(&connections))
}

fn held(exchange: &ExchangeLedger) -> String {
    let held = exchange.held();
    if held.is_empty() {
        return "nothing".to_owned();
    }
    let held = held.iter().map(|(symbol, quantity)| format!("{} {symbol}", quantity.normalize()));
    held.collect::<Vec<_>>().join("\n")
}

fn cancelled(exchange: &ExchangeLedger) -> usize {
    exchange.cancels.iter().filter(|cancel| cancel.outcome == CancelOutcome::Canceled).count()
}

fn connection_row(exchange: &str, connection: &ConnectionRecord) -> Vec<Cell> {
    let code = |code: Option<u16>| code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let closed_by = match connection.closed_by {
        Some(ClosedBy::Client) => "gateway",
        Some(ClosedBy::Server) => "exchange",
        Some(ClosedBy::Error) => "no close frame",
        None => "still open",
    };
    let kind = match connection.kind {
        ConnectionKind::Market => "market",
        ConnectionKind::Trading => "trading",
    };
    let path = connection.path.split('?').next().unwrap_or_default();
    let both = connection.close_code_received.is_some() && connection.close_code_sent.is_some();
    vec![
        Cell::new(format!("{exchange} {kind} {path}")),
        judged(closed_by, connection.closed_by == Some(ClosedBy::Client)),
        judged(code(connection.close_code_received), both),
        judged(code(connection.close_code_sent), both),
        Cell::new(connection.closed.map_or_else(String::new, time_of_day)),
    ]
}
