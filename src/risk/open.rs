//! What open orders may still add to a position.

use rust_decimal::Decimal;

use crate::types::Side;

/// The quantities of one instrument's orders that are not in its position yet and may come to be, and
/// how many orders have not ended. Counted up and down, never searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OpenQuantities {
    buys: Decimal,
    sells: Decimal,
    /// Those of reduce-only orders, which never carry a position past zero.
    reducing_buys: Decimal,
    reducing_sells: Decimal,
    /// Orders that have not ended.
    pub(crate) orders: usize,
}

impl OpenQuantities {
    fn of(&mut self, side: Side, reduce_only: bool) -> &mut Decimal {
        match (side, reduce_only) {
            (Side::Buy, false) => &mut self.buys,
            (Side::Sell, false) => &mut self.sells,
            (Side::Buy, true) => &mut self.reducing_buys,
            (Side::Sell, true) => &mut self.reducing_sells,
        }
    }

    pub(crate) fn add(&mut self, side: Side, reduce_only: bool, quantity: Decimal) {
        let sum = self.of(side, reduce_only);
        *sum = sum.saturating_add(quantity);
    }

    pub(crate) fn take(&mut self, side: Side, reduce_only: bool, quantity: Decimal) {
        let sum = self.of(side, reduce_only);
        *sum = sum.saturating_sub(quantity);
    }

    /// The position if every sell fills and no buy does: the lowest that it can come to.
    pub(crate) fn lowest(&self, position: Decimal) -> Decimal {
        let reduced = if position > Decimal::ZERO {
            position.saturating_sub(self.reducing_sells).max(Decimal::ZERO)
        } else {
            position
        };
        reduced.saturating_sub(self.sells)
    }

    /// The position if every buy fills and no sell does: the highest that it can come to.
    pub(crate) fn highest(&self, position: Decimal) -> Decimal {
        let reduced = if position < Decimal::ZERO {
            position.saturating_add(self.reducing_buys).min(Decimal::ZERO)
        } else {
            position
        };
        reduced.saturating_add(self.buys)
    }

    /// The largest position, on either side, that it can come to.
    pub(crate) fn largest(&self, position: Decimal) -> Decimal {
        self.lowest(position).abs().max(self.highest(position).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduce_only_orders_never_carry_a_position_past_zero() {
        let d = Decimal::from;
        let mut open = OpenQuantities::default();
        open.add(Side::Sell, true, d(20));
        assert_eq!((open.lowest(d(5)), open.highest(d(5)), open.largest(d(5))), (d(0), d(5), d(5)));
        assert_eq!(open.lowest(d(-5)), d(-5));
        // What else is sold may go on from there.
        open.add(Side::Sell, false, d(3));
        assert_eq!((open.lowest(d(5)), open.lowest(d(30))), (d(-3), d(7)));
        open.add(Side::Buy, true, d(4));
        open.add(Side::Buy, false, d(2));
        assert_eq!(
            (open.highest(d(-3)), open.highest(d(-10)), open.highest(d(1))),
            (d(2), d(-4), d(3))
        );
        open.take(Side::Buy, false, d(2));
        assert_eq!(open.highest(d(1)), d(1));
    }
}
