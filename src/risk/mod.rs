//! Risk limits: whether an order keeps them is a pure function ([`check`]); [`Risk`] keeps what it is
//! asked with, for all exchanges together, and the kill switch.

mod breach;
mod check;
mod keeper;
mod kill;
mod limits;
mod open;
mod window;

pub use breach::{RiskBreach, RiskScope};
pub(crate) use check::Mark;
pub(crate) use keeper::{Market, Refusal, Risk};
pub(crate) use kill::Allowance;
pub(crate) use open::OpenQuantities;
