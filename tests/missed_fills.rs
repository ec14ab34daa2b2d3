//! What fills while nobody is told of it is fetched fill by fill, with price and fee, each once.

mod common;

use std::collections::BTreeMap;

use common::judge::{Told, all_fills_told, judge, judge_fills, told};
use common::{Bench, reconnected, symbol, update, within};
use exchange_gateway::Gateway;
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::state::StateView;
use exchange_gateway::types::{ClientOrderId, NewOrder, Order, OrderStatus, Quantity};
use mock_exchange::{Disconnect, ExchangeLedger, Fault, FaultAction, Refusal, Side};
use rust_decimal::Decimal;

const ALL: &[&str] = &["binance", "kraken", "deribit"];

/// More fills than one answer of Kraken tells, and more than its list of the latest.
const MANY: u32 = 60;

/// How the fills of an order are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// There is no connection while they happen.
    Down,
    /// They are not told on a connection, which then breaks.
    UntoldThenDown,
    /// They are not told on a connection that lives on.
    Untold,
}

/// The exchange trades `parts` sixtieths of the order, one by one.
fn fill(bench: &Bench, exchange: &str, order: &Order, parts: u32) {
    let part = order.request.quantity.0 / Decimal::from(MANY);
    for _ in 0..parts {
        let price = Decimal::from(20_000);
        let traded = bench.venue(exchange).trade(symbol(exchange), Side::Sell, price, part);
        traded.expect("the market moves");
    }
}

/// A quantity whose sixtieths are quantities too.
fn quantity(exchange: &str) -> Quantity {
    if exchange == "deribit" { "600" } else { "0.0060" }.parse().expect("a quantity")
}

/// An order that rests with it.
async fn sixty_parts(gateway: &Gateway, exchange: &str) -> Order {
    let request = NewOrder { quantity: quantity(exchange), ..common::resting(exchange) };
    gateway.orders().submit(request).await.expect("the order rests")
}

/// Takes the connections away and keeps them away while `fills` happen.
async fn while_down(bench: &Bench, exchange: &str, fills: impl FnOnce()) {
    let refuse = FaultAction::RefuseConnections { how: Refusal::Http503, for_ms: Some(500) };
    bench.add(Fault::new(refuse).at(exchange).times(0));
    bench.venue(exchange).drop_connections(Disconnect::Rst);
    common::until("the connection is gone", || {
        let all = bench.mock.ledger();
        let mut connections = all.exchange(exchange).connections.iter();
        connections.all(|connection| connection.closed.is_some())
    })
    .await;
    fills();
}

