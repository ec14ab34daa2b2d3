//! What a session hands back: messages to write, ticks, and events.

use crate::types::{
    ClientOrderId, ExchangeOrderId, Fill, Instrument, Order, OrderStatus, Quantity, Tick, Timestamp,
};

use super::{HttpRequest, OrderLimits, SwitchAnswer};

/// Collects a session's output. It is kept and cleared between calls, so that the tick path
/// allocates nothing once its buffers have grown.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Text messages to write to the socket, in order.
    pub messages: Vec<String>,
    /// HTTP requests to make, each with a tag that comes back with its answer.
    pub requests: Vec<(u64, HttpRequest)>,
    /// Ticks, in order of arrival.
    pub ticks: Vec<Tick>,
    /// Everything else, in order of arrival.
    pub events: Vec<SessionEvent>,
}

impl Outbox {
    /// Empties it and keeps its buffers.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.requests.clear();
        self.ticks.clear();
        self.events.clear();
    }

    /// Whether there is nothing but perhaps ticks.
    pub(crate) fn is_silent(&self) -> bool {
        self.messages.is_empty() && self.requests.is_empty() && self.events.is_empty()
    }

    /// Adds an event.
    pub fn event(&mut self, event: SessionEvent) {
        self.events.push(event);
    }

    /// Adds an order event.
    pub fn order(&mut self, event: OrderEvent) {
        self.events.push(SessionEvent::Order(event));
    }
}

/// What a session has to say beside ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "order events are the common ones, and a box would allocate for each"
)]
pub enum SessionEvent {
    /// Authenticated where needed, every subscription acknowledged, and on a trading session every
    /// open order that the exchange listed has been told as an [`OrderNews::Status`].
    Ready,
    /// The exchange refused the login or a subscription: the connection has failed.
    Refused(Refusal),
    /// Every unsubscription has been acknowledged.
    Unsubscribed,
    /// The exchange said of its own accord that it is alive.
    Heartbeat,
    /// The exchange answered a ping message: it reads what is written to it.
    Pong,
    /// A request that is not about an order was acknowledged.
    Acknowledged {
        /// Which request, for example `subscribe ticker BTC/USD`.
        request: String,
    },
    /// The exchange will close this connection soon; a new one is needed.
    ClosingSoon {
        /// In the exchange's words.
        reason: String,
    },
    /// The exchange changed what trading it allows.
    Restricted(TradingRestriction),
    /// The exchange told which limits on orders hold for this account.
    LimitsTold(OrderLimits),
    /// The exchange answered that there were too many requests; the request itself is told apart.
    RateLimited {
        /// Until when the exchange takes no more, if it says so.
        until: Option<Timestamp>,
    },
    /// Private updates were lost (a hole in their sequence): the connection must be made anew, so
    /// that the state is read afresh.
    UpdatesLost {
        /// What was expected and what came.
        reason: String,
    },
    /// News of an order.
    Order(OrderEvent),
    /// The exchange answered a setting of its dead-man's switch.
    Switch(SwitchAnswer),
    /// A message that is well formed and of no interest.
    Ignored {
        /// What it was, for example `event outboundAccountPosition`.
        what: String,
    },
    /// The exchange reports an error that belongs to no order.
    ExchangeError {
        /// The exchange's number for it, where it has one.
        code: Option<i64>,
        /// In the exchange's words.
        reason: String,
    },
}

/// What trading an exchange allows at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TradingRestriction {
    /// All orders.
    None,
    /// Only post-only limit orders and cancels.
    PostOnly,
    /// Only cancels.
    CancelOnly,
    /// Neither orders nor cancels.
    Maintenance,
}

/// A refused login or subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused, for example `userDataStream.subscribe.signature`.
    pub request: String,
    /// The exchange's number for it, where it has one.
    pub code: Option<i64>,
    /// In the exchange's words.
    pub reason: String,
    /// Whether trying again with the same configuration is pointless (wrong key, unknown symbol).
    pub permanent: bool,
}

/// News of one order. At least one of the ids is there, or `request_id` where the exchange names
/// none of them and the request is not this session's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// The sender's id, where the message or the session's memory of the request tells it.
    pub client_id: Option<ClientOrderId>,
    /// The exchange's id, where the message tells it.
    pub exchange_id: Option<ExchangeOrderId>,
    /// The instrument, where the message tells it.
    pub instrument: Option<Instrument>,
    /// The id of the request that this answers, where it is an answer.
    pub request_id: Option<String>,
    /// When the exchange says it happened.
    pub exchange_time: Option<Timestamp>,
    /// What happened.
    pub news: OrderNews,
}

impl OrderEvent {
    /// News that the session itself has of an order, without a message of the exchange.
    pub(super) fn about(order: &Order, news: OrderNews) -> Self {
        Self {
            client_id: Some(order.client_id),
            exchange_id: order.exchange_id,
            instrument: Some(order.instrument()),
            request_id: None,
            exchange_time: None,
            news,
        }
    }
}

/// How much of an order is filled in all, where a message says so.
pub type Cumulative = Option<Quantity>;

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderNews {
    /// The exchange took the order in; it may not be on the book yet.
    Acknowledged,
    /// The exchange refused the order: it does not exist.
    Rejected {
        /// The exchange's number for it, where it has one.
        code: Option<i64>,
        /// In the exchange's words.
        reason: String,
    },
    /// The exchange itself does not know what became of the order.
    OutcomeUnknown {
        /// In the exchange's words.
        reason: String,
    },
    /// The exchange said something of the order that cannot be read: it must be asked.
    Unreadable {
        /// What was wrong with the message.
        reason: String,
    },
    /// The order is on the book, or changed there without a fill.
    Opened,
    /// A part traded.
    Filled {
        /// The part.
        fill: Fill,
        /// How much is filled in all.
        cumulative: Cumulative,
        /// The status that the message itself gives, if it is terminal.
        completes: bool,
    },
    /// The order ended. `status` is `Filled`, `Canceled`, `Rejected` or `Expired`.
    Ended {
        /// How it ended.
        status: OrderStatus,
        /// How much is filled in all.
        cumulative: Cumulative,
        /// In the exchange's words.
        reason: Option<String>,
    },
    /// The exchange took the cancel in. The order may still fill: it is not cancelled by this.
    CancelAcknowledged,
    /// The exchange refused the cancel. Often the order has ended already; it must be asked.
    CancelRejected {
        /// The exchange's number for it, where it has one.
        code: Option<i64>,
        /// In the exchange's words.
        reason: String,
        /// Whether the exchange is overloaded or limits the rate: the same cancel may pass later.
        retry: bool,
    },
    /// The exchange's answer to "how does it stand", or a line of its list of orders.
    Status {
        /// `Open`, `PartiallyFilled` or a terminal status.
        status: OrderStatus,
        /// How much is filled in all.
        cumulative: Cumulative,
        /// In the exchange's words.
        reason: Option<String>,
    },
    /// The exchange's answer to "how does it stand": it knows no such order.
    NotFound,
    /// The question "how does it stand" was refused or got no answer.
    QueryFailed {
        /// In the exchange's words.
        reason: String,
    },
    /// The exchange has told every single fill of the order that it knows, each as
    /// [`Filled`](Self::Filled).
    FillsListed,
    /// The question for the single fills was refused, got no answer, or not a whole one.
    FillsFailed {
        /// In the exchange's words.
        reason: String,
    },
}
