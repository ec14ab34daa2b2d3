//! The venue's state and its place behind the shared core.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::ids;
use super::messages::{self, Asked, Kind, channel_data};
use super::orders::{cancel_each, open_orders};
use super::rate::RateCounter;
use super::request::Request;
use super::session::Session;
use super::subscribe::{Call, refuse};
use super::token::TokenStore;
use super::{market, status_text};
use crate::config::VenueConfig;
use crate::engine::{EngineEvent, OrderId, PublicTrade};
use crate::instrument::InstrumentId;
use crate::protocol::{
    ConnectionId, ConnectionKind, ConnectionRules, HttpRequest, HttpResponse, Notice, Protocol,
    Upgrade,
};
use crate::venue::state::VenueState;

/// The WebSocket path, public and private alike.
const PATH: &str = "/v2";
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The venue's own state beside the shared core.
pub(crate) struct Kraken {
    pub(crate) sessions: BTreeMap<ConnectionId, Session>,
    pub(crate) tokens: TokenStore,
    pub(crate) rate: RateCounter,
    pub(crate) recent_trades: BTreeMap<InstrumentId, VecDeque<PublicTrade>>,
    /// When the dead man's switch cancels everything.
    pub(crate) switch: Option<(Instant, Timestamp)>,
    pub(crate) full_reports: bool,
    pub(crate) amendments: u64,
    /// The last nonce of REST, by its length.
    pub(crate) last_nonces: BTreeMap<usize, u64>,
    tokens_issued: u64,
    heartbeat: Duration,
    idle_timeout: Duration,
}

impl Kraken {
    pub(crate) fn new(config: &VenueConfig) -> Self {
        Self {
            sessions: BTreeMap::new(),
            tokens: TokenStore::default(),
            rate: RateCounter::new(config.kraken_tier),
            recent_trades: BTreeMap::new(),
            switch: None,
            full_reports: config.kraken_full_reports,
            amendments: 0,
            last_nonces: BTreeMap::new(),
            tokens_issued: 0,
            heartbeat: config.heartbeat.unwrap_or(HEARTBEAT_EVERY),
            idle_timeout: config.idle_timeout.unwrap_or(IDLE_TIMEOUT),
        }
    }

    /// The session of a connection; one that is gone gets a fresh one that nobody reads.
    pub(crate) fn session(&mut self, connection: ConnectionId) -> &mut Session {
        self.sessions.entry(connection).or_default()
    }

    /// Hands out a new token.
    pub(crate) fn issue_token(&mut self, state: &VenueState) -> String {
        self.tokens_issued += 1;
        let now = state.now();
        let seed = format!("{}-{}", self.tokens_issued, now.as_nanosecond());
        let token = STANDARD_NO_PAD.encode(Sha256::digest(seed.as_bytes()));
        self.tokens.issue(token.clone(), now);
        token
    }

    /// The request's token if it may be used; otherwise the refusal is sent.
    pub(crate) fn checked_token(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Option<String> {
        let token = call.params.text("token").unwrap_or_default();
        if self.tokens.is_valid(&token, call.connection, state.now()) {
            state.set_kind(call.connection, ConnectionKind::Trading);
            return Some(token);
        }
        refuse(state, call, "ESession:Invalid session", None);
        None
    }
}

impl Protocol for Kraken {
    fn accepts(&self, path: &str) -> Option<ConnectionKind> {
        (path == PATH).then_some(ConnectionKind::Market)
    }

    fn opened(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        _upgrade: &Upgrade,
    ) -> ConnectionRules {
        self.sessions.insert(connection, Session::default());
        let status = status_text(state.status);
        state.send(connection, messages::status(status, ids::connection_id(connection)));
        ConnectionRules {
            heartbeat_every: Some(self.heartbeat),
            idle_timeout: Some(self.idle_timeout),
            ..ConnectionRules::default()
        }
    }

