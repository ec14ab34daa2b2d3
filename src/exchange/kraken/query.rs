//! How does an order stand: the WebSocket API has no such request, so it is asked over HTTP.
//!
//! Sources: <https://docs.kraken.com/api/docs/rest-api/get-orders-info>,
//! <https://docs.kraken.com/api/docs/rest-api/get-open-orders>,
//! <https://docs.kraken.com/api/docs/rest-api/get-closed-orders>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::{HttpRequest, HttpResponse, OrderNews};
use crate::types::{ClientOrderId, ExchangeOrderId, Instrument, Order, Quantity, Timestamp};

use super::messages::{exact, http_result, read, shorten};
use super::reports::order_status;
use super::sign::Account;

/// Requests that overtake each other on the way spoil one another's nonce; asking again is safe.
const MAX_NONCE_RETRIES: u8 = 3;

/// A question about one order, and how far it has got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) client_id: ClientOrderId,
    pub(super) exchange_id: Option<ExchangeOrderId>,
    pub(super) instrument: Instrument,
    place: Place,
    nonce_retries: u8,
}

/// Where the order is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    ByExchangeId,
    OpenOrders,
    ClosedOrders,
}

/// What an answer means for the question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The question is settled.
    Settled(OrderNews, Option<ExchangeOrderId>),
    /// It must be asked again, as the question now says.
    AskAgain,
}

/// An order in an answer. The HTTP API writes numbers as strings.
#[derive(Debug, Deserialize)]
struct HttpOrder<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    cl_ord_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    vol_exec: &'a RawValue,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

/// Orders by the exchange's id. Each is kept raw, so that a strange one hides no other.
type Orders<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

#[derive(Debug, Deserialize)]
struct OrderList<'a> {
    #[serde(borrow, default)]
    open: Option<Orders<'a>>,
    #[serde(borrow, default)]
    closed: Option<Orders<'a>>,
}

impl Question {
    /// A question by the exchange's id if it is known, else by the client id.
    pub(super) fn new(order: &Order) -> Self {
        let exchange_id = order.exchange_id;
        let place = if exchange_id.is_some() { Place::ByExchangeId } else { Place::OpenOrders };
        Self {
            client_id: order.client_id,
            exchange_id,
            instrument: order.instrument(),
            place,
            nonce_retries: 0,
        }
    }

    /// The request that asks it, or why nothing can be signed.
    pub(super) fn request(
        &self,
        account: &Account,
        now: Timestamp,
    ) -> Result<HttpRequest, &'static str> {
        let by_client_id = [("cl_ord_id", self.client_id.as_str())];
        match (self.place, &self.exchange_id) {
            (Place::ByExchangeId, Some(id)) => {
                account.request("/0/private/QueryOrders", &[("txid", id.as_str())], now)
            }
            (Place::ClosedOrders, _) => {
                account.request("/0/private/ClosedOrders", &by_client_id, now)
            }
            _ => account.request("/0/private/OpenOrders", &by_client_id, now),
        }
    }

    /// Reads the answer.
    pub(super) fn answered(&mut self, response: &HttpResponse) -> Verdict {
        match http_result(response) {
            Ok(result) => self.look(result).unwrap_or_else(|reason| self.failed(reason)),
            Err(error) if error.starts_with("EAPI:Invalid nonce") => {
                self.nonce_retries += 1;
                if self.nonce_retries > MAX_NONCE_RETRIES {
                    return self.failed(error);
                }
                Verdict::AskAgain
            }
            Err(error) if is_unknown_order(&error) => self.not_found(),
            Err(error) => self.failed(error),
        }
    }

    fn look(&mut self, result: &RawValue) -> Result<Verdict, String> {
        let words = |error: crate::exchange::DecodeError| error.to_string();
        let orders: Orders<'_> = if self.place == Place::ByExchangeId {
            read(result, "result").map_err(words)?
        } else {
            let list: OrderList<'_> = read(result, "result").map_err(words)?;
            let (orders, key) = match self.place {
                Place::OpenOrders => (list.open, "open"),
                _ => (list.closed, "closed"),
            };
            orders.ok_or_else(|| format!("`result.{key}`: missing"))?
        };
        for (id, raw) in orders {
            let order: HttpOrder<'_> = read(raw, &id).map_err(words)?;
            let exchange_id = ExchangeOrderId::new(&id).ok();
            // The filter is not relied upon: a list of everything must not settle the question.
            let is_same = order.cl_ord_id.as_deref() == Some(self.client_id.as_str())
                || (exchange_id.is_some() && exchange_id == self.exchange_id);
            if is_same {
                return Ok(Verdict::Settled(stands(&order)?, exchange_id));
            }
        }
        Ok(self.not_found())
    }

    /// Not here: an order that is not open may have ended.
    fn not_found(&mut self) -> Verdict {
        if self.place == Place::OpenOrders {
            self.place = Place::ClosedOrders;
            return Verdict::AskAgain;
        }
        Verdict::Settled(OrderNews::NotFound, self.exchange_id)
    }

    fn failed(&self, reason: String) -> Verdict {
        Verdict::Settled(OrderNews::QueryFailed { reason }, self.exchange_id)
    }
}

