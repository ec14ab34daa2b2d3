//! Positions are compared with what the exchanges say that the account holds. What the gateway did
//! not do shows as a difference, and an exchange that does not answer holds nothing up.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{ALL, Bench, instrument, logs, resting, symbol, until, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::types::{Comparison, Held, NewOrder, Side};
use exchange_gateway::{Connecting, Connector, Environment, Gateway, SystemConnector};
use rust_decimal::Decimal;
use url::Url;

fn quantity(exchange: &str, units: u32) -> Decimal {
    if exchange == "deribit" { Decimal::from(units * 10) } else { Decimal::new(units.into(), 3) }
}

fn quotes(bench: &Bench) {
    for exchange in ALL {
        let (bid, ask, size) = (50_000.into(), 50_001.into(), 1_000.into());
        bench.venue(exchange).set_quote(symbol(exchange), bid, size, ask, size).expect("it moves");
    }
}

/// Trades against the market at once.
async fn trade(gateway: &Gateway, exchange: &str, side: Side, units: u32) {
    let quantity = quantity(exchange, units).into();
    let order = NewOrder::market(instrument(exchange), side, quantity);
    let placed = gateway.orders().submit(order).await.expect("it trades");
    until("all of it is booked", || {
        gateway.orders().get(placed.id()).is_some_and(|order| order.booked == quantity)
    })
    .await;
}

/// Another gateway on the same accounts: what it does, a person could do.
async fn person(bench: &Bench) -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().expect("a directory");
    let mut config = bench.config.clone();
    config.gateway.state_dir = state.path().join("state");
    "ps".clone_into(&mut config.gateway.order_tag);
    (Gateway::start(config).await.expect("it starts"), state)
}

fn position_of(exchange: &str) -> Held {
    if exchange == "deribit" {
        Held::Instrument(instrument(exchange))
    } else {
        Held::Asset("BTC".to_owned())
    }
}

