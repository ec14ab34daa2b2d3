//! Orders: their lifecycle as a pure state machine ([`book`]), the gate that lets new ones in, the
//! lane to the connection, and the journal that tells everybody what happened.

mod book;
mod desk;
mod error;
mod gate;
mod handle;
mod ids;
mod journal;
mod lane;
mod limiter;
mod plan;
mod report;
mod switch;

pub(crate) use book::{Errands, Patience};
pub(crate) use desk::{ClosingPass, Desk, DeskSettings, Fates, Next};
pub use error::OrderError;
pub(crate) use gate::Permit;
pub use handle::Orders;
pub(crate) use ids::IdGenerator;
pub(crate) use journal::Journal;
pub use journal::{OrderUpdate, OrderUpdates};
pub(crate) use lane::Command;
pub(crate) use plan::{CancelMeans, plan as plan_cancels};
pub(crate) use switch::SwitchSettings;
