//! Opens and closes the database and owns its two threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::checkpoint::{Checkpointer, Checkpoints};
use super::directory::sync_directory;
use super::emergency;
use super::examine::examine;
use super::lock::DirectoryLock;
use super::pages::{self, DATABASE, LOG, LogState, PAGE_SIZE, PageSums, RawCheck, SUMS};
use super::queue::{HARD_LIMIT, Queue, SOFT_LIMIT, Writer};
use super::record::WriteFailed;
use super::schema::{self, RUNS};
use super::writer::{CurrentRun, WriterThread, insert};
use super::{Damage, Recovered, StateDirectory, StateError, rows, salvage};
use crate::types::Timestamp;

/// A database that is being made.
const DRAFT: &str = "gateway.db-draft";

/// How long another program may keep the database locked.
const LOCKED_AT_MOST: Duration = Duration::from_secs(1);

/// What a committed record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The end of the process in any way, `kill -9` included. About 10 µs a commit.
    #[default]
    Process,
    /// Also the loss of power: every commit waits for the disk, 0.1 ms to several ms.
    Power,
}

impl Durability {
    /// The name used in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

/// The open database. One process at a time has it; [`close`](Self::close) it in order, or drop
/// it, which does the same and swallows errors. Both block until everything is written.
pub struct Database {
    path: PathBuf,
    queue: Arc<Queue>,
    checkpoints: Arc<Checkpoints>,
    run: i64,
    threads: Option<Threads>,
    /// Released last.
    _lock: DirectoryLock,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    checkpointer: JoinHandle<Result<(), StateError>>,
}

impl Database {
    /// Opens the database of a state directory, or makes it, and reads what the runs before left
    /// behind. Blocks: every page of the file is read and compared with its checksum.
    ///
    /// # Errors
    /// Also when the damage is such that reading on would lose rows; rows that are broken by
    /// themselves are told in [`Recovered::damaged`] and stay where they are.
    pub fn open(
        directory: &StateDirectory,
        durability: Durability,
    ) -> Result<(Self, Recovered), StateError> {
        Self::open_with(directory, durability, SOFT_LIMIT, HARD_LIMIT)
    }

    /// [`open`](Self::open) with a limit of records that may wait before intents are refused, and
    /// of those that may wait at all.
    pub fn open_with(
        directory: &StateDirectory,
        durability: Durability,
        soft_limit: usize,
        hard_limit: usize,
    ) -> Result<(Self, Recovered), StateError> {
        let lock = DirectoryLock::acquire(directory.path())?;
        let directory = directory.path();
        let path = directory.join(DATABASE);
        salvage::refuse_interrupted(directory)?;
        if !path.exists() {
            let belongings = [SUMS, LOG].iter().any(|name| directory.join(name).exists());
            if belongings && !directory.join(DRAFT).exists() {
                let advice = "gateway.db-sums or gateway.db-wal is still there, so somebody took \
                    it away; put it back, or remove those two to begin with nothing";
                return Err(StateError::Missing { path, advice });
            }
            create(directory)?;
        }
        let raw =
            pages::check(directory).map_err(|(path, error)| StateError::read(&path, &error))?;
        if raw.log == LogState::Broken {
            return Err(damaged(&path, &raw.damaged));
        }
        if raw.log == LogState::Torn {
            // The next transaction overwrites the torn frames.
            salvage::keep_log(directory)?;
        }
        let failed = |error| StateError::database(&path, "cannot open it", error);
        let mut connection = connect(&path, durability).map_err(failed)?;
        schema::migrate(&mut connection, &path)?;
        let mut emergency = Vec::new();
        if raw.damaged.is_empty() {
            (connection, emergency) = emergency::take_in(directory, connection)?;
        }
        let mut recovered = Recovered::read(&connection).map_err(|error| {
            if raw.damaged.is_empty() {
                return StateError::database(&path, "cannot read it", error);
            }
            damaged(&path, &raw.damaged)
        })?;
        recovered.emergency = emergency;
        if !raw.damaged.is_empty() {
            examine_whole(&connection, &path, &raw, &mut recovered)?;
        }
        let run = begin_run(&connection)
            .map_err(|error| StateError::database(&path, "cannot begin a run", error))?;

        let sums = match raw.sums {
            Some(sums) => sums,
            None => PageSums::of(&path).map_err(|error| StateError::read(&path, &error))?,
        };
        let checkpointer = Checkpointer::new(
            directory,
            &path,
            connect(&path, durability).map_err(failed)?,
            connect(&path, durability).map_err(failed)?,
            sums,
        );
        let queue = Queue::of_run(run.id, soft_limit, hard_limit);
        let checkpoints = Arc::new(Checkpoints::default());
        let threads = Threads {
            writer: spawn("state-writer", &path, {
                let (queue, checkpoints) = (queue.clone(), checkpoints.clone());
                let writer = WriterThread::new(connection, run);
                move || writer.run(&queue, &checkpoints)
            })?,
            checkpointer: spawn("state-checkpointer", &path, {
                let checkpoints = checkpoints.clone();
                move || checkpointer.run(&checkpoints)
            })?,
        };
        checkpoints.committed(1);
        let threads = Some(threads);
        Ok((Self { path, queue, checkpoints, run: run.id, threads, _lock: lock }, recovered))
    }

    /// Hands records to the thread that writes them.
    pub fn writer(&self) -> Writer {
        Writer::new(self.queue.clone())
    }

