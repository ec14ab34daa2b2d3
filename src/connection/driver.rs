//! Walks a connection through its life: attempt, live, wait, again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;
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
use crate::scope::Scope;
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
    /// Cancelled when the socket must be dropped without waiting for the peer.
    pub(crate) cut: CancellationToken,
    pub(crate) role: Role,
    pub(crate) record: Arc<ConnectionRecord>,
    pub(crate) random: fastrand::Rng,
}

impl Driver {
    /// Keeps the connection alive until its scope is cancelled, then closes it in order.
    pub(crate) async fn run(self) {
        let mut guard =
            Guard { role: self.role.clone(), record: Arc::clone(&self.record), ended: false };
        self.supervise().await;
        guard.ended = true;
    }

    async fn supervise(mut self) {
        let config = &self.config;
        let mut backoff = Backoff::new(config.backoff_min, config.backoff_max, config.stable_after);
        let mut heard: Option<Timestamp> = None;
        while !self.is_over() {
            self.record.set_status(ConnectionStatus::Connecting);
            let outcome = self.attempt(heard).await;
            heard = outcome.heard.or(heard);
            if let Role::Trading { desk } = &self.role {
                desk.session_lost(&outcome.ending.to_string());
            }
            let (exchange, connection) = (self.exchange, self.role.kind());
            let ending = &outcome.ending;
            match ending {
                Ending::ClosedHere => break,
                _ if self.is_over() => {
                    warn!(%exchange, %connection, %ending, "connection ended during shutdown");
                    break;
                }
                // One that is replaced again and again waits like one that fails.
                Ending::Planned { .. } if outcome.live_for >= self.config.stable_after => {
                    info!(%exchange, %connection, %ending, "connection ended");
                    continue;
                }
                _ if ending.is_permanent() => {
                    self.scope.fail(format!("{ending}; not tried again"));
                    let reason = ending.to_string();
                    self.record.set_status(ConnectionStatus::Failed { reason });
                    return;
                }
                _ => {}
            }
            backoff.was_live(outcome.live_for);
            let wait = backoff.next(&mut self.random);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            warn!(%exchange, %connection, %ending, wait_ms, "connection ended");
            let reason = ending.to_string();
            self.record.set_status(ConnectionStatus::Waiting { reason });
            tokio::select! {
                biased;
                () = self.scope.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        // A stage only if no socket of this shutdown told how it ended.
        self.record.reached(Stage::Dropped, None, Some("it was not connected"));
        self.record.set_status(ConnectionStatus::Closed);
    }

    /// Whether nobody needs the connection any more. Once the feed has ended, a market connection
    /// that is lost does not come back only to be closed.
    fn is_over(&self) -> bool {
        let feed_ended = matches!(&self.role, Role::Market { feed, .. } if feed.is_cancelled());
        feed_ended || self.scope.is_cancelled()
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
            let response = net::request(self.connector.as_ref(), request, limit).await?;
            session.prepared(&response).map_err(Ending::Refused)?;
        }
        let connect = async {
            let stream = self
                .connector
                .connect(&rules.url)
                .await
                .map_err(|error| Ending::CannotConnect { reason: error.to_string() })?;
            Socket::handshake(&rules.url, stream, self.config.max_message_bytes)
                .await
                .map_err(|error| Ending::CannotConnect { reason: error.to_string() })
        };
        timeout(limit, connect)
            .await
            .map_err(|_| Ending::TimedOut { what: "connecting", limit_ms: limit.as_millis() })?
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
