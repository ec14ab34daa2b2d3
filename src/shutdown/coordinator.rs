//! Walks one exchange, or the whole gateway, through the phases of a shutdown.
//!
//! Nothing here sleeps: a phase ends when its work is done, or at its limit. What fails is kept for
//! the report and stops nothing. The root scope is never cancelled: each scope ends in its phase.

mod alerting;
mod closing;
mod comparing;
mod forced;
mod hooking;
mod least;
mod phases;
mod saving;
mod verdict;

pub(crate) use alerting::alert_stranded;
pub(super) use saving::dump;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use closing::ClosePolicies;
use closing::Closing;

use super::budget::Budget;
use super::witness::Progress;
use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::ShutdownConfig;
use crate::connection::{AccountCheck, ConnectionRecord};
use crate::market::Router;
use crate::orders::Desk;
use crate::positions::Positions;
use crate::report::{
    LeftoverOrder, Outcome, Phase, PhaseEnd, PhaseReport, RoundTrips, ShutdownReport, StageReport,
    StateReport,
};
use crate::scope::{Scope, panic_message};
use crate::state::{Database, SavedTicks, StateDirectory};
use crate::types::{ExchangeName, Timestamp};

pub(crate) use hooking::Hooking;

/// What a phase may still take once the operator forces the exit.
const FORCED_LIMIT: Duration = Duration::from_millis(500);
/// What dropped sockets and their tasks may take to end.
const CUT_LIMIT: Duration = Duration::from_millis(500);

/// The running parts of one exchange.
pub(crate) struct ExchangeParts {
    pub(crate) name: ExchangeName,
    pub(crate) scope: Scope,
    pub(crate) desk: Arc<Desk>,
    pub(crate) connections: Vec<Arc<ConnectionRecord>>,
    /// Asks what the account holds, where the exchange is traded at.
    pub(crate) account: Option<AccountCheck>,
    /// Cancelled to drop the sockets without waiting.
    pub(crate) cut: CancellationToken,
    /// How many failures the gateway had seen when these parts were started.
    pub(crate) failures_before: usize,
}

impl ExchangeParts {
    /// The round trips that were measured on its connections.
    pub(crate) fn round_trips(&self) -> Option<RoundTrips> {
        let records = self.connections.iter().filter_map(|record| record.round_trips());
        records.chain(self.desk.round_trips()).reduce(RoundTrips::or)
    }
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
    pub(crate) positions: Arc<Positions>,
    /// Knows the last prices.
    pub(crate) router: Arc<Router>,
    /// Which positions are closed, and how.
    pub(crate) policies: ClosePolicies,
    pub(crate) saving: Option<Saving>,
    /// The hooks of the whole gateway; a drain of one exchange runs none.
    pub(crate) hooking: Option<Hooking>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) config: ShutdownConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) alerts: Alerts,
    /// The stages that the orders of each exchange have reached.
    pub(crate) order_stages: Mutex<Vec<(ExchangeName, StageReport)>>,
    /// The scope whose failures the report lists.
    pub(crate) scope: Scope,
    /// Cancelled when the operator forces the exit.
    pub(crate) force: CancellationToken,
    pub(crate) trigger: String,
    /// Where each phase is told when it has ended.
    pub(crate) progress: Progress,
}

/// How far a shutdown has come.
pub(super) struct Course {
    began: Instant,
    started: Timestamp,
    phases: Vec<PhaseReport>,
    state: StateReport,
    /// The positions, once every cancel was settled.
    closings: Vec<Closing>,
}

