//! What the gateway lets others see of itself, and how it is read back.

mod inspect;
mod page;

pub use inspect::{
    BrokenLine, ConnectionTimeline, ExchangeTimeline, Inspector, OrderLeft, Run, Shutdown,
    StageEntry,
};
pub use page::report_page;
