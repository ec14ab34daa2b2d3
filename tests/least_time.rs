//! The report tells the least time that the measured round trips allow, beside the time used.

mod common;

use std::time::Duration;

use common::{Bench, quiet, rest, within};
use exchange_gateway::shutdown::Outcome;
use mock_exchange::VenueConfig;

const ONE_WAY: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_takes_no_less_than_its_round_trips_which_are_measured() {
    for exchange in ["binance", "deribit", "kraken"] {
        let far = VenueConfig { latency: ONE_WAY, ..quiet() };
        let bench = Bench::start_with(&[exchange], far).await;
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 3).await;
        let report = within(gateway.shutdown()).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        let least = report.least.clone().expect("round trips were measured");
        assert_eq!(least.exchange.as_str(), exchange);
        // The cancels, the unsubscription, the close frames.
        assert_eq!((least.round_trips, least.paced_ms), (3, 0), "{least:?}");
        let round_trip = Duration::from_micros(least.round_trip_us);
        assert!(round_trip >= ONE_WAY * 2, "{least:?}");
        assert_eq!(u128::from(least.least_ms), (round_trip * 3).as_millis());
        assert!(report.elapsed_ms >= 120, "{report:#?}");
        // The shortest of a few may be longer than one of those that were not measured.
        assert!(least.least_ms <= report.elapsed_ms + 5, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_orders_there_is_nothing_to_cancel_and_after_a_drain_nothing_to_close() {
    let far = VenueConfig { latency: ONE_WAY, ..quiet() };
    let bench = Bench::start_with(&["binance", "kraken"], far).await;
    let gateway = bench.gateway().await;
    rest(&gateway, "kraken", 2).await;
    let drained = within(gateway.drain("kraken")).await.expect("it is configured");
    assert_eq!(drained.least.as_ref().map(|least| least.round_trips), Some(3), "{drained:#?}");
    let report = within(gateway.shutdown()).await;
    let least = report.least.as_ref().expect("round trips were measured");
    assert_eq!((least.exchange.as_str(), least.round_trips), ("binance", 2), "{report:#?}");
}
