//! What a run could not write into the database is in a file beside it, and is taken in by the next.
//!
//! A file may be taken in twice, should the process die in between, and the orders in it may have
//! gone on in the meantime: only what is newer than the database's own is taken.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use rust_decimal::Decimal;
use serde::Serialize;

use super::checksum::Cell;
use super::directory::sync_directory;
use super::queue::Item;
use super::record::{BookedFill, Record};
use super::recovered::{collect, last_ticks};
use super::schema::{ORDERS, POSITIONS, RUNS};
use super::writer::{CurrentRun, WriterThread};
use super::{StateError, rows};
use crate::market::LastTick;
use crate::types::{Instrument, Order, Position};

const PREFIX: &str = "emergency-";
const SUFFIX: &str = ".jsonl";
/// What is added to the name of a file that has been taken in.
const TAKEN: &str = ".imported";
/// Files that were taken in under one name.
const TAKEN_MAX: u32 = 1000;
/// Lines that are named one by one.
const NAMED: usize = 20;

/// An emergency file that a start found beside the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmergencyFile {
    /// The file, under the name that it has now: one that was taken in ends with `.imported`.
    pub file: PathBuf,
    /// Records in it that can be read.
    pub records: usize,
    /// Those of them that the database did not have, or only older.
    pub taken: usize,
    /// What could not be read or taken in, by line, in words. At most 20.
    pub problems: Vec<String>,
}

/// The name of an emergency file.
pub(super) fn name(run: i64, process: u32, number: u32) -> String {
    let more = if number > 1 { format!("-{number}") } else { String::new() };
    format!("{PREFIX}run{run}-{process}{more}{SUFFIX}")
}

/// The run and the process that a file's name tells.
fn origin(name: &str) -> Option<(i64, i64)> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let mut parts = rest.strip_prefix("run")?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Takes in every emergency file of a directory, in the order in which they were written.
pub(super) fn take_in(
    directory: &Path,
    mut connection: Connection,
) -> Result<(Connection, Vec<EmergencyFile>), StateError> {
    let mut found = Vec::new();
    for path in files(directory).map_err(|error| StateError::read(directory, &error))? {
        let mut file = EmergencyFile { file: path, records: 0, taken: 0, problems: Vec::new() };
        connection = take_in_one(connection, &mut file)?;
        found.push(file);
    }
    Ok((connection, found))
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) && entry.file_type()?.is_file() {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

fn take_in_one(connection: Connection, file: &mut EmergencyFile) -> Result<Connection, StateError> {
    let records = match read(file) {
        Ok(records) => records,
        Err(error) => {
            file.problems.push(format!("it cannot be read and is left as it is: {error}"));
            return Ok(connection);
        }
    };
    let path = file.file.clone();
    let failed = |error| StateError::database(&path, "cannot take its records in", error);
    let run = run_of(&connection, &file.file).map_err(failed)?;
    let mut items = Vec::new();
    let mut positions = Continued::default();
    for mut record in records {
        if is_news(&connection, run, &record).map_err(failed)? {
            if let Record::Fill(booked) = &mut record {
                positions.follow(&connection, booked).map_err(failed)?;
            }
            items.push(Item { record: Some(Arc::new(record)), then: None });
        }
    }
    file.taken = items.len();
    // Rows need a run even where the file's name does not tell one.
    let nobody = CurrentRun { id: 0, started: 0, pid: 0 };
    let mut writer = WriterThread::new(connection, run.unwrap_or(nobody));
    if !items.is_empty() {
        writer.write(&items).map_err(failed)?;
    }
    let connection = writer.into_connection();
    positions.forget_broken_off(&connection).map_err(failed)?;
    match put_away(&file.file) {
        Ok(path) => file.file = path,
        Err(error) => file.problems.push(format!("it cannot be renamed: {error}")),
    }
    Ok(connection)
}

/// Reads what is readable; the rest is named.
fn read(file: &mut EmergencyFile) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut unread = 0_usize;
    let lines = BufReader::new(File::open(&file.file)?).split(b'\n');
    for (number, line) in (1..).zip(lines) {
        match serde_json::from_slice(&line?) {
            Ok(record) => records.push(record),
            Err(error) => {
                unread += 1;
                if unread < NAMED {
                    file.problems.push(format!("line {number} is no record: {error}"));
                } else if unread == NAMED {
                    file.problems.push(format!("line {number} and others are no records"));
                }
            }
        }
    }
    file.records = records.len();
    Ok(records)
}

