//! The trading session: signed requests over the WebSocket API, and the private stream of order
//! events on the same socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::errors::ApiError;
use super::fills::{self, Page};
use super::messages::{ApiMessage, Field, OrderResult, order_status, shorten};
use super::reports;
use super::sign::{Signer, SignerError};
use crate::exchange::{
    DecodeError, OrderEvent, OrderNews, Outbox, Refusal, Session, SessionEvent, SymbolTable,
    TradingSession,
};
use crate::types::{ClientOrderId, Instrument, Order, OrderKind, Side, TimeInForce, Timestamp};

/// Requests that wait for an answer; the oldest is forgotten beyond that.
const MAX_PENDING: usize = 16_384;

const SUBSCRIBE: &str = "userDataStream.subscribe.signature";
const OPEN_ORDERS: &str = "openOrders.status";
const CANCEL_ALL: &str = "openOrders.cancelAll";

/// What a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Subscribe,
    OpenOrders,
    Place(About),
    Cancel(About),
    CancelAll,
    Query(About),
    Fills(About, Page),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) client_id: ClientOrderId,
    pub(super) instrument: Instrument,
}

impl About {
    pub(super) fn order(order: &Order) -> Self {
        Self { client_id: order.client_id, instrument: order.instrument() }
    }

    pub(super) fn event(self, news: OrderNews) -> OrderEvent {
        OrderEvent {
            client_id: Some(self.client_id),
            exchange_id: None,
            instrument: Some(self.instrument),
            request_id: None,
            exchange_time: None,
            news,
        }
    }
}

/// Orders of one connection attempt.
#[derive(Debug)]
pub(super) struct Trading {
    symbols: Arc<SymbolTable>,
    signer: Result<Arc<Signer>, SignerError>,
    last_id: u64,
    /// By request id, which grows: the first is the oldest.
    pending: BTreeMap<u64, Request>,
}

impl Trading {
    pub(super) fn new(symbols: Arc<SymbolTable>, signer: Result<Arc<Signer>, SignerError>) -> Self {
        Self { symbols, signer, last_id: 0, pending: BTreeMap::new() }
    }

