//! The trading session: the token, order requests, and the private stream of their reports.
//!
//! A refused request names no order, so each request is remembered by its number until its answer
//! comes. An acknowledged cancel has only been queued: the order ends with its report.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::exchange::{
    DecodeError, HttpFailure, HttpRequest, HttpResponse, OrderEvent, OrderNews, Outbox, Refusal,
    Session, SessionEvent, SwitchRequest, SymbolTable, TradingSession,
};
use crate::types::{ExchangeOrderId, Instrument, Order, Timestamp};

use super::limits::order_limits;
use super::messages::{
    Envelope, Outcome, Subscription, http_result, is_permanent, read, shorten, trading_restriction,
};
use super::orders::{
    About, MAX_BATCH, MIN_BATCH, Sent, add_order, batch_cancel, batch_events, cancel_all,
    cancel_order, json, order_event,
};
use super::questions::Questions;
use super::reports::read_reports;
use super::requests::Requests;
use super::sign::Account;
use super::switch;

/// Beyond this many orders that batches left they are forgotten, and join batches again.
const MAX_ALONE: usize = 4096;

const TOKEN_PATH: &str = "/0/private/GetWebSocketsToken";

/// One connection attempt of the trading half.
#[derive(Debug)]
pub(super) struct KrakenTrading {
    symbols: Arc<SymbolTable>,
    account: Arc<Account>,
    token: Option<String>,
    requests: Requests<Sent>,
    questions: Questions,
    /// Orders of batches that were not cancelled whole. The next cancel of each is single, so that
    /// the exchange says what is wrong with it; one that is refused for a full rate counter may
    /// join a batch again.
    alone: HashSet<ExchangeOrderId>,
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
            questions: Questions::default(),
            alone: HashSet::new(),
            next_sequence: None,
            subscribed: false,
            listed: false,
            ready: false,
        }
    }

    fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
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
                let told = out.events.len();
                let read = read_reports(data, is_snapshot, &self.symbols, out);
                if !is_snapshot {
                    self.list_is_complete(out);
                } else if !is_only_fills(&out.events[told..]) {
                    self.listed = true;
                    self.ready_if_complete(out);
                }
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
            out.event(SessionEvent::Pong);
            self.list_is_complete(out);
            return Ok(());
        }
        if envelope.is_client_request() {
            out.event(SessionEvent::Ignored { what: envelope.describe() });
            return Ok(());
        }
        let number = envelope.request_number();
        let sent = number.and_then(|number| self.requests.get(number)).cloned();
        let sent = sent.filter(|sent| method.is_none_or(|method| method == sent.method()));
        let method = method.or(sent.as_ref().map(Sent::method)).unwrap_or_default();
        let outcome = envelope.outcome()?;
        if let Outcome::Failed(error) = &outcome
            && method == "add_order"
            && error.contains("Rate limit exceeded")
        {
            out.event(SessionEvent::RateLimited { until: None });
        }
        match (method, &sent) {
            ("add_order" | "cancel_order", _) => {
                let about = sent.as_ref().and_then(Sent::about);
                let event = order_event(method, envelope, outcome, about)?;
                if matches!(event.news, OrderNews::CancelRejected { retry: true, .. })
                    && let Some(id) = event.exchange_id
                {
                    self.alone.remove(&id);
                }
                out.order(event);
            }
            ("batch_cancel", Some(Sent::CancelBatch(batch))) => {
                if !batch_events(envelope, outcome, batch, out)? {
                    if self.alone.len() >= MAX_ALONE {
                        self.alone.clear();
                    }
                    self.alone.extend(batch.iter().filter_map(|about| about.exchange_id));
                }
            }
            ("subscribe", _) => self.subscription(outcome, out)?,
            (switch::METHOD, Some(Sent::Switch(request))) => {
                out.event(SessionEvent::Switch(switch::answer(*request, outcome)));
            }
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
                    if let Some(threshold) = subscription.rate_threshold() {
                        out.event(SessionEvent::LimitsTold(order_limits(Some(threshold))));
                    }
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
            json(self.token()),
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
        self.questions.answered(tag, answer, &self.account, now, out);
    }

    fn ping(&mut self, _now: Timestamp, out: &mut Outbox) {
        out.messages.push(super::PING.to_owned());
    }
}

