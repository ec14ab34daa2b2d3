//! How the gateway ends: the coordinator that walks through the phases, their budget, and the
//! signals that begin it. What it tells is the [`ShutdownReport`].

mod bounded;
mod budget;
mod command;
mod coordinator;
mod hooks;
mod signals;
mod watchdog;
mod witness;

pub use crate::report::{
    Alert, AlertDelivery, AlertKind, AlertReport, CancelPath, CancelWay, ClosePolicy,
    ConnectionReport, ExchangePlan, ExchangeReport, Failure, HookEnd, HookPriority, HookReport,
    LeastTime, LeftoverOrder, OrderFate, OrderReport, Outcome, Phase, PhaseEnd, PhaseReport,
    PlannedOrder, PlannedPosition, PositionReport, ProfitTotal, ShutdownPlan, ShutdownReport,
    Stage, StageReport, StateReport, SwitchKind, SwitchReport, SwitchState,
};
pub use crate::report::{ConnectionState, OpenOrders, ScopeSnapshot, Tree};
pub(crate) use coordinator::{
    ClosePolicies, Coordinator, ExchangeParts, Hooking, Saving, alert_stranded,
};
pub(crate) use hooks::Hooks;
pub use hooks::{Hook, HookContext, HookRefused};
pub use signals::Signal;
pub(crate) use signals::Signals;
pub use watchdog::WatchdogSettings;
pub(crate) use watchdog::{Heart, Watchdog};
pub(crate) use witness::{Begun, Progress, Running, Witness, tree_of};
