//! The time of a shutdown beside the least that it can take, for 1, 10 and 100 exchanges, 10, 1,000
//! and 10,000 open orders in all, and links of 1, 20 and 100 ms each way.
//!
//! `cargo bench --bench shutdown_matrix`, about five minutes on a machine that does nothing else; with
//! `-- --quick` a smoke run of seconds, with `-- 1/10000/20` only the cell of one connection, 10,000
//! orders and 20 ms.
//!
//! Every exchange has two connections, one for market data and one for orders; the table counts
//! those for orders, so that 100 are 200 sockets. The least is three round trips over the link (the
//! cancels, the unsubscription, the close frames) and what a bare client needs beyond one round trip
//! to send the cancels of the same orders to the same mock and to read the end of each. The mock runs
//! on a thread of its own in this process.

#[path = "support/floor.rs"]
mod floor;
mod support;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use exchange_gateway::types::{NewOrder, Side};
use exchange_gateway::{Gateway, Outcome, ShutdownReport};
use floor::Floor;
use futures::future::join_all;
use mock_exchange::{Limits, MockConfig, MockExchange, Venue, VenueConfig};
use support::{current_thread, exchange_named, instrument, is_quick, median, print_table};
use tokio::sync::oneshot;

const ROUND_TRIPS: u32 = 3;
/// Orders that are placed side by side.
const AT_ONCE: usize = 2_000;

/// How the orders are cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The accounts are the gateway's alone: one request an exchange. Binance and Kraken in turn.
    Mass,
    /// They are not: Kraken's batches of 50.
    Batches,
}

impl Way {
    fn exchange(self, index: usize) -> &'static str {
        if self == Self::Batches || index.is_multiple_of(2) { "kraken" } else { "binance" }
    }
}

#[derive(Clone, Copy)]
struct Cell {
    way: Way,
    exchanges: usize,
    orders: usize,
    one_way: Duration,
}

impl Cell {
    /// Orders of one of the exchanges; the first ones have one more if they cannot share evenly.
    fn orders_of(self, index: usize) -> usize {
        self.orders / self.exchanges + usize::from(index < self.orders % self.exchanges)
    }

    /// How long nothing happens between the placing of the orders and what is measured.
    fn rest(self) -> Duration {
        let each = Duration::from_micros(30);
        self.one_way * 2 + Duration::from_millis(5) + each * u32::try_from(self.orders).unwrap_or(0)
    }
}

/// The mocks of a cell, on a thread of their own.
struct Mocks {
    venues: Vec<Venue>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mocks {
    fn start(cell: Cell) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            current_thread().block_on(async {
                let mut mocks = Vec::new();
                for index in 0..cell.exchanges {
                    let venue = VenueConfig {
                        latency: cell.one_way,
                        limits: Limits::Off,
                        heartbeat: None,
                        queue_frames: 100_000,
                        ..VenueConfig::quiet()
                    };
                    let is_kraken = cell.way.exchange(index) == "kraken";
                    let (binance, kraken) =
                        if is_kraken { (None, Some(venue)) } else { (Some(venue), None) };
                    let config = MockConfig { seed: 7, binance, kraken, ..MockConfig::default() };
                    mocks.push(MockExchange::start(config).await.expect("the mock starts"));
                }
                let venues = mocks.iter().flat_map(MockExchange::venues).collect::<Vec<_>>();
                sender.send(venues).expect("the bench waits for the mocks");
                let _ = ended.await;
            });
        });
        let venues = receiver.recv().expect("the mocks start");
        Self { venues, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Mocks {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the mocks end");
        }
    }
}

/// A bare client on each exchange, all at once: the time from the first cancel to the last answer.
async fn bare(cell: Cell, venues: &[Venue]) -> Duration {
    let clients = venues.iter().enumerate().map(|(index, venue)| async move {
        let mut client = Floor::start(venue).await;
        let mut placed = Vec::new();
        while placed.len() < cell.orders_of(index) {
            let more = AT_ONCE.min(cell.orders_of(index) - placed.len());
            placed.extend(client.place_all(more).await);
        }
        // The mail of the orders is not to be read with that of the cancels.
        tokio::time::sleep(cell.rest()).await;
        client.drain(3).await;
        (client, placed)
    });
    let mut clients = join_all(clients).await;
    let began = Instant::now();
    join_all(
        clients
            .iter_mut()
            .filter(|(_, placed)| !placed.is_empty())
            .map(|(client, placed)| client.cancel_everything(placed)),
    )
    .await;
    began.elapsed()
}

