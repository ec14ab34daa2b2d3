//! Brings a damaged database back: everything that is readable goes on, everything that is not is
//! named, and the files as they were found are kept.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::checksum::Cell;
use super::directory::{replace_file, sync_directory};
use super::examine::{BrokenRow, read_table};
use super::handle::{create_at, finish, remove};
use super::image::{TemporaryFile, build, open_immutable};
use super::lock::DirectoryLock;
use super::pages::{DATABASE, LOG, PageSums, SUMS};
use super::rows::nanoseconds;
use super::schema::{self, DAMAGED_ROWS, Table};
use super::verify::{require_database, verify_locked};
use super::writer::insert;
use super::{Damage, StateError, VerifyReport};
use crate::types::Timestamp;

/// Exists while files are replaced, and names the folder that the found ones are kept in.
const MARKER: &str = "gateway.recovering";

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RecoverReport {
    /// What was found before.
    pub found: VerifyReport,
    /// Where the files are kept as they were found; `None` if nothing had to be done.
    pub kept: Option<PathBuf>,
    /// Rows that went on, by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows and stretches of tables that were moved to the table `damaged_rows`.
    pub set_aside: Vec<Damage>,
    /// Pages in which one byte was wrong and could be put right.
    pub repaired_pages: Vec<usize>,
}

/// Brings the database of a state directory back from damage: keeps a copy of the files, moves
/// broken rows to the table `damaged_rows` and goes on with the rest. Does nothing to a sound one.
/// Killed at any moment, it can be run again. Blocks.
///
/// # Errors
/// There is no database, a gateway uses it, or files cannot be written.
pub fn recover(directory: &Path) -> Result<RecoverReport, StateError> {
    if !directory.join(MARKER).exists() {
        require_database(directory)?;
    }
    let _lock = DirectoryLock::acquire(directory)?;
    let interrupted = put_back(directory)?;
    let found = verify_locked(directory)?;
    if found.is_sound() && !interrupted {
        return Ok(RecoverReport { found, ..RecoverReport::default() });
    }
    let kept = keep(directory)?;
    let path = directory.join(DATABASE);
    let image = TemporaryFile(directory.join("gateway.db-image"));
    let sums = PageSums::load(&directory.join(SUMS)).ok().flatten();
    let repaired_pages = build(directory, &image.0, sums.as_ref())
        .map_err(|source| StateError::write(&image.0, source))?;

    let draft = directory.join("gateway.db-recovered");
    let mut target = create_at(&draft)?;
    let mut report = RecoverReport {
        found,
        kept: Some(kept.clone()),
        repaired_pages,
        ..RecoverReport::default()
    };
    let copied = copy_tables(&image.0, &mut target, &mut report);
    copied.map_err(|error| StateError::database(&draft, "cannot write what was saved", error))?;
    finish(target, &draft)?;

    let failed = |source| StateError::write(&path, source);
    let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
    replace_file(&directory.join(MARKER), name.as_bytes()).map_err(failed)?;
    for name in [LOG, "gateway.db-shm"] {
        remove(&directory.join(name))?;
    }
    fs::rename(&draft, &path).map_err(failed)?;
    let sums = PageSums::of(&path).map_err(|error| StateError::read(&path, &error))?;
    sums.save(&directory.join(SUMS)).map_err(failed)?;
    sync_directory(directory).map_err(failed)?;
    remove(&directory.join(MARKER))?;
    Ok(report)
}

/// Refuses a directory in which a recovery was interrupted.
pub(super) fn refuse_interrupted(directory: &Path) -> Result<(), StateError> {
    if directory.join(MARKER).exists() {
        let path = directory.join(DATABASE);
        return Err(StateError::Damaged {
            path,
            reason: "its recovery was interrupted".to_owned(),
        });
    }
    Ok(())
}

/// Keeps a log that the next transaction would overwrite.
pub(super) fn keep_log(directory: &Path) -> Result<PathBuf, StateError> {
    let log = directory.join(LOG);
    let kept = directory.join(format!("{LOG}.torn-{}", file_time()));
    fs::copy(&log, &kept).map_err(|source| StateError::write(&kept, source))?;
    Ok(kept)
}

/// The time for a file name, to the microsecond, in UTC.
fn file_time() -> String {
    let now = Timestamp::now();
    format!("{now:.6}").replace(':', "")
}

