//! Checks a state database without changing it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::examine::examine;
use super::image::{TemporaryFile, build, open_immutable};
use super::lock::DirectoryLock;
use super::pages::{self, DATABASE};
use super::{Damage, StateError, salvage};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VerifyReport {
    /// Pages of the database file that were compared with their checksums.
    pub pages: u64,
    /// Frames of the log.
    pub log_frames: u64,
    /// Rows that were compared with their checksums, by table.
    pub rows: BTreeMap<String, u64>,
    /// Everything that is not as it was written: rows first, by table and key, then the rest.
    pub damaged: Vec<Damage>,
    /// What is odd and harmless, for example a transaction that a kill left unfinished.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// Checks every byte of the database of a state directory: each page and each frame of the log
/// against its checksum, the structure by SQLite's own check, each row against its checksum. The
/// files are not changed. Blocks.
///
/// # Errors
/// Only where there is nothing to check: no database, one that a gateway uses right now, or one
/// that cannot be read at all. Damage is no error.
pub fn verify(directory: &Path) -> Result<VerifyReport, StateError> {
    require_database(directory)?;
    let _lock = DirectoryLock::acquire(directory)?;
    salvage::refuse_interrupted(directory)?;
    verify_locked(directory)
}

pub(super) fn require_database(directory: &Path) -> Result<(), StateError> {
    let path = directory.join(DATABASE);
    if path.is_file() {
        return Ok(());
    }
    let advice = "name a state directory that a gateway has run with, with `--state-dir` or \
        `--config`";
    Err(StateError::Missing { path, advice })
}

pub(super) fn verify_locked(directory: &Path) -> Result<VerifyReport, StateError> {
    let raw = pages::check(directory).map_err(|(path, error)| StateError::read(&path, &error))?;
    let mut report = VerifyReport {
        pages: raw.pages,
        log_frames: raw.frames,
        notes: raw.notes,
        ..VerifyReport::default()
    };
    let path = directory.join(DATABASE);
    let (_temporary, opened) = if raw.frames == 0 {
        (None, open_immutable(&path))
    } else {
        let image = TemporaryFile(directory.join("gateway.db-check"));
        build(directory, &image.0, None).map_err(|source| StateError::write(&image.0, source))?;
        let opened = open_immutable(&image.0);
        (Some(image), opened)
    };
    match opened {
        Ok(connection) => {
            let found = examine(&connection);
            report.rows = found.rows;
            report.damaged.extend(found.broken_rows);
            report.damaged.extend(found.structure);
        }
        Err(error) => {
            report.damaged.push(Damage::structure("database", error.to_string()));
        }
    }
    report.damaged.extend(raw.damaged);
    Ok(report)
}
