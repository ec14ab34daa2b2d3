//! One gateway a state directory: a lock that the system releases when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::StateError;

const FILE: &str = "gateway.lock";

/// Held as long as it lives. The file stays behind: removing it would let two gateways lock two
/// files of one name.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Locks the directory, or names its holder.
    pub(super) fn acquire(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join(FILE);
        let failed = |source| StateError::write(&path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be about to write it: an unreadable id is no other error.
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StateError::InUse { path: directory.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Padded to the longest id, so that nothing of an older one is left.
        file.rewind().map_err(failed)?;
        file.write_all(format!("{:<10}\n", std::process::id()).as_bytes()).map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is being started may still have the file.
        _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first_ones_process() {
        let temporary = tempfile::tempdir().unwrap();
        let held = DirectoryLock::acquire(temporary.path()).unwrap();
        let error = DirectoryLock::acquire(temporary.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        DirectoryLock::acquire(temporary.path()).unwrap();
    }
}
