//! The state database: orders with every transition, fills, last ticks and runs, in SQLite.
//!
//! One thread writes, in groups; nobody who records ever waits for it. Another brings the log back
//! to the file. Every row and every page has a checksum, so that no damage goes unnoticed.

mod checkpoint;
mod checksum;
mod damage;
mod emergency;
mod examine;
mod handle;
mod image;
mod lock;
mod pages;
mod queue;
mod record;
mod recovered;
mod rows;
mod salvage;
mod schema;
mod settle;
mod verify;
mod view;
mod wal;
mod writer;

use std::io;
use std::path::Path;

use super::{StateDirectory, StateError, directory};

pub use damage::Damage;
pub use emergency::EmergencyFile;
pub use handle::{Database, Durability};
pub use queue::{Committed, Writer};
pub use record::{BookedFill, IntentRefused, Record, RunEnd, WriteFailed};
pub use recovered::{Recovered, RecoveredOrder};
pub use rows::RunSummary;
pub use salvage::{RecoverReport, recover};
pub use settle::settle;
pub use verify::{VerifyReport, verify};
pub use view::{StateView, Viewed};

impl StateError {
    fn database(path: &Path, what: &'static str, error: rusqlite::Error) -> Self {
        if schema::is_malformed(&error) {
            return Self::Damaged { path: path.to_owned(), reason: error.to_string() };
        }
        Self::Database { path: path.to_owned(), what, source: Box::new(error) }
    }

    fn read(path: &Path, error: &io::Error) -> Self {
        Self::Read { path: path.to_owned(), reason: error.to_string() }
    }

    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}
