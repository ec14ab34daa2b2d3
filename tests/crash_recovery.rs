//! `kill -9` at any moment, again and again: the next start finds every order that was ever put on a
//! wire and settles it with its exchange. The bot that is killed is this test program, started
//! again; the exchanges live on in this one and are the witnesses.
//!
//! `CRASH_ROUNDS=1000 CRASH_SEED=7 cargo test --test crash_recovery -- --nocapture` runs longer.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use common::judge::written_once;
use common::{BOTH, Bench, PATIENCE, instrument, resting, symbol, within};
use exchange_gateway::config::{Config, OnRestart};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::state::{BookedFill, StateView, verify};
use exchange_gateway::types::{Instrument, NewOrder, Order, OrderStatus, Side};
use exchange_gateway::{Gateway, OrderError};
use mock_exchange::{ExchangeLedger, Fault, FaultAction, Ledger};
use rust_decimal::Decimal;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const CONFIG: &str = "CRASH_CONFIG";
const SEED: &str = "CRASH_SEED";
const ROUNDS: &str = "CRASH_ROUNDS";

/// Kills in a row unless `CRASH_ROUNDS` says otherwise.
const DEFAULT_ROUNDS: usize = 100;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A line in one write: whoever reads it may kill this process at any moment.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("the parent reads");
}

