//! Positions and profit, from the gateway's own fills, each once.

#![allow(dead_code, unused_imports, reason = "the closer and the risk limits come next")]

mod accounts;
mod closer;
mod day;
mod keeper;
mod profit;
mod updates;
mod value;

pub(crate) use accounts::Compared;
pub(crate) use closer::{Obstacle, Plan, Rules, Situation, average, plan};
pub(crate) use day::DayProfit;
pub(crate) use keeper::Positions;
pub(crate) use profit::Terms;
pub use updates::PositionUpdates;
pub(crate) use value::exit_price;
