//! The gateway: wiring only. It starts the parts, hands out what bots use, and ends them.

#[cfg(test)]
mod fault_matrix;
mod hangup;
mod keeper;
mod lost;
mod plan;
mod previous;
mod recovery;
mod resume;
mod risk;
mod start;
mod watched;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use resume::Again;

use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::ConnectionSnapshot;
use crate::environment::Environment;
use crate::exchange::SymbolTable;
use crate::market::{Delivery, LastTick, Router, Ticks, UnknownInstrument};
use crate::orders::{Journal, Orders};
use crate::positions::{PositionUpdates, Positions};
use crate::report::{LeftoverOrder, ShutdownPlan};
use crate::risk::Risk;
use crate::scope::Scope;
use crate::shutdown::{
    Begun, ClosePolicies, Coordinator, ExchangeParts, Hook, HookRefused, Hooking, Hooks, Phase,
    Progress, Running, Saving, ShutdownReport, Signal, Signals,
};
use crate::state::{Database, SavedTicks, StateDirectory, Writer};
use crate::types::{Comparison, ExchangeName, Instrument, InstrumentSpec, Position, Valuation};

pub use plan::{StoredPlan, StoredRoundTrip, StoredRun, stored_plan};
pub use previous::PreviousRun;
pub use resume::ResumeError;
pub use start::StartError;

/// What asking for what accounts hold may take.
const COMPARE_LIMIT: Duration = Duration::from_secs(5);

/// Why an exchange cannot be drained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// No exchange of that name is configured.
    #[error("there is no exchange `{name}`; there are: {known}")]
    UnknownExchange {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The whole gateway is stopping, and this exchange with it.
    #[error("{exchange} is stopping or has stopped already")]
    AlreadyStopping {
        /// Which one.
        exchange: ExchangeName,
    },
    /// It was drained before, and is being resumed.
    #[error("{exchange} is being resumed; drain it again when that has ended")]
    Resuming {
        /// Which one.
        exchange: ExchangeName,
    },
}

/// Connections to several exchanges, their ticks, and orders on them.
///
/// End it with [`shutdown`](Self::shutdown) or [`run_until_signal`](Self::run_until_signal).
/// `Drop` cannot wait for anything: a gateway that is dropped while it runs says so at error level
/// with its open orders, closes its sockets and leaves those orders on the exchanges. Whoever still
/// waits for an answer, an update or a tick is told that none will come.
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    clock: Arc<dyn Clock>,
    alerts: Alerts,
    root: Scope,
    router: Arc<Router>,
    positions: Arc<Positions>,
    risk: Arc<Risk>,
    kill_switch: Arc<risk::Switch>,
    orders: Orders,
    journal: Arc<Journal>,
    /// In the order of the configuration. An exchange that is resumed has new parts.
    exchanges: Running,
    symbols: BTreeMap<ExchangeName, Arc<SymbolTable>>,
    directory: StateDirectory,
    previous_ticks: Option<SavedTicks>,
    previous_run: Option<PreviousRun>,
    /// Closed by the shutdown, or with the gateway.
    database: Mutex<Option<Database>>,
    /// Keeps state until it is saved for good.
    state: Scope,
    /// Orders of earlier runs that cannot be reached.
    stranded: Vec<LeftoverOrder>,
    hooks: Arc<Hooks>,
    phase: watch::Sender<Phase>,
    hangups: hangup::Hangups,
    /// How the shutdown began.
    begun: watch::Sender<Option<Begun>>,
    /// Which of its phases have ended.
    progress: Progress,
    /// Whether a thread of its own holds the deadline.
    watched: AtomicBool,
    /// Stores what happens; it outlives `database` and then refuses everything.
    writer: Writer,
    force: CancellationToken,
    /// Set under the lock of `draining`, so that no exchange is resumed afterwards.
    stopping: AtomicBool,
    /// The exchanges that are drained, or on their way to or from it.
    draining: Mutex<BTreeMap<ExchangeName, Drained>>,
    /// What exchanges are started from again.
    again: Again,
    report: watch::Sender<Option<Arc<ShutdownReport>>>,
}

/// How far an exchange is that does not trade as the others do.
enum Drained {
    /// It is drained when the report is there.
    Draining(watch::Receiver<Option<Arc<ShutdownReport>>>),
    /// It is being resumed.
    Resuming,
}

