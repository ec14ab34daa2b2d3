//! Cancels and questions over HTTP: the same JSON-RPC requests as on the socket, each posted and
//! signed by itself, and the same answers.
//!
//! Sources: <https://docs.deribit.com/articles/json-rpc-overview> ("HTTPS"),
//! <https://docs.deribit.com/articles/authentication> (`deri-hmac-sha256`).

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::TRADING_MESSAGE_RATE;
use super::sign::Signer;
use super::trading::DeribitTrading;
use crate::exchange::{
    HttpFailure, HttpRequest, HttpResponse, HttpTrading, MessageRate, OrderEvent, OrderNews,
    Outbox, Session, SessionEvent, SymbolTable, TradingSession,
};
use crate::types::{Order, Timestamp};

/// Cancels and questions of one exchange over HTTP.
#[derive(Debug)]
pub(super) struct DeribitHttp {
    http: Url,
    signer: Arc<Signer>,
    /// Words the requests, remembers them and reads their answers.
    session: DeribitTrading,
    /// The orders that unanswered questions are about; `None` for cancels.
    asked: BTreeMap<u64, Option<Order>>,
    last: u64,
}

impl DeribitHttp {
    pub(super) fn new(http: Url, symbols: Arc<SymbolTable>, signer: Arc<Signer>) -> Self {
        let session = DeribitTrading::new(symbols, Some(Arc::clone(&signer)));
        Self { http, signer, session, asked: BTreeMap::new(), last: 0 }
    }

    /// Posts the messages that the session wrote about one order.
    fn post(&mut self, question: Option<&Order>, now: Timestamp, out: &mut Outbox) {
        for body in std::mem::take(&mut out.messages) {
            self.last += 1;
            let mut url = self.http.clone();
            url.set_path("/api/v2");
            let authorization = self.signer.authorize(url.path(), &body, self.last, now);
            let headers = vec![
                ("authorization", authorization),
                ("content-type", "application/json".to_owned()),
            ];
            self.asked.insert(self.last, question.cloned());
            out.requests.push((self.last, HttpRequest { method: "POST", url, headers, body }));
        }
    }
}

fn query_failed(order: &Order, reason: String) -> OrderEvent {
    OrderEvent {
        client_id: Some(order.client_id),
        exchange_id: order.exchange_id,
        instrument: Some(order.instrument()),
        request_id: None,
        exchange_time: None,
        news: OrderNews::QueryFailed { reason },
    }
}

impl HttpTrading for DeribitHttp {
    fn cancel(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.session.cancel(order, now, out);
            self.post(None, now, out);
        }
    }

    fn query(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            self.session.query(order, now, out);
            self.post(Some(order), now, out);
        }
    }

    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(question) = self.asked.remove(&tag) else { return };
        let told = out.events.len();
        let read = match answer {
            Ok(HttpResponse { status, body }) => self
                .session
                .received(&body, now, out)
                .map_err(|error| format!("status {status}, and no readable answer: {error}")),
            Err(failure) => Err(failure.to_string()),
        };
        let mut answered = false;
        let is_cancel = question.is_none();
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
        if let Some(order) = question.filter(|_| !answered) {
            let reason = read.err().unwrap_or_else(|| "the answer is about no order".to_owned());
            out.order(query_failed(&order, reason));
        }
    }

    /// Cancels and questions have credits of their own; the smaller ones, those of cancels, are
    /// kept to for both.
    fn rate(&self) -> Option<MessageRate> {
        Some(TRADING_MESSAGE_RATE)
    }
}
