//! Walks one exchange, or the whole gateway, through the phases of a shutdown.
//!
//! Nothing here sleeps: a phase ends when its work is done, or at its limit. What fails is kept for
//! the report and stops nothing. The root scope is never cancelled: each scope ends in its phase.

use std::future::Future;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::budget::Budget;
use super::{
    ExchangeReport, Failure, OrderReport, Outcome, Phase, PhaseEnd, PhaseReport, ShutdownReport,
    Stage, StateReport,
};
use crate::clock::Clock;
use crate::config::ShutdownConfig;
use crate::connection::{ConnectionRecord, StageDetails, log_stage};
use crate::market::{LastTick, Router};
use crate::orders::Desk;
use crate::report::LeftoverOrder;
use crate::scope::{Scope, panic_message};
use crate::state::{Database, Record, RunEnd, SavedTicks, StateDirectory, WriteFailed, Writer};
use crate::types::{ExchangeName, Timestamp};

/// What a phase may still take once the operator forces the exit.
const FORCED_LIMIT: Duration = Duration::from_millis(500);
/// What dropped sockets and their tasks may take to end.
const CUT_LIMIT: Duration = Duration::from_millis(500);
/// Emergency files of one process id that may lie in a directory.
const MAX_DUMPS: u32 = 1000;

/// The running parts of one exchange.
pub(crate) struct ExchangeParts {
    pub(crate) name: ExchangeName,
    pub(crate) scope: Scope,
    pub(crate) desk: Arc<Desk>,
    pub(crate) connections: Vec<Arc<ConnectionRecord>>,
    /// Cancelled to drop the sockets without waiting.
    pub(crate) cut: CancellationToken,
}

/// What is saved when the whole gateway stops; a drain of one exchange saves nothing.
pub(crate) struct Saving {
    pub(crate) router: Arc<Router>,
    pub(crate) directory: StateDirectory,
    /// What the last run saved.
    pub(crate) previous: Option<SavedTicks>,
    /// Closed when the report has been written into it.
    pub(crate) database: Option<Database>,
    /// What keeps state while the gateway runs.
    pub(crate) scope: Scope,
    /// Orders of earlier runs that cannot be reached.
    pub(crate) stranded: Vec<LeftoverOrder>,
}

pub(crate) struct Coordinator {
    pub(crate) exchanges: Vec<Arc<ExchangeParts>>,
    pub(crate) saving: Option<Saving>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) config: ShutdownConfig,
    pub(crate) clock: Arc<dyn Clock>,
    /// The scope whose failures the report lists.
    pub(crate) scope: Scope,
    /// Cancelled when the operator forces the exit.
    pub(crate) force: CancellationToken,
    pub(crate) trigger: String,
}

/// How far a shutdown has come.
struct Course {
    began: Instant,
    started: Timestamp,
    phases: Vec<PhaseReport>,
    state: StateReport,
}

impl Coordinator {
    /// Runs every phase and reports. A panic on the way is a failure of the report, whose other
    /// lines stay true.
    pub(crate) async fn run(mut self) -> ShutdownReport {
        let mut course = Course {
            began: Instant::now(),
            started: self.clock.now(),
            phases: Vec::new(),
            state: StateReport::default(),
        };
        let walked = AssertUnwindSafe(self.walk(&mut course)).catch_unwind().await;
        if let Err(panic) = walked {
            self.scope.fail(format!("the shutdown panicked: {}", panic_message(panic.as_ref())));
            let ended = AssertUnwindSafe(async {
                self.enter(Phase::Disconnect);
                self.cut_the_rest().await;
            });
            if ended.catch_unwind().await.is_err() {
                self.scope.fail("the connections could not be ended either");
            }
        }
        let trigger = self.trigger.clone();
        let (began, started) = (course.began, course.started);
        let finished = std::panic::catch_unwind(AssertUnwindSafe(|| self.finish(course)));
        let mut report = finished.unwrap_or_else(|panic| {
            let words = panic_message(panic.as_ref());
            self.scope.fail(format!("the report panicked: {words}; look at the orders by hand"));
            ShutdownReport {
                // Nothing is known of the orders, which is as bad as knowing that some are open.
                outcome: Outcome::OrdersLeft,
                trigger,
                started,
                elapsed_ms: millis(began.elapsed()),
                phases: Vec::new(),
                exchanges: Vec::new(),
                stranded_orders: Vec::new(),
                state: StateReport::default(),
                failures: self.failures(),
            }
        });
        self.seal(&mut report, began).await;
        self.phase.send_replace(Phase::Complete);
        let (outcome, exit_code) = (report.outcome, report.outcome.exit_code());
        info!(?outcome, exit_code, elapsed_ms = report.elapsed_ms, "shutdown complete");
        report
    }

