//! The exchange's truth: books, orders and balances, without sockets or a clock.
//!
//! Every command takes the time as an argument and appends events, so the engine runs the same
//! under a test, a simulation and a server.

mod account;
mod book;
mod command;
#[cfg(test)]
mod contract_tests;
mod market;
mod order;
mod position;
mod stats;
#[cfg(test)]
mod tests;

pub(crate) use account::{Account, FeeAsset};
pub(crate) use book::Book;

pub(crate) use command::{Engine, NewOrder, Reject};
pub(crate) use market::SeededMarket;
pub(crate) use order::{
    Amount, EngineEvent, Fill, Order, OrderChange, OrderId, PublicTrade, Quote,
};
pub use order::{Balance, OrderKind, OrderStatus, Side, TimeInForce};
