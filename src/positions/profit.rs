//! What a fill does to a position, and what a position is worth. Pure.

use rust_decimal::Decimal;

use crate::types::{Fill, InstrumentSpec, Position, Price, Side};

/// How an instrument's quantity and price become money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The asset that profit is counted in.
    pub(crate) currency: String,
    /// The asset that a spot quantity is of; none for a derivative, whose fees never lessen the
    /// position.
    pub(crate) base: Option<String>,
    /// Quantities are in the quote currency and profit in the base (`deribit:BTC-PERPETUAL`).
    pub(crate) inverse: bool,
}

impl Terms {
    /// Those of a listed instrument.
    pub(crate) fn of(spec: &InstrumentSpec) -> Self {
        let instrument = spec.instrument;
        let (base, quote) = (instrument.base(), instrument.quote());
        if spec.contract_size.is_none() {
            return Self { currency: quote.into(), base: Some(base.into()), inverse: false };
        }
        // Linear: `ETH_USDC-PERPETUAL`, in the base asset, settled in the second.
        if let Some((_, settlement)) = base.split_once('_') {
            return Self { currency: settlement.into(), base: None, inverse: false };
        }
        // Options (`BTC-27DEC24-60000-C`) are priced and settled in the base asset.
        let is_option = quote.ends_with("-C") || quote.ends_with("-P");
        Self { currency: base.into(), base: None, inverse: !is_option }
    }

    /// Profit of `quantity` (above zero for a long one) from `entry` to `exit`; none if it does not
    /// fit a decimal.
    pub(crate) fn profit(&self, quantity: Decimal, entry: Price, exit: Price) -> Option<Decimal> {
        if self.inverse {
            let bought = quantity.checked_div(entry.0)?;
            return bought.checked_sub(quantity.checked_div(exit.0)?);
        }
        quantity.checked_mul(exit.0.checked_sub(entry.0)?)
    }

    /// What `quantity` is worth at a price, in `currency`, without a sign.
    pub(crate) fn notional(&self, quantity: Decimal, price: Price) -> Option<Decimal> {
        let quantity = quantity.abs();
        if self.inverse { quantity.checked_div(price.0) } else { quantity.checked_mul(price.0) }
    }

    /// Books a fill. `false`, with the position as it was, if a sum does not fit a decimal.
    pub(crate) fn book(&self, position: &mut Position, side: Side, fill: &Fill) -> bool {
        let after = self.after(position, side, fill);
        let fits = after.is_some();
        if let Some(after) = after {
            *position = after;
        }
        fits
    }

    fn after(&self, position: &Position, side: Side, fill: &Fill) -> Option<Position> {
        let mut after = position.clone();
        let quantity = fill.quantity.0;
        let signed = match side {
            Side::Buy => {
                after.bought = after.bought.checked_add(quantity)?;
                quantity
            }
            Side::Sell => {
                after.sold = after.sold.checked_add(quantity)?;
                -quantity
            }
        };
        self.trade(&mut after, signed, fill.price)?;
        let Some(fee) = &fill.fee else { return Some(after) };
        if fee.asset == self.currency {
            after.fees = after.fees.checked_add(fee.amount)?;
        } else if self.base.as_ref().is_some_and(|base| *base == fee.asset) {
            // As if what the exchange took had been sold at the price of the fill, and the fee been
            // paid with what that brought in.
            self.trade(&mut after, -fee.amount, fill.price)?;
            after.fees = after.fees.checked_add(fee.amount.checked_mul(fill.price.0)?)?;
        } else {
            let others = after.other_fees.entry(fee.asset.clone()).or_default();
            *others = others.checked_add(fee.amount)?;
        }
        Some(after)
    }

    /// Adds to the position, or takes from it and realises the profit of that.
    fn trade(&self, position: &mut Position, signed: Decimal, price: Price) -> Option<()> {
        if signed.is_zero() {
            return Some(());
        }
        let held = position.quantity;
        let adds = held.is_zero() || (held > Decimal::ZERO) == (signed > Decimal::ZERO);
        let entry = position.entry.unwrap_or(price);
        position.quantity = held.checked_add(signed)?;
        if adds {
            position.entry = Some(self.average(held.abs(), entry, signed.abs(), price)?);
            return Some(());
        }
        let closed = if signed.abs() < held.abs() { -signed } else { held };
        let profit = self.profit(closed, entry, price)?;
        position.realized = position.realized.checked_add(profit)?;
        if position.quantity.is_zero() {
            position.quantity = Decimal::ZERO;
            position.entry = None;
        } else if (position.quantity > Decimal::ZERO) != (held > Decimal::ZERO) {
            position.entry = Some(price);
        }
        Some(())
    }

    /// The entry price after adding to a position. That of an inverse one is the harmonic mean,
    /// because its profit is linear in 1/price.
    fn average(&self, held: Decimal, entry: Price, added: Decimal, price: Price) -> Option<Price> {
        if held.is_zero() || entry == price {
            return Some(price);
        }
        let sum = held.checked_add(added)?;
        let average = if self.inverse {
            let inverse = held.checked_div(entry.0)?.checked_add(added.checked_div(price.0)?)?;
            sum.checked_div(inverse)?
        } else {
            let cost = held.checked_mul(entry.0)?.checked_add(added.checked_mul(price.0)?)?;
            cost.checked_div(sum)?
        };
        Some(Price(average))
    }
}

#[cfg(test)]
mod tests;
