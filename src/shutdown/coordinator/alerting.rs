//! Which alerts a shutdown raises, and how long it waits for them: not at all for those that are
//! delivered, briefly for the others, and never beyond its deadline.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{Instant, sleep};
use tracing::error;

use super::{Coordinator, FORCED_LIMIT, millis};
use crate::alerts::{Alerts, named};
use crate::config::format_duration;
use crate::report::{
    AlertKind, LeftoverOrder, OrderFate, Outcome, Phase, PhaseEnd, PhaseReport, PositionReport,
    ShutdownReport,
};
use crate::types::{ClientOrderId, ExchangeName, Instrument};

impl Coordinator {
    /// Raises what is known when a phase has ended, so that its delivery runs beside the phases
    /// that follow. `limit` is what the phase would have got with time enough.
    pub(super) fn alert_phase(&self, phase: &PhaseReport, limit: Duration, began: Instant) {
        if phase.ended == PhaseEnd::TimedOut && phase.budget_ms < millis(limit) {
            self.alert_deadline(Some(phase.phase));
        }
        match phase.phase {
            Phase::CancelPending | Phase::ClosePositions => self.alert_orders(),
            Phase::SaveState if phase.ended != PhaseEnd::Done && self.saving.is_some() => {
                self.alert_unsaved("saving did not end", began);
            }
            _ => {}
        }
    }

    /// Raises what only the whole shows, and waits for what is on its way. Tells when it was done.
    pub(super) async fn alert_end(&self, report: &mut ShutdownReport, began: Instant) -> Instant {
        let raising = || {
            self.alert_orders();
            self.alert_positions(&report.positions);
            self.alert_outcome(report, began);
        };
        if std::panic::catch_unwind(AssertUnwindSafe(raising)).is_err() {
            error!("raising the alerts of the shutdown panicked");
        }
        self.await_deliveries(began).await;
        report.elapsed_ms = report.elapsed_ms.max(millis(began.elapsed()));
        self.report_alerts(report);
        Instant::now()
    }

    /// The same for what showed only when the database was closed; then deliveries end.
    pub(super) async fn alert_sealed(
        &self,
        report: &mut ShutdownReport,
        began: Instant,
        sealing: Instant,
    ) {
        if self.saving.is_none() {
            return;
        }
        if report.outcome == Outcome::StateNotSaved {
            let problem = report.state.error.as_deref().unwrap_or("the reason is not known");
            self.alert_unsaved(problem, began);
        }
        // The others have had their time.
        if self.alerts.raised_since(sealing, &[AlertKind::StateNotSaved]) {
            self.await_deliveries(began).await;
            report.elapsed_ms = report.elapsed_ms.max(millis(began.elapsed()));
        }
        // In this order: what was cut off is known only then.
        let stopping = AssertUnwindSafe(self.alerts.stop()).catch_unwind();
        if stopping.await.is_err() {
            error!("the delivery of alerts panicked at its end");
        }
        self.report_alerts(report);
    }

    pub(super) fn alert_forced(&self, phase: Phase) {
        let message = format!("the operator forced the exit during {phase}");
        self.alerts.raise_if_new(AlertKind::ForcedExit, None, Some("operator"), message);
    }

    fn alert_deadline(&self, phase: Option<Phase>) {
        let deadline = format_duration(self.config.deadline);
        let cut = phase.map_or_else(
            || "ended it before its work was done".to_owned(),
            |phase| format!("left too little time for {phase}"),
        );
        let message = format!("the deadline of the shutdown, {deadline}, {cut}");
        self.alerts.raise_if_new(AlertKind::ForcedExit, None, Some("deadline"), message);
    }

    fn alert_unsaved(&self, problem: &str, began: Instant) {
        if !self.alerts.raised_since(began, &[AlertKind::StateNotSaved]) {
            let message = format!("state not saved: {problem}");
            self.alerts.raise(AlertKind::StateNotSaved, None, message);
        }
    }

    /// Orders that are not known to be closed, by exchange. Raised again only if they are others.
    fn alert_orders(&self) {
        const HELP: &str = "look them up at the exchange, and see the report";
        for exchange in &self.exchanges {
            let (name, orders) = (Some(exchange.name), exchange.desk.orders_left());
            let of = |fate| orders.iter().filter(move |order| order.fate == fate);
            let leftovers = exchange.desk.leftovers();
            let open: Vec<_> = of(OrderFate::StillOpen)
                .map(|order| in_words(order.client_id, Some(order.instrument)))
                .chain(leftovers.iter().map(|left| in_words(left.client_id, left.instrument)))
                .collect();
            if !open.is_empty() {
                let open = named("order", "still open", open.into_iter());
                self.alerts.raise_if_new(
                    AlertKind::OrdersLeft,
                    name,
                    None,
                    format!("{open}; {HELP}"),
                );
            }
            let unknown: Vec<_> = of(OrderFate::Unknown)
                .map(|order| in_words(order.client_id, Some(order.instrument)))
                .collect();
            if !unknown.is_empty() {
                let unknown = named("order", "of unknown outcome", unknown.into_iter());
                self.alerts.raise_if_new(
                    AlertKind::OrdersUnknown,
                    name,
                    None,
                    format!("{unknown}; {HELP}"),
                );
            }
        }
        if let Some(saving) = &self.saving {
            alert_stranded(&self.alerts, &saving.stranded);
        }
    }

