//! What became of the orders.

use std::fmt::Write as _;

use comfy_table::Cell;
use exchange_gateway::shutdown::{
    CancelPath, ExchangeReport, LeftoverOrder, OrderFate, OrderReport, ShutdownReport,
};

use super::table::{WIDTH, judged, new_table, right, shown_with, spaced, wrapped};

/// Orders that ended well are listed up to this many an exchange, and counted beyond.
const ORDERS_LISTED: usize = 20;
/// The columns of fate and quantity, which are broken in this order where a line would be too long.
const FLEXIBLE: [usize; 2] = [2, 3];
/// What the column of fates needs: "filled during".
const FATE: u16 = 13;
/// Between two columns.
const GAP: u16 = 3;

pub(super) fn orders(report: &ShutdownReport, colors: bool) -> String {
    let header = ["instrument", "order", "fate", "filled", "cancels", "sent, ended ms"];
    let mut table = new_table(&header, colors);
    let ended = report.exchanges.iter().flat_map(|exchange| {
        exchange.orders.iter().filter(|order| !order.fate.is_left()).take(ORDERS_LISTED)
    });
    for order in report.orders_left().chain(ended) {
        let (filled, quantity) = (order.filled.0.normalize(), order.quantity.0.normalize());
        table.add_row(vec![
            Cell::new(order.instrument),
            Cell::new(order.client_id),
            judged(fate(order), !order.fate.is_left()),
            right(if filled == quantity {
                format!("all of {quantity}")
            } else {
                format!("{filled} of {quantity}")
            }),
            right(order.cancel_attempts),
            right(times(order)),
        ]);
    }
    let widths = table.column_max_content_widths();
    let others = widths.iter().enumerate().filter(|(column, _)| *column != FLEXIBLE[0]);
    let others = others.fold(0, |sum: u16, (_, width)| sum.saturating_add(width + GAP));
    let fate = widths.get(FLEXIBLE[0]).map_or(FATE, |width| FATE.min(*width));
    let broken = if others.saturating_add(fate) <= WIDTH { 1 } else { 2 };
    shown_with(&table, &FLEXIBLE[..broken])
}

/// What became of an order, with the fallback that it took to hear so.
fn fate(order: &OrderReport) -> String {
    let fate = spaced(order.fate.as_str());
    match order.cancel_path {
        Some(CancelPath::Fresh) => format!("{fate} (fresh connection)"),
        Some(CancelPath::Http) => format!("{fate} (HTTP)"),
        _ => fate,
    }
}

/// When the first cancel was sent and when the order ended; or only how long that took, where the
/// report does not tell more.
fn times(order: &OrderReport) -> String {
    match (order.cancel_sent_ms, order.ended_ms, order.confirmed_after_ms) {
        (Some(sent), Some(ended), _) => format!("{sent}, {ended}"),
        (Some(sent), None, _) => format!("{sent}, -"),
        (None, Some(ended), _) => format!("-, {ended}"),
        (None, None, Some(after)) => format!("took {after}"),
        (None, None, None) => String::new(),
    }
}

pub(super) fn summary(text: &mut String, exchange: &ExchangeReport) {
    let name = exchange.exchange;
    // A cancelled order is what was asked for; how the others came about must be said.
    let unplanned = exchange.orders.iter().filter(|order| order.fate != OrderFate::Canceled);
    for (order, reason) in unplanned.filter_map(|order| Some((order, order.reason.as_ref()?))) {
        text.push_str(&wrapped("  ", &format!("{}: {reason}", order.client_id)));
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
        let orders = count(leftovers.len());
        _ = writeln!(text, "{name}: {orders} that an earlier run left open; see to them:");
    }
    for order in leftovers {
        let instrument = order.instrument.map_or_else(
            || "an instrument that is not configured".to_owned(),
            |instrument| instrument.to_string(),
        );
        _ = writeln!(text, "  {}: still open, on {instrument}", order.client_id);
    }
    if exchange.foreign_orders > 0 {
        let foreign = exchange.foreign_orders;
        _ = writeln!(
            text,
            "{name}: {foreign} open orders are not the gateway's and were left alone"
        );
    }
}

pub(super) fn stranded(text: &mut String, orders: &[LeftoverOrder]) {
    if orders.is_empty() {
        return;
    }
    let found = count(orders.len());
    _ = writeln!(
        text,
        "\n{found} of earlier runs cannot be reached with this configuration; see to them:"
    );
    for order in orders {
        let instrument = order.instrument.map_or_else(String::new, |i| i.to_string());
        _ = writeln!(text, "  {}: may be open, on {instrument}", order.client_id);
    }
}

fn count(orders: usize) -> String {
    if orders == 1 { "1 order".to_owned() } else { format!("{orders} orders") }
}