/// What differs, by what it is.
fn differences(comparison: &Comparison) -> Vec<(Held, Decimal)> {
    assert_eq!(comparison.problem, None, "{comparison:?}");
    let lines = comparison.lines.iter().filter(|line| !line.is_rounding);
    lines.map(|line| (line.held.clone(), line.difference.normalize())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_trades_explains_what_the_account_holds() {
    let bench = Bench::start(ALL).await;
    quotes(&bench);
    let gateway = bench.gateway().await;
    for exchange in ALL {
        trade(&gateway, exchange, Side::Buy, 4).await;
        trade(&gateway, exchange, Side::Sell, 7).await;
        // What an order holds of a balance is held all the same.
        gateway.orders().submit(resting(exchange)).await.expect("it rests");
    }
    let compared = within(gateway.compare_positions()).await;
    assert_eq!(compared.len(), ALL.len());
    for comparison in &compared {
        let exchange = comparison.exchange.as_str();
        assert_eq!(differences(comparison), [], "{comparison:?}");
        let line = comparison.lines.iter().find(|line| line.held == position_of(exchange));
        let line = line.expect("what was traded is compared");
        assert_eq!((line.difference, line.told), (Decimal::ZERO, line.expected));
        if exchange == "deribit" {
            assert_eq!(line.told, quantity(exchange, 3) * Decimal::NEGATIVE_ONE);
        }
    }
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);

    // What the account holds by now is no difference for the next run.
    let gateway = bench.gateway().await;
    for exchange in ALL {
        trade(&gateway, exchange, Side::Buy, 1).await;
    }
    for comparison in within(gateway.compare_positions()).await {
        assert_eq!(differences(&comparison), []);
    }
    within(gateway.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_trades_on_the_account_is_shown_and_changes_nothing() {
    logs::keep();
    let bench = Bench::start(ALL).await;
    quotes(&bench);
    let gateway = bench.gateway().await;
    let (person, _state) = person(&bench).await;
    for exchange in ALL {
        trade(&gateway, exchange, Side::Buy, 4).await;
        trade(&person, exchange, Side::Sell, 3).await;
    }
    let before = gateway.positions();
    for comparison in within(gateway.compare_positions()).await {
        let exchange = comparison.exchange.as_str();
        let found = differences(&comparison);
        let sold = -quantity(exchange, 3);
        assert!(
            found.contains(&(position_of(exchange), sold.normalize())),
            "{exchange}: {found:?}"
        );
        // And on a spot market the money that it brought.
        assert_eq!(found.len(), if exchange == "deribit" { 1 } else { 2 }, "{exchange}: {found:?}");
    }
    assert_eq!(gateway.positions(), before);
    within(person.shutdown()).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "a difference is no failure: {report:#?}");
    for exchange in ALL {
        let mut told = report.positions.iter();
        let told = told.find(|told| told.instrument == instrument(exchange)).expect("it is told");
        assert_eq!(told.difference, Some(-quantity(exchange, 3)), "{told:?}");
        assert_eq!(told.not_compared, None);
        let text = format!("exchange={exchange} ");
        let lines = logs::with(&["holds another amount", &text]);
        let held = format!("held={} ", position_of(exchange));
        let sold = format!("difference=-{}", quantity(exchange, 3).normalize());
        // On demand and at the shutdown.
        let is_meant = |text: &str| text.contains(&held) && text.ends_with(&sold);
        let of_position = lines.iter().filter(|line| is_meant(&line.text));
        assert_eq!(of_position.count(), 2, "{exchange}: {lines:?}");
    }
}

/// A network in which HTTP fails at times, on all paths or on one.
#[derive(Debug)]
struct Faulty {
    inner: SystemConnector,
    fails: Arc<AtomicBool>,
    path: Option<&'static str>,
    hangs: bool,
}

impl Connector for Faulty {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        let is_meant = url.scheme() == "http" && self.path.is_none_or(|path| path == url.path());
        if !is_meant || !self.fails.load(Ordering::Relaxed) {
            return self.inner.connect(url);
        }
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        Box::pin(async { Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused here")) })
    }
}

fn faulty(fails: &Arc<AtomicBool>, path: Option<&'static str>, hangs: bool) -> Environment {
    let fails = Arc::clone(fails);
    let make = move |ca_file: Option<&std::path::Path>| {
        let inner = SystemConnector::new(ca_file)?;
        Ok(Arc::new(Faulty { inner, fails: Arc::clone(&fails), path, hangs }) as Arc<dyn Connector>)
    };
    Environment { connector: Arc::new(make), ..Environment::system() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_does_not_answer_is_named_and_holds_no_shutdown_up() {
    for hangs in [false, true] {
        let bench = Bench::start(ALL).await;
        quotes(&bench);
        let fails = Arc::new(AtomicBool::new(false));
        let started = Gateway::start_in(bench.config.clone(), faulty(&fails, None, hangs)).await;
        let gateway = started.expect("it starts");
        for exchange in ALL {
            trade(&gateway, exchange, Side::Buy, 1).await;
        }
        fails.store(true, Ordering::Relaxed);
        let words = if hangs { "no answer within" } else { "refused here" };
        for comparison in within(gateway.compare_positions()).await {
            let problem = comparison.problem.as_deref().unwrap_or_default();
            assert!(problem.contains(words), "{comparison:?}");
            assert_eq!(comparison.lines, []);
        }
        let began = std::time::Instant::now();
        let report = within(gateway.shutdown()).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        for told in &report.positions {
            let why = told.not_compared.as_deref().unwrap_or_default();
            assert!(why.contains(words) && told.difference.is_none(), "{told:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_could_not_be_read_at_the_start_counts_from_the_first_answer_on() {
    let bench = Bench::start(&["kraken"]).await;
    let account = "/0/private/Balance";
    let fails = Arc::new(AtomicBool::new(true));
    let started =
        Gateway::start_in(bench.config.clone(), faulty(&fails, Some(account), false)).await;
    let gateway = started.expect("it starts all the same");
    fails.store(false, Ordering::Relaxed);
    let first = within(gateway.compare_positions()).await.remove(0);
    let problem = first.problem.expect("there is nothing to compare with");
    assert!(problem.contains("at the start is not known"), "{problem}");
    let second = within(gateway.compare_positions()).await.remove(0);
    assert_eq!(differences(&second), []);
    within(gateway.shutdown()).await;
}
