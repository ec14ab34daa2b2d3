//! What a connection is doing and what happened to it, for the report, the log and the dashboard.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::exchange::ConnectionKind;
use crate::report::{ConnectionReport, RoundTrips, Stage, StageReport};
use crate::types::{ExchangeName, Timestamp};

/// Where a connection stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// Waits before the next attempt.
    Waiting {
        /// How the last one ended.
        reason: String,
    },
    /// Opens the socket, logs in, subscribes.
    Connecting,
    /// Subscribed and, if it trades, reconciled or reconciling.
    Live,
    /// The close handshake is under way.
    Closing,
    /// Over, as asked.
    Closed,
    /// Given up: trying again is pointless until the configuration changes.
    Failed {
        /// In the exchange's words.
        reason: String,
    },
}

impl fmt::Display for ConnectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { reason } => write!(f, "waiting ({reason})"),
            Self::Connecting => f.pad("connecting"),
            Self::Live => f.pad("live"),
            Self::Closing => f.pad("closing"),
            Self::Closed => f.pad("closed"),
            Self::Failed { reason } => write!(f, "failed ({reason})"),
        }
    }
}

/// A connection at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionSnapshot {
    /// The exchange's name in the configuration.
    pub exchange: ExchangeName,
    /// Which of its connections.
    pub connection: ConnectionKind,
    /// Where it stands.
    #[serde(flatten)]
    pub status: ConnectionStatus,
    /// Frames received since start.
    pub frames: u64,
    /// Ticks received since start.
    pub ticks: u64,
    /// Messages that could not be read since start.
    pub unreadable: u64,
    /// Well-formed messages of no interest since start.
    pub ignored: u64,
    /// Times it was live again after it was lost, or after its exchange was drained.
    pub reconnects: u64,
}

pub(crate) struct ConnectionRecord {
    exchange: ExchangeName,
    kind: ConnectionKind,
    status: watch::Sender<ConnectionStatus>,
    stages: Mutex<Stages>,
    pub(super) frames: AtomicU64,
    pub(super) ticks: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) reconnects: AtomicU64,
    /// When the exchange last said something on a connection that was live.
    heard: Mutex<Option<Timestamp>>,
    round_trips: Mutex<Option<RoundTrips>>,
}

#[derive(Default)]
struct Stages {
    epoch: Option<Instant>,
    /// With the moment, because a drain and a shutdown after it begin at different times.
    reached: Vec<(Instant, Stage)>,
    close_sent: Option<u16>,
    close_received: Option<u16>,
    problem: Option<String>,
    not_unsubscribed: bool,
    /// Whether it was live when the shutdown began.
    was_live: bool,
}

impl ConnectionRecord {
    pub(crate) fn new(exchange: ExchangeName, kind: ConnectionKind) -> Self {
        let (status, _) = watch::channel(ConnectionStatus::Connecting);
        Self {
            exchange,
            kind,
            status,
            stages: Mutex::default(),
            frames: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            heard: Mutex::default(),
            round_trips: Mutex::default(),
        }
    }

    /// The record of a connection that takes the place of this one, which has ended: it counts on.
    pub(crate) fn successor(&self) -> Self {
        let copy = |counter: &AtomicU64| AtomicU64::new(counter.load(Ordering::Relaxed));
        Self {
            frames: copy(&self.frames),
            ticks: copy(&self.ticks),
            unreadable: copy(&self.unreadable),
            ignored: copy(&self.ignored),
            reconnects: copy(&self.reconnects),
            heard: Mutex::new(self.heard()),
            round_trips: Mutex::new(self.round_trips()),
            ..Self::new(self.exchange, self.kind)
        }
    }

    /// When the exchange last said something on a connection of this kind that was live.
    pub(super) fn heard(&self) -> Option<Timestamp> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of the connection itself was answered after this time.
    pub(super) fn took(&self, time: Duration) {
        let mut known = self.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(RoundTrips::and(*known, time));
    }

