//! A WebSocket gateway to several exchanges that closes cleanly and reports the truth.

pub mod exchange;
pub mod shutdown;
pub mod types;
