//! How the gateway ends: phases, the coordinator that walks through them, and the report.

mod phase;
mod report;

pub use phase::{Phase, Stage};
pub use report::{
    ConnectionReport, ExchangeReport, Failure, OrderFate, OrderReport, Outcome, PhaseEnd,
    PhaseReport, ShutdownReport, StageReport, StateReport,
};
