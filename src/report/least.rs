//! The least time that a shutdown could have taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::ExchangeName;

/// What the measured round trips allow at best, for the exchange that needs most: its round trips,
/// each as long as the shortest one measured, and what its limits on cancels add. The work of the
/// exchange and of this machine counts as nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeastTime {
    /// Milliseconds.
    pub least_ms: u64,
    /// The exchange that needs most.
    pub exchange: ExchangeName,
    /// The shortest round trip measured on its connections, in microseconds.
    pub round_trip_us: u64,
    /// Round trips that nothing can save: cancels, closing orders, unsubscription, close frames.
    pub round_trips: u32,
    /// Milliseconds that its limits on cancels add, where cancels do not fit into them at once.
    pub paced_ms: u64,
}

/// What one exchange needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) exchange: ExchangeName,
    /// A round trip, if any was measured.
    pub(crate) round_trip: Option<Duration>,
    pub(crate) round_trips: u32,
    /// What its limits on cancels add.
    pub(crate) paced: Duration,
}

impl Need {
    fn time(&self) -> Option<Duration> {
        Some(self.round_trip?.saturating_mul(self.round_trips).saturating_add(self.paced))
    }
}

impl LeastTime {
    /// That of the exchange that needs most; nothing without a measured round trip.
    pub(crate) fn of(needs: impl Iterator<Item = Need>) -> Option<Self> {
        let timed = needs.filter_map(|need| need.time().map(|time| (time, need)));
        let (time, need) = timed.max_by_key(|(time, _)| *time)?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let round_trip = need.round_trip.unwrap_or_default();
        Some(Self {
            least_ms: millis(time),
            exchange: need.exchange,
            round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
            round_trips: need.round_trips,
            paced_ms: millis(need.paced),
        })
    }
}

/// How long requests took to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundTrips {
    /// The shortest.
    pub(crate) shortest: Duration,
    /// A mean in which the latest count most.
    pub(crate) usual: Duration,
}

impl RoundTrips {
    /// These, if there were any, and one more.
    pub(crate) fn and(known: Option<Self>, took: Duration) -> Self {
        let Some(known) = known else { return Self { shortest: took, usual: took } };
        Self { shortest: known.shortest.min(took), usual: (known.usual * 7 + took) / 8 }
    }

    /// The shorter ones of two connections: what a request takes is told best by the one that is
    /// asked least at a time.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { shortest: self.shortest.min(other.shortest), usual: self.usual.min(other.usual) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_is_kept_and_the_usual_follows() {
        let ms = Duration::from_millis;
        let mut all = RoundTrips::and(None, ms(80));
        all = RoundTrips::and(Some(all), ms(160));
        assert_eq!((all.shortest, all.usual), (ms(80), ms(90)));
        all = RoundTrips::and(Some(all), ms(10));
        assert_eq!((all.shortest, all.usual), (ms(10), ms(80)));
    }

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
        let least = LeastTime::of([far, near].into_iter()).unwrap();
        assert_eq!(least.exchange.as_str(), "near");
        assert_eq!((least.least_ms, least.round_trips, least.paced_ms), (503, 3, 500));
        assert_eq!(least.round_trip_us, 1000);
        let near = Need { paced: Duration::ZERO, ..near };
        assert_eq!(LeastTime::of([far, near].into_iter()).unwrap().least_ms, 200);
    }

    #[test]
    fn without_a_measured_round_trip_nothing_is_told() {
        assert_eq!(LeastTime::of([need("silent", None, 3, 500)].into_iter()), None);
        let least =
            LeastTime::of([need("silent", None, 3, 500), need("near", Some(2), 1, 0)].into_iter());
        assert_eq!(least.unwrap().exchange.as_str(), "near");
    }
}
