//! The limits that hold for one instrument, worked out of the configuration.

use std::time::Duration;

use rust_decimal::Decimal;

use crate::config::{Amounts, RiskConfig};
use crate::types::Instrument;

/// A limit for everything together and one for the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pair<T> {
    pub(crate) all: T,
    pub(crate) exchange: T,
}

/// What holds for the orders of one instrument; money is in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    pub(crate) order_quantity: Option<Decimal>,
    pub(crate) order_notional: Option<Decimal>,
    pub(crate) price_distance_percent: Option<Decimal>,
    pub(crate) stale_tick_after: Duration,
    pub(crate) position: Option<Decimal>,
    pub(crate) open_orders: Pair<Option<usize>>,
    pub(crate) open_orders_of_instrument: Option<usize>,
    pub(crate) gross_exposure: Pair<Option<Decimal>>,
    pub(crate) orders_per_second: Pair<Option<usize>>,
}

impl Limits {
    /// Those of an instrument that is counted in `currency`.
    pub(crate) fn of(config: &RiskConfig, instrument: Instrument, currency: &str) -> Self {
        let exchange = config.exchanges.get(&instrument.exchange()).cloned().unwrap_or_default();
        let own = config.instruments.get(&instrument).cloned().unwrap_or_default();
        let amount = |amounts: &Amounts| amounts.get(currency).copied();
        let (all, of_exchange) = (&config.max_order_notional, &exchange.max_order_notional);
        let notional = own.max_order_notional.or(amount(of_exchange)).or(amount(all));
        let distance = own
            .max_price_distance_percent
            .or(exchange.max_price_distance_percent)
            .or(config.max_price_distance_percent);
        let stale = own.stale_tick_after.or(exchange.stale_tick_after);
        Self {
            order_quantity: own.max_order_quantity,
            order_notional: notional,
            price_distance_percent: distance,
            stale_tick_after: stale.unwrap_or(config.stale_tick_after),
            position: own.max_position,
            open_orders: Pair { all: config.max_open_orders, exchange: exchange.max_open_orders },
            open_orders_of_instrument: own.max_open_orders,
            gross_exposure: Pair {
                all: amount(&config.max_gross_exposure),
                exchange: amount(&exchange.max_gross_exposure),
            },
            orders_per_second: Pair {
                all: config.max_orders_per_second,
                exchange: exchange.max_orders_per_second,
            },
        }
    }

    /// The first limit that a price is needed for.
    pub(crate) fn needs_price(&self) -> Option<&'static str> {
        if self.order_notional.is_some() {
            Some("max_order_notional")
        } else if self.price_distance_percent.is_some() {
            Some("max_price_distance_percent")
        } else if self.limits_exposure() {
            Some("max_gross_exposure")
        } else {
            None
        }
    }

    pub(crate) fn limits_exposure(&self) -> bool {
        self.gross_exposure.all.is_some() || self.gross_exposure.exchange.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ExchangeRisk, InstrumentRisk};

    #[test]
    fn a_limit_of_one_order_is_the_narrowest_that_is_given() {
        let instrument: Instrument = "kraken:BTC-USD".parse().unwrap();
        let usd = |amount: i64| Amounts::from([("USD".to_owned(), Decimal::from(amount))]);
        let mut config = RiskConfig { max_order_notional: usd(1), ..RiskConfig::default() };
        config.max_open_orders = Some(50);
        let notional = |config: &RiskConfig, currency: &str| {
            Limits::of(config, instrument, currency).order_notional
        };
        assert_eq!(notional(&config, "USD"), Some(1.into()));
        assert_eq!(notional(&config, "EUR"), None);
        let exchange = ExchangeRisk {
            max_order_notional: usd(2),
            max_open_orders: Some(60),
            stale_tick_after: Some(Duration::from_secs(1)),
            ..ExchangeRisk::default()
        };
        config.exchanges.insert(instrument.exchange(), exchange);
        assert_eq!(notional(&config, "USD"), Some(2.into()));
        let own = InstrumentRisk {
            max_order_notional: Some(3.into()),
            stale_tick_after: Some(Duration::from_secs(2)),
            ..InstrumentRisk::default()
        };
        config.instruments.insert(instrument, own);
        let limits = Limits::of(&config, instrument, "USD");
        assert_eq!(limits.order_notional, Some(3.into()));
        assert_eq!(limits.stale_tick_after, Duration::from_secs(2));
        // A limit of a sum holds for each of its scopes.
        assert_eq!(limits.open_orders, Pair { all: Some(50), exchange: Some(60) });
    }
}
