//! What a venue's protocol implements on top of the shared core.
//!
//! A protocol is plain state behind the venue's lock: text comes in, frames go out through
//! [`VenueState::send`] and its siblings, orders go to the engine through [`VenueState::place`]
//! and [`VenueState::cancel`]. It never waits and never reads a clock of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::engine::{EngineEvent, OrderId};
use crate::venue::state::{Ack, VenueState};

/// Number of a connection, unique within its venue, counted from 1.
pub type ConnectionId = u64;

/// What a connection is for; a fault may aim at one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionKind {
    /// Public market data.
    Market,
    /// Orders and the account's own events.
    Trading,
}

/// The request that opened a WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    pub(crate) path: String,
    pub(crate) query: String,
}

/// How the connection loop looks after one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionRules {
    /// The server sends a ping frame this often.
    pub(crate) ping_every: Option<Duration>,
    /// Without a pong frame for this long after a ping the connection is closed.
    pub(crate) pong_timeout: Option<Duration>,
    /// Without any incoming message for this long the connection is closed.
    pub(crate) idle_timeout: Option<Duration>,
    /// After this long without an outgoing message the heartbeat text is sent, if one was set
    /// with `VenueState::set_heartbeat`.
    pub(crate) heartbeat_every: Option<Duration>,
    /// After this long the server closes the connection.
    pub(crate) lifetime: Option<Duration>,
    /// More incoming messages (text, ping, pong) within a second are answered with close 1008.
    pub(crate) messages_per_second: Option<u32>,
}

/// An HTTP request with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// As sent, without `?`; empty when there is none.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl HttpRequest {
    /// A header's value, or "".
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Decoded parameters of the query and the form body; the body wins.
    pub(crate) fn params(&self) -> BTreeMap<String, String> {
        let query = url::form_urlencoded::parse(self.query.as_bytes());
        let body = url::form_urlencoded::parse(self.body.as_bytes());
        query.chain(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }
}

/// The answer to an [`HttpRequest`].
#[derive(Clone, Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    /// Sent at once, late, or never (then the connection is dropped).
    pub(crate) ack: Ack,
}

impl HttpResponse {
    pub(crate) fn json(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "application/json", body: body.into(), ack: Ack::Send }
    }

    /// The same answer with the fate that a fault gave it.
    pub(crate) fn with_ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }
}

/// State of the whole venue that a fault announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemStatus {
    /// All is well.
    #[default]
    Online,
    /// Only cancels.
    CancelOnly,
    /// Only cancels and post-only orders.
    PostOnly,
    /// Nothing.
    Maintenance,
}

/// Something to tell connections about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The server goes down soon (Binance). `None`: every connection.
    ServerShutdown { connection: Option<ConnectionId> },
    /// The venue's status changed; `VenueState::status` already holds it.
    Status,
}

/// One exchange's dialect.
pub(crate) trait Protocol: Send {
    /// What a WebSocket at this path is for; `None` when the exchange has none there.
    fn accepts(&self, path: &str) -> Option<ConnectionKind>;

    /// A WebSocket opened; greets it if the exchange does.
    fn opened(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        upgrade: &Upgrade,
    ) -> ConnectionRules;

    /// A text message came.
    fn text(&mut self, state: &mut VenueState, connection: ConnectionId, text: &str);

    /// The connection is gone.
    fn closed(&mut self, state: &mut VenueState, connection: ConnectionId);

    /// An HTTP request came.
    fn http(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse;

    /// Turns engine events into frames for whoever subscribed.
    fn publish(&mut self, state: &mut VenueState, events: &[EngineEvent]);

    /// Tells connections about something.
    fn notice(&mut self, state: &mut VenueState, notice: Notice);

    /// Plays a recorded message (raw JSON) to the subscribers of a stream or channel.
    fn replay(&mut self, state: &mut VenueState, stream: &str, message: &str);

    /// When `deadline` wants to be called next.
    fn next_deadline(&self) -> Option<Instant>;

    /// Does what is due at `now`; events that follow are published by the caller.
    fn deadline(&mut self, state: &mut VenueState, now: Instant) -> Vec<EngineEvent>;

    /// When the account's dead man's switch goes off, if there is one that is a timer and on.
    fn cancels_at(&self) -> Option<Timestamp> {
        None
    }

    /// An order's id as the exchange writes it.
    fn order_id(&self, id: OrderId) -> String;

    /// A well-formed message of a kind that no client knows.
    fn unknown_event(&self) -> String;
}
