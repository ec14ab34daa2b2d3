//! One venue behind its lock: the engine, the connections, the faults and the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::clock::Clock;
use crate::config::{Credentials, VenueConfig};
use crate::connection::{Disturbance, Ended, Outgoing, Peer};
use crate::engine::{Engine, EngineEvent, NewOrder, Order, OrderId, Reject};
use crate::faults::{FaultAction, FaultSet, Occasion, Refusal, When};
use crate::instrument::{Instrument, InstrumentId};
use crate::ledger::{CancelOutcome, CancelRecord, ConnectionRecord, RequestRecord};
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

    // ---- frames ----

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

    // ---- connections ----

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

    // ---- orders ----

    /// Notes an order-entry request before it is processed.
    pub(crate) fn log_request(
        &mut self,
        connection: Option<ConnectionId>,
        method: &str,
        client_id: Option<&str>,
    ) {
        let record = RequestRecord {
            time: self.now(),
            method: method.to_owned(),
            client_id: client_id.map(str::to_owned),
            connection,
        };
        bounded_push(&mut self.requests, record);
        self.dirty = true;
    }

    /// Places an order, as the faults have it. Answer first, then publish the events.
    pub(crate) fn place(&mut self, from: Option<ConnectionId>, order: NewOrder) -> Placed {
        self.placed += 1;
        self.dirty = true;
        let symbol = self.instruments[order.instrument].symbol.clone();
        let client_id = order.client_id.clone();
        let occasion = Occasion {
            connection: self.origin(from),
            order: Some((&client_id, &symbol, self.placed)),
        };
        let mut ack = Ack::Send;
        let mut refused = None;
        let mut after = Vec::new();
        for action in self.faults.strike(When::Place, occasion, Instant::now()) {
            match action {
                FaultAction::DelayAck { ms } => ack = Ack::Delay(Duration::from_millis(ms)),
                FaultAction::LoseAck => ack = Ack::Lose,
                FaultAction::Reject { code, text } => refused = Some(Reject::Fault { code, text }),
                other => after.push(other),
            }
        }
        let mut events = Vec::new();
        let now = self.now();
        let outcome = match refused {
            Some(reject) => Err(reject),
            None => self.engine.place(order, now, &mut events),
        };
        let outcome =
            outcome.and_then(|id| self.engine.order(id).cloned().ok_or(Reject::DuplicateClientId));
        self.disturb_origin(from, &after);
        if ack == Ack::Send && cuts_off(&after) {
            ack = Ack::Lose;
        }
        Placed { outcome, ack, events }
    }

    /// Cancels an order, as the faults have it. `named` is what the request called it, for the
    /// log; `cancel_id` the client's own id of the cancel. Answer first, then publish the events.
    pub(crate) fn cancel(
        &mut self,
        from: Option<ConnectionId>,
        id: Option<OrderId>,
        named: &str,
        cancel_id: Option<Arc<str>>,
    ) -> CancelResult {
        self.dirty = true;
        let now = self.now();
        let known = id.and_then(|id| self.engine.order(id)).cloned();
        let occasion = Occasion {
            connection: self.origin(from),
            order: known.as_ref().map(|order| (&*order.client_id, &*order.symbol, order.id)),
        };
        let name = known.as_ref().map_or(named, |order| &order.client_id).to_owned();
        let mut ack = Ack::Send;
        let mut events = Vec::new();
        let mut ignored = None;
        let mut refused = None;
        let mut after = Vec::new();
        let open = known.as_ref().is_some_and(|order| order.status.is_open());
        for action in self.faults.strike(When::Cancel, occasion, Instant::now()) {
            match action {
                FaultAction::LoseCancelAck => ack = Ack::Lose,
                FaultAction::DelayCancelAck { ms } => ack = Ack::Delay(Duration::from_millis(ms)),
                FaultAction::FillDuringCancel { quantity } => {
                    if let Some(order) = &known {
                        self.engine.fill(order.id, quantity, now, &mut events);
                    }
                }
                FaultAction::IgnoreCancel { ack: answered, for_ms } => {
                    ignored = Some(for_ms);
                    if !answered {
                        ack = Ack::Lose;
                    }
                }
                FaultAction::RejectCancel { code, text } => {
                    refused = Some(CancelAnswer::Refused { code, text });
                }
                other => after.push(other),
            }
        }
        let (answer, outcome) = if let Some(refusal) = refused {
            (refusal, CancelOutcome::Refused)
        } else if let (Some(for_ms), Some(order), true) = (ignored, known.clone(), open) {
            if let Some(ms) = for_ms {
                self.at(Duration::from_millis(ms), Timed::Cancel(order.id));
            }
            let shown = Order { status: crate::engine::OrderStatus::Canceled, ..order };
            (CancelAnswer::Canceled(shown), CancelOutcome::Ignored)
        } else if let Some(order) =
            known.filter(|order| self.engine.cancel(order.id, cancel_id, now, &mut events))
        {
            let after = self.engine.order(order.id).cloned().unwrap_or(order);
            (CancelAnswer::Canceled(after), CancelOutcome::Canceled)
        } else {
            (CancelAnswer::NotOpen, CancelOutcome::NotOpen)
        };
        bounded_push(&mut self.cancels, CancelRecord { order: name, when: now, outcome });
        self.disturb_origin(from, &after);
        if ack == Ack::Send && cuts_off(&after) {
            ack = Ack::Lose;
        }
        CancelResult { outcome: answer, ack, events }
    }

    /// Changes an open order in place; false when it is not open. Publish the events after the
    /// answer.
    pub(crate) fn amend(
        &mut self,
        id: OrderId,
        quantity: Decimal,
        price: Decimal,
        events: &mut Vec<EngineEvent>,
    ) -> Result<bool, Reject> {
        self.dirty = true;
        let now = self.now();
        self.engine.amend(id, quantity, price, now, events)
    }

    pub(super) fn cancels(&self) -> Vec<CancelRecord> {
        self.cancels.iter().cloned().collect()
    }

    pub(super) fn requests(&self) -> Vec<RequestRecord> {
        self.requests.iter().cloned().collect()
    }

    // ---- faults and time ----

    pub(super) fn refusing(&self) -> Option<Refusal> {
        self.refusing
    }

    /// Faults that wait for a connection to open.
    pub(super) fn strike_open(&mut self, connection: ConnectionId) {
        self.strike_connection(When::Open, connection);
    }

    /// Faults that wait for a message; false when the message must not be processed.
    pub(super) fn strike_message(&mut self, connection: ConnectionId) -> bool {
        let actions = self.strike_connection(When::Message, connection);
        !cuts_off(&actions)
    }

    fn strike_connection(&mut self, when: When, connection: ConnectionId) -> Vec<FaultAction> {
        let occasion = Occasion { connection: self.origin(Some(connection)), order: None };
        let actions = self.faults.strike(when, occasion, Instant::now());
        for action in &actions {
            self.disturb(connection, action);
        }
        actions
    }

    /// Faults whose time has come, on everything that is open.
    pub(super) fn strike_now(&mut self) {
        let now = Instant::now();
        for action in self.faults.strike_venue(now) {
            self.venue_wide(&action);
        }
        for connection in self.connection_ids() {
            self.strike_connection(When::Now, connection);
        }
        self.faults.finish_now();
        self.rescheduled = true;
    }

    /// Does what is due; the events are to be published.
    pub(super) fn run_due(&mut self) -> Vec<EngineEvent> {
        let now = Instant::now();
        let mut events = Vec::new();
        if self.faults.next_due().is_some_and(|due| due <= now) {
            self.strike_now();
        }
        while let Some(entry) = self.timed.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Timed::Cancel(id) => {
                    let time = self.now();
                    self.engine.cancel(id, None, time, &mut events);
                    self.dirty = true;
                }
                Timed::Status(status) => {
                    self.status = status;
                    self.notices.push(Notice::Status);
                }
                Timed::Accept => self.refusing = None,
            }
        }
        self.release_held(now);
        events
    }

    fn release_held(&mut self, now: Instant) {
        for connected in self.connections.values_mut() {
            if let Some((_, text)) = connected.held.take_if(|(due, _)| *due <= now) {
                connected.peer.push(Outgoing::Text(text), Duration::ZERO);
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let held = self.connections.values().filter_map(|connected| connected.held.as_ref());
        let release = held.map(|(due, _)| *due).min();
        let timed = self.timed.first_key_value().map(|((due, _), _)| *due);
        let fault = self.faults.next_due().filter(|due| *due > Instant::now());
        [timed, fault, release].into_iter().flatten().min()
    }

    fn at(&mut self, delay: Duration, timed: Timed) {
        self.timed_sequence += 1;
        self.timed.insert((Instant::now() + delay, self.timed_sequence), timed);
        self.rescheduled = true;
    }

    fn origin(&self, from: Option<ConnectionId>) -> Option<(ConnectionId, ConnectionKind)> {
        from.and_then(|id| self.kind(id).map(|kind| (id, kind)))
    }

    fn disturb_origin(&mut self, from: Option<ConnectionId>, actions: &[FaultAction]) {
        for action in actions {
            match from {
                Some(connection) => self.disturb(connection, action),
                None => self.venue_wide(action),
            }
        }
    }

    /// Does to a connection what a fault says.
    pub(super) fn disturb(&mut self, connection: ConnectionId, action: &FaultAction) {
        let millis = |ms: &Option<u64>| ms.map(Duration::from_millis);
        let disturbance = match action {
            FaultAction::Drop { how } => Disturbance::Drop(*how),
            FaultAction::StopReading { for_ms } => Disturbance::StopReading(millis(for_ms)),
            FaultAction::GoSilent { for_ms } => Disturbance::GoSilent(millis(for_ms)),
            FaultAction::SendBinary => Disturbance::Binary,
            FaultAction::SendInvalidUtf8 => Disturbance::InvalidUtf8,
            FaultAction::SendOversized { bytes } => Disturbance::Oversized(*bytes),
            FaultAction::SendTruncated => Disturbance::Truncated,
            FaultAction::RefuseClose => Disturbance::RefuseClose,
            FaultAction::SendGarbage { text } => {
                let text = text.clone().unwrap_or_else(|| "\u{fffd}{garbage]".to_owned());
                return self.send(connection, text);
            }
            FaultAction::SendUnknownEvent => {
                return self.send(connection, self.unknown_event.clone());
            }
            FaultAction::Close { code, reason } => return self.close(connection, *code, reason),
            FaultAction::ServerShutdown => {
                let connection = Some(connection);
                return self.notices.push(Notice::ServerShutdown { connection });
            }
            other => return self.venue_wide(other),
        };
        if let Some(connected) = self.connections.get(&connection) {
            connected.peer.push(Outgoing::Disturb(disturbance), Duration::ZERO);
        }
    }

    fn venue_wide(&mut self, action: &FaultAction) {
        match action {
            FaultAction::RefuseConnections { how, for_ms } => {
                self.refusing = Some(*how);
                if let Some(ms) = for_ms {
                    self.at(Duration::from_millis(*ms), Timed::Accept);
                }
            }
            FaultAction::Status { status, for_ms } => {
                self.status = *status;
                self.notices.push(Notice::Status);
                if let Some(ms) = for_ms {
                    let online = Timed::Status(SystemStatus::Online);
                    self.at(Duration::from_millis(*ms), online);
                }
            }
            _ => {}
        }
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

/// Whether one of the actions ends the conversation, so that nothing more may be said.
fn cuts_off(actions: &[FaultAction]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, FaultAction::Drop { .. } | FaultAction::SendTruncated))
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
