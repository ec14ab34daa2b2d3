//! The trading session: login, order requests, the dead-man's switch, and the private stream.
//!
//! A response to an order carries the order after matching and the fills it made, and the private
//! stream tells the same again in no fixed order. All of it is handed on: fills have an id, and a
//! status that is known already is no news.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::SignedDuration;

use super::errors::RpcError;
use super::messages::{
    Envelope, Field, Notification, OrderObject, ResultObject, Shape, channels, json, malformed,
    named, shorten,
};
use super::orders::{self, About};
use super::reports::{Standing, order_event, read_changes, read_fills, read_list};
use super::requests::Requests;
use super::sign::Signer;
use crate::exchange::{
    DecodeError, OrderEvent, OrderNews, Outbox, Refusal, Secret, Session, SessionEvent,
    SwitchAnswer, SwitchOutcome, SwitchRequest, SwitchSetting, SymbolTable, TradingSession,
};
use crate::types::{ExchangeOrderId, Instrument, Order, Quantity, Timestamp};

/// What the session asks for. Orders need the second, the dead-man's switch the third.
const SCOPES: [&str; 3] = ["connection", "trade:read_write", "account:read_write"];

/// The private stream: every order and every fill of the account, each at once.
const CHANNELS: [&str; 2] = ["user.orders.any.any.raw", "user.trades.any.any.raw"];

/// Seconds between the exchange's signs of life, the shortest it allows: a connection that is dead
/// without having been closed is noticed by these, on both sides, and the exchange then cancels the
/// orders.
const HEARTBEAT_INTERVAL: &str = r#"{"interval":10}"#;

/// Seconds before a renewal at the least, whatever the exchange says.
const SHORTEST_RENEWAL: i64 = 10;

/// What a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Login,
    Renewal,
    Heartbeat,
    Subscribe,
    OpenOrders,
    Switch(SwitchRequest),
    Test,
    Place(About),
    Cancel(About),
    CancelAll,
    Query(About),
    Fills(Fetch),
}

impl Request {
    /// The method, where it is always the same.
    fn name(self) -> &'static str {
        match self {
            Self::Login | Self::Renewal => "public/auth",
            Self::Heartbeat => "public/set_heartbeat",
            Self::Subscribe => "private/subscribe",
            Self::OpenOrders => "private/get_open_orders",
            Self::Switch(SwitchRequest { setting: SwitchSetting::Arm { .. }, .. }) => {
                "private/enable_cancel_on_disconnect"
            }
            Self::Switch(_) => "private/disable_cancel_on_disconnect",
            Self::Test => "public/test",
            Self::Place(_) => "order",
            Self::Cancel(_) => "cancel",
            Self::CancelAll => "private/cancel_all",
            Self::Query(_) => "query",
            Self::Fills(_) => "private/get_user_trades_by_order",
        }
    }

    /// Whether the session waits for it before it asks for the open orders.
    fn is_setup(self) -> bool {
        matches!(self, Self::Login | Self::Heartbeat | Self::Subscribe)
    }
}

/// A question for the single fills of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fetch {
    about: About,
    id: ExchangeOrderId,
    /// How much had filled when it was asked.
    filled: Quantity,
    /// Whether it is about those older than a day.
    historical: bool,
}

/// The right to go on, to be renewed in time.
#[derive(Debug)]
struct Renewal {
    token: Secret,
    due: Timestamp,
}

/// Orders of one connection attempt.
#[derive(Debug)]
pub(super) struct DeribitTrading {
    symbols: Arc<SymbolTable>,
    signer: Option<Arc<Signer>>,
    requests: Requests<Request>,
    renewal: Option<Renewal>,
    ready: bool,
}

impl DeribitTrading {
    pub(super) fn new(symbols: Arc<SymbolTable>, signer: Option<Arc<Signer>>) -> Self {
        Self { symbols, signer, requests: Requests::default(), renewal: None, ready: false }
    }

    fn write(&mut self, method: &str, params: &str, request: Request, out: &mut Outbox) {
        out.messages.push(self.requests.write(method, params, request));
    }

    fn ask(&mut self, request: Request, params: &str, out: &mut Outbox) {
        self.write(request.name(), params, request, out);
    }

    // ---- opening --------------------------------------------------------------------------

