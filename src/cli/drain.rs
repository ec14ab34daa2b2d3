//! `drain`: what a shutdown would do now.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

use comfy_table::Cell;
use exchange_gateway::shutdown::{CancelWay, ClosePolicy, ExchangePlan, PlannedOrder};
use exchange_gateway::{Config, StoredPlan, stored_plan};

use super::report_table::{new_table, right, shown};
use super::state_args::StatePlace;
use super::{USAGE, check, output};

const DRAIN_HELP: &str = "\
What it shows is read from the state database, beside the running gateway and without disturbing it.
A running gateway drains one exchange when its own program asks for it (`gateway.drain(\"kraken\")` in
Rust, and `resume` to take it up again), and ends as a whole at SIGTERM: no other process can ask it.

Examples:
  exchange-gateway drain --dry-run --config gateway.toml
  exchange-gateway drain kraken --dry-run --state-dir gateway-state
  exchange-gateway drain --dry-run --json | jq '.exchanges[].cancel[].client_id'

Exit codes: 0 shown, 1 shown and rows of the database are damaged, 2 there is no database, or it
cannot be read, or --dry-run is missing.";

/// Show what a shutdown would do now
///
/// Lists, for each exchange, the orders that a shutdown would cancel, ask about and keep, how it
/// would cancel them, and about how long that takes. Does nothing of it.
#[derive(Debug, clap::Args)]
#[command(after_help = DRAIN_HELP)]
pub(crate) struct DrainArgs {
    /// Of this exchange alone
    #[arg(value_name = "EXCHANGE")]
    pub(crate) exchange: Option<String>,
    /// Only show; there is nothing else that this command does
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) place: StatePlace,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn drain(args: &DrainArgs) -> io::Result<u8> {
    if !args.dry_run {
        let what = args.exchange.as_deref().unwrap_or("kraken");
        eprintln!(
            "exchange-gateway: no other process can drain a running gateway. Its own program drains \
             an exchange with `gateway.drain(\"{what}\")` and resumes it with `resume`; SIGTERM ends \
             it as a whole. Add --dry-run to see what that would do now."
        );
        return Ok(USAGE);
    }
    let Some((directory, config)) = place(&args.place) else { return Ok(USAGE) };
    let mut stored = match stored_plan(&directory, &config) {
        Ok(stored) => stored,
        Err(error) => {
            eprintln!("{error}");
            return Ok(USAGE);
        }
    };
    if let Some(wanted) = &args.exchange {
        let exchanges = &mut stored.plan.exchanges;
        let names: Vec<_> = exchanges.iter().map(|plan| plan.exchange.to_string()).collect();
        exchanges.retain(|plan| plan.exchange.as_str() == wanted);
        if exchanges.is_empty() {
            let names = names.join(", ");
            eprintln!("exchange-gateway: there is no exchange `{wanted}`; there are: {names}");
            return Ok(USAGE);
        }
        stored.time();
    }
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &stored)?;
        out.write_all(b"\n")?;
    } else {
        show(&mut out, &stored, args.place.config.is_some())?;
    }
    out.flush()?;
    for damage in &stored.damaged {
        eprintln!("damaged: {damage}");
    }
    Ok(u8::from(!stored.damaged.is_empty()))
}

/// The state directory, and the configuration if there is one.
fn place(place: &StatePlace) -> Option<(PathBuf, Config)> {
    if let Some(file) = &place.config {
        let config = check::read(file)?;
        return Some((config.gateway.state_dir.clone(), config));
    }
    let directory = place.state_dir.clone().unwrap_or_else(|| "gateway-state".into());
    Some((directory, Config::default()))
}

