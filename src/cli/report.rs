//! `report`: the shutdown report of a past run, as tables, JSON or a page.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use exchange_gateway::observe::report_page;
use exchange_gateway::shutdown::{ProfitTotal, ShutdownReport};
use exchange_gateway::state::{RunSummary, StateError, StateView, Viewed};
use serde::Serialize;

use super::args::ReportArgs;
use super::{USAGE, output, report_table, screen, state};

/// There is a run, and no report that could be shown.
const NO_REPORT: u8 = 1;

pub(crate) fn report(args: &ReportArgs) -> io::Result<u8> {
    let Some(directory) = state::directory(&args.place) else { return Ok(USAGE) };
    let found = match find(&directory, args.run) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error}");
            let damaged = matches!(error, StateError::Damaged { .. });
            return Ok(if damaged { NO_REPORT } else { USAGE });
        }
    };
    let (run, report) = match found {
        Found::Report(run, report) => (run, report),
        Found::None { code, why } => {
            eprintln!("{why}");
            return Ok(code);
        }
    };
    if let Some(file) = &args.html {
        if let Err(error) = write_whole(file, &report_page(&report, Some(run))) {
            eprintln!("exchange-gateway: the page {}: {error}", file.display());
            return Ok(USAGE);
        }
        if !args.json {
            output::print(&format!("the report of run {run} is in {}\n", file.display()))?;
            return Ok(0);
        }
    }
    if args.json {
        let mut text = serde_json::to_string_pretty(&WithVerdict::new(run, &report))?;
        text.push('\n');
        output::print(&text)?;
    } else {
        let tables = report_table::render(&report, screen::stdout_colors());
        output::print(&format!("Run {run}\n{tables}"))?;
    }
    Ok(0)
}

/// The report with what it comes to.
#[derive(Serialize)]
struct WithVerdict<'a> {
    run: i64,
    exit_code: u8,
    reasons: Vec<String>,
    profit: BTreeMap<&'a str, ProfitTotal>,
    #[serde(flatten)]
    report: &'a ShutdownReport,
}

impl<'a> WithVerdict<'a> {
    fn new(run: i64, report: &'a ShutdownReport) -> Self {
        let exit_code = report.outcome.exit_code();
        Self { run, exit_code, reasons: report.reasons(), profit: report.profit_totals(), report }
    }
}

enum Found {
    Report(i64, Box<ShutdownReport>),
    /// Why there is nothing to show, and the exit code that says so.
    None {
        code: u8,
        why: String,
    },
}

fn find(directory: &Path, wanted: Option<i64>) -> Result<Found, StateError> {
    let view = StateView::open(directory)?;
    let Viewed { rows, damaged } = match wanted {
        Some(run) => view.run(run)?,
        None => view.last_reported_run()?,
    };
    if let Some(damage) = damaged.first() {
        return Ok(none(NO_REPORT, format!("damaged: {damage}")));
    }
    let Some(run) = rows.into_iter().next() else {
        return Ok(match wanted {
            Some(run) => none(USAGE, format!("there is no run {run}; see `state show runs`")),
            None => nothing_reported(&view)?,
        });
    };
    let Some(text) = run.report.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(none(NO_REPORT, without_report(&view, &run)?));
    };
    Ok(match serde_json::from_str(text) {
        Ok(report) => Found::Report(run.id, Box::new(report)),
        Err(error) => none(
            NO_REPORT,
            format!(
                "the report of run {} cannot be read: {error}; another version may have written \
                 it, and `state show runs --json` shows it as it is",
                run.id
            ),
        ),
    })
}

fn none(code: u8, why: String) -> Found {
    Found::None { code, why }
}

/// No run has a report: says so of the newest.
fn nothing_reported(view: &StateView) -> Result<Found, StateError> {
    let newest = view.runs(1)?.rows.into_iter().next();
    Ok(match newest {
        Some(run) => none(NO_REPORT, without_report(view, &run)?),
        None => none(NO_REPORT, "there is no run yet".to_owned()),
    })
}

/// What is known of a run that has no report.
fn without_report(view: &StateView, run: &RunSummary) -> Result<String, StateError> {
    let RunSummary { id, pid, started, .. } = run;
    if let Some(ended) = run.ended {
        let how = run.trigger.as_deref().unwrap_or("-");
        return Ok(format!(
            "run {id} has no report: it began {started:.0} and ended {ended:.0}, {how}"
        ));
    }
    let later = view.runs(1)?.rows.first().is_some_and(|newest| newest.id > *id);
    let mut words = format!("run {id} has no report: process {pid} began it {started:.0}, ");
    if later {
        words.push_str("was killed, and what it left open was settled by the next run");
        return Ok(words);
    }
    words.push_str("and it runs still or was killed");
    let open = match view.orders(usize::MAX, true)?.rows.len() {
        0 => return Ok(words + "; it has no unfinished orders"),
        1 => "1 unfinished order".to_owned(),
        open => format!("{open} unfinished orders"),
    };
    Ok(format!("{words}; it has {open}, see `state show orders --open`"))
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    // What is linked to is replaced, not the link; a pipe or a device is written to as it is.
    let file = &std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return std::fs::write(file, text);
    }
    let mut name = file.file_name().map(ToOwned::to_owned).ok_or(io::ErrorKind::InvalidInput)?;
    name.push(format!(".{}.part", std::process::id()));
    let part: PathBuf = file.with_file_name(name);
    let written = std::fs::File::create(&part)
        .and_then(|mut part| part.write_all(text.as_bytes()).and_then(|()| part.sync_all()))
        .and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        // What a full disk took of it is of no use.
        _ = std::fs::remove_file(&part);
    }
    written
}
