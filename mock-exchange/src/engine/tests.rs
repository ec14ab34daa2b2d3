//! The engine's promises, as examples and under random commands.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::account::FeeAsset;
use super::command::{Engine, NewOrder, Reject};
use super::order::{
    Amount, EngineEvent, OrderChange, OrderId, OrderKind, OrderStatus, Side, TimeInForce,
};
use crate::instrument::Instrument;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn engine(fee_asset: FeeAsset) -> Engine {
    let instruments: Arc<[Instrument]> = Arc::new([Instrument::new("BTC", "USDT", "")]);
    let fees = (Decimal::new(1, 3), Decimal::new(2, 3));
    let mut engine = Engine::new(instruments, fee_asset, fees, 1_000);
    engine.deposit(&"BTC".into(), Decimal::from(100));
    engine.deposit(&"USDT".into(), Decimal::from(10_000));
    engine
}

fn limit(side: Side, price: i64, quantity: i64, name: &str) -> NewOrder {
    NewOrder {
        instrument: 0,
        side,
        kind: OrderKind::Limit,
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        reduce_only: false,
        price: Some(Decimal::from(price)),
        amount: Amount::Base(Decimal::from(quantity)),
        client_id: name.into(),
        user_reference: None,
    }
}

fn market(side: Side, amount: Amount) -> NewOrder {
    NewOrder {
        kind: OrderKind::Market,
        time_in_force: TimeInForce::Ioc,
        price: None,
        amount,
        ..limit(side, 1, 1, "m")
    }
}

fn place(engine: &mut Engine, order: NewOrder) -> Result<OrderId, Reject> {
    engine.place(order, NOW, &mut Vec::new())
}

fn levels(list: &[(i64, i64)]) -> Vec<(Decimal, Decimal)> {
    list.iter().map(|(price, quantity)| (Decimal::from(*price), Decimal::from(*quantity))).collect()
}

