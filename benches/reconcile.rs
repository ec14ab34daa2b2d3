//! How long a start takes that finds many orders of an earlier run still open: each must be taken
//! from the database, compared with the exchange's own list, and booked before new orders are let in.
//!
//! `cargo bench --no-default-features --bench reconcile`, or with `-- --quick` for a smoke run. It is
//! measured beside a start that finds nothing, against the same mock exchange.

mod support;

use std::time::{Duration, Instant};

use exchange_gateway::config::{Config, OnRestart};
use exchange_gateway::types::{NewOrder, OrderStatus, Side};
use exchange_gateway::{Gateway, Outcome};
use support::{current_thread, instrument, is_quick, mock, print_table};

/// Orders that are placed side by side.
const AT_ONCE: usize = 256;

async fn timed_start(config: &Config) -> (Gateway, Duration) {
    let began = Instant::now();
    let gateway = Gateway::start(config.clone()).await.expect("the gateway starts");
    (gateway, began.elapsed())
}

/// A start that finds nothing, and one that finds `count` open orders.
async fn measure(exchange: &str, count: usize) -> (Duration, Duration) {
    let mock = mock(&[exchange], Duration::ZERO);
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut config = support::config(&[mock.venue(exchange).expect("a venue")], &state);
    config.orders.on_restart = OnRestart::Adopt;
    config.orders.queue = 65_536;
    config.shutdown.deadline = Duration::from_secs(120);
    config.shutdown.cancel_pending = Duration::from_secs(100);
    let (gateway, empty) = timed_start(&config).await;
    let price = "20000".parse().expect("a price");
    let quantity = "0.001".parse().expect("a quantity");
    let order = NewOrder::limit(instrument(exchange), Side::Buy, price, quantity);
    for first in (0..count).step_by(AT_ONCE) {
        let batch = (first..count.min(first + AT_ONCE)).map(|_| gateway.orders().submit(order));
        futures::future::try_join_all(batch).await.expect("the orders rest");
    }
    // Its sockets end and its orders stay, as after a kill.
    drop(gateway);
    let (gateway, full) = timed_start(&config).await;
    let open = gateway.orders().unfinished();
    assert_eq!(open.len(), count);
    assert!(open.iter().all(|order| order.status == OrderStatus::Open), "all are compared");
    let report = gateway.shutdown().await;
    assert_eq!(report.outcome, Outcome::Clean, "{:?}", report.failures);
    (empty, full)
}

fn main() {
    let count = if is_quick() { 200 } else { 10_000 };
    let mut rows = Vec::new();
    for exchange in ["binance", "kraken"] {
        let (empty, full) = current_thread().block_on(measure(exchange, count));
        rows.push(vec![
            exchange.to_owned(),
            format!("{} ms", empty.as_millis()),
            format!("{} ms", full.as_millis()),
            format!("{} ms", full.saturating_sub(empty).as_millis()),
        ]);
    }
    println!();
    let with = format!("start with {count} open orders");
    print_table(
        &["Reconcile", "start without orders", &with, "difference (goal < 1000 ms)"],
        &rows,
    );
}