impl Gateway {
    /// Starts everything and waits until every connection is live.
    ///
    /// # Errors
    /// Whatever keeps an exchange from being used: see [`StartError`]. What had been started is
    /// closed again before this returns.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the start; sockets that were open are closed.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_in(config, Environment::system()).await
    }

    /// Starts with another clock, network or randomness than the system's.
    pub async fn start_in(config: Config, environment: Environment) -> Result<Self, StartError> {
        // It is large, and whoever awaits it would carry it.
        Box::pin(start::start(config, environment)).await
    }

    /// Subscribes to the latest trade and quote of one instrument; see
    /// [`subscribe_with`](Self::subscribe_with) for more.
    pub fn subscribe(&self, instrument: Instrument) -> Result<Ticks, UnknownInstrument> {
        self.subscribe_with(&[instrument], Delivery::Conflate)
    }

    /// Subscribes to several instruments, and chooses what happens when ticks come faster than
    /// they are read.
    pub fn subscribe_with(
        &self,
        instruments: &[Instrument],
        delivery: Delivery,
    ) -> Result<Ticks, UnknownInstrument> {
        self.inner.router.subscribe(instruments, delivery)
    }

    /// Places and cancels orders.
    pub fn orders(&self) -> &Orders {
        &self.inner.orders
    }

    /// Every configured instrument with its exchange's rules, in the order of the configuration.
    pub fn instruments(&self) -> Vec<Arc<InstrumentSpec>> {
        let exchanges = self.inner.exchanges();
        let tables = exchanges.iter().filter_map(|exchange| self.inner.symbols.get(&exchange.name));
        tables.flat_map(|table| table.specs().cloned()).collect()
    }

    /// The exchange's rules for one instrument.
    pub fn instrument(&self, instrument: Instrument) -> Option<Arc<InstrumentSpec>> {
        self.inner.symbols.get(&instrument.exchange())?.spec(instrument).cloned()
    }

    /// The last trade and quote of every instrument, in order of their names.
    pub fn last_ticks(&self) -> Vec<LastTick> {
        self.inner.router.last_ticks()
    }

    /// What the gateway's fills add up to, for every instrument that was ever traded.
    pub fn positions(&self) -> Vec<Position> {
        self.inner.positions.all()
    }

    /// What the gateway's fills add up to, each position with what it is worth at the last tick: a
    /// long one at the best bid, a short one at the best ask.
    pub fn valuations(&self) -> Vec<Valuation> {
        self.inner.positions.valued(|instrument| self.inner.router.last(instrument))
    }

    /// Asks every exchange what the account holds (balances, on Deribit positions) and compares it
    /// with what it held when the gateway started and what the gateway's fills since then explain.
    /// Takes at most five seconds. What a person or another program trades on the same account shows
    /// as a difference: that is for a person to judge, and nothing acts on it.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the questions.
    pub async fn compare_positions(&self) -> Vec<Comparison> {
        let exchanges = self.inner.exchanges();
        let accounts = exchanges.iter().filter_map(|exchange| exchange.account.as_ref());
        futures::future::join_all(accounts.map(|account| account.compare(COMPARE_LIMIT))).await
    }

    /// Follows the changes of positions from now on, the latest of each instrument.
    pub fn position_updates(&self) -> PositionUpdates {
        self.inner.positions.updates()
    }

    /// What the last run saved, if there was one.
    pub fn previous_ticks(&self) -> Option<&SavedTicks> {
        self.inner.previous_ticks.as_ref()
    }

    /// The run before on the same state directory, and what it left; `None` if there was none.
    pub fn previous_run(&self) -> Option<&PreviousRun> {
        self.inner.previous_run.as_ref()
    }

    /// Every connection as it is now, in the order of the configuration.
    pub fn connections(&self) -> Vec<ConnectionSnapshot> {
        let exchanges = self.inner.exchanges();
        let all = exchanges.iter().flat_map(|exchange| &exchange.connections);
        all.map(|connection| connection.snapshot()).collect()
    }

    /// Follows the phase of the whole gateway.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.inner.phase.subscribe()
    }

    /// What a shutdown would do now, and about how long it would take. Nothing is done.
    pub fn shutdown_plan(&self) -> ShutdownPlan {
        self.inner.plan()
    }

    /// The state directory.
    pub fn state_directory(&self) -> &StateDirectory {
        &self.inner.directory
    }

    /// Adds work to a phase of the shutdown: see [`Hook`] for when it runs. Hooks are taken until
    /// their phase begins, from anywhere; a [`drain`](Self::drain) runs none, and a gateway that is
    /// dropped neither.
    pub fn on_shutdown(&self, hook: Hook) -> Result<(), HookRefused> {
        self.inner.hooks.add(hook)
    }

    /// Shuts down through every phase and reports. Called again, it waits for the same report.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the shutdown.
    pub async fn shutdown(&self) -> Arc<ShutdownReport> {
        self.shutdown_because("shutdown()").await
    }

    /// The same, with the reason that the report gives.
    pub async fn shutdown_because(&self, trigger: &str) -> Arc<ShutdownReport> {
        self.inner.begin_shutdown(trigger);
        wait_for(self.inner.report.subscribe()).await
    }

    /// Makes a running shutdown give up waiting: the cancel of every open order is written if it has
    /// not been (bounded by a second and a half; over HTTP at once where there is no connection),
    /// cancels that were written may take half a second more, state is saved, sockets are dropped.
    /// Without a shutdown it starts one.
    pub fn force(&self) {
        warn!("the exit is forced");
        self.inner.force.cancel();
        self.inner.begin_shutdown("force()");
    }

    /// Runs until SIGINT, SIGTERM or SIGHUP, then shuts down; a second one forces, and SIGQUIT forces
    /// at once and shows what runs ([`tree`](Self::tree)). The handlers are installed by this call
    /// and stay installed, as the system allows nothing else. SIGHUP is left to those who follow
    /// [`hangups`](Self::hangups), if somebody does, unless the terminal is gone that the process
    /// had; in a shutdown it is nothing. A third signal is nothing to a gateway alone:
    /// [`enforce_deadline`](Self::enforce_deadline) ends the process at it.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub async fn run_until_signal(&self) -> std::io::Result<Arc<ShutdownReport>> {
        self.run_until(std::future::pending::<&str>()).await
    }

    /// The same, but also ends when `other` does, which gives the reason.
    pub async fn run_until(
        &self,
        other: impl Future<Output = &str>,
    ) -> std::io::Result<Arc<ShutdownReport>> {
        let mut signals = Signals::install()?;
        let already = wait_for(self.inner.report.subscribe());
        let (trigger, forces) = tokio::select! {
            signal = self.asked_to_end(&mut signals) => (signal.as_str(), signal.forces()),
            trigger = other => (trigger, false),
            report = already => return Ok(report),
        };
        info!(trigger, "asked to end");
        let began = tokio::time::Instant::now();
        self.inner.begin_shutdown(trigger);
        if forces {
            self.force();
        }
        let report = self.shutdown_because(trigger);
        tokio::pin!(report);
        loop {
            tokio::select! {
                biased;
                report = &mut report => return Ok(report),
                signal = self.asked_to_end(&mut signals) => {
                    let debounce = self.inner.config.shutdown.force_debounce;
                    if signal.forces() || began.elapsed() >= debounce {
                        warn!(%signal, "asked again");
                        self.force();
                    }
                }
            }
        }
    }

    /// The next signal that means the end.
    async fn asked_to_end(&self, signals: &mut Signals) -> Signal {
        let mut reloaded = None;
        loop {
            let signal = tokio::select! {
                biased;
                signal = signals.next() => signal,
                () = self.inner.hangups.terminal_gone(reloaded) => Signal::Hangup,
            };
            if signal == Signal::Quit && !self.inner.watched.load(Ordering::Acquire) {
                let tree = self.tree();
                tree.log();
                warn!("{tree}");
            }
            let hangs_up = signal == Signal::Hangup;
            let is_stopping = || self.inner.stopping.load(Ordering::Acquire);
            if !hangs_up || (!is_stopping() && self.hangup_ends()) {
                return signal;
            }
            reloaded = (!is_stopping()).then(tokio::time::Instant::now);
        }
    }

    /// Cancels, confirms and disconnects one exchange while the others trade on. The report is
    /// about that exchange alone; nothing is saved by it. [`resume`](Self::resume) takes it up again.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the drain.
    pub async fn drain(&self, exchange: &str) -> Result<Arc<ShutdownReport>, DrainError> {
        let done = self.inner.begin_drain(exchange)?;
        Ok(wait_for(done).await)
    }

    /// Takes a drained exchange up again, and waits until its connections are live and its orders
    /// are compared with the exchange's. Orders that the drain kept are the gateway's as before; one
    /// that it left open or unknown is asked about, and its cancel is written again. Subscribers get
    /// a [`Gap`](crate::Gap) and then ticks. The other exchanges and the phase notice nothing.
    ///
    /// # Errors
    /// See [`ResumeError`]; the exchange is drained then, as it was before, and may be resumed
    /// again.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop it.
    pub async fn resume(&self, exchange: &str) -> Result<(), ResumeError> {
        resume::resume(&self.inner, exchange).await
    }
}

