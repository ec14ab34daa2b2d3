//! A WebSocket gateway to several exchanges that closes cleanly and reports the truth.

pub mod config;
pub mod exchange;
pub mod shutdown;
pub mod types;

mod clock;
mod market;
mod net;
mod orders;
mod scope;
mod state;
