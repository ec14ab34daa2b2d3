//! Order requests and the answers to them.
//!
//! Sources: <https://docs.kraken.com/api/docs/websocket-v2/add_order>,
//! <https://docs.kraken.com/api/docs/websocket-v2/cancel_order>,
//! <https://docs.kraken.com/api/docs/websocket-v2/batch_cancel>.

use serde::Deserialize;

use crate::exchange::{DecodeError, OrderEvent, OrderNews, Outbox, SwitchRequest};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Instrument, Order, OrderKind, TimeInForce, Timestamp,
};

use super::ORDER_VALIDITY;
use super::messages::{
    Envelope, OrderResult, Outcome, is_outcome_unknown, is_passing, read, shorten, timestamp,
};

/// The least and the most orders of one batch of cancels.
/// Source: <https://docs.kraken.com/api/docs/websocket-v2/batch_cancel>.
pub(super) const MIN_BATCH: usize = 2;
pub(super) const MAX_BATCH: usize = 50;

/// How many orders a batch cancelled.
#[derive(Debug, Default, Deserialize)]
struct Cancelled {
    #[serde(default)]
    count: Option<u64>,
}

/// What a request on the socket is about.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    Subscribe,
    Submit(About),
    Cancel(About),
    CancelBatch(Vec<About>),
    CancelAll,
    Switch(SwitchRequest),
}

/// The order that a request is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) client_id: ClientOrderId,
    pub(super) exchange_id: Option<ExchangeOrderId>,
    pub(super) instrument: Instrument,
}

impl About {
    pub(super) fn new(order: &Order) -> Self {
        Self {
            client_id: order.client_id,
            exchange_id: order.exchange_id,
            instrument: order.instrument(),
        }
    }
}

impl Sent {
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Submit(_) => "add_order",
            Self::Cancel(_) => "cancel_order",
            Self::CancelBatch(_) => "batch_cancel",
            Self::CancelAll => "cancel_all",
            Self::Switch(_) => super::switch::METHOD,
        }
    }

    /// The one order that it is about.
    pub(super) fn about(&self) -> Option<About> {
        match self {
            Self::Subscribe | Self::CancelBatch(_) | Self::CancelAll | Self::Switch(_) => None,
            Self::Submit(about) | Self::Cancel(about) => Some(*about),
        }
    }
}

