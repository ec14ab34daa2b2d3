//! The tables, and the way from each version of them to the next.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::StateError;

/// A table as the checksums see it: its key columns come first, `sum` comes last and is not listed.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
    /// How many of the columns are the key.
    pub(super) keys: usize,
    /// The schema version that brought it.
    pub(super) since: usize,
}

pub(super) const RUNS: Table = Table {
    name: "runs",
    columns: &["id", "started", "ended", "pid", "trigger", "outcome", "report"],
    keys: 1,
    since: 1,
};

pub(super) const ORDERS: Table = Table {
    name: "orders",
    columns: &[
        "client_id",
        "exchange",
        "instrument",
        "side",
        "kind",
        "price",
        "time_in_force",
        "quantity",
        "on_shutdown",
        "reduce_only",
        "status",
        "open",
        "filled",
        "booked",
        "exchange_id",
        "reason",
        "created",
        "updated",
        "run",
    ],
    keys: 1,
    since: 1,
};

pub(super) const TRANSITIONS: Table = Table {
    name: "transitions",
    columns: &["client_id", "seq", "status", "filled", "reason", "at", "run"],
    keys: 2,
    since: 1,
};

pub(super) const FILLS: Table = Table {
    name: "fills",
    columns: &[
        "exchange",
        "instrument",
        "fill_id",
        "client_id",
        "price",
        "quantity",
        "fee_asset",
        "fee_amount",
        "liquidity",
        "time",
        "run",
    ],
    // Both sides of a trade with oneself have its number.
    keys: 4,
    since: 1,
};

pub(super) const POSITIONS: Table = Table {
    name: "positions",
    columns: &[
        "instrument",
        "currency",
        "quantity",
        "entry",
        "realized",
        "fees",
        "other_fees",
        "bought",
        "sold",
        "updated",
        "day",
        "day_net",
        "day_unrealized",
        "run",
    ],
    keys: 1,
    since: 2,
};

pub(super) const LAST_TICKS: Table = Table {
    name: "last_ticks",
    columns: &[
        "instrument",
        "kind",
        "exchange_time",
        "received",
        "price",
        "quantity",
        "taker_side",
        "trade_id",
        "bid",
        "bid_quantity",
        "ask",
        "ask_quantity",
        "count",
        "run",
    ],
    keys: 2,
    since: 1,
};

pub(super) const DAMAGED_ROWS: Table = Table {
    name: "damaged_rows",
    columns: &["id", "origin", "key", "content", "reason", "found"],
    keys: 1,
    since: 1,
};

pub(super) const TABLES: [&Table; 7] =
    [&RUNS, &ORDERS, &TRANSITIONS, &FILLS, &POSITIONS, &LAST_TICKS, &DAMAGED_ROWS];

impl Table {
    pub(super) fn select(&self) -> String {
        format!("SELECT {}, sum FROM {}", self.columns.join(", "), self.name)
    }

    /// `verb` is `INSERT`, `INSERT OR REPLACE` or `INSERT OR IGNORE`.
    pub(super) fn insert(&self, verb: &str) -> String {
        let marks = vec!["?"; self.columns.len() + 1].join(", ");
        format!("{verb} INTO {} ({}, sum) VALUES ({marks})", self.name, self.columns.join(", "))
    }

    pub(super) fn key_order(&self, descending: bool) -> String {
        let direction = if descending { " DESC" } else { "" };
        let keys: Vec<_> =
            self.columns[..self.keys].iter().map(|key| format!("{key}{direction}")).collect();
        format!(" ORDER BY {}", keys.join(", "))
    }
}

