//! The configuration: plain structs that a bot fills in, or a TOML file read with every fault
//! reported at once, each with its line and key.
//!
//! ```
//! use exchange_gateway::config::{Config, ExchangeConfig};
//! use exchange_gateway::exchange::AdapterKind;
//!
//! let mut config = Config::default();
//! let mut kraken = ExchangeConfig::new(AdapterKind::Kraken);
//! kraken.instruments = vec!["kraken:BTC-USD".parse()?];
//! config.exchanges.push(kraken);
//! config.validate()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alerts;
mod checks;
mod closing;
mod duration;
mod effective;
mod fault;
mod file;
mod hooks;
mod log;
mod reader;
mod reload;
mod risk;
mod sections;
mod supervisors;

pub use alerts::{AlertsConfig, WebhookUrl};
pub use closing::PositionsConfig;
pub use duration::{InvalidDuration, format_duration, parse_duration};
pub use fault::{ConfigError, Fault};
pub use hooks::HookConfig;
pub use log::LogConfig;
pub use risk::{Amounts, ExchangeRisk, InstrumentRisk, LimitChange, RiskConfig};
pub use sections::{
    Config, ConnectionConfig, ExchangeConfig, GatewayConfig, OnRestart, OrdersConfig,
    ShutdownConfig,
};
pub(crate) use supervisors::EXIT_GRACE;
pub use supervisors::Supervisor;
