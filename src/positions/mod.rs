//! Positions and profit, from the gateway's own fills, each once.

#![expect(dead_code, reason = "the closer and the risk limits come next")]

mod keeper;
mod profit;

pub(crate) use keeper::Positions;
pub(crate) use profit::Terms;
