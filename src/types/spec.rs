//! What an exchange allows for an instrument, and the check of an order against it.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Instrument, NewOrder, OrderKind, Price, Quantity};

/// An exchange's rules for one instrument, read from the exchange at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentSpec {
    /// The gateway's name.
    pub instrument: Instrument,
    /// The exchange's own name on its order socket, for example `BTCUSDT` or `BTC/USD`.
    pub symbol: String,
    /// Prices are whole multiples of this, unless a step says otherwise.
    pub tick_size: Decimal,
    /// Coarser tick sizes of higher prices, the lowest price first; empty on most instruments.
    #[serde(default)]
    pub tick_size_steps: Vec<TickSizeStep>,
    /// Quantities are whole multiples of this.
    pub lot_size: Decimal,
    /// Smallest quantity of an order.
    pub min_quantity: Quantity,
    /// Largest quantity of an order, where the exchange has one.
    pub max_quantity: Option<Quantity>,
    /// Smallest price times quantity of an order, where the exchange has one.
    pub min_notional: Option<Decimal>,
    /// Size of one contract, in the unit that quantities have; none where there are no contracts.
    ///
    /// Quantities are never counted in contracts. They are amounts of the base asset, but for
    /// inverse futures and perpetuals (`deribit:BTC-PERPETUAL`), where they are US dollars: an order
    /// of 10 there is one contract of 10 USD. Options and linear contracts
    /// (`deribit:ETH_USDC-PERPETUAL`) are traded in the base asset.
    #[serde(default)]
    pub contract_size: Option<Decimal>,
}

/// Above a price the tick size is coarser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickSizeStep {
    /// From this price on.
    pub above_price: Decimal,
    /// Prices are whole multiples of this.
    pub tick_size: Decimal,
}

/// Why an order is refused before it reaches the wire. Each names the limit and the tried value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrder {
    /// The price is not a multiple of the tick size.
    #[error("price {price} of {instrument} is not a multiple of its tick size {tick_size}")]
    PriceOffTick {
        /// Which instrument.
        instrument: Instrument,
        /// The tried price.
        price: Price,
        /// The limit.
        tick_size: Decimal,
    },
    /// The quantity is not a multiple of the lot size.
    #[error("quantity {quantity} of {instrument} is not a multiple of its lot size {lot_size}")]
    QuantityOffLot {
        /// Which instrument.
        instrument: Instrument,
        /// The tried quantity.
        quantity: Quantity,
        /// The limit.
        lot_size: Decimal,
    },
    /// The quantity is below the exchange's minimum.
    #[error("quantity {quantity} of {instrument} is below its minimum {min_quantity}")]
    QuantityBelowMinimum {
        /// Which instrument.
        instrument: Instrument,
        /// The tried quantity.
        quantity: Quantity,
        /// The limit.
        min_quantity: Quantity,
    },
    /// The quantity is above the exchange's maximum.
    #[error("quantity {quantity} of {instrument} is above its maximum {max_quantity}")]
    QuantityAboveMaximum {
        /// Which instrument.
        instrument: Instrument,
        /// The tried quantity.
        quantity: Quantity,
        /// The limit.
        max_quantity: Quantity,
    },
    /// Price times quantity is below the exchange's minimum.
    #[error(
        "{quantity} of {instrument} at {price} is worth {notional}, below the minimum {min_notional}"
    )]
    NotionalBelowMinimum {
        /// Which instrument.
        instrument: Instrument,
        /// The tried price.
        price: Price,
        /// The tried quantity.
        quantity: Quantity,
        /// Their product.
        notional: Decimal,
        /// The limit.
        min_notional: Decimal,
    },
    /// A price or quantity that is zero, negative or too large to multiply.
    #[error("price and quantity of {instrument} must be above zero and multiply within 28 digits")]
    NotPositive {
        /// Which instrument.
        instrument: Instrument,
    },
    /// The exchange cannot promise that the order only reduces a position.
    #[error("{instrument} takes no reduce-only orders: {why}")]
    ReduceOnlyUnsupported {
        /// Which instrument.
        instrument: Instrument,
        /// What the exchange lacks.
        why: &'static str,
    },
}

