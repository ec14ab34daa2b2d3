//! The state directory, proved writable before any order is placed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The directory cannot be made or written.
    #[error(
        "state directory {path} is not writable: {source}; \
         choose another with `gateway.state_dir` or `--state-dir`"
    )]
    NotWritable {
        /// Which directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file in it cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file in it cannot be read, or does not hold what it should.
    #[error("cannot read {path}: {reason}; move it away to start without it")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kept kill switch cannot be read, and counts as tripped.
    #[error(
        "cannot read {path}: {reason}; the kill switch counts as tripped until a person resets it \
         (`exchange-gateway risk reset`)"
    )]
    KillSwitch {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process holds the state directory.
    #[error(
        "state directory {path} is in use by {}; stop that gateway, or choose another directory \
         with `gateway.state_dir` or `--state-dir`",
        holder(*pid)
    )]
    InUse {
        /// Which directory.
        path: PathBuf,
        /// The holder's process id, if it could be read.
        pid: Option<u32>,
    },
    /// A newer gateway wrote the database.
    #[error(
        "{path} has schema version {found}, newer than the {known} that this gateway knows; run \
         the gateway that wrote it, or choose another state directory"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest version known here.
        known: usize,
    },
    /// There is no database.
    #[error("{path} does not exist: {advice}")]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// The database is broken in a way that reading on would lose what it holds.
    #[error(
        "{path} is damaged: {reason}; `exchange-gateway state recover` keeps a copy of it and \
         goes on with all that is readable"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The database cannot be used for another reason.
    #[error("{path}: {what}: {source}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// SQLite's words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A directory that the gateway keeps its state in.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
}

impl StateDirectory {
    /// Makes the directory if need be and proves that files can be written and replaced in it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let not_writable = |source| StateError::NotWritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(not_writable)?;
        let directory = Self { path: path.to_owned() };
        let probe = path.join(".probe");
        replace_file(&probe, b"probe").map_err(not_writable)?;
        fs::remove_file(&probe).map_err(not_writable)?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a file so that after a crash at any moment it holds the old content or the new one,
/// whole. The content is on the disk when this returns.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let mut draft_name = path.file_name().unwrap_or_default().to_owned();
    draft_name.push(".tmp");
    let draft = parent.join(draft_name);
    let mut file = fs::File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&draft, path)?;
    sync_directory(parent)
}

/// A rename is durable once its directory is.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Directories cannot be opened so on Windows.
    #[cfg(unix)]
    fs::File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_made_is_refused_with_advice() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let error = StateDirectory::open(&file.join("state")).unwrap_err();
        assert!(error.to_string().contains("--state-dir"), "{error}");
    }

    #[test]
    fn a_replaced_file_leaves_no_draft_behind() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a.json");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    }
}