    async fn walk(&self, course: &mut Course) {
        let began = course.began;
        let budget = Budget::new(&self.config, began);
        info!(trigger = self.trigger, "shutdown begins");
        for connection in self.exchanges.iter().flat_map(|exchange| &exchange.connections) {
            connection.begin(began);
        }
        for exchange in &self.exchanges {
            exchange.desk.switch_until(began + self.config.deadline);
        }
        for phase in Phase::WORKING {
            self.enter(phase);
            let state = &mut course.state;
            let report = match phase {
                Phase::StopNewOrders => self.timed(phase, &budget, self.stop_intake(began)).await,
                Phase::CancelPending => self.timed(phase, &budget, self.cancel(began)).await,
                Phase::SaveState => self.timed(phase, &budget, self.save(state)).await,
                Phase::Disconnect => self.timed(phase, &budget, self.disconnect()).await,
                // Positions are kept: closing them is a policy that nobody has asked for yet.
                _ => self.timed(phase, &budget, std::future::ready(())).await,
            };
            match phase {
                Phase::StopNewOrders if report.ended != PhaseEnd::Done => {
                    self.scope.fail("orders were still being written when their phase ended");
                }
                Phase::CancelPending => self.name_unconfirmed(began),
                Phase::SaveState if report.ended != PhaseEnd::Done && self.saving.is_some() => {
                    course.state.error.get_or_insert_with(|| "saving took too long".to_owned());
                }
                Phase::Disconnect => self.cut_the_rest().await,
                _ => {}
            }
            course.phases.push(report);
        }
    }

    /// Names every order whose single fills the exchange has not told: it is closed all the same.
    fn name_missing_fills(&self) {
        for exchange in &self.exchanges {
            let orders = exchange.desk.order_reports();
            for order in orders.iter().filter(|order| order.booked < order.filled) {
                let missing = order.filled - order.booked;
                exchange.scope.fail(format!(
                    "fills of order {} are not told by the exchange: quantity {missing} of {}",
                    order.client_id, order.filled
                ));
            }
        }
    }

    /// Ends what still waits, and reports.
    fn finish(&self, mut course: Course) -> ShutdownReport {
        self.name_missing_fills();
        for exchange in &self.exchanges {
            exchange.desk.abandon_waiters();
        }
        course.state.late_ticks = self.saving.as_ref().map_or(0, |saving| saving.router.late());
        let report = self.report(course);
        for exchange in &self.exchanges {
            exchange.scope.enter(Phase::Complete);
        }
        report
    }

    fn enter(&self, phase: Phase) {
        for exchange in &self.exchanges {
            exchange.desk.close_gate(phase);
            exchange.scope.enter(phase);
        }
        if let Some(saving) = &self.saving {
            saving.scope.enter(phase);
        }
        self.phase.send_replace(phase);
    }

