//! Orders, fills and the events the engine reports.

use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::instrument::InstrumentId;

/// The engine's number of an order; each venue writes it in its own form.
pub(crate) type OrderId = u64;

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Base in, quote out.
    Buy,
    /// Base out, quote in.
    Sell,
}

impl Side {
    /// The other side.
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// The quantity, negative for a sale.
    pub(crate) fn signed(self, quantity: Decimal) -> Decimal {
        match self {
            Self::Buy => quantity,
            Self::Sell => -quantity,
        }
    }
}

/// Limit or market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// With a worst price.
    Limit,
    /// At any price.
    Market,
}

/// How long an order may stay in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Until cancelled.
    Gtc,
    /// What does not trade at once expires.
    Ioc,
    /// Trades whole at once or not at all.
    Fok,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// In the book, nothing filled.
    New,
    /// In the book, something filled.
    PartiallyFilled,
    /// Done.
    Filled,
    /// Taken out on request.
    Canceled,
    /// Never entered the book.
    Rejected,
    /// Taken out by its own terms.
    Expired,
}

impl OrderStatus {
    /// Whether it rests in the book.
    pub fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}

/// What the account holds of one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Free to use.
    pub free: Decimal,
    /// Locked by open orders.
    pub locked: Decimal,
}

/// How much to trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Base(Decimal),
    /// Market orders only.
    Quote(Decimal),
}

/// An order of the account.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) client_id: Arc<str>,
    pub(crate) user_reference: Option<i64>,
    pub(crate) instrument: InstrumentId,
    pub(crate) symbol: Arc<str>,
    pub(crate) side: Side,
    pub(crate) kind: OrderKind,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) post_only: bool,
    /// Derivatives only: never more than the opposite position.
    pub(crate) reduce_only: bool,
    /// `None` for market orders.
    pub(crate) price: Option<Decimal>,
    pub(crate) quantity: Decimal,
    /// The quote amount asked for, zero when the order was given in base.
    pub(crate) quote_quantity: Decimal,
    pub(crate) filled: Decimal,
    pub(crate) filled_quote: Decimal,
    pub(crate) status: OrderStatus,
    /// Amount of the spent asset that this order keeps locked.
    pub(crate) locked: Decimal,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Order {
    pub(crate) fn remaining(&self) -> Decimal {
        self.quantity - self.filled
    }

    pub(crate) fn average_price(&self) -> Option<Decimal> {
        (!self.filled.is_zero()).then(|| self.filled_quote / self.filled)
    }
}

/// One fill of an own order.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    pub(crate) trade_id: u64,
    pub(crate) order_id: OrderId,
    pub(crate) client_id: Arc<str>,
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) price: Decimal,
    pub(crate) quantity: Decimal,
    pub(crate) fee: Decimal,
    pub(crate) fee_asset: Arc<str>,
    /// Number of the trade within its instrument, without gaps.
    pub(crate) sequence: u64,
    /// Derivatives only: profit realised by closing a position.
    pub(crate) profit: Decimal,
    pub(crate) maker: bool,
    pub(crate) time: Timestamp,
}

/// What happened to an own order.
#[derive(Clone, Debug)]
pub(crate) enum OrderChange {
    New,
    Trade(Fill),
    /// `cancel_id` is the client's own id of the cancel, if it gave one.
    Canceled {
        cancel_id: Option<Arc<str>>,
    },
    /// An immediate order's rest, or a market order that found nothing.
    Expired,
    /// Price or quantity changed in place.
    Amended,
}

/// A trade that everyone sees.
#[derive(Clone, Debug)]
pub(crate) struct PublicTrade {
    pub(crate) instrument: InstrumentId,
    pub(crate) id: u64,
    /// Number of the trade within its instrument, without gaps.
    pub(crate) sequence: u64,
    pub(crate) price: Decimal,
    pub(crate) quantity: Decimal,
    pub(crate) taker: Side,
    pub(crate) taker_kind: OrderKind,
    pub(crate) time: Timestamp,
}

/// The best prices after a change; a missing side is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) bid: Decimal,
    pub(crate) bid_quantity: Decimal,
    pub(crate) ask: Decimal,
    pub(crate) ask_quantity: Decimal,
}

/// What the engine reports, in the order in which it happened.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "events are few, short-lived, and mostly orders")]
pub(crate) enum EngineEvent {
    /// An own order changed; `order` is its state right after.
    Order {
        order: Order,
        change: OrderChange,
    },
    /// These assets of the account may have changed.
    Balances {
        assets: Vec<Arc<str>>,
        time: Timestamp,
    },
    Trade(PublicTrade),
    /// Levels that changed, with their new total (zero: gone). `first_id..=last_id` number the
    /// single changes.
    Book {
        instrument: InstrumentId,
        first_id: u64,
        last_id: u64,
        bids: Vec<(Decimal, Decimal)>,
        asks: Vec<(Decimal, Decimal)>,
        time: Timestamp,
    },
    /// The best bid or ask changed.
    Quote {
        instrument: InstrumentId,
        quote: Quote,
        update_id: u64,
        time: Timestamp,
    },
}
