//! Saving state, and sealing the database with the report in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, timeout};

use super::{Coordinator, FORCED_LIMIT, Saving, millis};
use crate::market::LastTick;
use crate::report::{AlertKind, Outcome, ShutdownReport, StateReport};
use crate::state::{Record, RunEnd, SavedTicks, StateDirectory, WriteFailed, Writer};

/// Emergency files of one process id that may lie in a directory.
const MAX_DUMPS: u32 = 1000;

impl Coordinator {
    pub(super) async fn save(&self, state: &mut StateReport) {
        let Some(saving) = &self.saving else { return };
        saving.router.freeze();
        state.directory = saving.directory.path().display().to_string();
        let ticks = saving.router.last_ticks();
        state.last_ticks = ticks.iter().filter(|t| t.trade.is_some() || t.quote.is_some()).count();
        let recorded = self.record_ticks(saving, &ticks);
        let saved = SavedTicks { saved: self.clock.now(), ticks: ticks.clone() };
        let saved = saved.keeping(saving.previous.as_ref());
        let directory = saving.directory.clone();
        let written = tokio::task::spawn_blocking(move || directory.save_last_ticks(&saved));
        // The kill switch may have tripped a moment ago, and is being kept.
        let (recorded, written, ()) = futures::join!(recorded, written, saving.scope.join());
        match written {
            Ok(Ok(())) => state.error = recorded.err().map(|failure| failure.to_string()),
            Ok(Err(problem)) => state.error = Some(problem.to_string()),
            Err(problem) => state.error = Some(format!("saving failed: {problem}")),
        }
        match &state.error {
            Some(problem) => {
                let reason = format!("state not saved: {problem}");
                self.scope.fail_as(AlertKind::StateNotSaved, reason);
            }
            None => state.saved = true,
        }
    }

    /// Stores the last ticks, and with them all that was recorded before.
    pub(super) async fn record_ticks(
        &self,
        saving: &Saving,
        ticks: &[LastTick],
    ) -> Result<(), WriteFailed> {
        let Some(database) = &saving.database else { return Ok(()) };
        let writer = database.writer();
        writer.record(Record::Ticks { ticks: ticks.to_vec() });
        writer.flush().await
    }

    /// Writes the report into the database, which marks that this run ended in order, and closes it.
    /// What cannot be stored goes to a file of its own.
    pub(super) async fn seal(&mut self, report: &mut ShutdownReport, began: Instant) {
        let Some(saving) = &mut self.saving else { return };
        let directory = saving.directory.clone();
        let Some(database) = saving.database.take() else { return };
        let writer = database.writer();
        writer.record(run_ended(report, began));
        let limit = self.seal_limit(began);
        let closed = timeout(limit, tokio::task::spawn_blocking(move || database.seal())).await;
        let hangs = closed.is_err();
        let problem = match closed {
            Ok(Ok(Ok(()))) => {
                report.elapsed_ms = millis(began.elapsed());
                return;
            }
            Ok(Ok(Err(failure))) => failure.to_string(),
            Ok(Err(panic)) => panic.to_string(),
            Err(_) => format!("closing the state database took over {} ms", limit.as_millis()),
        };
        if report.state.error.is_none() {
            let reason = format!("state not saved: {problem}");
            self.scope.fail_as(AlertKind::StateNotSaved, reason);
        }
        let lost = writer.lost();
        if lost > 0 {
            let reason = format!("{lost} records are lost: no memory was left for them");
            self.scope.fail_as(AlertKind::StateNotSaved, reason);
        }
        report.state.saved = false;
        report.state.error.get_or_insert(problem);
        report.failures = self.failures();
        // A report that could not be made knows no orders, which is no reason to think better of it.
        if report.outcome != Outcome::OrdersLeft {
            report.outcome = self.verdict(report);
        }
        if writer.failure().is_some() {
            // It goes to the file after the first, which says that all went well.
            writer.record(run_ended(report, began));
        }
        let limit = self.seal_limit(began);
        let dumping = tokio::task::spawn_blocking(move || dump(&writer, &directory, hangs));
        let dumped = timeout(limit, dumping);
        report.state.emergency_file = match dumped.await {
            Ok(Ok(Ok(path))) => path.map(|path| path.display().to_string()),
            Ok(Ok(Err(error))) => {
                let reason = format!("no emergency file could be written either: {error}");
                self.scope.fail_as(AlertKind::StateNotSaved, reason);
                None
            }
            _ => {
                let reason = "no emergency file could be written in time either";
                self.scope.fail_as(AlertKind::StateNotSaved, reason);
                None
            }
        };
        report.failures = self.failures();
        report.elapsed_ms = millis(began.elapsed());
    }

    /// What each of the two steps of sealing may take. The phases may have used up the deadline, and
    /// then whoever watches over it waits for little more.
    pub(super) fn seal_limit(&self, began: Instant) -> Duration {
        if self.force.is_cancelled() {
            return FORCED_LIMIT;
        }
        let remaining = self.config.deadline.saturating_sub(began.elapsed());
        self.config.save_state.min(remaining.max(FORCED_LIMIT))
    }
}

/// The end of this run, with its report as it is now.
fn run_ended(report: &ShutdownReport, began: Instant) -> Record {
    let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    Record::RunEnded(Box::new(RunEnd {
        ended: report.started + SignedDuration::from_millis(elapsed),
        trigger: report.trigger.clone(),
        outcome: report.outcome.as_str().to_owned(),
        report: serde_json::to_string(report).unwrap_or_default(),
    }))
}

/// Writes what the database did not take beside it, or else where temporary files go; the other way
/// round if its disk hangs, as another file would. Tells where, if there was anything.
pub(in crate::shutdown) fn dump(
    writer: &Writer,
    directory: &StateDirectory,
    hangs: bool,
) -> std::io::Result<Option<PathBuf>> {
    let elsewhere = std::env::temp_dir();
    let (beside, elsewhere) = (directory.path(), elsewhere.as_path());
    let (first, second) = if hangs { (elsewhere, beside) } else { (beside, elsewhere) };
    let (path, records) = dump_into(writer, first).or_else(|_| dump_into(writer, second))?;
    if records == 0 {
        std::fs::remove_file(&path)?;
        return Ok(None);
    }
    Ok(Some(path))
}

/// Writes it into a new file. One that is there is an earlier process's, which may have had the same
/// id (in a container it is always the same), and holds what nobody else knows.
fn dump_into(writer: &Writer, directory: &Path) -> std::io::Result<(PathBuf, usize)> {
    let mut number = 1;
    loop {
        let path = directory.join(writer.emergency_name(number));
        match writer.emergency_dump(&path) {
            Ok(records) => return Ok((path, records)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MAX_DUMPS => {
                number += 1;
            }
            Err(error) => {
                if error.kind() != ErrorKind::AlreadyExists {
                    // What a full disk took of it is of no use.
                    let _ = std::fs::remove_file(&path);
                }
                return Err(error);
            }
        }
    }
}
