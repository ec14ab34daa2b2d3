//! An order that would break a risk limit is refused with the limit, its value and the tried one;
//! nothing of it is stored or sent.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, instrument, quoted, rest, resting, until, within};
use exchange_gateway::config::{Amounts, ExchangeRisk, InstrumentRisk, RiskConfig};
use exchange_gateway::state::StateView;
use exchange_gateway::types::{NewOrder, Order, OrderStatus, Price, Quantity, Side};
use exchange_gateway::{Gateway, OrderError, RiskBreach};
use rust_decimal::Decimal;

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a number")
}

fn usdt(amount: &str) -> Amounts {
    BTreeMap::from([("USDT".to_owned(), decimal(amount))])
}

fn limit(side: Side, quantity: &str, price: &str) -> NewOrder {
    let (price, quantity) = (Price(decimal(price)), Quantity(decimal(quantity)));
    NewOrder::limit(instrument("binance"), side, price, quantity)
}

/// A gateway to Binance that has seen bid 50,000 and ask 50,001.
async fn quoted_gateway(bench: &Bench) -> Gateway {
    let gateway = bench.gateway().await;
    let mut ticks = gateway.subscribe(instrument("binance")).expect("it is configured");
    bench.quote("binance", 50_000);
    quoted(&mut ticks, 50_000).await;
    gateway
}

async fn ends_well(gateway: &Gateway, bench: &Bench) {
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
}

async fn breach(gateway: &Gateway, order: NewOrder) -> RiskBreach {
    match within(gateway.orders().submit(order)).await {
        Err(OrderError::Risk(breach)) => breach,
        other => panic!("no breach: {other:?}"),
    }
}

/// Places one order that keeps the limits and one that breaks them, over real sockets: the exchange
/// and the database know only the first.
async fn lets_in_and_refuses(
    risk: RiskConfig,
    good: NewOrder,
    bad: NewOrder,
    limit: &str,
    words: &[&str],
) {
    let mut bench = Bench::start(&["binance"]).await;
    bench.config.risk = risk;
    let gateway = quoted_gateway(&bench).await;
    let placed = within(gateway.orders().submit(good)).await.expect("it keeps the limits");
    let breach = breach(&gateway, bad).await;
    assert_eq!(breach.limit(), limit);
    let told = OrderError::from(breach).to_string();
    for word in words {
        assert!(told.contains(word), "{word} is not in {told}");
    }
    let view = StateView::open(gateway.state_directory().path()).expect("the database");
    let stored = view.orders(100, false).expect("it is readable").rows;
    let ids: Vec<_> = stored.iter().map(|order| order.client_id).collect();
    assert_eq!(ids, [placed.client_id], "the refused order is not stored");
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(ledger.exchange("binance").orders.len(), 1, "the refused order was never sent");
}

/// Places an order that is let in, and waits until it is filled.
async fn filled(gateway: &Gateway, order: NewOrder) {
    let id = within(gateway.orders().submit(order)).await.expect("it is let in").client_id;
    let is_filled = |order: Order| order.status == OrderStatus::Filled;
    until("it is filled", || gateway.orders().get(id).is_some_and(is_filled)).await;
}