    /// Runs the work of a phase within its limit.
    async fn timed(
        &self,
        phase: Phase,
        budget: &Budget,
        work: impl Future<Output = ()>,
    ) -> PhaseReport {
        let began = Instant::now();
        let limit = budget.allow(phase, began);
        let limited = async {
            tokio::select! {
                () = sleep(limit) => PhaseEnd::TimedOut,
                () = self.force.cancelled() => {
                    sleep(FORCED_LIMIT.min(limit)).await;
                    PhaseEnd::Forced
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = work => PhaseEnd::Done,
            ended = limited => ended,
        };
        let report = PhaseReport {
            phase,
            budget_ms: millis(limit),
            used_ms: millis(began.elapsed()),
            ended,
        };
        let (budget_ms, used_ms) = (report.budget_ms, report.used_ms);
        if ended == PhaseEnd::Done {
            info!(%phase, budget_ms, used_ms, "phase done");
        } else {
            warn!(%phase, budget_ms, used_ms, ?ended, "phase ended before its work was done");
        }
        report
    }

    async fn stop_intake(&self, began: Instant) {
        join_all(self.exchanges.iter().map(|exchange| async move {
            exchange.desk.gate_drained().await;
            stage(exchange, Stage::IntakeStopped, began, &StageDetails::default());
        }))
        .await;
    }

    async fn cancel(&self, began: Instant) {
        join_all(self.exchanges.iter().map(|exchange| async move {
            let count = exchange.desk.cancel_all();
            let sent = async {
                exchange.desk.cancels_written().await;
                let details = StageDetails { count: Some(count), ..StageDetails::default() };
                stage(exchange, Stage::CancelsSent, began, &details);
            };
            let confirmed = async {
                exchange.desk.flat().await;
                // A forced exit promises nothing, so that the exchange's own switch stays armed.
                if !self.force.is_cancelled() {
                    exchange.desk.disarm_switch().await;
                }
            };
            futures::future::join(sent, confirmed).await;
        }))
        .await;
    }

    /// Logs how the cancels ended, and every order whose cancel was not confirmed.
    fn name_unconfirmed(&self, began: Instant) {
        for exchange in &self.exchanges {
            let orders = exchange.desk.order_reports();
            let cancelled = orders.iter().filter(|order| order.cancel_attempts > 0);
            let left: Vec<&OrderReport> =
                orders.iter().filter(|order| order.fate.is_left()).collect();
            let count = cancelled.filter(|order| !order.fate.is_left()).count();
            let details = StageDetails {
                count: Some(count),
                unconfirmed: Some(left.len()),
                ..StageDetails::default()
            };
            stage(exchange, Stage::CancelsConfirmed, began, &details);
            exchange.desk.leave_switch(if self.force.is_cancelled() {
                "the exit was forced"
            } else {
                "the orders were not confirmed closed in time"
            });
            for order in left {
                let reason = order.reason.as_deref();
                error!(
                    target: "exchange_gateway::order",
                    exchange = %exchange.name, order = %order.client_id, reason,
                    "cancel not confirmed"
                );
            }
        }
    }

    async fn save(&self, state: &mut StateReport) {
        let Some(saving) = &self.saving else { return };
        saving.router.freeze();
        state.directory = saving.directory.path().display().to_string();
        let ticks = saving.router.last_ticks();
        state.last_ticks = ticks.iter().filter(|t| t.trade.is_some() || t.quote.is_some()).count();
        let recorded = self.record_ticks(saving, &ticks).await;
        let saved = SavedTicks { saved: self.clock.now(), ticks }.keeping(saving.previous.as_ref());
        let directory = saving.directory.clone();
        let written = tokio::task::spawn_blocking(move || directory.save_last_ticks(&saved)).await;
        match written {
            Ok(Ok(())) => state.error = recorded.err().map(|failure| failure.to_string()),
            Ok(Err(problem)) => state.error = Some(problem.to_string()),
            Err(problem) => state.error = Some(format!("saving failed: {problem}")),
        }
        match &state.error {
            Some(problem) => self.scope.fail(format!("state not saved: {problem}")),
            None => state.saved = true,
        }
    }

    /// Stores the last ticks, and with them all that was recorded before.
    async fn record_ticks(&self, saving: &Saving, ticks: &[LastTick]) -> Result<(), WriteFailed> {
        let Some(database) = &saving.database else { return Ok(()) };
        let writer = database.writer();
        writer.record(Record::Ticks { ticks: ticks.to_vec() });
        writer.flush().await
    }

    /// Writes the report into the database, which marks that this run ended in order, and closes it.
    /// What cannot be stored goes to a file of its own.
    async fn seal(&mut self, report: &mut ShutdownReport, began: Instant) {
        let Some(saving) = &mut self.saving else { return };
        let directory = saving.directory.clone();
        let Some(database) = saving.database.take() else { return };
        let writer = database.writer();
        let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        writer.record(Record::RunEnded(Box::new(RunEnd {
            ended: report.started + SignedDuration::from_millis(elapsed),
            trigger: report.trigger.clone(),
            outcome: report.outcome.as_str().to_owned(),
            report: serde_json::to_string(report).unwrap_or_default(),
        })));
        let limit = self.seal_limit(began);
        let closed = timeout(limit, tokio::task::spawn_blocking(move || database.close())).await;
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
            self.scope.fail(format!("state not saved: {problem}"));
        }
        let lost = writer.lost();
        if lost > 0 {
            self.scope.fail(format!("{lost} records are lost: no memory was left for them"));
        }
        let limit = self.seal_limit(began);
        let dumping = tokio::task::spawn_blocking(move || dump(&writer, &directory, hangs));
        let dumped = timeout(limit, dumping);
        report.state.emergency_file = match dumped.await {
            Ok(Ok(Ok(path))) => path.map(|path| path.display().to_string()),
            Ok(Ok(Err(error))) => {
                self.scope.fail(format!("no emergency file could be written either: {error}"));
                None
            }
            _ => {
                self.scope.fail("no emergency file could be written in time either");
                None
            }
        };
        report.state.saved = false;
        report.state.error.get_or_insert(problem);
        report.failures = self.failures();
        // A report that could not be made knows no orders, which is no reason to think better of it.
        if report.outcome != Outcome::OrdersLeft {
            report.outcome = self.verdict(report);
        }
        report.elapsed_ms = millis(began.elapsed());
    }

    /// What each of the two steps of sealing may take. The phases may have used up the deadline, and
    /// then whoever watches over it waits for little more.
    fn seal_limit(&self, began: Instant) -> Duration {
        if self.force.is_cancelled() {
            return FORCED_LIMIT;
        }
        let remaining = self.config.deadline.saturating_sub(began.elapsed());
        self.config.save_state.min(remaining.max(FORCED_LIMIT))
    }

    async fn disconnect(&self) {
        if self.force.is_cancelled() {
            self.cut();
        }
        let forced = async {
            self.force.cancelled().await;
            self.cut();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = join_all(self.exchanges.iter().map(|exchange| exchange.scope.join())) => {}
            () = forced => {}
        }
    }

    fn cut(&self) {
        for exchange in &self.exchanges {
            exchange.cut.cancel();
        }
    }

    /// Whatever has not ended is dropped; a task that does not end even so is a failure.
    async fn cut_the_rest(&self) {
        self.cut();
        join_all(self.exchanges.iter().map(|exchange| async move {
            if timeout(CUT_LIMIT, exchange.scope.join()).await.is_err() {
                exchange.scope.fail(format!("{} tasks did not end", exchange.scope.running()));
            }
        }))
        .await;
    }

    fn report(&self, course: Course) -> ShutdownReport {
        let Course { began, started, phases, state } = course;
        let exchanges: Vec<_> = self
            .exchanges
            .iter()
            .map(|exchange| ExchangeReport {
                exchange: exchange.name,
                orders: exchange.desk.order_reports(),
                foreign_orders: exchange.desk.foreign_orders() as u64,
                leftover_orders: exchange.desk.leftovers(),
                dead_mans_switch: exchange.desk.switch_report(),
                connections: exchange.connections.iter().map(|c| c.report()).collect(),
            })
            .collect();
        let mut report = ShutdownReport {
            outcome: Outcome::Clean,
            trigger: self.trigger.clone(),
            started,
            elapsed_ms: millis(began.elapsed()),
            phases,
            exchanges,
            stranded_orders: self.saving.as_ref().map_or_else(Vec::new, |s| s.stranded.clone()),
            state,
            failures: self.failures(),
        };
        report.outcome = self.verdict(&report);
        report
    }

    /// The failures of this scope and of those below it.
    fn failures(&self) -> Vec<Failure> {
        let mut failures = self.scope.failures();
        let name = self.scope.name();
        failures.retain(|failure| {
            let below = failure.scope.strip_prefix(name);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        failures
    }

    /// The worst that is true, because that is what the operator must act on.
    fn verdict(&self, report: &ShutdownReport) -> Outcome {
        let ended = |end| report.phases.iter().any(|phase| phase.ended == end);
        let connections = || report.exchanges.iter().flat_map(|exchange| &exchange.connections);
        let leftovers = report.exchanges.iter().any(|e| !e.leftover_orders.is_empty());
        let stranded = !report.stranded_orders.is_empty();
        if leftovers || stranded || report.orders_left().next().is_some() {
            Outcome::OrdersLeft
        } else if self.saving.is_some() && !report.state.saved {
            Outcome::StateNotSaved
        } else if self.force.is_cancelled() || ended(PhaseEnd::Forced) {
            Outcome::OperatorForced
        } else if ended(PhaseEnd::TimedOut) && report.elapsed_ms >= millis(self.config.deadline) {
            Outcome::DeadlineForced
        } else if ended(PhaseEnd::TimedOut)
            || !report.failures.is_empty()
            || connections().any(|c| !c.closed_in_order || c.problem.is_some())
        {
            Outcome::Degraded
        } else {
            Outcome::Clean
        }
    }
}

fn stage(exchange: &ExchangeParts, stage: Stage, began: Instant, details: &StageDetails<'_>) {
    log_stage(exchange.name, "orders", stage, began, details);
}

/// Writes what the database did not take beside it, or else where temporary files go; the other way
/// round if its disk hangs, as another file would. Tells where, if there was anything.
fn dump(
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
    let process = std::process::id();
    let mut number = 1;
    loop {
        let name = match number {
            1 => format!("emergency-{process}.jsonl"),
            more => format!("emergency-{process}-{more}.jsonl"),
        };
        let path = directory.join(name);
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
