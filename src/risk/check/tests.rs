use super::*;
use crate::types::{InstrumentSpec, Quantity};

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn terms(name: &str) -> (Instrument, Terms) {
    let instrument: Instrument = name.parse().unwrap();
    let is_derivative = instrument.exchange().as_str() == "deribit";
    let spec = InstrumentSpec {
        instrument,
        symbol: instrument.pair().to_owned(),
        tick_size: decimal("0.01"),
        tick_size_steps: Vec::new(),
        lot_size: decimal("0.001"),
        min_quantity: Quantity(decimal("0.001")),
        max_quantity: None,
        min_notional: None,
        contract_size: is_derivative.then(|| 10.into()),
    };
    (instrument, Terms::of(&spec))
}

const SPOT: &str = "binance:BTC-USDT";
const INVERSE: &str = "deribit:BTC-PERPETUAL";

/// Nothing held, nothing open, and bid 99, ask 101.
fn still() -> Exposure {
    let mark = Mark { bid: Price(99.into()), ask: Price(101.into()) };
    Exposure {
        position: Decimal::ZERO,
        open: OpenQuantities::default(),
        open_orders: Pair::default(),
        recent: Pair::default(),
        others: Pair::default(),
        unpriced: None,
        last: Some((mark, Duration::from_secs(1))),
    }
}

fn no_limits() -> Limits {
    Limits { stale_tick_after: Duration::from_secs(10), ..Limits::default() }
}

fn order(name: &str, side: Side, quantity: &str, price: Option<&str>) -> NewOrder {
    let (instrument, quantity) = (name.parse().unwrap(), Quantity(decimal(quantity)));
    match price {
        Some(price) => NewOrder::limit(instrument, side, Price(decimal(price)), quantity),
        None => NewOrder::market(instrument, side, quantity),
    }
}

fn checked(limits: &Limits, exposure: &Exposure, order: &NewOrder) -> Result<(), RiskBreach> {
    let (_, terms) = terms(order.instrument.as_str());
    check(limits, &terms, exposure, order)
}

/// Checks tried values below, at and above a limit: only the last is refused, under the limit's name.
fn holds(limit: &str, tried: [Result<(), RiskBreach>; 3]) -> String {
    let [below, at, above] = tried;
    assert_eq!((below, at), (Ok(()), Ok(())), "{limit}");
    let breach = above.expect_err(limit);
    assert_eq!(breach.limit(), limit);
    let words = breach.to_string();
    assert!(words.contains(limit), "{words}");
    words
}

#[test]
fn an_order_has_at_most_its_quantity() {
    let limits = Limits { order_quantity: Some(decimal("1.5")), ..no_limits() };
    for side in [Side::Buy, Side::Sell] {
        let tried = ["1.499", "1.5", "1.501"]
            .map(|quantity| checked(&limits, &still(), &order(SPOT, side, quantity, Some("100"))));
        let words = holds("max_order_quantity", tried);
        assert!(words.contains("is 1.5") && words.contains("has 1.501"), "{words}");
    }
}

#[test]
fn an_order_is_worth_at_most_its_notional_at_the_worse_of_its_own_and_the_last_price() {
    let limits = Limits { order_notional: Some(1010.into()), ..no_limits() };
    let tried = |name, side, price, quantities: [&str; 3]| {
        quantities.map(|quantity| checked(&limits, &still(), &order(name, side, quantity, price)))
    };
    // A market order at the last ask; a sell below the market would fill at the market.
    for (side, price) in [
        (Side::Buy, None),
        (Side::Sell, None),
        (Side::Sell, Some("50")),
        (Side::Buy, Some("101")),
        (Side::Buy, Some("1")),
    ] {
        let words =
            holds("max_order_notional", tried(SPOT, side, price, ["9.999", "10", "10.001"]));
        assert!(words.contains("1010 USDT") && words.contains("1010.101 USDT"), "{words}");
    }
    // At its own price where that is above the market.
    holds("max_order_notional", tried(SPOT, Side::Buy, Some("202"), ["4.999", "5", "5.001"]));
    // In the base currency of an inverse perpetual, where a low price makes more: 99 here.
    let quantities = ["99989", "99990", "99991"];
    let words = holds("max_order_notional", tried(INVERSE, Side::Buy, None, quantities));
    assert!(words.contains("1010 BTC"), "{words}");
}

