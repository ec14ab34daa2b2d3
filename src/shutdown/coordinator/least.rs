//! The least time that the measured round trips allow.
//!
//! Some round trips nothing can save, because what comes after needs their answers: the cancels,
//! side by side; then the closing orders, side by side, sized by what the cancels left; then, after
//! the last tick is saved, on each connection the unsubscription and the close frames. Each is taken
//! as long as the shortest one that was measured on the exchange's connections since the gateway
//! started: from an order to the first word on it, from a subscription or its end to the
//! acknowledgement. Pongs do not count: something nearer than the exchange's own program may send
//! them. To that come the waits that the exchange's limits on cancels force
//! even if nothing else uses them. Exchanges are worked on side by side, so the one that needs most
//! counts. The exchange's own work, and all of this machine's, count as nothing.

use std::sync::Arc;

use super::ExchangeParts;
use crate::report::{LeastTime, Need, PositionReport};

/// The least time of the exchange that needs most; nothing without a measured round trip.
pub(super) fn least(
    exchanges: &[Arc<ExchangeParts>],
    positions: &[PositionReport],
) -> Option<LeastTime> {
    LeastTime::of(exchanges.iter().map(|exchange| need(exchange, positions)))
}

fn need(exchange: &ExchangeParts, positions: &[PositionReport]) -> Need {
    let round_trip = exchange.round_trips().map(|measured| measured.shortest);
    let (cancels, paced) = exchange.desk.cancels_needed();
    let closes = positions.iter().any(|position| {
        position.instrument.exchange() == exchange.name && !position.orders.is_empty()
    });
    let connections = exchange.connections.iter().map(|record| record.closing_trips());
    let round_trips =
        u32::from(cancels) + u32::from(closes) + connections.max().unwrap_or_default();
    Need { exchange: exchange.name, round_trip, round_trips, paced }
}
