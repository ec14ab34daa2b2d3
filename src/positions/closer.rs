//! Which orders close a position. Pure: what is held, the rules and the prices go in, orders or the
//! reason against them come out.
//!
//! It never plans to trade more than is held less what open orders may still trade, so that a
//! position is made smaller and never turned round.

use std::fmt;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::types::{ClosingOrder, InstrumentSpec, NewOrder, Price, Quantity, Quote, Side};

/// Orders of one plan at most; the rest of a position is closed after them.
const MAX_ORDERS: usize = 16;

/// Digits of an average price.
const AVERAGE_DIGITS: u32 = 20;

/// How a position may be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) order: ClosingOrder,
    /// How much worse than the first price seen the price may be.
    pub(crate) max_slippage_percent: Decimal,
    /// An older quote is no price.
    pub(crate) max_quote_age: Duration,
    /// Whether the exchange takes orders that can only make a position smaller.
    pub(crate) reduce_only: bool,
}

/// A position that is to be closed, and what there is to go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'s> {
    pub(crate) spec: &'s InstrumentSpec,
    pub(crate) rules: Rules,
    /// What is held; below zero a short position.
    pub(crate) held: Decimal,
    /// What open orders may still trade of it.
    pub(crate) spoken_for: Decimal,
    /// The best bid and ask, and how old they are.
    pub(crate) quote: Option<(Quote, Duration)>,
    /// The worst price allowed, if it was settled before.
    pub(crate) worst: Option<Price>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: nothing is held.
    Flat,
    /// These orders, and this price is the worst from here on.
    Orders { orders: Vec<NewOrder>, worst: Price },
    /// Nothing, because of this.
    Left(Obstacle),
}

/// Why a position, or the rest of one, is not closed by an order now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// There is no best bid or ask.
    NoPrice,
    /// The best bid and ask are too old.
    OldPrice { age: Duration, max: Duration },
    /// The price is worse than the worst that is allowed.
    PriceMoved { price: Price, worst: Price },
    /// The exchange takes no order of so little.
    Dust { rest: Decimal, min: Decimal },
    /// Orders that are left open on purpose may still trade it.
    SpokenFor { quantity: Decimal },
    /// The exchange's largest order is below its smallest.
    NoSize { min: Decimal, max: Decimal },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrice => f.write_str("no fresh price: there is no best bid or ask"),
            Self::OldPrice { age, max } => {
                let (age, max) = (age.as_millis(), max.as_millis());
                write!(f, "no fresh price: the last is {age} ms old, {max} ms are allowed")
            }
            Self::PriceMoved { price, worst } => {
                let (price, worst) = (price.0.normalize(), worst.0.normalize());
                write!(f, "the price {price} is worse than {worst}, which max_slippage allows")
            }
            Self::Dust { rest, min } => {
                let (rest, min) = (rest.normalize(), min.normalize());
                write!(f, "dust: {rest} is below the exchange's smallest order {min}")
            }
            Self::SpokenFor { quantity } => {
                let quantity = quantity.normalize();
                write!(f, "orders that are kept open may still trade {quantity} of it")
            }
            Self::NoSize { min, max } => {
                let (min, max) = (min.normalize(), max.normalize());
                write!(f, "the exchange's largest order {max} is below its smallest {min}")
            }
        }
    }
}

