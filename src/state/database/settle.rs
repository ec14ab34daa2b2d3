//! Ends orders by hand, which their exchange will never settle any more.

use super::{Database, Durability, Record, RunEnd, StateDirectory, StateError};
use crate::types::{Order, OrderStatus, Timestamp};

/// Marks unfinished orders as ended, on the word of a person (or of whoever knows that their
/// exchange is gone): for orders that the exchange had acknowledged and does not know any more, which
/// would otherwise be named as unknown for ever. Single fills that are missing are not asked for
/// any more either. Tells which orders it were. Blocks.
///
/// # Errors
/// As [`Database::open`]; in particular while a gateway uses the directory.
pub fn settle(
    directory: &StateDirectory,
    is_meant: impl Fn(&Order) -> bool,
    status: OrderStatus,
    reason: &str,
) -> Result<Vec<Order>, StateError> {
    let (database, recovered) = Database::open(directory, Durability::Process)?;
    let writer = database.writer();
    let now = Timestamp::now();
    let meant = recovered.orders.into_iter().map(|recovered| recovered.order).filter(is_meant);
    let settled: Vec<_> = meant
        .map(|order| {
            let status = if order.status.is_terminal() { order.status } else { status };
            let (booked, reason) = (order.filled, Some(reason.to_owned()));
            Order { status, booked, reason, updated: now, ..order }
        })
        .collect();
    for order in &settled {
        writer.record(Record::order(order.clone()));
    }
    writer.record(Record::RunEnded(Box::new(RunEnd {
        ended: now,
        trigger: "settled by hand".to_owned(),
        outcome: "settled".to_owned(),
        report: String::new(),
    })));
    let path = database.path().to_owned();
    database.close().map_err(|failure| StateError::Database {
        path,
        what: "cannot settle orders",
        source: Box::new(failure),
    })?;
    Ok(settled)
}
