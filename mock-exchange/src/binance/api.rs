//! The WebSocket API: requests by id, sessions, and the user data stream on the same socket.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Binance;
use super::call::Call;
use super::messages::{self, TimeUnit};
use super::orders::{Answer, Caller};
use super::params::{ApiError, Params};
use super::sign;
use crate::engine::{Order, OrderChange};
use crate::protocol::{ConnectionId, Upgrade};
use crate::venue::state::{Ack, VenueState};

/// Subscriptions that a socket may have made over its life.
const SUBSCRIPTIONS_LIMIT: u32 = 65_535;

/// One API socket.
#[derive(Debug, Default)]
pub(super) struct ApiSession {
    unit: TimeUnit,
    /// Whether answers carry `rateLimits` unless a request says otherwise.
    rate_limits: bool,
    authorized_since: Option<Timestamp>,
    subscription: Option<Subscription>,
    next_subscription: u32,
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    id: u32,
    /// Made by the logged-on session, so that a logout ends it.
    by_session: bool,
}

impl ApiSession {
    pub(super) fn new(upgrade: &Upgrade) -> Self {
        let options: BTreeMap<_, _> =
            url::form_urlencoded::parse(upgrade.query.as_bytes()).into_owned().collect();
        let is = |name: &str, value: &str| {
            options.get(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
        };
        Self {
            unit: unit_of(is("timeUnit", "MICROSECOND")),
            rate_limits: !is("returnRateLimits", "false"),
            ..Self::default()
        }
    }
}

pub(super) fn unit_of(microseconds: bool) -> TimeUnit {
    if microseconds { TimeUnit::Microsecond } else { TimeUnit::Millisecond }
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<BTreeMap<String, &'a RawValue>>,
}

impl Binance {
    pub(super) fn api_text(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        text: &str,
    ) {
        let request: Request<'_> = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => {
                let error = ApiError::new(-1135, format!("Invalid JSON Request: {error}"));
                self.answer(state, connection, "null", true, false, &Err(error).into());
                return;
            }
        };
        let id = request.id.map_or("null", RawValue::get);
        let params = Params::from_json(request.params.unwrap_or_default());
        let session = self.api.entry(connection).or_default();
        let shown = params.flag("returnRateLimits").unwrap_or(session.rate_limits);
        let Some(method) = request.method else {
            let error = Err(ApiError::missing("method"));
            self.answer(state, connection, id, shown, false, &error.into());
            return;
        };
        let call = Call::by_method(&method);
        if call.is_some_and(Call::is_order_entry) {
            let name = call.and_then(|call| call.named_order(&params));
            state.log_request(Some(connection), &method, name);
        }
        let orders = matches!(call, Some(Call::Place | Call::Replace));
        let answer = match call {
            Some(call) => self.api_call(state, connection, call, &params),
            None => self.session_call(state, connection, &method, &params).into(),
        };
        let Answer { before, .. } = &answer;
        self.publish_events(state, before);
        self.answer(state, connection, id, shown, orders, &answer);
        self.publish_events(state, &answer.events);
        self.end_of_stream(state, connection, &method);
    }

    fn api_call(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        call: Call,
        params: &Params,
    ) -> Answer {
        if call.is_signed()
            && let Err(error) = self.authorize(state, connection, params)
        {
            return Err(error).into();
        }
        let unit = self.api.get(&connection).map(|session| session.unit).unwrap_or_default();
        self.call(state, call, Caller { connection: Some(connection), unit }, params)
    }

    /// A signed request carries a key and a signature, or its session is logged on.
    fn authorize(
        &self,
        state: &VenueState,
        connection: ConnectionId,
        params: &Params,
    ) -> Result<(), ApiError> {
        let logged_on =
            self.api.get(&connection).is_some_and(|session| session.authorized_since.is_some());
        if !logged_on || params.has("signature") || params.has("apiKey") {
            check_signed(state, params)?;
        }
        sign::check_time(params, state.now())
    }

    fn session_call(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        method: &str,
        params: &Params,
    ) -> Result<String, ApiError> {
        self.usage.add_weight(state.now(), 2);
        match method {
            "session.logon" => {
                check_signed(state, params)?;
                sign::check_time(params, state.now())?;
                let now = state.now();
                self.api.entry(connection).or_default().authorized_since = Some(now);
                Ok(self.session_status(state, connection))
            }
            "session.status" => Ok(self.session_status(state, connection)),
            "session.logout" => {
                self.api.entry(connection).or_default().authorized_since = None;
                Ok(self.session_status(state, connection))
            }
            "session.subscriptions" => {
                let active = self.api.get(&connection).and_then(|session| session.subscription);
                let list = active
                    .map(|active| format!(r#"{{"subscriptionId":{}}}"#, active.id))
                    .unwrap_or_default();
                Ok(format!("[{list}]"))
            }
            "userDataStream.subscribe" => {
                let session = self.api.entry(connection).or_default();
                if session.authorized_since.is_none() {
                    let text = "Invalid API-key, IP, or permissions for action.";
                    return Err(ApiError::new(-2015, text).with_status(401));
                }
                subscribe(session, true)
            }
            "userDataStream.subscribe.signature" => {
                check_signed(state, params)?;
                sign::check_time(params, state.now())?;
                subscribe(self.api.entry(connection).or_default(), false)
            }
            "userDataStream.unsubscribe" => {
                let wanted = params.integer("subscriptionId")?;
                let session = self.api.entry(connection).or_default();
                match (session.subscription, wanted) {
                    (Some(active), Some(wanted)) if i64::from(active.id) != wanted => {
                        Err(ApiError::new(-2036, "Invalid subscription ID"))
                    }
                    (None, Some(_)) => Err(ApiError::new(-2036, "Invalid subscription ID")),
                    _ => Ok("{}".to_owned()),
                }
            }
            _ => Err(ApiError::new(-1000, format!("Unknown method: {method}"))),
        }
    }

    /// A subscription that a request ended is announced after the answer.
    fn end_of_stream(&mut self, state: &mut VenueState, connection: ConnectionId, method: &str) {
        let Some(session) = self.api.get_mut(&connection) else { return };
        let Some(active) = session.subscription else { return };
        let ended = match method {
            "userDataStream.unsubscribe" => true,
            "session.logout" => active.by_session,
            _ => false,
        };
        if ended {
            session.subscription = None;
            let time = session.unit.of(state.now());
            let event = format!(r#"{{"e":"eventStreamTerminated","E":{time}}}"#);
            state.send(connection, envelope(active.id, &event));
        }
    }

    fn session_status(&self, state: &VenueState, connection: ConnectionId) -> String {
        let Some(session) = self.api.get(&connection) else { return "null".to_owned() };
        let (key, since) = match session.authorized_since {
            Some(since) => {
                (format!(r#""{}""#, state.credentials.api_key), session.unit.of(since).to_string())
            }
            None => ("null".to_owned(), "null".to_owned()),
        };
        let connected = state.opened_at(connection).unwrap_or_else(|| state.now());
        format!(
            r#"{{"apiKey":{key},"authorizedSince":{since},"connectedSince":{},"returnRateLimits":{},"serverTime":{},"userDataStream":{}}}"#,
            session.unit.of(connected),
            session.rate_limits,
            session.unit.of(state.now()),
            session.subscription.is_some(),
        )
    }

    fn answer(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        id: &str,
        rate_limits: bool,
        orders: bool,
        answer: &Answer,
    ) {
        // Some clients read `id`, `status` and the outcome by text search: they come first.
        let mut text = match &answer.result {
            Ok(result) => format!(r#"{{"id":{id},"status":200,"result":{result}"#),
            Err(error) => {
                // A key that died is told without the request's id only when it died
                // mid-session; here the request itself was wrong.
                format!(r#"{{"id":{id},"status":{},"error":{}"#, error.status, error.json())
            }
        };
        if rate_limits {
            text.push_str(r#","rateLimits":"#);
            text.push_str(&self.usage.json(state.now(), orders));
        }
        text.push('}');
        state.reply(connection, answer.ack, text);
    }

    /// Sends a change of an order to every subscribed socket.
    pub(super) fn publish_order(
        &mut self,
        state: &mut VenueState,
        order: &Order,
        change: &OrderChange,
    ) {
        self.executions += 1;
        for (connection, id, unit) in self.subscribers() {
            let report = messages::execution_report(order, change, self.executions, unit);
            state.send_update(connection, order, envelope(id, &report));
        }
    }

    /// Sends changed balances to every subscribed socket.
    pub(super) fn publish_balances(
        &mut self,
        state: &mut VenueState,
        assets: &[std::sync::Arc<str>],
        time: Timestamp,
    ) {
        for (connection, id, unit) in self.subscribers() {
            let account = state.engine.account();
            let event = messages::account_position(account, assets, time, unit);
            state.send(connection, envelope(id, &event));
        }
    }

    fn subscribers(&self) -> Vec<(ConnectionId, u32, TimeUnit)> {
        let subscribed = |(connection, session): (&ConnectionId, &ApiSession)| {
            session.subscription.map(|active| (*connection, active.id, session.unit))
        };
        self.api.iter().filter_map(subscribed).collect()
    }

    /// The notice that the server goes down.
    pub(super) fn api_shutdown_notice(&self, state: &mut VenueState, connection: ConnectionId) {
        let Some(session) = self.api.get(&connection) else { return };
        let time = session.unit.of(state.now());
        let text = format!(r#"{{"event":{{"e":"serverShutdown","E":{time}}}}}"#);
        state.reply(connection, Ack::Send, text);
    }
}

fn check_signed(state: &VenueState, params: &Params) -> Result<(), ApiError> {
    let key = params.required("apiKey")?;
    sign::check_key(&state.credentials, key)?;
    let signature = params.required("signature")?;
    sign::check_signature(&state.credentials, &params.payload(), signature)
}

fn subscribe(session: &mut ApiSession, by_session: bool) -> Result<String, ApiError> {
    if session.subscription.is_some() {
        return Err(ApiError::new(-2035, "User Data Stream subscription already active."));
    }
    if session.next_subscription >= SUBSCRIPTIONS_LIMIT {
        return Err(ApiError::new(-2042, "Too many subscriptions over the life of the session."));
    }
    let id = session.next_subscription;
    session.next_subscription += 1;
    session.subscription = Some(Subscription { id, by_session });
    Ok(format!(r#"{{"subscriptionId":{id}}}"#))
}

fn envelope(subscription: u32, event: &str) -> String {
    format!(r#"{{"subscriptionId":{subscription},"event":{event}}}"#)
}
