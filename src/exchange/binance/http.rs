//! Cancels and questions over the HTTP API, whose answers are what the WebSocket API wraps in
//! `result` and `error`: they are read by the same code.
//!
//! Source: binance-spot-api-docs, rest-api.md, "Cancel order", "Query order", "Account trade list" and
//! "SIGNED endpoint security".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::fills::{self, Page};
use super::messages::shorten;
use super::sign::{Signer, SignerError};
use super::trading::{About, Trading};
use crate::exchange::{
    HttpFailure, HttpRequest, HttpResponse, HttpTrading, OrderEvent, OrderNews, Outbox, RateRule,
    Session, SessionEvent, SymbolTable,
};
use crate::types::{Order, Timestamp};

/// An address may use up a weight of 6000 a minute; a question weighs 4, a refused cancel 1, and the
/// few questions for fills 5 (rest-api.md, "IP Limits"). A part is left to everything else at the
/// address.
const RATE: RateRule = RateRule::Window { most: 1000, per: Duration::from_secs(60) };

/// The tags of requests for fills; those of others count from 1.
const FILL_TAGS: u64 = 1 << 63;

/// Cancels and questions of one exchange over HTTP.
#[derive(Debug)]
pub(super) struct BinanceHttp {
    http: Url,
    signer: Result<Arc<Signer>, SignerError>,
    /// Remembers the requests and reads their answers.
    reader: Trading,
    /// The questions among the requests: whatever comes, each must be answered.
    questions: BTreeMap<u64, Order>,
    /// The requests for fills.
    fills: BTreeMap<u64, (Order, Page)>,
    last_fills: u64,
}

impl BinanceHttp {
    pub(super) fn new(
        http: Url,
        symbols: Arc<SymbolTable>,
        signer: Result<Arc<Signer>, SignerError>,
    ) -> Self {
        let reader = Trading::new(symbols, signer.clone());
        Self {
            http,
            signer,
            reader,
            questions: BTreeMap::new(),
            fills: BTreeMap::new(),
            last_fills: FILL_TAGS,
        }
    }

    /// The exchange's id names the order for good, a client id only while it is open.
    fn request(
        &self,
        method: &'static str,
        order: &Order,
        now: Timestamp,
    ) -> Result<HttpRequest, SignerError> {
        let symbol = self.reader.symbol(order.instrument());
        let name = match &order.exchange_id {
            Some(id) => ("orderId", id.as_str()),
            None => ("origClientOrderId", order.client_id.as_str()),
        };
        self.signed(method, "/api/v3/order", &[("symbol", &symbol), name], now)
    }

    fn signed(
        &self,
        method: &'static str,
        path: &str,
        params: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<HttpRequest, SignerError> {
        let signer = self.signer.as_ref().map_err(Clone::clone)?;
        let mut url = self.http.clone();
        url.set_path(path);
        url.set_query(Some(&signer.sign_query(params, now)));
        let headers = vec![("x-mbx-apikey", signer.api_key().to_owned())];
        Ok(HttpRequest { method, url, headers, body: String::new() })
    }

    fn ask_fills(&mut self, order: &Order, page: Page, now: Timestamp, out: &mut Outbox) {
        let params = page.params(&self.reader.symbol(order.instrument()));
        let params: Vec<(&str, String)> = params
            .into_iter()
            .filter(|(name, _)| *name != "returnRateLimits")
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect();
        let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (*n, v.as_str())).collect();
        match self.signed("GET", "/api/v3/myTrades", &params, now) {
            Ok(request) => {
                self.last_fills += 1;
                self.fills.insert(self.last_fills, (order.clone(), page));
                out.requests.push((self.last_fills, request));
            }
            Err(error) => {
                out.order(OrderEvent::about(
                    order,
                    OrderNews::FillsFailed { reason: error.to_string() },
                ));
            }
        }
    }

    /// Reads a page of fills and asks for the next.
    fn fills_answered(
        &mut self,
        (order, page): (Order, Page),
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let reason = match answer {
            Ok(HttpResponse { status: 200, body }) => {
                // A fault has been told as an event.
                let (next, _) = fills::read_page(&body, About::order(&order), page, out);
                if let Some(next) = next {
                    self.ask_fills(&order, next, now, out);
                }
                return;
            }
            Ok(HttpResponse { status, body }) => format!("status {status}: {}", shorten(&body)),
            Err(failure) => failure.to_string(),
        };
        out.order(OrderEvent::about(&order, OrderNews::FillsFailed { reason }));
    }

    fn question_failed(&mut self, tag: u64, reason: &str, out: &mut Outbox) {
        if let Some(order) = self.questions.remove(&tag) {
            out.order(OrderEvent::about(
                &order,
                OrderNews::QueryFailed { reason: reason.to_owned() },
            ));
        }
    }
}

impl HttpTrading for BinanceHttp {
    fn cancel(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            match self.request("DELETE", order, now) {
                Ok(request) => out.requests.push((self.reader.expect_canceled(order), request)),
                Err(error) => {
                    let reason = error.to_string();
                    let news = OrderNews::CancelRejected { code: None, reason, retry: false };
                    out.order(OrderEvent::about(order, news));
                }
            }
        }
    }

    fn query(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            match self.request("GET", order, now) {
                Ok(request) => {
                    let tag = self.reader.expect_status(order);
                    self.questions.insert(tag, order.clone());
                    out.requests.push((tag, request));
                }
                Err(error) => {
                    let news = OrderNews::QueryFailed { reason: error.to_string() };
                    out.order(OrderEvent::about(order, news));
                }
            }
        }
    }

    fn query_fills(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        for order in orders {
            match Page::first(order) {
                Ok(page) => self.ask_fills(order, page, now, out),
                Err(reason) => {
                    out.order(OrderEvent::about(order, OrderNews::FillsFailed { reason }));
                }
            }
        }
    }

    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        if let Some(question) = self.fills.remove(&tag) {
            return self.fills_answered(question, answer, now, out);
        }
        let HttpResponse { status, body } = match answer {
            Ok(response) => response,
            Err(failure) => {
                self.reader.forget(tag);
                return self.question_failed(tag, &failure.to_string(), out);
            }
        };
        let part = if status == 200 { "result" } else { "error" };
        let told = out.events.len();
        let wrapped = format!(r#"{{"id":{tag},"status":{status},"{part}":{body}}}"#);
        if let Err(error) = self.reader.received(&wrapped, now, out) {
            self.reader.forget(tag);
            let told_already = out.events.len() > told;
            if !told_already {
                let reason = format!("status {status}, and no readable answer: {error}");
                self.question_failed(tag, &reason, out);
            }
        }
        self.questions.remove(&tag);
        for event in &mut out.events[told..] {
            if let SessionEvent::Order(event) = event {
                event.request_id = None;
            }
        }
    }

    fn rate(&self) -> Option<RateRule> {
        Some(RATE)
    }
}