    fn text(&mut self, state: &mut VenueState, connection: ConnectionId, text: &str) {
        let received = state.now();
        let Some(request) = Request::parse(text) else {
            let asked = Asked { method: String::new(), req_id: None, received };
            let answer = asked.failure("Malformed request", None, received);
            state.send(connection, answer);
            return;
        };
        let asked = Asked { method: request.method, req_id: request.req_id, received };
        let call = Call { connection, asked: &asked, params: &request.params };
        match asked.method.as_str() {
            "ping" => state.send(connection, asked.pong(received)),
            "subscribe" => self.subscribe(state, &call),
            "unsubscribe" => self.unsubscribe(state, &call),
            "add_order" => self.add_order(state, &call),
            "amend_order" => self.amend_order(state, &call),
            "cancel_order" => self.cancel_order(state, &call),
            "cancel_all" => self.cancel_all(state, &call),
            "cancel_all_orders_after" => self.arm_switch(state, &call),
            "batch_add" => self.batch_add(state, &call),
            "batch_cancel" => self.batch_cancel(state, &call),
            _ => refuse(state, &call, "Malformed request", None),
        }
    }

    fn closed(&mut self, _state: &mut VenueState, connection: ConnectionId) {
        self.sessions.remove(&connection);
        self.tokens.unsubscribed(connection);
    }

    fn http(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse {
        self.rest(state, request)
    }

    fn publish(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        self.publish_events(state, events);
    }

    fn notice(&mut self, state: &mut VenueState, notice: Notice) {
        // The venue announces a change of its status and nothing else.
        if notice != Notice::Status {
            return;
        }
        let status = status_text(state.status);
        let pairs = market::instruments(state.engine.instruments(), status, Kind::Update);
        for (connection, session) in &self.sessions {
            state.send(*connection, messages::status(status, ids::connection_id(*connection)));
            if session.instruments {
                state.send(*connection, pairs.clone());
            }
        }
    }

    fn replay(&mut self, state: &mut VenueState, stream: &str, message: &str) {
        // A client that gets a symbol it did not ask for may break on it.
        let symbol = replayed_symbol(message);
        let instrument = symbol.as_deref().and_then(|symbol| state.instrument(symbol));
        let subscribers: Vec<ConnectionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| match stream {
                "ticker" => instrument.is_some_and(|id| session.tickers.contains_key(&id)),
                "trade" => instrument.is_some_and(|id| session.trades.contains(&id)),
                "book" => instrument.is_some_and(|id| session.books.contains_key(&id)),
                "instrument" => session.instruments,
                "executions" => session.executions.is_some(),
                "balances" => session.balances.is_some(),
                "status" => true,
                "heartbeat" => session.is_subscribed(),
                _ => false,
            })
            .map(|(connection, _)| *connection)
            .collect();
        for connection in subscribers {
            state.send(connection, message.to_owned());
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.switch.map(|(due, _)| due)
    }

    fn cancels_at(&self) -> Option<Timestamp> {
        self.switch.map(|(_, at)| at)
    }

    fn deadline(&mut self, state: &mut VenueState, now: Instant) -> Vec<EngineEvent> {
        if self.switch.is_none_or(|(due, _)| due > now) {
            return Vec::new();
        }
        self.switch = None;
        state.log_request(None, "cancel_all_orders_after", None);
        cancel_each(state, None, open_orders(state)).events
    }

    fn order_id(&self, id: OrderId) -> String {
        ids::order_id(id)
    }

    fn unknown_event(&self) -> String {
        channel_data("surprise", Kind::Update, [0; 0], None)
    }
}

/// The symbol that a recorded message is about, if it names one.
fn replayed_symbol(message: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        data: Vec<Element>,
    }
    #[derive(Deserialize)]
    struct Element {
        symbol: Option<String>,
    }
    let message: Message = serde_json::from_str(message).ok()?;
    message.data.into_iter().find_map(|element| element.symbol)
}
