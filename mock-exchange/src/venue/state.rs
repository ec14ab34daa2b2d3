//! One venue behind its lock: the engine, the connections, the faults and the log.

mod entry;
mod trouble;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::clock::Clock;
use crate::config::{Credentials, VenueConfig};
use crate::connection::{Ended, Outgoing, Peer};
use crate::engine::{Engine, EngineEvent, Order, OrderId, Reject};
use crate::faults::{FaultAction, FaultSet, Occasion, Refusal, When};
use crate::instrument::{Instrument, InstrumentId};
use crate::ledger::{CancelRecord, ConnectionRecord, RequestRecord};
use crate::protocol::{ConnectionId, ConnectionKind, Notice, SystemStatus};

/// Requests, cancels and ended connections that the ledger keeps.
const LOG_LIMIT: usize = 50_000;
/// How late an update comes that a fault reorders and nothing follows.
const REORDER_LIMIT: Duration = Duration::from_millis(50);

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It goes out at once.
    Send,
    /// It never goes out.
    Lose,
    /// It goes out late.
    Delay(Duration),
}

/// What came of placing an order.
#[derive(Debug)]
pub(crate) struct Placed {
    /// The order as it is after the command, or why it was refused.
    pub(crate) outcome: Result<Order, Reject>,
    /// What becomes of the answer; give it to [`VenueState::reply`].
    pub(crate) ack: Ack,
    /// To be published after the answer.
    pub(crate) events: Vec<EngineEvent>,
}

/// What came of a cancel.
#[derive(Debug)]
pub(crate) struct CancelResult {
    pub(crate) outcome: CancelAnswer,
    /// What becomes of the answer; give it to [`VenueState::reply`].
    pub(crate) ack: Ack,
    /// To be published after the answer.
    pub(crate) events: Vec<EngineEvent>,
}

/// What the answer to a cancel says.
#[derive(Clone, Debug)]
pub(crate) enum CancelAnswer {
    /// Cancelled: the order as it was taken out. Under the fault that acknowledges a cancel
    /// without doing it, a lie.
    Canceled(Order),
    /// Not open.
    NotOpen,
    /// A scripted fault refused it.
    Refused { code: Option<i64>, text: String },
}

enum Timed {
    Cancel(OrderId),
    Status(SystemStatus),
    Accept,
}

struct Connected {
    peer: Arc<Peer>,
    record: ConnectionRecord,
    /// An update that a fault holds back until the next one, or until the instant.
    held: Option<(Instant, Utf8Bytes)>,
}

/// The state of one venue.
pub(crate) struct VenueState {
    pub(crate) config: VenueConfig,
    pub(crate) credentials: Credentials,
    pub(crate) instruments: Arc<[Instrument]>,
    pub(crate) engine: Engine,
    pub(crate) status: SystemStatus,
    pub(super) faults: FaultSet,
    clock: Clock,
    connections: BTreeMap<ConnectionId, Connected>,
    ended: VecDeque<ConnectionRecord>,
    next_connection: ConnectionId,
    placed: u64,
    cancels: VecDeque<CancelRecord>,
    requests: VecDeque<RequestRecord>,
    timed: BTreeMap<(Instant, u64), Timed>,
    timed_sequence: u64,
    refusing: Option<Refusal>,
    notices: Vec<Notice>,
    dirty: bool,
    rescheduled: bool,
    pub(super) unknown_event: String,
}

impl VenueState {
    pub(super) fn new(
        config: VenueConfig,
        credentials: Credentials,
        engine: Engine,
        clock: Clock,
    ) -> Self {
        Self {
            config,
            credentials,
            instruments: engine.instruments().clone(),
            engine,
            status: SystemStatus::Online,
            faults: FaultSet::default(),
            clock,
            connections: BTreeMap::new(),
            ended: VecDeque::new(),
            next_connection: 1,
            placed: 0,
            cancels: VecDeque::new(),
            requests: VecDeque::new(),
            timed: BTreeMap::new(),
            timed_sequence: 0,
            refusing: None,
            notices: Vec::new(),
            dirty: false,
            rescheduled: false,
            unknown_event: String::new(),
        }
    }

    /// The exchange's wall-clock time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The listed instrument with this venue symbol.
    pub(crate) fn instrument(&self, symbol: &str) -> Option<InstrumentId> {
        self.instruments.iter().position(|listed| *listed.symbol == *symbol)
    }

    /// Says that the ledger changed or a timer moved, outside of the methods that know it.
    pub(crate) fn reschedule(&mut self) {
        self.rescheduled = true;
    }

    /// Sends a text frame.
    pub(crate) fn send(&mut self, connection: ConnectionId, text: impl Into<Utf8Bytes>) {
        self.reply(connection, Ack::Send, text);
    }

    /// Sends an answer, late or not at all if a fault says so.
    pub(crate) fn reply(&mut self, connection: ConnectionId, ack: Ack, text: impl Into<Utf8Bytes>) {
        let Some(connected) = self.connections.get(&connection) else { return };
        let delay = match ack {
            Ack::Send => Duration::ZERO,
            Ack::Delay(delay) => delay,
            Ack::Lose => return,
        };
        connected.peer.push(Outgoing::Text(text.into()), delay);
    }

