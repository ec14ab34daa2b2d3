//! `state`: what the database holds, whether it is sound, and its recovery.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use comfy_table::{Cell, ContentArrangement, Table};
use exchange_gateway::LastTick;
use exchange_gateway::StateDirectory;
use exchange_gateway::state::{
    BookedFill, Damage, RecoverReport, RunSummary, StateError, StateView, VerifyReport, recover,
    settle, verify,
};
use exchange_gateway::types::{
    ClientOrderId, Order, OrderKind, OrderStatus, Position, TickData, Timestamp,
};
use rust_decimal::Decimal;
use serde::Serialize;

use super::report_table::{judged, new_table, right, shown};
use super::state_args::{
    SettledStatus, StateAction, StateArgs, StatePlace, StateRows, StateSettleArgs, StateShowArgs,
};
use super::{USAGE, check, output};

const DAMAGED: u8 = 1;
/// Failures of one run that are named under the table of runs.
const FAILURES_SHOWN: usize = 5;

pub(crate) fn state(args: &StateArgs) -> io::Result<u8> {
    let (place, json) = match &args.action {
        StateAction::Show(args) => (&args.place, args.json),
        StateAction::Verify(args) | StateAction::Recover(args) => (&args.place, args.json),
        StateAction::Settle(args) => (&args.place, args.json),
    };
    let Some(directory) = directory(place) else { return Ok(USAGE) };
    let mut out = output::stdout();
    let done: Result<io::Result<u8>, StateError> = match &args.action {
        StateAction::Show(args) => StateView::open(&directory)
            .and_then(|view| Rows::read(&view, args))
            .map(|rows| show_rows(&mut out, &rows, json)),
        StateAction::Verify(_) => {
            verify(&directory).map(|report| show_verified(&mut out, &report, json))
        }
        StateAction::Recover(_) => {
            recover(&directory).map(|report| show_recovered(&mut out, &report, json))
        }
        StateAction::Settle(args) => {
            settled(&directory, args).map(|orders| show_settled(&mut out, args, &orders))
        }
    };
    let code = match done {
        Ok(shown) => shown?,
        Err(error) => {
            eprintln!("{error}");
            // Damage that keeps the database from being opened is damage found all the same.
            if matches!(error, StateError::Damaged { .. }) { DAMAGED } else { USAGE }
        }
    };
    out.flush()?;
    Ok(code)
}

fn show_rows(out: &mut impl Write, rows: &Rows, json: bool) -> io::Result<u8> {
    rows.show(out, json)?;
    for damage in &rows.damaged {
        eprintln!("damaged: {damage}");
    }
    Ok(if rows.damaged.is_empty() { 0 } else { DAMAGED })
}

fn show_verified(out: &mut impl Write, report: &VerifyReport, json: bool) -> io::Result<u8> {
    if json {
        line(out, report)?;
    } else {
        show_report(out, report)?;
    }
    Ok(if report.is_sound() { 0 } else { DAMAGED })
}

/// Settles the named orders, of those that there are and that have not ended.
fn settled(directory: &Path, args: &StateSettleArgs) -> Result<Vec<Order>, StateError> {
    // Settling makes no database where there is none, and no run where there is nothing to settle.
    let unfinished = StateView::open(directory)?.orders(usize::MAX, true)?;
    if !unfinished.rows.iter().any(|order| args.orders.contains(&order.client_id)) {
        return Ok(Vec::new());
    }
    let directory = StateDirectory::open(directory)?;
    let status = match args.status {
        SettledStatus::Filled => OrderStatus::Filled,
        SettledStatus::Canceled => OrderStatus::Canceled,
        SettledStatus::Rejected => OrderStatus::Rejected,
        SettledStatus::Expired => OrderStatus::Expired,
    };
    let is_meant = |order: &Order| args.orders.contains(&order.client_id);
    settle(&directory, is_meant, status, "settled by hand")
}

fn show_settled(out: &mut impl Write, args: &StateSettleArgs, orders: &[Order]) -> io::Result<u8> {
    for order in orders {
        if args.json {
            line(out, order)?;
        } else {
            writeln!(out, "{} is {}", order.client_id, order.status)?;
        }
    }
    let is_missing = |id: &&ClientOrderId| !orders.iter().any(|order| order.client_id == **id);
    let missing: Vec<_> = args.orders.iter().filter(is_missing).collect();
    for id in &missing {
        eprintln!("{id}: there is no unfinished order of this id; see `state show orders --open`");
    }
    Ok(if missing.is_empty() { 0 } else { DAMAGED })
}