async fn lose_fills(exchange: &str, loss: Loss, parts: u32) {
    let bench = Bench::start(ALL).await;
    let gateway = bench.gateway().await;
    let updates = gateway.orders().updates();
    let mut follow = gateway.orders().updates();
    let order = sixty_parts(&gateway, exchange).await;
    // Told in the ordinary way.
    fill(&bench, exchange, &order, 1);
    update(&mut follow, |update| update.fill.is_some()).await;
    match loss {
        Loss::Down => {
            while_down(&bench, exchange, || fill(&bench, exchange, &order, parts)).await;
        }
        Loss::UntoldThenDown | Loss::Untold => {
            bench.add(Fault::new(FaultAction::LoseUpdates).at(exchange).times(0));
            fill(&bench, exchange, &order, parts);
            bench.mock.faults().clear();
            if loss == Loss::UntoldThenDown {
                bench.venue(exchange).drop_connections(Disconnect::Rst);
            } else {
                // The next fill, or the end, tells that there were others.
                fill(&bench, exchange, &order, u32::from(parts + 1 < MANY));
            }
        }
    }
    if !(loss == Loss::Untold && parts + 1 == MANY) {
        let seen = bench.mock.ledger().exchange(exchange).fills.len();
        let all = u32::try_from(seen).expect("few fills");
        let all = order.request.quantity.0 / Decimal::from(MANY) * Decimal::from(all);
        let complete = update(&mut follow, |update| update.order.booked.0 == all).await;
        assert_eq!(complete.order.filled.0, all, "{exchange} {loss:?}");
    }
    if loss != Loss::Untold {
        for connection in ["market", "trading"] {
            reconnected(&gateway, exchange, connection, 1).await;
        }
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{exchange} {loss:?}: {report:#?}");
    let told = told(updates).await;
    let witness = ledger.exchange(exchange);
    assert!(witness.fills.len() > parts as usize, "{exchange}: {}", witness.fills.len());
    judge_fills(&told, witness);
    all_fills_told(&told, witness);
    fees_are_told(&told, witness, order.id());
}

/// The fees told are those that the exchange took.
fn fees_are_told(told: &BTreeMap<String, Told>, witness: &ExchangeLedger, id: ClientOrderId) {
    let fills = &told[id.as_str()].fills;
    let fees = fills.iter().map(|fill| {
        let fee = fill.fee.as_ref().unwrap_or_else(|| panic!("no fee: {fill:?}"));
        assert!(fill.time.is_some() && fill.liquidity.is_some(), "{fill:?}");
        (fee.asset.clone(), fee.amount.normalize())
    });
    let mut fees: Vec<_> = fees.collect();
    let real = witness.fills.iter().filter(|fill| fill.client_id == id.as_str());
    let mut real: Vec<_> =
        real.map(|fill| (fill.fee_asset.clone(), fill.fee.normalize())).collect();
    fees.sort();
    real.sort();
    assert_eq!(fees, real);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fills_while_the_connection_is_down_is_told_fill_by_fill() {
    // Deribit cancels the orders of a connection that ends, so that nothing fills meanwhile.
    for exchange in ["binance", "kraken"] {
        lose_fills(exchange, Loss::Down, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_fills_whole_while_the_connection_is_down_is_told_fill_by_fill() {
    for exchange in ["binance", "kraken"] {
        lose_fills(exchange, Loss::Down, MANY - 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_updates_were_lost_before_the_connection_broke_is_told_fill_by_fill() {
    for exchange in ALL {
        lose_fills(exchange, Loss::UntoldThenDown, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_order_whose_updates_were_lost_before_the_connection_broke_is_told_fill_by_fill() {
    for exchange in ALL {
        lose_fills(exchange, Loss::UntoldThenDown, MANY - 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_that_were_not_told_are_fetched_when_the_next_one_shows_that_they_are_missing() {
    for exchange in ALL {
        lose_fills(exchange, Loss::Untold, 7).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_that_nothing_told_of_are_fetched_at_shutdown() {
    for exchange in ALL {
        lose_fills(exchange, Loss::Untold, MANY - 1).await;
    }
}

/// An order is left open on purpose, fills while no gateway runs, and the next one learns of it.
async fn fill_between_two_runs(exchange: &str, parts: u32, status: OrderStatus) {
    let bench = Bench::start(&[exchange]).await;
    let gateway = bench.gateway().await;
    let mut follow = gateway.orders().updates();
    let request = NewOrder { quantity: quantity(exchange), ..common::resting(exchange) };
    let order = gateway.orders().submit(request.keep_on_shutdown()).await.expect("it rests");
    fill(&bench, exchange, &order, 1);
    update(&mut follow, |update| update.fill.is_some()).await;
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean, "{exchange}");
    bench.all_closed().await;
    fill(&bench, exchange, &order, parts);

    let gateway = bench.gateway().await;
    let path = gateway.state_directory().path().to_owned();
    let ledger = bench.mock.ledger();
    let witness = ledger.exchange(exchange);
    assert_eq!(witness.fills.len(), parts as usize + 1);
    let all = order.request.quantity.0 / Decimal::from(MANY) * Decimal::from(parts + 1);
    common::until("every fill is stored", || {
        let known = gateway.orders().get(order.id());
        known.is_some_and(|known| known.booked.0 == all && known.status == status)
    })
    .await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{exchange}: {report:#?}");
    let view = StateView::open(&path).expect("it is there");
    let stored = view.orders(10, false).expect("it is readable").rows;
    assert!(stored.iter().any(|stored| stored.booked.0 == all), "{exchange}: {stored:?}");
    let stored = view.fills(1000).expect("it is readable").rows;
    let fills = stored.into_iter().map(|booked| booked.fill).collect();
    let told = BTreeMap::from([(order.id().to_string(), Told { last: None, fills })]);
    all_fills_told(&told, witness);
    fees_are_told(&told, witness, order.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fills_between_two_runs_is_stored_fill_by_fill() {
    for exchange in ALL {
        fill_between_two_runs(exchange, 6, OrderStatus::PartiallyFilled).await;
        fill_between_two_runs(exchange, MANY - 1, OrderStatus::Filled).await;
    }
}