fn is_unknown_order(error: &str) -> bool {
    error.starts_with("EOrder:Unknown order") || error.starts_with("EQuery:Unknown order")
}

fn stands(order: &HttpOrder<'_>) -> Result<OrderNews, String> {
    let filled = exact(order.vol_exec.get().trim_matches('"'))
        .map_err(|error| format!("`vol_exec`: {error}"))?;
    let cumulative = Some(Quantity(filled));
    let reason = order.reason.as_deref().map(shorten);
    match order_status(&order.status, cumulative, reason.as_deref()) {
        Some(status) => Ok(OrderNews::Status { status, cumulative, reason }),
        None => Err(shorten(&format!("`status`: `{}` is unknown", order.status))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::order;
    use super::*;
    use crate::types::OrderStatus;

    fn answer(body: &str) -> HttpResponse {
        HttpResponse { status: 200, body: body.into() }
    }

    fn by_exchange_id() -> Question {
        let exchange_id = Some("OA".parse().unwrap());
        Question::new(&Order { exchange_id, ..order() })
    }

    fn news(verdict: Verdict) -> OrderNews {
        match verdict {
            Verdict::Settled(news, _) => news,
            Verdict::AskAgain => panic!("not settled"),
        }
    }

    #[test]
    fn every_status_is_what_it_means_for_the_order() {
        use OrderStatus::{Canceled, Expired, Filled, Open, PartiallyFilled, Rejected};
        let cases = [
            ("pending", "0.00000000", "null", Open),
            ("open", "0.00000000", "null", Open),
            ("open", "0.5", "null", PartiallyFilled),
            ("closed", "1.00000000", "null", Filled),
            ("canceled", "0.5", "\"User requested\"", Canceled),
            ("canceled", "0.0", "\"Post only order\"", Rejected),
            ("canceled", "0.5", "\"Post only order\"", Canceled),
            ("expired", "0", "null", Expired),
        ];
        for (name, filled, reason, expected) in cases {
            let body = format!(
                r#"{{"error":[],"result":{{"OA":{{"status":"{name}","vol_exec":"{filled}","reason":{reason}}}}}}}"#
            );
            let OrderNews::Status { status, cumulative, .. } =
                news(by_exchange_id().answered(&answer(&body)))
            else {
                panic!("{body}");
            };
            assert_eq!((status, cumulative), (expected, Some(filled.parse().unwrap())), "{body}");
        }
    }

    #[test]
    fn a_list_is_searched_for_the_client_id_even_if_it_is_not_filtered() {
        let body = r#"{"error":[],"result":{"open":{
            "OX":{"status":"open","vol_exec":"9","cl_ord_id":null},
            "OB":{"status":"open","vol_exec":"0","cl_ord_id":"gw1"}}}}"#;
        let mut question = Question::new(&order());
        let Verdict::Settled(OrderNews::Status { status, .. }, id) =
            question.answered(&answer(body))
        else {
            panic!("not found")
        };
        assert_eq!((status, id.unwrap().as_str()), (OrderStatus::Open, "OB"));
    }

    #[test]
    fn only_the_exchange_says_that_there_is_no_such_order() {
        let unknown = r#"{"error":["EOrder:Unknown order"]}"#;
        assert_eq!(news(by_exchange_id().answered(&answer(unknown))), OrderNews::NotFound);
        let failed = [
            r#"{"error":["EAPI:Rate limit exceeded"]}"#,
            r#"{"error":["EOrder:Invalid order"]}"#,
            r#"{"error":[],"result":{"OA":{"status":"asleep","vol_exec":"0"}}}"#,
            r#"{"error":[],"result":{"OA":{"status":"open","vol_exec":"much"}}}"#,
            r#"{"error":[]}"#,
            "<html>",
        ];
        for body in failed {
            let news = news(by_exchange_id().answered(&answer(body)));
            assert!(matches!(news, OrderNews::QueryFailed { .. }), "{body}: {news:?}");
        }
        let no_list = answer(r#"{"error":[],"result":{}}"#);
        let news = news(Question::new(&order()).answered(&no_list));
        assert!(matches!(news, OrderNews::QueryFailed { .. }), "{news:?}");
    }

    #[test]
    fn a_spoilt_nonce_is_tried_again_three_times() {
        let mut question = by_exchange_id();
        let spoilt = answer(r#"{"error":["EAPI:Invalid nonce"]}"#);
        for _ in 0..3 {
            assert_eq!(question.answered(&spoilt), Verdict::AskAgain);
        }
        assert!(matches!(news(question.answered(&spoilt)), OrderNews::QueryFailed { .. }));
    }
}
