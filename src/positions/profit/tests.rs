//! Figures worked by hand, and profit against a plain sum of what was paid and received.

use proptest::prelude::*;

use super::*;
use crate::types::{Fee, Instrument, Quantity};

const SPOT: &str = "kraken:BTC-USD";
const LINEAR: &str = "deribit:ETH_USDC-PERPETUAL";
const INVERSE: &str = "deribit:BTC-PERPETUAL";
const OPTION: &str = "deribit:BTC-27DEC24-60000-C";

fn spec(name: &str) -> InstrumentSpec {
    let instrument: Instrument = name.parse().unwrap();
    let is_spot = !name.starts_with("deribit");
    InstrumentSpec {
        instrument,
        symbol: instrument.pair().into(),
        tick_size: Decimal::ONE,
        tick_size_steps: Vec::new(),
        lot_size: Decimal::ONE,
        min_quantity: Quantity(Decimal::ONE),
        max_quantity: None,
        min_notional: None,
        contract_size: (!is_spot).then_some(Decimal::ONE),
    }
}

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn fill(quantity: Decimal, price: Decimal, fee: Option<(&str, Decimal)>) -> Fill {
    Fill {
        fill_id: "1".into(),
        price: Price(price),
        quantity: Quantity(quantity),
        fee: fee.map(|(asset, amount)| Fee { asset: asset.into(), amount }),
        liquidity: None,
        time: None,
    }
}

/// Side, quantity, price and fee of one fill.
type Line<'a> = (Side, &'a str, &'a str, Option<(&'a str, &'a str)>);