impl TradingSession for KrakenTrading {
    fn submit(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        let about = About::new(order);
        let Some(symbol) = self.symbols.symbol(about.instrument) else {
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
        out.messages.push(add_order(order, symbol, now, self.token(), number));
    }

    fn cancel(&mut self, order: &Order, _now: Timestamp, out: &mut Outbox) {
        let number = self.requests.add(Sent::Cancel(About::new(order)));
        out.messages.push(cancel_order(order, self.token(), number));
    }

    fn cancel_batch_limit(&self) -> usize {
        MAX_BATCH
    }

    /// An order that the exchange has not given an id yet, or that a batch left, is cancelled by
    /// itself.
    fn cancel_batch(&mut self, orders: &[Order], now: Timestamp, out: &mut Outbox) {
        let (joined, single): (Vec<_>, Vec<_>) = orders
            .iter()
            .partition(|order| order.exchange_id.is_some_and(|id| !self.alone.contains(&id)));
        for batch in joined.chunks(MAX_BATCH) {
            if batch.len() < MIN_BATCH {
                for order in batch {
                    self.cancel(order, now, out);
                }
                continue;
            }
            let ids: Vec<_> = batch.iter().filter_map(|order| order.exchange_id).collect();
            let about = batch.iter().map(|order| About::new(order)).collect();
            let number = self.requests.add(Sent::CancelBatch(about));
            out.messages.push(batch_cancel(&ids, self.token(), number));
        }
        for order in single {
            self.cancel(order, now, out);
        }
    }

    fn cancel_all(&mut self, _: Option<Instrument>, _: Timestamp, out: &mut Outbox) {
        let number = self.requests.add(Sent::CancelAll);
        out.messages.push(cancel_all(self.token(), number));
    }

    fn set_switch(&mut self, request: SwitchRequest, _: Timestamp, out: &mut Outbox) {
        let number = self.requests.add(Sent::Switch(request));
        out.messages.push(switch::request(request.setting, self.token(), number));
    }

    fn query(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        self.questions.add(order, &self.account, now, out);
    }

    fn query_fills(&mut self, order: &Order, now: Timestamp, out: &mut Outbox) {
        self.questions.add_fills(order, &self.account, now, out);
    }
}

/// The latest fills may come as a snapshot of their own, before or after that of the orders.
fn is_only_fills(events: &[SessionEvent]) -> bool {
    let is_fill = |event: &SessionEvent| {
        let SessionEvent::Order(event) = event else { return false };
        matches!(event.news, OrderNews::Filled { .. })
    };
    !events.is_empty() && events.iter().all(is_fill)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, adapter, order, symbols, told};
    use super::*;
    use crate::exchange::{Adapter, OrderNews};
    use crate::types::{ClientOrderId, OrderStatus};

    const SUBSCRIBED: &str = r#"{"method":"subscribe","req_id":1,"result":{"channel":"executions","maxratecount":125,"warnings":["old"]},"success":true}"#;
    const EMPTY_SNAPSHOT: &str =
        r#"{"channel":"executions","type":"snapshot","data":[],"sequence":1}"#;

    fn answer(body: &str) -> HttpResponse {
        HttpResponse { status: 200, body: body.into() }
    }

    /// A session with a token whose subscription is on the wire.
    fn opened() -> Box<dyn TradingSession> {
        let mut session = adapter("c2VjcmV0").trading_session(symbols());
        let request = session.before_connect(NOW).unwrap();
        assert_eq!(request.url.path(), "/0/private/GetWebSocketsToken");
        let token = r#"{"error":[],"result":{"token":"T\"1","expires":900}}"#;
        session.prepared(&answer(token)).unwrap();
        let mut out = Outbox::default();
        session.opened(NOW, &mut out);
        assert_eq!(
            out.messages,
            [
                r#"{"method":"subscribe","params":{"channel":"executions","snap_orders":true,"snap_trades":true,"order_status":true,"token":"T\"1"},"req_id":1}"#
            ]
        );
        session
    }

