//! What the state database costs, beside a bare SQLite commit in the same run.
//!
//! `cargo bench --no-default-features --bench state [-- --orders 1000000]` prints one Markdown
//! table. Everything happens in a temporary directory (`TMPDIR` chooses the disk) and ends by itself.

#![allow(missing_docs, clippy::unwrap_used, reason = "a program that may stop where it fails")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use exchange_gateway::StateDirectory;
use exchange_gateway::state::{Database, Durability, Record};
use exchange_gateway::types::{NewOrder, Order, OrderStatus, Side, Timestamp};

const SINGLE: usize = 5_000;
const BURST: usize = 10_000;
const BURSTS: usize = 10;

fn order(number: usize, status: OrderStatus) -> Order {
    let instrument = "binance:BTC-USDT".parse().unwrap();
    let price = "64123.10".parse().unwrap();
    let now = Timestamp::now();
    Order {
        client_id: format!("gw1a2b3c{number:08}").parse().unwrap(),
        exchange_id: None,
        request: NewOrder::limit(instrument, Side::Buy, price, "0.00125".parse().unwrap()),
        status,
        filled: "0".parse().unwrap(),
        booked: "0".parse().unwrap(),
        reason: None,
        created: now,
        updated: now,
    }
}

struct Latency {
    p50: f64,
    p99: f64,
}

fn latency(mut samples: Vec<Duration>) -> Latency {
    samples.sort_unstable();
    let at = |part: f64| {
        samples[((samples.len() - 1) as f64 * part) as usize].as_nanos() as f64 / 1000.0
    };
    Latency { p50: at(0.5), p99: at(0.99) }
}

/// One insert of about the same size in one transaction, on this thread, with nothing around it.
fn bare_commits(durability: Durability) -> Latency {
    let directory = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(directory.path().join("bare.db")).unwrap();
    let synchronous = if durability == Durability::Power { "FULL" } else { "NORMAL" };
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
             PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE t (id TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID;"
        ))
        .unwrap();
    let mut insert = connection.prepare("INSERT INTO t VALUES (?, ?)").unwrap();
    let body = "x".repeat(200);
    let samples = (0..SINGLE)
        .map(|number| {
            let began = Instant::now();
            insert.execute((format!("gw1a2b3c{number:08}"), &body)).unwrap();
            began.elapsed()
        })
        .collect();
    latency(samples)
}

fn single_intents(durability: Durability) -> Latency {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (database, _) = Database::open(&state, durability).unwrap();
    let writer = database.writer();
    let (sender, receiver) = mpsc::sync_channel(1);
    let samples = (0..SINGLE)
        .map(|number| {
            let order = Box::new(order(number, OrderStatus::Pending));
            let sender = sender.clone();
            let began = Instant::now();
            let then = Box::new(move |result: Result<(), _>| {
                result.unwrap();
                sender.send(began.elapsed()).unwrap();
            });
            writer.intend(order, then).unwrap();
            receiver.recv().unwrap()
        })
        .collect();
    database.close().unwrap();
    latency(samples)
}

/// Orders a second over whole bursts, each from its first record to its last commit.
fn burst(durability: Durability) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (database, _) = Database::open(&state, durability).unwrap();
    let writer = database.writer();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut took = Duration::ZERO;
    for round in 0..BURSTS {
        let orders: Vec<Order> =
            (0..BURST).map(|number| order(round * BURST + number, OrderStatus::Pending)).collect();
        let began = Instant::now();
        for order in orders {
            writer.record(Record::order(order));
        }
        runtime.block_on(writer.flush()).unwrap();
        took += began.elapsed();
    }
    database.close().unwrap();
    (BURST * BURSTS) as f64 / took.as_secs_f64()
}

/// The time to open a database of many ended orders and a thousand open ones, and its size.
fn recovery(orders: usize) -> (f64, f64, usize) {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (database, _) = Database::open(&state, Durability::Process).unwrap();
    let writer = database.writer();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for number in 0..orders {
        let open = number % (orders / 1000).max(1) == 0;
        let status = if open { OrderStatus::Open } else { OrderStatus::Filled };
        writer.record(Record::order(order(number, status)));
        if number % 8192 == 0 {
            runtime.block_on(writer.flush()).unwrap();
        }
    }
    database.close().unwrap();
    let size = directory.path().join("gateway.db").metadata().unwrap().len();
    let began = Instant::now();
    let (database, recovered) = Database::open(&state, Durability::Process).unwrap();
    let took = began.elapsed().as_secs_f64();
    database.close().unwrap();
    (took, size as f64 / 1e6, recovered.orders.len())
}

fn main() {
    // `cargo bench` adds an option of its own.
    let mut arguments = std::env::args().skip_while(|argument| argument != "--orders");
    let orders = arguments.nth(1).map_or(1_000_000, |number| number.parse().unwrap());
    println!("| What | process | power |");
    println!("|---|---:|---:|");
    let show = |what: &str, process: String, power: String| {
        println!("| {what} | {process} | {power} |");
    };
    let both = [Durability::Process, Durability::Power];
    let [process, power] = both.map(bare_commits);
    let times = |latency: &Latency| format!("{:.1} / {:.1}", latency.p50, latency.p99);
    show("bare SQLite commit, µs p50 / p99", times(&process), times(&power));
    let [process, power] = both.map(single_intents);
    show("`intend` to its callback, µs p50 / p99", times(&process), times(&power));
    let [process, power] = both.map(burst).map(|rate| format!("{rate:.0}"));
    show("orders/s in bursts of 10,000", process, power);
    let (took, size, open) = recovery(orders);
    let what = format!("opening {orders} orders ({size:.0} MB, {open} open), s");
    show(&what, format!("{took:.2}"), String::from("the same"));
}