    /// Sends market data; it is left out for a connection that does not keep up.
    pub(crate) fn send_market(&self, connection: ConnectionId, text: Utf8Bytes) {
        if let Some(connected) = self.connections.get(&connection) {
            connected.peer.push_market(text);
        }
    }

    /// Sends an update of an own order, as the faults of updates have it.
    pub(crate) fn send_update(
        &mut self,
        connection: ConnectionId,
        order: &Order,
        text: impl Into<Utf8Bytes>,
    ) {
        let text = text.into();
        let occasion = Occasion {
            connection: self.kind(connection).map(|kind| (connection, kind)),
            order: Some((&order.client_id, &order.symbol, order.id)),
        };
        let actions = self.faults.strike(When::Update, occasion, Instant::now());
        let mut copies = 1;
        let mut ack = Ack::Send;
        let mut reorder = false;
        for action in actions {
            match action {
                FaultAction::DuplicateUpdates => copies += 1,
                FaultAction::LoseUpdates => copies = 0,
                FaultAction::DelayUpdates { ms } => ack = Ack::Delay(Duration::from_millis(ms)),
                FaultAction::ReorderUpdates => reorder = true,
                other => self.disturb(connection, &other),
            }
        }
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        if reorder && copies > 0 && connected.held.is_none() {
            connected.held = Some((Instant::now() + REORDER_LIMIT, text));
            self.rescheduled = true;
            return;
        }
        let held = connected.held.take();
        for _ in 0..copies {
            self.reply(connection, ack, text.clone());
        }
        if let Some((_, held)) = held {
            self.send(connection, held);
        }
    }

    /// Sets the text that the connection loop sends when the connection was idle.
    pub(crate) fn set_heartbeat(&mut self, connection: ConnectionId, text: Option<Utf8Bytes>) {
        if let Some(connected) = self.connections.get(&connection) {
            connected.peer.set_heartbeat(text);
        }
    }

    /// Closes a connection from the server's side.
    pub(crate) fn close(&mut self, connection: ConnectionId, code: u16, reason: &str) {
        if let Some(connected) = self.connections.get(&connection) {
            let close = Outgoing::Close { code, reason: reason.to_owned() };
            connected.peer.push(close, Duration::ZERO);
        }
    }

    /// Says what a connection turned out to be for.
    pub(crate) fn set_kind(&mut self, connection: ConnectionId, kind: ConnectionKind) {
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        if connected.record.kind == kind {
            return;
        }
        connected.record.kind = kind;
        self.dirty = true;
        // For a fault that waits for a connection of this kind, it opens only now.
        let now = Instant::now();
        for action in self.faults.strike_kind(connection, kind, now) {
            self.disturb(connection, &action);
        }
    }

    /// What a connection is for.
    pub(crate) fn kind(&self, connection: ConnectionId) -> Option<ConnectionKind> {
        self.connections.get(&connection).map(|connected| connected.record.kind)
    }

    /// When a connection opened.
    pub(crate) fn opened_at(&self, connection: ConnectionId) -> Option<Timestamp> {
        self.connections.get(&connection).map(|connected| connected.record.opened)
    }

    /// The open connections.
    pub(crate) fn connection_ids(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }

    pub(super) fn connect(&mut self, path: String, kind: ConnectionKind) -> Arc<Peer> {
        let id = self.next_connection;
        self.next_connection += 1;
        let peer = Arc::new(Peer::new(id, self.config.latency, self.config.queue_frames));
        let record = ConnectionRecord {
            id,
            path,
            kind,
            opened: self.now(),
            closed: None,
            closed_by: None,
            close_code_sent: None,
            close_code_received: None,
            frames_in: 0,
            frames_out: 0,
            frames_dropped: 0,
        };
        self.connections.insert(id, Connected { peer: peer.clone(), record, held: None });
        self.dirty = true;
        peer
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId, ended: Ended) {
        let Some(connected) = self.connections.remove(&connection) else { return };
        let mut record = counted(&connected);
        record.closed = Some(self.now());
        record.closed_by = ended.by;
        record.close_code_sent = ended.code_sent;
        record.close_code_received = ended.code_received;
        bounded_push(&mut self.ended, record);
        self.dirty = true;
    }

    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        self.connections.values().map(|connected| connected.peer.clone()).collect()
    }

    pub(super) fn connection_records(&self) -> Vec<ConnectionRecord> {
        let open = self.connections.values().map(counted);
        let mut records: Vec<_> = self.ended.iter().cloned().chain(open).collect();
        records.sort_unstable_by_key(|record| record.id);
        records
    }

    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn mark_changed(&mut self) {
        self.dirty = true;
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn take_rescheduled(&mut self) -> bool {
        std::mem::take(&mut self.rescheduled)
    }
}

fn counted(connected: &Connected) -> ConnectionRecord {
    let mut record = connected.record.clone();
    record.frames_in = connected.peer.frames_in.load(Ordering::Relaxed);
    record.frames_out = connected.peer.frames_out.load(Ordering::Relaxed);
    record.frames_dropped = connected.peer.frames_dropped.load(Ordering::Relaxed);
    record
}

fn bounded_push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= LOG_LIMIT {
        list.pop_front();
    }
    list.push_back(item);
}
