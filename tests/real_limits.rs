//! Many orders at exchanges that enforce their limits: a stop cancels them all in its usual time,
//! and orders in doubt are settled with a handful of requests.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::network::Attempts;
use common::{Bench, until, within};
use exchange_gateway::config::Config;
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd};
use exchange_gateway::types::{Instrument, NewOrder, OrderStatus, Side};
use exchange_gateway::{Gateway, Phase, ShutdownReport};
use futures::future::join_all;
use mock_exchange::{ExchangeLedger, Fault, FaultAction, VenueConfig};

/// An exchange that trades these instruments within its real limits; the gateway's times are the
/// default ones.
async fn limited(exchange: &str, instruments: &[&str]) -> Bench {
    let mut bench = Bench::start_with(&[exchange], VenueConfig::quiet()).await;
    let defaults = Config::default();
    bench.config.shutdown = defaults.shutdown;
    bench.config.orders = defaults.orders;
    let instruments = instruments.iter().map(|name| instrument(exchange, name));
    bench.config.exchanges[0].instruments = instruments.collect();
    bench
}

fn instrument(exchange: &str, name: &str) -> Instrument {
    format!("{exchange}:{name}").parse().expect("an instrument")
}

/// Orders that rest far below the market, spread over the instruments.
fn resting(bench: &Bench, count: usize) -> Vec<NewOrder> {
    let instruments = bench.config.exchanges[0].instruments.iter().cycle();
    let order = |instrument: &Instrument| {
        let price = if instrument.base() == "BTC" { "20000" } else { "1000" };
        let (price, quantity) = (price.parse().expect("a price"), "0.01".parse().expect("some"));
        NewOrder::limit(*instrument, Side::Buy, price, quantity)
    };
    instruments.take(count).map(order).collect()
}

async fn start(bench: &Bench, attempts: &Attempts) -> Gateway {
    let environment = attempts.environment(common::SEED);
    Gateway::start_in(bench.config.clone(), environment).await.expect("the gateway starts")
}

async fn rest(gateway: &Gateway, orders: Vec<NewOrder>) {
    let answers = join_all(orders.into_iter().map(|order| gateway.orders().submit(order)));
    for answer in within(answers).await {
        assert_eq!(answer.expect("the order rests").status, OrderStatus::Open);
    }
}

/// Requests of this method.
fn count(ledger: &ExchangeLedger, method: &str) -> usize {
    ledger.requests.iter().filter(|request| request.method == method).count()
}

fn all_are_cancelled(report: &ShutdownReport, orders: usize) {
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let cancelling = common::phase(report, Phase::CancelPending);
    assert_eq!(cancelling.ended, PhaseEnd::Done, "{report:#?}");
    assert_eq!(report.exchanges[0].orders.len(), orders);
    for order in &report.exchanges[0].orders {
        assert_eq!((order.fate, order.cancel_attempts), (OrderFate::Canceled, 1), "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_young_orders_on_kraken_are_cancelled_over_the_rate_counter() {
    let pairs = ["BTC-USDT", "ETH-USDT", "BTC-USD", "ETH-USD"];
    let bench = limited("kraken", &pairs).await;
    let attempts = Attempts::default();
    let gateway = start(&bench, &attempts).await;
    rest(&gateway, resting(&bench, 100)).await;
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    all_are_cancelled(&report, 100);
    let kraken = ledger.exchange("kraken");
    // Single cancels of orders this young would cost 25 times 8 points on each pair, of 180.
    assert_eq!((count(kraken, "batch_cancel"), count(kraken, "cancel_order")), (2, 0));
    // The list of pairs, the token and the balances: nothing had to be asked.
    let http = attempts.of("http", bench.venue("kraken").address().port()).len();
    assert_eq!(http, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn eighty_orders_on_binance_are_cancelled_within_its_limits() {
    let bench = limited("binance", &["BTC-USDT", "ETH-USDT"]).await;
    let gateway = start(&bench, &Attempts::default()).await;
    rest(&gateway, resting(&bench, 80)).await;
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    all_are_cancelled(&report, 80);
    assert_eq!(count(ledger.exchange("binance"), "order.cancel"), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_orders_in_doubt_on_kraken_are_settled_by_a_few_requests() {
    let mut bench = limited("kraken", &["BTC-USDT", "ETH-USDT"]).await;
    bench.config.orders.ack_timeout = Duration::from_millis(300);
    let attempts = Attempts::default();
    let gateway = start(&bench, &attempts).await;
    for hush in [FaultAction::LoseAck, FaultAction::LoseUpdates] {
        bench.add(Fault::new(hush).at("kraken").times(0));
    }
    let ids: Vec<_> = resting(&bench, 60)
        .into_iter()
        .map(|order| gateway.orders().submit_nowait(order).expect("it is taken"))
        .collect();
    until("every order is found", || {
        let found = |id| {
            let order = gateway.orders().get(id).expect("it is known");
            order.status == OrderStatus::Open && order.exchange_id.is_some()
        };
        ids.iter().all(|id| found(*id))
    })
    .await;
    // Beside the list of pairs and the token, lists of open orders; one for each order would be
    // dozens, whose nonces overtake each other.
    let http = attempts.of("http", bench.venue("kraken").address().port()).len();
    assert!((3..=8).contains(&http), "{http} HTTP requests");
    bench.mock.faults().clear();
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    all_are_cancelled(&report, 60);
}
