//! Whether an order keeps the limits: a pure function of limits, exposure and order.
//!
//! The worst case counts: open orders with all that may still fill. An order that makes nothing
//! larger passes the limits of position and exposure, however far they are exceeded already, because
//! prices move and a way out must stay open.

use std::time::Duration;

use rust_decimal::Decimal;

use super::limits::{Limits, Pair};
use super::{OpenQuantities, RiskBreach, RiskScope};
use crate::positions::Terms;
use crate::types::{Instrument, NewOrder, OrderKind, Price, Side};

/// The last bid and ask, which are the same where the last tick was a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) bid: Price,
    pub(crate) ask: Price,
}

/// How things stand before the order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exposure {
    /// What is held.
    pub(crate) position: Decimal,
    /// What the instrument's open orders may add.
    pub(crate) open: OpenQuantities,
    /// Orders that have not ended.
    pub(crate) open_orders: Pair<usize>,
    /// Orders within the last second.
    pub(crate) recent: Pair<usize>,
    /// What all other instruments of the same currency may be worth.
    pub(crate) others: Pair<Decimal>,
    /// Another instrument of the currency that cannot be valued, if there is one.
    pub(crate) unpriced: Option<Instrument>,
    /// The last tick and its age.
    pub(crate) last: Option<(Mark, Duration)>,
}

/// What a quantity may be worth, at the price of the two that makes more; none if it does not fit a
/// decimal.
pub(crate) fn worth(terms: &Terms, quantity: Decimal, mark: Mark) -> Option<Decimal> {
    let (low, high) = (terms.notional(quantity, mark.bid)?, terms.notional(quantity, mark.ask)?);
    Some(low.max(high))
}

/// Whether the order keeps every limit; the first that it would break if not.
pub(crate) fn check(
    limits: &Limits,
    terms: &Terms,
    exposure: &Exposure,
    order: &NewOrder,
) -> Result<(), RiskBreach> {
    if order.reduce_only {
        return Ok(());
    }
    let instrument = order.instrument;
    if let Some(limit) = limits.order_quantity.filter(|limit| order.quantity.0 > *limit) {
        let (limit, tried) = (limit.into(), order.quantity);
        return Err(RiskBreach::OrderQuantity { instrument, limit, tried });
    }
    counts(limits, exposure, instrument)?;
    let mut after = exposure.open;
    after.add(order.side, false, order.quantity.0);
    let tried = match order.side {
        Side::Buy => after.highest(exposure.position),
        Side::Sell => after.lowest(exposure.position),
    };
    let grows = (tried > Decimal::ZERO) == (order.side == Side::Buy);
    if let Some(limit) = limits.position.filter(|limit| grows && tried.abs() > *limit) {
        return Err(RiskBreach::Position { instrument, limit, tried });
    }
    let Some(limit) = limits.needs_price() else { return Ok(()) };
    let Some((mark, age)) = exposure.last else {
        return Err(RiskBreach::NoPrice { instrument, limit });
    };
    if age > limits.stale_tick_after {
        let (limit_ms, tried_ms) = (millis(limits.stale_tick_after), millis(age));
        return Err(RiskBreach::StaleTick { instrument, limit_ms, tried_ms });
    }
    notional(limits, terms, mark, order)?;
    distance(limits, mark, order)?;
    if limits.limits_exposure() {
        gross(limits, terms, exposure, &after, mark, instrument)?;
    }
    Ok(())
}

fn counts(limits: &Limits, exposure: &Exposure, instrument: Instrument) -> Result<(), RiskBreach> {
    let exchange = RiskScope::Exchange(instrument.exchange());
    let (open, recent) = (exposure.open_orders, exposure.recent);
    for (scope, limit, now) in [
        (RiskScope::All, limits.orders_per_second.all, recent.all),
        (exchange, limits.orders_per_second.exchange, recent.exchange),
    ] {
        if let Some(limit) = limit.filter(|limit| now >= *limit) {
            return Err(RiskBreach::OrdersPerSecond { scope, limit, tried: now + 1 });
        }
    }
    for (scope, limit, now) in [
        (RiskScope::All, limits.open_orders.all, open.all),
        (exchange, limits.open_orders.exchange, open.exchange),
        (RiskScope::Instrument(instrument), limits.open_orders_of_instrument, exposure.open.orders),
    ] {
        if let Some(limit) = limit.filter(|limit| now >= *limit) {
            return Err(RiskBreach::OpenOrders { scope, limit, tried: now + 1 });
        }
    }
    Ok(())
}

fn notional(
    limits: &Limits,
    terms: &Terms,
    mark: Mark,
    order: &NewOrder,
) -> Result<(), RiskBreach> {
    let Some(limit) = limits.order_notional else { return Ok(()) };
    let instrument = order.instrument;
    let no_price = RiskBreach::NoPrice { instrument, limit: "max_order_notional" };
    let mut tried = worth(terms, order.quantity.0, mark).ok_or_else(|| no_price.clone())?;
    if let OrderKind::Limit { price, .. } = order.kind {
        tried = tried.max(terms.notional(order.quantity.0, price).ok_or(no_price)?);
    }
    if tried > limit {
        let (currency, tried) = (terms.currency.clone(), tried.normalize());
        return Err(RiskBreach::OrderNotional { instrument, currency, limit, tried });
    }
    Ok(())
}

fn distance(limits: &Limits, mark: Mark, order: &NewOrder) -> Result<(), RiskBreach> {
    let (Some(limit), OrderKind::Limit { price, .. }) = (limits.price_distance_percent, order.kind)
    else {
        return Ok(());
    };
    // Between bid and ask it is at the market.
    let last = price.clamp(mark.bid, mark.ask.max(mark.bid));
    let away = price.0.saturating_sub(last.0).abs();
    let allowed = limit.checked_mul(last.0);
    // Compared without a division, so that a price at the limit is exactly there.
    if allowed.zip(away.checked_mul(Decimal::ONE_HUNDRED)).is_some_and(|(most, away)| away <= most)
    {
        return Ok(());
    }
    let instrument = order.instrument;
    let percent = away.checked_mul(Decimal::ONE_HUNDRED).and_then(|away| away.checked_div(last.0));
    let tried = percent.unwrap_or(Decimal::MAX).round_sf(6).unwrap_or(Decimal::MAX).normalize();
    Err(RiskBreach::PriceDistance { instrument, limit, price, last, tried })
}

fn gross(
    limits: &Limits,
    terms: &Terms,
    exposure: &Exposure,
    after: &OpenQuantities,
    mark: Mark,
    instrument: Instrument,
) -> Result<(), RiskBreach> {
    let before = exposure.open.largest(exposure.position);
    let after = after.largest(exposure.position);
    if after <= before {
        return Ok(());
    }
    let no_price = |instrument| RiskBreach::NoPrice { instrument, limit: "max_gross_exposure" };
    if let Some(unpriced) = exposure.unpriced {
        return Err(no_price(unpriced));
    }
    let own = worth(terms, after, mark).ok_or_else(|| no_price(instrument))?;
    for (scope, limit, others) in [
        (RiskScope::All, limits.gross_exposure.all, exposure.others.all),
        (
            RiskScope::Exchange(instrument.exchange()),
            limits.gross_exposure.exchange,
            exposure.others.exchange,
        ),
    ] {
        let tried = others.saturating_add(own);
        if let Some(limit) = limit.filter(|limit| tried > *limit) {
            let (currency, tried) = (terms.currency.clone(), tried.normalize());
            return Err(RiskBreach::GrossExposure { scope, currency, limit, tried });
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
