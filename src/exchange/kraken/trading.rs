//! The trading session: the token, order requests, and the private stream of their reports.
//!
//! A refused request names no order, so each request is remembered by its number until its answer
//! comes. An acknowledged cancel has only been queued: the order ends with its report.

use std::sync::Arc;

use serde::Deserialize;

use crate::exchange::{
    DecodeError, HttpFailure, HttpRequest, HttpResponse, OrderEvent, OrderNews, Outbox, Refusal,
    Session, SessionEvent, SymbolTable, TradingSession,
};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Instrument, Order, OrderKind, TimeInForce, Timestamp,
};

use super::messages::{
    Envelope, OrderResult, Outcome, Subscription, http_result, is_outcome_unknown, is_passing,
    is_permanent, read, shorten, timestamp, trading_restriction,
};
use super::query::{Question, Verdict};
use super::reports::read_reports;
use super::requests::Requests;
use super::sign::Account;

const TOKEN_PATH: &str = "/0/private/GetWebSocketsToken";

/// What a request on the socket is about.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Subscribe,
    Submit(About),
    Cancel(About),
}

/// The order that a request is about.
#[derive(Debug, Clone, Copy)]
struct About {
    client_id: ClientOrderId,
    exchange_id: Option<ExchangeOrderId>,
    instrument: Instrument,
}

impl About {
    fn new(order: &Order) -> Self {
        Self {
            client_id: order.client_id,
            exchange_id: order.exchange_id,
            instrument: order.instrument(),
        }
    }
}

impl Sent {
    fn method(&self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Submit(_) => "add_order",
            Self::Cancel(_) => "cancel_order",
        }
    }

    fn about(&self) -> Option<About> {
        match self {
            Self::Subscribe => None,
            Self::Submit(about) | Self::Cancel(about) => Some(*about),
        }
    }
}

/// One connection attempt of the trading half.
#[derive(Debug)]
pub(super) struct KrakenTrading {
    symbols: Arc<SymbolTable>,
    account: Arc<Account>,
    token: Option<String>,
    requests: Requests<Sent>,
    questions: Requests<Question>,
    next_sequence: Option<u64>,
    subscribed: bool,
    listed: bool,
    ready: bool,
}

/// The answer to the request for a token. `expires` is not read: the token stays valid while the
/// connection's private subscription lives.
#[derive(Debug, Deserialize)]
struct Token {
    token: String,
}

impl KrakenTrading {
    pub(super) fn new(symbols: Arc<SymbolTable>, account: Arc<Account>) -> Self {
        Self {
            symbols,
            account,
            token: None,
            requests: Requests::default(),
            questions: Requests::default(),
            next_sequence: None,
            subscribed: false,
            listed: false,
            ready: false,
        }
    }

    fn token(&self) -> String {
        json(self.token.as_deref().unwrap_or_default())
    }

    fn data(&mut self, envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        let channel = envelope.channel.as_deref().unwrap_or_default();
        match (channel, envelope.data) {
            ("heartbeat", _) => {
                out.event(SessionEvent::Heartbeat);
                self.list_is_complete(out);
            }
            ("executions", Some(data)) => {
                self.follow_sequence(envelope, out);
                let is_snapshot = envelope.kind.as_deref() == Some("snapshot");
                let read = read_reports(data, is_snapshot, &self.symbols, out);
                self.listed |= is_snapshot;
                self.list_is_complete(out);
                return read;
            }
            ("status", Some(data)) => out.event(match trading_restriction(data)? {
                Some(restriction) => SessionEvent::Restricted(restriction),
                None => SessionEvent::Ignored { what: "unknown system status".into() },
            }),
            ("status" | "executions", None) => {
                return Err(DecodeError::new(format!("`data` of {channel}: missing")));
            }
            _ => out.event(SessionEvent::Ignored { what: envelope.describe() }),
        }
        Ok(())
    }

