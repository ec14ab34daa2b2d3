//! What became of an order, in words for the shutdown report.

use super::book::{Cancel, Entry};
use crate::report::{OrderFate, OrderReport};
use crate::types::OrderStatus;

/// The report on one order. `connected` tells whether there was a connection to cancel it over.
pub(super) fn order_report(entry: &Entry, connected: bool) -> OrderReport {
    let order = &entry.order;
    let cancel = entry.cancel.as_ref();
    let fate = match order.status {
        OrderStatus::Filled if entry.closing.is_some() => OrderFate::Filled,
        OrderStatus::Filled => OrderFate::FilledDuringCancel,
        OrderStatus::Canceled => OrderFate::Canceled,
        OrderStatus::Rejected => OrderFate::Rejected,
        OrderStatus::Expired => OrderFate::Expired,
        OrderStatus::NotSent | OrderStatus::Pending => OrderFate::NotSent,
        OrderStatus::Open | OrderStatus::PartiallyFilled if entry.is_kept() => OrderFate::Kept,
        // Meant to be kept, but nobody knows whether it is still there.
        OrderStatus::Open | OrderStatus::PartiallyFilled if cancel.is_none() => OrderFate::Unknown,
        OrderStatus::Open | OrderStatus::PartiallyFilled => OrderFate::StillOpen,
        OrderStatus::Sent | OrderStatus::OutcomeUnknown => OrderFate::Unknown,
    };
    let confirmed_after_ms = cancel
        .and_then(|cancel| cancel.first_written)
        .zip(entry.ended)
        .map(|(written, ended)| ended.saturating_duration_since(written))
        .and_then(|time| u64::try_from(time.as_millis()).ok());
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
        confirmed_after_ms,
        cancel_path: entry.confirmed_over,
        reason,
    }
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