fn show_recovered(out: &mut impl Write, report: &RecoverReport, json: bool) -> io::Result<u8> {
    if json {
        line(out, report)?;
        return Ok(0);
    }
    show_report(out, &report.found)?;
    let Some(kept) = &report.kept else {
        writeln!(out, "There is nothing to recover.")?;
        return Ok(0);
    };
    writeln!(out, "\nRecovered")?;
    for (table, rows) in &report.rows {
        writeln!(out, "  {table:<12} {rows:>9} rows go on")?;
    }
    for page in &report.repaired_pages {
        writeln!(out, "  page {page}: one byte was wrong and is put right")?;
    }
    for damage in &report.set_aside {
        writeln!(out, "  set aside in damaged_rows: {damage}")?;
    }
    writeln!(out, "  the files as they were found are kept in {}", kept.display())?;
    Ok(0)
}

/// The state directory that the options name, or `None` if the configuration is faulty.
pub(crate) fn directory(place: &StatePlace) -> Option<PathBuf> {
    match (&place.state_dir, &place.config) {
        (Some(directory), _) => Some(directory.clone()),
        (None, Some(file)) => check::read(file).map(|config| config.gateway.state_dir),
        (None, None) => Some("gateway-state".into()),
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn show_report(out: &mut impl Write, report: &VerifyReport) -> io::Result<()> {
    let mut table = new_table(&["checked", "count"], io::stdout().is_terminal());
    table.add_row(vec![Cell::new("pages"), right(report.pages)]);
    table.add_row(vec![Cell::new("log frames"), right(report.log_frames)]);
    for (name, rows) in &report.rows {
        table.add_row(vec![Cell::new(format!("rows of {name}")), right(rows)]);
    }
    writeln!(out, "{}", shown(&table))?;
    for note in &report.notes {
        writeln!(out, "\nNote: {note}")?;
    }
    if report.is_sound() {
        return writeln!(out, "\nEverything is as it was written.");
    }
    let mut table = new_table(&["where", "which", "what is wrong"], io::stdout().is_terminal());
    for damage in &report.damaged {
        table.add_row(vec![
            Cell::new(&damage.table),
            Cell::new(&damage.key),
            judged(&damage.reason, false),
        ]);
    }
    writeln!(out, "\nDamaged\n{}", shown(&table))
}

/// Rows of one kind as a table and as JSON.
struct Rows {
    table: Table,
    json: Vec<serde_json::Value>,
    /// Lines under the table.
    notes: Vec<String>,
    damaged: Vec<Damage>,
}

impl Rows {
    fn read(view: &StateView, args: &StateShowArgs) -> Result<Self, StateError> {
        let limit = args.limit;
        Ok(match args.rows {
            StateRows::Orders => {
                let found = view.orders(limit, args.open)?;
                let header = ["order", "instrument", "side", "price", "filled", "status"];
                let reasons = found.rows.iter().filter_map(reason).collect();
                let rows = Self::new(&header, &found.rows, order_row, found.damaged);
                Self { notes: reasons, ..rows }
            }
            StateRows::Fills => {
                let found = view.fills(limit)?;
                let header = ["fill", "order", "instrument", "price", "quantity", "fee", "time"];
                Self::new(&header, &found.rows, fill_row, found.damaged)
            }
            StateRows::Positions => {
                let found = view.positions()?;
                let header =
                    ["instrument", "quantity", "entry", "realized", "fees", "net", "", "changed"];
                Self::new(&header, &found.rows, position_row, found.damaged)
            }
            StateRows::Ticks => {
                let found = view.last_ticks()?;
                let header = ["instrument", "ticks", "last trade", "bid", "ask", "received"];
                Self::new(&header, &found.rows, tick_row, found.damaged)
            }
            StateRows::Runs => {
                let found = view.runs(limit)?;
                let header = ["run", "process", "started", "ended", "by", "outcome", "failures"];
                let reports: Vec<_> = found.rows.iter().map(report).collect();
                let notes = found.rows.iter().zip(&reports).flat_map(failures).collect();
                let mut rows = Self::new(&header, &found.rows, run_row, found.damaged);
                for (row, report) in rows.json.iter_mut().zip(reports) {
                    // Text that is no report stays as it was stored.
                    if let Some(report) = report {
                        row["report"] = report;
                    }
                }
                Self { notes, ..rows }
            }
        })
    }

    fn new<T: Serialize>(
        header: &[&str],
        rows: &[T],
        cells: impl Fn(&T) -> Vec<Cell>,
        damaged: Vec<Damage>,
    ) -> Self {
        let mut table = new_table(header, io::stdout().is_terminal());
        // A date broken over ten lines helps nobody: these tables are as wide as they must be.
        table.set_content_arrangement(ContentArrangement::Disabled);
        for row in rows {
            table.add_row(cells(row));
        }
        let json = rows.iter().filter_map(|row| serde_json::to_value(row).ok()).collect();
        Self { table, json, notes: Vec::new(), damaged }
    }

    fn show(&self, out: &mut impl Write, json: bool) -> io::Result<()> {
        if json {
            return self.json.iter().try_for_each(|row| line(out, row));
        }
        if self.json.is_empty() {
            return writeln!(out, "There are none.");
        }
        writeln!(out, "{}", shown(&self.table))?;
        self.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))
    }
}

