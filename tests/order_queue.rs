//! The queue before each exchange: new orders wait for its rate limits or are refused as busy,
//! cancels and orders that reduce a position go ahead, and a mass cancel ends ours and nobody
//! else's.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, instrument, rest, resting, symbol, until, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::types::{InvalidOrder, NewOrder, Order, OrderStatus, Side};
use exchange_gateway::{Gateway, OrderError};
use futures::future::join_all;
use mock_exchange::{ExchangeLedger, Ledger, VenueConfig};

const EXCHANGES: &[&str] = &["binance", "deribit", "kraken"];

/// What an exchange calls a new order and a cancel.
const NEW: &[&str] = &["order.place", "private/buy", "add_order"];
const CANCEL: &[&str] = &["order.cancel", "private/cancel", "cancel_order", "batch_cancel"];

/// An exchange within its real limits.
async fn limited(exchanges: &[&str]) -> Bench {
    let mut bench = Bench::start_with(exchanges, VenueConfig::quiet()).await;
    // Asking again and again would use up the limits that these tests are about.
    bench.config.orders.query_retry = Duration::from_secs(2);
    bench.config.shutdown.cancel_retry = Duration::from_secs(2);
    bench
}

fn of<'a>(ledger: &'a ExchangeLedger, methods: &[&str]) -> Vec<(usize, &'a Option<String>)> {
    let requests = ledger.requests.iter().enumerate();
    let wanted = requests.filter(|(_, request)| methods.contains(&request.method.as_str()));
    wanted.map(|(at, request)| (at, &request.client_id)).collect()
}

fn is_open(ledger: &Ledger, exchange: &str, client_id: &str) -> bool {
    ledger.exchange(exchange).open_orders.iter().any(|order| order.client_id == client_id)
}

fn placed_by_hand(bench: &Bench, exchange: &str) {
    let (price, quantity) = ("19000".parse().expect("a price"), resting(exchange).quantity);
    let venue = bench.venue(exchange);
    venue
        .place_by_hand(
            symbol(exchange),
            "byhand",
            mock_exchange::Side::Buy,
            price,
            quantity.decimal(),
        )
        .expect("it rests");
}

/// Everything of ours has ended, and the report says so.
async fn ends_clean(gateway: Gateway, bench: &Bench) {
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
}

/// The same, with an order placed by hand at each exchange, which stays open.
async fn leaves_a_person_s_order(gateway: Gateway, bench: &Bench) {
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let ledger = bench.mock.ledger();
    for exchange in &report.exchanges {
        assert_eq!(exchange.foreign_orders, 1, "{}", exchange.exchange);
        assert!(is_open(&ledger, exchange.exchange.as_str(), "byhand"), "{}", exchange.exchange);
    }
}

