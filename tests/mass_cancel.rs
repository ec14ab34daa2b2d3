//! Where the account is the gateway's alone, one request cancels many orders, and no more than that:
//! each order's end is still confirmed, what the request missed is cancelled by itself, and whatever
//! else is open there keeps the request from being written.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::judge::{cancels, cancels_all, judge};
use common::{Bench, instrument, quiet, rest, resting, symbol, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::types::{Instrument, NewOrder, Order, OrderStatus, Side};
use exchange_gateway::{Gateway, ShutdownReport};
use futures::future::join_all;
use mock_exchange::{ExchangeLedger, Fault, FaultAction, Target, VenueConfig};

const EXCHANGES: &[&str] = &["binance", "deribit", "kraken"];

/// An exchange on which nobody else trades.
async fn ours_alone(exchange: &str) -> Bench {
    let mut bench = Bench::start_with(&[exchange], quiet()).await;
    bench.config.exchanges[0].account_is_ours = true;
    // Whatever is cancelled again is cancelled for a reason, and not because a machine is slow.
    bench.config.shutdown.cancel_retry = Duration::from_secs(5);
    bench
}

fn mass_cancels(ledger: &ExchangeLedger) -> usize {
    ledger.requests.iter().filter(|request| cancels_all(&request.method)).count()
}

fn single_cancels(ledger: &ExchangeLedger) -> usize {
    let is_cancel = |method: &str| {
        method == "private/cancel_by_label" || (cancels(method) && !cancels_all(method))
    };
    ledger.requests.iter().filter(|request| is_cancel(&request.method)).count()
}

fn placed_by_hand(bench: &Bench, exchange: &str, client_id: &str) {
    let (price, quantity) = ("19000".parse().expect("a price"), resting(exchange).quantity);
    bench
        .venue(exchange)
        .place_by_hand(
            symbol(exchange),
            client_id,
            mock_exchange::Side::Buy,
            price,
            quantity.decimal(),
        )
        .expect("it rests");
}

fn another_instrument(bench: &mut Bench, exchange: &str) -> Instrument {
    let other = if exchange == "deribit" { "ETH-PERPETUAL" } else { "ETH-USDT" };
    let other = format!("{exchange}:{other}").parse().expect("an instrument");
    bench.config.exchanges[0].instruments.push(other);
    other
}

async fn rest_at(gateway: &Gateway, instrument: Instrument) -> Order {
    let quantity = resting(instrument.exchange().as_str()).quantity;
    let order = NewOrder::limit(instrument, Side::Buy, "1000".parse().expect("a price"), quantity);
    within(gateway.orders().submit(order)).await.expect("it rests")
}

async fn shut_down(gateway: Gateway, bench: &Bench) -> (Arc<ShutdownReport>, ExchangeLedger) {
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    let name = report.exchanges[0].exchange;
    (report, ledger.exchange(name.as_str()).clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_rid_of_many_orders_with_one_request() {
    for exchange in EXCHANGES {
        let bench = ours_alone(exchange).await;
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 100).await;
        let (report, ledger) = shut_down(gateway, &bench).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        judge(&report, &bench.mock.ledger());
        assert_eq!((mass_cancels(&ledger), single_cancels(&ledger)), (1, 0), "{exchange}");
        assert_eq!(report.exchanges[0].orders.len(), 100, "{exchange}");
        for order in &report.exchanges[0].orders {
            assert_eq!(order.cancel_attempts, 1, "{exchange}: {order:?}");
            assert!(order.confirmed_after_ms.is_some(), "{exchange}: {order:?}");
        }
    }
}

/// Deribit takes 20 cancels at once and then 5 a second: one by one these would take longer than the
/// phase has.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_ends_more_orders_than_the_limits_have_room_for_cancels() {
    let mut bench = Bench::start_with(&["deribit"], VenueConfig::quiet()).await;
    bench.config.exchanges[0].account_is_ours = true;
    bench.config.shutdown.cancel_retry = Duration::from_secs(5);
    let gateway = bench.gateway().await;
    let placed = join_all((0..60).map(|_| gateway.orders().submit(resting("deribit"))));
    for answer in within(placed).await {
        assert_eq!(answer.expect("it rests").status, OrderStatus::Open);
    }
    let (report, ledger) = shut_down(gateway, &bench).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    assert_eq!((mass_cancels(&ledger), single_cancels(&ledger)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_all_takes_one_request_and_an_order_placed_after_it_stays() {
    for exchange in EXCHANGES {
        let bench = ours_alone(exchange).await;
        let gateway = bench.gateway().await;
        let ours = rest(&gateway, exchange, 20).await;
        let ended = within(gateway.orders().cancel_all()).await.expect("all end");
        assert_eq!(ended.len(), ours.len());
        assert!(ended.iter().all(|order| order.status == OrderStatus::Canceled), "{ended:#?}");
        let ledger = bench.mock.ledger();
        let witness = ledger.exchange(exchange);
        assert_eq!((mass_cancels(witness), single_cancels(witness)), (1, 0), "{exchange}");
        let next = rest(&gateway, exchange, 1).await.remove(0);
        assert_eq!(next.status, OrderStatus::Open);
        let (report, ledger) = shut_down(gateway, &bench).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        assert_eq!((mass_cancels(&ledger), single_cancels(&ledger)), (1, 1), "{exchange}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_an_instrument_takes_one_request_where_there_is_one_and_spares_the_others() {
    for exchange in EXCHANGES {
        let mut bench = ours_alone(exchange).await;
        let other = another_instrument(&mut bench, exchange);
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 5).await;
        let elsewhere = [rest_at(&gateway, other).await, rest_at(&gateway, other).await];
        let ended = within(gateway.orders().cancel_instrument(instrument(exchange))).await;
        assert_eq!(ended.expect("all end").len(), 5);
        let witness = bench.mock.ledger().exchange(exchange).clone();
        let expected = usize::from(*exchange != "kraken");
        assert_eq!(mass_cancels(&witness), expected, "{exchange}: {:?}", witness.requests);
        for order in elsewhere {
            let now = gateway.orders().get(order.id()).expect("it is known");
            assert_eq!(now.status, OrderStatus::Open, "{exchange}");
        }
        let (report, ledger) = shut_down(gateway, &bench).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        assert_eq!(mass_cancels(&ledger), expected + 1, "{exchange}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_all_that_is_lost_refused_or_half_done_ends_confirmed_all_the_same() {
    const COUNT: u32 = 6;
    let refused = FaultAction::RejectCancel { code: None, text: "no".into() };
    let cases = [
        (FaultAction::LoseCancelAck, COUNT),
        (FaultAction::IgnoreCancel { ack: true, for_ms: None }, COUNT),
        (FaultAction::IgnoreCancel { ack: true, for_ms: None }, COUNT / 2),
        (FaultAction::IgnoreCancel { ack: false, for_ms: None }, COUNT),
        (refused.clone(), COUNT),
        (refused, 1),
        (FaultAction::LoseUpdates, COUNT),
        (FaultAction::FillDuringCancel { quantity: None }, COUNT / 2),
    ];
    for exchange in EXCHANGES {
        for (action, count) in &cases {
            let mut bench = ours_alone(exchange).await;
            bench.config.shutdown.cancel_retry = Duration::from_millis(200);
            bench.config.orders.query_retry = Duration::from_millis(200);
            let gateway = bench.gateway().await;
            rest(&gateway, exchange, COUNT as usize).await;
            bench.add(Fault::new(action.clone()).at(exchange).times(*count));
            let (report, ledger) = shut_down(gateway, &bench).await;
            judge(&report, &bench.mock.ledger());
            assert!(ledger.open_orders.is_empty(), "{exchange} {action:?}: {report:#?}");
            let left = report.exchanges[0].orders.iter().filter(|order| order.fate.is_left());
            assert_eq!(left.count(), 0, "{exchange} {action:?}: {report:#?}");
            assert!(mass_cancels(&ledger) >= 1, "{exchange} {action:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_placed_by_hand_stays_open_and_prevents_it() {
    for exchange in EXCHANGES {
        // Seen in the list at the start, or told while the gateway runs.
        for before in [true, false] {
            let bench = ours_alone(exchange).await;
            if before {
                placed_by_hand(&bench, exchange, "byhand");
            }
            let gateway = bench.gateway().await;
            if !before {
                placed_by_hand(&bench, exchange, "byhand");
            }
            rest(&gateway, exchange, 3).await;
            let ended = within(gateway.orders().cancel_all()).await.expect("all end");
            assert_eq!(ended.len(), 3);
            rest(&gateway, exchange, 3).await;
            let (report, ledger) = shut_down(gateway, &bench).await;
            assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
            assert_eq!(mass_cancels(&ledger), 0, "{exchange}: {:?}", ledger.requests);
            let open: Vec<_> = ledger.open_orders.iter().map(|order| &order.client_id).collect();
            assert_eq!(open, ["byhand"], "{exchange}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_an_earlier_run_left_stays_open_and_prevents_it() {
    for exchange in EXCHANGES {
        let bench = ours_alone(exchange).await;
        placed_by_hand(&bench, exchange, "gw88earlier");
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 3).await;
        let (report, ledger) = shut_down(gateway, &bench).await;
        assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
        assert_eq!(mass_cancels(&ledger), 0, "{exchange}: {:?}", ledger.requests);
        let open: Vec<_> = ledger.open_orders.iter().map(|order| &*order.client_id).collect();
        assert_eq!(open, ["gw88earlier"], "{exchange}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_order_stays_open_and_prevents_it() {
    for exchange in EXCHANGES {
        let mut bench = ours_alone(exchange).await;
        bench.config.exchanges[0].cancel_on_disconnect = false;
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 3).await;
        let kept = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
        let kept = kept.expect("it rests");
        let (report, ledger) = shut_down(gateway, &bench).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(mass_cancels(&ledger), 0, "{exchange}: {:?}", ledger.requests);
        let open: Vec<_> = ledger.open_orders.iter().map(|order| &*order.client_id).collect();
        assert_eq!(open, [kept.id().as_str()], "{exchange}");
    }
}

/// The last order arrives, but no word of it comes back, and the request for all passes it by. Only
/// a question finds it; the usual repetition of cancels would be too late for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_in_flight_meanwhile_is_cancelled_when_it_shows_up() {
    for exchange in EXCHANGES {
        let mut bench = ours_alone(exchange).await;
        bench.config.shutdown.cancel_retry = Duration::from_secs(60);
        bench.config.shutdown.cancel_pending = Duration::from_secs(20);
        bench.config.shutdown.deadline = Duration::from_secs(40);
        bench.config.orders.ack_timeout = Duration::from_millis(500);
        bench.config.orders.query_retry = Duration::from_millis(200);
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 5).await;
        let late = |action| Fault::new(action).at(exchange).on(Target::NthOrder(6));
        bench.add(late(FaultAction::LoseAck));
        // Kraken tells first that it took the order in.
        let updates = if *exchange == "kraken" { 2 } else { 1 };
        bench.add(late(FaultAction::LoseUpdates).times(updates));
        bench.add(late(FaultAction::IgnoreCancel { ack: true, for_ms: None }));
        let id = gateway.orders().submit_nowait(resting(exchange)).expect("it is taken");
        bench.ledger(|ledger| ledger.exchange(exchange).orders.len() == 6).await;
        assert_eq!(gateway.orders().get(id).map(|order| order.status), Some(OrderStatus::Sent));
        let (report, ledger) = shut_down(gateway, &bench).await;
        judge(&report, &bench.mock.ledger());
        assert!(ledger.open_orders.is_empty(), "{exchange}: {report:#?}");
        assert!(mass_cancels(&ledger) >= 1, "{exchange}");
        assert!(single_cancels(&ledger) >= 1, "{exchange}: {:?}", ledger.requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_account_that_others_may_use_it_is_never_written() {
    for exchange in EXCHANGES {
        let mut bench = ours_alone(exchange).await;
        bench.config.exchanges[0].account_is_ours = false;
        let gateway = bench.gateway().await;
        rest(&gateway, exchange, 4).await;
        within(gateway.orders().cancel_instrument(instrument(exchange))).await.expect("all end");
        rest(&gateway, exchange, 4).await;
        within(gateway.orders().cancel_all()).await.expect("all end");
        rest(&gateway, exchange, 4).await;
        let (report, ledger) = shut_down(gateway, &bench).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        assert_eq!(mass_cancels(&ledger), 0, "{exchange}: {:?}", ledger.requests);
        assert!(single_cancels(&ledger) > 0, "{exchange}");
    }
}