/// The bot that is killed. As a test of its own it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_bot_that_is_killed() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let mut random = fastrand::Rng::with_seed(variable(SEED).expect("the parent gives a seed"));
    let config = Config::from_file(config).expect("the parent writes it");
    let gateway = Gateway::start(config).await.expect("it starts");
    say("live");
    let mut open: Vec<Order> = gateway.orders().unfinished();
    let orders = random.usize(4..24);
    let mut cancels = tokio::task::JoinSet::new();
    for number in 0..orders {
        let exchange = BOTH[random.usize(..BOTH.len())];
        match random.u32(..6) {
            // In flight: nobody waits for the answer.
            0 | 1 => match gateway.orders().submit_nowait(order(exchange, &mut random)) {
                Ok(_) => say("taken"),
                Err(OrderError::NotConnected { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            2 if !open.is_empty() => {
                let id = open.swap_remove(random.usize(..open.len())).id();
                let orders = gateway.orders().clone();
                cancels.spawn(async move { orders.cancel(id).await.is_ok() });
                say("cancelling");
            }
            _ => match gateway.orders().submit(order(exchange, &mut random)).await {
                Ok(order) => {
                    say(&format!("acknowledged {number}"));
                    open.push(order);
                }
                Err(
                    OrderError::NotConnected { .. }
                    | OrderError::NotSent { .. }
                    | OrderError::OutcomeUnknown { .. },
                ) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }
    say("stopping");
    let report = gateway.shutdown().await;
    say(&format!("stopped {:?}", report.outcome));
    // Be killed while doing nothing.
    tokio::time::sleep(PATIENCE).await;
}

/// One that rests, one that fills at once, or one that does either.
fn order(exchange: &str, random: &mut fastrand::Rng) -> NewOrder {
    let quantity = Decimal::new(random.i64(1..40), 3).to_string().parse().expect("a quantity");
    let limit = |price: &str| {
        let price = price.parse().expect("a price");
        NewOrder::limit(instrument(exchange), Side::Buy, price, quantity)
    };
    match random.u32(..4) {
        0 => limit("60001"),
        1 => limit("60001").immediate_or_cancel(),
        _ => resting(exchange),
    }
}

/// What a round waits for before it kills, beside a random moment more.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Nothing: the process may not even have started.
    Anytime,
    /// The bot has said this.
    Said(&'static str),
    /// The exchange has seen one more order.
    Seen,
    /// The exchange has seen one more cancel.
    Cancelled,
}

const MOMENTS: [Moment; 8] = [
    Moment::Anytime,
    Moment::Said("live"),
    Moment::Said("taken"),
    Moment::Seen,
    Moment::Said("acknowledged"),
    Moment::Cancelled,
    Moment::Said("stopping"),
    Moment::Said("stopped"),
];

/// A bot's process.
struct Bot {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Bot {
    fn start(config: &std::path::Path, keys: &[(String, String)], seed: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "the_bot_that_is_killed", "--nocapture"]);
        command.env(CONFIG, config).env(SEED, seed.to_string()).envs(keys.iter().cloned());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// Waits until it has said a line that begins so, or has ended a run without that.
    async fn says(&mut self, beginning: &str) {
        while let Some(line) = within(self.lines.next_line()).await.expect("text") {
            if line.starts_with(beginning) || line.starts_with("stopped") {
                return;
            }
        }
    }

    /// Kills it; tells what it said of its own accord if it ended before.
    async fn kill(mut self) -> Option<String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let output = self.child.wait_with_output().await.expect("its output");
            return Some(format!("{status}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        self.child.start_kill().expect("it can be killed");
        self.child.wait().await.expect("it ends");
        None
    }
}

/// Waits for the ledger, but not for ever: the bot may have nothing to do with it any more.
async fn seen(bench: &Bench, wanted: impl Fn(&Ledger) -> bool + Send) {
    let limit = Duration::from_millis(300);
    // Nothing to see is a kill at another moment.
    let _ = bench.mock.wait_for(wanted, limit).await;
}

fn count(ledger: &Ledger, of: impl Fn(&ExchangeLedger) -> usize) -> usize {
    ledger.exchanges.values().map(of).sum()
}

/// The configuration of the bots as a file, with the variables of their keys.
fn file(bench: &Bench, on_restart: OnRestart) -> (String, Vec<(String, String)>) {
    let directory = bench.config.gateway.state_dir.display();
    let mut text = format!(
        "[gateway]\nstate_dir = \"{directory}\"\nsave_every = \"20ms\"\n[shutdown]\n\
         cancel_retry = \"200ms\"\n[orders]\nquery_retry = \"200ms\"\non_restart = \"{}\"\n",
        on_restart.as_str()
    );
    let mut keys = Vec::new();
    for exchange in &bench.config.exchanges {
        let (name, endpoints) = (exchange.name, exchange.endpoints());
        let (key, secret) = (format!("CRASH_{name}_KEY"), format!("CRASH_{name}_SECRET"));
        let section = format!(
            "[exchanges.{name}]\nmarket_url = \"{}\"\ntrading_url = \"{}\"\nhttp_url = \"{}\"\n\
             instruments = [\"BTC-USDT\"]\napi_key_env = \"{key}\"\napi_secret_env = \"{secret}\"\n",
            endpoints.market, endpoints.trading, endpoints.http
        );
        text += &section;
        let credentials = bench.venue(name.as_str()).credentials();
        keys.extend([(key, credentials.api_key), (secret, credentials.api_secret)]);
    }
    (text, keys)
}

/// Makes the market move, and the exchanges forget an answer now and then.
fn disturb(bench: &Bench, random: &mut fastrand::Rng) {
    let exchange = BOTH[random.usize(..BOTH.len())];
    let venue = bench.venue(exchange);
    let (price, one) = (Decimal::from(60_000), Decimal::ONE);
    venue.set_quote(symbol(exchange), price, one, price + one, one).expect("the market moves");
    if random.bool() {
        // Somebody sells to the resting orders, also while no bot lives.
        let quantity = Decimal::new(random.i64(1..30), 3);
        let price = Decimal::from(20_000);
        venue.trade(symbol(exchange), mock_exchange::Side::Sell, price, quantity).expect("a trade");
    }
    if random.u32(..4) == 0 {
        let actions = [FaultAction::LoseAck, FaultAction::LoseUpdates, FaultAction::LoseCancelAck];
        let action = actions[random.usize(..actions.len())].clone();
        bench.add(Fault::new(action).at(exchange));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_a_row_leave_no_order_open_or_unaccounted_for_and_no_fill_lost_or_doubled() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let seed = variable(SEED).unwrap_or_else(|| fastrand::u64(..));
    let rounds = variable(ROUNDS).unwrap_or(DEFAULT_ROUNDS);
    println!("{SEED}={seed} {ROUNDS}={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::start(BOTH).await;
    let path = bench.state.path().join("gateway.toml");
    for round in 0..rounds {
        let on_restart = if random.bool() { OnRestart::Cancel } else { OnRestart::Adopt };
        let (text, keys) = file(&bench, on_restart);
        std::fs::write(&path, text).expect("a file");
        disturb(&bench, &mut random);
        let before = bench.mock.ledger();
        let (orders, cancels) =
            (count(&before, |e| e.orders.len()), count(&before, |e| e.cancels.len()));
        let moment = MOMENTS[round % MOMENTS.len()];
        let mut bot = Bot::start(&path, &keys, random.u64(..));
        match moment {
            Moment::Anytime => tokio::time::sleep(Duration::from_millis(random.u64(..60))).await,
            Moment::Said(words) => bot.says(words).await,
            Moment::Seen => seen(&bench, |now| count(now, |e| e.orders.len()) > orders).await,
            Moment::Cancelled => {
                seen(&bench, |now| count(now, |e| e.cancels.len()) > cancels).await;
            }
        }
        // The moment itself is what is random here: nothing is waited for.
        tokio::time::sleep(Duration::from_micros(random.u64(..8_000))).await;
        if let Some(words) = bot.kill().await {
            panic!("seed {seed}, round {round}, {moment:?}: the bot ended by itself: {words}");
        }
        let report = verify(&bench.config.gateway.state_dir);
        if let Ok(report) = report {
            assert!(report.is_sound(), "seed {seed}, round {round}: {:?}", report.damaged);
        }
    }
    bench.mock.faults().clear();
    bench.config.orders.on_restart = OnRestart::Cancel;
    let gateway = bench.gateway().await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "seed {seed}: {report:#?}");
    let ledger = bench.mock.ledger();
    let orders = count(&ledger, |e| e.orders.len());
    let fills = count(&ledger, |e| e.fills.len());
    println!("{rounds} kills, {orders} orders and {fills} fills at the exchanges");
    assert!(orders > rounds, "seed {seed}: hardly anything was traded");
    judge(&bench, &ledger, seed);
}

/// The database against the exchanges' ledgers.
fn judge(bench: &Bench, ledger: &Ledger, seed: u64) {
    let view = StateView::open(&bench.config.gateway.state_dir).expect("the database is there");
    let stored = view.orders(usize::MAX >> 1, false).expect("orders");
    let fills = view.fills(usize::MAX >> 1).expect("fills");
    assert_eq!((stored.damaged, fills.damaged), (Vec::new(), Vec::new()));
    let stored: BTreeMap<&str, &Order> =
        stored.rows.iter().map(|order| (order.client_id.as_str(), order)).collect();
    let mut on_a_wire = BTreeSet::new();
    for exchange in BOTH {
        let witness = ledger.exchange(exchange);
        assert_eq!(witness.open_orders, [], "seed {seed}: {exchange}");
        written_once(witness);
        for seen in &witness.orders {
            on_a_wire.insert(seen.client_id.as_str());
            let order = stored.get(seen.client_id.as_str());
            let order = order.unwrap_or_else(|| panic!("seed {seed}: not stored: {seen:?}"));
            assert_eq!(order.filled.0, seen.filled, "seed {seed}: {order:?} is {seen:?}");
            let same = matches!(
                (order.status, seen.status),
                (OrderStatus::Filled, mock_exchange::OrderStatus::Filled)
                    | (OrderStatus::Canceled, mock_exchange::OrderStatus::Canceled)
                    | (OrderStatus::Rejected, mock_exchange::OrderStatus::Rejected)
                    | (OrderStatus::Expired, mock_exchange::OrderStatus::Expired)
            );
            assert!(same, "seed {seed}: {order:?} is {seen:?}");
            let mut told: Vec<_> = fills
                .rows
                .iter()
                .filter(|fill| fill.client_id.as_str() == seen.client_id)
                .map(|fill| (fill.fill.price.0, fill.fill.quantity.0))
                .collect();
            let mut real: Vec<_> = witness
                .fills
                .iter()
                .filter(|fill| fill.client_id == seen.client_id)
                .map(|fill| (fill.price, fill.quantity))
                .collect();
            told.sort_unstable();
            real.sort_unstable();
            assert_eq!(told, real, "seed {seed}: the fills of {seen:?}");
        }
    }
    sum_of_fills(&view, &stored, &fills.rows, seed);
    for (id, order) in stored {
        let never_there = matches!(order.status, OrderStatus::NotSent | OrderStatus::Rejected);
        assert!(on_a_wire.contains(id) || never_there, "seed {seed}: {order:?}");
    }
}

/// The stored positions against the stored fills.
fn sum_of_fills(
    view: &StateView,
    orders: &BTreeMap<&str, &Order>,
    fills: &[BookedFill],
    seed: u64,
) {
    let mut sums: BTreeMap<Instrument, Decimal> = BTreeMap::new();
    for booked in fills {
        let (fill, order) = (&booked.fill, orders[booked.client_id.as_str()]);
        let quantity = fill.quantity.0;
        let sum = sums.entry(booked.instrument).or_default();
        *sum += if order.request.side == Side::Buy { quantity } else { -quantity };
        let in_base = fill.fee.as_ref().filter(|fee| fee.asset == booked.instrument.base());
        *sum -= in_base.map_or(Decimal::ZERO, |fee| fee.amount);
    }
    let stored = view.positions().expect("positions");
    assert_eq!(stored.damaged, [], "seed {seed}");
    let stored: BTreeMap<_, _> =
        stored.rows.iter().map(|position| (position.instrument, position.quantity)).collect();
    assert_eq!(stored, sums, "seed {seed}");
}
