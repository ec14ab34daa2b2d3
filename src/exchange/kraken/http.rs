//! Cancels and questions over HTTP, one request at a time for the sake of the nonce.
//!
//! Sources: <https://docs.kraken.com/api/docs/rest-api/cancel-order>, and those of the questions.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Deserialize;

use crate::exchange::{HttpFailure, HttpResponse, HttpTrading, OrderEvent, OrderNews, Outbox};
use crate::types::{Order, Timestamp};

use super::messages::{http_result, is_passing, read};
use super::questions::Questions;
use super::sign::Account;

/// The tags of cancels; those of questions count from 1.
const CANCEL_TAGS: u64 = 1 << 63;

/// Another client of the same key may spoil the nonce; a cancel refused for that can be repeated.
const MAX_NONCE_RETRIES: u8 = 3;

/// Cancels and questions of one exchange over HTTP.
#[derive(Debug)]
pub(super) struct KrakenHttp {
    account: Arc<Account>,
    /// The first is on its way if `sent` is there.
    cancels: VecDeque<Order>,
    sent: Option<u64>,
    last_tag: u64,
    nonce_retries: u8,
    /// Questions that wait for the last cancel.
    waiting: Vec<Order>,
    questions: Questions,
}

#[derive(Debug, Default, Deserialize)]
struct Cancelled {
    #[serde(default)]
    count: u64,
}

impl KrakenHttp {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            cancels: VecDeque::new(),
            sent: None,
            last_tag: CANCEL_TAGS,
            nonce_retries: 0,
            waiting: Vec::new(),
            questions: Questions::default(),
        }
    }

    /// Sends the next cancel; after the last one come the questions.
    fn go_on(&mut self, now: Timestamp, out: &mut Outbox) {
        while let (None, Some(order)) = (self.sent, self.cancels.front()) {
            let name = match &order.exchange_id {
                Some(id) => ("txid", id.as_str()),
                None => ("cl_ord_id", order.client_id.as_str()),
            };
            match self.account.request("/0/private/CancelOrder", &[name], now) {
                Ok(request) => {
                    self.last_tag += 1;
                    self.sent = Some(self.last_tag);
                    out.requests.push((self.last_tag, request));
                }
                Err(reason) => {
                    out.order(OrderEvent::about(order, refused(reason)));
                    self.cancels.pop_front();
                }
            }
        }
        if self.cancels.is_empty() {
            for order in std::mem::take(&mut self.waiting) {
                self.questions.add(&order, &self.account, now, out);
            }
        }
    }

    /// What the answer to a cancel says; `None` if it is to be sent again.
    fn cancelled(&mut self, response: &HttpResponse) -> Option<OrderNews> {
        let count = http_result(response).and_then(|result| {
            read::<Cancelled>(result, "result").map_err(|error| error.to_string())
        });
        Some(match count {
            Ok(Cancelled { count: 0 }) => refused("no order was cancelled"),
            // Taken in: whether the order has ended is for the question to tell.
            Ok(_) => OrderNews::CancelAcknowledged,
            Err(error)
                if error.starts_with("EAPI:Invalid nonce")
                    && self.nonce_retries < MAX_NONCE_RETRIES =>
            {
                self.nonce_retries += 1;
                return None;
            }
            Err(error) => refused(&error),
        })
    }
}

fn refused(reason: &str) -> OrderNews {
    let retry = is_passing(reason);
    OrderNews::CancelRejected { code: None, reason: reason.to_owned(), retry }
}

impl HttpTrading for KrakenHttp {
    fn cancel(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        self.cancels.extend(orders.iter().cloned());
        self.go_on(now, out);
    }

    fn query(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        self.waiting.extend(orders.iter().cloned());
        self.go_on(now, out);
    }

