//! The work of each phase but that of saving.

use std::sync::PoisonError;

use futures::future::join_all;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::{CUT_LIMIT, Coordinator, ExchangeParts};
use crate::connection::{StageDetails, log_stage};
use crate::orders::Fates;
use crate::report::{Stage, StageReport};

impl Coordinator {
    pub(super) async fn stop_intake(&self, began: Instant) {
        join_all(self.exchanges.iter().map(|exchange| async move {
            exchange.desk.gate_drained().await;
            self.stage(exchange, Stage::IntakeStopped, began, &StageDetails::default());
        }))
        .await;
    }

    pub(super) async fn cancel(&self, began: Instant) {
        join_all(self.exchanges.iter().map(|exchange| async move {
            let count = exchange.desk.cancel_all();
            let sent = async {
                exchange.desk.cancels_written().await;
                let details = StageDetails { count: Some(count), ..StageDetails::default() };
                self.stage(exchange, Stage::CancelsSent, began, &details);
            };
            let confirmed = async {
                exchange.desk.flat().await;
                self.name_confirmed(exchange, began);
                // A forced exit promises nothing, so that the exchange's own switch stays armed.
                // It stays armed, too, while positions are closed: that may leave an order unknown.
                if !self.force.is_cancelled() && !self.will_close(exchange.name) {
                    exchange.desk.disarm_switch().await;
                }
            };
            futures::future::join(sent, confirmed).await;
        }))
        .await;
    }

    /// Logs that the cancels of an exchange have ended, at that moment, unless orders are left.
    fn name_confirmed(&self, exchange: &ExchangeParts, began: Instant) {
        let fates = exchange.desk.fates();
        if fates.left == 0 {
            self.stage(exchange, Stage::CancelsConfirmed, began, &confirmed(fates));
        }
    }

    /// Logs how the other cancels ended, and every order whose cancel was not confirmed.
    pub(super) fn name_unconfirmed(&self, began: Instant) {
        for exchange in &self.exchanges {
            let left = exchange.desk.orders_left();
            if !left.is_empty() || !self.has_reached(exchange, Stage::CancelsConfirmed) {
                let fates = exchange.desk.fates();
                self.stage(exchange, Stage::CancelsConfirmed, began, &confirmed(fates));
            }
            let forced = self.force.is_cancelled();
            // If all is flat it is taken off with the positions, if it has not been.
            if forced || !exchange.desk.is_flat() {
                exchange.desk.leave_switch(if forced {
                    "the exit was forced"
                } else {
                    "the orders were not confirmed closed in time"
                });
            }
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

    pub(super) async fn disconnect(&self) {
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

    pub(super) fn cut(&self) {
        for exchange in &self.exchanges {
            exchange.cut.cancel();
        }
    }

    /// Whatever has not ended is dropped; a task that does not end even so is a failure.
    pub(super) async fn cut_the_rest(&self) {
        self.cut();
        join_all(self.exchanges.iter().map(|exchange| async move {
            if timeout(CUT_LIMIT, exchange.scope.join()).await.is_err() {
                exchange.scope.fail(format!("{} tasks did not end", exchange.scope.running()));
            }
        }))
        .await;
    }

    /// Logs a stage of an exchange's orders and keeps it for the report.
    fn stage(
        &self,
        exchange: &ExchangeParts,
        stage: Stage,
        began: Instant,
        details: &StageDetails<'_>,
    ) {
        let elapsed_ms = log_stage(exchange.name, "orders", stage, began.elapsed(), details);
        let count = |count: Option<usize>| count.map(|count| count as u64);
        let (count, unconfirmed) = (count(details.count), count(details.unconfirmed));
        let report = StageReport { stage, elapsed_ms, count, unconfirmed };
        let mut stages = self.order_stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.push((exchange.name, report));
    }

    fn has_reached(&self, exchange: &ExchangeParts, stage: Stage) -> bool {
        let stages = self.order_stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.iter().any(|(name, reached)| *name == exchange.name && reached.stage == stage)
    }

    /// The stages of an exchange's orders; one that only has market data has none to tell.
    pub(super) fn stages_of(&self, exchange: &ExchangeParts) -> Vec<StageReport> {
        if !exchange.connections.iter().any(|c| c.kind().as_str() == "trading") {
            return Vec::new();
        }
        let stages = self.order_stages.lock().unwrap_or_else(PoisonError::into_inner);
        let own = stages.iter().filter(|(name, _)| *name == exchange.name);
        own.map(|(_, stage)| stage.clone()).collect()
    }
}

/// How many cancelled orders are confirmed closed, and how many orders are not.
fn confirmed(fates: Fates) -> StageDetails<'static> {
    StageDetails {
        count: Some(fates.closed),
        unconfirmed: Some(fates.left),
        ..StageDetails::default()
    }
}
