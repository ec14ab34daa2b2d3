use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::config::{Amounts, ExchangeRisk, InstrumentRisk};
use crate::risk::RiskScope;
use crate::types::{Fill, InstrumentSpec, Order, OrderStatus, Price, Quantity, Side};

/// Every instrument at 100, and a profit of the test's choice.
#[derive(Default)]
struct Still {
    profit: AtomicI64,
    unpriced: AtomicBool,
}

impl Market for Still {
    fn last(&self, _: Instrument) -> Option<(Mark, Timestamp)> {
        let price = Price(100.into());
        Some((Mark { bid: price, ask: price }, Timestamp::UNIX_EPOCH))
    }

    fn day_profit(&self, _: &str, _: Timestamp) -> DayProfit {
        let unpriced =
            if self.unpriced.load(Ordering::Relaxed) { vec![instrument(0)] } else { vec![] };
        DayProfit { profit: self.profit.load(Ordering::Relaxed).into(), unpriced }
    }
}

const NAMES: [&str; 3] = ["binance:BTC-USDT", "binance:ETH-USDT", "kraken:BTC-USDT"];

fn instrument(index: usize) -> Instrument {
    NAMES[index].parse().unwrap()
}

fn positions() -> Arc<Positions> {
    let spec = |name: &&str| InstrumentSpec {
        instrument: name.parse().unwrap(),
        symbol: (*name).to_owned(),
        tick_size: 1.into(),
        tick_size_steps: Vec::new(),
        lot_size: 1.into(),
        min_quantity: Quantity(1.into()),
        max_quantity: None,
        min_notional: None,
        contract_size: None,
    };
    Arc::new(Positions::new(NAMES.iter().map(|name| Arc::new(spec(name)))))
}

fn usdt(amount: i64) -> Amounts {
    Amounts::from([("USDT".to_owned(), amount.into())])
}

struct Bench {
    risk: Risk,
    positions: Arc<Positions>,
    market: Arc<Still>,
    open: [OpenQuantities; 3],
    start: Instant,
}

impl Bench {
    fn new(config: RiskConfig) -> Self {
        let (positions, market) = (positions(), Arc::new(Still::default()));
        let risk = Risk::new(
            config,
            (0..3).map(instrument),
            Arc::clone(&positions),
            Arc::clone(&market) as _,
            None,
            None,
        );
        Self { risk, positions, market, open: Default::default(), start: Instant::now() }
    }

    fn order(&mut self, index: usize, order: &NewOrder, ms: u64) -> Result<(), Refusal> {
        let now = (Timestamp::UNIX_EPOCH, self.start + Duration::from_millis(ms));
        self.risk.admit(order, self.open[index], false, now)?;
        self.open[index].add(order.side, order.reduce_only, order.quantity.0);
        self.open[index].orders += 1;
        Ok(())
    }

    fn market(&mut self, index: usize, side: Side, quantity: i64) -> Result<(), Refusal> {
        let order = NewOrder::market(instrument(index), side, Quantity(quantity.into()));
        self.order(index, &order, 0)
    }

    /// A part of an order fills, or all of it.
    fn fill(&mut self, index: usize, side: Side, quantity: i64, number: usize) {
        let quantity = Quantity(quantity.into());
        let fill = Fill {
            fill_id: number.to_string(),
            price: Price(100.into()),
            quantity,
            fee: None,
            liquidity: None,
            time: None,
        };
        let order = Order {
            client_id: "gw1".parse().unwrap(),
            exchange_id: None,
            request: NewOrder::market(instrument(index), side, quantity),
            status: OrderStatus::Open,
            filled: quantity,
            booked: quantity,
            reason: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        };
        self.positions.book(&order, &fill, |_| {});
        self.open[index].take(side, false, quantity.0);
        self.risk.set_open(instrument(index), self.open[index]);
    }
}