#[test]
fn a_price_is_at_most_so_far_from_the_market() {
    let limits = Limits { price_distance_percent: Some(10.into()), ..no_limits() };
    let tried = |side, prices: [&str; 3]| {
        prices.map(|price| checked(&limits, &still(), &order(SPOT, side, "1", Some(price))))
    };
    for side in [Side::Buy, Side::Sell] {
        let words = holds("max_price_distance_percent", tried(side, ["111.09", "111.1", "111.11"]));
        assert!(words.contains("is 10 %") && words.contains("10.0099 %"), "{words}");
        assert!(words.contains("last price 101"), "{words}");
        holds("max_price_distance_percent", tried(side, ["89.11", "89.1", "89.09"]));
        holds("max_price_distance_percent", tried(side, ["99", "100.5", "200"]));
    }
    // A market order is at the market.
    assert_eq!(checked(&limits, &still(), &order(SPOT, Side::Buy, "1", None)), Ok(()));
}

#[test]
fn an_order_that_needs_a_price_is_refused_without_a_fresh_one() {
    let needing = [
        Limits { order_notional: Some(Decimal::MAX), ..no_limits() },
        Limits { price_distance_percent: Some(1000.into()), ..no_limits() },
        Limits { gross_exposure: Pair { all: Some(Decimal::MAX), exchange: None }, ..no_limits() },
        Limits { gross_exposure: Pair { all: None, exchange: Some(Decimal::MAX) }, ..no_limits() },
    ];
    for limits in needing {
        for price in [None, Some("100")] {
            let order = order(SPOT, Side::Buy, "1", price);
            let aged = |ms| {
                let (mark, _) = still().last.unwrap();
                let last = Some((mark, Duration::from_millis(ms)));
                checked(&limits, &Exposure { last, ..still() }, &order)
            };
            let words = holds("stale_tick_after", [aged(9_999), aged(10_000), aged(10_001)]);
            assert!(words.contains("10000 ms") && words.contains("10001 ms"), "{words}");
            let never = checked(&limits, &Exposure { last: None, ..still() }, &order);
            let words = never.unwrap_err().to_string();
            assert!(words.contains("no tick has come"), "{words}");
        }
    }
    let none = Exposure { last: None, ..still() };
    assert_eq!(checked(&no_limits(), &none, &order(SPOT, Side::Buy, "1", None)), Ok(()));
}

#[test]
fn so_many_orders_are_open_at_most() {
    let open = |all, exchange, instrument| {
        let mut open = OpenQuantities::default();
        open.orders = instrument;
        Exposure { open_orders: Pair { all, exchange }, open, ..still() }
    };
    let one = order(SPOT, Side::Buy, "1", Some("100"));
    let pair = |all, exchange| Limits { open_orders: Pair { all, exchange }, ..no_limits() };
    let tried = [7, 8, 9].map(|now| checked(&pair(Some(9), None), &open(now, 99, 99), &one));
    let words = holds("max_open_orders", tried);
    assert!(words.contains("all exchanges is 9") && words.contains("number 10"), "{words}");
    let tried = [7, 8, 9].map(|now| checked(&pair(None, Some(9)), &open(99, now, 99), &one));
    assert!(holds("max_open_orders", tried).contains("of binance is 9"));
    let limits = Limits { open_orders_of_instrument: Some(9), ..no_limits() };
    let tried = [7, 8, 9].map(|now| checked(&limits, &open(99, 99, now), &one));
    assert!(holds("max_open_orders", tried).contains("of binance:BTC-USDT is 9"));
}

#[test]
fn so_many_orders_come_within_a_second_at_most() {
    let recent = |all, exchange| Exposure { recent: Pair { all, exchange }, ..still() };
    let one = order(SPOT, Side::Buy, "1", Some("100"));
    let pair = |all, exchange| Limits { orders_per_second: Pair { all, exchange }, ..no_limits() };
    let tried = [0, 4, 5].map(|now| checked(&pair(Some(5), None), &recent(now, 99), &one));
    let words = holds("max_orders_per_second", tried);
    assert!(words.contains("all exchanges is 5") && words.contains("number 6"), "{words}");
    let tried = [0, 4, 5].map(|now| checked(&pair(None, Some(5)), &recent(99, now), &one));
    assert!(holds("max_orders_per_second", tried).contains("of binance is 5"));
}

