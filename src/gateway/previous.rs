//! What the run before left, as a start finds it.

use std::fmt::Write as _;

use crate::report::{OrderReport, Outcome, ShutdownReport, SwitchState};
use crate::state::{EmergencyFile, Recovered, RunSummary};
use crate::types::ClientOrderId;

/// Orders, positions and failures of one kind that are named; the rest is counted.
const NAMED: usize = 10;

/// The last run that came to be a gateway on this state directory, and what it left unfinished. Only
/// that is taken up: what it had settled is not asked about again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousRun {
    /// The run as stored. Its `outcome` is absent if it was killed.
    pub run: RunSummary,
    /// Its report, if it left a readable one.
    pub report: Option<ShutdownReport>,
    /// Orders, of whichever run, that had not ended when this start began: it settles them with their
    /// exchanges.
    pub unsettled: Vec<ClientOrderId>,
    /// Orders that had ended, some of whose single fills are still to be fetched.
    pub lacking_fills: Vec<ClientOrderId>,
    /// Files with what it could not write into the database.
    pub emergency: Vec<EmergencyFile>,
}

impl PreviousRun {
    pub(super) fn of(recovered: &Recovered) -> Option<Self> {
        let run = recovered.last_gateway.clone()?;
        let report = run.report.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let orders = recovered.orders.iter().map(|recovered| &recovered.order);
        let (ended, open): (Vec<_>, Vec<_>) = orders.partition(|order| order.status.is_terminal());
        let ids = |orders: Vec<&crate::types::Order>| orders.iter().map(|o| o.client_id).collect();
        let (unsettled, lacking_fills) = (ids(open), ids(ended));
        let emergency = recovered.emergency.clone();
        Some(Self { run, report, unsettled, lacking_fills, emergency })
    }

    /// Whether it ended with nothing left to be said.
    pub fn is_clean(&self) -> bool {
        self.run.outcome.as_deref() == Some(Outcome::Clean.as_str()) && self.emergency.is_empty()
    }

    /// What a person should know of it, a line each; nothing if it ended clean.
    pub fn notice(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.is_clean() {
            return lines;
        }
        lines.push(self.headline());
        if let Some(report) = &self.report {
            of_report(report, &mut lines);
        }
        for file in &self.emergency {
            let (path, taken, records) = (file.file.display(), file.taken, file.records);
            lines.push(format!("  {taken} of {records} records were taken in from {path}"));
            lines.extend(file.problems.iter().map(|problem| format!("    {problem}")));
        }
        match self.unsettled.len() {
            0 => {}
            1 => lines.push("  one order had not ended: it is settled now".to_owned()),
            more => lines.push(format!("  {more} orders had not ended: they are settled now")),
        }
        match self.lacking_fills.len() {
            0 => {}
            1 => lines.push("  fills of one order are missing: they are asked for now".to_owned()),
            more => {
                lines.push(format!("  fills of {more} orders are missing: they are asked for now"));
            }
        }
        lines
    }

    fn headline(&self) -> String {
        let RunSummary { id, started, .. } = self.run;
        let Some(outcome) = &self.run.outcome else {
            return format!("The run before, number {id} of {started:.0}, was killed");
        };
        let mut line = format!("The run before, number {id} of {started:.0}");
        if let Some(trigger) = &self.run.trigger {
            _ = write!(line, ", ended by {trigger}");
        }
        let outcome = outcome.replace('_', " ");
        _ = write!(line, ": {outcome}");
        match &self.report {
            Some(report) => _ = write!(line, ", exit code {}", report.outcome.exit_code()),
            None => line.push_str(", and its report cannot be read"),
        }
        line
    }
}

fn of_report(report: &ShutdownReport, lines: &mut Vec<String>) {
    let order = |order: &OrderReport| {
        let (id, instrument, fate) = (order.client_id, order.instrument, order.fate.as_str());
        let fate = fate.replace('_', " ");
        let reason = order.reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
        format!("order {id} on {instrument} was {fate}{reason}")
    };
    named(lines, "orders were left", report.orders_left().map(order));
    let leftover = report.exchanges.iter().flat_map(|exchange| &exchange.leftover_orders);
    let leftover = leftover.chain(&report.stranded_orders);
    let leftover =
        leftover.map(|order| format!("order {} of an earlier run may be open", order.client_id));
    named(lines, "orders of earlier runs may be open", leftover);
    let position = |position: &crate::report::PositionReport| {
        let (left, instrument) = (position.left.normalize(), position.instrument);
        let why = position.not_closed.as_deref().unwrap_or("no reason given");
        format!("position of {left} in {instrument} was not closed: {why}")
    };
    named(lines, "positions were left", report.positions_left().map(position));
    for exchange in &report.exchanges {
        let switch = &exchange.dead_mans_switch.state;
        if matches!(switch, SwitchState::LeftArmed { .. } | SwitchState::Unconfirmed { .. }) {
            lines.push(format!("  dead-man's switch of {}: {switch}", exchange.exchange));
        }
    }
    if !report.state.saved && !report.state.directory.is_empty() {
        let error = report.state.error.as_deref().unwrap_or("no reason given");
        lines.push(format!("  state was not saved: {error}"));
    }
    let failures = report.failures.iter();
    let failures = failures.map(|failure| format!("{}: {}", failure.scope, failure.reason));
    named(lines, "failures, see `state show runs`", failures);
}

/// The first of them, and how many there are more.
fn named(lines: &mut Vec<String>, what: &str, mut all: impl Iterator<Item = String>) {
    lines.extend(all.by_ref().take(NAMED).map(|line| format!("  {line}")));
    let more = all.count();
    if more > 0 {
        lines.push(format!("  {more} more {what}"));
    }
}