    /// Positions that were to be closed and are not, by exchange.
    pub(super) fn alert_positions(&self, positions: &[PositionReport]) {
        for exchange in &self.exchanges {
            let name = exchange.name;
            let left = positions.iter().filter(|p| p.is_left() && p.instrument.exchange() == name);
            let left: Vec<_> = left
                .map(|position| {
                    let why = position.not_closed.as_ref().map(|why| format!(" ({why})"));
                    let (pair, left) = (position.instrument.pair(), position.left.normalize());
                    format!("{left} {pair}{}", why.unwrap_or_default())
                })
                .collect();
            if !left.is_empty() {
                let left = named("position", "not closed", left.into_iter());
                let message = format!("{left}; close them at the exchange, and see the report");
                self.alerts.raise_if_new(AlertKind::PositionsLeft, Some(name), None, message);
            }
        }
    }

    /// Raises what the verdict says and nothing has told yet.
    fn alert_outcome(&self, report: &ShutdownReport, began: Instant) {
        let told = |kinds: &[AlertKind]| self.alerts.raised_since(began, kinds);
        match report.outcome {
            Outcome::Clean | Outcome::Degraded => {}
            Outcome::DeadlineForced if !told(&[AlertKind::ForcedExit]) => self.alert_deadline(None),
            Outcome::OperatorForced if !told(&[AlertKind::ForcedExit]) => {
                self.alert_forced(*self.phase.borrow());
            }
            // A report that could not be made names no orders.
            Outcome::OrdersLeft if report.exchanges.is_empty() => {
                let message = "what became of the orders is not known: look at every exchange";
                self.alerts.raise(AlertKind::OrdersUnknown, None, message);
            }
            Outcome::StateNotSaved => {
                let problem = report.state.error.as_deref().unwrap_or("the reason is not known");
                self.alert_unsaved(problem, began);
            }
            _ => {}
        }
    }

    /// Waits for deliveries if there are any, as long as the configuration lets, less if that is
    /// beyond the deadline, and no longer than half a second once the exit is forced. A drain waits
    /// for none: the gateway goes on, and so do they.
    async fn await_deliveries(&self, began: Instant) {
        if self.saving.is_none() {
            return;
        }
        // What sealing may still take at the deadline is not ours.
        let remaining = self.config.deadline.saturating_sub(began.elapsed() + FORCED_LIMIT);
        let limit = self.alerts.patience().min(remaining);
        let forced = async {
            self.force.cancelled().await;
            sleep(FORCED_LIMIT).await;
        };
        tokio::select! {
            biased;
            () = self.alerts.settled() => {}
            () = sleep(limit) => {}
            () = forced => {}
        }
    }

    /// Every alert, or for a drain those about its exchange.
    fn report_alerts(&self, report: &mut ShutdownReport) {
        report.alerts = self.alerts.reports();
        if self.saving.is_none() {
            let ours = |name: ExchangeName| self.exchanges.iter().any(|e| e.name == name);
            report.alerts.retain(|told| told.alert.exchange.is_some_and(ours));
        }
    }
}

fn in_words(id: ClientOrderId, instrument: Option<Instrument>) -> String {
    instrument.map_or_else(|| id.to_string(), |instrument| format!("{id} ({})", instrument.pair()))
}

/// Raises an alert for orders of earlier runs that this configuration cannot ask about.
pub(crate) fn alert_stranded(alerts: &Alerts, stranded: &[LeftoverOrder]) {
    if stranded.is_empty() {
        return;
    }
    let orders = stranded.iter().map(|order| match order.instrument {
        Some(instrument) => format!("{} ({instrument})", order.client_id),
        None => order.client_id.to_string(),
    });
    let what = "of earlier runs that may be open and that this configuration cannot ask about";
    let message = format!("{}; look them up at the exchange", named("order", what, orders));
    alerts.raise_if_new(AlertKind::OrdersUnknown, None, None, message);
}

#[cfg(test)]
mod tests;
