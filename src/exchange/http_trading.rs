//! Cancels and questions over HTTP, for when no trading connection can be had.

use super::{HttpFailure, HttpResponse, Outbox, RateRule};
use crate::types::{Order, Timestamp};

/// The adapter's half of trading over HTTP: it writes requests into [`Outbox::requests`] and reads
/// their answers into events. It never places orders, and it never awaits; `now` is wall-clock
/// time.
///
/// An HTTP request is on no connection of the orders, so it may overtake them. Therefore no event
/// of it carries a `request_id`, which would say that the order has arrived by now.
pub trait HttpTrading: Send {
    /// Writes the cancels of these orders. `CancelAcknowledged` or `CancelRejected` follows for
    /// each whose request is answered, and nothing for one whose request is not. Whatever the
    /// answer, only a [question](Self::query) tells how the order stands after it: what an answer
    /// to a cancel says of the order is not handed on.
    fn cancel(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox);

    /// Asks how these orders stand; `Status`, `NotFound` or `QueryFailed` follows for each.
    fn query(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox);

    /// Asks for the single fills of these orders; an `OrderNews::Filled` for each fill and then
    /// `FillsListed` or `FillsFailed` follow for each order.
    fn query_fills(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox);

    /// The answer to a request of [`Outbox::requests`], which may lead to further requests.
    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    );

    /// Requests that the exchange accepts, if it limits them. Sources: named in each adapter beside
    /// the value.
    fn rate(&self) -> Option<RateRule> {
        None
    }
}
