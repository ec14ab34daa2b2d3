//! The venue's state and its place behind the shared core.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::auth::Tokens;
use super::credits::Credits;
use super::feed::Feed;
use super::ids;
use super::messages::{currency, heartbeat, notification};
use super::params::{Request, invalid_request};
use super::rpc::{Call, Reply, RpcError, answer};
use super::session::Session;
use super::tape::Tape;
use crate::config::VenueConfig;
use crate::engine::{EngineEvent, Order, OrderId};
use crate::protocol::{
    ConnectionId, ConnectionKind, ConnectionRules, HttpRequest, HttpResponse, Notice, Protocol,
    Upgrade,
};
use crate::venue::state::{Ack, VenueState};

const PATH: &str = "/ws/api/v2";
/// A connection without traffic is closed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest frame that the venue reads.
const FRAME_BYTES_MAX: usize = 32 << 10;
/// New orders after which what is known of forgotten ones is dropped.
const SWEEP_EVERY: usize = 4_096;

/// What the venue knows of an order beside the engine.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the exchange that stand alone")]
pub(crate) struct Extra {
    /// The connection that placed it.
    pub(crate) connection: Option<ConnectionId>,
    /// Placed through the API, not by hand.
    pub(crate) api: bool,
    pub(crate) reject_post_only: bool,
    pub(crate) replaced: bool,
    /// Asked for as `good_til_day`.
    pub(crate) day: bool,
    pub(crate) cancel_reason: Option<&'static str>,
    /// Settlement currency; empty when it was never noted.
    pub(crate) currency: String,
}

/// The venue's own state beside the shared core.
pub(crate) struct Deribit {
    pub(crate) sessions: BTreeMap<ConnectionId, Session>,
    pub(crate) tokens: Tokens,
    pub(crate) feed: Feed,
    pub(crate) tape: Tape,
    pub(crate) account: Credits,
    pub(crate) visitors: Credits,
    /// Whether new connections start with cancel on disconnect.
    pub(crate) cancel_on_disconnect: bool,
    /// Takes the place of the interval that a client asks for.
    pub(crate) heartbeat: Option<Duration>,
    extras: BTreeMap<OrderId, Extra>,
    noted: usize,
    idle_timeout: Duration,
    /// What was last told of the platform's state.
    pub(crate) maintenance: bool,
}

impl Deribit {
    pub(crate) fn new(config: &VenueConfig) -> Self {
        Self {
            sessions: BTreeMap::new(),
            tokens: Tokens::default(),
            feed: Feed::default(),
            tape: Tape::default(),
            account: Credits::default(),
            visitors: Credits::default(),
            cancel_on_disconnect: false,
            heartbeat: config.heartbeat,
            extras: BTreeMap::new(),
            noted: 0,
            idle_timeout: config.idle_timeout.unwrap_or(IDLE_TIMEOUT),
            maintenance: false,
        }
    }

    /// The session of a connection; one that is gone gets a fresh one that nobody reads.
    pub(crate) fn session(&mut self, connection: ConnectionId) -> &mut Session {
        self.sessions.entry(connection).or_default()
    }

    /// What is known of an order.
    pub(crate) fn extra(&self, id: OrderId) -> Extra {
        self.extras.get(&id).cloned().unwrap_or_default()
    }

    /// What is known of an order, to be changed.
    pub(crate) fn extra_mut(&mut self, state: &VenueState, order: &Order) -> &mut Extra {
        if !self.extras.contains_key(&order.id) {
            self.noted += 1;
            if self.noted.is_multiple_of(SWEEP_EVERY) {
                self.extras.retain(|id, _| state.engine.order(*id).is_some());
            }
            let currency = currency(&state.instruments[order.instrument]).to_owned();
            self.extras.insert(order.id, Extra { currency, ..Extra::default() });
        }
        self.extras.entry(order.id).or_default()
    }

    /// The orders that a connection placed.
    pub(crate) fn placed_by(&self, id: OrderId, connection: ConnectionId) -> bool {
        self.extras.get(&id).is_some_and(|extra| extra.connection == Some(connection))
    }