    fn granted(
        &mut self,
        result: Field<'_>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<bool, DecodeError> {
        let granted: ResultObject<'_> = result.read("result")?;
        let scope = granted.scope.text("scope")?;
        let missing = SCOPES[1..].iter().find(|name| !scope.split(' ').any(|has| has == **name));
        if let Some(missing) = missing {
            out.event(SessionEvent::Refused(Refusal {
                request: "public/auth".into(),
                code: None,
                reason: shorten(&format!("the API key lacks the scope {missing}; it has: {scope}")),
                permanent: true,
            }));
            return Ok(false);
        }
        let seconds = granted.expires_in.whole("expires_in")?;
        let token = granted.refresh_token.text("refresh_token")?;
        // A time beyond the calendar never comes.
        let lasts = (seconds / 5 * 4).max(SHORTEST_RENEWAL);
        let due = now.checked_add(SignedDuration::from_secs(lasts)).ok();
        self.renewal = due.map(|due| Renewal { token: Secret::new(token), due });
        Ok(true)
    }

    /// The session has no timer: it looks at the clock whenever something comes, and heartbeats
    /// come all the time.
    fn renew_if_due(&mut self, now: Timestamp, out: &mut Outbox) {
        if let Some(Renewal { token, .. }) = self.renewal.take_if(|renewal| now >= renewal.due) {
            let token = json(token.expose());
            let params = format!(r#"{{"grant_type":"refresh_token","refresh_token":{token}}}"#);
            self.ask(Request::Renewal, &params, out);
        }
    }

    fn set_up(&mut self, out: &mut Outbox) {
        self.ask(Request::Heartbeat, HEARTBEAT_INTERVAL, out);
        let channels = serde_json::json!({ "channels": CHANNELS }).to_string();
        self.ask(Request::Subscribe, &channels, out);
    }

    /// There is no snapshot with the subscription: the list is asked for when the stream runs, so
    /// that no change falls between the two.
    fn list_if_set_up(&mut self, out: &mut Outbox) {
        if !self.ready && !self.requests.any(|request| request.is_setup()) {
            self.ask(Request::OpenOrders, "{}", out);
        }
    }

    // ---- answers --------------------------------------------------------------------------

    fn answer(
        &mut self,
        envelope: &Envelope<'_>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let result = envelope.result;
        let request = self.requests.take(envelope.id.request_number());
        let acknowledged =
            |request: Request| SessionEvent::Acknowledged { request: request.name().to_owned() };
        match request {
            Some(request @ Request::Login) => {
                if self.granted(result, now, out)? {
                    out.event(acknowledged(request));
                    self.set_up(out);
                }
            }
            Some(request @ Request::Renewal) => {
                if self.granted(result, now, out)? {
                    out.event(acknowledged(request));
                }
            }
            Some(request @ Request::Heartbeat) => {
                out.event(acknowledged(request));
                self.list_if_set_up(out);
            }
            Some(request @ Request::Subscribe) => {
                let listed = channels(result)?;
                let listed: HashSet<&str> = listed.iter().map(AsRef::as_ref).collect();
                if let Some(missing) = CHANNELS.iter().find(|name| !listed.contains(*name)) {
                    out.event(SessionEvent::Refused(Refusal {
                        request: request.name().into(),
                        code: None,
                        reason: format!("not subscribed: {missing}"),
                        permanent: true,
                    }));
                } else {
                    out.event(acknowledged(request));
                    self.list_if_set_up(out);
                }
            }
            Some(Request::OpenOrders) => {
                let read = read_list(result, None, &self.symbols, out);
                self.ready = true;
                out.event(SessionEvent::Ready);
                return read;
            }
            Some(Request::Switch(request)) => {
                let outcome = SwitchOutcome::Done { fires_at: None };
                out.event(SessionEvent::Switch(SwitchAnswer { request, outcome }));
            }
            Some(Request::Test) => out.event(SessionEvent::Pong),
            // Each order's end is told by the private stream.
            Some(request @ Request::CancelAll) => out.event(acknowledged(request)),
            Some(Request::Place(about)) => return self.placed(envelope, Some(about), out),
            Some(Request::Cancel(about)) => return self.canceled(envelope, about, out),
            Some(Request::Query(about)) => return self.told(envelope, about, out),
            Some(Request::Fills(fetch)) => return self.fills_told(envelope, fetch, out),
            None => return self.foreign_answer(envelope, out),
        }
        Ok(())
    }

    /// The order as it is after matching, with its fills.
    fn placed(
        &self,
        envelope: &Envelope<'_>,
        about: Option<About>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let result: ResultObject<'_> = envelope.result.read("result")?;
        if !result.order.is_present() {
            return Err(DecodeError::new("`result.order` is missing"));
        }
        let order: OrderObject<'_> = result.order.read("result.order")?;
        let standing = Standing::read(&order)?;
        let event = |news| self.about(about, envelope, &order, news);
        let acknowledged = event(OrderNews::Acknowledged)?;
        let client_id = acknowledged.client_id;
        out.order(acknowledged);
        let mut is_whole = false;
        let read = read_fills(result.trades, &self.symbols, |mut fill| {
            fill.client_id = client_id.or(fill.client_id);
            is_whole |= matches!(fill.news, OrderNews::Filled { completes: true, .. });
            out.order(fill);
        });
        if let Some(standing) = standing.filter(|standing| standing.status.is_terminal())
            && !is_whole
        {
            out.order(event(standing.changed())?);
        }
        read
    }

    /// A cancel by id answers with the order, one by label with the number of cancelled orders.
    fn canceled(
        &self,
        envelope: &Envelope<'_>,
        about: About,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        if Shape::of(envelope.result) != Shape::Object {
            let news = if envelope.result.whole("result")? == 0 {
                OrderNews::CancelRejected {
                    code: None,
                    reason: "no open order has this label".into(),
                    retry: false,
                }
            } else {
                OrderNews::CancelAcknowledged
            };
            out.order(answer_about(Some(about), envelope, news));
            return Ok(());
        }
        let order: OrderObject<'_> = envelope.result.read("result")?;
        let standing = Standing::read(&order)?;
        let event = |news| self.about(Some(about), envelope, &order, news);
        out.order(event(OrderNews::CancelAcknowledged)?);
        if let Some(standing) = standing.filter(|standing| standing.status.is_terminal()) {
            out.order(event(standing.changed())?);
        }
        Ok(())
    }

    /// A question by id is answered with the order, one by label with a list.
    fn told(
        &self,
        envelope: &Envelope<'_>,
        about: About,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let order = if Shape::of(envelope.result) == Shape::Object {
            Some(envelope.result.read("result")?)
        } else {
            let list: Vec<OrderObject<'_>> = envelope.result.read("result")?;
            list.into_iter().find(|order| order.label.client_id() == Some(about.client_id))
        };
        let Some(order) = order else {
            out.order(answer_about(Some(about), envelope, OrderNews::NotFound));
            return Ok(());
        };
        let news = match Standing::read(&order)? {
            Some(standing) => standing.told(),
            None => OrderNews::QueryFailed { reason: "another order took its place".into() },
        };
        out.order(self.about(Some(about), envelope, &order, news)?);
        Ok(())
    }

    fn ask_fills(&mut self, fetch: Fetch, out: &mut Outbox) {
        let (method, params) = orders::fills(&fetch.id, fetch.historical);
        self.write(method, &params, Request::Fills(fetch), out);
    }

    /// The fills of an order. Where the recent ones are fewer than have filled, the older ones are
    /// asked for as well.
    fn fills_told(
        &mut self,
        envelope: &Envelope<'_>,
        fetch: Fetch,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let Fetch { about, id, filled, historical } = fetch;
        let mut total = Quantity::ZERO;
        let read = read_fills(envelope.result, &self.symbols, |mut event| {
            if event.exchange_id != Some(id) {
                return;
            }
            if let OrderNews::Filled { fill, completes, .. } = &mut event.news {
                // An order that is asked about later than it filled is not ended by that.
                *completes = false;
                total = Quantity(total.0.saturating_add(fill.quantity.0));
            }
            event.client_id = Some(about.client_id);
            event.instrument = event.instrument.or(Some(about.instrument));
            out.order(event);
        });
        let news = match &read {
            Ok(()) if total < filled && !historical => {
                self.ask_fills(Fetch { historical: true, ..fetch }, out);
                return read;
            }
            Ok(()) => OrderNews::FillsListed,
            Err(error) => {
                OrderNews::FillsFailed { reason: format!("the answer cannot be read: {error}") }
            }
        };
        out.order(answer_about(Some(about), envelope, news));
        read
    }

    /// An answer to a request that is not this session's, or that it has forgotten.
    fn foreign_answer(&self, envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        let result = envelope.result;
        let request_id = envelope.id.request_id();
        let request = match Shape::of(result) {
            Shape::Object => {
                let object: ResultObject<'_> = result.read("result")?;
                if object.order.is_present() {
                    return self.placed(envelope, None, out);
                }
                if object.order_id.is_present() {
                    return read_list(result, request_id.as_ref(), &self.symbols, out);
                }
                if object.version.is_present() {
                    out.event(SessionEvent::Pong);
                    return Ok(());
                }
                if object.access_token.is_present() {
                    "public/auth".to_owned()
                } else {
                    named(envelope.id)
                }
            }
            Shape::ListOfObjects => {
                return read_list(result, request_id.as_ref(), &self.symbols, out);
            }
            Shape::ListOfTexts => format!("subscribe {} channels", channels(result)?.len()),
            Shape::Other => named(envelope.id),
        };
        out.event(SessionEvent::Acknowledged { request });
        Ok(())
    }

    /// An event about an order object in an answer; what the session remembers of the request goes
    /// first.
    fn about(
        &self,
        about: Option<About>,
        envelope: &Envelope<'_>,
        order: &OrderObject<'_>,
        news: OrderNews,
    ) -> Result<OrderEvent, DecodeError> {
        let mut event = order_event(order, news, &self.symbols)?;
        event.client_id = about.map(|about| about.client_id).or(event.client_id);
        event.instrument = event.instrument.or(about.map(|about| about.instrument));
        event.request_id = envelope.id.request_id();
        Ok(event)
    }

    fn failure(&mut self, envelope: &Envelope<'_>, out: &mut Outbox) {
        let error = RpcError::read(envelope.error);
        let (permanent, retry) = (error.is_permanent(), error.is_passing());
        let (not_found, not_open) = (error.is_not_found(), error.is_not_open());
        let unknown = error.is_outcome_unknown();
        if error.is_too_many() {
            out.event(SessionEvent::RateLimited { until: None });
        }
        let RpcError { code, reason } = error;
        let place_failed = |reason| {
            if unknown {
                OrderNews::OutcomeUnknown { reason }
            } else {
                OrderNews::Rejected { code, reason }
            }
        };
        let (about, news) = match self.requests.take(envelope.id.request_number()) {
            Some(Request::Place(about)) => (Some(about), place_failed(reason)),
            Some(Request::Cancel(about)) => {
                (Some(about), OrderNews::CancelRejected { code, reason, retry })
            }
            Some(Request::Query(about)) if not_found => (Some(about), OrderNews::NotFound),
            Some(Request::Query(about)) => (Some(about), OrderNews::QueryFailed { reason }),
            Some(Request::Fills(fetch)) => (Some(fetch.about), OrderNews::FillsFailed { reason }),
            Some(Request::Switch(request)) => {
                let outcome = SwitchOutcome::Refused { code, reason };
                out.event(SessionEvent::Switch(SwitchAnswer { request, outcome }));
                return;
            }
            Some(Request::Test | Request::CancelAll) => {
                out.event(SessionEvent::ExchangeError { code, reason });
                return;
            }
            Some(request) => {
                // A new login may succeed where a renewal does not.
                let permanent = permanent && request != Request::Renewal;
                let request = request.name().to_owned();
                out.event(SessionEvent::Refused(Refusal { request, code, reason, permanent }));
                return;
            }
            None if !envelope.id.is_present() => {
                out.event(SessionEvent::ExchangeError { code, reason });
                return;
            }
            None if not_open => (None, OrderNews::CancelRejected { code, reason, retry: false }),
            None => (None, place_failed(reason)),
        };
        out.order(answer_about(about, envelope, news));
    }

    // ---- the private stream ---------------------------------------------------------------

    fn notification(
        &mut self,
        envelope: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let notification: Notification<'_> = envelope.params.read("params")?;
        let channel = notification.channel.text("channel")?;
        if channel.starts_with("user.orders.") {
            read_changes(notification.data, &self.symbols, out)
        } else if channel.starts_with("user.trades.") {
            if !notification.data.is_present() {
                return Err(DecodeError::new("`data` of user.trades is missing"));
            }
            read_fills(notification.data, &self.symbols, |fill| out.order(fill))
        } else {
            let what = format!("channel {}", shorten(&channel));
            out.event(SessionEvent::Ignored { what });
            Ok(())
        }
    }

    fn message(
        &mut self,
        envelope: &Envelope<'_>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        if envelope.method.is_present() {
            match &*envelope.method.text("method")? {
                "subscription" => return self.notification(envelope, out),
                "heartbeat" => {
                    out.event(SessionEvent::Heartbeat);
                    let notification: Notification<'_> = envelope.params.read("params")?;
                    if notification.kind.optional_text().as_deref() == Some("test_request") {
                        self.ask(Request::Test, "{}", out);
                    }
                }
                other => {
                    let what = format!("client request {}", shorten(other));
                    out.event(SessionEvent::Ignored { what });
                }
            }
        } else if envelope.error.is_present() {
            self.failure(envelope, out);
        } else if envelope.result.is_present() {
            return self.answer(envelope, now, out);
        } else {
            out.event(SessionEvent::Ignored { what: "message of unknown shape".into() });
        }
        Ok(())
    }
}

