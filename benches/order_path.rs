//! Orders from a bot over the state database to the exchange's answer, beside a bare client that writes the same signed
//! request and waits for the same answer.
//!
//! `cargo bench --bench order_path`, or with `-- --quick` for a smoke run. Gateway and bare client
//! take turns, each against a mock exchange of its own, which `criterion` cannot arrange.

#[path = "support/floor.rs"]
mod floor;
mod support;

use std::sync::Arc;
use std::time::Duration;

use exchange_gateway::state::Durability;
use exchange_gateway::types::{NewOrder, OrderStatus, Side};
use exchange_gateway::{Environment, Gateway, Outcome};
use floor::{Floor, NotedConnector, WriteClock, timed};
use support::{current_thread, instrument, is_quick, median, mock, print_table, quantile};

/// Turns of the runtime between samples, so that what trails behind one does not disturb the next.
const TURNS: usize = 50;

/// Times of one side, in microseconds.
#[derive(Default)]
struct Times {
    written: Vec<f64>,
    answered: Vec<f64>,
}

impl Times {
    fn add(&mut self, written: Duration, answered: Duration) {
        self.written.push(written.as_secs_f64() * 1e6);
        self.answered.push(answered.as_secs_f64() * 1e6);
    }
}

async fn measure(exchange: &str, durability: Durability, rounds: usize) -> (Times, Times) {
    let (beside, with) = (mock(&[exchange], Duration::ZERO), mock(&[exchange], Duration::ZERO));
    let mut floor = Floor::start(&beside.venue(exchange).expect("a venue")).await;
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut config = support::config(&[with.venue(exchange).expect("a venue")], &state);
    config.gateway.durability = durability;
    let clock = WriteClock::new();
    let noted = clock.clone();
    let mut environment = Environment::system();
    environment.connector = Arc::new(move |_| Ok(Arc::new(NotedConnector(noted.clone())) as _));
    let gateway = Gateway::start_in(config, environment).await.expect("the gateway starts");
    let price = "20000".parse().expect("a price");
    let quantity = "0.01".parse().expect("a quantity");
    let order = NewOrder::limit(instrument(exchange), Side::Buy, price, quantity);

    let (mut of_floor, mut of_gateway) = (Times::default(), Times::default());
    let warm_up = rounds / 10;
    for round in 0..warm_up + rounds {
        let floor_clock = floor.clock.clone();
        let (id, written, answered) = timed(&floor_clock, floor.place()).await;
        floor.cancel(&id).await;
        floor.drain(TURNS).await;
        if round >= warm_up {
            of_floor.add(written, answered);
        }
        let submitted = gateway.orders().submit(order);
        let (placed, written, answered) = timed(&clock, submitted).await;
        let placed = placed.expect("the order is taken in");
        let ended =
            gateway.orders().cancel(placed.client_id).await.expect("the cancel is taken in");
        assert_eq!(ended.status, OrderStatus::Canceled);
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        if round >= warm_up {
            of_gateway.add(written, answered);
        }
    }
    let report = gateway.shutdown().await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    (of_floor, of_gateway)
}

fn main() {
    let rounds = if is_quick() { 50 } else { 2000 };
    let mut rows = Vec::new();
    let cases = [
        ("binance", Durability::Process),
        ("kraken", Durability::Process),
        ("binance", Durability::Power),
        ("kraken", Durability::Power),
    ];
    for (exchange, durability) in cases {
        let measured = measure(exchange, durability, rounds);
        let (floor, gateway) = current_thread().block_on(measured);
        let stored = durability.as_str();
        for (what, floor, gateway) in [
            ("submit to written", &floor.written, &gateway.written),
            ("submit to answer", &floor.answered, &gateway.answered),
        ] {
            rows.push(vec![
                format!("{exchange}, {what}, durability {stored}"),
                format!("{:.1} µs", median(floor)),
                format!("{:.1} µs", median(gateway)),
                format!("{:.2}", median(gateway) / median(floor)),
                format!("{:.1} / {:.1} µs", quantile(floor, 0.99), quantile(gateway, 0.99)),
            ]);
        }
    }
    println!();
    print_table(
        &["Orders, medians", "bare client", "gateway", "ratio (goal ≤ 1.5)", "99 % below"],
        &rows,
    );
}