/// The run that wrote the file, if the database knows it and that it has not ended.
fn run_of(connection: &Connection, path: &Path) -> rusqlite::Result<Option<CurrentRun>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((id, pid)) = origin(&name) else { return Ok(None) };
    let sql = "SELECT started FROM runs WHERE id = ? AND pid = ?";
    let started = connection.query_row(sql, params![id, pid], |row| row.get(0)).optional()?;
    Ok(started.map(|started| CurrentRun { id, started, pid }))
}

/// Whether the database does not know that yet.
fn is_news(
    connection: &Connection,
    run: Option<CurrentRun>,
    record: &Record,
) -> rusqlite::Result<bool> {
    match record {
        Record::Order(order) => {
            let known =
                one(connection, &ORDERS, "client_id", order.client_id.as_str(), rows::order)?;
            Ok(known.is_none_or(|known| is_newer(order, &known)))
        }
        Record::Fill(booked) => {
            let sql = "SELECT 1 FROM fills WHERE exchange = ? AND instrument = ? AND fill_id = ? \
                       AND client_id = ?";
            let instrument = booked.instrument;
            let (exchange, fill) = (instrument.exchange(), booked.fill.fill_id.as_str());
            let order = booked.client_id.as_str();
            let key = params![exchange.as_str(), instrument.as_str(), fill, order];
            Ok(connection.query_row(sql, key, |_| Ok(())).optional()?.is_none())
        }
        Record::Position(position) => {
            let name = position.instrument.as_str();
            let known = one(connection, &POSITIONS, "instrument", name, rows::position)?;
            Ok(known.is_none_or(|known| turnover(position) >= turnover(&known)))
        }
        Record::Ticks { ticks } => {
            let known = last_ticks(connection, &mut Vec::new())?;
            Ok(ticks.iter().any(|last| is_later(last, &known)))
        }
        Record::RunEnded(_) => {
            let Some(run) = run else { return Ok(false) };
            let known = one(connection, &RUNS, "id", run.id, rows::run)?;
            Ok(known.is_some_and(|known| known.ended.is_none()))
        }
    }
}

/// The positions that the fills of a file make, as long as each goes on from the one before.
#[derive(Default)]
struct Continued {
    /// What was bought and sold until here; none where another run has traded in the meantime.
    turnover: BTreeMap<Instrument, Option<Decimal>>,
}

impl Continued {
    /// Takes the position out of a fill that does not go on from what is known.
    fn follow(&mut self, connection: &Connection, booked: &mut BookedFill) -> rusqlite::Result<()> {
        let instrument = booked.instrument;
        let before = if let Some(before) = self.turnover.get(&instrument) {
            *before
        } else {
            let name = instrument.as_str();
            let known = one(connection, &POSITIONS, "instrument", name, rows::position)?;
            Some(known.as_ref().map_or(Decimal::ZERO, turnover))
        };
        let after = booked.position.as_ref().map(turnover);
        let goes_on = before
            .and_then(|before| before.checked_add(booked.fill.quantity.0))
            .is_some_and(|sum| after == Some(sum));
        if !goes_on {
            booked.position = None;
        }
        self.turnover.insert(instrument, after.filter(|_| goes_on));
        Ok(())
    }

    /// Removes the positions that lack a fill: the start sums them up anew.
    fn forget_broken_off(self, connection: &Connection) -> rusqlite::Result<()> {
        for (instrument, _) in self.turnover.iter().filter(|(_, turnover)| turnover.is_none()) {
            let sql = "DELETE FROM positions WHERE instrument = ?";
            connection.execute(sql, params![instrument.as_str()])?;
        }
        Ok(())
    }
}

/// Only grows.
fn turnover(position: &Position) -> Decimal {
    position.bought.saturating_add(position.sold)
}