    fn query_fills(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.questions.add_fills(order, &self.account, now, out);
        }
    }

    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        if tag <= CANCEL_TAGS {
            return self.questions.answered(tag, answer, &self.account, now, out);
        }
        if self.sent.take_if(|sent| *sent == tag).is_none() {
            return;
        }
        let news = answer.ok().map(|response| self.cancelled(&response));
        if news != Some(None) {
            self.nonce_retries = 0;
            let order = self.cancels.pop_front();
            if let (Some(order), Some(Some(news))) = (order, news) {
                out.order(OrderEvent::about(&order, news));
            }
        }
        self.go_on(now, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, account, order};
    use super::*;
    use crate::exchange::SessionEvent;
    use crate::types::OrderStatus;

    struct Line {
        http: KrakenHttp,
        out: Outbox,
    }

    impl Line {
        fn new() -> Self {
            let account = Arc::new(account("c2VjcmV0"));
            Self { http: KrakenHttp::new(account), out: Outbox::default() }
        }

        fn orders(names: &[&str]) -> Vec<Order> {
            let with_id = |id: &&str| Order { client_id: id.parse().unwrap(), ..order() };
            names.iter().map(with_id).collect()
        }

        fn cancel(&mut self, names: &[&str]) {
            self.http.cancel(&Self::orders(names), NOW, &mut self.out);
        }

        fn query(&mut self, names: &[&str]) {
            self.http.query(&Self::orders(names), NOW, &mut self.out);
        }

        /// The one request on its way: its tag, path and fields beside the nonce.
        fn request(&mut self) -> (u64, String, String) {
            assert_eq!(self.out.requests.len(), 1, "{:?}", self.out.requests);
            let (tag, request) = self.out.requests.remove(0);
            let (_, path) = request.url.path().rsplit_once('/').unwrap();
            let fields = request.body.split_once('&').map_or("", |(_, fields)| fields);
            (tag, path.to_owned(), fields.to_owned())
        }

        /// Answers the request on its way; tells its path and fields.
        fn next(&mut self, answer: Result<&str, HttpFailure>) -> (String, String) {
            let (tag, path, fields) = self.request();
            let answer = answer.map(|body| HttpResponse { status: 200, body: body.to_owned() });
            self.http.answered(tag, answer, NOW, &mut self.out);
            (path, fields)
        }

        fn news(&mut self) -> Vec<OrderNews> {
            let news = |event| match event {
                SessionEvent::Order(event) => {
                    assert_eq!(event.request_id, None);
                    event.news
                }
                other => panic!("{other:?}"),
            };
            self.out.events.drain(..).map(news).collect()
        }
    }

    const DONE: &str = r#"{"error":[],"result":{"count":1}}"#;

    fn cancelled(id: &str) -> (String, String) {
        ("CancelOrder".to_owned(), format!("cl_ord_id={id}"))
    }

    #[test]
    fn requests_leave_one_after_the_other_and_questions_after_the_cancels() {
        let mut line = Line::new();
        line.cancel(&["gw1", "gw2"]);
        line.query(&["gw1"]);
        assert_eq!(line.next(Ok(DONE)), cancelled("gw1"));
        assert_eq!(line.news(), [OrderNews::CancelAcknowledged]);
        assert_eq!(line.next(Ok(DONE)), cancelled("gw2"));
        assert_eq!(line.news(), [OrderNews::CancelAcknowledged]);
        let open = r#"{"error":[],"result":{"open":{}}}"#;
        assert_eq!(line.next(Ok(open)).0, "OpenOrders");
        let closed = r#"{"error":[],"result":{"count":1,"closed":{"OA":{"status":"canceled","vol_exec":"0","cl_ord_id":"gw1"}}}}"#;
        assert_eq!(line.next(Ok(closed)).0, "ClosedOrders");
        let [OrderNews::Status { status: OrderStatus::Canceled, .. }] = line.news()[..] else {
            panic!()
        };
        assert!(line.out.requests.is_empty());
    }

    #[test]
    fn an_order_is_named_by_the_exchange_s_id_if_that_is_known() {
        let mut line = Line::new();
        let known = Order { exchange_id: Some("OA".parse().unwrap()), ..order() };
        line.http.cancel(&[known], NOW, &mut line.out);
        assert_eq!(line.next(Ok(DONE)).1, "txid=OA");
    }

    #[test]
    fn a_refused_cancel_is_told_and_an_unanswered_one_is_not() {
        let mut line = Line::new();
        let refused = |reason: &str, retry| {
            vec![OrderNews::CancelRejected { code: None, reason: reason.to_owned(), retry }]
        };
        let cases = [
            (r#"{"error":["EOrder:Unknown order"]}"#, "EOrder:Unknown order", false),
            (r#"{"error":["EOrder:Rate limit exceeded"]}"#, "EOrder:Rate limit exceeded", true),
            (r#"{"error":["EAPI:Rate limit exceeded"]}"#, "EAPI:Rate limit exceeded", true),
            (r#"{"error":[],"result":{"count":0}}"#, "no order was cancelled", false),
        ];
        for (body, reason, retry) in cases {
            line.cancel(&["gw1"]);
            line.next(Ok(body));
            assert_eq!(line.news(), refused(reason, retry), "{body}");
        }
        line.cancel(&["gw1"]);
        line.next(Err(HttpFailure::Timeout { host: "h".into(), limit_ms: 5 }));
        assert_eq!(line.news(), []);
        assert!(line.out.requests.is_empty());
    }

    #[test]
    fn a_spoilt_nonce_is_tried_again_three_times() {
        let mut line = Line::new();
        line.cancel(&["gw1", "gw2"]);
        for _ in 0..4 {
            assert_eq!(line.next(Ok(r#"{"error":["EAPI:Invalid nonce"]}"#)), cancelled("gw1"));
        }
        assert_eq!(line.news().len(), 1);
        assert_eq!(line.next(Ok(DONE)), cancelled("gw2"));
    }

    #[test]
    fn a_key_that_cannot_sign_refuses_everything_at_once() {
        let mut line = Line::new();
        line.http.account = Arc::new(account("?"));
        line.cancel(&["gw1"]);
        line.query(&["gw1"]);
        assert!(line.out.requests.is_empty());
        assert_eq!(line.news().len(), 2);
    }
}
