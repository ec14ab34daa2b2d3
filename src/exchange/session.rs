//! What every connection attempt speaks: the adapter's half of a connection.

use crate::types::{Instrument, Order, Timestamp};

use super::{HttpFailure, HttpRequest, HttpResponse, Outbox, Refusal, SwitchRequest};

/// A message that cannot be read. The connection goes on; the message is counted and logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DecodeError {
    /// What was wrong and where, without the whole message.
    pub reason: String,
}

impl DecodeError {
    /// An error with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// The protocol state of one connection attempt, from before the socket opens until it is gone.
/// A session never awaits; `now` is wall-clock time.
pub trait Session: Send {
    /// An HTTP request that must be answered before the socket is opened, for example for a token.
    fn before_connect(&mut self, now: Timestamp) -> Option<HttpRequest> {
        let _ = now;
        None
    }

    /// The answer to [`before_connect`](Self::before_connect). An error ends the attempt.
    fn prepared(&mut self, response: &HttpResponse) -> Result<(), Refusal> {
        let _ = response;
        Ok(())
    }

    /// The socket is open: log in and subscribe.
    fn opened(&mut self, now: Timestamp, out: &mut Outbox);

    /// A text message arrived at `now`.
    fn received(&mut self, text: &str, now: Timestamp, out: &mut Outbox)
    -> Result<(), DecodeError>;

    /// The answer to a request of [`Outbox::requests`].
    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let _ = (tag, answer, now, out);
    }

    /// Writes the exchange's ping message. Only called where the rules say
    /// [`Probe::Message`](super::Probe::Message).
    fn ping(&mut self, now: Timestamp, out: &mut Outbox) {
        let _ = (now, out);
    }
}

/// Market data: after [`opened`](Session::opened) it subscribes to trades and best bid/ask of all
/// its instruments and emits ticks.
pub trait MarketSession: Session {
    /// Asks for the end of all subscriptions; [`SessionEvent::Unsubscribed`](super::SessionEvent)
    /// follows when all are acknowledged.
    fn unsubscribe(&mut self, out: &mut Outbox);
}

/// Orders: writes commands, correlates answers with them, and follows the private stream.
///
/// New orders and cancels are written at once (`out`), so that the caller knows what is on the
/// wire; a question may have to wait for the answer to another. The session remembers which request
/// belongs to which order until the answer comes.
pub trait TradingSession: Session {
    /// Writes a new order.
    fn submit(&mut self, order: &Order, now: Timestamp, out: &mut Outbox);

    /// Writes a cancel, by client id or exchange id.
    fn cancel(&mut self, order: &Order, now: Timestamp, out: &mut Outbox);

    /// The most orders that one message can cancel: 1 where the exchange has no such message.
    fn cancel_batch_limit(&self) -> usize {
        1
    }

    /// Writes the cancels of several orders in as few messages as the exchange allows; each gets
    /// its own `CancelAcknowledged` or `CancelRejected`.
    fn cancel_batch(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.cancel(order, now, out);
        }
    }

    /// Writes one request that cancels every open order of an instrument, or (`None`) of the account,
    /// whoever placed it. Only called for scopes of [`Adapter::mass_cancel`](super::Adapter). Its
    /// answer ends no order, and a refusal is told as
    /// [`SessionEvent::ExchangeError`](super::SessionEvent): the caller cancels singly what it does
    /// not hear of.
    fn cancel_all(&mut self, instrument: Option<Instrument>, now: Timestamp, out: &mut Outbox) {
        let _ = (instrument, now, out);
    }

    /// Asks how an order stands; `Status`, `NotFound` or `QueryFailed` follows.
    fn query(&mut self, order: &Order, now: Timestamp, out: &mut Outbox);

    /// Asks for the single fills of an order; an `OrderNews::Filled` for each and then
    /// `OrderNews::FillsListed`, or `OrderNews::FillsFailed`, follow. A fill has the same id here and
    /// on the private stream. Nothing is known of the order's status by it.
    fn query_fills(&mut self, order: &Order, now: Timestamp, out: &mut Outbox);

    /// Sets the exchange's dead-man's switch, once the session is ready;
    /// [`SessionEvent::Switch`](super::SessionEvent) follows. Only called where the adapter says
    /// that there is one.
    fn set_switch(&mut self, request: SwitchRequest, now: Timestamp, out: &mut Outbox) {
        let _ = (request, now, out);
    }
}