fn scope_of(refused: Result<(), Refusal>) -> (&'static str, RiskScope) {
    match refused.unwrap_err() {
        Refusal::Breach(breach) => match &breach {
            RiskBreach::OpenOrders { scope, .. }
            | RiskBreach::GrossExposure { scope, .. }
            | RiskBreach::OrdersPerSecond { scope, .. } => (breach.limit(), *scope),
            other => panic!("{other}"),
        },
        Refusal::KillSwitch(switch) => panic!("{switch:?}"),
    }
}

#[test]
fn limits_of_sums_count_over_all_exchanges_and_over_each() {
    let mut config = RiskConfig { max_open_orders: Some(3), ..RiskConfig::default() };
    let binance = ExchangeRisk { max_open_orders: Some(2), ..ExchangeRisk::default() };
    config.exchanges.insert("binance".parse().unwrap(), binance);
    let mut bench = Bench::new(config);
    bench.market(0, Side::Buy, 1).unwrap();
    bench.market(1, Side::Buy, 1).unwrap();
    let on_binance = RiskScope::Exchange("binance".parse().unwrap());
    assert_eq!(scope_of(bench.market(0, Side::Buy, 1)), ("max_open_orders", on_binance));
    bench.market(2, Side::Buy, 1).unwrap();
    assert_eq!(scope_of(bench.market(2, Side::Buy, 1)), ("max_open_orders", RiskScope::All));
    // One has ended.
    bench.open[1] = OpenQuantities::default();
    bench.risk.set_open(instrument(1), bench.open[1]);
    bench.market(2, Side::Buy, 1).unwrap();
}

#[test]
fn exposure_adds_up_over_exchanges_whatever_the_side() {
    let config = RiskConfig { max_gross_exposure: usdt(1000), ..RiskConfig::default() };
    let mut bench = Bench::new(config.clone());
    bench.market(0, Side::Buy, 4).unwrap();
    bench.market(2, Side::Sell, 4).unwrap();
    assert_eq!(scope_of(bench.market(1, Side::Sell, 3)), ("max_gross_exposure", RiskScope::All));
    bench.market(1, Side::Sell, 2).unwrap();
    // The other side of what is open adds nothing.
    bench.market(0, Side::Sell, 4).unwrap();
    assert!(bench.market(0, Side::Sell, 1).is_err());
    // A fill moves it from the orders to the position.
    bench.fill(0, Side::Buy, 4, 1);
    assert!(bench.market(0, Side::Buy, 1).is_err());
    // Without the limit everything passes, and with it again all that came meanwhile counts.
    bench.risk.set_limits(RiskConfig::default());
    bench.market(2, Side::Sell, 50).unwrap();
    bench.risk.set_limits(config);
    assert!(bench.market(1, Side::Sell, 1).is_err());
    bench.market(1, Side::Buy, 2).unwrap();
}

#[test]
fn orders_a_second_are_counted_by_the_clock() {
    let mut config = RiskConfig { max_orders_per_second: Some(3), ..RiskConfig::default() };
    let kraken = ExchangeRisk { max_orders_per_second: Some(1), ..ExchangeRisk::default() };
    config.exchanges.insert("kraken".parse().unwrap(), kraken);
    let mut bench = Bench::new(config);
    let of = |index| NewOrder::market(instrument(index), Side::Buy, Quantity(1.into()));
    bench.order(2, &of(2), 0).unwrap();
    let on_kraken = RiskScope::Exchange("kraken".parse().unwrap());
    assert_eq!(scope_of(bench.order(2, &of(2), 10)), ("max_orders_per_second", on_kraken));
    bench.order(0, &of(0), 10).unwrap();
    bench.order(0, &of(0), 20).unwrap();
    let refused = bench.order(1, &of(1), 999);
    assert_eq!(scope_of(refused), ("max_orders_per_second", RiskScope::All));
    // The refused ones did not count.
    bench.order(1, &of(1), 1000).unwrap();
}

