//! Why a shutdown got the verdict that it has, in words.

use super::{
    ExchangeReport, Failure, HookEnd, OrderFate, Outcome, Phase, PhaseEnd, ShutdownReport,
};

/// Failures that are told one by one; the rest is counted.
const FAILURES_TOLD: usize = 5;

impl ShutdownReport {
    /// Everything that speaks against a clean verdict, gravest first, a sentence each; nothing if it
    /// is clean. The first belongs to the [`exit_code`](Outcome::exit_code).
    pub fn reasons(&self) -> Vec<String> {
        if self.outcome == Outcome::Clean {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        self.exchanges.iter().for_each(|exchange| orders(&mut reasons, exchange));
        if !self.stranded_orders.is_empty() {
            let stranded = orders_of(self.stranded_orders.len());
            reasons.push(format!(
                "{stranded} of earlier runs may be open and cannot be reached with this \
                 configuration"
            ));
        }
        for position in self.positions_left() {
            let why = position.not_closed.as_deref().unwrap_or("no reason was given");
            let (instrument, left) = (position.instrument, position.left.normalize());
            reasons.push(format!("{instrument}: {left} is left that was to be closed: {why}"));
        }
        if let Some(error) = &self.state.error {
            reasons.push(format!("state was not saved: {error}"));
        } else if self.outcome == Outcome::StateNotSaved {
            reasons.push("state was not saved".to_owned());
        }
        self.course(&mut reasons);
        self.failed(&mut reasons);
        if reasons.is_empty() {
            reasons.push(self.outcome.describe().to_owned());
        }
        reasons
    }

    /// Phases, hooks and connections that did not end as they should.
    fn course(&self, reasons: &mut Vec<String>) {
        if self.outcome == Outcome::OperatorForced {
            reasons.push("the operator forced the exit".to_owned());
        }
        if self.outcome == Outcome::DeadlineForced {
            let deadline = self.deadline_ms.map_or_else(String::new, |ms| format!(" of {ms} ms"));
            reasons.push(format!("the deadline{deadline} came before all was done"));
        }
        for phase in &self.phases {
            let (name, budget) = (words(phase.phase), phase.budget_ms);
            match phase.ended {
                PhaseEnd::Done => {}
                PhaseEnd::TimedOut => {
                    reasons.push(format!("the phase {name} was not done within its {budget} ms"));
                }
                PhaseEnd::Forced => {
                    reasons.push(format!("the phase {name} was cut short by the forced exit"));
                }
            }
        }
        for hook in self.hooks.iter().filter(|hook| hook.ended != HookEnd::Done) {
            let how = match hook.ended {
                HookEnd::Done => continue,
                HookEnd::Failed => "failed",
                HookEnd::Panicked => "panicked",
                HookEnd::TimedOut => "was not done in time",
                HookEnd::Forced => "was cut short by the forced exit",
                HookEnd::Skipped => "never began",
            };
            reasons.push(with_reason(
                format!("the hook {} of {} {how}", hook.name, words(hook.phase)),
                hook.reason.as_deref(),
            ));
        }
        for exchange in &self.exchanges {
            for connection in &exchange.connections {
                let name = format!("{}/{}", exchange.exchange, connection.connection);
                match &connection.problem {
                    Some(problem) => reasons.push(format!("{name}: {problem}")),
                    None if connection.closed_in_order => {}
                    None => reasons.push(format!("{name} was not closed in order")),
                }
            }
        }
    }

    /// Failures that nothing above has told in the same words.
    fn failed(&self, reasons: &mut Vec<String>) {
        let unsaved = self.state.error.as_deref();
        let hook = |failure: &Failure| {
            let mut hooks = self.hooks.iter().filter(|hook| hook.ended != HookEnd::Done);
            hooks.any(|hook| failure.scope == format!("gateway/hooks/{}", hook.name))
        };
        let told = |failure: &&Failure| {
            hook(failure)
                || unsaved.is_some_and(|error| failure.reason.ends_with(error))
                || reasons.iter().any(|reason| reason.ends_with(&*failure.reason))
        };
        let new: Vec<_> = self.failures.iter().filter(|failure| !told(failure)).collect();
        let more = new.len().saturating_sub(FAILURES_TOLD);
        for failure in new.into_iter().take(FAILURES_TOLD) {
            reasons.push(format!("{}: {}", failure.scope, failure.reason));
        }
        if more > 0 {
            reasons.push(format!("{more} more failures"));
        }
    }
}

/// Orders of one exchange that are not known to be closed.
fn orders(reasons: &mut Vec<String>, exchange: &ExchangeReport) {
    let name = exchange.exchange;
    let count = |fate| exchange.orders.iter().filter(|order| order.fate == fate).count();
    let (open, unknown) = (count(OrderFate::StillOpen), count(OrderFate::Unknown));
    if open > 0 {
        let orders = orders_of(open);
        reasons.push(format!("{name}: {orders} still open, the cancel was not confirmed"));
    }
    if unknown > 0 {
        reasons.push(format!("{name}: {} of unknown fate", orders_of(unknown)));
    }
    let leftovers = exchange.leftover_orders.len();
    if leftovers > 0 {
        reasons.push(format!("{name}: {} that an earlier run left open", orders_of(leftovers)));
    }
}

fn orders_of(count: usize) -> String {
    if count == 1 { "1 order".to_owned() } else { format!("{count} orders") }
}

fn words(phase: Phase) -> String {
    phase.as_str().replace('_', " ")
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}
