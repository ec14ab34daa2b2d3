//! The Deribit venue: JSON-RPC over WebSocket and over HTTP, perpetual futures.

mod auth;
mod book;
mod cancels;
mod channel;
mod credits;
mod disconnect;
mod dispatch;
mod feed;
mod ids;
mod listing;
mod messages;
mod number;
mod orders;
mod params;
mod portfolio;
mod protocol;
mod publish;
mod queries;
mod rest;
mod rpc;
mod session;
mod sign;
mod subscribe;
mod tape;

use rust_decimal::Decimal;

use self::protocol::Deribit;
use crate::config::{Credentials, VenueConfig};
use crate::engine::FeeAsset;
use crate::instrument::{Contract, ContractKind, Instrument};
use crate::venue::VenueSpec;

/// What makes a venue Deribit.
pub(crate) fn spec(config: &VenueConfig) -> VenueSpec {
    VenueSpec {
        name: "deribit",
        // The sample pair of the exchange's documentation of `public/auth`.
        credentials: Credentials {
            api_key: "fo7WAPRm4P".to_owned(),
            api_secret: "W0H6FJW4IRPZ1MOQ8FP6KMC5RZDUUKXS".to_owned(),
        },
        instruments: vec![
            inverse("BTC", Decimal::new(5, 1), 10, 60_000),
            inverse("ETH", Decimal::new(5, 2), 1, 3_000),
            linear("BTC", Decimal::ONE, 4, 60_000),
            linear("ETH", Decimal::new(5, 2), 3, 3_000),
        ],
        deposits: vec![
            ("BTC", Decimal::from(1_000)),
            ("ETH", Decimal::from(10_000)),
            ("USDC", Decimal::from(10_000_000)),
        ],
        fee_asset: FeeAsset::Quote,
        fees: (Decimal::ZERO, Decimal::new(5, 4)),
        shared_client_ids: true,
        protocol: Box::new(Deribit::new(config)),
    }
}

fn perpetual(symbol: String, listed: Instrument, contract: Contract, reference: i64) -> Instrument {
    Instrument {
        symbol: symbol.into(),
        step: contract.size,
        quantity_min: contract.size,
        notional_min: Decimal::ZERO,
        reference: Decimal::from(reference),
        contract: Some(contract),
        ..listed
    }
}

fn inverse(base: &str, tick: Decimal, size: i64, reference: i64) -> Instrument {
    let listed = Instrument { tick, ..Instrument::new(base, "USD", "_") };
    let contract = Contract {
        kind: ContractKind::Inverse,
        size: Decimal::from(size),
        settlement: base.into(),
        leverage: Decimal::from(50),
    };
    perpetual(format!("{base}-PERPETUAL"), listed, contract, reference)
}

fn linear(base: &str, tick: Decimal, decimals: u32, reference: i64) -> Instrument {
    let listed = Instrument { tick, ..Instrument::new(base, "USDC", "_") };
    let contract = Contract {
        kind: ContractKind::Linear,
        size: Decimal::new(1, decimals),
        settlement: "USDC".into(),
        leverage: Decimal::from(50),
    };
    perpetual(format!("{base}_USDC-PERPETUAL"), listed, contract, reference)
}
