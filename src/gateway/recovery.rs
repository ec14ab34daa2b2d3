//! What the runs before left: the database is opened, and their open orders are handed to those who
//! can settle them.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::PreviousRun;
use super::start::StartError;
use crate::alerts::{Alerts, named};
use crate::config::{Config, OnRestart};
use crate::exchange::SymbolTable;
use crate::orders::Desk;
use crate::positions::Positions;
use crate::report::{AlertKind, LeftoverOrder};
use crate::scope::Scope;
use crate::state::{
    Damage, Database, Record, Recovered, RecoveredOrder, StateDirectory, StateError, StateView,
    Writer,
};
use crate::types::{ClientOrderId, ExchangeName, Instrument, Position};

/// The outcome of a run that never became a gateway.
pub(super) const NOT_STARTED: &str = "not_started";

/// The open database and what was in it.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) recovered: Recovered,
    /// The greatest client id of this gateway's tag.
    pub(super) newest: Option<ClientOrderId>,
}

/// Opens the database on a thread that may block.
pub(super) async fn open(
    config: &Config,
    directory: &StateDirectory,
) -> Result<Opened, StartError> {
    let (directory, durability) = (directory.clone(), config.gateway.durability);
    let tag = config.gateway.order_tag.clone();
    let opening = spawn_blocking(move || {
        let (database, recovered) = Database::open(&directory, durability)?;
        let newest = StateView::open(directory.path())?.newest_id(&tag)?;
        Ok::<_, StateError>(Opened { database, recovered, newest })
    });
    let ended = |_| StateError::Read {
        path: config.gateway.state_dir.clone(),
        reason: "the thread that opened the database panicked".to_owned(),
    };
    Ok(opening.await.map_err(ended)??)
}

/// Hands over the positions of earlier runs. One whose row is lost, or that an older database does
/// not have, is summed up from the fills, in the order of their times.
pub(super) async fn restore(
    positions: &Arc<Positions>,
    recovered: &mut Recovered,
    directory: &StateDirectory,
    writer: &Writer,
    root: &Scope,
) -> Result<(), StartError> {
    let mut restored = std::mem::take(&mut recovered.positions);
    let mut counted = std::mem::take(&mut recovered.broken_fills);
    // A sum that is made anew lacks what is broken, which may yet be told again.
    counted.retain(|(instrument, ..)| !recovered.unsummed.contains(instrument));
    if !recovered.unsummed.is_empty() {
        let (listed, directory) = (Arc::clone(positions), directory.clone());
        let path = directory.path().to_owned();
        let unsummed = std::mem::take(&mut recovered.unsummed);
        let summing = spawn_blocking(move || sum_up(&listed, &unsummed, &directory));
        let summed = summing.await.map_err(|_| StateError::Read {
            path,
            reason: "the thread that summed up the fills panicked".to_owned(),
        })??;
        for Summed { position, broken } in summed {
            let (instrument, quantity) = (position.instrument, position.quantity);
            if broken.is_empty() {
                info!(%instrument, %quantity, "the position was not stored: it is summed up from its fills");
            } else {
                let (count, first) = (broken.len(), &broken[0]);
                root.fail(format!(
                    "the position in {instrument} was not stored, and {count} of the fills that it \
                     is summed up from cannot be read, the first of them {first}"
                ));
            }
            writer.record(Record::Position(Box::new(position.clone())));
            restored.push(position);
        }
    }
    positions.restore(restored, counted);
    Ok(())
}

/// A position made from the fills in the database.
struct Summed {
    position: Position,
    /// Fills that are not in it.
    broken: Vec<Damage>,
}

/// Sums up the positions of those instruments whose terms are known.
fn sum_up(
    positions: &Positions,
    unsummed: &[Instrument],
    directory: &StateDirectory,
) -> Result<Vec<Summed>, StateError> {
    let view = StateView::open(directory.path())?;
    let mut summed = Vec::new();
    for &instrument in unsummed {
        let Some(terms) = positions.terms(instrument) else {
            warn!(%instrument, "an instrument was traded and is not configured: its position is not known");
            continue;
        };
        let mut position = Position::empty(instrument, &terms.currency);
        let mut overflown = Vec::new();
        let mut broken = view.for_each_fill(instrument, |side, booked| {
            if terms.book(&mut position, side, &booked.fill) {
                position.updated = booked.fill.time.unwrap_or(position.updated);
            } else {
                overflown.push(booked);
            }
        })?;
        broken.extend(overflown.into_iter().map(|booked| Damage {
            table: "fills".to_owned(),
            key: format!("{instrument}/{}/{}", booked.fill.fill_id, booked.client_id),
            reason: "its sums fit no decimal".to_owned(),
        }));
        summed.push(Summed { position, broken });
    }
    Ok(summed)
}

/// The orders of earlier runs that nobody has taken over yet.
pub(super) struct Unsettled {
    orders: Vec<RecoveredOrder>,
    cancel: bool,
}

