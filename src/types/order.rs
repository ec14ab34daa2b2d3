//! Orders and fills as the gateway knows them, the same for every exchange.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{ClientOrderId, ExchangeOrderId, Instrument, Price, Quantity, Timestamp};

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Buys the base asset.
    Buy,
    /// Sells the base asset.
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
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        })
    }
}

/// How long a limit order stays, and whether it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Good till cancelled.
    Gtc,
    /// Immediate or cancel: what does not fill at once expires.
    Ioc,
    /// Good till cancelled, refused if it would take liquidity.
    PostOnly,
}

/// Limit or market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OrderKind {
    /// Trades at this price or a better one.
    Limit {
        /// Worst price.
        price: Price,
        /// How long it stays.
        time_in_force: TimeInForce,
    },
    /// Trades at once at whatever price there is.
    Market,
}

/// What shutdown does with an order that is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnShutdown {
    /// Cancelled, and the cancel confirmed.
    #[default]
    Cancel,
    /// Left open on purpose, and named in the report as kept.
    Keep,
}

/// An order that a bot wants placed. Build it with [`limit`](Self::limit) or
/// [`market`](Self::market) and refine it with the other methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// What to trade, and where.
    pub instrument: Instrument,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub kind: OrderKind,
    /// Base quantity; on inverse futures and perpetuals, whose
    /// [`contract_size`](crate::types::InstrumentSpec::contract_size) tells, US dollars.
    pub quantity: Quantity,
    /// What shutdown does with it.
    #[serde(default)]
    pub on_shutdown: OnShutdown,
    /// Whether it may only make a position smaller, by the exchange's own word.
    #[serde(default)]
    pub reduce_only: bool,
}

impl NewOrder {
    /// A limit order, good till cancelled.
    pub fn limit(instrument: Instrument, side: Side, price: Price, quantity: Quantity) -> Self {
        let kind = OrderKind::Limit { price, time_in_force: TimeInForce::Gtc };
        let on_shutdown = OnShutdown::Cancel;
        Self { instrument, side, kind, quantity, on_shutdown, reduce_only: false }
    }

    /// A market order.
    pub fn market(instrument: Instrument, side: Side, quantity: Quantity) -> Self {
        let kind = OrderKind::Market;
        let on_shutdown = OnShutdown::Cancel;
        Self { instrument, side, kind, quantity, on_shutdown, reduce_only: false }
    }

    /// The same with another time in force; a market order has none and stays as it is.
    pub fn time_in_force(mut self, wanted: TimeInForce) -> Self {
        if let OrderKind::Limit { time_in_force, .. } = &mut self.kind {
            *time_in_force = wanted;
        }
        self
    }

    /// The same, refused if it would take liquidity.
    pub fn post_only(self) -> Self {
        self.time_in_force(TimeInForce::PostOnly)
    }

    /// The same, immediate or cancel.
    pub fn immediate_or_cancel(self) -> Self {
        self.time_in_force(TimeInForce::Ioc)
    }

    /// The same, left open at shutdown and named in the report as kept.
    pub fn keep_on_shutdown(mut self) -> Self {
        self.on_shutdown = OnShutdown::Keep;
        self
    }

    /// The same, as an order that the exchange lets make a position only smaller, never larger or
    /// the other way round. It goes ahead of other new orders and may use the part of the rate limit
    /// that is kept for cancels. Deribit has such orders; elsewhere it is refused as
    /// [`ReduceOnlyUnsupported`](super::InvalidOrder::ReduceOnlyUnsupported).
    pub fn reduce_only(mut self) -> Self {
        self.reduce_only = true;
        self
    }
}

/// Where an order stands. A network error never makes one terminal: only the exchange's answer
/// does, or the certainty that no byte of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted by the gateway, not yet written.
    Pending,
    /// Written to the wire, no answer yet.
    Sent,
    /// Written to the wire, and the answer did not come or was itself "unknown".
    OutcomeUnknown,
    /// Acknowledged by the exchange, nothing filled.
    Open,
    /// Acknowledged and partly filled.
    PartiallyFilled,
    /// Filled whole. Terminal.
    Filled,
    /// Cancelled by the exchange's own word. Terminal.
    Canceled,
    /// Refused by the exchange. Terminal.
    Rejected,
    /// Expired: the rest of an IOC or market order, or by the exchange. Terminal.
    Expired,
    /// No byte of it was written. Terminal.
    NotSent,
}

impl OrderStatus {
    /// Whether nothing can happen to the order any more.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Filled | Self::Canceled | Self::Rejected | Self::Expired | Self::NotSent
        )
    }

    /// The name used in logs and JSON, `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Open => "open",
            Self::PartiallyFilled => "partially_filled",
            Self::Filled => "filled",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::NotSent => "not_sent",
        }
    }
}

impl std::fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An order with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The gateway's id for it.
    pub client_id: ClientOrderId,
    /// The exchange's id for it, once known.
    pub exchange_id: Option<ExchangeOrderId>,
    /// What was asked for.
    #[serde(flatten)]
    pub request: NewOrder,
    /// Where it stands.
    pub status: OrderStatus,
    /// Base quantity filled so far.
    pub filled: Quantity,
    /// Quantity whose single fills are known; less than `filled` while some are still to be fetched.
    #[serde(default)]
    pub booked: Quantity,
    /// Why it was rejected, expired, cancelled or is unknown, in the exchange's words where it
    /// gave some.
    pub reason: Option<String>,
    /// When the bot handed it over.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

impl Order {
    /// The gateway's id for it.
    pub fn id(&self) -> ClientOrderId {
        self.client_id
    }

    /// The instrument it trades.
    pub fn instrument(&self) -> Instrument {
        self.request.instrument
    }

    /// Quantity that is not filled.
    pub fn remaining(&self) -> Quantity {
        self.request.quantity - self.filled
    }

    /// Whether more has filled than its single fills tell: some are still to be fetched.
    pub fn lacks_fills(&self) -> bool {
        self.booked < self.filled
    }
}

/// Whether a fill added or took liquidity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Liquidity {
    /// The order was resting.
    Maker,
    /// The order took.
    Taker,
}

/// What a fill cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// The asset it was paid in.
    pub asset: String,
    /// How much of it; negative is a rebate.
    pub amount: Decimal,
}

/// A part of an order that traded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The exchange's id of the fill, unique within the instrument; repeats are booked once.
    pub fill_id: String,
    /// Price of this part.
    pub price: Price,
    /// Base quantity of this part.
    pub quantity: Quantity,
    /// Fee, where the exchange told one.
    pub fee: Option<Fee>,
    /// Maker or taker, where the exchange told.
    pub liquidity: Option<Liquidity>,
    /// When the exchange says it happened.
    pub time: Option<Timestamp>,
}