    fn ready() -> Box<dyn TradingSession> {
        let mut session = opened();
        told(&mut *session, SUBSCRIBED);
        assert_eq!(told(&mut *session, EMPTY_SNAPSHOT), [SessionEvent::Ready]);
        session
    }

    /// The only event, which is about an order.
    fn news(session: &mut dyn TradingSession, text: &str) -> OrderEvent {
        match told(session, text).as_slice() {
            [SessionEvent::RateLimited { until: None }, SessionEvent::Order(event)] if matches!(&event.news, OrderNews::Rejected { reason, .. } if reason.contains("Rate")) => {
                event.clone()
            }
            [SessionEvent::Order(event)] => event.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn update(sequence: u64, element: &str) -> String {
        format!(
            r#"{{"channel":"executions","type":"update","data":[{{"order_id":"OA",{element}}}],"sequence":{sequence}}}"#
        )
    }

    #[test]
    fn a_refused_token_says_whether_the_key_is_to_blame() {
        let cases = [
            ("EAPI:Invalid key", true),
            ("EAPI:Invalid signature", true),
            ("EGeneral:Permission denied", true),
            ("EAPI:Invalid nonce", false),
            ("EAPI:Rate limit exceeded", false),
            ("EGeneral:Temporary lockout", false),
        ];
        for (error, permanent) in cases {
            let mut session = adapter("c2VjcmV0").trading_session(symbols());
            let body = format!(r#"{{"error":["{error}"]}}"#);
            let refusal = session.prepared(&answer(&body)).unwrap_err();
            assert_eq!((refusal.reason.as_str(), refusal.permanent), (error, permanent));
        }
        let mut session = adapter("c2VjcmV0").trading_session(symbols());
        let gone = HttpResponse { status: 502, body: "<html>".into() };
        assert!(!session.prepared(&gone).unwrap_err().permanent);
    }

    #[test]
    fn a_secret_that_is_no_base64_is_refused_for_good() {
        let mut session = adapter("?").trading_session(symbols());
        assert_eq!(session.before_connect(NOW), None);
        let mut out = Outbox::default();
        session.opened(NOW, &mut out);
        let [SessionEvent::Refused(refusal)] = out.events.as_slice() else { panic!("{out:?}") };
        assert!(refusal.permanent && refusal.reason.contains("base64"), "{refusal:?}");
    }

    #[test]
    fn ready_comes_after_the_acknowledgement_and_the_list_of_orders() {
        let snapshot = r#"{"channel":"executions","sequence":1,"data":[
            {"order_id":"OA","cl_ord_id":"gw1","symbol":"BTC/USD","exec_type":"new","order_status":"new","order_qty":2,"cum_cost":0.0},
            {"order_id":"OB","exec_type":"trade","order_status":"partially_filled","cum_qty":0.5},
            {"order_id":"OC","exec_type":"trade","exec_id":"T1","last_qty":1,"last_price":3.5,"order_status":"filled","cum_qty":1},
            {"order_id":"OD","exec_type":"status","order_status":"asleep"}
        ],"type":"snapshot"}"#;
        // In either order: what comes first makes nothing ready.
        for snapshot_first in [false, true] {
            let mut session = opened();
            // One line cannot be read: it is told and hides nothing.
            let listed = |session: &mut dyn TradingSession| {
                let mut out = Outbox::default();
                let error = session.received(snapshot, NOW, &mut out).unwrap_err();
                assert!(error.reason.contains("asleep"), "{error}");
                out.events
            };
            let events = if snapshot_first {
                let events = listed(&mut *session);
                let ready = told(&mut *session, SUBSCRIBED);
                [events, ready[2..].to_vec()].concat()
            } else {
                assert_eq!(told(&mut *session, SUBSCRIBED).len(), 2);
                listed(&mut *session)
            };
            let statuses: Vec<_> = events
                .iter()
                .filter_map(|event| match event {
                    SessionEvent::Order(OrderEvent {
                        exchange_id: Some(id),
                        news: OrderNews::Status { status, .. },
                        ..
                    }) => Some((id.as_str(), *status)),
                    _ => None,
                })
                .collect();
            let expected = [("OA", OrderStatus::Open), ("OB", OrderStatus::PartiallyFilled)];
            assert_eq!(statuses, expected);
            assert!(
                matches!(
                    &events[2..],
                    [
                        SessionEvent::Order(OrderEvent {
                            news: OrderNews::Filled { completes: true, .. },
                            ..
                        }),
                        SessionEvent::Order(OrderEvent { news: OrderNews::Unreadable { .. }, .. }),
                        SessionEvent::Ready,
                    ]
                ),
                "{events:?}"
            );
        }
    }

    #[test]
    fn a_list_of_fills_is_no_list_of_orders() {
        let fills = r#"{"channel":"executions","type":"snapshot","sequence":1,"data":[
            {"order_id":"OC","exec_type":"trade","exec_id":"T1","last_qty":1,"last_price":3.5}]}"#;
        let orders = EMPTY_SNAPSHOT.replace(r#""sequence":1"#, r#""sequence":2"#);
        let mut session = opened();
        told(&mut *session, SUBSCRIBED);
        assert_eq!(told(&mut *session, fills).len(), 1);
        assert_eq!(told(&mut *session, &orders), [SessionEvent::Ready]);
    }