async fn shut_down(cell: Cell, venues: &[Venue]) -> (Duration, Arc<ShutdownReport>) {
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut config = support::config(&[], &state);
    config.orders.queue = AT_ONCE * 2;
    let name = |index: usize| format!("{}{index}", cell.way.exchange(index));
    for (index, venue) in venues.iter().enumerate() {
        let mut exchange = exchange_named(venue, &name(index));
        exchange.account_is_ours = cell.way == Way::Mass;
        config.exchanges.push(exchange);
    }
    let gateway = Gateway::start(config).await.expect("the gateway starts");
    let price = "20000".parse().expect("a price");
    let quantity = "0.01".parse().expect("a quantity");
    let (gateway_orders, name) = (gateway.orders(), &name);
    let placing = (0..cell.exchanges).map(|index| async move {
        let order = NewOrder::limit(instrument(&name(index)), Side::Buy, price, quantity);
        let mut left = cell.orders_of(index);
        while left > 0 {
            let now = left.min(AT_ONCE);
            let submitted = (0..now).map(|_| gateway_orders.submit(order));
            for placed in join_all(submitted).await {
                placed.expect("the order rests");
            }
            left -= now;
        }
    });
    join_all(placing).await;
    // Nor are they still to be stored, as orders are that rest for a while.
    tokio::time::sleep(cell.rest()).await;
    let began = Instant::now();
    let report = gateway.shutdown().await;
    let elapsed = began.elapsed();
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for venue in venues {
        assert_eq!(venue.ledger().open_orders.len(), 0);
    }
    let told: usize = report.exchanges.iter().map(|exchange| exchange.orders.len()).sum();
    assert_eq!(told, cell.orders);
    (elapsed, report)
}

struct Measured {
    cell: Cell,
    bound: Duration,
    gateway: Duration,
    /// Of the run in the middle.
    phases: Vec<String>,
}

impl Measured {
    fn ratio(&self) -> f64 {
        self.gateway.as_secs_f64() / self.bound.as_secs_f64()
    }

    fn meets_goal(&self) -> bool {
        self.gateway <= self.bound.mul_f64(1.2) + Duration::from_millis(10)
    }

    fn row(&self) -> Vec<String> {
        let millis = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
        let Cell { exchanges, orders, one_way, .. } = self.cell;
        vec![
            exchanges.to_string(),
            orders.to_string(),
            millis(one_way),
            millis(self.bound),
            millis(self.gateway),
            format!("{:.2}", self.ratio()),
            if self.meets_goal() { "yes" } else { "no" }.to_owned(),
        ]
    }
}

const HEAD: [&str; 7] =
    ["connections", "orders", "delay", "bound", "measured", "ratio", "goal met"];

fn measure(cell: Cell, rounds: usize) -> Measured {
    let mocks = Mocks::start(cell);
    let (mut bares, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bares.push(current_thread().block_on(bare(cell, &mocks.venues)));
        runs.push(current_thread().block_on(shut_down(cell, &mocks.venues)));
    }
    let transfer = median(&bares).saturating_sub(cell.one_way * 2);
    let gateway = median(&runs.iter().map(|(elapsed, _)| *elapsed).collect::<Vec<_>>());
    let report = runs.iter().find(|(elapsed, _)| *elapsed == gateway).map(|(_, report)| report);
    let phases = report.into_iter().flat_map(|report| &report.phases);
    let phases = phases.map(|phase| format!("{} {}", phase.phase, phase.used_ms)).collect();
    Measured { cell, bound: cell.one_way * 2 * ROUND_TRIPS + transfer, gateway, phases }
}

fn table(way: Way, exchanges: &[usize], orders: &[usize], delays: &[u64], rounds: usize) {
    let mut rows = Vec::new();
    for &exchanges in exchanges {
        for &orders in orders {
            for &delay in delays {
                if !is_wanted(&format!("{exchanges}/{orders}/{delay}")) {
                    continue;
                }
                let one_way = Duration::from_millis(delay);
                // A busy disk or processor shows most where little time is needed.
                let rounds = if delay == 1 { rounds * 2 - 1 } else { rounds };
                let measured = measure(Cell { way, exchanges, orders, one_way }, rounds);
                println!("{} ({})", measured.row().join(" "), measured.phases.join(", "));
                rows.push(measured);
            }
        }
    }
    println!();
    print_table(&HEAD, &rows.iter().map(Measured::row).collect::<Vec<_>>());
    let met = rows.iter().filter(|row| row.meets_goal()).count();
    println!("\n{met} of {} within 1.2 times the bound and 10 ms.\n", rows.len());
}

/// Whether a cell was named, or none was.
fn is_wanted(cell: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| argument.contains('/')).peekable();
    named.peek().is_none() || named.any(|name| name == cell)
}

fn main() {
    let (exchanges, orders, delays, rounds): (&[usize], &[usize], &[u64], _) = if is_quick() {
        (&[1, 4], &[10, 200], &[1], 1)
    } else {
        (&[1, 10, 100], &[10, 1_000, 10_000], &[1, 20, 100], 3)
    };
    println!(
        "\nOne request cancels all orders of an exchange; medians of at least {rounds} runs\n"
    );
    table(Way::Mass, exchanges, orders, delays, rounds);
    println!("\nBatches of 50 cancels; medians of at least {rounds} runs\n");
    table(Way::Batches, &exchanges[..1], orders, delays, rounds);
}
