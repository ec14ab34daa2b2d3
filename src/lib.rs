#![doc = include_str!("../README.md")]

// Unit tests share what the integration tests know the crate by.
#[cfg(test)]
extern crate self as exchange_gateway;

pub mod config;
pub mod exchange;
pub mod observe;
pub mod shutdown;
pub mod state;
pub mod types;

mod alerts;
mod clock;
mod connection;
mod environment;
mod gateway;
mod market;
mod net;
mod orders;
mod positions;
mod program;
mod rate;
mod report;
mod risk;
mod scope;

pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use connection::{ConnectionSnapshot, ConnectionStatus};
pub use environment::{Environment, MakeConnector};
pub use gateway::{DrainError, Gateway, PreviousRun, ResumeError, StartError};
pub use gateway::{StoredPlan, StoredRoundTrip, StoredRun, stored_plan};
pub use market::{Delivery, Gap, LastTick, MarketEvent, Ticks, UnknownInstrument};
pub use net::{ByteStream, Connecting, Connector, SystemConnector, TlsError};
pub use orders::{OrderError, OrderUpdate, OrderUpdates, Orders};
pub use positions::PositionUpdates;
pub use risk::{RiskBreach, RiskScope};
pub use shutdown::{Outcome, Phase, ShutdownReport};
pub use state::{SavedTicks, StateDirectory, StateError};
