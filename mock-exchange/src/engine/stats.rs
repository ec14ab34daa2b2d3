//! Rolling figures of one instrument, since the mock started.

use rust_decimal::Decimal;

/// What a ticker shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) open: Decimal,
    pub(crate) high: Decimal,
    pub(crate) low: Decimal,
    pub(crate) last: Decimal,
    pub(crate) last_quantity: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) quote_volume: Decimal,
    pub(crate) trades: u64,
    pub(crate) first_trade_id: u64,
    pub(crate) last_trade_id: u64,
}

impl Stats {
    pub(crate) fn starting_at(price: Decimal) -> Self {
        Self { open: price, high: price, low: price, last: price, ..Self::default() }
    }

    pub(crate) fn trade(&mut self, id: u64, price: Decimal, quantity: Decimal) {
        if self.trades == 0 {
            self.first_trade_id = id;
        }
        self.last_trade_id = id;
        self.trades += 1;
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.last = price;
        self.last_quantity = quantity;
        // A flood runs for hours; a figure that no longer fits stops growing.
        self.volume = self.volume.saturating_add(quantity);
        self.quote_volume = self.quote_volume.saturating_add(price.saturating_mul(quantity));
    }

    /// Volume-weighted average price.
    pub(crate) fn vwap(&self) -> Decimal {
        if self.volume.is_zero() { self.last } else { self.quote_volume / self.volume }
    }

    /// Change since the start.
    pub(crate) fn change(&self) -> Decimal {
        self.last - self.open
    }

    /// Change since the start, in percent.
    pub(crate) fn change_percent(&self) -> Decimal {
        if self.open.is_zero() {
            Decimal::ZERO
        } else {
            self.change() / self.open * Decimal::ONE_HUNDRED
        }
    }
}