impl Course {
    /// One of which only the phases are known.
    pub(super) fn seen(began: Instant, started: Timestamp, phases: Vec<PhaseReport>) -> Self {
        Self { began, started, phases, state: StateReport::default(), closings: Vec::new() }
    }
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
            closings: Vec::new(),
        };
        let walked = AssertUnwindSafe(self.walk(&mut course)).catch_unwind().await;
        if let Err(panic) = walked {
            self.scope.fail(format!("the shutdown panicked: {}", panic_message(panic.as_ref())));
            let ended = AssertUnwindSafe(async {
                self.enter(Phase::Disconnect);
                self.stop_scopes(Phase::Disconnect);
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
            // Nothing is known of the orders, which is as bad as knowing that some are open.
            let mut report = ShutdownReport::new(Outcome::OrdersLeft, trigger, started);
            report.elapsed_ms = millis(began.elapsed());
            report.hooks = self.hook_reports();
            report.failures = self.failures();
            report
        });
        let sealing = self.alert_end(&mut report, began).await;
        self.seal(&mut report, began).await;
        self.alert_sealed(&mut report, began, sealing).await;
        self.phase.send_replace(Phase::Complete);
        let (outcome, exit_code) = (report.outcome, report.outcome.exit_code());
        info!(?outcome, exit_code, elapsed_ms = report.elapsed_ms, "shutdown complete");
        report
    }

    async fn walk(&self, course: &mut Course) {
        let began = course.began;
        let budget = Budget::new(&self.config, began);
        info!(trigger = self.trigger, "shutdown begins");
        if let Some(database) = self.saving.as_ref().and_then(|saving| saving.database.as_ref()) {
            database.rest();
        }
        for connection in self.exchanges.iter().flat_map(|exchange| &exchange.connections) {
            connection.begin(began);
        }
        for exchange in &self.exchanges {
            exchange.desk.switch_until(began + self.config.deadline);
        }
        for phase in Phase::WORKING {
            self.enter(phase);
            let state = &mut course.state;
            let began_ms = Some(millis(began.elapsed()));
            let report = match phase {
                Phase::StopNewOrders => self.timed(phase, &budget, self.stop_intake(began)).await,
                Phase::CancelPending => self.timed(phase, &budget, self.cancel(began)).await,
                Phase::SaveState => self.timed(phase, &budget, self.save(state)).await,
                Phase::Disconnect => self.timed(phase, &budget, self.disconnect()).await,
                Phase::ClosePositions => {
                    course.closings = self.closings();
                    self.forget_comparisons();
                    let now = Instant::now();
                    let ends = now + budget.allow(phase, now);
                    let work = async {
                        self.close_positions(&mut course.closings, ends).await;
                        self.compare_positions(ends).await;
                    };
                    self.timed(phase, &budget, work).await
                }
                _ => self.timed(phase, &budget, std::future::ready(())).await,
            };
            match phase {
                Phase::StopNewOrders if report.ended != PhaseEnd::Done => {
                    self.scope.fail("orders were still being written when their phase ended");
                }
                Phase::CancelPending => self.name_unconfirmed(began),
                Phase::ClosePositions => self.end_closing(&course.closings).await,
                Phase::SaveState if report.ended != PhaseEnd::Done && self.saving.is_some() => {
                    let problem = "saving took too long";
                    self.scope.fail(format!("state not saved: {problem}"));
                    course.state.error.get_or_insert_with(|| problem.to_owned());
                }
                Phase::Disconnect => self.cut_the_rest().await,
                _ => {}
            }
            self.alert_phase(&report, budget.limit(phase), began);
            let report = PhaseReport { began_ms, ..report };
            self.progress.add(report.clone());
            course.phases.push(report);
        }
    }

    /// Names every order whose single fills the exchange has not told: it is closed all the same.
    fn name_missing_fills(&self) {
        for exchange in &self.exchanges {
            for (id, missing, filled) in exchange.desk.missing_fills() {
                exchange.scope.fail(format!(
                    "fills of order {id} are not told by the exchange: quantity {missing} of {filled}"
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
        }
        // Until the first hooks of a phase have ended, what stops in it goes on; what makes the
        // cancels hurry waits for nobody.
        if phase <= Phase::CancelPending {
            self.stop_scopes(phase);
        }
        self.phase.send_replace(phase);
    }

    /// Ends what declares that it stops in that phase.
    fn stop_scopes(&self, phase: Phase) {
        for exchange in &self.exchanges {
            exchange.scope.enter(phase);
        }
        if let Some(saving) = &self.saving {
            saving.scope.enter(phase);
        }
    }

    /// Runs the work of a phase and its hooks within its limit.
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
                () = sleep_until(began + limit) => PhaseEnd::TimedOut,
                () = self.force.cancelled() => {
                    self.alert_forced(phase);
                    self.last_chance(phase, began + limit).await;
                    PhaseEnd::Forced
                }
            }
        };
        let work = async {
            self.stop_scopes(phase);
            tokio::select! {
                biased;
                () = work => PhaseEnd::Done,
                ended = limited => ended,
            }
        };
        let ended = self.with_hooks(phase, limit, work).await;
        let report = PhaseReport {
            phase,
            began_ms: None,
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
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
