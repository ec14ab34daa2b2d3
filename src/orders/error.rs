//! Why an order or a cancel did not do what was asked.

use crate::exchange::TradingRestriction;
use crate::report::Phase;
use crate::risk::{Refusal, RiskBreach};
use crate::types::{ClientOrderId, ExchangeName, Instrument, InvalidOrder, Timestamp};

/// What went wrong with an order. Each variant is something that the caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The gateway, or this exchange, is shutting down. Nothing was sent.
    #[error("no new orders: the gateway is stopping (phase {phase})")]
    Stopping {
        /// The phase that was reached.
        phase: Phase,
    },
    /// The order breaks the exchange's own rules. Nothing was sent.
    #[error("{0}")]
    Invalid(#[from] InvalidOrder),
    /// The order would break a risk limit (`[risk]`). Nothing was stored or sent.
    #[error("refused by a risk limit: {0}")]
    Risk(#[from] RiskBreach),
    /// The kill switch has tripped: no new order is taken on any exchange until a person resets it,
    /// with [`Gateway::reset_kill_switch`](crate::Gateway::reset_kill_switch) or
    /// `exchange-gateway risk reset`. Nothing was stored or sent.
    #[error("no new orders: the kill switch tripped at {tripped:.0}: {reason}")]
    KillSwitch {
        /// Since when.
        tripped: Timestamp,
        /// Why.
        reason: String,
    },
    /// The instrument is not configured. Nothing was sent.
    #[error("{instrument} is not among the configured instruments")]
    UnknownInstrument {
        /// Which one.
        instrument: Instrument,
    },
    /// The exchange is configured without trading. Nothing was sent.
    #[error("{exchange} is configured for market data only; set `trading = true` and give it keys")]
    TradingDisabled {
        /// Which one.
        exchange: ExchangeName,
    },
    /// The trading connection is not live, or its state is still being compared with the
    /// exchange's. Nothing was sent.
    #[error("{exchange} is not ready for orders: {reason}")]
    NotConnected {
        /// Which exchange.
        exchange: ExchangeName,
        /// Connecting, reconciling, or why it failed.
        reason: String,
    },
    /// The exchange itself restricts trading at the moment. Nothing was sent.
    #[error("{exchange} does not take this order now: {restriction:?}")]
    Restricted {
        /// Which exchange.
        exchange: ExchangeName,
        /// What it allows.
        restriction: TradingRestriction,
    },
    /// A queue is full. Nothing was sent; try again later. Either so many new orders wait for the
    /// exchange's rate limits or its connection that another would wait too long (`orders.queue`),
    /// or so many order updates are unread that another order would lose track
    /// (`orders.updates_backlog`), or the exchange said that it takes no more requests for longer
    /// than an order's price holds. Cancels are never refused for it.
    #[error("busy: {what}")]
    Busy {
        /// Which queue, and how full.
        what: String,
    },
    /// The state database cannot store the order's intent, so it was not sent. No new order is
    /// taken until the gateway is started again; cancels still go out.
    #[error("no new orders: {reason}")]
    StateFailed {
        /// Why the database is not written any more.
        reason: String,
    },
    /// No byte of the order was written.
    #[error("order {id} was not sent: {reason}")]
    NotSent {
        /// The order.
        id: ClientOrderId,
        /// Why.
        reason: String,
    },
    /// The exchange refused the order.
    #[error("order {id} was rejected by the exchange: {reason}")]
    Rejected {
        /// The order.
        id: ClientOrderId,
        /// In the exchange's words, with its number for it where it has one.
        reason: String,
    },
    /// The order was written and nobody knows what became of it. It may be open. Never send it
    /// again; the gateway keeps asking, and the answer comes through the updates.
    #[error("the outcome of order {id} is unknown: {reason}")]
    OutcomeUnknown {
        /// The order.
        id: ClientOrderId,
        /// Why it is unknown.
        reason: String,
    },
    /// The gateway has no such order, or it ended so long ago that it was forgotten.
    #[error("there is no order {id}")]
    UnknownOrder {
        /// The id.
        id: ClientOrderId,
    },
    /// The gateway ended before the answer came; the report names the order.
    #[error("the gateway ended before order {id} was settled; see the shutdown report")]
    Abandoned {
        /// The order.
        id: ClientOrderId,
    },
}

impl From<Refusal> for OrderError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Breach(breach) => Self::Risk(breach),
            Refusal::KillSwitch(switch) => {
                Self::KillSwitch { tripped: switch.tripped, reason: switch.reason.clone() }
            }
        }
    }
}
