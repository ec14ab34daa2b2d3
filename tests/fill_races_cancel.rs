//! Fills race cancels and win: each is booked once, whatever the exchange repeats or reorders.

mod common;

use common::judge::{all_fills_told, judge, judge_fills, told};
use common::{BOTH, Bench, reported, rest, symbol, update, within};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::types::OrderStatus;
use mock_exchange::{Fault, FaultAction, Side};
use rust_decimal::Decimal;

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

async fn shut_down_while_orders_fill(
    quantity: Option<Decimal>,
    fate: OrderFate,
    filled: Decimal,
    noise: &[FaultAction],
) {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    let updates = gateway.orders().updates();
    let mut ids = Vec::new();
    for exchange in BOTH {
        ids.push((exchange, rest(&gateway, exchange, 1).await.remove(0).id()));
        bench.fault(exchange, FaultAction::FillDuringCancel { quantity });
        for action in noise {
            bench.add(Fault::new(action.clone()).at(exchange).times(0));
        }
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Clean, "{noise:?}: {report:#?}");
    let told = told(updates).await;
    for (exchange, id) in ids {
        let line = reported(&report, id);
        assert_eq!((line.fate, line.filled.0), (fate, filled), "{exchange} {noise:?}");
        let witness = ledger.exchange(exchange);
        assert_eq!(witness.fills.len(), 1, "{exchange}");
        judge_fills(&told, witness);
        let fills = &told[id.as_str()].fills;
        assert_eq!(fills.len(), 1, "{exchange} {noise:?}: {fills:?}");
        assert_eq!(fills[0].quantity.0, filled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_races_the_cancel_is_booked() {
    let whole = decimal("0.01");
    shut_down_while_orders_fill(None, OrderFate::FilledDuringCancel, whole, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fills_during_the_cancel_is_booked_and_the_rest_is_cancelled() {
    let part = decimal("0.004");
    shut_down_while_orders_fill(Some(part), OrderFate::Canceled, part, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_racing_fill_that_is_told_twice_is_booked_once() {
    let noise = [FaultAction::DuplicateUpdates];
    let (whole, part) = (decimal("0.01"), decimal("0.004"));
    shut_down_while_orders_fill(None, OrderFate::FilledDuringCancel, whole, &noise).await;
    shut_down_while_orders_fill(Some(part), OrderFate::Canceled, part, &noise).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_racing_fill_that_is_told_after_the_end_is_booked() {
    let noise = [FaultAction::ReorderUpdates];
    let part = decimal("0.004");
    shut_down_while_orders_fill(Some(part), OrderFate::Canceled, part, &noise).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_s_cancel_returns_the_filled_order() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let order = rest(&gateway, exchange, 1).await.remove(0);
        bench.fault(exchange, FaultAction::FillDuringCancel { quantity: None });
        let ended = within(gateway.orders().cancel(order.id())).await.expect("it ended");
        assert_eq!(ended.status, OrderStatus::Filled, "{exchange}");
        assert_eq!(ended.filled, order.request.quantity);
    }
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_reordered_fills_are_each_booked_once() {
    for noise in [FaultAction::DuplicateUpdates, FaultAction::ReorderUpdates] {
        let bench = Bench::start(BOTH).await;
        let gateway = bench.gateway().await;
        let updates = gateway.orders().updates();
        for exchange in BOTH {
            let id = rest(&gateway, exchange, 1).await.remove(0).id();
            bench.add(Fault::new(noise.clone()).at(exchange).times(0));
            let mut follow = gateway.orders().updates();
            for quantity in ["0.001", "0.002", "0.003", "0.004"] {
                let traded = bench.venue(exchange).trade(
                    symbol(exchange),
                    Side::Sell,
                    decimal("20000"),
                    decimal(quantity),
                );
                traded.expect("the market moves");
            }
            let whole = update(&mut follow, |update| {
                update.order.client_id == id && update.order.filled.0 == decimal("0.01")
            });
            whole.await;
        }
        let report = within(gateway.shutdown()).await;
        let ledger = bench.mock.ledger();
        judge(&report, &ledger);
        let told = told(updates).await;
        for exchange in BOTH {
            let witness = ledger.exchange(exchange);
            assert_eq!(witness.fills.len(), 4, "{exchange} {noise:?}");
            judge_fills(&told, witness);
            all_fills_told(&told, witness);
        }
    }
}
