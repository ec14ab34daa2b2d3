//! Moves committed pages from the log to the database file, away from the writer's thread, and
//! keeps the page checksums true while it does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tracing::warn;

use super::StateError;
use super::pages::{LOG, PageFile, PageSums, SUMS};
use super::wal::WalFollower;

/// Committed records after which a checkpoint does not wait for a pause.
const MANY: u64 = 4_000;
/// The same while a shutdown is not to wait for the disk.
const TOO_MANY: u64 = 40_000;
/// How long the first record waits for others to be checkpointed with.
const PAUSE: Duration = Duration::from_secs(2);
/// A log longer than this, in bytes, holds the writer up until it can begin again.
const LOG_LIMIT: u64 = 256 << 20;

/// What becomes of the log at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Checkpointed,
    Kept,
}

#[derive(Debug, Default)]
struct State {
    /// The thread is to end, and how.
    end: Option<End>,
    /// Only a log that grows too long is checkpointed.
    resting: bool,
    /// The writer is not to begin a transaction.
    held: bool,
}

/// What the writer tells the checkpointer, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Records committed since the last checkpoint began.
    pending: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Checkpoints {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts committed records; wakes the thread only at the first and at many.
    pub(super) fn committed(&self, records: u64) {
        let before = self.pending.fetch_add(records, Ordering::Relaxed);
        let reaches = |many| before < many && before + records >= many;
        if before == 0 || reaches(MANY) || reaches(TOO_MANY) {
            let _state = self.state();
            self.changed.notify_all();
        }
    }

    /// Waits while a log that grew too long is brought to an end.
    pub(super) fn wait_until_released(&self) {
        let mut state = self.state();
        while state.held {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the thread; it makes a last checkpoint unless the log is to be kept.
    pub(super) fn stop(&self, keep_log: bool) {
        self.state().end = Some(if keep_log { End::Kept } else { End::Checkpointed });
        self.changed.notify_all();
    }

    /// From now on only a log that grows too long is checkpointed.
    pub(super) fn rest(&self) {
        self.state().resting = true;
    }

    fn keeps_log(&self) -> bool {
        self.state().end == Some(End::Kept)
    }

    fn hold(&self, held: bool) {
        self.state().held = held;
        self.changed.notify_all();
    }

    /// Waits for records and then for a pause. `false` at the end.
    fn wait_for_work(&self) -> bool {
        let pending = || self.pending.load(Ordering::Relaxed);
        let is_idle = |state: &State| {
            let least = if state.resting { TOO_MANY } else { 1 };
            state.end.is_none() && pending() < least
        };
        let mut state = self.state();
        loop {
            state = self
                .changed
                .wait_while(state, |state| is_idle(state))
                .unwrap_or_else(PoisonError::into_inner);
            (state, _) = self
                .changed
                .wait_timeout_while(state, PAUSE, |state| state.end.is_none() && pending() < MANY)
                .unwrap_or_else(PoisonError::into_inner);
            if !is_idle(&state) {
                self.pending.store(0, Ordering::Relaxed);
                return state.end.is_none();
            }
        }
    }
}

/// Two connections: one makes checkpoints, the other meanwhile reads, so that the log is not
/// begun again before the checksums are saved.
pub(super) struct Checkpointer {
    path: PathBuf,
    log: PathBuf,
    sums_file: PathBuf,
    connection: Connection,
    holder: Connection,
    sums: PageSums,
    follower: WalFollower,
    /// Sums that pages have in the log, oldest first, and that the file may have taken over.
    newer: HashMap<u32, Vec<u32>>,
}

impl Checkpointer {
    pub(super) fn new(
        directory: &Path,
        path: &Path,
        connection: Connection,
        holder: Connection,
        sums: PageSums,
    ) -> Self {
        Self {
            path: path.to_owned(),
            log: directory.join(LOG),
            sums_file: directory.join(SUMS),
            connection,
            holder,
            sums,
            follower: WalFollower::default(),
            newer: HashMap::new(),
        }
    }

    /// Works until it is stopped, then makes a last checkpoint, unless the log is kept.
    pub(super) fn run(mut self, signal: &Arc<Checkpoints>) -> Result<(), StateError> {
        while signal.wait_for_work() {
            if let Err(error) = self.checkpoint() {
                // The log goes on growing and nothing is lost; the writer finds out by itself if
                // the disk is full.
                warn!(%error, "checkpoint of the state database failed");
                continue;
            }
            if self.log.metadata().is_ok_and(|file| file.len() > LOG_LIMIT) {
                // The second one takes the transaction that was being written.
                signal.hold(true);
                let caught_up = self.checkpoint().and_then(|_| self.checkpoint());
                signal.hold(false);
                if let Err(error) = caught_up {
                    warn!(%error, "checkpoint of the state database failed");
                }
            }
        }
        if signal.keeps_log() {
            return Ok(());
        }
        let complete = self.checkpoint()?;
        drop(self.holder);
        if complete {
            // The last to close removes the log, which holds nothing that the file does not.
            let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            self.connection
                .set_db_config(keep, false)
                .map_err(|error| StateError::database(&self.path, "cannot close it", error))?;
        }
        Ok(())
    }

    /// One checkpoint. The checksums on the disk are true before and after it, and at every moment
    /// in between together with the log. Tells whether the file now has all that the log has.
    fn checkpoint(&mut self) -> Result<bool, StateError> {
        let failed = |error| StateError::database(&self.path, "cannot write the log back", error);
        self.holder.execute_batch("BEGIN").map_err(failed)?;
        let done = self.hold_and_checkpoint();
        let released = self.holder.execute_batch("ROLLBACK");
        let done = done?;
        released
            .map_err(|error| StateError::database(&self.path, "cannot end a reading", error))?;
        Ok(done)
    }

    fn hold_and_checkpoint(&mut self) -> Result<bool, StateError> {
        let failed = |error| StateError::database(&self.path, "cannot write the log back", error);
        let read = "SELECT count(*) FROM sqlite_schema";
        self.holder.query_row(read, (), |_| Ok(())).map_err(failed)?;
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        let complete = self
            .connection
            .query_row(checkpoint, (), |row| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?))
            .map_err(failed)?;
        self.update_sums().map_err(|error| StateError::write(&self.sums_file, error))?;
        Ok(complete)
    }

    fn update_sums(&mut self) -> std::io::Result<()> {
        let newer = &mut self.newer;
        self.follower.follow(&self.log, |page, sum| newer.entry(page).or_default().push(sum))?;
        let mut file = PageFile::open(&self.path)?;
        let known = self.sums.sums.len();
        let pages = file.pages()?;
        let before = self.sums.clone();
        for page in known + 1..=pages {
            self.sums.sums.push(file.sum(page)?);
        }
        let sums = &mut self.sums.sums;
        let mut failure = None;
        newer.retain(|page, candidates| {
            let Some(index) = usize::try_from(*page).ok().and_then(|page| page.checked_sub(1))
            else {
                return false;
            };
            if index >= pages {
                return true;
            }
            match file.sum(index + 1) {
                Ok(sum) => {
                    let Some(found) = candidates.iter().rposition(|known| *known == sum) else {
                        return true;
                    };
                    sums[index] = sum;
                    candidates.drain(..=found);
                    !candidates.is_empty()
                }
                Err(error) => {
                    failure = Some(error);
                    true
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        if self.sums == before {
            return Ok(());
        }
        self.sums.save(&self.sums_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_rest_only_a_log_that_grows_too_long_is_checkpointed() {
        let signal = Checkpoints::default();
        signal.rest();
        signal.committed(MANY);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| signal.wait_for_work());
            signal.committed(TOO_MANY);
            assert!(work.join().unwrap());
        });
        assert_eq!(signal.pending.load(Ordering::Relaxed), 0, "it has waited for all of them");
        signal.committed(MANY);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| signal.wait_for_work());
            signal.stop(true);
            assert!(!work.join().unwrap());
        });
        assert!(signal.keeps_log());
    }
}