fn set(engine: &mut Engine, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Vec<EngineEvent> {
    let mut events = Vec::new();
    engine.set_market(0, &levels(bids), &levels(asks), NOW, &mut events);
    events
}

fn fills(engine: &Engine) -> Vec<(i64, i64, bool)> {
    let whole = |value: Decimal| i64::try_from(value).unwrap();
    engine.fills().map(|f| (whole(f.price), whole(f.quantity), f.maker)).collect()
}

#[test]
fn an_order_takes_the_best_price_first_and_rests_with_what_is_left() {
    let mut engine = engine(FeeAsset::Received);
    set(&mut engine, &[(90, 5)], &[(102, 1), (101, 1), (105, 9)]);
    let id = place(&mut engine, limit(Side::Buy, 103, 5, "a")).unwrap();
    assert_eq!(fills(&engine), [(101, 1, false), (102, 1, false)]);
    let order = engine.order(id).unwrap();
    assert_eq!((order.status, order.remaining()), (OrderStatus::PartiallyFilled, Decimal::from(3)));
    assert_eq!(engine.book(0).quote().bid, Decimal::from(103));
}

#[test]
fn within_a_price_the_earlier_order_fills_first() {
    let mut engine = engine(FeeAsset::Received);
    let first = place(&mut engine, limit(Side::Buy, 50, 2, "first")).unwrap();
    let second = place(&mut engine, limit(Side::Buy, 50, 2, "second")).unwrap();
    engine.trade(0, Side::Sell, Decimal::from(50), Decimal::from(3), NOW, &mut Vec::new());
    assert_eq!(engine.order(first).unwrap().status, OrderStatus::Filled);
    assert_eq!(engine.order(second).unwrap().filled, Decimal::ONE);
}

#[test]
fn a_trade_prints_its_whole_quantity_and_makers_with_better_prices_step_back() {
    let mut engine = engine(FeeAsset::Received);
    set(&mut engine, &[(90, 5)], &[(110, 5)]);
    place(&mut engine, limit(Side::Buy, 80, 2, "deep")).unwrap();
    let mut events = Vec::new();
    engine.trade(0, Side::Sell, Decimal::from(80), Decimal::from(3), NOW, &mut events);
    assert_eq!(fills(&engine), [(80, 2, true)]);
    let printed: Decimal = events
        .iter()
        .filter_map(|event| match event {
            EngineEvent::Trade(trade) => Some(trade.quantity),
            _ => None,
        })
        .sum();
    assert_eq!(printed, Decimal::from(3));
}

#[test]
fn a_quote_that_meets_an_own_order_trades_with_it() {
    let mut engine = engine(FeeAsset::Received);
    let id = place(&mut engine, limit(Side::Buy, 100, 2, "a")).unwrap();
    set(&mut engine, &[(94, 1)], &[(95, 5)]);
    assert_eq!(engine.order(id).unwrap().status, OrderStatus::Filled);
    assert_eq!(fills(&engine), [(100, 2, true)]);
    assert_eq!(engine.book(0).quote().ask_quantity, Decimal::from(3));
}

#[test]
fn fill_or_kill_trades_whole_or_not_at_all() {
    let mut engine = engine(FeeAsset::Received);
    set(&mut engine, &[(90, 5)], &[(100, 2)]);
    let kill = NewOrder { time_in_force: TimeInForce::Fok, ..limit(Side::Buy, 100, 3, "a") };
    let id = place(&mut engine, kill.clone()).unwrap();
    assert_eq!(engine.order(id).unwrap().status, OrderStatus::Expired);
    let fill = NewOrder { amount: Amount::Base(Decimal::TWO), ..kill };
    let id = place(&mut engine, fill).unwrap();
    assert_eq!(engine.order(id).unwrap().status, OrderStatus::Filled);
}

#[test]
fn a_market_order_in_quote_buys_whole_steps_and_expires_on_an_empty_book() {
    let mut engine = engine(FeeAsset::Received);
    let id = place(&mut engine, market(Side::Buy, Amount::Quote(Decimal::from(500)))).unwrap();
    assert_eq!(engine.order(id).unwrap().status, OrderStatus::Expired);
    set(&mut engine, &[(90, 5)], &[(100, 1), (200, 5)]);
    let id = place(&mut engine, market(Side::Buy, Amount::Quote(Decimal::from(500)))).unwrap();
    let order = engine.order(id).unwrap();
    assert_eq!((order.status, order.filled), (OrderStatus::Filled, Decimal::from(3)));
    assert_eq!(order.filled_quote, Decimal::from(500));
}

#[test]
fn refused_orders_leave_no_trace() {
    let mut engine = engine(FeeAsset::Quote);
    set(&mut engine, &[(90, 5)], &[(100, 5)]);
    let post_only = NewOrder { post_only: true, ..limit(Side::Buy, 100, 1, "p") };
    assert_eq!(place(&mut engine, post_only), Err(Reject::WouldTake));
    // The fee in quote must be affordable too.
    let all = limit(Side::Buy, 50, 200, "all");
    assert_eq!(place(&mut engine, all), Err(Reject::InsufficientBalance));
    place(&mut engine, limit(Side::Buy, 50, 1, "same")).unwrap();
    let same = limit(Side::Sell, 150, 1, "same");
    assert_eq!(place(&mut engine, same), Err(Reject::DuplicateClientId));
    assert_eq!(engine.orders().count(), 1);
}

#[test]
fn book_changes_are_numbered_without_holes_and_say_what_changed() {
    let mut engine = engine(FeeAsset::Received);
    let mut next = 1;
    for step in 0..20 {
        for event in set(&mut engine, &[(90 - step % 3, 5)], &[(100 + step % 2, 5 + step)]) {
            if let EngineEvent::Book { first_id, last_id, bids, asks, .. } = event {
                assert_eq!(first_id, next);
                assert_eq!(last_id, first_id + (bids.len() + asks.len()) as u64 - 1);
                next = last_id + 1;
            }
        }
    }
    assert!(next > 20);
    assert!(set(&mut engine, &[(89, 5)], &[(101, 24)]).is_empty(), "nothing changed");
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Place { buy: bool, price: i64, quantity: i64, immediate: bool, name: u8 },
    Cancel(OrderId),
    Fill(OrderId, i64),
    Trade { buy: bool, price: i64, quantity: i64 },
    Quote { bid: i64, spread: i64, quantity: i64 },
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let side = any::<bool>();
    let price = 80..120_i64;
    let quantity = 1..8_i64;
    let command = prop_oneof![
        4 => (side, price.clone(), quantity.clone(), any::<bool>(), any::<u8>()).prop_map(
            |(buy, price, quantity, immediate, name)| {
                Command::Place { buy, price, quantity, immediate, name }
            }
        ),
        2 => (1..60_u64).prop_map(Command::Cancel),
        1 => (1..60_u64, quantity.clone()).prop_map(|(id, quantity)| Command::Fill(id, quantity)),
        2 => (any::<bool>(), price.clone(), quantity.clone())
            .prop_map(|(buy, price, quantity)| Command::Trade { buy, price, quantity }),
        1 => (price, 1..5_i64, quantity)
            .prop_map(|(bid, spread, quantity)| Command::Quote { bid, spread, quantity }),
    ];
    prop::collection::vec(command, 1..60)
}

fn run(engine: &mut Engine, command: Command, events: &mut Vec<EngineEvent>) {
    let side = |buy| if buy { Side::Buy } else { Side::Sell };
    match command {
        Command::Place { buy, price, quantity, immediate, name } => {
            let time_in_force = if immediate { TimeInForce::Ioc } else { TimeInForce::Gtc };
            let order = limit(side(buy), price, quantity, &format!("n{name}"));
            let _ = engine.place(NewOrder { time_in_force, ..order }, NOW, events);
        }
        Command::Cancel(id) => {
            engine.cancel(id, None, NOW, events);
        }
        Command::Fill(id, quantity) => {
            engine.fill(id, Some(Decimal::from(quantity)), NOW, events);
        }
        Command::Trade { buy, price, quantity } => {
            let (price, quantity) = (Decimal::from(price), Decimal::from(quantity));
            engine.trade(0, side(buy), price, quantity, NOW, events);
        }
        Command::Quote { bid, spread, quantity } => {
            let (bids, asks) = (levels(&[(bid, quantity)]), levels(&[(bid + spread, quantity)]));
            engine.set_market(0, &bids, &asks, NOW, events);
        }
    }
}

fn check(engine: &Engine, events: &[EngineEvent]) {
    let quote = engine.book(0).quote();
    if !quote.bid.is_zero() && !quote.ask.is_zero() {
        assert!(quote.bid < quote.ask, "crossed: {quote:?}");
    }
    // What is locked is exactly what the open orders need.
    let locked = |side| -> Decimal {
        engine.open_orders().filter(|order| order.side == side).map(|order| order.locked).sum()
    };
    assert_eq!(engine.account().balance("USDT").locked, locked(Side::Buy));
    assert_eq!(engine.account().balance("BTC").locked, locked(Side::Sell));
    assert!(engine.account().free("USDT") >= Decimal::ZERO);
    assert!(engine.account().free("BTC") >= Decimal::ZERO);
    for order in engine.orders() {
        let booked = engine.fills().filter(|fill| fill.order_id == order.id);
        assert_eq!(order.filled, booked.map(|fill| fill.quantity).sum::<Decimal>());
        assert_eq!(order.status == OrderStatus::Filled, order.remaining().is_zero());
    }
    // Balances are the deposits, the fills and the fees, and nothing else.
    let mut base = Decimal::from(100);
    for fill in engine.fills() {
        let signed = if fill.side == Side::Buy { fill.quantity } else { -fill.quantity };
        base += signed;
        if &*fill.fee_asset == "BTC" {
            base -= fill.fee;
        }
    }
    let held = engine.account().balance("BTC");
    assert_eq!(held.free + held.locked, base);
    // After its last event an order says no more.
    let mut ended = std::collections::BTreeSet::new();
    for event in events {
        if let EngineEvent::Order { order, change } = event {
            assert!(!ended.contains(&order.id), "{order:?} {change:?}");
            if !order.status.is_open() {
                ended.insert(order.id);
            }
            assert_eq!(
                matches!(change, OrderChange::New),
                order.filled.is_zero() && order.status == OrderStatus::New
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_sequence_of_commands_makes_or_loses_money(commands in commands()) {
        for fee_asset in [FeeAsset::Received, FeeAsset::Quote] {
            let mut engine = engine(fee_asset);
            let mut events = Vec::new();
            for command in commands.clone() {
                run(&mut engine, command, &mut events);
                check(&engine, &events);
            }
        }
    }
}
