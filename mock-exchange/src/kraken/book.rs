//! The depth book as one subscriber sees it: snapshot, differences and checksum.

use rust_decimal::Decimal;
use serde::Serialize;

use super::number::Number;

/// How many levels of a side the checksum covers, whatever the subscribed depth.
const CHECKSUM_LEVELS: usize = 10;

/// One price level: price and quantity.
pub(crate) type Level = (Decimal, Decimal);

/// Both sides of a book, best level first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

/// The decimals that a pair's prices and quantities are written with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Precision {
    pub(crate) price: u32,
    pub(crate) quantity: u32,
}

/// A level on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct WireLevel {
    price: Number,
    qty: Number,
}

/// CRC-32 over the ten best asks, then the ten best bids: price and quantity of each with the
/// pair's decimals, without the point and without leading zeros.
pub(crate) fn checksum(sides: &Sides, precision: Precision) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut part = |value: Decimal, decimals: u32| {
        let mut value = value;
        value.rescale(decimals);
        let digits = value.to_string().replace('.', "");
        hasher.update(digits.trim_start_matches('0').as_bytes());
    };
    let asks = sides.asks.iter().take(CHECKSUM_LEVELS);
    for (price, quantity) in asks.chain(sides.bids.iter().take(CHECKSUM_LEVELS)) {
        part(*price, precision.price);
        part(*quantity, precision.quantity);
    }
    hasher.finalize()
}

/// Levels as they are written on the wire.
pub(crate) fn wire_levels(levels: &[Level], precision: Precision) -> Vec<WireLevel> {
    levels
        .iter()
        .map(|(price, quantity)| WireLevel {
            price: Number::with_decimals(*price, precision.price),
            qty: Number::with_decimals(*quantity, precision.quantity),
        })
        .collect()
}

/// What turns `old` into `new` for a client that truncates to `depth` after each update.
///
/// A removed level has quantity 0. A level that only fell out of the depth is not announced, as
/// the venue does it; both sides hold at most `depth` levels.
pub(crate) fn difference(old: &Sides, new: &Sides, depth: usize) -> Sides {
    Sides {
        bids: side_difference(&old.bids, &new.bids, depth, |level, worst| level >= worst),
        asks: side_difference(&old.asks, &new.asks, depth, |level, worst| level <= worst),
    }
}

fn side_difference(
    old: &[Level],
    new: &[Level],
    depth: usize,
    is_inside: impl Fn(Decimal, Decimal) -> bool,
) -> Vec<Level> {
    let worst = if new.len() >= depth { new.last().map(|level| level.0) } else { None };
    let removed = old
        .iter()
        .filter(|(price, _)| !new.iter().any(|level| level.0 == *price))
        .filter(|(price, _)| worst.is_none_or(|worst| is_inside(*price, worst)))
        .map(|(price, _)| (*price, Decimal::ZERO));
    let changed = new.iter().filter(|level| !old.contains(level)).copied();
    removed.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;
    use crate::kraken::number::decimal_from_token;

    const PRECISION: Precision = Precision { price: 1, quantity: 8 };

    #[derive(Deserialize)]
    struct Recorded {
        data: Vec<RecordedBook>,
    }

    #[derive(Deserialize)]
    struct RecordedBook {
        bids: Vec<RecordedLevel>,
        asks: Vec<RecordedLevel>,
        checksum: u32,
    }

    #[derive(Deserialize)]
    struct RecordedLevel {
        price: Box<RawValue>,
        qty: Box<RawValue>,
    }

    fn recorded(text: &str) -> (Sides, u32) {
        let mut recorded: Recorded = serde_json::from_str(text).expect("recording");
        let book = recorded.data.remove(0);
        let levels = |levels: Vec<RecordedLevel>| {
            levels
                .iter()
                .map(|level| {
                    let price = decimal_from_token(level.price.get()).expect("price");
                    (price, decimal_from_token(level.qty.get()).expect("quantity"))
                })
                .collect()
        };
        (Sides { bids: levels(book.bids), asks: levels(book.asks) }, book.checksum)
    }

    /// A client's rule: apply in order, sort, truncate.
    fn apply(book: &mut Sides, update: &Sides, depth: usize) {
        let side = |levels: &mut Vec<Level>, changes: &[Level], best_is_high: bool| {
            for (price, quantity) in changes {
                levels.retain(|level| level.0 != *price);
                if !quantity.is_zero() {
                    levels.push((*price, *quantity));
                }
            }
            levels.sort_by(|a, b| if best_is_high { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
            levels.truncate(depth);
        };
        side(&mut book.bids, &update.bids, true);
        side(&mut book.asks, &update.asks, false);
    }

    #[test]
    fn the_recorded_session_s_checksums_match() {
        let (mut book, expected) =
            recorded(include_str!("testdata/book_snapshot_depth10_checksum.json"));
        assert_eq!(checksum(&book, PRECISION), expected);
        for update in [
            include_str!("testdata/book_update_1_after_snapshot.json"),
            include_str!("testdata/book_update_2_after_snapshot.json"),
        ] {
            let (update, expected) = recorded(update);
            apply(&mut book, &update, 10);
            assert_eq!(checksum(&book, PRECISION), expected);
        }
    }

    #[test]
    fn a_client_that_applies_the_difference_has_the_new_book() {
        let depth = 3;
        let level = |price: i64, quantity: i64| (Decimal::from(price), Decimal::from(quantity));
        let cases = [
            (
                vec![level(10, 1), level(11, 1), level(12, 1)],
                vec![level(9, 1), level(10, 1), level(11, 2)],
            ),
            (
                vec![level(9, 1), level(10, 1), level(11, 2)],
                vec![level(10, 1), level(11, 2), level(12, 5)],
            ),
            (vec![level(10, 1), level(11, 2), level(12, 5)], vec![level(12, 5)]),
            (vec![level(12, 5)], vec![]),
            (vec![], vec![level(1, 1)]),
        ];
        for (old, new) in cases {
            let mirror = |levels: &[Level]| levels.iter().map(|l| (-l.0, l.1)).collect::<Vec<_>>();
            let old = Sides { bids: mirror(&old), asks: old };
            let new = Sides { bids: mirror(&new), asks: new };
            let mut client = old.clone();
            apply(&mut client, &difference(&old, &new, depth), depth);
            assert_eq!(client, new);
        }
    }

    #[test]
    fn a_level_that_only_fell_out_of_the_depth_is_not_announced() {
        let asks = |prices: &[i64]| Sides {
            bids: vec![],
            asks: prices.iter().map(|price| (Decimal::from(*price), Decimal::ONE)).collect(),
        };
        let update = difference(&asks(&[10, 11]), &asks(&[9, 10]), 2);
        assert_eq!(update, asks(&[9]));
    }
}