fn show(out: &mut impl Write, stored: &StoredPlan, configured: bool) -> io::Result<()> {
    let terminal = io::stdout().is_terminal();
    if let Some(run) = &stored.run {
        let (number, pid, started) = (run.run, run.pid, run.started);
        match run.ended {
            None => writeln!(
                out,
                "Run {number}, process {pid}, since {started:.0}; it runs, or was killed.\n"
            )?,
            Some(ended) => writeln!(out, "No gateway runs: run {number} ended at {ended:.0}.\n")?,
        }
    }
    let head = ["exchange", "cancel", "ask and cancel", "keep", "by", "messages", "connections"];
    let mut table = new_table(&head, terminal);
    for plan in &stored.plan.exchanges {
        table.add_row(vec![
            Cell::new(plan.exchange),
            right(plan.cancel.len()),
            right(plan.unknown.len()),
            right(plan.keep.len()),
            Cell::new(way(plan)),
            right(plan.requests),
            right(plan.connections),
        ]);
    }
    writeln!(out, "{}", shown(&table))?;
    let head = ["order", "instrument", "side", "price", "remaining", "status", "would be"];
    let mut table = new_table(&head, terminal);
    for plan in &stored.plan.exchanges {
        let lists = [
            (&plan.cancel, "cancelled"),
            (&plan.unknown, "asked about, cancelled"),
            (&plan.keep, "kept"),
        ];
        for (order, fate) in
            lists.iter().flat_map(|(list, fate)| list.iter().map(move |order| (order, *fate)))
        {
            table.add_row(order_row(order, fate));
        }
    }
    if table.row_count() > 0 {
        writeln!(out, "\n{}", shown(&table))?;
    }
    let mut table = new_table(&["position", "held", "would be"], terminal);
    for position in stored.plan.exchanges.iter().flat_map(|plan| &plan.positions) {
        let fate = match position.policy {
            _ if !configured => "as [positions] says: name the file with --config",
            ClosePolicy::Close => "closed",
            ClosePolicy::Keep => "kept",
        };
        table.add_row(vec![
            Cell::new(position.instrument),
            right(position.quantity.normalize()),
            Cell::new(fate),
        ]);
    }
    if table.row_count() > 0 {
        writeln!(out, "\n{}", shown(&table))?;
    }
    if stored.plan.hooks > 0 {
        writeln!(out, "\nHooks of the configuration that would run: {}", stored.plan.hooks)?;
    }
    writeln!(out, "\n{}", expected(stored))
}

fn way(plan: &ExchangePlan) -> &'static str {
    match plan.way {
        CancelWay::None => "-",
        CancelWay::Single => "single cancels",
        CancelWay::Batch => "batches",
        CancelWay::Mass => "one for all",
    }
}

fn order_row(order: &PlannedOrder, fate: &str) -> Vec<Cell> {
    let price = order.price.map_or_else(|| "market".to_owned(), |price| price.to_string());
    vec![
        Cell::new(order.client_id),
        Cell::new(order.instrument),
        Cell::new(order.side),
        right(price),
        right(order.remaining),
        Cell::new(order.status),
        Cell::new(fate),
    ]
}

fn expected(stored: &StoredPlan) -> String {
    let deadline = stored.plan.deadline_ms;
    if stored.plan.exchanges.is_empty() {
        return "Nothing to cancel: no open order is stored. With --config, connections are counted, \
                too."
            .to_owned();
    }
    let (Some(least), Some(measured)) = (&stored.plan.least, &stored.measured) else {
        return format!(
            "How long it would take is not known: no run has measured a round trip yet. At most \
             {deadline} ms."
        );
    };
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let round_trip = measured.round_trip_us as f64 / 1e3;
    let (trips, at, paced) = (least.round_trips, least.exchange, least.paced_ms);
    let limits = if paced > 0 {
        format!(" and {paced} ms for the limits on cancels")
    } else {
        String::new()
    };
    format!(
        "Expected to take about {} ms: {trips} round trips at {at}{limits}, counted with the \
         {round_trip:.1} ms that run {} measured at {}. At most {deadline} ms.",
        least.least_ms, measured.run, measured.exchange
    )
}
