use super::*;
use crate::types::{NewOrder, OrderStatus, Quantity, Quote, Side, Tick, TickData};

const BTC: &str = "kraken:BTC-USD";
const ETH: &str = "kraken:ETH-USD";

fn spec(name: &str) -> Arc<InstrumentSpec> {
    let instrument: Instrument = name.parse().unwrap();
    Arc::new(InstrumentSpec {
        instrument,
        symbol: instrument.pair().into(),
        tick_size: Decimal::ONE,
        tick_size_steps: Vec::new(),
        lot_size: Decimal::ONE,
        min_quantity: Quantity(Decimal::ONE),
        max_quantity: None,
        min_notional: None,
        contract_size: None,
    })
}

fn positions() -> Positions {
    Positions::new([spec(BTC), spec(ETH)])
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn book(positions: &Positions, name: &str, side: Side, price: i64, now: &str) -> Option<Position> {
    let order = Order {
        client_id: "gw1".parse().unwrap(),
        exchange_id: None,
        request: NewOrder::market(name.parse().unwrap(), side, Quantity(Decimal::ONE)),
        status: OrderStatus::Open,
        filled: Quantity::ZERO,
        booked: Quantity::ZERO,
        reason: None,
        created: at(now),
        updated: at(now),
    };
    let fill = Fill {
        fill_id: "1".into(),
        price: crate::types::Price(price.into()),
        quantity: Quantity(Decimal::ONE),
        fee: None,
        liquidity: None,
        time: None,
    };
    let mut told = None;
    positions.book(&order, &fill, |position| told = position);
    told
}

/// A market of one price.
fn price(price: i64) -> impl Fn(Instrument) -> Option<LastTick> {
    move |instrument| {
        let price = crate::types::Price(price.into());
        let size = Quantity(Decimal::ONE);
        let quote = Quote { bid: price, bid_quantity: size, ask: price, ask_quantity: size };
        let (exchange_time, received) = (None, Timestamp::UNIX_EPOCH);
        let data = TickData::Quote(quote);
        let quote = Some(Tick { instrument, exchange_time, received, data });
        Some(LastTick { instrument, trade: None, quote, count: 1 })
    }
}

fn no_price(_: Instrument) -> Option<LastTick> {
    None
}

fn day(
    positions: &Positions,
    prices: impl Fn(Instrument) -> Option<LastTick>,
    now: &str,
) -> Decimal {
    let day = positions.day_profit("USD", prices, at(now));
    assert_eq!(day.unpriced, []);
    day.profit
}

#[test]
fn a_day_counts_from_its_first_moment_and_not_from_the_entry() {
    let positions = positions();
    book(&positions, BTC, Side::Buy, 100, "2026-11-26T10:00:00Z");
    assert_eq!(day(&positions, price(130), "2026-11-26T23:59:59Z"), 30.into());
    assert_eq!(day(&positions, price(130), "2026-11-27T00:00:00Z"), 0.into());
    assert_eq!(day(&positions, price(125), "2026-11-27T00:00:01Z"), (-5).into());
    book(&positions, BTC, Side::Sell, 120, "2026-11-27T00:00:02Z");
    // 20 in all, of which 30 were yesterday's.
    assert_eq!(day(&positions, no_price, "2026-11-27T00:00:03Z"), (-10).into());
    assert_eq!(day(&positions, no_price, "2026-11-28T00:00:00Z"), 0.into());
    assert_eq!(positions.day_profit("EUR", no_price, at("2026-11-28T00:00:00Z")).profit, 0.into());
}

#[test]
fn what_is_held_counts_from_the_first_price_of_the_day_on() {
    let positions = positions();
    book(&positions, BTC, Side::Buy, 100, "2026-11-26T10:00:00Z");
    let now = at("2026-11-27T00:00:00Z");
    let unknown = positions.day_profit("USD", no_price, now);
    assert_eq!((unknown.profit, unknown.unpriced), (0.into(), vec![BTC.parse().unwrap()]));
    assert_eq!(day(&positions, price(150), "2026-11-27T00:00:01Z"), 0.into());
    assert_eq!(day(&positions, price(140), "2026-11-27T00:00:02Z"), (-10).into());
    // A clock that goes back begins no day anew.
    assert_eq!(day(&positions, price(140), "2026-11-26T23:59:59Z"), (-10).into());
}

#[test]
fn a_day_that_a_fill_begins_counts_from_the_price_of_the_fill() {
    let positions = positions();
    book(&positions, BTC, Side::Buy, 100, "2026-11-26T10:00:00Z");
    book(&positions, BTC, Side::Buy, 200, "2026-11-27T10:00:00Z");
    assert_eq!(day(&positions, price(190), "2026-11-27T10:00:01Z"), (-20).into());
}

#[test]
fn the_beginning_of_a_day_is_stored_once_and_survives() {
    let positions = positions();
    book(&positions, BTC, Side::Buy, 100, "2026-11-26T10:00:00Z");
    let stored = |prices: &dyn Fn(Instrument) -> Option<LastTick>, now: &str| {
        let mut stored = Vec::new();
        positions.keep_days(prices, at(now), |position| stored.push(position));
        stored
    };
    assert_eq!(stored(&price(130), "2026-11-26T11:00:00Z"), [], "stored with the fill");
    let begun = stored(&no_price, "2026-11-27T00:00:01Z");
    assert_eq!(begun[0].day.unwrap().unrealized, None);
    assert_eq!(day(&positions, price(130), "2026-11-27T00:00:02Z"), 0.into());
    let priced = stored(&price(131), "2026-11-27T00:00:03Z");
    assert_eq!(priced[0].day.unwrap().unrealized, Some(30.into()));
    assert_eq!(stored(&price(131), "2026-11-27T00:00:04Z"), []);
}

#[tokio::test]
async fn a_slow_follower_reads_the_latest_of_each_and_then_the_end() {
    let positions = positions();
    let mut updates = positions.updates();
    assert!(updates.try_next().is_none());
    let now = "2026-11-26T10:00:00Z";
    book(&positions, ETH, Side::Buy, 10, now);
    for _ in 0..3 {
        book(&positions, BTC, Side::Buy, 100, now);
    }
    book(&positions, ETH, Side::Sell, 12, now);
    let read = updates.next().await.unwrap();
    assert_eq!((read.instrument.as_str(), read.realized), (ETH, 2.into()));
    assert_eq!(updates.next().await.unwrap().quantity, 3.into());
    book(&positions, BTC, Side::Sell, 100, now);
    positions.close();
    assert_eq!(updates.next().await.unwrap().quantity, 2.into());
    assert!(updates.next().await.is_none() && updates.next().await.is_none());
    assert!(positions.updates().next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_gave_up_waiting_misses_nothing() {
    let positions = positions();
    let mut updates = positions.updates();
    let limit = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(limit, updates.next()).await.is_err());
    book(&positions, BTC, Side::Buy, 100, "2026-11-26T10:00:00Z");
    drop(updates.next());
    assert_eq!(updates.next().await.unwrap().quantity, 1.into());
}

#[test]
fn an_instrument_that_nobody_lists_has_no_position() {
    let positions = positions();
    assert_eq!(book(&positions, "kraken:XMR-USD", Side::Buy, 1, "2026-11-26T10:00:00Z"), None);
    assert_eq!(positions.all(), []);
}