    fn send(
        &mut self,
        method: &str,
        params: Vec<(&'static str, Value)>,
        request: Request,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), SignerError> {
        let signer = self.signer.as_ref().map_err(Clone::clone)?;
        let params = signer.sign(params, now);
        let id = self.expect(request);
        let message = format!(r#"{{"id":{id},"method":"{method}","params":{params}}}"#);
        out.messages.push(message);
        Ok(())
    }

    /// A cancel is sent some other way: its answer, given to [`received`](Session::received) under
    /// this id, will be read as one.
    pub(super) fn expect_canceled(&mut self, order: &Order) -> u64 {
        self.expect(Request::Cancel(About::order(order)))
    }

    /// The same for a question how an order stands.
    pub(super) fn expect_status(&mut self, order: &Order) -> u64 {
        self.expect(Request::Query(About::order(order)))
    }

    /// The request with this id will not be answered.
    pub(super) fn forget(&mut self, id: u64) {
        self.pending.remove(&id);
    }

    fn expect(&mut self, request: Request) -> u64 {
        self.last_id += 1;
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        self.pending.insert(self.last_id, request);
        self.last_id
    }

    /// An order of an earlier run may be of an instrument that is no longer configured; it must be
    /// possible to cancel it, and Binance's symbols are the two assets side by side.
    pub(super) fn symbol(&self, instrument: Instrument) -> String {
        self.symbols
            .symbol(instrument)
            .map_or_else(|| format!("{}{}", instrument.base(), instrument.quote()), str::to_owned)
    }

    fn about_order(&self, order: &Order) -> Vec<(&'static str, Value)> {
        vec![
            ("symbol", self.symbol(order.instrument()).into()),
            ("origClientOrderId", order.client_id.as_str().into()),
            ("returnRateLimits", false.into()),
        ]
    }

    fn answer(
        &mut self,
        message: &ApiMessage<'_>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let request_id = message.id.request_id();
        let request = message
            .id
            .token()
            .and_then(|token| token.parse().ok())
            .and_then(|id: u64| self.pending.remove(&id));
        let status = message.status.optional_integer().unwrap_or_default();
        if message.error.is_present() || message.code.is_present() || status >= 400 {
            let error = ApiError::read(message.error, message.code, message.msg, message.status);
            failed(request, request_id, error, out);
            return Ok(());
        }
        let Some(result) = message.result.token() else {
            return Err(DecodeError::new("the answer has neither `result` nor `error`"));
        };
        match request {
            Some(Request::Subscribe) => {
                out.event(SessionEvent::Acknowledged { request: SUBSCRIBE.into() });
                // Only now, so that no change falls between the list and the first event.
                let params = vec![("returnRateLimits", false.into())];
                if let Err(error) = self.send(OPEN_ORDERS, params, Request::OpenOrders, now, out) {
                    out.event(SessionEvent::Refused(unsigned(OPEN_ORDERS, &error)));
                }
            }
            Some(Request::OpenOrders) => {
                let lines = serde_json::from_str(result)?;
                // One odd line, perhaps of a person's order, must not keep trading from starting.
                let read = self.list(lines, request_id.as_ref(), out);
                out.event(SessionEvent::Acknowledged { request: OPEN_ORDERS.into() });
                out.event(SessionEvent::Ready);
                return read;
            }
            Some(Request::Place(about)) => {
                let result: OrderResult<'_> = serde_json::from_str(result)?;
                self.placed(&result, Some(about), request_id, out)?;
            }
            Some(Request::Cancel(about)) => {
                let result: OrderResult<'_> = serde_json::from_str(result)?;
                self.cancelled(&result, Some(about), request_id, out)?;
            }
            // Each order's end is told by the private stream.
            Some(Request::CancelAll) => {
                out.event(SessionEvent::Acknowledged { request: CANCEL_ALL.into() });
            }
            Some(Request::Query(about)) => {
                let read = serde_json::from_str::<OrderResult<'_>>(result)
                    .map_err(DecodeError::from)
                    .and_then(|result| self.status(&result, Some(about), request_id));
                match read {
                    Ok(event) => out.order(event),
                    Err(error) => {
                        let reason = format!("the answer cannot be read: {error}");
                        out.order(about.event(OrderNews::QueryFailed { reason }));
                        return Err(error);
                    }
                }
            }
            Some(Request::Fills(about, page)) => {
                let (next, read) = fills::read_page(result, about, page, out);
                if let Some(next) = next {
                    self.ask_fills(about, next, now, out);
                }
                return read;
            }
            None => self.unasked(result, request_id, out)?,
        }
        Ok(())
    }

    /// Asks for one page of an order's fills.
    fn ask_fills(&mut self, about: About, page: Page, now: Timestamp, out: &mut Outbox) {
        let params = page.params(&self.symbol(about.instrument));
        if let Err(error) = self.send("myTrades", params, Request::Fills(about, page), now, out) {
            out.order(about.event(OrderNews::FillsFailed { reason: error.to_string() }));
        }
    }

    /// An answer to a request that is not this session's: its shape says what it answers.
    fn unasked(
        &self,
        result: &str,
        request_id: Option<String>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        if result.starts_with('[') {
            return self.list(serde_json::from_str(result)?, request_id.as_ref(), out);
        }
        let order: OrderResult<'_> = serde_json::from_str(result)?;
        if order.orig_client_order_id.is_present() {
            return self.cancelled(&order, None, request_id, out);
        }
        if order.order_id.is_present() {
            if order.update_time.is_present() {
                out.order(self.status(&order, None, request_id)?);
                return Ok(());
            }
            return self.placed(&order, None, request_id, out);
        }
        let request = if order.subscription_id.is_present() {
            "userDataStream.subscribe".into()
        } else if order.authorized_since.is_present() {
            "session.logon".into()
        } else {
            request_id.map_or_else(|| "request without id".into(), |id| format!("request {id}"))
        };
        out.event(SessionEvent::Acknowledged { request });
        Ok(())
    }

    /// Tells every order of a list. A broken line does not hide the others: the first fault is
    /// returned.
    fn list(
        &self,
        lines: Vec<&RawValue>,
        request_id: Option<&String>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let mut fault = None;
        for line in lines {
            if let Err(error) = self.listed(line, request_id.cloned(), out) {
                fault.get_or_insert(error);
            }
        }
        fault.map_or(Ok(()), Err)
    }

    fn listed(
        &self,
        line: &RawValue,
        request_id: Option<String>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let order: OrderResult<'_> = serde_json::from_str(line.get())?;
        let event = self.status(&order, None, request_id.clone()).inspect_err(|error| {
            // An order of ours is asked about; without ids, what the list does not name is.
            if let Ok(mut event) = self.event(&order, None, request_id, Field::default()) {
                event.news = OrderNews::Unreadable { reason: error.reason.clone() };
                out.order(event);
            }
        })?;
        out.order(event);
        Ok(())
    }

    fn placed(
        &self,
        result: &OrderResult<'_>,
        about: Option<About>,
        request_id: Option<String>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let time = result.transact_time;
        let mut event = self.event(result, about, request_id, time)?;
        event.news = OrderNews::Acknowledged;
        out.order(event);
        Ok(())
    }

    /// The answer says that the order is cancelled, but it is the private stream that ends it: an
    /// answer that no update follows is asked about instead of believed.
    fn cancelled(
        &self,
        result: &OrderResult<'_>,
        about: Option<About>,
        request_id: Option<String>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let mut event = self.event(result, about, request_id, result.transact_time)?;
        // The answer's `clientOrderId` is the cancel's own.
        event.client_id = about
            .map(|about| about.client_id)
            .or_else(|| result.orig_client_order_id.client_id("origClientOrderId"));
        event.news = OrderNews::CancelAcknowledged;
        out.order(event);
        Ok(())
    }

    fn status(
        &self,
        result: &OrderResult<'_>,
        about: Option<About>,
        request_id: Option<String>,
    ) -> Result<OrderEvent, DecodeError> {
        let status = order_status(result.status, "status")?;
        let cumulative = Some(result.executed_qty.amount("executedQty")?);
        let reason = result.expiry_reason.optional_text("expiryReason").map(|text| shorten(&text));
        let mut event = self.event(result, about, request_id, result.update_time)?;
        event.news = OrderNews::Status { status, cumulative, reason };
        Ok(event)
    }

    /// An event about the order of an answer, whose news the caller fills in.
    fn event(
        &self,
        result: &OrderResult<'_>,
        about: Option<About>,
        request_id: Option<String>,
        time: Field<'_>,
    ) -> Result<OrderEvent, DecodeError> {
        let symbol = result.symbol.optional_text("symbol");
        Ok(OrderEvent {
            client_id: about
                .map(|about| about.client_id)
                .or_else(|| result.client_order_id.client_id("clientOrderId")),
            exchange_id: Some(result.order_id.exchange_id("orderId")?),
            instrument: about
                .map(|about| about.instrument)
                .or_else(|| symbol.and_then(|symbol| self.symbols.instrument(&symbol))),
            request_id,
            exchange_time: time.optional_time("time")?,
            news: OrderNews::Acknowledged,
        })
    }
}

/// Turns an error into the event that its request waits for.
fn failed(request: Option<Request>, request_id: Option<String>, error: ApiError, out: &mut Outbox) {
    let permanent = error.permanent();
    let unknown = error.outcome_unknown();
    let retry = unknown || error.limited();
    let limited = error.too_many();
    let ApiError { code, reason, status, retry_after } = error;
    let (about, news) = match request {
        Some(request @ (Request::Subscribe | Request::OpenOrders)) => {
            let name = if request == Request::Subscribe { SUBSCRIBE } else { OPEN_ORDERS };
            out.event(SessionEvent::Refused(Refusal {
                request: name.into(),
                code,
                reason,
                permanent,
            }));
            return;
        }
        Some(Request::CancelAll) => {
            if limited {
                out.event(SessionEvent::RateLimited { until: retry_after });
            }
            out.event(SessionEvent::ExchangeError { code, reason });
            return;
        }
        Some(Request::Place(about)) => (Some(about), place_failed(code, reason, unknown)),
        Some(Request::Cancel(about)) => {
            (Some(about), OrderNews::CancelRejected { code, reason, retry })
        }
        Some(Request::Query(about)) if code == Some(-2013) => (Some(about), OrderNews::NotFound),
        Some(Request::Query(about)) => (Some(about), OrderNews::QueryFailed { reason }),
        Some(Request::Fills(about, _)) => (Some(about), OrderNews::FillsFailed { reason }),
        None if request_id.is_none() => {
            // A key that dies while the session lives is told with the next answer, without an id.
            out.event(if status == 401 {
                let request = "session".to_owned();
                SessionEvent::Refused(Refusal { request, code, reason, permanent: true })
            } else {
                SessionEvent::ExchangeError { code, reason }
            });
            return;
        }
        None => match code {
            Some(-2011) => (None, OrderNews::CancelRejected { code, reason, retry: false }),
            Some(-2013) => (None, OrderNews::NotFound),
            _ => (None, place_failed(code, reason, unknown)),
        },
    };
    if limited {
        out.event(SessionEvent::RateLimited { until: retry_after });
    }
    out.order(OrderEvent {
        client_id: about.map(|about| about.client_id),
        exchange_id: None,
        instrument: about.map(|about| about.instrument),
        request_id,
        exchange_time: None,
        news,
    });
}

fn place_failed(code: Option<i64>, reason: String, unknown: bool) -> OrderNews {
    if unknown {
        OrderNews::OutcomeUnknown { reason }
    } else {
        OrderNews::Rejected { code, reason }
    }
}

fn unsigned(request: &str, error: &SignerError) -> Refusal {
    Refusal { request: request.into(), code: None, reason: error.to_string(), permanent: true }
}

impl Session for Trading {
    fn opened(&mut self, now: Timestamp, out: &mut Outbox) {
        if let Err(error) = self.send(SUBSCRIBE, Vec::new(), Request::Subscribe, now, out) {
            out.event(SessionEvent::Refused(unsigned(SUBSCRIBE, &error)));
        }
    }

    fn received(
        &mut self,
        text: &str,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let message: ApiMessage<'_> = serde_json::from_str(text)?;
        if let Some(event) = message.event.token() {
            return reports::read(event, &self.symbols, out);
        }
        if message.e.is_present() {
            return reports::read(text, &self.symbols, out);
        }
        if message.method.is_present() {
            let method = shorten(&message.method.text("method")?);
            out.event(SessionEvent::Ignored { what: format!("client request {method}") });
            return Ok(());
        }
        let is_answer = [message.id, message.status, message.result, message.error, message.code]
            .into_iter()
            .any(Field::is_present);
        if is_answer {
            return self.answer(&message, now, out);
        }
        out.event(SessionEvent::Ignored { what: "message of unknown shape".into() });
        Ok(())
    }
}

impl TradingSession for Trading {
    fn submit(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        let side = match order.request.side {
            Side::Buy => "BUY",
            Side::Sell => "SELL",
        };
        let mut params: Vec<(&'static str, Value)> = vec![
            ("symbol", self.symbol(order.instrument()).into()),
            ("side", side.into()),
            ("quantity", order.request.quantity.0.normalize().to_string().into()),
            ("newClientOrderId", order.client_id.as_str().into()),
            // The private stream tells the rest, once and in order.
            ("newOrderRespType", "ACK".into()),
            ("returnRateLimits", false.into()),
        ];
        match order.request.kind {
            OrderKind::Market => params.push(("type", "MARKET".into())),
            OrderKind::Limit { price, time_in_force } => {
                params.push(("price", price.0.normalize().to_string().into()));
                let (kind, time_in_force) = match time_in_force {
                    TimeInForce::Gtc => ("LIMIT", Some("GTC")),
                    TimeInForce::Ioc => ("LIMIT", Some("IOC")),
                    TimeInForce::PostOnly => ("LIMIT_MAKER", None),
                };
                params.push(("type", kind.into()));
                params.extend(time_in_force.map(|value| ("timeInForce", value.into())));
            }
        }
        let request = Request::Place(About::order(order));
        if let Err(error) = self.send("order.place", params, request, now, out) {
            let reason = error.to_string();
            out.order(OrderEvent::about(order, OrderNews::Rejected { code: None, reason }));
        }
    }

    fn cancel(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        let request = Request::Cancel(About::order(order));
        if let Err(error) = self.send("order.cancel", self.about_order(order), request, now, out) {
            let news =
                OrderNews::CancelRejected { code: None, reason: error.to_string(), retry: false };
            out.order(OrderEvent::about(order, news));
        }
    }

    fn cancel_all(&mut self, instrument: Option<Instrument>, now: Timestamp, out: &mut Outbox) {
        let Some(instrument) = instrument else { return };
        let params =
            vec![("symbol", self.symbol(instrument).into()), ("returnRateLimits", false.into())];
        if let Err(error) = self.send(CANCEL_ALL, params, Request::CancelAll, now, out) {
            let reason = error.to_string();
            out.event(SessionEvent::ExchangeError { code: None, reason });
        }
    }

    fn query(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        let request = Request::Query(About::order(order));
        if let Err(error) = self.send("order.status", self.about_order(order), request, now, out) {
            out.order(OrderEvent::about(
                order,
                OrderNews::QueryFailed { reason: error.to_string() },
            ));
        }
    }

    fn query_fills(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        match Page::first(order) {
            Ok(page) => self.ask_fills(About::order(order), page, now, out),
            Err(reason) => out.order(OrderEvent::about(order, OrderNews::FillsFailed { reason })),
        }
    }
}
