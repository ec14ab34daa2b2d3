//! What is told about a shutdown: its phases, the stages of a disconnect, and the report. Data only,
//! so that every part may name the phase it is in.

mod alert;
mod closing;
mod hook;
mod least;
mod phase;
mod plan;
mod profit;
mod reasons;
mod shutdown_report;
mod switch;
mod tree;

pub use alert::{Alert, AlertDelivery, AlertKind, AlertReport};
pub use closing::{ClosePolicy, PositionReport};
pub use hook::{HookEnd, HookPriority, HookReport};
pub use least::LeastTime;
pub(crate) use least::{Need, RoundTrips};
pub use phase::{Phase, Stage};
pub use plan::{CancelWay, ExchangePlan, PlannedOrder, PlannedPosition, ShutdownPlan};
pub use profit::ProfitTotal;
pub use shutdown_report::{
    CancelPath, ConnectionReport, ExchangeReport, Failure, LeftoverOrder, OrderFate, OrderReport,
    Outcome, PhaseEnd, PhaseReport, ShutdownReport, StageReport, StateReport,
};
pub use switch::{SwitchKind, SwitchReport, SwitchState};
pub use tree::{ConnectionState, OpenOrders, ScopeSnapshot, Tree};

#[cfg(test)]
mod tests;
