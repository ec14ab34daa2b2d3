//! Positions and profit, from the gateway's own fills, each once.

mod accounts;
mod closer;
mod day;
mod keeper;
mod profit;
mod updates;
mod value;

pub(crate) use closer::{Obstacle, Plan, Rules, Situation, average, plan};
pub(crate) use day::DayProfit;
pub(crate) use keeper::Positions;
pub(crate) use profit::Terms;
pub use updates::PositionUpdates;
