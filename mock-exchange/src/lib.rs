//! Exchanges on loopback that speak the real protocols, keep a ledger and fail on request.
//!
//! [`MockExchange::start`] starts them in the process; the `mock-exchange` program starts them
//! beside it. The mock knows nothing of the gateway: it is an independent witness.

mod binance;
mod clock;
mod config;
mod connection;
mod control;
mod deribit;
mod engine;
mod faults;
mod instrument;
mod kraken;
mod ledger;
mod mock;
mod protocol;
mod replay;
mod server;
mod venue;

pub use clock::Clock;
pub use config::{Credentials, Limits, MarketConfig, MockConfig, ReplayConfig, VenueConfig};
pub use connection::{ByteStream, Listener};
pub use engine::{Balance, OrderKind, OrderStatus, Side, TimeInForce};
pub use faults::{Disconnect, Fault, FaultAction, FaultState, Refusal, Target, When};
pub use instrument::{Contract, ContractKind, Instrument};
pub use kraken::Tier;
pub use ledger::{
    CancelOutcome, CancelRecord, ClosedBy, ConnectionRecord, ExchangeLedger, FillRecord, Ledger,
    OrderRecord, RequestRecord,
};
pub use mock::{FaultError, Faults, Listeners, MockExchange, StartError, Timeout};
pub use protocol::{ConnectionId, ConnectionKind, SystemStatus};
pub use replay::ReplayError;
pub use venue::{Venue, VenueError};
