//! Walks a connection through its life: attempt, live, wait, again.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::ending::Ending;
use super::live::{Half, Live};
use super::liveness::LivenessRules;
use super::socket::Socket;
use super::{ConnectionRecord, ConnectionStatus};
use crate::clock::Clock;
use crate::config::ConnectionConfig;
use crate::exchange::{Adapter, ConnectionKind, ConnectionRules, Session, SymbolTable};
use crate::market::Router;
use crate::net::{self, Connector};
use crate::orders::Desk;
use crate::report::Stage;
use crate::scope::{Scope, panic_message};
use crate::types::{ExchangeName, Timestamp};

/// Where a connection's events go.
#[derive(Clone)]
pub(crate) enum Role {
    /// Ticks go to the router. The scope is cancelled when the feed must be unsubscribed.
    Market { router: Arc<Router>, feed: Scope },
    /// Order events go to the desk, and its commands are written.
    Trading { desk: Arc<Desk> },
}

impl Role {
    pub(crate) fn kind(&self) -> ConnectionKind {
        match self {
            Self::Market { .. } => ConnectionKind::Market,
            Self::Trading { .. } => ConnectionKind::Trading,
        }
    }
}

/// Everything that a connection needs. [`run`](Self::run) is its task.
pub(crate) struct Driver {
    pub(crate) exchange: ExchangeName,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) symbols: Arc<SymbolTable>,
    pub(crate) config: ConnectionConfig,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Cancelled when the connection must be closed.
    pub(crate) scope: Scope,
    /// Cancelled when a shutdown begins.
    pub(crate) hurry: Scope,
    /// How long, during a shutdown, what was written to a trading connection may stay without any
    /// answer before the connection is given up for a fresh one.
    pub(crate) answer_limit: Duration,
    /// Cancelled when the socket must be dropped without waiting for the peer.
    pub(crate) cut: CancellationToken,
    pub(crate) role: Role,
    pub(crate) record: Arc<ConnectionRecord>,
    pub(crate) random: fastrand::Rng,
}

/// The least that the limit on messages is on trading connections, in bytes.
const TRADING_MESSAGE: usize = 16 << 20;
/// During a shutdown, the longest wait before a trading connection is tried again.
const HURRIED_WAIT: Duration = Duration::from_millis(500);
/// During a shutdown, the longest that one step of connecting may take.
const HURRIED_CONNECT: Duration = Duration::from_secs(2);

impl Driver {
    /// Keeps the connection alive until its scope is cancelled, then closes it in order. A panic
    /// is survived once.
    pub(crate) async fn run(mut self) {
        let mut guard =
            Guard { role: self.role.clone(), record: Arc::clone(&self.record), ended: false };
        let mut life = Life::new(&self.config);
        let mut restarted = false;
        while let Err(panic) = AssertUnwindSafe(self.supervise(&mut life)).catch_unwind().await {
            if restarted || self.scope.is_cancelled() {
                std::panic::resume_unwind(panic);
            }
            restarted = true;
            let reason = format!("panicked: {}; started again", panic_message(panic.as_ref()));
            if let Role::Trading { desk } = &self.role {
                desk.session_lost(&reason);
            }
            self.scope.fail(reason.clone());
            life.last = Some(reason);
        }
        guard.ended = true;
    }