/// The orders that close a position, as far as one round can.
pub(crate) fn plan(situation: &Situation<'_>) -> Plan {
    let Situation { spec, rules, held, spoken_for, .. } = *situation;
    if held.is_zero() {
        return Plan::Flat;
    }
    let (side, rest) = (if held > Decimal::ZERO { Side::Sell } else { Side::Buy }, held.abs());
    let lot = |quantity: Decimal| spec.round_quantity(Quantity(quantity)).0;
    let min = multiple_above(spec.min_quantity.0.max(spec.lot_size), spec.lot_size);
    if lot(rest) < min {
        return Plan::Left(Obstacle::Dust { rest, min });
    }
    let free = lot(rest - spoken_for.max(Decimal::ZERO));
    if free < min {
        return Plan::Left(Obstacle::SpokenFor { quantity: spoken_for });
    }
    let worst = match price(situation, side) {
        Ok(worst) => worst,
        Err(obstacle) => return Plan::Left(obstacle),
    };
    let by_value = spec.min_notional.and_then(|notional| notional.checked_div(worst.0));
    let min = by_value.map_or(min, |by_value| min.max(multiple_above(by_value, spec.lot_size)));
    if lot(rest) < min {
        return Plan::Left(Obstacle::Dust { rest, min });
    }
    if free < min {
        return Plan::Left(Obstacle::SpokenFor { quantity: spoken_for });
    }
    let max = spec.max_quantity.map_or(free, |max| lot(max.0));
    if max < min {
        return Plan::Left(Obstacle::NoSize { min, max });
    }
    let order = |quantity| {
        let (instrument, quantity) = (spec.instrument, Quantity(quantity));
        let order = match rules.order {
            ClosingOrder::Ioc => {
                NewOrder::limit(instrument, side, worst, quantity).immediate_or_cancel()
            }
            ClosingOrder::Market => NewOrder::market(instrument, side, quantity),
        };
        if rules.reduce_only { order.reduce_only() } else { order }
    };
    let orders = split(free, min, max).into_iter().map(order).collect();
    Plan::Orders { orders, worst }
}

/// The quantity in orders of at most `max`, none below `min`. All three are whole lots.
fn split(quantity: Decimal, min: Decimal, max: Decimal) -> Vec<Decimal> {
    let (mut parts, mut rest) = (Vec::new(), quantity);
    while rest >= min && parts.len() < MAX_ORDERS {
        let whole = rest.min(max);
        let after = rest - whole;
        // What comes after must be large enough for an order of its own.
        let missing = if after.is_zero() { after } else { (min - after).max(Decimal::ZERO) };
        let part = if whole - missing < min { whole } else { whole - missing };
        parts.push(part.normalize());
        rest -= part;
    }
    parts
}

/// The worst price allowed: that of before, or the present one less the slippage.
fn price(situation: &Situation<'_>, side: Side) -> Result<Price, Obstacle> {
    let Situation { spec, rules, quote, .. } = *situation;
    let (quote, age) = quote.ok_or(Obstacle::NoPrice)?;
    if age > rules.max_quote_age {
        return Err(Obstacle::OldPrice { age, max: rules.max_quote_age });
    }
    let price = match side {
        Side::Sell => quote.bid,
        Side::Buy => quote.ask,
    };
    if price.0 <= Decimal::ZERO {
        return Err(Obstacle::NoPrice);
    }
    let is_worse = |than: Price| match side {
        Side::Sell => price < than,
        Side::Buy => price > than,
    };
    if let Some(worst) = situation.worst {
        if is_worse(worst) {
            return Err(Obstacle::PriceMoved { price, worst });
        }
        return Ok(worst);
    }
    let part = rules.max_slippage_percent / Decimal::ONE_HUNDRED;
    let factor = match side {
        Side::Sell => Decimal::ONE - part,
        Side::Buy => Decimal::ONE + part,
    };
    let exact = price.0.checked_mul(factor).ok_or(Obstacle::NoPrice)?;
    // Rounded towards the present price: what is not allowed does not become so by rounding.
    let worst = match side {
        Side::Sell => round_up(spec, exact),
        Side::Buy => spec.round_price(Price(exact)),
    };
    let worst = match side {
        // Less than a tick of slippage: a price between two ticks has to give way.
        Side::Sell if worst > price => spec.round_price(price),
        Side::Buy if worst < price => round_up(spec, price.0),
        _ => worst,
    };
    if worst.0 <= Decimal::ZERO { Err(Obstacle::NoPrice) } else { Ok(worst) }
}

/// The price rounded up to the tick size that holds there.
fn round_up(spec: &InstrumentSpec, price: Decimal) -> Price {
    let up = multiple_above(price, spec.tick_size_at(Price(price)));
    // It may have reached a price from which the ticks are coarser.
    Price(multiple_above(up, spec.tick_size_at(Price(up))))
}

