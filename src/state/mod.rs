//! What outlives the process: the state directory, the database in it, and the last ticks.
//!
//! One thread writes, in groups; nobody who records ever waits for it. Another brings the log back
//! to the file. Every row and every page has a checksum, so that no damage goes unnoticed.

mod checkpoint;
mod checksum;
mod damage;
mod database;
mod directory;
mod examine;
mod image;
mod last_ticks;
mod lock;
mod pages;
mod queue;
mod record;
mod recovered;
mod rows;
mod salvage;
mod schema;
mod verify;
mod view;
mod wal;
mod writer;

pub use damage::Damage;
pub use database::{Database, Durability};
pub use directory::{StateDirectory, StateError};
pub use last_ticks::SavedTicks;
pub use queue::{Committed, Writer};
pub use record::{BookedFill, IntentRefused, Record, RunEnd, WriteFailed};
pub use recovered::{Recovered, RecoveredOrder};
pub use rows::RunSummary;
pub use salvage::{RecoverReport, recover};
pub use verify::{VerifyReport, verify};
pub use view::{StateView, Viewed};
