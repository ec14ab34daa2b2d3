//! The report, and the verdict in it.

use tokio::time::Instant;

use super::{Coordinator, Course, ExchangeParts, millis};
use crate::report::{
    ExchangeReport, Failure, HookEnd, Outcome, PhaseEnd, PhaseReport, ShutdownReport,
};
use crate::shutdown::budget::Budget;

impl Coordinator {
    pub(in crate::shutdown) fn report(&self, course: Course) -> ShutdownReport {
        let Course { began, started, phases, state, closings } = course;
        let exchanges: Vec<_> = self
            .exchanges
            .iter()
            .map(|exchange| ExchangeReport {
                stages: self.stages_of(exchange),
                ..Self::exchange_report(exchange, began)
            })
            .collect();
        let mut report = ShutdownReport::new(Outcome::Clean, self.trigger.clone(), started);
        report.elapsed_ms = millis(began.elapsed());
        report.deadline_ms = Some(millis(self.config.deadline));
        report.phases = phases;
        report.exchanges = exchanges;
        report.positions = self.position_reports(&closings);
        report.stranded_orders =
            self.saving.as_ref().map_or_else(Vec::new, |saving| saving.stranded.clone());
        report.state = state;
        report.hooks = self.hook_reports();
        report.failures = self.failures();
        report.least = super::least::least(&self.exchanges, &report.positions);
        report.outcome = self.verdict(&report);
        report
    }

    /// What one exchange has to tell, but for the stages, which this knows.
    pub(in crate::shutdown) fn exchange_report(
        exchange: &ExchangeParts,
        began: Instant,
    ) -> ExchangeReport {
        ExchangeReport {
            exchange: exchange.name,
            orders: exchange.desk.order_reports_since(began),
            stages: Vec::new(),
            foreign_orders: exchange.desk.foreign_orders() as u64,
            leftover_orders: exchange.desk.leftovers(),
            dead_mans_switch: exchange.desk.switch_report(),
            connections: exchange.connections.iter().map(|c| c.report()).collect(),
        }
    }

    /// The failures of this scope and of those below it. Those of an exchange from before it was
    /// resumed stand in the report of the drain then, and again in that of the whole gateway.
    pub(super) fn failures(&self) -> Vec<Failure> {
        let mut failures = self.scope.failures();
        if self.saving.is_none()
            && let [exchange] = &self.exchanges[..]
        {
            let earlier = exchange.failures_before.min(failures.len());
            failures.drain(..earlier);
        }
        let name = self.scope.name();
        failures.retain(|failure| {
            let below = failure.scope.strip_prefix(name);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        failures
    }

    /// Whether the phase would have had more time by its own limit.
    fn ended_by_deadline(&self, phase: &PhaseReport) -> bool {
        let own = Budget::new(&self.config, Instant::now()).limit(phase.phase);
        phase.ended == PhaseEnd::TimedOut && phase.budget_ms < millis(own)
    }

    /// The worst that is true, because that is what the operator must act on.
    pub(in crate::shutdown) fn verdict(&self, report: &ShutdownReport) -> Outcome {
        let ended = |end| report.phases.iter().any(|phase| phase.ended == end);
        let connections = || report.exchanges.iter().flat_map(|exchange| &exchange.connections);
        let leftovers = report.exchanges.iter().any(|e| !e.leftover_orders.is_empty());
        let stranded = !report.stranded_orders.is_empty();
        let positions = report.positions_left().next().is_some();
        if leftovers || stranded || positions || report.orders_left().next().is_some() {
            Outcome::OrdersLeft
        } else if self.saving.is_some() && !report.state.saved {
            Outcome::StateNotSaved
        } else if self.force.is_cancelled() || ended(PhaseEnd::Forced) {
            Outcome::OperatorForced
        } else if report.phases.iter().any(|phase| self.ended_by_deadline(phase))
            || (ended(PhaseEnd::TimedOut) && report.elapsed_ms >= millis(self.config.deadline))
        {
            Outcome::DeadlineForced
        } else if ended(PhaseEnd::TimedOut)
            || !report.failures.is_empty()
            || report.hooks.iter().any(|hook| hook.ended != HookEnd::Done)
            || connections().any(|c| !c.closed_in_order || c.problem.is_some())
        {
            Outcome::Degraded
        } else {
            Outcome::Clean
        }
    }
}
