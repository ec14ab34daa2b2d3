//! Cancels and questions over HTTP: the same JSON-RPC requests as on the socket, each posted and
//! signed by itself, and the same answers.
//!
//! Sources: <https://docs.deribit.com/articles/json-rpc-overview> ("HTTPS"),
//! <https://docs.deribit.com/articles/authentication> (`deri-hmac-sha256`).

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::MATCHING;
use super::sign::Signer;
use super::trading::DeribitTrading;
use crate::exchange::{
    HttpFailure, HttpRequest, HttpResponse, HttpTrading, OrderEvent, OrderNews, Outbox, RateRule,
    Session, SessionEvent, SymbolTable, TradingSession,
};
use crate::types::{Order, Timestamp};

/// Cancels and questions of one exchange over HTTP.
#[derive(Debug)]
pub(super) struct DeribitHttp {
    http: Url,
    signer: Arc<Signer>,
    /// Words the requests, remembers them and reads their answers.
    session: DeribitTrading,
    /// What the unanswered requests are for.
    asked: BTreeMap<u64, Purpose>,
    last: u64,
}

/// What a request is for.
#[derive(Debug)]
enum Purpose {
    Cancel,
    Query(Order),
    Fills(Order),
}

impl Purpose {
    /// The event of a question that nothing in its answer answers.
    fn failed(&self, reason: String) -> Option<OrderEvent> {
        let (order, news) = match self {
            Self::Cancel => return None,
            Self::Query(order) => (order, OrderNews::QueryFailed { reason }),
            Self::Fills(order) => (order, OrderNews::FillsFailed { reason }),
        };
        Some(OrderEvent::about(order, news))
    }
}

impl DeribitHttp {
    pub(super) fn new(http: Url, symbols: Arc<SymbolTable>, signer: Arc<Signer>) -> Self {
        let session = DeribitTrading::new(symbols, Some(Arc::clone(&signer)));
        Self { http, signer, session, asked: BTreeMap::new(), last: 0 }
    }

    /// Posts the message that the session wrote, if it wrote one.
    fn post(&mut self, purpose: Purpose, now: Timestamp, out: &mut Outbox) {
        let Some(body) = out.messages.pop() else { return };
        self.last += 1;
        let mut url = self.http.clone();
        url.set_path("/api/v2");
        let authorization = self.signer.authorize(url.path(), &body, self.last, now);
        let headers =
            vec![("authorization", authorization), ("content-type", "application/json".to_owned())];
        self.asked.insert(self.last, purpose);
        out.requests.push((self.last, HttpRequest { method: "POST", url, headers, body }));
    }
}

impl HttpTrading for DeribitHttp {
    fn cancel(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.session.cancel(order, now, out);
            self.post(Purpose::Cancel, now, out);
        }
    }

    fn query(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.session.query(order, now, out);
            self.post(Purpose::Query(order.clone()), now, out);
        }
    }

    fn query_fills(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.session.query_fills(order, now, out);
            self.post(Purpose::Fills(order.clone()), now, out);
        }
    }

    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(purpose) = self.asked.remove(&tag) else { return };
        let told = out.events.len();
        let read = match answer {
            Ok(HttpResponse { status, body }) => self
                .session
                .received(&body, now, out)
                .map_err(|error| format!("status {status}, and no readable answer: {error}")),
            Err(failure) => Err(failure.to_string()),
        };
        let mut answered = false;
        let is_cancel = matches!(purpose, Purpose::Cancel);
        let mut index = 0;
        out.events.retain_mut(|event| {
            index += 1;
            let SessionEvent::Order(event) = event else { return true };
            if index <= told {
                return true;
            }
            event.request_id = None;
            answered = true;
            // The question that follows a cancel tells how the order ended.
            let about_cancel = matches!(
                event.news,
                OrderNews::CancelAcknowledged | OrderNews::CancelRejected { .. }
            );
            about_cancel || !is_cancel
        });
        if !out.messages.is_empty() {
            // The older fills are asked for as well.
            self.post(purpose, now, out);
        } else if !answered {
            let reason = read.err().unwrap_or_else(|| "the answer is about no order".to_owned());
            if let Some(event) = purpose.failed(reason) {
                out.order(event);
            }
        }
    }

    /// Cancels and questions have credits of their own; the smaller ones, those of cancels, are
    /// kept to for both.
    fn rate(&self) -> Option<RateRule> {
        Some(MATCHING)
    }
}
