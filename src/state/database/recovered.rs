//! What the runs before left behind.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::checksum::Cell;
use super::examine::{BrokenRow, read_table};
use super::rows::{self, RunSummary, key_text};
use super::schema::{FILLS, LAST_TICKS, ORDERS, POSITIONS, RUNS, Table};
use super::{Damage, EmergencyFile};
use crate::market::LastTick;
use crate::types::{ClientOrderId, Fill, Instrument, Order, Position, TickData};

/// An order that had not ended or lacks single fills, with every fill of it that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredOrder {
    /// The order as last recorded.
    pub order: Order,
    /// Its fills; the exchange will tell them again, and their ids tell which are booked.
    pub fills: Vec<Fill>,
}

/// What the runs before left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Every order that had not ended or lacks single fills, in the order of their ids.
    pub orders: Vec<RecoveredOrder>,
    /// Every sound position, in the order of the instruments' names.
    pub positions: Vec<Position>,
    /// Instruments of which there are fills and no sound position: it has to be summed up anew, see
    /// [`StateView::for_each_fill`](super::StateView::for_each_fill).
    pub unsummed: Vec<Instrument>,
    /// Fills whose rows are broken, by instrument, order and fill as far as those can be read. They
    /// are in the positions; the exchange may tell them again.
    pub broken_fills: Vec<(Instrument, ClientOrderId, String)>,
    /// The last ticks, in the order of the instruments' names.
    pub last_ticks: Vec<LastTick>,
    /// The run before this one.
    pub previous_run: Option<RunSummary>,
    /// Emergency files of earlier runs; what is in them is among the rest.
    pub emergency: Vec<EmergencyFile>,
    /// The last run that came to be a gateway, though others may have tried since.
    pub last_gateway: Option<RunSummary>,
    /// What is broken. None of it is among the rest: an order named here has to be asked for.
    pub damaged: Vec<Damage>,
}

impl Recovered {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut damaged = Vec::new();
        let mut orders = Vec::new();
        let open = " INDEXED BY orders_open WHERE open = 1 ORDER BY client_id";
        collect(connection, &ORDERS, open, (), &mut damaged, &mut orders, rows::order)?;
        let mut recovered = Self::default();
        for order in orders {
            let mut booked = Vec::new();
            let of_order = " INDEXED BY fills_of_order WHERE client_id = ?";
            let id = params![order.client_id.as_str()];
            let known = damaged.len();
            collect(connection, &FILLS, of_order, id, &mut damaged, &mut booked, rows::fill)?;
            recovered.broken_fills.extend(damaged[known..].iter().filter_map(broken_fill));
            let fills = booked.into_iter().map(|booked| booked.fill).collect();
            recovered.orders.push(RecoveredOrder { order, fills });
        }
        let positions = &mut recovered.positions;
        let by_name = " ORDER BY instrument";
        collect(connection, &POSITIONS, by_name, (), &mut damaged, positions, rows::position)?;
        let is_summed = |instrument: &Instrument| {
            positions.iter().any(|position| position.instrument == *instrument)
        };
        recovered.unsummed = traded(connection)?;
        recovered.unsummed.retain(|instrument| !is_summed(instrument));
        recovered.last_ticks = last_ticks(connection, &mut damaged)?;
        let mut runs = Vec::new();
        let last = " ORDER BY id DESC LIMIT 1";
        collect(connection, &RUNS, last, (), &mut damaged, &mut runs, rows::run)?;
        recovered.previous_run = runs.pop();
        let gateway = " WHERE outcome IS NULL OR outcome NOT IN ('not_started', 'settled')";
        let last = format!("{gateway}{last}");
        collect(connection, &RUNS, &last, (), &mut Vec::new(), &mut runs, rows::run)?;
        recovered.last_gateway = runs.pop();
        recovered.damaged = damaged;
        Ok(recovered)
    }
}

/// Every instrument of which there is a fill: one step along the key for each.
fn traded(connection: &Connection) -> rusqlite::Result<Vec<Instrument>> {
    let sql = "SELECT exchange, instrument FROM fills WHERE (exchange, instrument) > (?, ?) \
               ORDER BY exchange, instrument LIMIT 1";
    let mut statement = connection.prepare(sql)?;
    let (mut found, mut last) = (Vec::new(), (String::new(), String::new()));
    let pair = |row: &Row<'_>| Ok::<(String, String), _>((row.get(0)?, row.get(1)?));
    while let Some(next) = statement.query_row(params![last.0, last.1], pair).optional()? {
        // A name that is none belongs to a broken row, which is named where rows are read.
        found.extend(next.1.parse::<Instrument>());
        last = next;
    }
    Ok(found)
}

/// The instrument, the order and the id of a fill whose row is broken, if its key is whole.
fn broken_fill(damage: &Damage) -> Option<(Instrument, ClientOrderId, String)> {
    let mut parts = damage.key.splitn(3, '/').skip(1);
    let instrument = parts.next()?.parse().ok()?;
    let (fill, order) = parts.next()?.rsplit_once('/')?;
    Some((instrument, order.parse().ok()?, fill.to_owned()))
}

pub(super) fn last_ticks(
    connection: &Connection,
    damaged: &mut Vec<Damage>,
) -> rusqlite::Result<Vec<LastTick>> {
    let mut ticks = Vec::new();
    collect(connection, &LAST_TICKS, "", (), damaged, &mut ticks, rows::tick)?;
    let mut last: BTreeMap<Instrument, LastTick> = BTreeMap::new();
    for (tick, count) in ticks {
        let instrument = tick.instrument;
        let empty = LastTick { instrument, trade: None, quote: None, count };
        let entry = last.entry(instrument).or_insert(empty);
        entry.count = entry.count.max(count);
        match tick.data {
            TickData::Trade(_) => entry.trade = Some(tick),
            TickData::Quote(_) => entry.quote = Some(tick),
        }
    }
    Ok(last.into_values().collect())
}

/// Reads and decodes rows; what is broken or unreadable goes to `damaged`.
pub(super) fn collect<T>(
    connection: &Connection,
    table: &Table,
    rest: &str,
    parameters: impl rusqlite::Params,
    damaged: &mut Vec<Damage>,
    found: &mut Vec<T>,
    decode: impl Fn(&[Cell<'_>]) -> Result<T, String>,
) -> rusqlite::Result<u64> {
    read_table(connection, table, rest, parameters, |row| match row {
        Ok(cells) => match decode(cells) {
            Ok(value) => found.push(value),
            Err(reason) => {
                damaged.push(Damage::row(table.name, key_text(&cells[..table.keys]), reason));
            }
        },
        Err(BrokenRow { damage, .. }) => damaged.push(damage),
    })
}