#[test]
fn after_a_trip_nothing_passes_but_what_the_shutdown_closes_with() {
    let mut bench = Bench::new(RiskConfig::default());
    bench.market(0, Side::Buy, 1).unwrap();
    let tripped = Timestamp::UNIX_EPOCH;
    let switch = KillSwitch { tripped, reason: "lost".into(), loss: None };
    let mut seen = bench.risk.switch();
    assert!(bench.risk.trip(switch.clone()) && !bench.risk.trip(switch.clone()));
    assert_eq!(seen.borrow_and_update().as_deref(), Some(&switch));
    let order = NewOrder::market(instrument(0), Side::Sell, Quantity(1.into()));
    let refused = bench.order(0, &order.reduce_only(), 0);
    assert_eq!(refused, Err(Refusal::KillSwitch(Arc::new(switch))));
    let now = (tripped, bench.start);
    bench.risk.admit(&order, bench.open[0], true, now).unwrap();
    bench.risk.reset(Allowance { at: tripped, day_profit: BTreeMap::new() });
    assert_eq!(seen.borrow_and_update().as_deref(), None);
    bench.market(0, Side::Buy, 1).unwrap();
}

#[test]
fn a_days_loss_trips_once_and_a_reset_counts_it_anew() {
    let bench = Bench::new(RiskConfig { max_daily_loss: usdt(500), ..RiskConfig::default() });
    let judge = |profit: i64| {
        bench.market.profit.store(profit, Ordering::Relaxed);
        bench.risk.judge(Timestamp::UNIX_EPOCH)
    };
    assert!(judge(-499).tripped.is_none());
    let tripped = judge(-500).tripped.unwrap();
    assert_eq!(tripped.loss.unwrap().lost, 500.into());
    assert!(judge(-600).tripped.is_none(), "it has tripped already");
    let at = Timestamp::UNIX_EPOCH;
    bench.risk.reset(Allowance { at, day_profit: BTreeMap::new() });
    // Not before every price is there.
    bench.market.unpriced.store(true, Ordering::Relaxed);
    let judged = judge(-550);
    assert!(judged.tripped.is_none() && judged.allowance.is_none());
    bench.market.unpriced.store(false, Ordering::Relaxed);
    let judged = judge(-600);
    assert!(judged.tripped.is_none());
    assert_eq!(judged.allowance.unwrap().day_profit["USDT"], (-600).into());
    let judged = judge(-1099);
    assert!(judged.tripped.is_none() && judged.allowance.is_none());
    assert!(judge(-1100).tripped.is_some());
}

/// Every limit is set, and none is near.
fn every_limit() -> RiskConfig {
    let instrument_risk = InstrumentRisk {
        max_order_quantity: Some(1000.into()),
        max_position: Some(1_000_000.into()),
        ..InstrumentRisk::default()
    };
    let mut config = RiskConfig {
        max_order_notional: usdt(1_000_000),
        max_price_distance_percent: Some(10.into()),
        max_open_orders: Some(100_000),
        max_orders_per_second: Some(10_000),
        max_gross_exposure: usdt(1_000_000_000),
        ..RiskConfig::default()
    };
    config.instruments.insert(instrument(0), instrument_risk);
    config
}