/// An event about a request whose answer holds no order.
fn answer_about(about: Option<About>, envelope: &Envelope<'_>, news: OrderNews) -> OrderEvent {
    OrderEvent {
        client_id: about.map(|about| about.client_id),
        exchange_id: about.and_then(|about| about.exchange_id),
        instrument: about.map(|about| about.instrument),
        request_id: envelope.id.request_id(),
        exchange_time: envelope.answered_at.optional_microseconds(),
        news,
    }
}

impl Session for DeribitTrading {
    fn opened(&mut self, now: Timestamp, out: &mut Outbox) {
        let Some(signer) = self.signer.clone() else {
            out.event(SessionEvent::Refused(Refusal {
                request: "public/auth".into(),
                code: None,
                reason:
                    "no API key is configured: set the exchange's key and secret to trade on it"
                        .into(),
                permanent: true,
            }));
            return;
        };
        let login = signer.login(now);
        let params = serde_json::json!({
            "grant_type": "client_signature",
            "client_id": login.client_id,
            "timestamp": login.timestamp,
            "nonce": login.nonce,
            "data": "",
            "signature": login.signature,
            "scope": SCOPES.join(" "),
        });
        self.ask(Request::Login, &params.to_string(), out);
    }

    fn received(
        &mut self,
        text: &str,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let envelope: Envelope<'_> =
            serde_json::from_str(text).map_err(|error| malformed(&error))?;
        let read = self.message(&envelope, now, out);
        self.renew_if_due(now, out);
        read
    }

