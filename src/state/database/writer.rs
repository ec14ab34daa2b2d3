//! The thread that writes: one connection, one transaction a group.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::{Connection, params, params_from_iter};
use tracing::{error, info};

use super::checkpoint::Checkpoints;
use super::checksum::{Cell, row_checksum};
use super::examine::read_table;
use super::queue::{Item, Queue};
use super::record::{BookedFill, Record, WriteFailed};
use super::rows;
use super::schema::{FILLS, LAST_TICKS, ORDERS, POSITIONS, RUNS, TRANSITIONS, Table};
use crate::types::{ClientOrderId, Order, Position, Tick};

/// Items a transaction. More would make the first ones wait for little gain.
const GROUP: usize = 256;

/// The run that this process is.
#[derive(Debug, Clone, Copy)]
pub(super) struct CurrentRun {
    pub(super) id: i64,
    pub(super) started: i64,
    pub(super) pid: i64,
}

pub(super) struct WriterThread {
    connection: Connection,
    run: CurrentRun,
    statements: Statements,
    /// The next number in the history of each order that has not ended.
    sequences: HashMap<ClientOrderId, i64>,
}

struct Statements {
    order: String,
    transition: String,
    fill: String,
    position: String,
    tick: String,
    run: String,
}

impl WriterThread {
    pub(super) fn new(connection: Connection, run: CurrentRun) -> Self {
        let statements = Statements {
            order: ORDERS.insert("INSERT OR REPLACE"),
            transition: TRANSITIONS.insert("INSERT OR IGNORE"),
            // Exchanges repeat themselves: the first telling of a fill stands.
            fill: FILLS.insert("INSERT OR IGNORE"),
            position: POSITIONS.insert("INSERT OR REPLACE"),
            tick: LAST_TICKS.insert("INSERT OR REPLACE"),
            run: RUNS.insert("INSERT OR REPLACE"),
        };
        Self { connection, run, statements, sequences: HashMap::new() }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Arc<Queue>, checkpoints: &Arc<Checkpoints>) {
        let _end = EndOnDrop(queue);
        let mut group = Group { items: Vec::new(), queue };
        while queue.take(&mut group.items, GROUP) {
            let result = if let Some(failure) = queue.failure() {
                Err(failure)
            } else {
                checkpoints.wait_until_released();
                self.commit(&group.items)
            };
            match &result {
                Ok(()) => {
                    queue.committed();
                    checkpoints.committed(group.items.len() as u64);
                }
                Err(failure) => queue.keep(failure.clone(), &mut group.items),
            }
            group.answer(&result);
        }
    }

    fn commit(&mut self, group: &[Item]) -> Result<(), WriteFailed> {
        if group.iter().all(|item| item.record.is_none()) {
            return Ok(());
        }
        let written = self.write(group);
        if let Err(failure) = &written {
            // An error of the rollback adds nothing: what was not committed is not there.
            _ = self.connection.execute_batch("ROLLBACK");
            error!(%failure, "the state database is not written any more");
            return Err(WriteFailed::from_sqlite(failure));
        }
        Ok(())
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    pub(super) fn write(&mut self, group: &[Item]) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        for record in group.iter().filter_map(|item| item.record.as_deref()) {
            match record {
                Record::Order(order) => self.order(order)?,
                Record::Fill(booked) => self.fill(booked)?,
                Record::Position(position) => self.position(position)?,
                Record::Ticks { ticks } => {
                    for last in ticks {
                        for tick in [&last.trade, &last.quote].into_iter().flatten() {
                            self.tick(tick, last.count)?;
                        }
                    }
                }
                Record::RunEnded(end) => {
                    let CurrentRun { id, started, pid } = self.run;
                    let cells = rows::run_cells(id, started, pid, Some(end));
                    insert(&self.connection, &RUNS, &self.statements.run, &cells)?;
                }
            }
        }
        self.connection.prepare_cached("COMMIT")?.execute(())?;
        Ok(())
    }

    /// The position is the one after the fill, so that there is never one of them without the
    /// other. A fill that is there already has been counted.
    fn fill(&self, booked: &BookedFill) -> rusqlite::Result<()> {
        let cells = rows::fill_cells(booked, self.run.id);
        let mut added = insert(&self.connection, &FILLS, &self.statements.fill, &cells)?;
        if added == 0 && self.is_broken(booked)? {
            // The exchange has told again what the row does not tell any more.
            let replace = FILLS.insert("INSERT OR REPLACE");
            added = insert(&self.connection, &FILLS, &replace, &cells)?;
            info!(fill = booked.fill.fill_id, "the broken row of a fill is written anew");
        }
        match &booked.position {
            Some(position) if added == 1 => self.position(position),
            _ => Ok(()),
        }
    }