/// A later run may have settled the order; its own file tells its changes one after the other, some
/// of them within a moment.
fn is_newer(order: &Order, known: &Order) -> bool {
    if known.status.is_terminal() && !order.status.is_terminal() {
        return false;
    }
    let change = |order: &Order| (order.updated, order.filled, order.booked);
    change(order) >= change(known) && order != known
}

fn is_later(last: &LastTick, known: &[LastTick]) -> bool {
    let received = |last: &LastTick| [last.trade, last.quote].map(|t| t.map(|tick| tick.received));
    let known = known.iter().find(|known| known.instrument == last.instrument);
    known.is_none_or(|known| {
        received(last).into_iter().zip(received(known)).all(|(new, old)| new >= old)
    })
}

fn one<T>(
    connection: &Connection,
    table: &super::schema::Table,
    key: &str,
    value: impl rusqlite::ToSql,
    decode: impl Fn(&[Cell<'_>]) -> Result<T, String>,
) -> rusqlite::Result<Option<T>> {
    let mut found = Vec::new();
    let of_key = format!(" WHERE {key} = ?");
    collect(connection, table, &of_key, params![value], &mut Vec::new(), &mut found, decode)?;
    Ok(found.pop())
}

/// Renames a file that has been taken in; it is kept.
fn put_away(path: &Path) -> io::Result<PathBuf> {
    for number in 1..TAKEN_MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(TAKEN);
        if number > 1 {
            name.push(format!("-{number}"));
        }
        let taken = PathBuf::from(name);
        if !taken.exists() {
            std::fs::rename(path, &taken)?;
            sync_directory(path.parent().unwrap_or_else(|| Path::new(".")))?;
            return Ok(taken);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::super::{Database, Durability, Recovered, RunEnd, StateDirectory};
    use super::*;
    use crate::types::{Fill, NewOrder, OrderStatus, Quantity, Side, Timestamp};

    fn order(status: OrderStatus, second: i64, filled: &str) -> Order {
        let instrument = "kraken:BTC-USD".parse().unwrap();
        let (price, quantity) = ("5".parse().unwrap(), "10".parse().unwrap());
        Order {
            client_id: "gw1".parse().unwrap(),
            exchange_id: None,
            request: NewOrder::limit(instrument, Side::Buy, price, quantity),
            status,
            filled: filled.parse().unwrap(),
            booked: filled.parse().unwrap(),
            reason: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::from_second(second).unwrap(),
        }
    }

    fn fill() -> Record {
        let fill = Fill {
            fill_id: "T1".into(),
            price: "5".parse().unwrap(),
            quantity: "10".parse().unwrap(),
            fee: None,
            liquidity: None,
            time: None,
        };
        let (client_id, instrument) = ("gw1".parse().unwrap(), "kraken:BTC-USD".parse().unwrap());
        Record::fill(client_id, instrument, fill)
    }

    fn ended() -> Record {
        Record::RunEnded(Box::new(RunEnd {
            ended: Timestamp::from_second(9).unwrap(),
            trigger: "SIGTERM".into(),
            outcome: "state_not_saved".into(),
            report: "{}".into(),
        }))
    }

    fn write(path: &Path, records: &[Record]) {
        let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
        std::fs::write(path, lines.collect::<String>()).unwrap();
    }

    fn open(directory: &Path) -> (Database, Recovered) {
        let directory = StateDirectory::open(directory).unwrap();
        Database::open(&directory, Durability::Process).unwrap()
    }

    #[test]
    fn what_a_run_could_not_write_is_taken_in_by_the_next_once() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let (database, _) = open(path);
        let writer = database.writer();
        writer.record(Record::order(order(OrderStatus::Open, 1, "0")));
        let name = writer.emergency_name(1);
        database.close().unwrap();
        let records = [
            Record::order(order(OrderStatus::PartiallyFilled, 2, "3")),
            // At the same moment.
            Record::order(order(OrderStatus::Filled, 2, "10")),
            fill(),
            ended(),
        ];
        write(&path.join(&name), &records);
        let copy = std::fs::read(path.join(&name)).unwrap();

        let (database, recovered) = open(path);
        let taken = path.join(format!("{name}{TAKEN}"));
        let expected = EmergencyFile { file: taken, records: 4, taken: 4, problems: Vec::new() };
        assert_eq!(recovered.emergency, [expected]);
        assert_eq!(recovered.orders, [], "the order has ended");
        let last = recovered.last_gateway.unwrap();
        assert_eq!((last.id, last.outcome.as_deref()), (1, Some("state_not_saved")));
        database.close().unwrap();

        // As if the process had died before it could rename the file.
        std::fs::write(path.join(&name), copy).unwrap();
        let (database, recovered) = open(path);
        let again = &recovered.emergency[0];
        // The fill is there already.
        assert_eq!((again.records, again.taken, again.problems.len()), (4, 0, 0), "{again:?}");
        database.close().unwrap();
        assert!(super::super::verify(path).unwrap().is_sound());
    }

    /// A fill with the position that the gateway had after it.
    fn booked(id: &str, quantity: i64, bought_after: i64) -> Record {
        let Record::Fill(mut booked) = fill() else { unreachable!("it is a fill") };
        booked.fill.fill_id = id.into();
        booked.fill.quantity = Quantity(quantity.into());
        let mut position = Position::empty(booked.instrument, "USD");
        position.bought = bought_after.into();
        position.quantity = position.bought;
        booked.position = Some(position);
        Record::Fill(booked)
    }

    #[test]
    fn a_position_goes_on_from_the_stored_one_or_is_summed_up_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let (database, _) = open(temporary.path());
        let file = temporary.path().join(name(database.run(), std::process::id(), 1));
        let writer = database.writer();
        writer.record(Record::order(order(OrderStatus::PartiallyFilled, 1, "2")));
        writer.record(booked("T1", 2, 2));
        database.close().unwrap();

        write(&file, &[booked("T2", 3, 5), booked("T3", 1, 6)]);
        let (database, recovered) = open(temporary.path());
        assert_eq!(recovered.positions[0].bought, Decimal::from(6));
        assert_eq!(recovered.unsummed, Vec::new());
        database.close().unwrap();

        // It was written by a run that knew nothing of T2 and T3.
        write(&file, &[booked("T4", 4, 6), booked("T1", 2, 2)]);
        let (database, recovered) = open(temporary.path());
        assert_eq!(recovered.positions, Vec::new());
        assert_eq!(recovered.unsummed, ["kraken:BTC-USD".parse().unwrap()]);
        database.close().unwrap();
    }

    #[test]
    fn a_run_that_has_gone_on_since_is_not_taken_back() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let (database, _) = open(path);
        let writer = database.writer();
        writer.record(Record::order(order(OrderStatus::Canceled, 5, "3")));
        writer.record(ended());
        let name = writer.emergency_name(1);
        database.close().unwrap();
        write(
            &path.join(name),
            &[
                Record::order(order(OrderStatus::Open, 6, "0")),
                Record::order(order(OrderStatus::Filled, 2, "10")),
                ended(),
            ],
        );
        let (database, recovered) = open(path);
        assert_eq!(recovered.emergency[0].taken, 0);
        assert_eq!(recovered.orders, []);
        database.close().unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_is_taken_in() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let record =
            serde_json::to_string(&Record::order(order(OrderStatus::Open, 1, "0"))).unwrap();
        let torn = &record[..record.len() / 2];
        let text = format!("{record}\n\x00?\n{torn}");
        std::fs::write(path.join("emergency-77.jsonl"), text).unwrap();
        std::fs::write(path.join("emergency-notes.txt"), "left alone").unwrap();
        let (database, recovered) = open(path);
        let file = &recovered.emergency[0];
        assert_eq!((file.records, file.taken, file.problems.len()), (1, 1, 2), "{file:?}");
        assert!(file.problems[0].starts_with("line 2 is no record"), "{file:?}");
        assert!(file.problems[1].starts_with("line 3 is no record"), "{file:?}");
        assert_eq!(recovered.orders[0].order.filled, Quantity::ZERO);
        database.close().unwrap();
        assert!(path.join("emergency-notes.txt").exists());
        let (_database, recovered) = open(path);
        assert_eq!(recovered.emergency, []);
    }
}