    fn respond(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        (id, received): (Option<&RawValue>, Timestamp),
        outcome: Result<Reply, RpcError>,
    ) {
        let times = (received, state.now());
        match outcome {
            Ok(reply) if reply.logout => state.close(connection, 1000, "logout"),
            Ok(reply) => {
                state.reply(connection, reply.ack, answer(id, Ok(&reply.result), times));
                self.publish_events(state, &reply.events);
                self.send_first(state, connection, &reply.first);
            }
            Err(error) => {
                state.reply(connection, error.ack, answer(id, Err(&error), times));
                if error.ends_session() {
                    state.close(connection, 1008, "too_many_requests");
                }
            }
        }
    }

    /// Tests whether clients are alive; the orders of those that are not are cancelled.
    fn heartbeats(&mut self, state: &mut VenueState, now: Instant) -> Vec<EngineEvent> {
        let mut dead = Vec::new();
        for (connection, session) in &mut self.sessions {
            let Some(beat) = session.heartbeat.as_mut().filter(|beat| beat.next <= now) else {
                continue;
            };
            if beat.unanswered {
                session.heartbeat = None;
                dead.push(*connection);
                continue;
            }
            beat.unanswered = true;
            beat.next = now + beat.every;
            state.send(*connection, heartbeat("heartbeat"));
            state.send(*connection, heartbeat("test_request"));
        }
        let mut events = Vec::new();
        for connection in dead {
            state.close(connection, 1000, "heartbeat");
            events.extend(self.disconnected(state, connection));
        }
        events
    }
}

impl Protocol for Deribit {
    fn accepts(&self, path: &str) -> Option<ConnectionKind> {
        (path.trim_end_matches('/') == PATH).then_some(ConnectionKind::Market)
    }

    fn opened(
        &mut self,
        _state: &mut VenueState,
        connection: ConnectionId,
        _upgrade: &Upgrade,
    ) -> ConnectionRules {
        let cancel_on_disconnect = self.cancel_on_disconnect;
        self.sessions.insert(connection, Session { cancel_on_disconnect, ..Session::default() });
        let idle_timeout = Some(self.idle_timeout);
        ConnectionRules { idle_timeout, ..ConnectionRules::default() }
    }

    fn text(&mut self, state: &mut VenueState, connection: ConnectionId, text: &str) {
        let received = state.now();
        if text.len() > FRAME_BYTES_MAX {
            let error = RpcError::new(-32600, "request entity too large");
            return self.respond(state, connection, (None, received), Err(error));
        }
        let request = match Request::parse(text) {
            Ok(request) if request.id.is_some() => request,
            Ok(_) => {
                let error = Err(invalid_request());
                return self.respond(state, connection, (None, received), error);
            }
            Err(error) => return self.respond(state, connection, (None, received), Err(error)),
        };
        let outcome = request.params.and_then(|params| {
            let method = request.method.as_str();
            let connection = Some(connection);
            self.call(state, &Call { connection, method, params: &params, header: None })
        });
        self.respond(state, connection, (request.id.as_deref(), received), outcome);
    }

    fn closed(&mut self, state: &mut VenueState, connection: ConnectionId) {
        let events = self.disconnected(state, connection);
        self.sessions.remove(&connection);
        self.tokens.closed(connection);
        self.feed.closed(connection);
        self.publish_events(state, &events);
    }

    fn http(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse {
        self.rest(state, request)
    }

    fn publish(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        self.publish_events(state, events);
    }

    fn notice(&mut self, state: &mut VenueState, notice: Notice) {
        if notice == Notice::Status {
            self.publish_status(state);
        }
    }

    fn replay(&mut self, state: &mut VenueState, stream: &str, message: &str) {
        for connection in self.feed.subscribers(stream) {
            state.send(connection, message.to_owned());
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let beats = self.sessions.values().filter_map(|session| session.heartbeat);
        beats.map(|beat| beat.next).chain(self.feed.next_due()).min()
    }

    fn deadline(&mut self, state: &mut VenueState, now: Instant) -> Vec<EngineEvent> {
        self.flush(state, now);
        self.heartbeats(state, now)
    }

    fn order_id(&self, id: OrderId) -> String {
        let currency = self.extras.get(&id).map_or("BTC", |extra| &extra.currency);
        ids::order_id(currency, id)
    }

    fn unknown_event(&self) -> String {
        notification("surprise.BTC-PERPETUAL.raw", [0; 0])
    }
}

/// The fate of an answer, when several orders had theirs.
pub(crate) fn worse(first: Ack, second: Ack) -> Ack {
    if first == Ack::Send { second } else { first }
}
