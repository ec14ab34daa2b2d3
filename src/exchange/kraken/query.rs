//! How does an order stand: the WebSocket API has no such request, so it is asked over HTTP.
//!
//! Sources: <https://docs.kraken.com/api/docs/rest-api/get-orders-info>,
//! <https://docs.kraken.com/api/docs/rest-api/get-open-orders>,
//! <https://docs.kraken.com/api/docs/rest-api/get-closed-orders>.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::{HttpRequest, OrderNews};
use crate::types::{ClientOrderId, ExchangeOrderId, Instrument, Order, Quantity, Timestamp};

use super::messages::{exact, read, shorten};
use super::reports::order_status;
use super::sign::Account;

/// The most orders that one request may name, see `get-orders-info`.
pub(super) const MAX_NAMED: usize = 50;

/// A question about one order, and how far it has got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) client_id: ClientOrderId,
    pub(super) exchange_id: Option<ExchangeOrderId>,
    pub(super) instrument: Instrument,
    pub(super) place: Place,
    /// How many questions may share a request with it, itself included.
    pub(super) together: usize,
    pub(super) nonce_retries: u8,
}

/// Where an order is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    ByExchangeId,
    OpenOrders,
    ClosedOrders,
}

/// What an answer means for one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The question is settled.
    Settled(OrderNews, Option<ExchangeOrderId>),
    /// The order was not in the answer, which was whole.
    Absent,
    /// The order was not in the answer, which was one page of several.
    NotOnThisPage,
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
    /// How many closed orders there are on all pages.
    #[serde(default)]
    count: Option<u64>,
}

impl Question {
    /// A question by the exchange's id if it is known, else by the client id.
    pub(super) fn new(order: &Order) -> Self {
        let exchange_id = order.exchange_id;
        let (place, together) = match exchange_id {
            Some(_) => (Place::ByExchangeId, MAX_NAMED),
            None => (Place::OpenOrders, usize::MAX),
        };
        Self {
            client_id: order.client_id,
            exchange_id,
            instrument: order.instrument(),
            place,
            together,
            nonce_retries: 0,
        }
    }

    /// The question fails for this reason.
    pub(super) fn failed(&self, reason: &str) -> Verdict {
        let reason = reason.to_owned();
        Verdict::Settled(OrderNews::QueryFailed { reason }, self.exchange_id)
    }
}

/// The request that asks all of `questions` at `place`, or why nothing can be signed. A list is
/// filtered where only one order is looked for.
pub(super) fn request(
    place: Place,
    questions: &[Question],
    account: &Account,
    now: Timestamp,
) -> Result<HttpRequest, &'static str> {
    let path = match place {
        Place::ByExchangeId => {
            let ids: Vec<_> =
                questions.iter().filter_map(|question| question.exchange_id).collect();
            let ids: Vec<_> = ids.iter().map(ExchangeOrderId::as_str).collect();
            let fields = [("txid", ids.join(","))];
            let fields = fields.each_ref().map(|(key, value)| (*key, value.as_str()));
            return account.request("/0/private/QueryOrders", &fields, now);
        }
        Place::OpenOrders => "/0/private/OpenOrders",
        Place::ClosedOrders => "/0/private/ClosedOrders",
    };
    match questions {
        [one] => account.request(path, &[("cl_ord_id", one.client_id.as_str())], now),
        _ => account.request(path, &[], now),
    }
}

/// What the answer says to each of the questions, in their order.
pub(super) fn verdicts(
    place: Place,
    questions: &[Question],
    result: &RawValue,
) -> Result<Vec<Verdict>, String> {
    let words = |error: crate::exchange::DecodeError| error.to_string();
    let mut is_whole = true;
    let orders: Orders<'_> = if place == Place::ByExchangeId {
        read(result, "result").map_err(words)?
    } else {
        let list: OrderList<'_> = read(result, "result").map_err(words)?;
        let (orders, key) = match place {
            Place::OpenOrders => (list.open, "open"),
            _ => (list.closed, "closed"),
        };
        let orders = orders.ok_or_else(|| format!("`result.{key}`: missing"))?;
        if place == Place::ClosedOrders {
            let fits = |count: u64| count <= orders.len() as u64;
            // What is filtered by a name is whole unless it says that it is not.
            is_whole = list.count.map_or(questions.len() == 1, fits);
        }
        orders
    };
    let by_client_id: HashMap<_, _> =
        questions.iter().enumerate().map(|(at, asked)| (asked.client_id, at)).collect();
    let by_exchange_id: HashMap<_, _> = questions
        .iter()
        .enumerate()
        .filter_map(|(at, asked)| asked.exchange_id.map(|id| (id, at)))
        .collect();
    let mut found: Vec<Option<Verdict>> = vec![None; questions.len()];
    let mut fault = None;
    for (id, raw) in orders {
        let exchange_id = ExchangeOrderId::new(&id).ok();
        let by_id = exchange_id.and_then(|id| by_exchange_id.get(&id).copied());
        let order: Result<HttpOrder<'_>, String> = read(raw, &id).map_err(words);
        // The filter is not relied upon: a list of everything must not settle a question.
        let by_name = order.as_ref().ok().and_then(|order| {
            let name = ClientOrderId::new(order.cl_ord_id.as_deref()?).ok()?;
            by_client_id.get(&name).copied()
        });
        let stands = order.and_then(|order| stands(&order));
        match (by_id.or(by_name), stands) {
            (Some(at), Ok(news)) => found[at] = Some(Verdict::Settled(news, exchange_id)),
            (Some(at), Err(reason)) => found[at] = Some(questions[at].failed(&reason)),
            // It may be one that was asked for, whose name could not be read.
            (None, Err(reason)) => fault = Some(reason),
            (None, Ok(_)) => {}
        }
    }
    let missing = |asked: &Question| match &fault {
        Some(reason) => asked.failed(reason),
        None if is_whole => Verdict::Absent,
        // A filter that is not followed tells nothing of an order on another page.
        None if questions.len() == 1 => asked.failed("the list of closed orders is not whole"),
        None => Verdict::NotOnThisPage,
    };
    let verdicts = found.into_iter().zip(questions);
    Ok(verdicts.map(|(found, asked)| found.unwrap_or_else(|| missing(asked))).collect())
}

/// Whether the exchange says that it knows no such order, or not all of those named.
pub(super) fn is_unknown_order(error: &str) -> bool {
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