/// The request for a new order. Numbers are JSON numbers: a decimal prints its digits exactly and
/// never an exponent.
pub(super) fn add_order(
    order: &Order,
    symbol: &str,
    now: Timestamp,
    token: &str,
    number: u64,
) -> String {
    let kind = match order.request.kind {
        OrderKind::Market => r#""order_type":"market""#.to_owned(),
        OrderKind::Limit { price, time_in_force } => {
            let terms = match time_in_force {
                TimeInForce::Gtc => r#""time_in_force":"gtc""#,
                TimeInForce::Ioc => r#""time_in_force":"ioc""#,
                TimeInForce::PostOnly => r#""time_in_force":"gtc","post_only":true"#,
            };
            let price = price.decimal().normalize();
            format!(r#""order_type":"limit","limit_price":{price},{terms}"#)
        }
    };
    let deadline = now.checked_add(ORDER_VALIDITY).unwrap_or(Timestamp::MAX);
    format!(
        r#"{{"method":"add_order","params":{{{kind},"side":"{}","order_qty":{},"symbol":{},"cl_ord_id":{},"deadline":"{deadline:.3}","token":{}}},"req_id":{number}}}"#,
        order.request.side,
        order.request.quantity.decimal().normalize(),
        json(symbol),
        json(order.client_id.as_str()),
        json(token),
    )
}

/// The request to cancel one order: a refusal names no order, so that a list would be ambiguous.
pub(super) fn cancel_order(order: &Order, token: &str, number: u64) -> String {
    format!(
        r#"{{"method":"cancel_order","params":{{"cl_ord_id":[{}],"token":{}}},"req_id":{number}}}"#,
        json(order.client_id.as_str()),
        json(token),
    )
}

/// The request to cancel several orders, which names them by the exchange's ids and passes over a
/// full rate counter. It takes [`MIN_BATCH`] to [`MAX_BATCH`] orders.
pub(super) fn batch_cancel(ids: &[ExchangeOrderId], token: &str, number: u64) -> String {
    let ids: Vec<_> = ids.iter().map(|id| json(id.as_str())).collect();
    format!(
        r#"{{"method":"batch_cancel","params":{{"orders":[{}],"token":{}}},"req_id":{number}}}"#,
        ids.join(","),
        json(token),
    )
}

/// The request to cancel every order of the account.
pub(super) fn cancel_all(token: &str, number: u64) -> String {
    let token = json(token);
    format!(r#"{{"method":"cancel_all","params":{{"token":{token}}},"req_id":{number}}}"#)
}

/// What the response to a batch of cancels says of each of its orders; `false` if it cancelled
/// fewer than it named. It does not say which, so that then each has to be asked about; and as with
/// a single cancel, its report is what ends an order.
pub(super) fn batch_events(
    envelope: &Envelope<'_>,
    outcome: Outcome<'_>,
    batch: &[About],
    out: &mut Outbox,
) -> Result<bool, DecodeError> {
    let mut is_whole = true;
    let news = match outcome {
        Outcome::Done(result) => {
            let named: Cancelled = match result {
                Some(result) => read(result, "result")?,
                None => Cancelled::default(),
            };
            match named.count {
                Some(count) if count < batch.len() as u64 => {
                    is_whole = false;
                    let reason = format!("only {count} of {} orders were cancelled", batch.len());
                    OrderNews::CancelRejected { code: None, reason, retry: false }
                }
                _ => OrderNews::CancelAcknowledged,
            }
        }
        Outcome::Failed(error) => {
            let reason = shorten(error);
            OrderNews::CancelRejected { code: None, retry: is_passing(error), reason }
        }
    };
    let exchange_time = timestamp(envelope.time_out.as_deref(), "time_out")?;
    for about in batch {
        out.order(OrderEvent {
            client_id: Some(about.client_id),
            exchange_id: about.exchange_id,
            instrument: Some(about.instrument),
            request_id: envelope.request_id(),
            exchange_time,
            news: news.clone(),
        });
    }
    Ok(is_whole)
}

/// What the response to an order request says of its order.
pub(super) fn order_event(
    method: &str,
    envelope: &Envelope<'_>,
    outcome: Outcome<'_>,
    about: Option<About>,
) -> Result<OrderEvent, DecodeError> {
    let is_cancel = method == "cancel_order";
    let mut named = OrderResult::default();
    let news = match outcome {
        Outcome::Done(result) => {
            if let Some(result) = result {
                named = read(result, "result")?;
            }
            if is_cancel { OrderNews::CancelAcknowledged } else { OrderNews::Acknowledged }
        }
        Outcome::Failed(error) => {
            let reason = shorten(error);
            if is_cancel {
                OrderNews::CancelRejected { code: None, retry: is_passing(error), reason }
            } else if is_outcome_unknown(error) {
                OrderNews::OutcomeUnknown { reason }
            } else {
                OrderNews::Rejected { code: None, reason }
            }
        }
    };
    let client_id = named.cl_ord_id.as_deref().and_then(|id| ClientOrderId::new(id).ok());
    let exchange_id = named.order_id.as_deref().and_then(|id| ExchangeOrderId::new(id).ok());
    Ok(OrderEvent {
        client_id: about.map(|about| about.client_id).or(client_id),
        exchange_id: exchange_id.or(about.and_then(|about| about.exchange_id)),
        instrument: about.map(|about| about.instrument),
        request_id: envelope.request_id(),
        exchange_time: timestamp(envelope.time_out.as_deref(), "time_out")?,
        news,
    })
}

/// A text as a JSON string.
pub(super) fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, adapter, order};
    use super::*;
    use crate::exchange::Adapter as _;
    use crate::types::NewOrder;

    #[test]
    fn numbers_are_written_as_numbers_with_their_exact_digits() {
        assert_eq!(
            add_order(&order(), "BTC/USD", NOW, "T", 7),
            r#"{"method":"add_order","params":{"order_type":"limit","limit_price":30000.5,"time_in_force":"gtc","side":"buy","order_qty":0.01,"symbol":"BTC/USD","cl_ord_id":"gw1","deadline":"1970-01-01T00:00:05.000Z","token":"T"},"req_id":7}"#
        );
        let mut small = order();
        small.request.quantity = "0.0000000001".parse().unwrap();
        assert!(add_order(&small, "BTC/USD", NOW, "T", 7).contains(r#""order_qty":0.0000000001,"#));
    }

    #[test]
    fn an_order_that_is_late_on_its_way_is_refused_before_it_can_be_taken_for_absent() {
        let text = add_order(&order(), "BTC/USD", NOW, "T", 7);
        let request: serde_json::Value = serde_json::from_str(&text).unwrap();
        let deadline = request["params"]["deadline"].as_str().unwrap();
        let deadline: Timestamp = deadline.parse().unwrap();
        let flight = deadline.duration_since(NOW).unsigned_abs();
        assert!(flight < adapter("").longest_order_flight(), "{deadline}");
    }

    #[test]
    fn each_kind_of_order_has_its_terms() {
        let text = |request: NewOrder| {
            let text = add_order(&Order { request, ..order() }, "BTC/USD", NOW, "T", 7);
            let terms = text.split_once(r#","side""#).unwrap().0;
            terms.split_once(r#""params":{"#).unwrap().1.to_owned()
        };
        let limit = order().request;
        assert_eq!(
            text(limit.immediate_or_cancel()),
            r#""order_type":"limit","limit_price":30000.5,"time_in_force":"ioc""#
        );
        assert_eq!(
            text(limit.post_only()),
            r#""order_type":"limit","limit_price":30000.5,"time_in_force":"gtc","post_only":true"#
        );
        let market = NewOrder::market(limit.instrument, limit.side, limit.quantity);
        assert_eq!(text(market), r#""order_type":"market""#);
    }

    #[test]
    fn what_is_written_is_json_whatever_the_ids_hold() {
        let mut odd = order();
        odd.client_id = ClientOrderId::new(r#"a"\b"#).unwrap();
        for text in [add_order(&odd, "BTC/USD", NOW, "\"", 1), cancel_order(&odd, "\n", 2)] {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(value.to_string().contains(r#"a\"\\b"#), "{value}");
        }
    }
}