fn own(change: impl Fn(&mut InstrumentRisk)) -> RiskConfig {
    let mut own = InstrumentRisk::default();
    change(&mut own);
    let mut risk = RiskConfig::default();
    risk.instruments.insert(instrument("binance"), own);
    risk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_above_its_limit_is_refused() {
    let risk = own(|own| own.max_order_quantity = Some(decimal("0.02")));
    let (good, bad) = (limit(Side::Buy, "0.02", "20000"), limit(Side::Buy, "0.021", "20000"));
    let words = ["refused by a risk limit", "is 0.02", "has 0.021"];
    lets_in_and_refuses(risk, good, bad, "max_order_quantity", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notional_above_its_limit_is_refused() {
    let risk = RiskConfig { max_order_notional: usdt("1000.02"), ..RiskConfig::default() };
    let (good, bad) = (limit(Side::Buy, "0.02", "20000"), limit(Side::Buy, "0.021", "20000"));
    let words = ["1000.02 USDT", "worth 1050.021 USDT"];
    lets_in_and_refuses(risk, good, bad, "max_order_notional", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_too_far_from_the_last_one_is_refused() {
    let risk =
        RiskConfig { max_price_distance_percent: Some(decimal("10")), ..RiskConfig::default() };
    let (good, bad) = (limit(Side::Buy, "0.01", "45000"), limit(Side::Buy, "0.01", "44999.99"));
    let words = ["is 10 %", "44999.99", "from the last price 50000"];
    lets_in_and_refuses(risk, good, bad, "max_price_distance_percent", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_open_order_too_many_is_refused() {
    let risk = RiskConfig { max_open_orders: Some(1), ..RiskConfig::default() };
    let words = ["all exchanges is 1", "number 2"];
    lets_in_and_refuses(risk, resting("binance"), resting("binance"), "max_open_orders", &words)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_open_orders_could_make_too_large_is_refused() {
    let risk = own(|own| own.max_position = Some(decimal("0.015")));
    let words = ["is 0.015", "0.02 would be held"];
    lets_in_and_refuses(risk, resting("binance"), resting("binance"), "max_position", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposure_that_open_orders_could_make_too_large_is_refused() {
    let risk = RiskConfig { max_gross_exposure: usdt("900"), ..RiskConfig::default() };
    let words = ["all exchanges is 900 USDT", "1000.02 USDT"];
    lets_in_and_refuses(risk, resting("binance"), resting("binance"), "max_gross_exposure", &words)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_too_many_within_a_second_is_refused() {
    let mut risk = RiskConfig::default();
    let binance = ExchangeRisk { max_orders_per_second: Some(1), ..ExchangeRisk::default() };
    risk.exchanges.insert("binance".parse().expect("a name"), binance);
    let mut bench = Bench::start(&["binance"]).await;
    bench.config.risk = risk;
    let gateway = bench.gateway().await;
    // However slow the machine is: these two come in the same millisecond sooner or later.
    let refused = within(async {
        loop {
            gateway.orders().submit_nowait(resting("binance")).expect("the first of a second");
            if let Err(refused) = gateway.orders().submit_nowait(resting("binance")) {
                return refused;
            }
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    })
    .await;
    let OrderError::Risk(breach) = refused else { panic!("no breach: {refused:?}") };
    assert_eq!(breach.limit(), "max_orders_per_second");
    ends_well(&gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_is_stale_or_missing_refuses_what_needs_one() {
    let mut bench = Bench::start(&["binance"]).await;
    bench.config.risk = RiskConfig {
        max_order_notional: usdt("100000"),
        stale_tick_after: Duration::from_millis(100),
        ..RiskConfig::default()
    };
    let gateway = quoted_gateway(&bench).await;
    let market = NewOrder::market(instrument("binance"), Side::Buy, resting("binance").quantity);
    // Nothing ticks any more.
    tokio::time::sleep(Duration::from_millis(150)).await;
    for order in [market, resting("binance")] {
        assert_eq!(breach(&gateway, order).await.limit(), "stale_tick_after");
    }
    ends_well(&gateway, &bench).await;
    assert_eq!(bench.mock.ledger().exchange("binance").orders.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ended_frees_what_it_counted_for() {
    let mut bench = Bench::start(&["binance"]).await;
    bench.config.risk = own(|own| own.max_position = Some(decimal("0.015")));
    bench.config.risk.max_open_orders = Some(1);
    let gateway = quoted_gateway(&bench).await;
    for _ in 0..3 {
        let order = rest(&gateway, "binance", 1).await.remove(0);
        breach(&gateway, resting("binance")).await;
        let ended = within(gateway.orders().cancel(order.client_id)).await.expect("it is ours");
        assert_eq!(ended.status, OrderStatus::Canceled);
    }
    // What has filled is held: only what reduces it is let in.
    filled(&gateway, limit(Side::Buy, "0.01", "60000")).await;
    assert_eq!(breach(&gateway, resting("binance")).await.limit(), "max_position");
    filled(&gateway, limit(Side::Sell, "0.01", "40000")).await;
    rest(&gateway, "binance", 1).await;
    ends_well(&gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_orders_at_once_on_two_exchanges_no_more_than_the_limit_passes() {
    let mut bench = Bench::start(BOTH).await;
    bench.config.risk = RiskConfig { max_open_orders: Some(7), ..RiskConfig::default() };
    let gateway = bench.gateway().await;
    let submitting: Vec<_> = (0..4)
        .map(|number| {
            let (orders, exchange) = (gateway.orders().clone(), BOTH[number % 2]);
            tokio::spawn(async move {
                (0..20).filter(|_| orders.submit_nowait(resting(exchange)).is_ok()).count()
            })
        })
        .collect();
    let mut passed = 0;
    for submitted in submitting {
        passed += within(submitted).await.expect("no panic");
    }
    assert_eq!(passed, 7);
    ends_well(&gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_limits_hold_from_their_reload_on_and_wrong_ones_change_nothing() {
    let mut bench = Bench::start(&["binance"]).await;
    bench.config.risk.max_open_orders = Some(1);
    let gateway = bench.gateway().await;
    rest(&gateway, "binance", 1).await;
    breach(&gateway, resting("binance")).await;
    let wider = RiskConfig { max_open_orders: Some(2), ..RiskConfig::default() };
    let changes = gateway.reload_limits(wider.clone()).expect("they are sound");
    let told: Vec<_> = changes.iter().map(|c| (&*c.key, &*c.old, &*c.new)).collect();
    assert_eq!(told, [("risk.max_open_orders", "1", "2")]);
    rest(&gateway, "binance", 1).await;
    let wrong = RiskConfig { max_open_orders: Some(0), ..RiskConfig::default() };
    let fault = gateway.reload_limits(wrong).expect_err("a fault").to_string();
    assert!(fault.contains("risk.max_open_orders: it is out of range"), "{fault}");
    assert_eq!(gateway.limits(), wider);
    assert_eq!(breach(&gateway, resting("binance")).await.limit(), "max_open_orders");
    ends_well(&gateway, &bench).await;
}
