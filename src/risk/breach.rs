//! Which limit an order would break.

use std::fmt;

use rust_decimal::Decimal;

use crate::types::{ExchangeName, Instrument, Price, Quantity};

/// What a limit of a sum is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RiskScope {
    /// All exchanges together.
    All,
    /// One exchange.
    Exchange(ExchangeName),
    /// One instrument.
    Instrument(Instrument),
}

impl fmt::Display for RiskScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all exchanges"),
            Self::Exchange(exchange) => exchange.fmt(f),
            Self::Instrument(instrument) => instrument.fmt(f),
        }
    }
}

/// The limit that an order would break, with its value and the tried one. Nothing of the order was
/// stored or sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RiskBreach {
    /// The quantity is too large.
    #[error("max_order_quantity of {instrument} is {limit}, and this order has {tried}")]
    OrderQuantity {
        /// Which instrument.
        instrument: Instrument,
        /// The limit.
        limit: Quantity,
        /// The order's quantity.
        tried: Quantity,
    },
    /// The order is worth too much.
    #[error(
        "max_order_notional of {instrument} is {limit} {currency}, and this order is worth \
         {tried} {currency}"
    )]
    OrderNotional {
        /// Which instrument.
        instrument: Instrument,
        /// What it is counted in.
        currency: String,
        /// The limit.
        limit: Decimal,
        /// What the order is worth at its own price or the last one, whichever makes more.
        tried: Decimal,
    },
    /// The price is too far from the last one.
    #[error(
        "max_price_distance_percent of {instrument} is {limit} %, and the price {price} is \
         {tried} % from the last price {last}"
    )]
    PriceDistance {
        /// Which instrument.
        instrument: Instrument,
        /// The limit, in percent.
        limit: Decimal,
        /// The order's price.
        price: Price,
        /// The last bid, ask or trade that is nearest to it.
        last: Price,
        /// How far it is from that, in percent.
        tried: Decimal,
    },
    /// The last tick is too old to be a price.
    #[error(
        "stale_tick_after of {instrument} is {limit_ms} ms, and its last tick is {tried_ms} ms old, \
         so that the order cannot be valued"
    )]
    StaleTick {
        /// Which instrument.
        instrument: Instrument,
        /// The limit, in milliseconds.
        limit_ms: u64,
        /// The age of the last tick, in milliseconds.
        tried_ms: u64,
    },
    /// There is no tick to value the order, or what is held, by.
    #[error(
        "{limit} needs a price of {instrument}, and no tick has come, or none that it can be valued by"
    )]
    NoPrice {
        /// The instrument that cannot be valued: the order's, or another one that counts towards the
        /// limit.
        instrument: Instrument,
        /// The limit that needs it.
        limit: &'static str,
    },
    /// Too many orders are open.
    #[error("max_open_orders of {scope} is {limit}, and this order would be number {tried}")]
    OpenOrders {
        /// Of what.
        scope: RiskScope,
        /// The limit.
        limit: usize,
        /// How many there would be.
        tried: usize,
    },
    /// The position could become too large.
    #[error(
        "max_position of {instrument} is {limit}, and {tried} would be held if every open order of \
         this side filled"
    )]
    Position {
        /// Which instrument.
        instrument: Instrument,
        /// The limit.
        limit: Decimal,
        /// The position that it could come to; below zero what is sold.
        tried: Decimal,
    },
    /// All positions and open orders together would be worth too much.
    #[error(
        "max_gross_exposure of {scope} is {limit} {currency}, and this order could bring it to \
         {tried} {currency}"
    )]
    GrossExposure {
        /// Of what.
        scope: RiskScope,
        /// What it is counted in.
        currency: String,
        /// The limit.
        limit: Decimal,
        /// What it could come to.
        tried: Decimal,
    },
    /// Too many orders within a second.
    #[error("max_orders_per_second of {scope} is {limit}, and this order is number {tried}")]
    OrdersPerSecond {
        /// Of what.
        scope: RiskScope,
        /// The limit.
        limit: usize,
        /// How many there would be within a second.
        tried: usize,
    },
}

impl RiskBreach {
    /// The limit's name in `[risk]`.
    pub fn limit(&self) -> &'static str {
        match self {
            Self::OrderQuantity { .. } => "max_order_quantity",
            Self::OrderNotional { .. } => "max_order_notional",
            Self::PriceDistance { .. } => "max_price_distance_percent",
            Self::StaleTick { .. } => "stale_tick_after",
            Self::NoPrice { limit, .. } => limit,
            Self::OpenOrders { .. } => "max_open_orders",
            Self::Position { .. } => "max_position",
            Self::GrossExposure { .. } => "max_gross_exposure",
            Self::OrdersPerSecond { .. } => "max_orders_per_second",
        }
    }
}
