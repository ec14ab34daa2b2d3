//! The Kraken spot venue: WebSocket API v2 and the REST calls that clients need beside it.

mod balances;
mod book;
mod executions;
mod ids;
mod market;
mod messages;
mod new_order;
mod number;
mod orders;
mod pairs;
mod protocol;
mod publish;
mod rate;
mod request;
mod rest;
mod rest_messages;
mod session;
mod sign;
mod subscribe;
mod time;
mod token;

pub(crate) use protocol::Kraken;
pub use rate::Tier;

use rust_decimal::Decimal;

use crate::config::{Credentials, VenueConfig};
use crate::engine::FeeAsset;
use crate::instrument::Instrument;
use crate::protocol::SystemStatus;
use crate::venue::VenueSpec;

/// What makes a venue Kraken.
pub(crate) fn spec(config: &VenueConfig) -> VenueSpec {
    VenueSpec {
        name: "kraken",
        // The sample pair of the exchange's documentation of `API-Sign`.
        credentials: Credentials {
            api_key: "kraken-mock-key".to_owned(),
            api_secret: "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==".to_owned(),
        },
        instruments: vec![
            pair("BTC", "USD", 1, 60_000),
            pair("ETH", "USD", 2, 3_000),
            pair("SOL", "USD", 2, 150),
            pair("BTC", "USDT", 1, 60_000),
            pair("ETH", "USDT", 2, 3_000),
        ],
        deposits: vec![
            ("USD", Decimal::from(10_000_000)),
            ("USDT", Decimal::from(10_000_000)),
            ("BTC", Decimal::from(1_000)),
            ("ETH", Decimal::from(10_000)),
            ("SOL", Decimal::from(100_000)),
        ],
        fee_asset: FeeAsset::Quote,
        fees: (Decimal::new(25, 4), Decimal::new(40, 4)),
        shared_client_ids: false,
        protocol: Box::new(Kraken::new(config)),
    }
}

fn pair(base: &str, quote: &str, price_decimals: u32, reference: i64) -> Instrument {
    Instrument {
        tick: Decimal::new(1, price_decimals),
        step: Decimal::new(1, 8),
        quantity_min: Decimal::new(5, 5),
        notional_min: Decimal::new(5, 1),
        reference: Decimal::from(reference),
        ..Instrument::new(base, quote, "/")
    }
}

/// The venue's word for its state.
pub(crate) fn status_text(status: SystemStatus) -> &'static str {
    match status {
        SystemStatus::Online => "online",
        SystemStatus::CancelOnly => "cancel_only",
        SystemStatus::PostOnly => "post_only",
        SystemStatus::Maintenance => "maintenance",
    }
}