    /// The number of this run, counted from 1.
    pub fn run(&self) -> i64 {
        self.run
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all that was recorded, brings the file up to date, and closes it. Records that come
    /// later fail. Blocks; from async code call it on a thread that may block.
    ///
    /// # Errors
    /// The reason why records were not written; [`Writer::emergency_dump`] still has them.
    pub fn close(mut self) -> Result<(), WriteFailed> {
        self.end(false)
    }

    /// Leaves what is committed in the log from now on, unless the log grows too long, so that
    /// nothing that waits for the disk is in the way of a shutdown.
    pub(crate) fn rest(&self) {
        self.checkpoints.rest();
    }

    /// Writes all that was recorded and closes the database, with the log as it is: the next start
    /// reads it, as after any other end of the process. Nothing waits for the disk that the
    /// [`Durability`] does not ask for. Records that come later fail. Blocks.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn seal(mut self) -> Result<(), WriteFailed> {
        self.end(true)
    }

    fn end(&mut self, keep_log: bool) -> Result<(), WriteFailed> {
        let Some(threads) = self.threads.take() else { return Ok(()) };
        self.queue.close();
        let panicked = |_| WriteFailed::Refused("a thread of the state database panicked".into());
        let written = threads.writer.join().map_err(panicked);
        self.checkpoints.stop(keep_log);
        let checkpointed = threads.checkpointer.join().map_err(panicked);
        if let Some(failure) = self.queue.failure() {
            return Err(failure);
        }
        written?;
        // Everything is in the log, which the next start reads: this is no loss, but it is told.
        checkpointed?.map_err(|error| WriteFailed::Io(error.to_string().into()))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(failure) = self.end(false) {
            tracing::error!(%failure, "the state database was not closed in order");
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    path: &Path,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StateError> {
    let failed = |source| StateError::write(path, source);
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(failed)
}

/// A connection that never makes a checkpoint by itself.
pub(super) fn connect(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection, durability)?;
    Ok(connection)
}

fn configure(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCKED_AT_MOST)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let synchronous = match durability {
        Durability::Process => "NORMAL",
        Durability::Power => "FULL",
    };
    // A log begun again is cut to its length, so that no remnant of the old one follows.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 0; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;"
    ))
}

/// Makes an empty database under another name first, so that there is never half a one.
fn create(directory: &Path) -> Result<(), StateError> {
    let path = directory.join(DATABASE);
    let draft = directory.join(DRAFT);
    finish(create_at(&draft)?, &draft)?;
    let sums = PageSums::of(&draft).map_err(|error| StateError::read(&draft, &error))?;
    let sums_file = directory.join(SUMS);
    sums.save(&sums_file).map_err(|source| StateError::write(&sums_file, source))?;
    let moved = std::fs::rename(&draft, &path).and_then(|()| sync_directory(directory));
    moved.map_err(|source| StateError::write(&path, source))
}

/// Brings everything from the log to the file and closes it.
pub(super) fn finish(connection: Connection, path: &Path) -> Result<(), StateError> {
    let failed = |error| StateError::database(path, "cannot finish it", error);
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = connection.query_row(checkpoint, (), |row| row.get(0)).map_err(failed)?;
    if busy != 0 {
        let source = std::io::Error::other("another program reads it");
        return Err(StateError::write(path, source));
    }
    connection.close().map_err(|(_, error)| failed(error))
}

/// A new, empty database with the newest schema. [`finish`] it.
pub(super) fn create_at(path: &Path) -> Result<Connection, StateError> {
    remove(path)?;
    let failed = |error| StateError::database(path, "cannot make it", error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection
        .execute_batch(&format!(
            "PRAGMA page_size = {PAGE_SIZE}; PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;"
        ))
        .map_err(failed)?;
    schema::migrate(&mut connection, path)?;
    Ok(connection)
}

pub(super) fn remove(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::write(path, error))
        }
        _ => Ok(()),
    }
}

fn begin_run(connection: &Connection) -> rusqlite::Result<CurrentRun> {
    let next = "SELECT coalesce(max(id), 0) + 1 FROM runs";
    let id = connection.query_row(next, (), |row| row.get(0))?;
    let started = rows::nanoseconds(Timestamp::now());
    let run = CurrentRun { id, started, pid: i64::from(std::process::id()) };
    let cells = rows::run_cells(run.id, run.started, run.pid, None);
    insert(connection, &RUNS, &RUNS.insert("INSERT"), &cells)?;
    Ok(run)
}

/// Some bytes are wrong: what they belong to decides whether the gateway can go on.
fn examine_whole(
    connection: &Connection,
    path: &Path,
    raw: &RawCheck,
    recovered: &mut Recovered,
) -> Result<(), StateError> {
    let found = examine(connection);
    if !found.structure.is_empty() {
        return Err(damaged(path, &found.structure));
    }
    for damage in found.broken_rows.into_iter().chain(raw.damaged.iter().cloned()) {
        if !recovered.damaged.contains(&damage) {
            recovered.damaged.push(damage);
        }
    }
    Ok(())
}

fn damaged(path: &Path, damaged: &[Damage]) -> StateError {
    let first = damaged.first().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let more = damaged.len().saturating_sub(1);
    let reason = if more == 0 { first } else { format!("{first} (and {more} more)") };
    StateError::Damaged { path: path.to_owned(), reason }
}
