//! Reads rows with their checksums compared: every reading of the database goes through here.

use std::collections::BTreeMap;

use rusqlite::{Connection, Params, Row};
use serde_json::Value;

use super::Damage;
use super::checksum::{Cell, row_checksum};
use super::rows::key_text;
use super::schema::{self, Table};

/// Broken rows and faults of the structure that are named one by one.
const NAMED: usize = 1_000;

/// A row that is not what was written.
pub(super) struct BrokenRow {
    pub(super) damage: Damage,
    /// Its columns as far as they are readable, as JSON.
    pub(super) content: String,
}

/// Hands every row to `each`, sound or broken, and tells how many there were. An error is one of
/// SQLite's; the rows before it have been handed over.
pub(super) fn read_table<P: Params>(
    connection: &Connection,
    table: &Table,
    rest: &str,
    parameters: P,
    mut each: impl FnMut(Result<&[Cell<'_>], BrokenRow>),
) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(&(table.select() + rest))?;
    let mut rows = statement.query(parameters)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        match read_row(table, row) {
            Ok(cells) => each(Ok(&cells)),
            Err(reason) => each(Err(broken_row(table, row, reason))),
        }
    }
    Ok(count)
}

fn read_row<'r>(table: &Table, row: &'r Row<'_>) -> Result<Vec<Cell<'r>>, &'static str> {
    let mut cells = Vec::with_capacity(table.columns.len());
    for index in 0..table.columns.len() {
        let value = row.get_ref(index).map_err(|_| "a column is missing")?;
        cells.push(Cell::read(value).ok_or("a column holds neither text nor a number")?);
    }
    let stored: Option<i64> = row.get(table.columns.len()).ok();
    if stored == Some(i64::from(row_checksum(table.name, &cells))) {
        Ok(cells)
    } else {
        Err("differs from its checksum")
    }
}

fn broken_row(table: &Table, row: &Row<'_>, reason: &str) -> BrokenRow {
    use rusqlite::types::ValueRef;
    let shown = |index: usize| match row.get_ref(index) {
        Ok(ValueRef::Integer(number)) => number.into(),
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            Value::String(String::from_utf8_lossy(bytes).into_owned())
        }
        Ok(ValueRef::Real(number)) => number.into(),
        Ok(ValueRef::Null) | Err(_) => Value::Null,
    };
    let names = table.columns.iter().copied().chain(["sum"]);
    let content: serde_json::Map<String, Value> =
        names.enumerate().map(|(index, name)| (name.to_owned(), shown(index))).collect();
    let keys: Vec<Cell<'_>> = (0..table.keys)
        .map(|index| match shown(index) {
            Value::String(text) => Cell::text(text),
            Value::Number(number) => Cell::text(number.to_string()),
            _ => Cell::Null,
        })
        .collect();
    let damage = Damage::row(table.name, key_text(&keys), reason);
    BrokenRow { damage, content: Value::Object(content).to_string() }
}

/// What SQLite and the row checksums say of a whole database.
#[derive(Debug, Default)]
pub(super) struct Examination {
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) broken_rows: Vec<Damage>,
    pub(super) structure: Vec<Damage>,
}

pub(super) fn examine(connection: &Connection) -> Examination {
    let mut found = Examination::default();
    if let Err(error) = check_structure(connection, &mut found.structure) {
        found.structure.push(Damage::structure("database", error.to_string()));
    }
    for table in schema::tables(connection) {
        let broken = &mut found.broken_rows;
        let read = read_table(connection, table, "", (), |row| {
            if let Err(row) = row
                && broken.len() < NAMED
            {
                broken.push(row.damage);
            }
        });
        match read {
            Ok(count) => {
                found.rows.insert(table.name.to_owned(), count);
            }
            Err(error) => found.structure.push(Damage::structure(table.name, error.to_string())),
        }
    }
    found
}

fn check_structure(connection: &Connection, faults: &mut Vec<Damage>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" && faults.len() < NAMED {
            faults.push(Damage::structure("database", line));
        }
    }
    Ok(())
}
