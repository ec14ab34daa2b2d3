//! The work of each phase but that of saving.

use futures::future::join_all;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::{CUT_LIMIT, Coordinator, ExchangeParts};
use crate::connection::{StageDetails, log_stage};
use crate::report::{OrderReport, Stage};

impl Coordinator {
    pub(super) async fn stop_intake(&self, began: Instant) {
        join_all(self.exchanges.iter().map(|exchange| async move {
            exchange.desk.gate_drained().await;
            stage(exchange, Stage::IntakeStopped, began, &StageDetails::default());
        }))
        .await;
    }

    pub(super) async fn cancel(&self, began: Instant) {
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
                // It stays armed, too, while positions are closed: that may leave an order unknown.
                if !self.force.is_cancelled() && !self.will_close(exchange.name) {
                    exchange.desk.disarm_switch().await;
                }
            };
            futures::future::join(sent, confirmed).await;
        }))
        .await;
    }

    /// Logs how the cancels ended, and every order whose cancel was not confirmed.
    pub(super) fn name_unconfirmed(&self, began: Instant) {
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
            let forced = self.force.is_cancelled();
            if forced || !exchange.desk.is_flat() || !self.will_close(exchange.name) {
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
}

fn stage(exchange: &ExchangeParts, stage: Stage, began: Instant, details: &StageDetails<'_>) {
    log_stage(exchange.name, "orders", stage, began, details);
}
