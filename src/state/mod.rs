//! What outlives the process: the state database in its directory, and the last ticks in a file
//! that a person can read.

mod database;
mod directory;
mod kill_switch;
mod last_ticks;

pub use database::{
    BookedFill, Committed, Damage, Database, Durability, EmergencyFile, IntentRefused, Record,
    RecoverReport, Recovered, RecoveredOrder, RunEnd, RunSummary, StateView, VerifyReport, Viewed,
    WriteFailed, Writer, recover, settle, verify,
};
pub use directory::{StateDirectory, StateError};
pub use kill_switch::{KillSwitchReset, KillSwitchState};
pub use last_ticks::SavedTicks;
