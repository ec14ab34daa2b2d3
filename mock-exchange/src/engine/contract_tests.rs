//! What the engine promises of derivatives, under random commands.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::account::FeeAsset;
use super::command::{Engine, NewOrder};
use super::order::{Amount, EngineEvent, Order, OrderChange, OrderKind, Side, TimeInForce};
use crate::instrument::{Contract, ContractKind, Instrument};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const DEPOSIT: i64 = 1_000;

fn engine(kind: ContractKind) -> Engine {
    let contract =
        Contract { kind, size: Decimal::ONE, settlement: "COIN".into(), leverage: Decimal::TEN };
    let listed = Instrument { contract: Some(contract), ..Instrument::new("BTC", "USD", "-") };
    let instruments: Arc<[Instrument]> = Arc::new([listed]);
    let fees = (Decimal::new(1, 3), Decimal::new(2, 3));
    let mut engine = Engine::new(instruments, FeeAsset::Quote, fees, 1_000);
    engine.share_client_ids();
    engine.deposit(&"COIN".into(), Decimal::from(DEPOSIT));
    engine
}

#[derive(Clone, Debug)]
enum Command {
    Place { buy: bool, price: i64, quantity: i64, reduce_only: bool, time_in_force: TimeInForce },
    Cancel(usize),
    Amend { nth: usize, price: i64, quantity: i64 },
    Trade { buy: bool, price: i64, quantity: i64 },
}

fn command() -> impl Strategy<Value = Command> {
    let price = 95..105_i64;
    let quantity = 1..20_i64;
    let lifetime = prop_oneof![Just(TimeInForce::Gtc), Just(TimeInForce::Ioc)];
    prop_oneof![
        4 => (any::<bool>(), price.clone(), quantity.clone(), any::<bool>(), lifetime).prop_map(
            |(buy, price, quantity, reduce_only, time_in_force)| Command::Place {
                buy, price, quantity, reduce_only, time_in_force,
            }
        ),
        1 => (0..8_usize).prop_map(Command::Cancel),
        1 => (0..8_usize, price.clone(), quantity.clone())
            .prop_map(|(nth, price, quantity)| Command::Amend { nth, price, quantity }),
        3 => (any::<bool>(), price, quantity)
            .prop_map(|(buy, price, quantity)| Command::Trade { buy, price, quantity }),
    ]
}

fn side(buy: bool) -> Side {
    if buy { Side::Buy } else { Side::Sell }
}

fn apply(engine: &mut Engine, command: &Command, events: &mut Vec<EngineEvent>) {
    let nth = |engine: &Engine, nth: usize| engine.open_orders().nth(nth).map(|order| order.id);
    match *command {
        Command::Place { buy, price, quantity, reduce_only, time_in_force } => {
            let order = NewOrder {
                instrument: 0,
                side: side(buy),
                kind: OrderKind::Limit,
                time_in_force,
                post_only: false,
                reduce_only,
                price: Some(Decimal::from(price)),
                amount: Amount::Base(Decimal::from(quantity)),
                client_id: "same".into(),
                user_reference: None,
            };
            let _ = engine.place(order, NOW, events);
        }
        Command::Cancel(index) => {
            if let Some(id) = nth(engine, index) {
                engine.cancel(id, None, NOW, events);
            }
        }
        Command::Amend { nth: index, price, quantity } => {
            if let Some(id) = nth(engine, index) {
                let (quantity, price) = (Decimal::from(quantity), Decimal::from(price));
                let _ = engine.amend(id, quantity, price, NOW, events);
            }
        }
        Command::Trade { buy, price, quantity } => {
            let (price, quantity) = (Decimal::from(price), Decimal::from(quantity));
            engine.trade(0, side(buy), price, quantity, NOW, events);
        }
    }
}

/// The position before each fill of a reduce-only order is larger than the fill.
fn check_fills(events: &[EngineEvent], position: &mut Decimal) {
    for event in events {
        let EngineEvent::Order { order, change: OrderChange::Trade(fill) } = event else {
            continue;
        };
        let signed = order.side.signed(fill.quantity);
        if order.reduce_only {
            assert!(position.abs() >= fill.quantity, "{order:?} at {position}");
            assert!((*position * signed).is_sign_negative(), "{order:?} at {position}");
        }
        *position += signed;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn money_comes_and_goes_by_profit_and_fees_alone_and_reducing_orders_only_reduce(
        inverse in any::<bool>(),
        commands in prop::collection::vec(command(), 1..60),
    ) {
        let kind = if inverse { ContractKind::Inverse } else { ContractKind::Linear };
        let mut engine = engine(kind);
        let mut position = Decimal::ZERO;
        for command in &commands {
            let mut events = Vec::new();
            apply(&mut engine, command, &mut events);
            check_fills(&events, &mut position);
            prop_assert_eq!(engine.position(0).size, position);
            let held = engine.account().balance("COIN");
            let changed: Decimal = engine.fills().map(|fill| fill.profit - fill.fee).sum();
            prop_assert_eq!(held.free + held.locked, Decimal::from(DEPOSIT) + changed);
            let locked: Decimal = engine.open_orders().map(|order| order.locked).sum();
            prop_assert_eq!(held.locked, locked);
            for order in engine.open_orders().filter(|order| order.reduce_only) {
                let most = engine.position(0).reducible(order.side);
                prop_assert!(order.remaining() <= most, "{:?} with {}", order, position);
            }
            let resting: Decimal = engine.open_orders().map(Order::remaining).sum();
            let book = engine.book(0);
            let shown = [Side::Buy, Side::Sell].into_iter().flat_map(|s| book.levels(s, 99));
            prop_assert_eq!(shown.map(|(_, quantity)| quantity).sum::<Decimal>(), resting);
        }
        prop_assert_eq!(engine.account().balances().len(), 1, "nothing else is ever touched");
    }
}
