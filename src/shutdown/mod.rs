//! How the gateway ends: the coordinator that walks through the phases, their budget, and the
//! signals that begin it. What it tells is the [`ShutdownReport`].

mod budget;
mod coordinator;
mod signals;

pub use crate::report::{
    CancelPath, ConnectionReport, ExchangeReport, Failure, LeftoverOrder, OrderFate, OrderReport,
    Outcome, Phase, PhaseEnd, PhaseReport, ShutdownReport, Stage, StageReport, StateReport,
    SwitchKind, SwitchReport, SwitchState,
};
pub(crate) use coordinator::{Coordinator, ExchangeParts, Saving};
pub(crate) use signals::Signals;
