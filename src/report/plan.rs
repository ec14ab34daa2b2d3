//! What a shutdown would do now.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::LeastTime;
use crate::types::{
    ClientOrderId, ClosePolicy, ExchangeName, ExchangeOrderId, Instrument, Order, OrderKind,
    OrderStatus, Price, Quantity, Side, Timestamp,
};

/// What a shutdown would do if it began now. Nothing of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownPlan {
    /// When this was so.
    pub at: Timestamp,
    /// Every exchange, in the order of the configuration.
    pub exchanges: Vec<ExchangePlan>,
    /// About how long it would take, in milliseconds: the round trips of the exchange that needs
    /// most, as they were measured, and the waits that its limits force. Saving, hooks and whatever
    /// goes wrong come to that. Absent where no round trip was measured.
    pub expected_ms: Option<u64>,
    /// The least that it could take. Absent where no round trip was measured.
    pub least: Option<LeastTime>,
    /// Hooks that would run; a drain of one exchange runs none.
    pub hooks: usize,
    /// The longest that it may take, in milliseconds.
    pub deadline_ms: u64,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangePlan {
    /// Its name in the configuration.
    pub exchange: ExchangeName,
    /// Whether it is drained, or on its way to or from it: then nothing more is cancelled.
    pub drained: bool,
    /// Orders to cancel.
    pub cancel: Vec<PlannedOrder>,
    /// Orders that may be open: they are asked about, and cancelled.
    pub unknown: Vec<PlannedOrder>,
    /// Orders to leave open, as they ask for it.
    pub keep: Vec<PlannedOrder>,
    /// How the cancels would be written.
    pub way: CancelWay,
    /// In how many messages.
    pub requests: u32,
    /// What the exchange's limits would make the cancels wait, in milliseconds, if nothing else used
    /// them up.
    pub paced_ms: u64,
    /// What is held now by the gateway's own fills. Those to close are sized anew when the cancels
    /// are confirmed.
    pub positions: Vec<PlannedPosition>,
    /// Connections to close.
    pub connections: u32,
}

/// A position of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPosition {
    /// What was traded, and where.
    pub instrument: Instrument,
    /// What is held; below zero a short one.
    pub quantity: Decimal,
    /// What is to become of it.
    pub policy: ClosePolicy,
}

/// How orders are cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelWay {
    /// There is nothing to cancel.
    #[default]
    None,
    /// Each by a message of its own.
    Single,
    /// Several by a message.
    Batch,
    /// All of an account or of an instrument by one request, where `account_is_ours` and nobody
    /// else's order and none to be kept is in the way.
    Mass,
}

impl CancelWay {
    /// The name used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Mass => "mass",
        }
    }
}

/// An order of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedOrder {
    /// The gateway's id.
    pub client_id: ClientOrderId,
    /// The exchange's id, where it is known.
    pub exchange_id: Option<ExchangeOrderId>,
    /// What it trades.
    pub instrument: Instrument,
    /// Buy or sell.
    pub side: Side,
    /// Its limit, if it has one.
    pub price: Option<Price>,
    /// Quantity that has not traded.
    pub remaining: Quantity,
    /// How it stands.
    pub status: OrderStatus,
}

impl From<&Order> for PlannedOrder {
    fn from(order: &Order) -> Self {
        let request = &order.request;
        let price = match request.kind {
            OrderKind::Limit { price, .. } => Some(price),
            OrderKind::Market => None,
        };
        let remaining = (request.quantity - order.filled).max(Quantity::ZERO);
        Self {
            client_id: order.client_id,
            exchange_id: order.exchange_id,
            instrument: request.instrument,
            side: request.side,
            price,
            remaining,
            status: order.status,
        }
    }
}