/// Copies the files as they are into a new folder.
fn keep(directory: &Path) -> Result<PathBuf, StateError> {
    let folder = directory.join(format!("damaged-{}", file_time()));
    let failed = |source| StateError::write(&folder, source);
    fs::create_dir(&folder).map_err(failed)?;
    for name in [DATABASE, LOG, SUMS] {
        copy_if_present(&directory.join(name), &folder.join(name)).map_err(failed)?;
    }
    sync_directory(&folder).and_then(|()| sync_directory(directory)).map_err(failed)?;
    Ok(folder)
}

/// After an interrupted recovery: puts the files back as they were found.
fn put_back(directory: &Path) -> Result<bool, StateError> {
    let marker = directory.join(MARKER);
    let name = match fs::read_to_string(&marker) {
        Ok(name) => name,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StateError::read(&marker, &error)),
    };
    let folder = directory.join(name);
    if !folder.join(DATABASE).exists() {
        let reason = format!("it names {}, which holds no database", folder.display());
        return Err(StateError::Read { path: marker, reason });
    }
    for name in [DATABASE, LOG, SUMS] {
        let path = directory.join(name);
        remove(&path)?;
        copy_if_present(&folder.join(name), &path)
            .map_err(|source| StateError::write(&path, source))?;
    }
    Ok(true)
}

fn copy_if_present(from: &Path, to: &Path) -> io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::File::options().write(true).open(to)?.sync_all()
}

fn copy_tables(
    image: &Path,
    target: &mut Connection,
    report: &mut RecoverReport,
) -> rusqlite::Result<()> {
    let source = match open_immutable(image) {
        Ok(source) => source,
        Err(error) => {
            let damage = Damage::structure("database", error.to_string());
            set_aside(target, report, BrokenRow { damage, content: String::new() })?;
            return Ok(());
        }
    };
    let transaction = target.transaction()?;
    for table in schema::tables(&source) {
        copy_table(&source, &transaction, table, report)?;
    }
    transaction.commit()
}

/// Reads a table from its beginning up to where it cannot be read on, then from its end.
fn copy_table(
    source: &Connection,
    target: &Connection,
    table: &Table,
    report: &mut RecoverReport,
) -> rusqlite::Result<()> {
    let sql = table.insert("INSERT OR IGNORE");
    let mut failed = Ok(());
    let mut broken = Vec::new();
    let mut pass = |descending: bool| {
        // Without an order SQLite follows the table itself and needs nothing else to be readable.
        let rest = if descending { table.key_order(true) } else { String::new() };
        read_table(source, table, &rest, (), |row| match row {
            Ok(cells) => {
                if failed.is_ok() {
                    failed = insert(target, table, &sql, cells).map(drop);
                }
            }
            Err(row) => {
                if !broken.iter().any(|known: &BrokenRow| known.content == row.content) {
                    broken.push(row);
                }
            }
        })
    };
    let unreadable = pass(false).err();
    if unreadable.is_some() {
        // What this cannot read either is within the stretch that is named below.
        _ = pass(true);
    }
    failed?;
    for row in broken {
        set_aside(target, report, row)?;
    }
    if let Some(error) = unreadable {
        let reason = format!("a stretch of the table is unreadable: {error}");
        let damage = Damage::row(table.name, "?".to_owned(), reason);
        set_aside(target, report, BrokenRow { damage, content: String::new() })?;
    }
    let count = format!("SELECT count(*) FROM {}", table.name);
    let rows = target.query_row(&count, (), |row| row.get::<_, i64>(0))?;
    report.rows.insert(table.name.to_owned(), u64::try_from(rows).unwrap_or_default());
    Ok(())
}

fn set_aside(
    target: &Connection,
    report: &mut RecoverReport,
    row: BrokenRow,
) -> rusqlite::Result<()> {
    let next = "SELECT coalesce(max(id), 0) + 1 FROM damaged_rows";
    let id = target.query_row(next, (), |row| row.get(0))?;
    let cells = [
        Cell::Integer(id),
        Cell::text(row.damage.table.as_str()),
        Cell::text(row.damage.key.as_str()),
        Cell::text(row.content),
        Cell::text(row.damage.reason.as_str()),
        Cell::Integer(nanoseconds(Timestamp::now())),
    ];
    insert(target, &DAMAGED_ROWS, &DAMAGED_ROWS.insert("INSERT"), &cells)?;
    report.set_aside.push(row.damage);
    Ok(())
}