impl InstrumentSpec {
    /// Checks an order against the exchange's rules, so that it is refused here and not there. A
    /// market order has no price, so what it is worth at least is left to the exchange.
    pub fn check(&self, order: &NewOrder) -> Result<(), InvalidOrder> {
        let instrument = self.instrument;
        let quantity = order.quantity;
        if quantity.0 <= Decimal::ZERO {
            return Err(InvalidOrder::NotPositive { instrument });
        }
        if quantity < self.min_quantity {
            let min_quantity = self.min_quantity;
            return Err(InvalidOrder::QuantityBelowMinimum { instrument, quantity, min_quantity });
        }
        if let Some(max_quantity) = self.max_quantity.filter(|max| quantity > *max) {
            return Err(InvalidOrder::QuantityAboveMaximum { instrument, quantity, max_quantity });
        }
        if !is_multiple(quantity.0, self.lot_size) {
            let lot_size = self.lot_size;
            return Err(InvalidOrder::QuantityOffLot { instrument, quantity, lot_size });
        }
        let OrderKind::Limit { price, .. } = order.kind else { return Ok(()) };
        if price.0 <= Decimal::ZERO {
            return Err(InvalidOrder::NotPositive { instrument });
        }
        let tick_size = self.tick_size_at(price);
        if !is_multiple(price.0, tick_size) {
            return Err(InvalidOrder::PriceOffTick { instrument, price, tick_size });
        }
        let notional =
            price.0.checked_mul(quantity.0).ok_or(InvalidOrder::NotPositive { instrument })?;
        match self.min_notional {
            Some(min_notional) if notional < min_notional => {
                Err(InvalidOrder::NotionalBelowMinimum {
                    instrument,
                    price,
                    quantity,
                    notional: notional.normalize(),
                    min_notional,
                })
            }
            _ => Ok(()),
        }
    }

    /// The tick size that holds at a price.
    pub fn tick_size_at(&self, price: Price) -> Decimal {
        let holds = |step: &&TickSizeStep| price.0 >= step.above_price;
        self.tick_size_steps.iter().rev().find(holds).map_or(self.tick_size, |step| step.tick_size)
    }

    /// The price rounded down to the tick size.
    pub fn round_price(&self, price: Price) -> Price {
        Price(round_down(price.0, self.tick_size_at(price)))
    }

    /// The quantity rounded down to the lot size.
    pub fn round_quantity(&self, quantity: Quantity) -> Quantity {
        Quantity(round_down(quantity.0, self.lot_size))
    }
}

fn is_multiple(value: Decimal, step: Decimal) -> bool {
    step.is_zero() || value.checked_rem(step).is_some_and(|rest| rest.is_zero())
}

fn round_down(value: Decimal, step: Decimal) -> Decimal {
    if step.is_zero() {
        return value;
    }
    value.checked_rem(step).map_or(value, |rest| (value - rest).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Side;

    fn spec() -> InstrumentSpec {
        InstrumentSpec {
            instrument: "binance:BTC-USDT".parse().unwrap(),
            symbol: "BTCUSDT".into(),
            tick_size: "0.01".parse().unwrap(),
            lot_size: "0.00001".parse().unwrap(),
            min_quantity: "0.0001".parse().unwrap(),
            max_quantity: Some("10".parse().unwrap()),
            min_notional: Some("5".parse().unwrap()),
            tick_size_steps: Vec::new(),
            contract_size: None,
        }
    }

    #[test]
    fn a_coarser_tick_holds_from_its_price_on() {
        let step = |above: &str, tick: &str| TickSizeStep {
            above_price: above.parse().unwrap(),
            tick_size: tick.parse().unwrap(),
        };
        let spec = InstrumentSpec {
            tick_size: "0.0001".parse().unwrap(),
            tick_size_steps: vec![step("0.005", "0.0005"), step("1", "0.01")],
            min_notional: None,
            ..spec()
        };
        let rounded = |price: &str| spec.round_price(price.parse().unwrap()).to_string();
        assert_eq!(rounded("0.00499"), "0.0049");
        assert_eq!(rounded("0.005"), "0.005");
        assert_eq!(rounded("0.0057"), "0.0055");
        assert_eq!(rounded("1.019"), "1.01");
        assert_eq!(spec.check(&limit("0.0049", "1")), Ok(()));
        assert_eq!(spec.check(&limit("0.0055", "1")), Ok(()));
        let error = spec.check(&limit("0.0056", "1")).unwrap_err();
        assert!(error.to_string().contains("0.0005"), "{error}");
    }

    fn limit(price: &str, quantity: &str) -> NewOrder {
        let instrument = spec().instrument;
        NewOrder::limit(instrument, Side::Buy, price.parse().unwrap(), quantity.parse().unwrap())
    }

    #[test]
    fn an_order_within_all_limits_passes() {
        spec().check(&limit("50000.01", "0.00012")).unwrap();
        let market = NewOrder::market(spec().instrument, Side::Sell, "1.5".parse().unwrap());
        spec().check(&market).unwrap();
    }

    #[test]
    fn every_limit_refuses_and_names_itself() {
        let cases = [
            (limit("50000.001", "0.001"), "tick size 0.01"),
            (limit("50000", "0.000101"), "lot size 0.00001"),
            (limit("50000", "0.00001"), "minimum 0.0001"),
            (limit("50000", "10.1"), "maximum 10"),
            (limit("100", "0.001"), "worth 0.1, below the minimum 5"),
            (limit("0", "1"), "above zero"),
            (limit("5", "-1"), "above zero"),
        ];
        for (order, expected) in cases {
            let message = spec().check(&order).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn rounding_goes_down_to_the_step() {
        assert_eq!(spec().round_price("1.239".parse().unwrap()).to_string(), "1.23");
        assert_eq!(spec().round_quantity("0.000019".parse().unwrap()).to_string(), "0.00001");
    }
}
