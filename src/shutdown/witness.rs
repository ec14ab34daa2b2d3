//! What can be told of a gateway, and saved of it, by somebody who must not wait for it: any lock may
//! be held by a task that hangs, and any disk may not answer.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bounded::Bounded;
use super::coordinator::{Coordinator, Course, ExchangeParts, dump};
use crate::report::{
    ConnectionState, ExchangeReport, Failure, LeftoverOrder, OpenOrders, Outcome, Phase, PhaseEnd,
    PhaseReport, ShutdownReport, Tree,
};
use crate::scope::Scope;
use crate::state::{Record, RunEnd, StateDirectory, WriteFailed, Writer};
use crate::types::Timestamp;

/// The report that a shutdown leaves in the state directory if it did not come to its own.
const FILE: &str = "forced-report.json";
/// Which phases have ended, shared with whoever may have to report in the shutdown's place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Vec<PhaseReport>>>);

impl Progress {
    pub(crate) fn add(&self, phase: PhaseReport) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(phase);
    }

    fn list(&self) -> Vec<PhaseReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a shutdown began.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) at: Instant,
    pub(crate) started: Timestamp,
    pub(crate) trigger: String,
}

/// The exchanges as they run now; one that is resumed takes the place of what was drained.
pub(crate) type Running = Arc<Mutex<Vec<Arc<ExchangeParts>>>>;

/// All that the last report is made of.
pub(crate) struct Witness {
    /// Makes the report; it never runs, and has no exchanges until then.
    pub(crate) coordinator: Coordinator,
    pub(crate) exchanges: Running,
    pub(crate) root: Scope,
    pub(crate) stranded: Vec<LeftoverOrder>,
    pub(crate) writer: Writer,
    pub(crate) directory: StateDirectory,
    pub(crate) progress: Progress,
}

/// How it came to a last report.
pub(super) struct Ending<'a> {
    pub(super) begun: &'a Begun,
    pub(super) phase: Phase,
    /// The verdict if no order is left and the state is saved.
    pub(super) outcome: Outcome,
    /// Why it ends here, in words.
    pub(super) why: &'a str,
    /// What each of its steps may take.
    pub(super) limit: Duration,
}

impl Witness {
    /// The same as [`tree_of`], but what hangs is left out within `limit`.
    pub(super) fn tree(&self, phase: Phase, limit: Duration) -> Tree {
        let end = std::time::Instant::now() + limit;
        let exchanges = running(&self.exchanges);
        let (root, all) = (self.root.clone(), exchanges.clone());
        let scopes = Bounded::begin(move || (root.snapshot(), root.failures()));
        let connections = Bounded::begin(move || connections_of(&all));
        let orders: Vec<_> = exchanges
            .iter()
            .map(|exchange| {
                let parts = Arc::clone(exchange);
                (exchange.name, Bounded::begin(move || parts.desk.unfinished()))
            })
            .collect();
        let (scopes, failures) = scopes.until(end).unwrap_or_default();
        let connections = connections.until(end).unwrap_or_default();
        let orders = orders
            .into_iter()
            .map(|(exchange, orders)| OpenOrders { exchange, orders: orders.until(end) })
            .collect();
        Tree { phase, scopes, connections, orders, failures }
    }