    async fn supervise(&mut self, life: &mut Life) {
        while !self.is_over() {
            self.record.set_status(ConnectionStatus::Connecting);
            let outcome = self.attempt(life.heard.or(self.record.heard())).await;
            if let Some(heard) = outcome.heard {
                life.heard = outcome.heard;
                self.record.set_heard(heard);
            }
            if let Role::Trading { desk } = &self.role {
                desk.session_lost(&outcome.ending.to_string());
            }
            let (exchange, connection) = (self.exchange, self.role.kind());
            let ending = &outcome.ending;
            if *ending == Ending::ClosedHere {
                break;
            }
            let reason = ending.to_string();
            life.last = Some(reason.clone());
            if self.is_over() {
                warn!(%exchange, %connection, %ending, "connection ended during shutdown, not opened again");
                break;
            }
            life.backoff.was_live(outcome.live_for);
            let wait = match ending {
                // One that is replaced again and again waits like one that fails.
                Ending::Planned { .. } if outcome.live_for >= self.config.stable_after => {
                    info!(%exchange, %connection, %ending, "connection ended");
                    continue;
                }
                // A key or an address that has never worked is wrong. One that has worked may
                // work again, and orders may be open under it.
                _ if ending.is_permanent() && life.heard.is_none() => {
                    self.scope.fail(format!("{ending}; not tried again"));
                    self.record.set_status(ConnectionStatus::Failed { reason });
                    return;
                }
                _ if ending.is_permanent() => self.config.backoff_max,
                _ => life.backoff.next(&mut self.random),
            };
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            warn!(%exchange, %connection, %ending, wait_ms, "connection ended");
            self.record.set_status(ConnectionStatus::Waiting { reason });
            tokio::select! {
                biased;
                () = self.scope.cancelled() => {}
                () = self.pause(wait, &mut life.hurried) => {}
            }
        }
        // A stage only if no socket of this shutdown told how it ended.
        let reason = match &life.last {
            Some(ending) => format!("it was not connected: {ending}"),
            None => "it was not connected".to_owned(),
        };
        self.record.reached(Stage::Dropped, None, Some(&reason));
        self.record.set_status(ConnectionStatus::Closed);
    }

    /// Whether nobody needs the connection any more. Once a shutdown has begun, a market connection
    /// that is lost does not come back only to be closed.
    fn is_over(&self) -> bool {
        let is_market = matches!(self.role, Role::Market { .. });
        self.scope.is_cancelled() || (is_market && self.hurry.is_cancelled())
    }

    /// The wait before the next attempt. A shutdown ends it at once the first time, and keeps it
    /// short from then on: orders may have to be cancelled.
    async fn pause(&self, wait: Duration, hurried: &mut bool) {
        if !self.hurry.is_cancelled() {
            tokio::select! {
                biased;
                () = self.hurry.cancelled() => {}
                () = tokio::time::sleep(wait) => return,
            }
        }
        if std::mem::replace(hurried, true) {
            tokio::time::sleep(wait.min(HURRIED_WAIT)).await;
        }
    }

    async fn attempt(&mut self, heard: Option<Timestamp>) -> Outcome {
        let rules = self.adapter.rules(self.role.kind());
        let mut half = match &self.role {
            Role::Market { .. } => {
                Half::Market(self.adapter.market_session(Arc::clone(&self.symbols)))
            }
            Role::Trading { .. } => {
                Half::Trading(self.adapter.trading_session(Arc::clone(&self.symbols)))
            }
        };
        let established = tokio::select! {
            biased;
            // No WebSocket exists yet that would have to be closed in order.
            () = self.scope.cancelled() => Err(Ending::ClosedHere),
            () = self.needless() => Err(Ending::ClosedHere),
            established = self.establish(&rules, half.session()) => established,
        };
        match established {
            Ok(socket) => {
                let live = Live::new(self, socket, half, self.liveness(&rules), &rules, heard);
                live.serve().await
            }
            Err(ending) => Outcome { ending, live_for: Duration::ZERO, heard: None },
        }
    }

    /// Fetches what the session needs, connects, and makes the WebSocket handshake.
    async fn establish(
        &self,
        rules: &ConnectionRules,
        session: &mut dyn Session,
    ) -> Result<Socket, Ending> {
        let limit = self.config.connect_timeout;
        if let Some(request) = session.before_connect(self.clock.now()) {
            let request = net::request(self.connector.as_ref(), request, limit);
            let response = self.limited("preparing", request).await??;
            session.prepared(&response).map_err(Ending::Refused)?;
        }
        let connect = async {
            let stream = self
                .connector
                .connect(&rules.url)
                .await
                .map_err(|error| Ending::CannotConnect { reason: error.to_string() })?;
            Socket::handshake(&rules.url, stream, self.largest_message())
                .await
                .map_err(|error| Ending::CannotConnect { reason: error.to_string() })
        };
        self.limited("connecting", connect).await?
    }