fn time(time: Option<Timestamp>) -> Cell {
    time.map_or_else(|| Cell::new("-"), |time| Cell::new(format!("{time:.3}")))
}

fn seconds(time: Option<Timestamp>) -> Cell {
    time.map_or_else(|| Cell::new("-"), |time| Cell::new(format!("{time:.0}")))
}

fn or_dash(text: Option<&str>) -> Cell {
    Cell::new(text.unwrap_or("-"))
}

/// Why an order is not what was wished for: it would not fit into the table.
fn reason(order: &Order) -> Option<String> {
    let planned = matches!(order.status, OrderStatus::Canceled | OrderStatus::Filled);
    let reason = order.reason.as_ref().filter(|_| !planned)?;
    Some(format!("{}: {reason}", order.client_id))
}

fn order_row(order: &Order) -> Vec<Cell> {
    let price = match order.request.kind {
        OrderKind::Limit { price, .. } => price.0.normalize().to_string(),
        OrderKind::Market => "market".to_owned(),
    };
    let (filled, quantity) = (order.filled.0.normalize(), order.request.quantity.0.normalize());
    vec![
        Cell::new(order.client_id),
        Cell::new(order.request.instrument),
        Cell::new(order.request.side),
        right(price),
        right(format!("{filled} of {quantity}")),
        Cell::new(order.status),
    ]
}

fn fill_row(booked: &BookedFill) -> Vec<Cell> {
    let fill = &booked.fill;
    let fee = fill.fee.as_ref().map(|fee| format!("{} {}", fee.amount.normalize(), fee.asset));
    vec![
        Cell::new(&fill.fill_id),
        Cell::new(booked.client_id),
        Cell::new(booked.instrument),
        right(fill.price.0.normalize()),
        right(fill.quantity.0.normalize()),
        right(or_dash(fee.as_deref())),
        time(fill.time),
    ]
}

fn position_row(position: &Position) -> Vec<Cell> {
    // The averages of inverse contracts have as many digits as fit; `--json` has them all.
    let figure = |number: Decimal| right(number.round_dp(8).normalize());
    let entry = position.entry.map(|entry| entry.0.round_dp(8).normalize().to_string());
    vec![
        Cell::new(position.instrument),
        right(position.quantity.normalize()),
        right(or_dash(entry.as_deref())),
        figure(position.realized),
        figure(position.fees),
        figure(position.net()),
        Cell::new(&position.currency),
        time(Some(position.updated)),
    ]
}

fn tick_row(last: &LastTick) -> Vec<Cell> {
    let trade = last.trade.and_then(|tick| match tick.data {
        TickData::Trade(trade) => {
            Some(format!("{} @ {}", trade.quantity.0.normalize(), trade.price.0.normalize()))
        }
        TickData::Quote(_) => None,
    });
    let quote = last.quote.and_then(|tick| match tick.data {
        TickData::Quote(quote) => Some(quote),
        TickData::Trade(_) => None,
    });
    let received = [last.trade, last.quote].into_iter().flatten().map(|tick| tick.received).max();
    let price = |price: Option<String>| right(or_dash(price.as_deref()));
    vec![
        Cell::new(last.instrument),
        right(last.count),
        price(trade),
        price(quote.map(|quote| quote.bid.0.normalize().to_string())),
        price(quote.map(|quote| quote.ask.0.normalize().to_string())),
        time(received),
    ]
}

fn run_row(run: &RunSummary) -> Vec<Cell> {
    let outcome = match (&run.outcome, run.ended) {
        (Some(outcome), _) => outcome.as_str(),
        (None, Some(_)) => "-",
        (None, None) => "not ended",
    };
    vec![
        right(run.id),
        right(run.pid),
        seconds(Some(run.started)),
        seconds(run.ended),
        or_dash(run.trigger.as_deref()),
        Cell::new(outcome),
        right(
            report(run).map_or_else(String::new, |report| failures_of(&report).len().to_string()),
        ),
    ]
}

/// The report of a run as it was stored: one of an older gateway is shown as well.
fn report(run: &RunSummary) -> Option<serde_json::Value> {
    serde_json::from_str(run.report.as_deref()?).ok()
}

fn failures_of(report: &serde_json::Value) -> &[serde_json::Value] {
    report["failures"].as_array().map_or(&[], Vec::as_slice)
}

/// What failed in a run, for under the table.
fn failures((run, report): (&RunSummary, &Option<serde_json::Value>)) -> Vec<String> {
    let all = report.as_ref().map_or(&[][..], failures_of);
    let text =
        |failure: &serde_json::Value, key| failure[key].as_str().unwrap_or_default().to_owned();
    let line = |failure| {
        format!("run {}: {}: {}", run.id, text(failure, "scope"), text(failure, "reason"))
    };
    let mut lines: Vec<_> = all.iter().take(FAILURES_SHOWN).map(line).collect();
    if all.len() > FAILURES_SHOWN {
        lines.push(format!("run {}: {} more, see --json", run.id, all.len() - FAILURES_SHOWN));
    }
    lines
}