    fn ping(&mut self, _: Timestamp, out: &mut Outbox) {
        self.ask(Request::Test, "{}", out);
    }
}

impl TradingSession for DeribitTrading {
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
        let (method, params) = orders::place(order, symbol, now);
        self.write(method, &params, Request::Place(about), out);
    }

    fn cancel(&mut self, order: &Order, _: Timestamp, out: &mut Outbox) {
        let about = About::new(order);
        let (method, params) = orders::cancel(&about);
        self.write(method, &params, Request::Cancel(about), out);
    }

    fn cancel_all(&mut self, instrument: Option<Instrument>, _: Timestamp, out: &mut Outbox) {
        let symbol = instrument.map(|instrument| self.symbols.symbol(instrument));
        // One that is no longer configured has no symbol; its orders are cancelled singly.
        if symbol == Some(None) {
            return;
        }
        let (method, params) = orders::cancel_all(symbol.flatten());
        self.write(method, &params, Request::CancelAll, out);
    }

    fn query(&mut self, order: &Order, _: Timestamp, out: &mut Outbox) {
        let about = About::new(order);
        let (method, params) = orders::query(&about);
        self.write(method, &params, Request::Query(about), out);
    }

    fn query_fills(&mut self, order: &Order, _: Timestamp, out: &mut Outbox) {
        let about = About::new(order);
        match about.exchange_id {
            Some(id) => {
                let fetch = Fetch { about, id, filled: order.filled, historical: false };
                self.ask_fills(fetch, out);
            }
            None => out.order(OrderEvent {
                client_id: Some(about.client_id),
                exchange_id: None,
                instrument: Some(about.instrument),
                request_id: None,
                exchange_time: None,
                news: OrderNews::FillsFailed {
                    reason: "the exchange's id of the order is not known".into(),
                },
            }),
        }
    }

    fn set_switch(&mut self, request: SwitchRequest, _: Timestamp, out: &mut Outbox) {
        self.ask(Request::Switch(request), r#"{"scope":"connection"}"#, out);
    }
}