    /// The largest message that is read. The list of open orders comes as one message, about half a
    /// kilobyte an order, and without it no order could be cancelled.
    fn largest_message(&self) -> usize {
        match self.role {
            Role::Market { .. } => self.config.max_message_bytes,
            Role::Trading { .. } => self.config.max_message_bytes.max(TRADING_MESSAGE),
        }
    }

    /// Gives a step of connecting its time, which a shutdown shortens.
    async fn limited<T>(
        &self,
        what: &'static str,
        step: impl Future<Output = T>,
    ) -> Result<T, Ending> {
        let limit = self.config.connect_timeout;
        let hurried = async {
            self.hurry.cancelled().await;
            tokio::time::sleep(HURRIED_CONNECT).await;
        };
        let over = |limit: Duration| Ending::TimedOut { what, limit_ms: limit.as_millis() };
        tokio::select! {
            biased;
            done = step => Ok(done),
            () = tokio::time::sleep(limit) => Err(over(limit)),
            () = hurried => Err(over(HURRIED_CONNECT)),
        }
    }

    /// Ends when the connection is not needed any more, before it was open.
    async fn needless(&self) {
        match self.role {
            Role::Market { .. } => self.hurry.cancelled().await,
            Role::Trading { .. } => std::future::pending().await,
        }
    }

    fn liveness(&self, rules: &ConnectionRules) -> LivenessRules {
        let is_market = matches!(self.role, Role::Market { .. });
        LivenessRules {
            probe_after: self.config.probe_after.unwrap_or(rules.probe_after),
            dead_after: self.config.dead_after.unwrap_or(rules.dead_after),
            feed_silence: is_market.then_some(self.config.feed_silence),
            lifetime: rules.lifetime,
        }
    }

    /// The connection is subscribed; `heard` is when the one before it last said something.
    pub(super) fn became_live(&self, heard: Option<Timestamp>) {
        self.record.set_status(ConnectionStatus::Live);
        let (exchange, connection) = (self.exchange, self.role.kind());
        let Some(from) = heard else {
            info!(%exchange, %connection, "connection live");
            return;
        };
        self.record.reconnects.fetch_add(1, Ordering::Relaxed);
        let to = self.clock.now();
        info!(%exchange, %connection, gap_from = %from, gap_to = %to, "connection live again");
        if let Role::Market { router, .. } = &self.role {
            router.gap(exchange, from, to);
        }
    }
}

/// What outlives an attempt, and a panic.
struct Life {
    backoff: Backoff,
    /// When the exchange last said something on a connection that was live.
    heard: Option<Timestamp>,
    /// Whether a shutdown has already cut a wait short.
    hurried: bool,
    /// How the last attempt ended.
    last: Option<String>,
}

impl Life {
    fn new(config: &ConnectionConfig) -> Self {
        let backoff = Backoff::new(config.backoff_min, config.backoff_max, config.stable_after);
        Self { backoff, heard: None, hurried: false, last: None }
    }
}

/// Tells the others if the driver's task ends without a word, that is, by a panic.
struct Guard {
    role: Role,
    record: Arc<ConnectionRecord>,
    ended: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let reason = "the connection's task ended unexpectedly";
        if let Role::Trading { desk } = &self.role {
            desk.session_lost(reason);
        }
        self.record.reached(Stage::Dropped, None, Some(reason));
        self.record.set_status(ConnectionStatus::Failed { reason: reason.to_owned() });
    }
}

/// How an attempt ended.
pub(super) struct Outcome {
    pub(super) ending: Ending,
    /// How long it was live; zero if it never was.
    pub(super) live_for: Duration,
    /// When the exchange last said something on it, if it was live.
    pub(super) heard: Option<Timestamp>,
}