async fn wait_for(mut report: watch::Receiver<Option<Arc<ShutdownReport>>>) -> Arc<ShutdownReport> {
    loop {
        if let Some(report) = report.borrow_and_update().clone() {
            return report;
        }
        if report.changed().await.is_err() {
            // The sender lives in the shutdown's own task, which reports whatever happens: only a
            // runtime that ends drops it before, and this future with it.
            std::future::pending::<()>().await;
        }
    }
}

impl Inner {
    fn exchanges(&self) -> Vec<Arc<ExchangeParts>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn draining(&self) -> MutexGuard<'_, BTreeMap<ExchangeName, Drained>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coordinator(
        &self,
        exchanges: Vec<Arc<ExchangeParts>>,
        scope: Scope,
        phase: watch::Sender<Phase>,
        trigger: String,
    ) -> Coordinator {
        Coordinator {
            exchanges,
            positions: Arc::clone(&self.positions),
            router: Arc::clone(&self.router),
            policies: ClosePolicies::of(&self.config),
            saving: None,
            hooking: None,
            phase,
            config: self.config.shutdown.clone(),
            clock: Arc::clone(&self.clock),
            alerts: self.alerts.clone(),
            order_stages: std::sync::Mutex::default(),
            scope,
            force: self.force.clone(),
            trigger,
            progress: Progress::default(),
        }
    }

    fn begin_shutdown(self: &Arc<Self>, trigger: &str) {
        let draining = self.draining();
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        let exchanges = self.exchanges();
        drop(draining);
        self.begun.send_replace(Some(Begun {
            at: tokio::time::Instant::now(),
            started: self.clock.now(),
            trigger: trigger.to_owned(),
        }));
        let mut coordinator =
            self.coordinator(exchanges, self.root.clone(), self.phase.clone(), trigger.to_owned());
        coordinator.progress = self.progress.clone();
        coordinator.saving = Some(Saving {
            router: Arc::clone(&self.router),
            directory: self.directory.clone(),
            previous: self.previous_ticks.clone(),
            database: self.database.lock().unwrap_or_else(PoisonError::into_inner).take(),
            scope: self.state.clone(),
            stranded: self.stranded.clone(),
        });
        coordinator.hooking = Some(Hooking {
            hooks: Arc::clone(&self.hooks),
            scope: self.root.child("hooks", Phase::Complete),
            began: tokio::time::Instant::now(),
        });
        let inner = Arc::clone(self);
        self.root.child("shutdown", Phase::Complete).spawn(async move {
            let report = coordinator.run().await;
            inner.journal.close();
            inner.positions.close();
            inner.report.send_replace(Some(Arc::new(report)));
        });
    }

    /// The parts of the exchange of that name, or the names there are.
    fn find(&self, name: &str) -> Result<Arc<ExchangeParts>, String> {
        let exchanges = self.exchanges();
        let known = exchanges.iter().find(|exchange| exchange.name.as_str() == name);
        known.cloned().ok_or_else(|| {
            let names: Vec<_> = exchanges.iter().map(|e| e.name.as_str()).collect();
            names.join(", ")
        })
    }

    fn begin_drain(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<watch::Receiver<Option<Arc<ShutdownReport>>>, DrainError> {
        let mut draining = self.draining();
        let parts = self.find(name).map_err(|known| {
            let name = name.to_owned();
            DrainError::UnknownExchange { name, known }
        })?;
        let exchange = parts.name;
        if self.stopping.load(Ordering::Acquire) {
            return Err(DrainError::AlreadyStopping { exchange });
        }
        match draining.get(&exchange) {
            Some(Drained::Draining(done)) => return Ok(done.clone()),
            Some(Drained::Resuming) => return Err(DrainError::Resuming { exchange }),
            None => {}
        }
        let (done, receiver) = watch::channel(None);
        draining.insert(exchange, Drained::Draining(receiver.clone()));
        drop(draining);
        let (phase, _) = watch::channel(Phase::Running);
        let trigger = format!("drain({exchange})");
        let coordinator =
            self.coordinator(vec![Arc::clone(&parts)], parts.scope.clone(), phase, trigger);
        self.root.child("drain", Phase::Complete).spawn(async move {
            let report = coordinator.run().await;
            done.send_replace(Some(Arc::new(report)));
        });
        Ok(receiver)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let inner = &self.inner;
        if inner.stopping.load(Ordering::Acquire) {
            return;
        }
        let open: Vec<_> =
            inner.orders.unfinished().iter().map(|order| order.client_id.to_string()).collect();
        error!(
            open_orders = open.len(),
            orders = open.join(" "),
            "the gateway was dropped without a shutdown: open orders stay on the exchanges, unless a \
             dead-man's switch cancels them"
        );
        // Handles to the orders and subscriptions may outlive it: nobody must wait for ever.
        for exchange in &inner.exchanges() {
            exchange.desk.close_gate(Phase::Complete);
            exchange.desk.abandon_waiters();
        }
        inner.router.freeze();
        inner.journal.close();
        inner.positions.close();
        inner.root.cancel();
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("phase", &*self.inner.phase.borrow())
            .finish_non_exhaustive()
    }
}