#[test]
fn an_order_that_passes_allocates_nothing() {
    let mut bench = Bench::new(every_limit());
    let order = NewOrder::limit(instrument(0), Side::Buy, Price(100.into()), Quantity(1.into()));
    // The window of the second grows to its size first.
    for ms in 0..64 {
        bench.order(0, &order, ms * 100).unwrap();
    }
    let counted = allocation_counter::measure(|| {
        for ms in 64..128 {
            bench.order(0, &order, ms * 100).unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// What the check costs a submission; run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_an_order_that_passes_costs() {
    const ROUNDS: u32 = 100_000;
    for (name, config) in [("no limit", RiskConfig::default()), ("every limit", every_limit())] {
        let mut bench = Bench::new(config);
        let order =
            NewOrder::limit(instrument(0), Side::Buy, Price(100.into()), Quantity(1.into()));
        let began = std::time::Instant::now();
        for round in 0..ROUNDS {
            // One open order at a time, a millisecond apart.
            bench.order(0, &order, round.into()).unwrap();
            bench.open[0] = OpenQuantities::default();
            bench.risk.set_open(instrument(0), bench.open[0]);
        }
        println!("{name}: {:?} an order, in and out", began.elapsed() / ROUNDS);
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Order {
        index: usize,
        buys: bool,
        quantity: i64,
    },
    /// The oldest order of an instrument fills in part, or ends.
    Fill {
        index: usize,
        quantity: i64,
    },
    End {
        index: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..3_usize;
    prop_oneof![
        4 => (index.clone(), any::<bool>(), 1..8_i64)
            .prop_map(|(index, buys, quantity)| Step::Order { index, buys, quantity }),
        3 => (index.clone(), 1..8_i64).prop_map(|(index, quantity)| Step::Fill { index, quantity }),
        1 => index.prop_map(|index| Step::End { index }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is let in and whichever way it fills, no limit is ever exceeded: neither now nor if
    /// everything that is open filled.
    #[test]
    fn no_sequence_of_accepted_orders_exceeds_a_limit(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut config = RiskConfig {
            max_open_orders: Some(6),
            max_gross_exposure: usdt(2500),
            max_order_notional: usdt(600),
            ..RiskConfig::default()
        };
        let binance = ExchangeRisk { max_gross_exposure: usdt(1500), ..ExchangeRisk::default() };
        config.exchanges.insert("binance".parse().unwrap(), binance);
        let own = InstrumentRisk { max_position: Some(10.into()), ..InstrumentRisk::default() };
        config.instruments.insert(instrument(0), own);
        let mut bench = Bench::new(config);
        let mut orders: [Vec<(Side, i64)>; 3] = Default::default();
        let mut held = [0_i64; 3];
        let mut fills = 0;
        for step in steps {
            match step {
                Step::Order { index, buys, quantity } => {
                    let side = if buys { Side::Buy } else { Side::Sell };
                    if bench.market(index, side, quantity).is_ok() {
                        prop_assert!(quantity <= 6);
                        orders[index].push((side, quantity));
                    }
                }
                Step::Fill { index, quantity } if !orders[index].is_empty() => {
                    let (side, left) = &mut orders[index][0];
                    let (side, filled) = (*side, quantity.min(*left));
                    *left -= filled;
                    let ended = *left == 0;
                    held[index] += if side == Side::Buy { filled } else { -filled };
                    if ended {
                        orders[index].remove(0);
                        bench.open[index].orders -= 1;
                    }
                    fills += 1;
                    bench.fill(index, side, filled, fills);
                }
                Step::End { index } if !orders[index].is_empty() => {
                    let (side, left) = orders[index].remove(0);
                    bench.open[index].take(side, false, left.into());
                    bench.open[index].orders -= 1;
                    bench.risk.set_open(instrument(index), bench.open[index]);
                }
                _ => {}
            }
            let of = |index: usize, wanted: Side| -> i64 {
                orders[index].iter().filter(|order| order.0 == wanted).map(|order| order.1).sum()
            };
            let worst = |index: usize| {
                let (high, low) =
                    (held[index] + of(index, Side::Buy), held[index] - of(index, Side::Sell));
                high.abs().max(low.abs())
            };
            prop_assert!(worst(0) <= 10);
            prop_assert!((worst(0) + worst(1)) * 100 <= 1500);
            prop_assert!((worst(0) + worst(1) + worst(2)) * 100 <= 2500);
            prop_assert!(orders.iter().map(Vec::len).sum::<usize>() <= 6);
        }
    }
}
