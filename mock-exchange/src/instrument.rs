//! What a venue lists.

use std::sync::Arc;

use rust_decimal::Decimal;

/// Index of an instrument in its venue's list.
pub(crate) type InstrumentId = usize;

/// In which currency a derivative counts and pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractKind {
    /// Quantities in the quote currency, money in the base coin.
    Inverse,
    /// Quantities in the base coin, money in the quote currency.
    Linear,
}

/// What makes an instrument a derivative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// In which currency it counts and pays.
    pub kind: ContractKind,
    /// Quantity of one contract.
    pub size: Decimal,
    /// Asset of margin, profit and fees.
    pub settlement: Arc<str>,
    /// Value of a position over the margin that it needs.
    pub leverage: Decimal,
}

impl Contract {
    /// Value of a quantity in the settlement asset, to 12 decimals; zero without a price.
    pub fn value(&self, price: Decimal, quantity: Decimal) -> Decimal {
        self.exact_value(price, quantity).round_dp(12)
    }

    fn exact_value(&self, price: Decimal, quantity: Decimal) -> Decimal {
        match self.kind {
            ContractKind::Inverse => quantity.checked_div(price).unwrap_or_default(),
            ContractKind::Linear => quantity * price,
        }
    }

    /// Margin that a quantity needs, in the settlement asset.
    pub fn margin(&self, price: Decimal, quantity: Decimal) -> Decimal {
        self.value(price, quantity) / self.leverage
    }

    /// Profit of a position (negative: short) that is closed, in the settlement asset.
    pub fn profit(&self, entry: Decimal, exit: Decimal, size: Decimal) -> Decimal {
        match self.kind {
            ContractKind::Inverse => self.value(entry, size) - self.value(exit, size),
            ContractKind::Linear => self.value(exit, size) - self.value(entry, size),
        }
    }

    /// Average price of two parts (price, quantity), to 8 decimals.
    pub fn average(&self, first: (Decimal, Decimal), second: (Decimal, Decimal)) -> Decimal {
        let quantity = first.1 + second.1;
        let value = self.exact_value(first.0, first.1) + self.exact_value(second.0, second.1);
        let average = match self.kind {
            ContractKind::Inverse => quantity.checked_div(value),
            ContractKind::Linear => value.checked_div(quantity),
        };
        average.unwrap_or_default().round_dp(8)
    }
}

/// One instrument of a venue.
#[derive(Clone, Debug)]
pub struct Instrument {
    /// The venue's own symbol: `BTCUSDT`, `BTC/USD`.
    pub symbol: Arc<str>,
    /// Base asset.
    pub base: Arc<str>,
    /// Quote asset.
    pub quote: Arc<str>,
    /// Smallest price step.
    pub tick: Decimal,
    /// Smallest quantity step.
    pub step: Decimal,
    /// Smallest order quantity, in base.
    pub quantity_min: Decimal,
    /// Smallest order value, in quote.
    pub notional_min: Decimal,
    /// Where the market starts.
    pub reference: Decimal,
    /// The terms of a derivative; `None` on a spot market.
    pub contract: Option<Contract>,
}

impl Instrument {
    pub(crate) fn new(base: &str, quote: &str, separator: &str) -> Self {
        Self {
            symbol: format!("{base}{separator}{quote}").into(),
            base: base.into(),
            quote: quote.into(),
            tick: Decimal::new(1, 2),
            step: Decimal::new(1, 5),
            quantity_min: Decimal::new(1, 5),
            notional_min: Decimal::new(5, 0),
            reference: Decimal::ONE,
            contract: None,
        }
    }

    /// Decimals of a price.
    pub fn price_decimals(&self) -> u32 {
        self.tick.normalize().scale()
    }

    /// Decimals of a quantity.
    pub fn quantity_decimals(&self) -> u32 {
        self.step.normalize().scale()
    }

    /// Whole steps of quantity that are worth some `value` of the quote asset.
    pub(crate) fn quantity_worth(&self, value: Decimal) -> Decimal {
        let inverse = self.contract.as_ref().is_some_and(|c| c.kind == ContractKind::Inverse);
        let quantity = if inverse { value } else { value / self.reference };
        ((quantity / self.step).floor() * self.step).max(self.step)
    }

    pub(crate) fn on_tick(&self, price: Decimal) -> bool {
        (price % self.tick).is_zero()
    }

    pub(crate) fn on_step(&self, quantity: Decimal) -> bool {
        (quantity % self.step).is_zero()
    }
}
