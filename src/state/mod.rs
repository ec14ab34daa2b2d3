//! What outlives the process: the state directory and the last ticks in it, and behind the
//! `database` feature the state database.

#[cfg(feature = "database")]
mod database;
mod directory;
mod last_ticks;

#[cfg(feature = "database")]
pub use database::{
    BookedFill, Committed, Damage, Database, Durability, IntentRefused, Record, RecoverReport,
    Recovered, RecoveredOrder, RunEnd, RunSummary, StateView, VerifyReport, Viewed, WriteFailed,
    Writer, recover, verify,
};
pub use directory::{StateDirectory, StateError};
pub use last_ticks::SavedTicks;