/// More new orders at once than the exchange takes in its whole window: none is refused for it,
/// what does not fit in waits, and a cancel in the middle goes ahead of all that wait.
async fn a_burst_keeps_the_limit(exchange: &str, burst: usize) {
    let bench = limited(&[exchange]).await;
    let gateway = bench.gateway().await;
    let orders = gateway.orders();
    let first = rest(&gateway, exchange, 1).await.remove(0);
    let ids: Vec<_> = (0..burst)
        .map(|_| orders.submit_nowait(resting(exchange)).expect("the queue has room"))
        .collect();
    let ended = within(orders.cancel(first.id())).await.expect("it ends");
    assert_eq!(ended.status, OrderStatus::Canceled);
    let waiting = ids.iter().filter(|id| {
        let order = orders.get(**id).expect("it is known");
        order.status == OrderStatus::Pending
    });
    assert!(waiting.count() > 0, "{exchange}: the cancel came ahead of orders that wait");

    let ledger = bench.mock.ledger();
    let seen = ledger.exchange(exchange);
    let (placed, cancelled) = (of(seen, NEW), of(seen, CANCEL));
    assert_eq!(cancelled.len(), 1, "{exchange}: one cancel, which was not refused");
    assert!(placed.len() < burst, "{exchange}: {} of {burst} were written", placed.len());

    // What waits is taken back before it is written; nothing was refused.
    let all = within(orders.cancel_all()).await.expect("all end");
    let not_sent = all.iter().filter(|order| order.status == OrderStatus::NotSent).count();
    assert!(not_sent > 0, "{exchange}");
    for id in ids {
        let order = orders.get(id).expect("it is known");
        let expected = [OrderStatus::NotSent, OrderStatus::Canceled];
        assert!(expected.contains(&order.status), "{exchange}: {order:?}");
    }
    let ledger = bench.mock.ledger();
    let written = of(ledger.exchange(exchange), NEW).len();
    let taken = ledger.exchange(exchange).orders.len();
    assert_eq!(written, taken, "{exchange}: the exchange refused an order");
    let sockets = &ledger.exchange(exchange).connections;
    assert!(sockets.iter().all(|socket| socket.closed.is_none()), "{exchange}: {sockets:?}");
    ends_clean(gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_binance_keeps_its_limits_and_lets_a_cancel_pass() {
    a_burst_keeps_the_limit("binance", 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_kraken_keeps_its_limits_and_lets_a_cancel_pass() {
    a_burst_keeps_the_limit("kraken", 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_deribit_keeps_its_limits_and_lets_a_cancel_pass() {
    a_burst_keeps_the_limit("deribit", 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_wait_are_written_when_there_is_room_and_a_cancel_overtakes_them() {
    let bench = limited(&["deribit"]).await;
    let gateway = bench.gateway().await;
    let first = rest(&gateway, "deribit", 1).await.remove(0);
    // The burst is 20, less what is left free and what is kept for cancels.
    let orders = join_all((0..18).map(|_| gateway.orders().submit(resting("deribit"))));
    let cancel = async {
        until("some orders wait", || gateway.orders().unfinished().len() > 15).await;
        gateway.orders().cancel(first.id()).await
    };
    let (placed, cancelled) = within(futures::future::join(orders, cancel)).await;
    assert_eq!(cancelled.expect("it ends").status, OrderStatus::Canceled);
    for answer in placed {
        assert_eq!(answer.expect("it rests").status, OrderStatus::Open);
    }
    let ledger = bench.mock.ledger();
    let (placed, cancelled) =
        (of(ledger.exchange("deribit"), NEW), of(ledger.exchange("deribit"), CANCEL));
    let (last, _) = placed.last().expect("orders were written");
    assert_eq!((placed.len(), cancelled.len()), (19, 1));
    assert!(cancelled[0].0 < *last, "the cancel went ahead: {placed:?}, {cancelled:?}");
    ends_clean(gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_busy_and_sends_nothing() {
    let mut bench = limited(&["deribit"]).await;
    bench.config.orders.queue = 3;
    let gateway = bench.gateway().await;
    let mut accepted = 0;
    let refusal = loop {
        match gateway.orders().submit_nowait(resting("deribit")) {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
        assert!(accepted < 1000, "the queue is bounded");
    };
    let OrderError::Busy { what } = &refusal else { panic!("{refusal:?}") };
    assert!(what.contains("3 orders already wait") && what.contains("deribit"), "{what}");
    let ended = within(gateway.orders().cancel_all()).await.expect("all end");
    assert_eq!(ended.len(), accepted, "the refused order is not among ours");
    // The places of those that were taken back are free again, as soon as nothing of them is being
    // stored any more.
    until("there is room again", || gateway.orders().submit_nowait(resting("deribit")).is_ok())
        .await;
    ends_clean(gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_an_instrument_ends_our_orders_there_and_no_others() {
    for exchange in EXCHANGES {
        let mut bench = Bench::start(&[exchange]).await;
        let other = if *exchange == "deribit" { "ETH-PERPETUAL" } else { "ETH-USDT" };
        let other = format!("{exchange}:{other}").parse().expect("an instrument");
        bench.config.exchanges[0].instruments.push(other);
        let gateway = bench.gateway().await;
        placed_by_hand(&bench, exchange);
        let ours: Vec<_> = rest(&gateway, exchange, 3).await.iter().map(Order::id).collect();
        let quantity = if *exchange == "deribit" { "100" } else { "0.01" };
        let price = "1000".parse().expect("a price");
        let elsewhere = NewOrder::limit(other, Side::Buy, price, quantity.parse().expect("some"));
        let elsewhere = within(gateway.orders().submit(elsewhere)).await.expect("it rests");

        let ended = within(gateway.orders().cancel_instrument(instrument(exchange))).await;
        let ended = ended.expect("all end");
        assert!(ended.iter().all(|order| order.status == OrderStatus::Canceled), "{ended:#?}");
        let mut ids: Vec<_> = ended.iter().map(Order::id).collect();
        ids.sort();
        assert_eq!(ids, ours, "{exchange}");
        let ledger = bench.mock.ledger();
        assert!(is_open(&ledger, exchange, "byhand"), "{exchange}: a person's order is left alone");
        assert!(is_open(&ledger, exchange, elsewhere.id().as_str()), "{exchange}");
        leaves_a_person_s_order(gateway, &bench).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_all_ends_our_orders_on_every_exchange_and_no_others() {
    let bench = Bench::start(EXCHANGES).await;
    let gateway = bench.gateway().await;
    let mut ours = Vec::new();
    for exchange in EXCHANGES {
        placed_by_hand(&bench, exchange);
        ours.extend(rest(&gateway, exchange, 2).await.iter().map(Order::id));
        let kept = within(gateway.orders().submit(resting(exchange).keep_on_shutdown())).await;
        ours.push(kept.expect("it rests").id());
    }
    let ended = within(gateway.orders().cancel_all()).await.expect("all end");
    assert!(ended.iter().all(|order| order.status == OrderStatus::Canceled), "{ended:#?}");
    let mut ids: Vec<_> = ended.iter().map(Order::id).collect();
    ids.sort();
    ours.sort();
    assert_eq!(ids, ours);
    assert_eq!(gateway.orders().unfinished(), []);
    for exchange in EXCHANGES {
        let ledger = bench.mock.ledger();
        let open = &ledger.exchange(exchange).open_orders;
        assert_eq!(open.len(), 1, "{exchange}: {open:#?}");
        assert_eq!(open[0].client_id, "byhand");
    }
    assert_eq!(within(gateway.orders().cancel_all()).await, Ok(Vec::new()));
    leaves_a_person_s_order(gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_one_exchange_leaves_the_other_alone() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    rest(&gateway, "binance", 2).await;
    let left = rest(&gateway, "kraken", 1).await.remove(0);
    let binance = instrument("binance").exchange();
    let ended = within(gateway.orders().cancel_exchange(binance)).await.expect("all end");
    assert_eq!(ended.len(), 2);
    assert_eq!(gateway.orders().get(left.id()).map(|order| order.status), Some(OrderStatus::Open));
    ends_clean(gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduce_only_order_is_sent_as_one_where_there_are_positions() {
    let bench = Bench::start(&["deribit"]).await;
    let gateway = bench.gateway().await;
    let bought = NewOrder::market(instrument("deribit"), Side::Buy, resting("deribit").quantity);
    let bought = within(gateway.orders().submit(bought)).await.expect("it fills");
    until("the purchase is booked", || {
        gateway.orders().get(bought.id()).is_some_and(|order| order.status == OrderStatus::Filled)
    })
    .await;
    let price = "90000".parse().expect("a price");
    let sell = NewOrder::limit(instrument("deribit"), Side::Sell, price, bought.request.quantity);
    let sell = within(gateway.orders().submit(sell.reduce_only())).await.expect("it rests");
    assert!(sell.request.reduce_only);
    let ledger = bench.mock.ledger();
    let order = ledger.exchange("deribit").order(sell.id().as_str()).expect("it arrived");
    assert!(order.reduce_only, "{order:?}");
    ends_clean(gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduce_only_order_is_refused_before_the_wire_where_there_are_none() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let refusal = gateway.orders().submit_nowait(resting(exchange).reduce_only());
        let Err(OrderError::Invalid(refusal)) = refusal else { panic!("{refusal:?}") };
        assert!(matches!(refusal, InvalidOrder::ReduceOnlyUnsupported { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains("position"), "it says why: {refusal}");
        assert_eq!(of(bench.mock.ledger().exchange(exchange), NEW), [], "{exchange}");
    }
    ends_clean(gateway, &bench).await;
}
