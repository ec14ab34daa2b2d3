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

use std::time::Duration;

use super::{ExchangeParts, millis};
use crate::report::{LeastTime, PositionReport};
use crate::types::ExchangeName;

/// What one exchange needs.
#[derive(Debug, Clone, Copy)]
struct Need {
    exchange: ExchangeName,
    /// The shortest round trip, if any was measured.
    round_trip: Option<Duration>,
    round_trips: u32,
    paced: Duration,
}

impl Need {
    fn time(&self) -> Option<Duration> {
        Some(self.round_trip?.saturating_mul(self.round_trips).saturating_add(self.paced))
    }
}

/// The least time of the exchange that needs most; nothing without a measured round trip.
pub(super) fn least(
    exchanges: &[std::sync::Arc<ExchangeParts>],
    positions: &[PositionReport],
) -> Option<LeastTime> {
    most(exchanges.iter().map(|exchange| need(exchange, positions)))
}

fn need(exchange: &ExchangeParts, positions: &[PositionReport]) -> Need {
    let records = exchange.connections.iter();
    let measured = records.clone().filter_map(|record| record.round_trip());
    let round_trip = measured.chain(exchange.desk.round_trip()).min();
    let (cancels, paced) = exchange.desk.cancels_needed();
    let closes = positions.iter().any(|position| {
        position.instrument.exchange() == exchange.name && !position.orders.is_empty()
    });
    let connections = records.map(|record| record.closing_trips()).max().unwrap_or_default();
    let round_trips = u32::from(cancels) + u32::from(closes) + connections;
    Need { exchange: exchange.name, round_trip, round_trips, paced }
}

fn most(needs: impl Iterator<Item = Need>) -> Option<LeastTime> {
    let timed = needs.filter_map(|need| need.time().map(|time| (time, need)));
    let (time, need) = timed.max_by_key(|(time, _)| *time)?;
    let round_trip = need.round_trip.unwrap_or_default();
    Some(LeastTime {
        least_ms: millis(time),
        exchange: need.exchange,
        round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
        round_trips: need.round_trips,
        paced_ms: millis(need.paced),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str, round_trip_ms: Option<u64>, round_trips: u32, paced_ms: u64) -> Need {
        Need {
            exchange: ExchangeName::new(name).unwrap(),
            round_trip: round_trip_ms.map(Duration::from_millis),
            round_trips,
            paced: Duration::from_millis(paced_ms),
        }
    }

    #[test]
    fn the_exchange_that_needs_most_counts_with_its_round_trips_and_its_limits() {
        let far = need("far", Some(100), 2, 0);
        let near = need("near", Some(1), 3, 500);
        let least = most([far, near].into_iter()).unwrap();
        assert_eq!(least.exchange.as_str(), "near");
        assert_eq!((least.least_ms, least.round_trips, least.paced_ms), (503, 3, 500));
        assert_eq!(least.round_trip_us, 1000);
        let near = Need { paced: Duration::ZERO, ..near };
        assert_eq!(most([far, near].into_iter()).unwrap().least_ms, 200);
    }

    #[test]
    fn without_a_measured_round_trip_nothing_is_told() {
        assert_eq!(most([need("silent", None, 3, 500)].into_iter()), None);
        let least = most([need("silent", None, 3, 500), need("near", Some(2), 1, 0)].into_iter());
        assert_eq!(least.unwrap().exchange.as_str(), "near");
    }
}
