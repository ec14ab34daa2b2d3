//! The Binance dialect.

use rust_decimal::Decimal;
use tokio::time::Instant;

use crate::config::{Credentials, VenueConfig};
use crate::engine::{EngineEvent, FeeAsset, OrderId};
use crate::instrument::Instrument;
use crate::protocol::{
    ConnectionId, ConnectionKind, ConnectionRules, HttpRequest, HttpResponse, Notice, Protocol,
    Upgrade,
};
use crate::venue::VenueSpec;
use crate::venue::state::VenueState;

/// What makes a venue Binance.
pub(crate) fn spec(_config: &VenueConfig) -> VenueSpec {
    VenueSpec {
        name: "binance",
        credentials: Credentials { api_key: "key".to_owned(), api_secret: "c2VjcmV0".to_owned() },
        instruments: vec![Instrument {
            reference: Decimal::from(60_000),
            ..Instrument::new("BTC", "USD", "/")
        }],
        deposits: vec![("USD", Decimal::from(10_000_000)), ("BTC", Decimal::from(1_000))],
        fee_asset: FeeAsset::Quote,
        fees: (Decimal::new(25, 4), Decimal::new(40, 4)),
        protocol: Box::new(Binance),
    }
}

struct Binance;

impl Protocol for Binance {
    fn accepts(&self, path: &str) -> Option<ConnectionKind> {
        (path == "/v2").then_some(ConnectionKind::Market)
    }

    fn opened(&mut self, _: &mut VenueState, _: ConnectionId, _: &Upgrade) -> ConnectionRules {
        ConnectionRules::default()
    }

    fn text(&mut self, _: &mut VenueState, _: ConnectionId, _: &str) {}

    fn closed(&mut self, _: &mut VenueState, _: ConnectionId) {}

    fn http(&mut self, _: &mut VenueState, _: &HttpRequest) -> HttpResponse {
        HttpResponse::json(http::StatusCode::NOT_FOUND, r#"{"error":["EGeneral:Unknown method"]}"#)
    }

    fn publish(&mut self, _: &mut VenueState, _: &[EngineEvent]) {}

    fn notice(&mut self, _: &mut VenueState, _: Notice) {}

    fn replay(&mut self, _: &mut VenueState, _: &str, _: &str) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn deadline(&mut self, _: &mut VenueState, _: Instant) -> Vec<EngineEvent> {
        Vec::new()
    }

    fn order_id(&self, id: OrderId) -> String {
        format!("O{id:05}-00000-000000")
    }

    fn unknown_event(&self) -> String {
        r#"{"channel":"weather","type":"update","data":[]}"#.to_owned()
    }
}