    /// Reports in the place of a shutdown that does not, and saves what can be saved. No new order
    /// can be written any more once an exchange's part of this is made.
    pub(super) fn last_report(self, ending: &Ending<'_>) -> ShutdownReport {
        let Self { mut coordinator, exchanges, root, stranded, writer, directory, progress } = self;
        let Ending { begun, phase, outcome, why, limit } = *ending;
        coordinator.trigger.clone_from(&begun.trigger);
        let clock = Arc::clone(&coordinator.clock);
        let (answering, silent, listed) = list(running(&exchanges), begun.at, limit);
        coordinator.exchanges = answering;

        let phases = phases(&progress, begun.at, phase);
        let course = Course::seen(begun.at, begun.started, phases);
        let (trigger, started) = (begun.trigger.clone(), begun.started);
        let left_behind = stranded.clone();
        let whole = Bounded::begin(move || {
            let mut report = coordinator.report(course);
            report.stranded_orders = left_behind;
            let left = coordinator.verdict(&report) == Outcome::OrdersLeft;
            (report, left)
        });
        let (mut report, left) = whole.within(limit).unwrap_or_else(|| {
            let mut report = ShutdownReport::new(Outcome::OrdersLeft, trigger, started);
            report.exchanges = listed;
            report.stranded_orders = stranded;
            report.failures.push(Failure {
                scope: root.name().to_owned(),
                reason: "the report cannot be made whole: something that hangs holds the rest of \
                    it; take every position for open"
                    .to_owned(),
            });
            (report, true)
        });
        for exchange in &silent {
            report.failures.push(Failure {
                scope: exchange.scope.name().to_owned(),
                reason: format!(
                    "the orders of {} cannot be listed: take every order for open",
                    exchange.name
                ),
            });
        }
        report.failures.push(Failure {
            scope: root.name().to_owned(),
            reason: format!("{why}, in phase {phase}"),
        });
        report.outcome = if left || !silent.is_empty() { Outcome::OrdersLeft } else { outcome };
        report.elapsed_ms = u64::try_from(begun.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        report.state.directory = directory.path().display().to_string();
        report.state.saved = true;
        if let Err(problem) = seal(&writer, &report, clock.now(), limit) {
            report.state.saved = false;
            report.state.error = Some(problem);
            let beside = Bounded::begin(move || dump(&writer, &directory, true));
            let file = beside.within(limit).and_then(Result::ok).flatten();
            report.state.emergency_file = file.map(|file| file.display().to_string());
            if report.outcome != Outcome::OrdersLeft {
                report.outcome = Outcome::StateNotSaved;
            }
        }
        report
    }

    /// Where the last report goes in the state directory.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }
}

fn running(exchanges: &Running) -> Vec<Arc<ExchangeParts>> {
    exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What runs now.
pub(crate) fn tree_of(phase: Phase, root: &Scope, exchanges: &[Arc<ExchangeParts>]) -> Tree {
    let open = |exchange: &Arc<ExchangeParts>| OpenOrders {
        exchange: exchange.name,
        orders: Some(exchange.desk.unfinished()),
    };
    Tree {
        phase,
        scopes: root.snapshot(),
        connections: connections_of(exchanges),
        orders: exchanges.iter().map(open).collect(),
        failures: root.failures(),
    }
}

fn connections_of(exchanges: &[Arc<ExchangeParts>]) -> Vec<ConnectionState> {
    let all = exchanges.iter().flat_map(|exchange| &exchange.connections);
    all.map(|connection| {
        let now = connection.snapshot();
        ConnectionState {
            exchange: now.exchange,
            connection: now.connection.as_str().to_owned(),
            status: now.status.to_string(),
            frames: now.frames,
        }
    })
    .collect()
}

/// Closes the gates, and lists what each exchange has: those that answer, those that do not, and the
/// lists of the first.
fn list(
    exchanges: Vec<Arc<ExchangeParts>>,
    began: Instant,
    limit: Duration,
) -> (Vec<Arc<ExchangeParts>>, Vec<Arc<ExchangeParts>>, Vec<ExchangeReport>) {
    let end = std::time::Instant::now() + limit;
    let asked: Vec<_> = exchanges
        .into_iter()
        .map(|exchange| {
            let parts = Arc::clone(&exchange);
            let listing = Bounded::begin(move || {
                // What is written after the list is made would be missing in it, be it an order that
                // closes a position.
                parts.desk.close_gate(Phase::SaveState);
                Coordinator::exchange_report(&parts, began)
            });
            (exchange, listing)
        })
        .collect();
    let (mut answering, mut silent, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    for (exchange, listing) in asked {
        match listing.until(end) {
            Some(report) => {
                answering.push(exchange);
                listed.push(report);
            }
            None => silent.push(exchange),
        }
    }
    (answering, silent, listed)
}

/// The phases that have ended, and the one that has not.
fn phases(progress: &Progress, began: Instant, phase: Phase) -> Vec<PhaseReport> {
    let mut phases = progress.list();
    if Phase::WORKING.contains(&phase) && phases.iter().all(|ended| ended.phase != phase) {
        let before: u64 = phases.iter().map(|ended| ended.used_ms).sum();
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let used_ms = elapsed.saturating_sub(before);
        let ended = PhaseEnd::TimedOut;
        let began_ms = Some(before);
        phases.push(PhaseReport { phase, began_ms, budget_ms: used_ms, used_ms, ended });
    }
    phases
}

/// Stores the report as the end of this run, after all that was recorded before.
fn seal(
    writer: &Writer,
    report: &ShutdownReport,
    ended: Timestamp,
    limit: Duration,
) -> Result<(), String> {
    let (done, sealed) = sync_channel(1);
    let record = Record::RunEnded(Box::new(RunEnd {
        ended,
        trigger: report.trigger.clone(),
        outcome: report.outcome.as_str().to_owned(),
        report: serde_json::to_string(report).unwrap_or_default(),
    }));
    let handed_over = writer.clone();
    // The queue's lock may be held as well.
    let sealing = Bounded::begin(move || {
        handed_over.record_then(record, Box::new(move |result| _ = done.send(result)));
        sealed.recv().unwrap_or(Err(WriteFailed::Closed))
    });
    match sealing.within(limit) {
        Some(Ok(())) => Ok(()),
        // The shutdown has closed it already.
        Some(Err(WriteFailed::Closed)) if writer.depth() == 0 && writer.failure().is_none() => {
            Ok(())
        }
        Some(Err(failure)) => Err(failure.to_string()),
        None => Err(format!("the state database did not answer within {} ms", limit.as_millis())),
    }
}

/// Writes the report to each of the files, and tells why one could not be written.
pub(super) fn write(report: &ShutdownReport, files: &[&Path], limit: Duration) -> Vec<String> {
    let mut text = serde_json::to_vec_pretty(report).unwrap_or_default();
    text.push(b'\n');
    let end = std::time::Instant::now() + limit;
    let writing: Vec<_> = files
        .iter()
        .map(|file| {
            let (path, text) = (file.to_path_buf(), text.clone());
            (file, Bounded::begin(move || std::fs::write(path, text)))
        })
        .collect();
    let failed = writing.into_iter().filter_map(|(file, writing)| match writing.until(end) {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(format!("the report {}: {error}", file.display())),
        None => Some(format!("the report {}: the disk hangs", file.display())),
    });
    failed.collect()
}
