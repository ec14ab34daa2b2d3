//! How the gateway ends: phases, the coordinator that walks through them, and the report.

mod budget;
mod coordinator;
mod phase;
mod report;
mod signals;

pub(crate) use coordinator::{Coordinator, ExchangeParts, Saving};
pub use phase::{Phase, Stage};
pub use report::{
    ConnectionReport, ExchangeReport, Failure, OrderFate, OrderReport, Outcome, PhaseEnd,
    PhaseReport, ShutdownReport, StageReport, StateReport,
};
pub(crate) use signals::Signals;