    fn is_broken(&self, booked: &BookedFill) -> rusqlite::Result<bool> {
        let key = " WHERE exchange = ? AND instrument = ? AND fill_id = ? AND client_id = ?";
        let (instrument, id) = (booked.instrument, booked.client_id);
        let (exchange, fill) = (instrument.exchange(), booked.fill.fill_id.as_str());
        let of = params![exchange.as_str(), instrument.as_str(), fill, id.as_str()];
        let mut broken = false;
        read_table(&self.connection, &FILLS, key, of, |row| broken |= row.is_err())?;
        Ok(broken)
    }

    fn position(&self, position: &Position) -> rusqlite::Result<()> {
        let cells = rows::position_cells(position, self.run.id);
        insert(&self.connection, &POSITIONS, &self.statements.position, &cells).map(drop)
    }

    fn tick(&self, tick: &Tick, count: u64) -> rusqlite::Result<()> {
        let cells = rows::tick_cells(tick, count, self.run.id);
        insert(&self.connection, &LAST_TICKS, &self.statements.tick, &cells).map(drop)
    }

    fn order(&mut self, order: &Order) -> rusqlite::Result<()> {
        let cells = rows::order_cells(order, self.run.id);
        insert(&self.connection, &ORDERS, &self.statements.order, &cells)?;
        let id = order.client_id;
        let mut seq = self.sequences.get(&id).copied().unwrap_or_default();
        if !self.transition(order, seq)? {
            // An order of an earlier run, or one that had ended.
            let last = "SELECT max(seq) FROM transitions WHERE client_id = ?";
            let mut statement = self.connection.prepare_cached(last)?;
            seq = 1 + statement.query_row(params![id.as_str()], |row| row.get::<_, i64>(0))?;
            drop(statement);
            self.transition(order, seq)?;
        }
        if order.status.is_terminal() {
            self.sequences.remove(&id);
        } else {
            self.sequences.insert(id, seq + 1);
        }
        Ok(())
    }

    /// Adds a row to the history of an order; `false` if there is one of that number.
    fn transition(&self, order: &Order, seq: i64) -> rusqlite::Result<bool> {
        let cells = rows::transition_cells(order, seq, self.run.id);
        let added = insert(&self.connection, &TRANSITIONS, &self.statements.transition, &cells)?;
        Ok(added == 1)
    }
}

/// Inserts a row with its checksum, and tells how many rows there are more.
pub(super) fn insert(
    connection: &Connection,
    table: &Table,
    sql: &str,
    cells: &[Cell<'_>],
) -> rusqlite::Result<usize> {
    let sum = Cell::Integer(i64::from(row_checksum(table.name, cells)));
    let values = cells.iter().chain(std::iter::once(&sum));
    connection.prepare_cached(sql)?.execute(params_from_iter(values))
}

/// Items whose callbacks are called whatever happens, a panic of this thread included: whoever sent
/// one may wait for it.
struct Group<'q> {
    items: Vec<Item>,
    queue: &'q Queue,
}

impl Group<'_> {
    fn answer(&mut self, result: &Result<(), WriteFailed>) {
        // Popped one by one, so that those after one that panics are still here.
        self.items.reverse();
        while let Some(item) = self.items.pop() {
            let Some(then) = item.then else { continue };
            let result = result.clone();
            if catch_unwind(AssertUnwindSafe(|| then(result))).is_err() {
                error!("a callback of the state database panicked");
            }
        }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if !self.items.is_empty() {
            // This is a panic, and nothing more is written.
            self.queue.end();
            let failure = self.queue.failure().unwrap_or(WriteFailed::Closed);
            self.answer(&Err(failure));
        }
    }
}

struct EndOnDrop<'a>(&'a Queue);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::super::{Database, Durability, StateDirectory};
    use super::*;

    /// Panics again when it is dropped, which nobody catches.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the writer's thread is to panic");
        }
    }

    #[test]
    fn whoever_waits_for_a_thread_that_panics_is_told() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(temporary.path()).unwrap();
        let (database, _) = Database::open(&directory, Durability::Process).unwrap();
        let writer = database.writer();
        let ticks = || Record::Ticks { ticks: Vec::new() };
        let (entered, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        writer.record_then(
            ticks(),
            Box::new(move |_| {
                entered.send(()).unwrap();
                released.recv().unwrap();
            }),
        );
        is_held.recv().unwrap();
        // These wait, and so come as one group.
        writer.record_then(ticks(), Box::new(|_| std::panic::panic_any(Bomb)));
        let (sender, answers) = mpsc::channel();
        for _ in 0..3 {
            let sender = sender.clone();
            writer.record_then(ticks(), Box::new(move |result| sender.send(result).unwrap()));
        }
        release.send(()).unwrap();
        for _ in 0..3 {
            let answer = answers.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(matches!(answer, Ok(()) | Err(WriteFailed::Refused(_))), "{answer:?}");
        }
        // Later ones are told as well, at once.
        writer.record_then(ticks(), Box::new(move |result| sender.send(result).unwrap()));
        let answer = answers.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(answer, Err(WriteFailed::Refused(_))), "{answer:?}");
        assert!(database.close().is_err());
    }
}