/// `MIGRATIONS[n]` leads from version n to n + 1. Never edit one that was released. Money is the
/// exact decimal as text, times are nanoseconds since 1970 in UTC.
const MIGRATIONS: &[&str] = &["
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, started INTEGER NOT NULL, ended INTEGER, pid INTEGER NOT NULL,
    trigger TEXT, outcome TEXT, report TEXT, sum INTEGER NOT NULL
) STRICT;
CREATE TABLE orders (
    client_id TEXT NOT NULL PRIMARY KEY, exchange TEXT NOT NULL, instrument TEXT NOT NULL,
    side TEXT NOT NULL, kind TEXT NOT NULL, price TEXT, time_in_force TEXT,
    quantity TEXT NOT NULL, on_shutdown TEXT NOT NULL, reduce_only INTEGER NOT NULL,
    status TEXT NOT NULL, open INTEGER NOT NULL, filled TEXT NOT NULL, booked TEXT NOT NULL, exchange_id TEXT,
    reason TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL, run INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_open ON orders (client_id) WHERE open = 1;
CREATE TABLE transitions (
    client_id TEXT NOT NULL, seq INTEGER NOT NULL, status TEXT NOT NULL, filled TEXT NOT NULL,
    reason TEXT, at INTEGER NOT NULL, run INTEGER NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY (client_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE fills (
    exchange TEXT NOT NULL, instrument TEXT NOT NULL, fill_id TEXT NOT NULL,
    client_id TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, fee_asset TEXT,
    fee_amount TEXT, liquidity TEXT, time INTEGER, run INTEGER NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY (exchange, instrument, fill_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fills_of_order ON fills (client_id);
CREATE TABLE last_ticks (
    instrument TEXT NOT NULL, kind TEXT NOT NULL, exchange_time INTEGER,
    received INTEGER NOT NULL, price TEXT, quantity TEXT, taker_side TEXT, trade_id TEXT,
    bid TEXT, bid_quantity TEXT, ask TEXT, ask_quantity TEXT, count INTEGER NOT NULL,
    run INTEGER NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (instrument, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE damaged_rows (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, key TEXT NOT NULL, content TEXT,
    reason TEXT NOT NULL, found INTEGER NOT NULL, sum INTEGER NOT NULL
) STRICT;
", "
CREATE TABLE positions (
    instrument TEXT NOT NULL PRIMARY KEY, currency TEXT NOT NULL, quantity TEXT NOT NULL,
    entry TEXT, realized TEXT NOT NULL, fees TEXT NOT NULL, other_fees TEXT NOT NULL,
    bought TEXT NOT NULL, sold TEXT NOT NULL, updated INTEGER NOT NULL, day TEXT, day_net TEXT,
    day_unrealized TEXT, run INTEGER NOT NULL, sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE wider_fills (
    exchange TEXT NOT NULL, instrument TEXT NOT NULL, fill_id TEXT NOT NULL,
    client_id TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, fee_asset TEXT,
    fee_amount TEXT, liquidity TEXT, time INTEGER, run INTEGER NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY (exchange, instrument, fill_id, client_id)
) STRICT, WITHOUT ROWID;
INSERT INTO wider_fills SELECT * FROM fills;
DROP TABLE fills;
ALTER TABLE wider_fills RENAME TO fills;
CREATE INDEX fills_of_order ON fills (client_id);
"];

/// Brings the schema to the newest version, one transaction a step.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    migrate_with(connection, path, MIGRATIONS)
}

fn migrate_with(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StateError> {
    let refused = |error| StateError::database(path, "cannot bring the schema up to date", error);
    let found = version(connection).map_err(refused)?;
    refuse_above(path, found, migrations.len())?;
    for (version, sql) in migrations.iter().enumerate().skip(found) {
        let transaction = connection.transaction().map_err(refused)?;
        transaction.execute_batch(sql).map_err(refused)?;
        transaction
            .pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX - 1) + 1)
            .map_err(refused)?;
        transaction.commit().map_err(refused)?;
    }
    Ok(())
}

/// The tables that a database has or ought to have: one that came with a later version than its own
/// is not missed. Whatever cannot be found out speaks for the table.
pub(super) fn tables(connection: &Connection) -> impl Iterator<Item = &'static Table> {
    let version = version(connection).unwrap_or(usize::MAX).max(1);
    TABLES.into_iter().filter(move |table| table.since <= version || exists(connection, table))
}

fn exists(connection: &Connection, table: &Table) -> bool {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?";
    let found = connection.query_row(sql, [table.name], |row| row.get::<_, i64>(0));
    found.map_or(true, |count| count > 0)
}

/// The schema version of a database; 0 is an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Refuses a version that this gateway does not know.
pub(super) fn refuse_newer(path: &Path, found: usize) -> Result<(), StateError> {
    refuse_above(path, found, MIGRATIONS.len())
}

fn refuse_above(path: &Path, found: usize, known: usize) -> Result<(), StateError> {
    if found > known {
        return Err(StateError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Whether SQLite says that the file itself is broken.
pub(super) fn is_malformed(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_schema_moves_forward_and_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("gateway.db");
        migrate(&mut connection, path).unwrap();
        let sql = "INSERT INTO runs (id, started, pid, sum) VALUES (7, 1, 2, 3)";
        connection.execute(sql, ()).unwrap();
        let next: Vec<&str> =
            MIGRATIONS.iter().copied().chain(["ALTER TABLE runs ADD COLUMN host TEXT"]).collect();
        migrate_with(&mut connection, path, &next).unwrap();
        let id: i64 = connection
            .query_row("SELECT id FROM runs WHERE host IS NULL", (), |row| row.get(0))
            .unwrap();
        assert_eq!(id, 7);
        let error = migrate(&mut connection, path).unwrap_err().to_string();
        assert!(error.contains("newer") && error.contains("gateway.db"), "{error}");
    }

    #[test]
    fn the_listed_columns_are_the_tables_columns() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("gateway.db")).unwrap();
        for table in TABLES {
            let statement = connection.prepare(&format!("SELECT * FROM {}", table.name)).unwrap();
            let mut expected = table.columns.to_vec();
            expected.push("sum");
            assert_eq!(statement.column_names().collect::<Vec<_>>(), expected, "{}", table.name);
        }
    }
}