impl Unsettled {
    pub(super) fn new(recovered: &mut Recovered, on_restart: OnRestart) -> Self {
        let orders = std::mem::take(&mut recovered.orders);
        Self { orders, cancel: on_restart == OnRestart::Cancel }
    }

    /// The instruments of those at one exchange.
    pub(super) fn instruments(&self, exchange: ExchangeName) -> Vec<Instrument> {
        let all = self.orders.iter().map(|recovered| recovered.order.request.instrument);
        let mut instruments: Vec<_> = all.filter(|i| i.exchange() == exchange).collect();
        instruments.sort_unstable();
        instruments.dedup();
        instruments
    }

    /// Hands over what a desk can settle, which is what its exchange still trades.
    pub(super) fn hand_to(&mut self, desk: &Desk, symbols: &SymbolTable) {
        let exchange = desk.exchange();
        let settles = |recovered: &RecoveredOrder| {
            let instrument = recovered.order.request.instrument;
            instrument.exchange() == exchange && symbols.spec(instrument).is_some()
        };
        let (adopted, rest) = std::mem::take(&mut self.orders).into_iter().partition(settles);
        self.orders = rest;
        for recovered in adopted {
            desk.adopt(recovered, self.cancel);
        }
    }

    /// Those that nobody could take over; each is logged. One that has ended is no open order,
    /// though some of its fills stay unknown.
    pub(super) fn stranded(self) -> Vec<LeftoverOrder> {
        let orders = self.orders.into_iter().map(|recovered| recovered.order);
        let (ended, open): (Vec<_>, Vec<_>) = orders.partition(|order| order.status.is_terminal());
        for order in ended {
            let (filled, booked) = (order.filled, order.booked);
            warn!(
                target: "exchange_gateway::order",
                order = %order.client_id, %filled, %booked,
                "fills of an earlier run's order are missing, and this configuration cannot ask for them"
            );
        }
        open.into_iter()
            .map(|order| {
                let (client_id, instrument) = (order.client_id, order.request.instrument);
                error!(
                    target: "exchange_gateway::order",
                    order = %client_id, %instrument, status = %order.status,
                    "an earlier run's order may be open, and this configuration cannot reach it"
                );
                let exchange_id = order.exchange_id;
                LeftoverOrder { client_id, exchange_id, instrument: Some(instrument) }
            })
            .collect()
    }
}

/// Tells what was found.
pub(super) fn tell(recovered: &Recovered, previous: Option<&PreviousRun>, root: &Scope) {
    for damage in &recovered.damaged {
        root.fail(format!(
            "the state database is damaged: {damage}; see `exchange-gateway state verify`"
        ));
    }
    for file in &recovered.emergency {
        let (path, records, taken) = (file.file.display(), file.records, file.taken);
        warn!(file = %path, records, taken, "records of an earlier run were taken in");
        for problem in &file.problems {
            root.fail(format!("the emergency file {path}: {problem}"));
        }
    }
    let Some(run) = &recovered.previous_run else { return };
    let (number, orders) = (run.id, recovered.orders.len());
    if run.outcome.as_deref() == Some(NOT_STARTED) {
        let problem = run.trigger.as_deref();
        info!(run = number, orders, problem, "the run before could not start");
    } else if let Some(outcome) = &run.outcome {
        if previous.is_none_or(PreviousRun::is_clean) || previous.is_some_and(|p| p.run != *run) {
            info!(run = number, outcome, orders, "the run before ended in order");
        } else {
            warn!(run = number, outcome, orders, "the run before did not end clean");
        }
    } else {
        warn!(run = number, orders, "the run before was killed");
    }
}

/// Raises an alert if the run before ended without a shutdown: a process that is killed, or ended
/// because its shutdown hung, cannot tell of it itself.
pub(super) fn alert_killed(recovered: &Recovered, alerts: &Alerts) {
    let Some(run) = &recovered.previous_run else { return };
    if run.outcome.is_some() {
        return;
    }
    let (number, pid, started) = (run.id, run.pid, run.started);
    let orders = recovered.orders.iter().map(|recovered| &recovered.order);
    let open: Vec<_> =
        orders.filter(|order| !order.status.is_terminal()).map(|order| order.client_id).collect();
    let left = if open.is_empty() {
        "no order of it may be open".to_owned()
    } else {
        named("order", "that may be open, settled now", open.into_iter())
    };
    let message = format!(
        "the run before ({number}, process {pid}, started {started:.0}) ended without a shutdown; {left}"
    );
    alerts.raise(AlertKind::ForcedExit, None, message);
}

/// The symbols of the orders to settle, and of the configured instruments.
pub(super) fn wanted(configured: &[Instrument], unsettled: Vec<Instrument>) -> Arc<[Instrument]> {
    let more = unsettled.into_iter().filter(|instrument| !configured.contains(instrument));
    configured.iter().copied().chain(more).collect()
}