    /// The times from requests of the connection itself to their answers, if there were any.
    pub(crate) fn round_trips(&self) -> Option<RoundTrips> {
        *self.round_trips.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many round trips the end of this connection took, of those that nothing can save: the
    /// unsubscription and the close frames, if it was live when the shutdown began.
    pub(crate) fn closing_trips(&self) -> u32 {
        let stages = self.stages();
        let has = |stage| stages.reached.iter().any(|(_, known)| *known == stage);
        let answered = [Stage::Unsubscribed, Stage::CloseFrameReceived];
        if !stages.was_live || !has(Stage::CloseFrameSent) {
            return 0;
        }
        answered.into_iter().map(|stage| u32::from(has(stage))).sum()
    }

    pub(super) fn set_heard(&self, at: Timestamp) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn stages(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_status(&self, status: ConnectionStatus) {
        self.status.send_replace(status);
    }

    /// Follows the status.
    pub(crate) fn watch(&self) -> watch::Receiver<ConnectionStatus> {
        self.status.subscribe()
    }

    pub(crate) fn kind(&self) -> ConnectionKind {
        self.kind
    }

    /// The shutdown of this connection's exchange began: stages are timed from here.
    pub(crate) fn begin(&self, epoch: Instant) {
        let was_live = *self.status.borrow() == ConnectionStatus::Live;
        let mut stages = self.stages();
        stages.epoch = Some(epoch);
        stages.was_live = was_live;
    }

    /// A new socket has its own stages.
    pub(super) fn new_socket(&self) {
        let mut stages = self.stages();
        let &mut Stages { epoch, was_live, .. } = &mut *stages;
        *stages = Stages { epoch, was_live, ..Stages::default() };
    }

    /// A disconnect stage was reached. Logged once each; before [`begin`](Self::begin) closes are
    /// part of a reconnect and no stage.
    pub(super) fn reached(&self, stage: Stage, code: Option<u16>, reason: Option<&str>) {
        let mut stages = self.stages();
        let Some(epoch) = stages.epoch else { return };
        let known = |stage| stages.reached.iter().any(|(_, known)| *known == stage);
        // A connection that closed in order is not dropped as well.
        if known(stage) || (stage == Stage::Dropped && known(Stage::TcpClosed)) {
            return;
        }
        match stage {
            Stage::CloseFrameSent => stages.close_sent = code,
            Stage::CloseFrameReceived => stages.close_received = code,
            Stage::Dropped => stages.problem = reason.map(str::to_owned),
            _ => {}
        }
        let details = StageDetails { code, reason, ..StageDetails::default() };
        let now = Instant::now();
        log_stage(self.exchange, self.kind.as_str(), stage, now - epoch, &details);
        stages.reached.push((now, stage));
    }

    /// The exchange did not acknowledge the unsubscription in time.
    pub(super) fn not_unsubscribed(&self) {
        self.stages().not_unsubscribed = true;
    }

    pub(crate) fn snapshot(&self) -> ConnectionSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConnectionSnapshot {
            exchange: self.exchange,
            connection: self.kind,
            status: self.status.borrow().clone(),
            frames: load(&self.frames),
            ticks: load(&self.ticks),
            unreadable: load(&self.unreadable),
            ignored: load(&self.ignored),
            reconnects: load(&self.reconnects),
        }
    }

    pub(crate) fn report(&self) -> ConnectionReport {
        let stages = self.stages();
        let has = |stage| stages.reached.iter().any(|(_, known)| *known == stage);
        let since = |at: Instant| {
            stages.epoch.map_or(Duration::ZERO, |epoch| at.saturating_duration_since(epoch))
        };
        let closed_earlier = stages.epoch.is_some_and(|epoch| {
            stages.reached.last().is_some_and(|(reached, _)| *reached < epoch)
        });
        let closed_in_order =
            has(Stage::CloseFrameSent) && has(Stage::CloseFrameReceived) && has(Stage::TcpClosed);
        let problem = match &stages.problem {
            _ if closed_in_order && stages.not_unsubscribed => {
                Some("the unsubscription was not acknowledged in time".to_owned())
            }
            _ if closed_in_order => None,
            Some(problem) => Some(problem.clone()),
            None if has(Stage::CloseFrameSent) => Some("the close did not end".to_owned()),
            None => Some("no close frame could be sent".to_owned()),
        };
        ConnectionReport {
            connection: self.kind.as_str().to_owned(),
            closed_earlier,
            stages: stages
                .reached
                .iter()
                .map(|&(at, stage)| StageReport::new(stage, millis(since(at))))
                .collect(),
            close_sent: stages.close_sent,
            close_received: stages.close_received,
            closed_in_order,
            problem,
        }
    }
}

/// What a stage's log line says beside its name and time.
#[derive(Debug, Default)]
pub(crate) struct StageDetails<'a> {
    pub(crate) count: Option<usize>,
    pub(crate) unconfirmed: Option<usize>,
    pub(crate) code: Option<u16>,
    pub(crate) reason: Option<&'a str>,
}

/// Logs a disconnect stage in the form that `inspect` reads, and tells its time in milliseconds.
pub(crate) fn log_stage(
    exchange: ExchangeName,
    connection: &str,
    stage: Stage,
    elapsed: Duration,
    details: &StageDetails<'_>,
) -> u64 {
    let elapsed_ms = millis(elapsed);
    let &StageDetails { count, unconfirmed, code, reason } = details;
    info!(
        target: "exchange_gateway::stage",
        %exchange, connection, %stage, elapsed_ms, count, unconfirmed, code, reason,
        "disconnect stage"
    );
    elapsed_ms
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
