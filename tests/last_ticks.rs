//! The saved last tick is the last tick delivered, and comes back at the next start.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{BOTH, Bench, SEED, instrument, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::types::{Tick, TickData};
use exchange_gateway::{Delivery, Gateway, MarketEvent, SavedTicks, StartError};
use mock_exchange::{MarketConfig, VenueConfig};

fn is_trade(tick: &Tick) -> bool {
    matches!(tick.data, TickData::Trade(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_is_the_last_that_was_delivered() {
    println!("market seed {SEED}");
    let market = MarketConfig::Seeded { events_per_second: 300.0 };
    let bench = Bench::start_with(BOTH, VenueConfig { market, ..VenueConfig::default() }).await;
    let gateway = bench.gateway().await;
    let instruments: Vec<_> = BOTH.iter().map(|name| instrument(name)).collect();
    let queue = Delivery::Queue { capacity: 100_000 };
    let mut ticks = gateway.subscribe_with(&instruments, queue).expect("they are configured");
    let reading = tokio::spawn(async move {
        let mut last = BTreeMap::new();
        let mut count = 0_u64;
        while let Some(event) = ticks.next().await {
            match event {
                MarketEvent::Tick(tick) => {
                    count += 1;
                    last.insert((tick.instrument, is_trade(&tick)), tick);
                }
                other => panic!("nothing was missed: {other:?}"),
            }
        }
        (last, count)
    });
    common::until("both exchanges tick", || {
        gateway.last_ticks().iter().all(|last| last.count > 100 && last.trade.is_some())
    })
    .await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(report.state.last_ticks, 2);
    // The subscription ends with the freeze, when everything delivered has been read.
    let (delivered, count) = within(reading).await.expect("no panic");
    assert!(count > 50, "{count}");

    let text = fs::read_to_string(gateway.state_directory().last_ticks_file());
    let text = text.expect("it was saved");
    let saved: SavedTicks = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(saved.ticks.len(), 2);
    for last in &saved.ticks {
        assert_eq!(last.trade.as_ref(), delivered.get(&(last.instrument, true)));
        assert_eq!(last.quote.as_ref(), delivered.get(&(last.instrument, false)));
    }
    assert_eq!(gateway.last_ticks(), saved.ticks);

    // The next start tells what this run saved; a start saves nothing by itself.
    let next = bench.gateway().await;
    assert_eq!(next.previous_ticks().expect("there was a run").ticks, saved.ticks);
    assert_eq!(within(next.shutdown()).await.outcome, Outcome::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_written_is_refused_before_anything_is_connected() {
    let mut bench = Bench::start(BOTH).await;
    let in_the_way = bench.state.path().join("file");
    fs::write(&in_the_way, "not a directory").expect("a file");
    bench.config.gateway.state_dir = in_the_way.join("state");
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("not writable");
    assert!(matches!(error, StartError::State(_)), "{error:?}");
    let shown = error.to_string();
    assert!(shown.contains("state_dir") && shown.contains("not writable"), "{shown}");
    let ledger = bench.mock.ledger();
    assert!(ledger.exchanges.values().all(|witness| witness.connections.is_empty()));
    assert!(ledger.exchanges.values().all(|witness| witness.requests.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_named_before_anything_is_connected_and_kept() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    within(gateway.shutdown()).await;
    let file = gateway.state_directory().path().join("gateway.db");
    fs::write(&file, "no database").expect("it can be damaged");
    let before = bench.mock.ledger().exchange("kraken").connections.len();
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("it is damaged");
    assert!(error.to_string().contains("gateway.db"), "{error}");
    assert!(error.to_string().contains("state recover"), "{error}");
    assert_eq!(fs::read_to_string(&file).expect("it is kept"), "no database");
    assert_eq!(bench.mock.ledger().exchange("kraken").connections.len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_cannot_be_saved_at_the_end_is_told_and_closes_everything_all_the_same() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let directory = gateway.state_directory().path().to_owned();
    fs::remove_dir_all(&directory).expect("it is there");
    fs::write(&directory, "in the way").expect("a file");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::StateNotSaved, "{report:#?}");
    assert_eq!(report.outcome.exit_code(), 14);
    assert!(report.state.error.as_deref().is_some_and(|e| e.contains("last-ticks.json")));
    let mut connections = report.exchanges.iter().flat_map(|exchange| &exchange.connections);
    assert!(connections.all(|connection| connection.closed_in_order), "{report:#?}");
}