    /// Whether a snapshot of an account without orders is sent at all is not documented. It would
    /// follow the acknowledgement at once, so that a heartbeat, a pong or an update that comes
    /// after the acknowledgement ends the wait as well.
    fn list_is_complete(&mut self, out: &mut Outbox) {
        self.listed |= self.subscribed;
        self.ready_if_complete(out);
    }

    fn ready_if_complete(&mut self, out: &mut Outbox) {
        if self.subscribed && self.listed && !self.ready {
            self.ready = true;
            out.event(SessionEvent::Ready);
        }
    }

    /// The sequence begins at 1 with the subscription. A number that came before is a repetition:
    /// it is told again and loses nothing.
    fn follow_sequence(&mut self, envelope: &Envelope<'_>, out: &mut Outbox) {
        let Some(came) = envelope.sequence else { return };
        let expected = match self.next_sequence {
            Some(expected) => expected,
            None if self.subscribed && envelope.kind.as_deref() == Some("update") => 1,
            None => came,
        };
        if came > expected {
            let reason = format!("executions sequence {came} came where {expected} was expected");
            out.event(SessionEvent::UpdatesLost { reason });
        }
        self.next_sequence = Some(expected.max(came.saturating_add(1)));
    }

    fn response(&mut self, envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        let method = envelope.method.as_deref();
        if method == Some("pong") {
            out.event(SessionEvent::Heartbeat);
            self.list_is_complete(out);
            return Ok(());
        }
        if envelope.is_client_request() {
            out.event(SessionEvent::Ignored { what: envelope.describe() });
            return Ok(());
        }
        let number = envelope.request_number();
        let sent = number.and_then(|number| self.requests.get(number)).copied();
        let sent = sent.filter(|sent| method.is_none_or(|method| method == sent.method()));
        let method = method.or(sent.as_ref().map(Sent::method)).unwrap_or_default();
        let outcome = envelope.outcome()?;
        match method {
            "add_order" | "cancel_order" => {
                let about = sent.as_ref().and_then(Sent::about);
                let event = order_event(method, envelope, outcome, about)?;
                out.order(event);
            }
            "subscribe" => self.subscription(outcome, out)?,
            _ => out.event(match outcome {
                Outcome::Done(_) => SessionEvent::Acknowledged { request: shorten(method) },
                Outcome::Failed(error) => {
                    SessionEvent::ExchangeError { code: None, reason: shorten(error) }
                }
            }),
        }
        if let (Some(number), Some(_)) = (number, sent) {
            self.requests.take(number);
        }
        Ok(())
    }

    fn subscription(&mut self, outcome: Outcome<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        match outcome {
            Outcome::Done(result) => {
                let subscription = Subscription::read(result)?;
                out.event(SessionEvent::Acknowledged {
                    request: subscription.describe("subscribe"),
                });
                if subscription.channel.as_deref() == Some("executions") {
                    self.subscribed = true;
                    self.ready_if_complete(out);
                }
            }
            Outcome::Failed(error) => out.event(SessionEvent::Refused(Refusal {
                request: "subscribe executions".into(),
                code: None,
                reason: shorten(error),
                permanent: is_permanent(error),
            })),
        }
        Ok(())
    }

    fn ask(&mut self, question: Question, now: Timestamp, out: &mut Outbox) {
        match question.request(&self.account, now) {
            Ok(request) => {
                let tag = self.questions.add(question);
                out.requests.push((tag, request));
            }
            Err(reason) => settle(
                &question,
                OrderNews::QueryFailed { reason: reason.into() },
                question.exchange_id,
                out,
            ),
        }
    }
}

impl Session for KrakenTrading {
    fn before_connect(&mut self, now: Timestamp) -> Option<HttpRequest> {
        self.account.request(TOKEN_PATH, &[], now).ok()
    }

    fn prepared(&mut self, response: &HttpResponse) -> Result<(), Refusal> {
        let token: Result<Token, String> = http_result(response)
            .and_then(|result| read(result, "result").map_err(|error| error.to_string()));
        match token {
            Ok(answer) => {
                self.token = Some(answer.token);
                Ok(())
            }
            Err(reason) => Err(Refusal {
                request: "GetWebSocketsToken".into(),
                code: None,
                permanent: is_permanent(&reason),
                reason,
            }),
        }
    }

