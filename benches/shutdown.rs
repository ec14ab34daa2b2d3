//! A shutdown with 1,000 open orders on each exchange over links of 20 ms each way, beside the
//! least that the protocols allow and beside a bare client that only cancels.
//!
//! `cargo bench --bench shutdown`, or with `-- --quick` for a smoke run with few orders.

#[path = "support/floor.rs"]
mod floor;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange_gateway::types::{NewOrder, Side};
use exchange_gateway::{Gateway, Outcome, ShutdownReport};
use floor::Floor;
use futures::future::join_all;
use support::{current_thread, instrument, is_quick, median, mock, print_table};

const EXCHANGES: [&str; 2] = ["binance", "kraken"];
const ONE_WAY: Duration = Duration::from_millis(20);

/// Round trips that nothing can save: the cancels side by side, then the unsubscription, then the
/// close frames. Each must be answered before the next is written.
const ROUND_TRIPS: [&str; 3] = ["cancels", "unsubscription", "close"];

/// A bare client on each exchange, both at once: the time from the first cancel to the last answer.
async fn cancel_only(orders: usize) -> Duration {
    let mock = mock(&EXCHANGES, ONE_WAY);
    let mut clients = Vec::new();
    for venue in mock.venues() {
        let mut client = Floor::start(&venue).await;
        let placed = client.place_all(orders).await;
        clients.push((client, placed));
    }
    let began = Instant::now();
    join_all(clients.iter_mut().map(|(client, placed)| client.cancel_all(placed))).await;
    began.elapsed()
}

async fn shut_down(orders: usize) -> (Duration, Arc<ShutdownReport>) {
    let mock = mock(&EXCHANGES, ONE_WAY);
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut config = support::config(&mock.venues(), &state);
    config.orders.queue = orders.max(1);
    let gateway = Gateway::start(config).await.expect("the gateway starts");
    let price = "20000".parse().expect("a price");
    let quantity = "0.01".parse().expect("a quantity");
    let order = |exchange| NewOrder::limit(instrument(exchange), Side::Buy, price, quantity);
    for exchange in EXCHANGES {
        let submitted = (0..orders).map(|_| gateway.orders().submit(order(exchange)));
        for placed in join_all(submitted).await {
            placed.expect("the order rests");
        }
    }
    let began = Instant::now();
    let report = gateway.shutdown().await;
    let elapsed = began.elapsed();
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in EXCHANGES {
        let ledger = mock.venue(exchange).expect("a venue").ledger();
        assert_eq!(ledger.open_orders.len(), 0, "{exchange}");
        assert_eq!(ledger.orders.len(), orders, "{exchange}");
    }
    (elapsed, report)
}

fn main() {
    let (orders, rounds) = if is_quick() { (50, 1) } else { (1000, 9) };
    let (mut bare, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(current_thread().block_on(cancel_only(orders)));
        runs.push(current_thread().block_on(shut_down(orders)));
    }
    let used = |at: usize| {
        median(&runs.iter().map(|(_, report)| report.phases[at].used_ms).collect::<Vec<_>>())
    };
    let phases = runs[0].1.phases.iter().map(|phase| phase.phase).enumerate();
    let rows: Vec<_> =
        phases.map(|(at, phase)| vec![phase.to_string(), format!("{} ms", used(at))]).collect();
    println!("\n{orders} open orders on each of {EXCHANGES:?}, {rounds} runs, medians\n");
    print_table(&["Phase", "used"], &rows);

    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let round_trip = ONE_WAY * 2;
    let trips = u32::try_from(ROUND_TRIPS.len()).expect("few");
    let least = round_trip * trips;
    let bare = median(&bare);
    // What the bare client needs beyond its round trip is the exchanges' own work.
    let rest = round_trip * (trips - 1);
    let floor = bare + rest;
    let elapsed = median(&runs.iter().map(|(elapsed, _)| *elapsed).collect::<Vec<_>>());
    println!();
    print_table(
        &[
            "Shutdown",
            "round trips alone",
            "bare client's cancels + the other round trips",
            "gateway",
            "ratio to the bare client",
        ],
        &[vec![
            format!("{orders} orders on each exchange, 20 ms each way"),
            format!("{:.0} ms ({})", millis(least), ROUND_TRIPS.join(", ")),
            format!("{:.0} ms ({:.0} + {:.0})", millis(floor), millis(bare), millis(rest)),
            format!("{:.0} ms", millis(elapsed)),
            format!("{:.2}", millis(elapsed) / millis(floor)),
        ]],
    );
}
