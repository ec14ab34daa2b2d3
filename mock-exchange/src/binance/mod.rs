//! The Binance dialect: market streams, the WebSocket API and REST.

mod api;
mod call;
mod limits;
mod messages;
mod orders;
mod params;
mod queries;
mod replace;
mod rest;
mod sign;
mod streams;

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::Instant;

use self::api::ApiSession;
use self::limits::Usage;
use self::streams::Streams;
use crate::config::VenueConfig;
use crate::engine::{EngineEvent, FeeAsset, OrderId};
use crate::instrument::Instrument;
use crate::protocol::{
    ConnectionId, ConnectionKind, ConnectionRules, HttpRequest, HttpResponse, Notice, Protocol,
    Upgrade,
};
use crate::venue::VenueSpec;
use crate::venue::state::VenueState;

/// Highest price, quantity and value that the filters let pass.
const PRICE_MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
const QUANTITY_MAX: Decimal = Decimal::from_parts(900_000, 0, 0, false, 0);
const NOTIONAL_MAX: Decimal = Decimal::from_parts(900_000_000, 0, 0, false, 0);
/// The server's pause between pings, and how long it waits for a pong.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection lives.
const LIFETIME: Duration = Duration::from_secs(86_400);
/// Messages a second that a stream connection may send.
const MESSAGES_PER_SECOND: u32 = 5;

/// What makes a venue Binance.
pub(crate) fn spec(_config: &VenueConfig) -> VenueSpec {
    let listed = |base: &str, reference: i64, step: u32| Instrument {
        reference: Decimal::from(reference),
        step: Decimal::new(1, step),
        quantity_min: Decimal::new(1, step),
        ..Instrument::new(base, "USDT", "")
    };
    VenueSpec {
        name: "binance",
        credentials: sign::credentials(),
        instruments: vec![listed("BTC", 60_000, 5), listed("ETH", 3_000, 4), listed("SOL", 150, 3)],
        deposits: vec![
            ("BTC", Decimal::from(1_000)),
            ("ETH", Decimal::from(10_000)),
            ("SOL", Decimal::from(100_000)),
            ("USDT", Decimal::from(100_000_000)),
        ],
        fee_asset: FeeAsset::Received,
        fees: (Decimal::new(1, 3), Decimal::new(1, 3)),
        shared_client_ids: false,
        protocol: Box::new(Binance::default()),
    }
}

/// The venue's own state on top of the shared core.
#[derive(Default)]
struct Binance {
    api: BTreeMap<ConnectionId, ApiSession>,
    streams: Streams,
    usage: Usage,
    executions: u64,
    client_ids: u64,
}

impl Binance {
    /// A client id for whoever sent none.
    fn next_client_id(&mut self) -> String {
        self.client_ids += 1;
        format!("auto{:018}", self.client_ids)
    }

    fn publish_events(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        for event in events {
            match event {
                EngineEvent::Order { order, change } => self.publish_order(state, order, change),
                EngineEvent::Balances { assets, time } => {
                    self.publish_balances(state, assets, *time);
                }
                EngineEvent::Trade(trade) => self.streams.publish_trade(state, trade),
                EngineEvent::Quote { instrument, quote, update_id, .. } => {
                    self.streams.publish_quote(state, *instrument, quote, *update_id);
                }
                EngineEvent::Book { instrument, first_id, last_id, bids, asks, .. } => {
                    self.streams.note_book(*instrument, (*first_id, *last_id), bids, asks);
                }
            }
        }
    }
}

impl Protocol for Binance {
    fn accepts(&self, path: &str) -> Option<ConnectionKind> {
        match path {
            "/ws-api/v3" => Some(ConnectionKind::Trading),
            "/ws" | "/stream" | "/stream/ws" => Some(ConnectionKind::Market),
            _ if path.starts_with("/ws/") || path.starts_with("/stream/ws/") => {
                Some(ConnectionKind::Market)
            }
            _ => None,
        }
    }

    fn opened(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        upgrade: &Upgrade,
    ) -> ConnectionRules {
        let mut rules = ConnectionRules {
            ping_every: Some(state.config.heartbeat.unwrap_or(PING_EVERY)),
            pong_timeout: Some(state.config.idle_timeout.unwrap_or(PONG_TIMEOUT)),
            lifetime: Some(LIFETIME),
            ..ConnectionRules::default()
        };
        if upgrade.path == "/ws-api/v3" {
            self.api.insert(connection, ApiSession::new(upgrade));
            self.usage.add_weight(state.now(), 2);
        } else {
            if state.config.limits.enforced() {
                rules.messages_per_second = Some(MESSAGES_PER_SECOND);
            }
            self.open_stream(state, connection, upgrade);
        }
        rules
    }

    fn text(&mut self, state: &mut VenueState, connection: ConnectionId, text: &str) {
        if self.api.contains_key(&connection) {
            self.api_text(state, connection, text);
        } else {
            self.streams.text(state, connection, text);
        }
    }

    fn closed(&mut self, _state: &mut VenueState, connection: ConnectionId) {
        self.api.remove(&connection);
        self.streams.close(connection);
    }

    fn http(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse {
        self.rest(state, request)
    }

    fn publish(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        self.publish_events(state, events);
    }

    fn notice(&mut self, state: &mut VenueState, notice: Notice) {
        // The exchange has no notice of its status on a socket.
        let Notice::ServerShutdown { connection } = notice else { return };
        let told = connection.map_or_else(|| state.connection_ids(), |one| vec![one]);
        for connection in told {
            self.api_shutdown_notice(state, connection);
            self.streams.shutdown_notice(state, connection);
        }
    }

    fn replay(&mut self, state: &mut VenueState, stream: &str, message: &str) {
        self.streams.replay(state, stream, message);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.streams.next_deadline()
    }

    fn deadline(&mut self, state: &mut VenueState, now: Instant) -> Vec<EngineEvent> {
        self.streams.beat(state, now);
        Vec::new()
    }

    fn order_id(&self, id: OrderId) -> String {
        id.to_string()
    }

    fn unknown_event(&self) -> String {
        r#"{"e":"weatherReport","E":1700000000000,"s":"BTCUSDT","w":"rain"}"#.to_owned()
    }
}