    fn opened(&mut self, _now: Timestamp, out: &mut Outbox) {
        if let Some(reason) = self.account.fault() {
            out.event(SessionEvent::Refused(Refusal {
                request: "GetWebSocketsToken".into(),
                code: None,
                reason: reason.into(),
                permanent: true,
            }));
            return;
        }
        let number = self.requests.add(Sent::Subscribe);
        out.messages.push(format!(
            r#"{{"method":"subscribe","params":{{"channel":"executions","snap_orders":true,"snap_trades":true,"order_status":true,"token":{}}},"req_id":{number}}}"#,
            self.token(),
        ));
    }

    fn received(
        &mut self,
        text: &str,
        _now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let envelope = Envelope::read(text)?;
        if let Some(reason) = envelope.fault.as_deref() {
            let reason = shorten(reason);
            out.event(SessionEvent::ExchangeError { code: None, reason });
            return Ok(());
        }
        if envelope.channel.is_some() {
            return self.data(&envelope, out);
        }
        if envelope.method.is_some() || envelope.error.is_some() {
            return self.response(&envelope, out);
        }
        out.event(SessionEvent::Ignored { what: envelope.describe() });
        Ok(())
    }

    fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(mut question) = self.questions.take(tag) else { return };
        let verdict = match answer {
            Ok(response) => question.answered(&response),
            Err(failure) => {
                let reason = failure.to_string();
                Verdict::Settled(OrderNews::QueryFailed { reason }, question.exchange_id)
            }
        };
        match verdict {
            Verdict::Settled(news, exchange_id) => settle(&question, news, exchange_id, out),
            Verdict::AskAgain => self.ask(question, now, out),
        }
    }

    fn ping(&mut self, _now: Timestamp, out: &mut Outbox) {
        out.messages.push(super::PING.to_owned());
    }
}

impl TradingSession for KrakenTrading {
    fn submit(&mut self, order: &Order, _now: Timestamp, out: &mut Outbox) {
        let about = About::new(order);
        let Some(symbol) = self.symbols.symbol(about.instrument).map(json) else {
            let reason = format!("{} has no symbol on this exchange", about.instrument);
            out.order(OrderEvent {
                client_id: Some(about.client_id),
                exchange_id: None,
                instrument: Some(about.instrument),
                request_id: None,
                exchange_time: None,
                news: OrderNews::Rejected { code: None, reason },
            });
            return;
        };
        let number = self.requests.add(Sent::Submit(about));
        // A decimal prints its digits exactly and never an exponent.
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
        let quantity = order.request.quantity.decimal().normalize();
        out.messages.push(format!(
            r#"{{"method":"add_order","params":{{{kind},"side":"{}","order_qty":{quantity},"symbol":{symbol},"cl_ord_id":{},"token":{}}},"req_id":{number}}}"#,
            order.request.side,
            json(order.client_id.as_str()),
            self.token(),
        ));
    }

    fn cancel(&mut self, order: &Order, _now: Timestamp, out: &mut Outbox) {
        let number = self.requests.add(Sent::Cancel(About::new(order)));
        out.messages.push(format!(
            r#"{{"method":"cancel_order","params":{{"cl_ord_id":[{}],"token":{}}},"req_id":{number}}}"#,
            json(order.client_id.as_str()),
            self.token(),
        ));
    }

    fn query(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        self.ask(Question::new(order), now, out);
    }
}

/// What the response to an order request says of its order.
fn order_event(
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

fn settle(
    question: &Question,
    news: OrderNews,
    exchange_id: Option<ExchangeOrderId>,
    out: &mut Outbox,
) {
    out.order(OrderEvent {
        client_id: Some(question.client_id),
        exchange_id: exchange_id.or(question.exchange_id),
        instrument: Some(question.instrument),
        request_id: None,
        exchange_time: None,
        news,
    });
}

/// A text as a JSON string.
fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
