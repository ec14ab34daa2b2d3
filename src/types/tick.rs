//! Market data: small `Copy` values, because every tick crosses the whole gateway.

use serde::{Deserialize, Serialize};

use super::{Instrument, Price, Quantity, Side, Timestamp};

/// One trade or one change of the best bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// What was traded or quoted.
    pub instrument: Instrument,
    /// When the exchange says it happened; absent where the exchange does not say.
    pub exchange_time: Option<Timestamp>,
    /// When its bytes were read from the socket.
    pub received: Timestamp,
    /// The trade or the quote.
    #[serde(flatten)]
    pub data: TickData,
}

/// What a tick tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum TickData {
    /// Somebody traded.
    Trade(Trade),
    /// The best bid or ask changed.
    Quote(Quote),
}

/// A public trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Price of the trade.
    pub price: Price,
    /// Base quantity of the trade.
    pub quantity: Quantity,
    /// The side of the order that took liquidity.
    pub taker_side: Side,
    /// The exchange's number for the trade, unique within the instrument.
    pub trade_id: u64,
}

/// The best bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Highest price that somebody bids.
    pub bid: Price,
    /// Quantity bid at that price.
    pub bid_quantity: Quantity,
    /// Lowest price that somebody asks.
    pub ask: Price,
    /// Quantity offered at that price.
    pub ask_quantity: Quantity,
}
