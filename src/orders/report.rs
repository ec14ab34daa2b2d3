//! What became of an order, in words for the shutdown report.

use tokio::time::Instant;

use super::book::{Cancel, Entry};
use crate::report::{OrderFate, OrderReport};
use crate::types::OrderStatus;

/// The report on one order. `connected` tells whether there was a connection to cancel it over, and
/// `began` when the shutdown began.
pub(super) fn order_report(entry: &Entry, connected: bool, began: Option<Instant>) -> OrderReport {
    let order = &entry.order;
    let cancel = entry.cancel.as_ref();
    let fate = fate(entry);
    let written = cancel.and_then(|cancel| cancel.first_written);
    let confirmed_after_ms = written.zip(entry.ended).and_then(|(from, to)| millis(from, to));
    let since = |at: Option<Instant>| began.zip(at).and_then(|(from, to)| millis(from, to));
    let reason = if fate.is_left() {
        Some(why_left(entry, cancel, connected))
    } else {
        order.reason.clone()
    };
    OrderReport {
        client_id: order.client_id,
        exchange_id: order.exchange_id,
        instrument: order.request.instrument,
        fate,
        status: order.status,
        quantity: order.request.quantity,
        filled: order.filled,
        booked: order.booked,
        cancel_attempts: cancel.map_or(0, |cancel| cancel.attempts),
        cancel_sent_ms: since(written),
        ended_ms: since(entry.ended),
        confirmed_after_ms,
        cancel_path: entry.confirmed_over,
        reason,
    }
}

/// What became of one order; a whole report costs much more.
pub(super) fn fate(entry: &Entry) -> OrderFate {
    match entry.order.status {
        OrderStatus::Filled if entry.closing.is_some() => OrderFate::Filled,
        OrderStatus::Filled => OrderFate::FilledDuringCancel,
        OrderStatus::Canceled => OrderFate::Canceled,
        OrderStatus::Rejected => OrderFate::Rejected,
        OrderStatus::Expired => OrderFate::Expired,
        OrderStatus::NotSent | OrderStatus::Pending => OrderFate::NotSent,
        OrderStatus::Open | OrderStatus::PartiallyFilled if entry.is_kept() => OrderFate::Kept,
        // Meant to be kept, but nobody knows whether it is still there.
        OrderStatus::Open | OrderStatus::PartiallyFilled if entry.cancel.is_none() => {
            OrderFate::Unknown
        }
        OrderStatus::Open | OrderStatus::PartiallyFilled => OrderFate::StillOpen,
        OrderStatus::Sent | OrderStatus::OutcomeUnknown => OrderFate::Unknown,
    }
}

fn millis(from: Instant, to: Instant) -> Option<u64> {
    u64::try_from(to.saturating_duration_since(from).as_millis()).ok()
}

fn why_left(entry: &Entry, cancel: Option<&Cancel>, connected: bool) -> String {
    let mut parts = Vec::new();
    parts.extend(entry.order.reason.clone());
    match cancel {
        Some(cancel) if cancel.attempts > 0 => {
            let answer = cancel.last_answer.as_deref().unwrap_or("no answer");
            parts.push(format!("{} cancels written, last answer: {answer}", cancel.attempts));
        }
        _ => parts.push("no cancel could be written".into()),
    }
    if let Some(failure) = &entry.last_query_failure {
        parts.push(format!("asking failed: {failure}"));
    }
    if !connected {
        parts.push("the trading connection is down".into());
    }
    parts.join("; ")
}
