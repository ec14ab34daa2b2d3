//! The shutdown report as tables of at most 100 columns.

mod connections;
mod ending;
mod orders;
mod phases;
mod positions;
mod table;

use std::fmt::Write as _;

use exchange_gateway::shutdown::ShutdownReport;

pub(crate) use table::{judged, new_table, right, shown};

/// The whole report as text, coloured where the reader is a terminal.
pub(crate) fn render(report: &ShutdownReport, colors: bool) -> String {
    let mut text = String::new();
    let (started, used) = (format!("{:.0}", report.started), report.elapsed_ms);
    let trigger = table::clean(&report.trigger);
    _ = write!(text, "Shutdown by {trigger} at {started}, took {used} ms");
    match report.deadline_ms {
        Some(deadline) => _ = writeln!(text, " of {deadline}"),
        None => text.push('\n'),
    }
    ending::least(&mut text, report);
    push(&mut text, "Phases", &phases::phases(report, colors));
    push(&mut text, "Hooks", &phases::hooks(report, colors));
    phases::hook_reasons(&mut text, &report.hooks);
    push(
        &mut text,
        "Connections (milliseconds since the shutdown began)",
        &connections::connections(report, colors),
    );
    push(
        &mut text,
        "Orders of each exchange (milliseconds since the shutdown began)",
        &connections::order_stages(report, colors),
    );
    if report.exchanges.iter().any(|exchange| !exchange.orders.is_empty()) {
        let orders = orders::orders(report, colors);
        let closing = report.positions.iter().any(|position| !position.orders.is_empty());
        let closing = if closing { ", and those that close positions" } else { "" };
        _ = writeln!(text, "\nOrders that were open, in flight or unknown{closing}\n{orders}");
    }
    for exchange in &report.exchanges {
        orders::summary(&mut text, exchange);
    }
    orders::stranded(&mut text, &report.stranded_orders);
    push(&mut text, "Positions", &positions::positions(report, colors));
    positions::position_reasons(&mut text, &report.positions);
    push(&mut text, "Profit", &positions::totals(report, colors));
    push(&mut text, "Dead-man's switches", &connections::switches(report, colors));
    push(&mut text, "Alerts", &ending::alerts(report, colors));
    ending::failures(&mut text, report);
    ending::state(&mut text, report);
    ending::verdict(&mut text, report, colors);
    text
}

/// A table under its title, unless it is empty.
fn push(text: &mut String, title: &str, table: &comfy_table::Table) {
    if table.row_count() > 0 {
        _ = writeln!(text, "\n{title}\n{}", shown(table));
    }
}

#[cfg(test)]
mod tests;
