//! Ticks from the sockets to the subscribers, and the last tick of every instrument.

mod mailbox;
mod router;
mod subscription;

pub(crate) use router::Router;
pub use router::{LastTick, UnknownInstrument};
pub use subscription::{Delivery, Gap, MarketEvent, Ticks};
