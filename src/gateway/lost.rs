//! Raises an alert when an exchange has been lost for too long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::alerts::{Alerts, named};
use crate::config::format_duration;
use crate::connection::{ConnectionRecord, ConnectionStatus};
use crate::orders::Desk;
use crate::report::{AlertKind, Phase};
use crate::shutdown::ExchangeParts;

/// Watches every connection of an exchange until its shutdown begins.
pub(super) fn watch(exchange: &ExchangeParts, alerts: &Alerts, limit: Duration) {
    for connection in &exchange.connections {
        let scope = exchange.scope.child("lost", Phase::StopNewOrders);
        let (watched, over) = (Arc::clone(connection), scope.clone());
        let (desk, alerts) = (Arc::clone(&exchange.desk), alerts.clone());
        scope.spawn(async move {
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = follow(&watched, &desk, &alerts, limit) => {}
            }
        });
    }
}

async fn follow(connection: &ConnectionRecord, desk: &Desk, alerts: &Alerts, limit: Duration) {
    let (exchange, kind) = (desk.exchange(), connection.kind());
    let mut status = connection.watch();
    let mut loss = Loss::new(limit);
    loop {
        let seen = loss.see(&status.borrow_and_update(), Instant::now());
        match seen {
            Seen::Nothing => {
                if status.changed().await.is_err() {
                    return;
                }
            }
            Seen::Due(at) => tokio::select! {
                biased;
                changed = status.changed() => if changed.is_err() { return },
                () = sleep_until(at) => {}
            },
            Seen::Lost(reason) => {
                let mut message = format!(
                    "the {kind} connection has been lost for {} ({reason}); {}",
                    format_duration(limit),
                    if loss.is_final { "it is given up" } else { "it is still tried" }
                );
                let open = desk.unfinished();
                if !open.is_empty() {
                    let open = open.iter().map(|order| order.client_id);
                    let orders = named("order", "open or unknown there", open);
                    message = format!("{message}; {orders}");
                }
                let about = format!("{kind} connection, loss {}", loss.number);
                alerts.raise_about(AlertKind::ExchangeLost, Some(exchange), &about, message);
            }
            Seen::Back(after) => {
                let lost_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                info!(
                    target: "exchange_gateway::alert",
                    %exchange, connection = %kind, lost_ms, "a lost exchange is back"
                );
            }
        }
    }
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing until its status changes.
    Nothing,
    /// It is to be looked at again then.
    Due(Instant),
    /// Somebody has to know, once. The reason is the last one given.
    Lost(String),
    /// What somebody was told of is over, after so long.
    Back(Duration),
}

/// Tells a loss from an interruption.
struct Loss {
    limit: Duration,
    was_live: bool,
    since: Option<Instant>,
    told: bool,
    is_final: bool,
    /// Losses so far, this one included.
    number: u64,
    reason: String,
}

impl Loss {
    fn new(limit: Duration) -> Self {
        let reason = "it is being opened again".to_owned();
        Self {
            limit,
            was_live: false,
            since: None,
            told: false,
            is_final: false,
            number: 0,
            reason,
        }
    }

    fn see(&mut self, status: &ConnectionStatus, now: Instant) -> Seen {
        match status {
            ConnectionStatus::Live => {
                self.was_live = true;
                let since = self.since.take();
                return match since {
                    Some(since) if std::mem::take(&mut self.told) => {
                        Seen::Back(now.duration_since(since))
                    }
                    _ => Seen::Nothing,
                };
            }
            // Over as asked, or never live, which the start tells of.
            ConnectionStatus::Closed => return Seen::Nothing,
            _ if !self.was_live => return Seen::Nothing,
            ConnectionStatus::Waiting { reason } => self.reason.clone_from(reason),
            ConnectionStatus::Failed { reason } => {
                self.reason.clone_from(reason);
                self.is_final = true;
            }
            _ => {}
        }
        if self.since.is_none() {
            self.number += 1;
        }
        let since = *self.since.get_or_insert(now);
        if self.told {
            return Seen::Nothing;
        }
        // What is given up never comes back by itself.
        let due = if self.is_final { now } else { since + self.limit };
        if now < due {
            return Seen::Due(due);
        }
        self.told = true;
        Seen::Lost(self.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    fn waiting(reason: &str) -> ConnectionStatus {
        ConnectionStatus::Waiting { reason: reason.into() }
    }

    #[test]
    fn a_loss_is_told_once_when_it_has_lasted_for_the_limit_and_so_is_its_end() {
        let (start, mut loss) = (Instant::now(), Loss::new(LIMIT));
        let due = Seen::Due(start + LIMIT);
        assert_eq!(loss.see(&ConnectionStatus::Live, start), Seen::Nothing);
        assert_eq!(loss.see(&waiting("reset"), start), due);
        assert_eq!(loss.see(&ConnectionStatus::Connecting, start + SECOND), due);
        assert_eq!(loss.see(&waiting("refused"), start + SECOND * 2), due);
        assert_eq!(loss.see(&waiting("refused"), start + LIMIT), Seen::Lost("refused".into()));
        assert_eq!(loss.see(&ConnectionStatus::Connecting, start + LIMIT * 9), Seen::Nothing);
        assert_eq!(loss.see(&ConnectionStatus::Live, start + LIMIT * 9), Seen::Back(LIMIT * 9));
        let again = start + LIMIT * 10;
        assert_eq!(loss.see(&waiting("reset"), again), Seen::Due(again + LIMIT));
        assert_eq!(loss.see(&waiting("reset"), again + LIMIT), Seen::Lost("reset".into()));
        assert_eq!(loss.number, 2);
    }

    #[test]
    fn an_interruption_shorter_than_the_limit_is_not_told() {
        let (start, mut loss) = (Instant::now(), Loss::new(LIMIT));
        for minute in 0..10 {
            let at = start + LIMIT * minute;
            assert_eq!(loss.see(&ConnectionStatus::Live, at), Seen::Nothing);
            let ended = at + SECOND;
            assert_eq!(loss.see(&ConnectionStatus::Closing, ended), Seen::Due(ended + LIMIT));
        }
    }

    #[test]
    fn a_start_that_takes_long_and_an_end_that_was_asked_for_are_no_losses() {
        let (start, mut loss) = (Instant::now(), Loss::new(LIMIT));
        for status in [ConnectionStatus::Connecting, waiting("refused")] {
            assert_eq!(loss.see(&status, start + LIMIT * 2), Seen::Nothing);
        }
        assert_eq!(loss.see(&ConnectionStatus::Live, start), Seen::Nothing);
        assert_eq!(loss.see(&ConnectionStatus::Closed, start + LIMIT * 2), Seen::Nothing);
    }

    #[test]
    fn what_is_given_up_is_told_at_once() {
        let (start, mut loss) = (Instant::now(), Loss::new(LIMIT));
        assert_eq!(loss.see(&ConnectionStatus::Live, start), Seen::Nothing);
        let failed = ConnectionStatus::Failed { reason: "its task ended".into() };
        assert_eq!(loss.see(&failed, start), Seen::Lost("its task ended".into()));
        assert_eq!(loss.see(&failed, start + LIMIT), Seen::Nothing);
    }
}