    #[test]
    fn an_account_without_orders_is_ready_even_if_no_list_comes() {
        let heartbeat = (r#"{"channel":"heartbeat"}"#, SessionEvent::Heartbeat);
        let pong = (r#"{"method":"pong"}"#, SessionEvent::Pong);
        for (sign, event) in [heartbeat, pong] {
            let mut session = opened();
            assert_eq!(told(&mut *session, sign), std::slice::from_ref(&event));
            told(&mut *session, SUBSCRIBED);
            let expected = [event.clone(), SessionEvent::Ready];
            assert_eq!(told(&mut *session, sign), expected);
            assert_eq!(told(&mut *session, sign), [event]);
        }
    }

    #[test]
    fn a_refused_subscription_is_a_refusal() {
        let refused = |error: &str| {
            let text =
                format!(r#"{{"error":"{error}","method":"subscribe","req_id":1,"success":false}}"#);
            match told(&mut *opened(), &text).as_slice() {
                [SessionEvent::Refused(refusal)] => refusal.permanent,
                other => panic!("{other:?}"),
            }
        };
        assert!(refused("EGeneral:Permission denied"));
        assert!(!refused("ESession:Invalid session"));
    }

    #[test]
    fn a_hole_in_the_sequence_is_told_and_a_repetition_is_not() {
        let mut session = ready();
        let opened = r#""exec_type":"new","order_status":"new""#;
        assert_eq!(told(&mut *session, &update(2, opened)).len(), 1);
        assert_eq!(told(&mut *session, &update(2, opened)).len(), 1);
        let lost = told(&mut *session, &update(4, opened));
        assert!(
            matches!(&lost[..], [SessionEvent::UpdatesLost { .. }, SessionEvent::Order(_)]),
            "{lost:?}"
        );
        assert_eq!(told(&mut *session, &update(3, opened)).len(), 1);
        assert_eq!(told(&mut *session, &update(5, opened)).len(), 1);
    }

    #[test]
    fn updates_lost_before_the_first_one_are_told_too() {
        let mut session = opened();
        told(&mut *session, SUBSCRIBED);
        let opened = r#""exec_type":"new","order_status":"new""#;
        let events = told(&mut *session, &update(2, opened));
        assert!(matches!(events[0], SessionEvent::UpdatesLost { .. }), "{events:?}");
    }

    #[test]
    fn all_orders_of_the_account_are_cancelled_by_one_request_whose_answer_ends_none() {
        let mut session = ready();
        let mut out = Outbox::default();
        session.cancel_all(None, NOW, &mut out);
        session.cancel_all(None, NOW, &mut out);
        assert_eq!(
            out.messages[0],
            r#"{"method":"cancel_all","params":{"token":"T\"1"},"req_id":2}"#
        );
        let done = r#"{"method":"cancel_all","req_id":2,"result":{"count":2},"success":true}"#;
        let request = "cancel_all".to_owned();
        assert_eq!(told(&mut *session, done), [SessionEvent::Acknowledged { request }]);
        let refused =
            r#"{"error":"EService:Unavailable","method":"cancel_all","req_id":3,"success":false}"#;
        let reason = "EService:Unavailable".to_owned();
        let expected = SessionEvent::ExchangeError { code: None, reason };
        assert_eq!(told(&mut *session, refused), [expected]);
    }

    #[test]
    fn an_answer_without_ids_is_about_the_order_of_its_request() {
        let mut session = ready();
        let mut out = Outbox::default();
        session.submit(&order(), NOW, &mut out);
        session.submit(&order(), NOW, &mut out);
        session.submit(&order(), NOW, &mut out);
        assert_eq!(out.messages.len(), 3);
        assert!(out.messages[2].ends_with(r#""req_id":4}"#), "{}", out.messages[2]);

        let done = r#"{"method":"add_order","req_id":2,"result":{"order_id":"OA","cl_ord_id":"gw1"},"success":true}"#;
        let event = news(&mut *session, done);
        assert_eq!(event.client_id, Some(order().client_id));
        assert_eq!(event.exchange_id.unwrap().as_str(), "OA");
        assert_eq!(event.instrument, Some(order().instrument()));
        assert_eq!(event.request_id.as_deref(), Some("2"));
        assert_eq!(event.news, OrderNews::Acknowledged);

        let fail = |number: u64, error: &str| {
            format!(
                r#"{{"method":"add_order","req_id":{number},"success":false,"error":"{error}"}}"#
            )
        };
        let event = news(&mut *session, &fail(3, "EOrder:Post only order"));
        assert_eq!(event.client_id, Some(order().client_id));
        let reason = "EOrder:Post only order".to_owned();
        assert_eq!(event.news, OrderNews::Rejected { code: None, reason });
        // An answered request is forgotten.
        assert_eq!(news(&mut *session, &fail(3, "EOrder:Post only order")).client_id, None);
        // An error without a method finds its request by number.
        let bare = fail(4, "EService:Unavailable").replace(r#""method":"add_order","#, "");
        let event = news(&mut *session, &bare);
        let reason = "EService:Unavailable".to_owned();
        assert_eq!(event.news, OrderNews::OutcomeUnknown { reason });
        assert_eq!(event.client_id, Some(order().client_id));
    }

    #[test]
    fn only_vague_errors_leave_the_outcome_unknown() {
        let cases = [
            ("EGeneral:Internal error:7", true),
            ("EService:Unavailable", true),
            ("EService:Timeout", true),
            ("EService:Deadline elapsed", false),
            ("EService:Market in cancel_only mode", false),
            ("EAPI:Rate limit exceeded", false),
        ];
        for (error, unknown) in cases {
            let text = format!(r#"{{"method":"add_order","success":false,"error":"{error}"}}"#);
            let news = news(&mut *ready(), &text).news;
            assert_eq!(matches!(news, OrderNews::OutcomeUnknown { .. }), unknown, "{news:?}");
            assert_eq!(matches!(news, OrderNews::Rejected { .. }), !unknown, "{news:?}");
        }
    }

    #[test]
    fn an_accepted_cancel_is_no_end_and_a_refused_one_says_if_it_may_pass_later() {
        let mut session = ready();
        let mut out = Outbox::default();
        for _ in 0..4 {
            session.cancel(&order(), NOW, &mut out);
        }
        assert_eq!(
            out.messages[0],
            r#"{"method":"cancel_order","params":{"cl_ord_id":["gw1"],"token":"T\"1"},"req_id":2}"#
        );
        let done =
            r#"{"method":"cancel_order","req_id":2,"result":{"order_id":"OA"},"success":true}"#;
        let event = news(&mut *session, done);
        assert_eq!(event.news, OrderNews::CancelAcknowledged);
        assert_eq!(event.client_id, Some(order().client_id));
        let cases = [
            (3, "EOrder:Unknown order", false),
            (4, "EOrder:Rate limit exceeded", true),
            (5, "EService:Busy", true),
        ];
        for (number, reason, retry) in cases {
            let text = format!(
                r#"{{"method":"cancel_order","req_id":{number},"success":false,"error":"{reason}"}}"#
            );
            let event = news(&mut *session, &text);
            let reason = reason.to_owned();
            assert_eq!(event.news, OrderNews::CancelRejected { code: None, reason, retry });
            assert_eq!(event.client_id, Some(order().client_id));
        }
    }

    #[test]
    fn a_foreign_client_id_is_kept_and_one_that_does_not_fit_leaves_the_exchange_id() {
        let text = |id: &str| update(2, &format!(r#""cl_ord_id":"{id}","exec_type":"new""#));
        let uuid = "6d1b345e-2821-40e2-ad83-4ecb18a06876";
        let event = news(&mut *ready(), &text(uuid));
        assert_eq!(event.client_id, Some(ClientOrderId::new(uuid).unwrap()));
        let event = news(&mut *ready(), &text("an id with spaces"));
        assert_eq!((event.client_id, event.exchange_id.unwrap().as_str()), (None, "OA"));
    }

    #[test]
    fn a_response_that_says_neither_success_nor_error_is_malformed() {
        let mut session = ready();
        let text = r#"{"method":"add_order","req_id":2}"#;
        let error = session.received(text, NOW, &mut Outbox::default()).unwrap_err();
        assert!(error.reason.contains("add_order"), "{error}");
    }

    #[test]
    fn an_order_without_a_symbol_is_rejected_and_not_written() {
        let mut order = order();
        order.request.instrument = "kraken:NO-USD".parse().unwrap();
        let mut out = Outbox::default();
        ready().submit(&order, NOW, &mut out);
        assert_eq!(out.messages, [""; 0]);
        assert!(
            matches!(
                out.events.as_slice(),
                [SessionEvent::Order(OrderEvent { news: OrderNews::Rejected { .. }, .. })]
            ),
            "{out:?}"
        );
    }

    #[test]
    fn an_order_that_is_nowhere_is_not_found_after_two_requests() {
        let mut session = ready();
        let mut out = Outbox::default();
        session.query(&order(), NOW, &mut out);
        let (tag, request) = out.requests.remove(0);
        assert_eq!(request.url.path(), "/0/private/OpenOrders");
        assert!(request.body.ends_with("&cl_ord_id=gw1"), "{}", request.body);
        let nothing_open = answer(r#"{"error":[],"result":{"open":{}}}"#);
        session.answered(tag, Ok(nothing_open), NOW, &mut out);
        let (tag, request) = out.requests.remove(0);
        assert_eq!(request.url.path(), "/0/private/ClosedOrders");
        let nothing_closed = answer(r#"{"error":[],"result":{"closed":{},"count":0}}"#);
        session.answered(tag, Ok(nothing_closed.clone()), NOW, &mut out);
        let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
        assert_eq!(event.news, OrderNews::NotFound);
        assert_eq!(event.client_id, Some(order().client_id));
        // A second answer to the same request says nothing.
        out.clear();
        session.answered(tag, Ok(nothing_closed), NOW, &mut out);
        assert!(out.events.is_empty() && out.requests.is_empty(), "{out:?}");
    }

    #[test]
    fn cancels_of_known_orders_share_a_message_and_each_gets_its_answer() {
        let numbered = |number: usize, known: bool| {
            let client_id = format!("gw{number}").parse().unwrap();
            let exchange_id = known.then(|| format!("O{number}").parse().unwrap());
            Order { client_id, exchange_id, ..order() }
        };
        let orders: Vec<_> = (0..3).map(|number| numbered(number, number != 1)).collect();
        let mut session = ready();
        let mut out = Outbox::default();
        session.cancel_batch(&orders, NOW, &mut out);
        assert_eq!(
            out.messages,
            [
                r#"{"method":"batch_cancel","params":{"orders":["O0","O2"],"token":"T\"1"},"req_id":2}"#,
                r#"{"method":"cancel_order","params":{"cl_ord_id":["gw1"],"token":"T\"1"},"req_id":3}"#,
            ]
        );
        let told_of = |text: &str| -> Vec<(String, OrderNews)> {
            let mut session = ready();
            session.cancel_batch(&orders, NOW, &mut Outbox::default());
            let events = told(&mut *session, text);
            assert_eq!(told(&mut *session, text).len(), 1, "the answered request is forgotten");
            events
                .into_iter()
                .map(|event| match event {
                    SessionEvent::Order(event) => {
                        assert_eq!(event.request_id.as_deref(), Some("2"));
                        (event.client_id.unwrap().to_string(), event.news)
                    }
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        let both = |news: OrderNews| vec![("gw0".to_owned(), news.clone()), ("gw2".into(), news)];
        let done = |count: u64| {
            format!(
                r#"{{"method":"batch_cancel","req_id":2,"result":{{"count":{count}}},"success":true}}"#
            )
        };
        assert_eq!(told_of(&done(2)), both(OrderNews::CancelAcknowledged));
        let uncounted = r#"{"method":"batch_cancel","req_id":2,"success":true}"#;
        assert_eq!(told_of(uncounted), both(OrderNews::CancelAcknowledged));
        // Which one is missing is not told, so that both are asked about.
        let refused = |reason: &str, retry| {
            both(OrderNews::CancelRejected { code: None, reason: reason.into(), retry })
        };
        assert_eq!(told_of(&done(1)), refused("only 1 of 2 orders were cancelled", false));
        let failed = |error: &str| {
            format!(r#"{{"method":"batch_cancel","req_id":2,"success":false,"error":"{error}"}}"#)
        };
        let (busy, unknown) = ("EOrder:Rate limit exceeded", "EOrder:Unknown order");
        assert_eq!(told_of(&failed(busy)), refused(busy, true));
        assert_eq!(told_of(&failed(unknown)), refused(unknown, false));
    }

    #[test]
    fn an_order_that_a_batch_left_is_cancelled_by_itself_until_the_rate_counter_is_full() {
        let named = |id: &str| Order { exchange_id: Some(id.parse().unwrap()), ..order() };
        let orders = [named("O1"), named("O2")];
        let mut session = ready();
        let methods = |session: &mut dyn TradingSession| -> Vec<String> {
            let mut out = Outbox::default();
            session.cancel_batch(&orders, NOW, &mut out);
            let method = |text: &String| text.split('"').nth(3).unwrap().to_owned();
            out.messages.iter().map(method).collect()
        };
        assert_eq!(methods(&mut *session), ["batch_cancel"]);
        let none = r#"{"method":"batch_cancel","req_id":2,"result":{"count":0},"success":true}"#;
        told(&mut *session, none);
        assert_eq!(methods(&mut *session), ["cancel_order", "cancel_order"]);
        for (number, error) in [(3, "EOrder:Odd order"), (4, "EOrder:Rate limit exceeded")] {
            told(
                &mut *session,
                &format!(
                    r#"{{"method":"cancel_order","req_id":{number},"success":false,"error":"{error}"}}"#
                ),
            );
        }
        // One of two is no batch.
        assert_eq!(methods(&mut *session), ["cancel_order", "cancel_order"]);
        told(
            &mut *session,
            r#"{"method":"cancel_order","req_id":6,"success":false,"error":"EService:Busy"}"#,
        );
        told(
            &mut *session,
            r#"{"method":"cancel_order","req_id":5,"success":false,"error":"EService:Busy"}"#,
        );
        assert_eq!(methods(&mut *session), ["batch_cancel"]);
    }

    #[test]
    fn a_batch_of_cancels_is_never_longer_than_allowed_and_one_order_is_no_batch() {
        let orders: Vec<_> = (0..101)
            .map(|number| Order {
                exchange_id: Some(format!("O{number}").parse().unwrap()),
                ..order()
            })
            .collect();
        let mut session = ready();
        assert_eq!(session.cancel_batch_limit(), 50);
        let mut out = Outbox::default();
        session.cancel_batch(&orders, NOW, &mut out);
        let names: Vec<_> = out.messages.iter().map(|text| text.matches("\"O").count()).collect();
        assert_eq!(names, [50, 50, 0]);
        assert!(out.messages[2].contains("cancel_order"), "{}", out.messages[2]);
    }
}
