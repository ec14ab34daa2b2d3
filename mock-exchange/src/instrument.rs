//! What a venue lists.

use std::sync::Arc;

use rust_decimal::Decimal;

/// Index of an instrument in its venue's list.
pub(crate) type InstrumentId = usize;

/// One spot instrument of a venue.
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

    pub(crate) fn on_tick(&self, price: Decimal) -> bool {
        (price % self.tick).is_zero()
    }

    pub(crate) fn on_step(&self, quantity: Decimal) -> bool {
        (quantity % self.step).is_zero()
    }
}
