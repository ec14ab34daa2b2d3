//! An exchange that was drained is taken up again: its desk and book go on, its tasks are new.
//!
//! Whether the whole gateway stops is decided under the lock of what is drained. Until a shutdown
//! has begun, only the task here touches an exchange that is being resumed; from then on it belongs
//! to the shutdown, which knows its new parts, and this task leaves it alone.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::start::{self, Place, Prepared, StartError};
use super::{Drained, Inner, lost};
use crate::environment::Environment;
use crate::exchange::Adapter;
use crate::report::ShutdownReport;
use crate::shutdown::{ExchangeParts, Phase};
use crate::types::ExchangeName;

/// What the tasks of an exchange that did not come up may take to end.
const END_LIMIT: Duration = Duration::from_secs(3);
/// What its dropped sockets and their tasks may take to end after that.
const CUT_LIMIT: Duration = Duration::from_millis(500);
/// What taking off its dead-man's switch may take before.
const DISARM_LIMIT: Duration = Duration::from_secs(1);

/// Why an exchange cannot be resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// No exchange of that name is configured.
    #[error("there is no exchange `{name}`; there are: {known}")]
    UnknownExchange {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// It was not drained.
    #[error("{exchange} is not drained")]
    NotDrained {
        /// Which one.
        exchange: ExchangeName,
    },
    /// Its drain has not ended yet.
    #[error("{exchange} is still being drained; resume it when that has ended")]
    Draining {
        /// Which one.
        exchange: ExchangeName,
    },
    /// Somebody else resumes it already.
    #[error("{exchange} is being resumed already")]
    Resuming {
        /// Which one.
        exchange: ExchangeName,
    },
    /// Tasks of the time before the drain still run, so that new ones would get in their way.
    #[error("{exchange} still runs {tasks} tasks that did not end when it was drained")]
    TasksLeft {
        /// Which one.
        exchange: ExchangeName,
        /// How many.
        tasks: usize,
    },
    /// The whole gateway is stopping or has stopped.
    #[error("{exchange} is not resumed, because the gateway is stopping")]
    Stopping {
        /// Which one.
        exchange: ExchangeName,
    },
    /// The task that resumed it panicked. Its orders are in doubt until the gateway is shut down.
    #[error("the task that resumed {exchange} panicked; shut the gateway down")]
    Panicked {
        /// Which one.
        exchange: ExchangeName,
    },
    /// It did not come up; it is drained as before.
    #[error("could not be resumed and stays drained: {0}")]
    NotStarted(#[from] StartError),
}

/// What the tasks of exchanges are started from again. The rules of the instruments are those that
/// were read when the gateway started.
pub(super) struct Again {
    prepared: Vec<Prepared>,
    environment: Environment,
    random: Mutex<fastrand::Rng>,
}

impl Again {
    pub(super) fn new(
        prepared: Vec<Prepared>,
        environment: Environment,
        random: fastrand::Rng,
    ) -> Self {
        Self { prepared, environment, random: Mutex::new(random) }
    }

    pub(super) fn adapter(&self, exchange: ExchangeName) -> Option<&dyn Adapter> {
        self.of(exchange).map(|prepared| prepared.adapter.as_ref())
    }

    fn of(&self, exchange: ExchangeName) -> Option<&Prepared> {
        self.prepared.iter().find(|prepared| prepared.config.name == exchange)
    }
}

type Report = watch::Receiver<Option<Arc<ShutdownReport>>>;

/// What a resume needs to go back.
struct Resuming {
    before: Arc<ExchangeParts>,
    report: Report,
    parts: Arc<ExchangeParts>,
}

pub(super) async fn resume(inner: &Arc<Inner>, name: &str) -> Result<(), ResumeError> {
    let resuming = inner.begin_resume(name)?;
    let exchange = resuming.parts.name;
    let (sender, ended) = oneshot::channel();
    let owned = Arc::clone(inner);
    // Not below the exchange's own scope, whose tasks are ended by this one if need be.
    inner.root.child("resume", Phase::Complete).spawn(async move {
        // The caller may have gone away; the log tells it.
        let _ = sender.send(owned.run_resume(resuming).await);
    });
    ended.await.unwrap_or(Err(ResumeError::Panicked { exchange }))
}

impl Inner {
    fn begin_resume(&self, name: &str) -> Result<Resuming, ResumeError> {
        let mut draining = self.draining();
        let before = self.find(name).map_err(|known| {
            let name = name.to_owned();
            ResumeError::UnknownExchange { name, known }
        })?;
        let exchange = before.name;
        if self.stopping.load(Ordering::Acquire) {
            return Err(ResumeError::Stopping { exchange });
        }
        let report = match draining.get(&exchange) {
            None => return Err(ResumeError::NotDrained { exchange }),
            Some(Drained::Resuming) => return Err(ResumeError::Resuming { exchange }),
            Some(Drained::Draining(report)) => report.clone(),
        };
        if report.borrow().is_none() {
            return Err(ResumeError::Draining { exchange });
        }
        let tasks = before.scope.running();
        if tasks > 0 {
            return Err(ResumeError::TasksLeft { exchange, tasks });
        }
        let Some(prepared) = self.again.of(exchange) else {
            return Err(ResumeError::NotDrained { exchange });
        };
        info!(%exchange, "resuming");
        before.desk.begin_again();
        let place =
            Place { root: &self.root, router: &self.router, environment: &self.again.environment };
        let mut random = self.again.random.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = Arc::clone(&before.desk);
        let shutdown = &self.config.shutdown;
        let parts = start::launch(prepared, desk, Some(&before), &place, shutdown, &mut random);
        drop(random);
        lost::watch(&parts, &self.alerts, self.config.alerts.exchange_lost_after);
        let parts = Arc::new(parts);
        self.replace(&parts);
        draining.insert(exchange, Drained::Resuming);
        Ok(Resuming { before, report, parts })
    }

    fn replace(&self, parts: &Arc<ExchangeParts>) {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        for known in exchanges.iter_mut().filter(|known| known.name == parts.name) {
            *known = Arc::clone(parts);
        }
    }

    async fn run_resume(&self, resuming: Resuming) -> Result<(), ResumeError> {
        let parts = &resuming.parts;
        let exchange = parts.name;
        let stops = parts.scope.child("resuming", Phase::StopNewOrders);
        let of = self.again.of(exchange);
        let settings = of.map_or(&self.config.connection, |found| &found.config.connection);
        let live = start::is_live(parts, settings, Instant::now(), parts.desk.compared());
        let live = tokio::select! {
            biased;
            () = stops.cancelled() => return Err(ResumeError::Stopping { exchange }),
            live = live => live,
        };
        if let Err(problem) = live {
            warn!(%exchange, %problem, "not resumed");
            self.go_back(resuming).await;
            return Err(problem.into());
        }
        let mut draining = self.draining();
        if self.stopping.load(Ordering::Acquire) {
            return Err(ResumeError::Stopping { exchange });
        }
        parts.desk.let_in();
        draining.remove(&exchange);
        info!(%exchange, "resumed");
        Ok(())
    }

    /// Ends what was started: no order was let in. A shutdown that begins meanwhile finds an exchange
    /// that ends already.
    async fn go_back(&self, resuming: Resuming) {
        let Resuming { before, report, parts } = resuming;
        let desk = &parts.desk;
        desk.close_gate(Phase::StopNewOrders);
        if !desk.is_down() && timeout(DISARM_LIMIT, desk.disarm_switch()).await.is_err() {
            warn!(exchange = %parts.name, "the dead-man's switch could not be taken off in time");
        }
        desk.close_gate(Phase::Disconnect);
        parts.scope.cancel();
        let mut ended = timeout(END_LIMIT, parts.scope.join()).await;
        if ended.is_err() {
            parts.cut.cancel();
            ended = timeout(CUT_LIMIT, parts.scope.join()).await;
        }
        let mut draining = self.draining();
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        desk.close_gate(Phase::Complete);
        desk.abandon_waiters();
        // What does not end stays known, so that nothing is started beside it.
        if ended.is_ok() {
            self.replace(&before);
        } else {
            parts.scope.fail(format!("{} tasks did not end", parts.scope.running()));
        }
        draining.insert(parts.name, Drained::Draining(report));
    }
}
