//! What the runs before left: the database is opened, and their open orders are handed to those who
//! can settle them.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::start::StartError;
use crate::config::{Config, OnRestart};
use crate::exchange::SymbolTable;
use crate::orders::Desk;
use crate::report::LeftoverOrder;
use crate::scope::Scope;
use crate::state::{Database, Recovered, RecoveredOrder, StateDirectory, StateError, StateView};
use crate::types::{ClientOrderId, ExchangeName, Instrument};

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
pub(super) fn tell(recovered: &Recovered, root: &Scope) {
    for damage in &recovered.damaged {
        root.fail(format!(
            "the state database is damaged: {damage}; see `exchange-gateway state verify`"
        ));
    }
    let Some(run) = &recovered.previous_run else { return };
    let (number, orders) = (run.id, recovered.orders.len());
    if run.outcome.as_deref() == Some(NOT_STARTED) {
        let problem = run.trigger.as_deref();
        info!(run = number, orders, problem, "the run before could not start");
    } else if let Some(outcome) = &run.outcome {
        info!(run = number, outcome, orders, "the run before ended in order");
    } else {
        warn!(run = number, orders, "the run before was killed");
    }
}

/// The symbols of the orders to settle, and of the configured instruments.
pub(super) fn wanted(configured: &[Instrument], unsettled: Vec<Instrument>) -> Arc<[Instrument]> {
    let more = unsettled.into_iter().filter(|instrument| !configured.contains(instrument));
    configured.iter().copied().chain(more).collect()
}