/// The smallest multiple of a step that is not below the value.
fn multiple_above(value: Decimal, step: Decimal) -> Decimal {
    let multiple = match value.checked_rem(step) {
        Some(rest) if !rest.is_zero() => value - rest + step,
        _ => value,
    };
    multiple.normalize()
}

/// The average price of some trades; `inverse` where quantities are in the quote currency.
pub(crate) fn average(
    trades: impl IntoIterator<Item = (Price, Quantity)>,
    inverse: bool,
) -> Option<Price> {
    let (mut quantity, mut sum) = (Decimal::ZERO, Decimal::ZERO);
    for (price, traded) in trades {
        quantity = quantity.checked_add(traded.0)?;
        let worth =
            if inverse { traded.0.checked_div(price.0) } else { traded.0.checked_mul(price.0) };
        sum = sum.checked_add(worth?)?;
    }
    let average = if inverse { quantity.checked_div(sum) } else { sum.checked_div(quantity) };
    // Division leaves a trace in the last digits that no exchange means.
    average.and_then(|average| average.round_sf(AVERAGE_DIGITS)).map(|it| Price(it.normalize()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{OrderKind, TickSizeStep, TimeInForce};

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn spec() -> InstrumentSpec {
        InstrumentSpec {
            instrument: "binance:BTC-USDT".parse().unwrap(),
            symbol: "BTCUSDT".into(),
            tick_size: number("0.5"),
            tick_size_steps: Vec::new(),
            lot_size: number("0.01"),
            min_quantity: Quantity(number("0.1")),
            max_quantity: Some(Quantity(number("10"))),
            min_notional: Some(number("50")),
            contract_size: None,
        }
    }

    const RULES: Rules = Rules {
        order: ClosingOrder::Ioc,
        max_slippage_percent: Decimal::ONE,
        max_quote_age: Duration::from_secs(5),
        reduce_only: false,
    };

    fn quote(bid: &str, ask: &str) -> Quote {
        let one = Quantity(Decimal::ONE);
        let (bid, ask) = (bid.parse().unwrap(), ask.parse().unwrap());
        Quote { bid, bid_quantity: one, ask, ask_quantity: one }
    }

    fn situation<'s>(spec: &'s InstrumentSpec, held: &str) -> Situation<'s> {
        Situation {
            spec,
            rules: RULES,
            held: number(held),
            spoken_for: Decimal::ZERO,
            quote: Some((quote("1000", "1001"), Duration::ZERO)),
            worst: None,
        }
    }

    /// A plan in one line.
    fn shown(situation: &Situation<'_>) -> String {
        match plan(situation) {
            Plan::Flat => "flat".to_owned(),
            Plan::Left(obstacle) => obstacle.to_string(),
            Plan::Orders { orders, worst } => {
                let quantities: Vec<_> =
                    orders.iter().map(|order| order.quantity.0.normalize().to_string()).collect();
                format!("{} {} at {worst}", orders[0].side, quantities.join(" + "))
            }
        }
    }

    #[test]
    fn a_position_becomes_orders_within_the_exchange_s_rules_or_a_reason() {
        let spec = spec();
        let cases = [
            ("0", "flat"),
            ("1.239", "sell 1.23 at 990"),
            ("-1.239", "buy 1.23 at 1011"),
            ("25", "sell 10 + 10 + 5 at 990"),
            ("20.05", "sell 10 + 9.95 + 0.1 at 990"),
            ("20.009", "sell 10 + 10 at 990"),
            ("0.099", "dust: 0.099 is below the exchange's smallest order 0.1"),
            ("-0.009", "dust: 0.009 is below the exchange's smallest order 0.1"),
        ];
        for (held, expected) in cases {
            assert_eq!(shown(&situation(&spec, held)), expected, "{held}");
        }
    }

    #[test]
    fn what_is_worth_too_little_is_dust() {
        let spec = InstrumentSpec { min_notional: Some(number("500")), ..spec() };
        let left = shown(&situation(&spec, "0.5"));
        assert_eq!(left, "dust: 0.5 is below the exchange's smallest order 0.51");
        // The last part of a split must be worth enough, too.
        assert_eq!(shown(&situation(&spec, "10.1")), "sell 9.59 + 0.51 at 990");
    }

    #[test]
    fn without_a_fresh_price_nothing_is_sent() {
        let spec = spec();
        for order in [ClosingOrder::Ioc, ClosingOrder::Market] {
            let mut case = situation(&spec, "1");
            case.rules.order = order;
            case.quote = None;
            assert!(shown(&case).starts_with("no fresh price: there is no best"));
            case.quote = Some((quote("0", "1001"), Duration::ZERO));
            assert!(shown(&case).starts_with("no fresh price: there is no best"));
            case.quote = Some((quote("1000", "1001"), Duration::from_millis(5001)));
            assert_eq!(
                shown(&case),
                "no fresh price: the last is 5001 ms old, 5000 ms are allowed"
            );
            case.quote = Some((quote("1000", "1001"), Duration::from_secs(5)));
            assert_eq!(shown(&case), "sell 1 at 990");
        }
    }

    #[test]
    fn the_worst_price_stays_while_the_market_moves() {
        let spec = spec();
        for (held, bid, ask, worst, expected) in [
            ("1", "995", "996", "990", "sell 1 at 990"),
            (
                "1",
                "989.5",
                "990",
                "990",
                "the price 989.5 is worse than 990, which max_slippage allows",
            ),
            ("-1", "1004", "1005", "1011", "buy 1 at 1011"),
            (
                "-1",
                "1011",
                "1011.5",
                "1011",
                "the price 1011.5 is worse than 1011, which max_slippage allows",
            ),
        ] {
            let mut case = situation(&spec, held);
            case.quote = Some((quote(bid, ask), Duration::ZERO));
            case.worst = Some(worst.parse().unwrap());
            assert_eq!(shown(&case), expected);
        }
    }

    #[test]
    fn prices_are_rounded_towards_the_market() {
        let spec = InstrumentSpec {
            tick_size_steps: vec![TickSizeStep {
                above_price: number("990"),
                tick_size: number("4"),
            }],
            min_notional: None,
            ..spec()
        };
        for (percent, held, bid, ask, expected) in [
            ("0.01", "1", "980", "980.5", "sell 1 at 980"),
            ("0.1", "1", "980", "980.5", "sell 1 at 979.5"),
            ("0.1", "-1", "980", "980.5", "buy 1 at 981"),
            ("0", "-1", "980", "980.5", "buy 1 at 980.5"),
            // From 989.7 up to the step, where the ticks are coarser.
            ("0.5", "1", "994.8", "996", "sell 1 at 992"),
            ("0", "1", "980.3", "981", "sell 1 at 980"),
            ("0", "-1", "980", "980.3", "buy 1 at 980.5"),
        ] {
            let mut case = situation(&spec, held);
            case.rules.max_slippage_percent = number(percent);
            case.quote = Some((quote(bid, ask), Duration::ZERO));
            assert_eq!(shown(&case), expected, "{percent} {held}");
        }
    }

    #[test]
    fn orders_are_reduce_only_where_the_exchange_has_it_and_market_only_if_configured() {
        let spec = spec();
        let mut case = situation(&spec, "1");
        let first = |case: &Situation<'_>| match plan(case) {
            Plan::Orders { orders, .. } => orders[0],
            other => panic!("{other:?}"),
        };
        let order = first(&case);
        let ioc = matches!(order.kind, OrderKind::Limit { time_in_force: TimeInForce::Ioc, .. });
        assert!(ioc && !order.reduce_only, "{order:?}");
        case.rules.reduce_only = true;
        case.rules.order = ClosingOrder::Market;
        let order = first(&case);
        assert!(order.kind == OrderKind::Market && order.reduce_only, "{order:?}");
    }

    #[test]
    fn what_kept_orders_may_still_trade_is_left_to_them() {
        let spec = spec();
        let mut case = situation(&spec, "1");
        case.spoken_for = number("0.4");
        assert_eq!(shown(&case), "sell 0.6 at 990");
        for taken in ["0.95", "1", "3"] {
            case.spoken_for = number(taken);
            let expected = format!("orders that are kept open may still trade {taken} of it");
            assert_eq!(shown(&case), expected);
        }
    }

    #[test]
    fn an_average_weighs_by_what_was_traded() {
        let trades = |list: &[(&str, &str)]| -> Vec<(Price, Quantity)> {
            list.iter().map(|(p, q)| (p.parse().unwrap(), q.parse().unwrap())).collect()
        };
        let list = trades(&[("100", "1"), ("200", "3")]);
        assert_eq!(average(list.clone(), false).unwrap().0, number("175"));
        assert_eq!(average(list, true).unwrap().0, number("160"));
        assert_eq!(average(Vec::new(), false), None);
    }

    prop_compose! {
        fn any_spec()(
            lot in prop::sample::select(vec!["1", "0.01", "0.25", "10"]),
            min_lots in 1_u32..50,
            max_lots in proptest::option::of(1_u32..400),
            min_notional in proptest::option::of(1_u32..5_000),
        ) -> InstrumentSpec {
            let lot = number(lot);
            InstrumentSpec {
                lot_size: lot,
                min_quantity: Quantity(lot * Decimal::from(min_lots)),
                max_quantity: max_lots.map(|lots| Quantity(lot * Decimal::from(lots))),
                min_notional: min_notional.map(Decimal::from),
                ..spec()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_plan_makes_a_position_smaller_and_keeps_every_rule(
            spec in any_spec(),
            held in -5_000_000_i64..5_000_000,
            taken in prop_oneof![Just(0_i64), 0_i64..5_000_000],
            bid in 1_i64..100_000,
            percent in 0_i64..5_000,
            market in any::<bool>(),
        ) {
            let (bid, ask) = (Decimal::from(bid) * number("0.5"), Decimal::from(bid + 1) * number("0.5"));
            let one = Quantity(Decimal::ONE);
            let case = Situation {
                spec: &spec,
                rules: Rules {
                    order: if market { ClosingOrder::Market } else { ClosingOrder::Ioc },
                    max_slippage_percent: Decimal::new(percent, 2),
                    ..RULES
                },
                held: Decimal::new(held, 3),
                spoken_for: Decimal::new(taken, 3),
                quote: Some((
                    Quote { bid: bid.into(), bid_quantity: one, ask: ask.into(), ask_quantity: one },
                    Duration::ZERO,
                )),
                worst: None,
            };
            match plan(&case) {
                Plan::Flat => prop_assert_eq!(held, 0),
                Plan::Left(_) => {}
                Plan::Orders { orders, worst } => {
                    let sum: Decimal = orders.iter().map(|order| order.quantity.0).sum();
                    let free = case.held.abs() - case.spoken_for;
                    prop_assert!(sum <= free, "{} of {}", sum, free);
                    prop_assert!(!orders.is_empty() && orders.len() <= MAX_ORDERS);
                    if orders.len() < MAX_ORDERS {
                        let smallest = spec.min_quantity.0.max(spec.lot_size);
                        let by_value = spec.min_notional.map_or(Decimal::ZERO, |n| n / worst.0 + spec.lot_size);
                        prop_assert!(free - sum < smallest.max(by_value) + spec.lot_size);
                    }
                    let allowed = Decimal::new(percent, 4);
                    for order in &orders {
                        prop_assert_eq!(order.side == Side::Sell, held > 0);
                        spec.check(order).map_err(|e| TestCaseError::fail(e.to_string()))?;
                    }
                    match orders[0].side {
                        Side::Sell => prop_assert!(worst.0 >= bid * (Decimal::ONE - allowed) && worst.0 <= bid),
                        Side::Buy => prop_assert!(worst.0 <= ask * (Decimal::ONE + allowed) && worst.0 >= ask),
                    }
                }
            }
        }
    }
}