#[test]
fn a_position_counts_as_if_every_open_order_of_the_side_filled() {
    let limits = Limits { position: Some(10.into()), ..no_limits() };
    let held = |position: i64, buys: i64, sells: i64| {
        let mut open = OpenQuantities::default();
        open.add(Side::Buy, false, buys.into());
        open.add(Side::Sell, false, sells.into());
        Exposure { position: position.into(), open, ..still() }
    };
    let tried = |exposure: Exposure, side, quantities: [&str; 3]| {
        quantities.map(|quantity| checked(&limits, &exposure, &order(SPOT, side, quantity, None)))
    };
    let words = holds("max_position", tried(held(3, 4, 100), Side::Buy, ["2", "3", "3.001"]));
    assert!(words.contains("is 10") && words.contains("10.001 would be held"), "{words}");
    holds("max_position", tried(held(-3, 100, 4), Side::Sell, ["2", "3", "3.001"]));
    // Through zero to the other side.
    holds("max_position", tried(held(6, 0, 0), Side::Sell, ["1", "16", "16.001"]));
    // Beyond the limit already: only what reduces is let in, and that always.
    holds("max_position", tried(held(50, 0, 0), Side::Sell, ["1", "50", "60.001"]));
    let over = held(50, 0, 0);
    assert!(checked(&limits, &over, &order(SPOT, Side::Buy, "0.001", None)).is_err());
}

#[test]
fn everything_together_is_worth_at_most_the_gross_exposure() {
    let held = |position: i64, others: i64| Exposure {
        position: position.into(),
        others: Pair { all: others.into(), exchange: (others / 2).into() },
        ..still()
    };
    let pair = |all, exchange| Limits { gross_exposure: Pair { all, exchange }, ..no_limits() };
    let all = pair(Some(2010.into()), None);
    let tried = |limits: &Limits, exposure: Exposure, side, quantities: [&str; 3]| {
        quantities.map(|quantity| checked(limits, &exposure, &order(SPOT, side, quantity, None)))
    };
    let words =
        holds("max_gross_exposure", tried(&all, held(5, 1000), Side::Buy, ["4.999", "5", "5.001"]));
    assert!(words.contains("all exchanges is 2010 USDT") && words.contains("2010.101"), "{words}");
    let one = pair(None, Some(1510.into()));
    let tried_one = tried(&one, held(5, 1000), Side::Buy, ["4.999", "5", "5.001"]);
    assert!(holds("max_gross_exposure", tried_one).contains("of binance is 1510 USDT"));
    // A sell reduces until it has sold more than twice of it.
    let tried_sell = tried(&all, held(5, 1000), Side::Sell, ["5", "15", "15.001"]);
    holds("max_gross_exposure", tried_sell);
    // Beyond the limit already, what makes it no larger is let in.
    let over = tried(&all, held(50, 1000), Side::Sell, ["1", "100", "100.001"]);
    holds("max_gross_exposure", over);
    let unpriced = Some("binance:ETH-USDT".parse().unwrap());
    let unknown = Exposure { unpriced, ..held(5, 0) };
    let refused = checked(&all, &unknown, &order(SPOT, Side::Buy, "0.001", None)).unwrap_err();
    assert!(refused.to_string().contains("a price of binance:ETH-USDT"), "{refused}");
    assert_eq!(checked(&all, &unknown, &order(SPOT, Side::Sell, "1", None)), Ok(()));
}

#[test]
fn a_reduce_only_order_passes_every_limit() {
    let limits = Limits {
        order_quantity: Some(decimal("0.001")),
        order_notional: Some(decimal("0.001")),
        price_distance_percent: Some(decimal("0.001")),
        position: Some(Decimal::ZERO),
        open_orders: Pair { all: Some(1), exchange: Some(1) },
        orders_per_second: Pair { all: Some(1), exchange: Some(1) },
        ..no_limits()
    };
    let full = Pair { all: 9, exchange: 9 };
    let exposure = Exposure { open_orders: full, recent: full, last: None, ..still() };
    let any = order(INVERSE, Side::Sell, "1000", Some("5"));
    assert!(checked(&limits, &exposure, &any).is_err());
    assert_eq!(checked(&limits, &exposure, &any.reduce_only()), Ok(()));
}

#[test]
fn values_that_fit_no_decimal_are_refused_and_panic_nowhere() {
    let limits = Limits {
        order_notional: Some(Decimal::MAX),
        position: Some(Decimal::MAX),
        price_distance_percent: Some(1000.into()),
        gross_exposure: Pair { all: Some(Decimal::MAX), exchange: Some(Decimal::MAX) },
        ..no_limits()
    };
    let most = Decimal::MAX.to_string();
    let mut exposure = Exposure { position: Decimal::MAX, ..still() };
    exposure.open.add(Side::Buy, false, Decimal::MAX);
    for price in [None, Some(most.as_str())] {
        for name in [SPOT, INVERSE] {
            for side in [Side::Buy, Side::Sell] {
                let _ = checked(&limits, &exposure, &order(name, side, &most, price));
            }
        }
    }
    assert!(checked(&limits, &exposure, &order(SPOT, Side::Buy, &most, Some(&most))).is_err());
}
