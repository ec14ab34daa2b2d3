//! Reads a state database beside a running gateway, or after it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::examine::read_table;
use super::pages::DATABASE;
use super::recovered::{collect, last_ticks};
use super::rows::{self, RunSummary};
use super::schema::{self, FILLS, ORDERS, POSITIONS, RUNS};
use super::verify::require_database;
use super::{BookedFill, Damage, StateError};
use crate::market::LastTick;
use crate::types::{ClientOrderId, Instrument, Order, Position, Side};

/// A look at a state database. It takes no lock and never delays the gateway that writes it.
#[derive(Debug)]
pub struct StateView {
    connection: Connection,
    path: std::path::PathBuf,
}

/// Rows, and what is broken among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewed<T> {
    /// The sound rows, newest first where they have a time.
    pub rows: Vec<T>,
    /// Rows that are not as they were written.
    pub damaged: Vec<Damage>,
}

impl StateView {
    /// Opens the database of a state directory.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        require_database(directory)?;
        let path = directory.join(DATABASE);
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(Duration::from_secs(1))?;
            // Only the gateway writes to the file: the page checksums depend on it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let version = schema::version(&connection)?;
            Ok((connection, version))
        };
        let (connection, version) =
            open().map_err(|error| StateError::database(&path, "cannot open it", error))?;
        schema::refuse_newer(&path, version)?;
        Ok(Self { connection, path })
    }

    /// The newest orders, at most `limit`; with `open_only`, of those that have not ended or
    /// lack single fills.
    pub fn orders(&self, limit: usize, open_only: bool) -> Result<Viewed<Order>, StateError> {
        let only = if open_only { " INDEXED BY orders_open WHERE open = 1" } else { "" };
        self.newest(
            &ORDERS,
            &format!("{only} ORDER BY created DESC, client_id DESC"),
            limit,
            rows::order,
        )
    }

    /// The greatest client id among the orders whose ids begin with `tag`, damaged rows included.
    pub fn newest_id(&self, tag: &str) -> Result<Option<ClientOrderId>, StateError> {
        // Letters and digits all come before the brace.
        let sql = "SELECT max(client_id) FROM orders WHERE client_id >= ? AND client_id < ? || '{'";
        let newest: Option<String> = self
            .connection
            .query_row(sql, params![tag, tag], |row| row.get(0))
            .map_err(|error| self.failed(error))?;
        Ok(newest.and_then(|id| id.parse().ok()))
    }

    /// The newest fills, at most `limit`.
    pub fn fills(&self, limit: usize) -> Result<Viewed<BookedFill>, StateError> {
        self.newest(&FILLS, " ORDER BY time DESC, fill_id DESC", limit, rows::fill)
    }

    /// Every position, by the instruments' names.
    pub fn positions(&self) -> Result<Viewed<Position>, StateError> {
        let (mut rows, mut damaged) = (Vec::new(), Vec::new());
        if schema::tables(&self.connection).any(|table| table.name == POSITIONS.name) {
            let by_name = " ORDER BY instrument";
            let decode = rows::position;
            collect(&self.connection, &POSITIONS, by_name, (), &mut damaged, &mut rows, decode)
                .map_err(|error| self.failed(error))?;
        }
        Ok(Viewed { rows, damaged })
    }

    /// Hands over every fill of an instrument with the side of its order, the oldest first; those
    /// without a time go by when their order was placed. Tells what is broken: a fill of an order
    /// that cannot be read has no side and is not handed over either.
    pub fn for_each_fill(
        &self,
        instrument: Instrument,
        mut each: impl FnMut(Side, BookedFill),
    ) -> Result<Vec<Damage>, StateError> {
        let mut damaged = Vec::new();
        // Ids are numbers on some exchanges, and longer numbers are later.
        let by_time = " WHERE exchange = ?1 AND instrument = ?2 ORDER BY coalesce(time, (SELECT \
             created FROM orders WHERE orders.client_id = fills.client_id)), length(fill_id), fill_id";
        let of = params![instrument.exchange().as_str(), instrument.as_str()];
        let mut sides: HashMap<ClientOrderId, Option<Side>> = HashMap::new();
        let mut failed = None;
        read_table(&self.connection, &FILLS, by_time, of, |row| {
            let cells = match row {
                Ok(cells) => cells,
                Err(broken) => return damaged.push(broken.damage),
            };
            let key = || rows::key_text(&cells[..FILLS.keys]);
            let booked = match rows::fill(cells) {
                Ok(booked) => booked,
                Err(reason) => return damaged.push(Damage::row(FILLS.name, key(), reason)),
            };
            let id = booked.client_id;
            let side = sides.entry(id).or_insert_with(|| {
                self.side(id).unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    None
                })
            });
            match side {
                Some(side) => each(*side, booked),
                None => {
                    damaged.push(Damage::row(FILLS.name, key(), "its order cannot be read"));
                }
            }
        })
        .map_err(|error| self.failed(error))?;
        failed.map_or(Ok(damaged), Err)
    }

    /// The side of an order, if it can be read.
    fn side(&self, id: ClientOrderId) -> Result<Option<Side>, StateError> {
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        let of = params![id.as_str()];
        let rest = " WHERE client_id = ?";
        collect(&self.connection, &ORDERS, rest, of, &mut damaged, &mut found, rows::order)
            .map_err(|error| self.failed(error))?;
        Ok(found.first().map(|order| order.request.side))
    }

    /// The newest runs, at most `limit`.
    pub fn runs(&self, limit: usize) -> Result<Viewed<RunSummary>, StateError> {
        self.newest(&RUNS, " ORDER BY id DESC", limit, rows::run)
    }

    /// One run by its number.
    pub fn run(&self, id: i64) -> Result<Viewed<RunSummary>, StateError> {
        self.selected(&RUNS, " WHERE id = ?", params![id], rows::run)
    }

    /// The newest run that has a report.
    pub fn last_reported_run(&self) -> Result<Viewed<RunSummary>, StateError> {
        let rest = " WHERE length(report) > 0 ORDER BY id DESC LIMIT 1";
        self.selected(&RUNS, rest, params![], rows::run)
    }

    /// The last ticks, by the instruments' names.
    pub fn last_ticks(&self) -> Result<Viewed<LastTick>, StateError> {
        let mut damaged = Vec::new();
        let rows =
            last_ticks(&self.connection, &mut damaged).map_err(|error| self.failed(error))?;
        Ok(Viewed { rows, damaged })
    }

    fn newest<T>(
        &self,
        table: &schema::Table,
        order: &str,
        limit: usize,
        decode: impl Fn(&[super::checksum::Cell<'_>]) -> Result<T, String>,
    ) -> Result<Viewed<T>, StateError> {
        let limit = params![i64::try_from(limit).unwrap_or(i64::MAX)];
        self.selected(table, &format!("{order} LIMIT ?"), limit, decode)
    }

    fn selected<T>(
        &self,
        table: &schema::Table,
        rest: &str,
        parameters: impl rusqlite::Params,
        decode: impl Fn(&[super::checksum::Cell<'_>]) -> Result<T, String>,
    ) -> Result<Viewed<T>, StateError> {
        let (mut rows, mut damaged) = (Vec::new(), Vec::new());
        collect(&self.connection, table, rest, parameters, &mut damaged, &mut rows, decode)
            .map_err(|error| self.failed(error))?;
        Ok(Viewed { rows, damaged })
    }

    fn failed(&self, error: rusqlite::Error) -> StateError {
        StateError::database(&self.path, "cannot read it", error)
    }
}