fn booked(name: &str, lines: &[Line<'_>]) -> Position {
    let terms = Terms::of(&spec(name));
    let mut position = Position::empty(name.parse().unwrap(), &terms.currency);
    for (side, quantity, price, fee) in lines {
        let fee = fee.map(|(asset, amount)| (asset, number(amount)));
        assert!(terms.book(&mut position, *side, &fill(number(quantity), number(price), fee)));
    }
    position
}

/// Quantity, entry, realised profit and fees.
fn figures(position: &Position) -> (Decimal, Option<Decimal>, Decimal, Decimal) {
    let Position { quantity, entry, realized, fees, .. } = position;
    (*quantity, entry.map(|entry| entry.0), *realized, *fees)
}

fn expected(
    quantity: &str,
    entry: &str,
    realized: &str,
    fees: &str,
) -> (Decimal, Option<Decimal>, Decimal, Decimal) {
    let entry = (!entry.is_empty()).then(|| number(entry));
    (number(quantity), entry, number(realized), number(fees))
}

#[test]
fn what_each_kind_of_instrument_is_counted_in() {
    let terms = |name| {
        let terms = Terms::of(&spec(name));
        (terms.currency, terms.base, terms.inverse)
    };
    assert_eq!(terms(SPOT), ("USD".into(), Some("BTC".into()), false));
    assert_eq!(terms(LINEAR), ("USDC".into(), None, false));
    assert_eq!(terms(INVERSE), ("BTC".into(), None, true));
    assert_eq!(terms("deribit:ETH-26DEC25"), ("ETH".into(), None, true));
    assert_eq!(terms(OPTION), ("BTC".into(), None, false));
    assert_eq!(terms("deribit:BTC_USDC-27DEC24-60000-P"), ("USDC".into(), None, false));
}

#[test]
fn spot_figures_by_hand() {
    use Side::{Buy, Sell};
    let usd = |amount| Some(("USD", amount));
    let btc = |amount| Some(("BTC", amount));
    let table: &[(&[Line<'_>], _)] = &[
        // 2 at 100 and 1 at 130: 330 for 3. One of them sold for 150 brings 40.
        (
            &[
                (Buy, "2", "100", usd("0.2")),
                (Buy, "1", "130", usd("0.1")),
                (Sell, "1", "150", usd("0.3")),
            ],
            expected("2", "110", "40", "0.6"),
        ),
        // The fee in the base asset: 0.01 of the first coin is gone, and it cost 1.
        (&[(Buy, "1", "100", btc("0.01"))], expected("0.99", "100", "0", "1")),
        // The fee of the second is 0.1 coins, worth 20 now; in the position they cost 150 each, so
        // that they were worth 5 more than they cost.
        (
            &[(Buy, "1", "100", None), (Buy, "1", "200", btc("0.1"))],
            expected("1.9", "150", "5", "20"),
        ),
        // Sold whole, and a fee in coins on top: those are owed now.
        (
            &[(Buy, "1", "100", None), (Sell, "1", "120", btc("0.01"))],
            expected("-0.01", "120", "20", "1.2"),
        ),
        // Short, and bought back for less.
        (&[(Sell, "3", "100", None), (Buy, "2", "90", usd("1"))], expected("-1", "100", "20", "1")),
        // From long to short in one fill: 1 is closed with a profit of 10, 2 are sold anew.
        (&[(Buy, "1", "100", None), (Sell, "3", "110", None)], expected("-2", "110", "10", "0")),
        // A rebate in coins is a purchase that cost nothing.
        (&[(Buy, "1", "100", btc("-0.01"))], expected("1.01", "100", "0", "-1")),
        // A fee in a third asset is in no sum.
        (&[(Buy, "1", "100", Some(("KFEE", "5")))], expected("1", "100", "0", "0")),
        (
            &[(Buy, "1", "100", None), (Sell, "1", "90", usd("0.5"))],
            expected("0", "", "-10", "0.5"),
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(figures(&booked(SPOT, lines)), *expected, "{lines:?}");
    }
    let other = booked(
        SPOT,
        &[(Buy, "1", "100", Some(("KFEE", "5"))), (Sell, "1", "9", Some(("KFEE", "2")))],
    );
    assert_eq!(other.other_fees, [("KFEE".to_owned(), Decimal::from(7))].into());
    assert_eq!((other.bought, other.sold), (Decimal::ONE, Decimal::ONE));
}

#[test]
fn figures_of_derivatives_by_hand() {
    use Side::{Buy, Sell};
    let btc = |amount| Some(("BTC", amount));
    // 1000 USD at 50,000 are 0.02 BTC, 2000 USD at 100,000 another 0.02: 3000 USD for 0.04 BTC is an
    // average of 75,000. Sold at 100,000 they are 0.03 BTC: 0.01 BTC are left over.
    let lines: &[Line<'_>] =
        &[(Buy, "1000", "50000", btc("0.00001")), (Buy, "2000", "100000", btc("0.00001"))];
    let long = booked(INVERSE, lines);
    assert_eq!(figures(&long), expected("3000", "75000", "0", "0.00002"));
    let terms = Terms::of(&spec(INVERSE));
    let exit = Price(number("100000"));
    assert_eq!(terms.profit(long.quantity, long.entry.unwrap(), exit), Some(number("0.01")));
    assert_eq!(terms.notional(long.quantity, exit), Some(number("0.03")));
    let mut flat = long;
    assert!(terms.book(&mut flat, Sell, &fill(number("3000"), exit.0, None)));
    assert_eq!(figures(&flat), expected("0", "", "0.01", "0.00002"));

    // A short inverse position gains when the price falls: 100/50,000 - 100/40,000 = -0.0005.
    let short = booked(INVERSE, &[(Sell, "100", "50000", None), (Buy, "100", "40000", None)]);
    assert_eq!(short.realized, number("0.0005"));

    let linear =
        booked(LINEAR, &[(Sell, "2", "100", Some(("USDC", "0.1"))), (Buy, "5", "90", None)]);
    assert_eq!(figures(&linear), expected("3", "90", "20", "0.1"));

    // Options are priced in the base asset: 10 bought at 0.05 BTC and sold at 0.07 bring 0.2 BTC.
    let option =
        booked(OPTION, &[(Buy, "10", "0.05", btc("0.003")), (Sell, "10", "0.07", btc("0.003"))]);
    assert_eq!(figures(&option), expected("0", "", "0.2", "0.006"));
}

#[test]
fn a_fill_whose_sums_fit_no_decimal_changes_nothing_and_never_panics() {
    let terms = Terms::of(&spec(SPOT));
    let mut position = booked(SPOT, &[(Side::Buy, "1", "100", None)]);
    let before = position.clone();
    let huge = Decimal::MAX;
    let fills = [
        fill(huge, Decimal::ONE, None),
        fill(Decimal::TWO, huge, None),
        fill(Decimal::ONE, Decimal::TWO, Some(("BTC", huge))),
        fill(Decimal::ONE, huge, Some(("BTC", Decimal::TWO))),
    ];
    for (index, fill) in fills.iter().enumerate() {
        assert!(!terms.book(&mut position, Side::Buy, fill), "{index}");
        assert_eq!(position, before, "{index}");
    }
    let inverse = Terms::of(&spec(INVERSE));
    let mut position = booked(INVERSE, &[(Side::Buy, "100", "5", None)]);
    assert!(!inverse.book(&mut position, Side::Sell, &fill(Decimal::TEN, Decimal::ZERO, None)));
    assert_eq!(inverse.notional(Decimal::TEN, Price::ZERO), None);
}

/// One fill of a property test: side, quantity, price, fee asset, fee.
type Traded = (bool, u32, u32, u8, i32);

/// What a list of fills leaves: what was paid and received in `currency` with every fee in it, and
/// what is held. It knows no entry price and no order of the fills.
fn cash_and_held(name: &str, fills: &[(Side, Fill)]) -> (Decimal, Decimal) {
    let (spot, inverse) = (name == SPOT, name == INVERSE);
    let (mut cash, mut held) = (Decimal::ZERO, Decimal::ZERO);
    for (side, fill) in fills {
        let (quantity, price) = (fill.quantity.0, fill.price.0);
        let signed = if *side == Side::Buy { quantity } else { -quantity };
        // An inverse contract of `quantity` US dollars is `quantity / price` coins sold for it.
        cash += if inverse { signed / price } else { -signed * price };
        held += signed;
        let Some(fee) = &fill.fee else { continue };
        match fee.asset.as_str() {
            "BTC" if spot => held -= fee.amount,
            "BTC" | "USD" | "USDC" => cash -= fee.amount,
            _ => {}
        }
    }
    (cash, held)
}

fn worth(name: &str, held: Decimal, price: Decimal) -> Decimal {
    if name == INVERSE { -held / price } else { held * price }
}

fn traded(name: &str, lines: &[Traded]) -> Vec<(Side, Fill)> {
    let own = match name {
        SPOT => ["USD", "BTC"],
        LINEAR => ["USDC", "USDC"],
        _ => ["BTC", "BTC"],
    };
    let of = |(buy, quantity, price, asset, fee): &Traded| {
        let (quantity, price) =
            (Decimal::new(i64::from(*quantity), 3), Decimal::new(i64::from(*price), 2));
        let fee = Decimal::new(i64::from(*fee), 6);
        let fee = match asset % 4 {
            0 => None,
            1 => Some((own[0], fee)),
            2 => Some((own[1], fee)),
            _ => Some(("XYZ", fee)),
        };
        let side = if *buy { Side::Buy } else { Side::Sell };
        (side, fill(quantity, price, fee))
    };
    lines.iter().map(of).collect()
}

fn close(left: Decimal, right: Decimal) -> bool {
    (left - right).abs() <= Decimal::new(1, 12)
}

fn agrees(name: &str, lines: &[Traded], last: u32) -> Result<(), TestCaseError> {
    let terms = Terms::of(&spec(name));
    let fills = traded(name, lines);
    let mut position = Position::empty(name.parse().unwrap(), &terms.currency);
    for (side, fill) in &fills {
        prop_assert!(terms.book(&mut position, *side, fill));
        prop_assert_eq!(position.entry.is_none(), position.is_flat());
    }
    let last = Decimal::new(i64::from(last), 2);
    let (cash, held) = cash_and_held(name, &fills);
    prop_assert_eq!(position.quantity, held);
    let unrealized = match position.entry {
        Some(entry) => terms.profit(held, entry, Price(last)).unwrap(),
        None => Decimal::ZERO,
    };
    let profit = position.net() + unrealized;
    let plain = cash + worth(name, held, last);
    prop_assert!(close(profit, plain), "{} is not {}", profit, plain);
    // What a position gains does not depend on how its fills are cut: closed at the last price, the
    // realised profit is the same.
    let mut closed = position.clone();
    if !held.is_zero() {
        let side = if held > Decimal::ZERO { Side::Sell } else { Side::Buy };
        prop_assert!(terms.book(&mut closed, side, &fill(held.abs(), last, None)));
    }
    prop_assert!(closed.is_flat());
    prop_assert!(close(closed.net(), plain), "{} is not {}", closed.net(), plain);
    let sum = |wanted: Side| -> Decimal {
        fills.iter().filter(|(side, _)| *side == wanted).map(|(_, fill)| fill.quantity.0).sum()
    };
    prop_assert_eq!((position.bought, position.sold), (sum(Side::Buy), sum(Side::Sell)));
    let foreign: Decimal = fills
        .iter()
        .filter_map(|(_, fill)| fill.fee.as_ref().filter(|fee| fee.asset == "XYZ"))
        .map(|fee| fee.amount)
        .sum();
    prop_assert_eq!(position.other_fees.get("XYZ").copied().unwrap_or_default(), foreign);
    Ok(())
}

/// Few quantities and prices, so that positions often are closed exactly; and many.
fn lines() -> impl Strategy<Value = Vec<Traded>> {
    let few = (any::<bool>(), 1..4_u32, 10_000..10_003_u32, 0..4_u8, -2..3_i32);
    let many = (any::<bool>(), 1..1_000_000_u32, 100..10_000_000_u32, 0..4_u8, -1_000..10_000_i32);
    prop_oneof![
        proptest::collection::vec(few.clone(), 0..24),
        proptest::collection::vec(many.clone(), 0..24),
        proptest::collection::vec(prop_oneof![few, many], 0..24),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn spot_profit_is_what_was_received_less_what_was_paid(lines in lines(), last in 1..10_000_000_u32) {
        agrees(SPOT, &lines, last)?;
    }

    #[test]
    fn linear_profit_is_what_was_received_less_what_was_paid(lines in lines(), last in 1..10_000_000_u32) {
        agrees(LINEAR, &lines, last)?;
    }

    #[test]
    fn inverse_profit_is_what_was_received_less_what_was_paid(lines in lines(), last in 100..10_000_000_u32) {
        agrees(INVERSE, &lines, last)?;
    }

    #[test]
    fn option_profit_is_what_was_received_less_what_was_paid(lines in lines(), last in 0..100_u32) {
        agrees(OPTION, &lines, last)?;
    }

    #[test]
    fn no_fill_whatever_makes_the_sums_panic(
        parts in proptest::collection::vec((any::<bool>(), any::<[i64; 3]>(), 0..28_u32, 0..3_usize), 1..8),
    ) {
        for name in [SPOT, INVERSE, LINEAR] {
            let terms = Terms::of(&spec(name));
            let mut position = Position::empty(name.parse().unwrap(), &terms.currency);
            for (buy, [quantity, price, fee], scale, asset) in &parts {
                let big = |value: i64| Decimal::from_i128_with_scale(i128::from(value).pow(2) % (1 << 95), *scale);
                let fee = (["USD", "BTC", "XYZ"][*asset], big(*fee));
                let side = if *buy { Side::Buy } else { Side::Sell };
                terms.book(&mut position, side, &fill(big(*quantity), big(*price), Some(fee)));
                let price = Price(big(*price));
                if let Some(entry) = position.entry {
                    let _ = terms.profit(position.quantity, entry, price);
                }
                let _ = (terms.notional(position.quantity, price), position.net());
            }
        }
    }
}
