//! What became of the orders: those left first and all of them, the others folded and up to a limit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::html::{Cell, Mood, Table, count, section, spaced, text};
use crate::report::{CancelPath, LeftoverOrder, OrderFate, OrderReport, ShutdownReport};

/// Orders that ended which are listed; the rest is counted.
const LISTED: usize = 500;
/// Up to so many are shown unfolded.
const UNFOLDED: usize = 12;

const HEADERS: &[&str] = &[
    "order",
    "instrument",
    "fate",
    "filled",
    "cancels",
    "first cancel at ms",
    "ended at ms",
    "took ms",
    "in words",
];

pub(super) fn orders(page: &mut String, report: &ShutdownReport) {
    let mut content = String::new();
    let all = || report.exchanges.iter().flat_map(|exchange| &exchange.orders);
    let (left, mut ended): (Vec<_>, Vec<_>) = all().partition(|order| order.fate.is_left());
    let mut fates = BTreeMap::<&str, usize>::new();
    for order in all() {
        *fates.entry(order.fate.as_str()).or_default() += 1;
    }
    let fates: Vec<_> = fates.iter().map(|(f, n)| format!("{n} {}", spaced(f))).collect();
    if !fates.is_empty() {
        _ = writeln!(
            content,
            "<p>Open, in flight or of unknown fate when the shutdown began, placed by it to close \
             positions, or not closed now: {}.</p>",
            fates.join(", ")
        );
    }
    if !left.is_empty() {
        _ = writeln!(content, "<h3>Left: see to them</h3>\n{}", table(&left));
    }
    if !ended.is_empty() {
        // A cancelled order is what was asked for; the others come first.
        ended.sort_by_key(|order| order.fate == OrderFate::Canceled);
        let open = if ended.len() <= UNFOLDED { " open" } else { "" };
        _ = writeln!(
            content,
            "<details{open}><summary>{} settled</summary>\n{}",
            count(ended.len() as u64, "order"),
            table(&ended[..ended.len().min(LISTED)])
        );
        if ended.len() > LISTED {
            let more = ended.len() - LISTED;
            _ = writeln!(content, "<p>{more} more ended and are not listed here.</p>");
        }
        content.push_str("</details>\n");
    }
    leftovers(&mut content, report);
    section(page, "orders", "Orders", &content);
}

fn table(orders: &[&OrderReport]) -> Table {
    let mut table = Table::new(HEADERS);
    for order in orders {
        let (filled, quantity) = (order.filled.0.normalize(), order.quantity.0.normalize());
        let mood = match order.fate {
            fate if fate.is_left() => Mood::Bad,
            OrderFate::Rejected | OrderFate::Expired | OrderFate::Kept => Mood::Odd,
            _ => Mood::Good,
        };
        let missing = (order.booked < order.filled).then(|| {
            format!("single fills of {} not told", (order.filled - order.booked).0.normalize())
        });
        let path = match order.cancel_path {
            Some(CancelPath::Fresh) => Some("heard over a fresh connection"),
            Some(CancelPath::Http) => Some("heard over HTTP"),
            Some(CancelPath::Live) | None => None,
        };
        table.row([
            Cell::id(order.client_id).under(order.exchange_id),
            Cell::name(order.instrument),
            Cell::badge(mood, spaced(order.fate.as_str())).under(path),
            Cell::number(format!("{filled} of {quantity}")).under(missing),
            Cell::number(order.cancel_attempts),
            Cell::maybe(order.cancel_sent_ms),
            Cell::maybe(order.ended_ms),
            Cell::maybe(order.confirmed_after_ms),
            Cell::words(order.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

fn leftovers(content: &mut String, report: &ShutdownReport) {
    let listed = |orders: &mut dyn Iterator<Item = &LeftoverOrder>| {
        let mut table = Table::new(&["order", "instrument"]);
        let mut some = false;
        for order in orders {
            some = true;
            let instrument = order.instrument.map_or_else(
                || "an instrument that is not configured".to_owned(),
                |instrument| instrument.to_string(),
            );
            table
                .row([Cell::id(order.client_id).under(order.exchange_id), Cell::words(instrument)]);
        }
        some.then_some(table)
    };
    let mut left = report.exchanges.iter().flat_map(|exchange| &exchange.leftover_orders);
    if let Some(table) = listed(&mut left) {
        _ = writeln!(content, "<h3>Left open by an earlier run: see to them</h3>\n{table}");
    }
    if let Some(table) = listed(&mut report.stranded_orders.iter()) {
        _ = writeln!(
            content,
            "<h3>Of earlier runs, not reached with this configuration: see to them</h3>\n{table}"
        );
    }
    for exchange in report.exchanges.iter().filter(|exchange| exchange.foreign_orders > 0) {
        _ = writeln!(
            content,
            "<p>{}: {} of others, left alone.</p>",
            text(exchange.exchange),
            count(exchange.foreign_orders, "open order")
        );
    }
}
