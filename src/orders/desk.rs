//! The desk of one exchange: the book behind a lock, the gate before it, the lane to the
//! connection, and those who wait for answers.
//!
//! The lock is held for a few microseconds and never across an await. The connection calls the
//! desk directly with what the exchange says, so that an answer costs no extra task.

mod closing;
mod fallback;
mod fates;
mod least;
mod resuming;
mod switching;

pub(crate) use closing::ClosingPass;
pub(crate) use fates::Fates;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::book::{Book, Change, Effects, Moment, Patience, Work};
use super::gate::{Gate, Permit};
use super::lane::{Command, Lane, LaneRefusal, LaneState, Popped};
use super::limiter::{CancelRequests, Limiter};
use super::switch::{Switch, SwitchSettings};
use super::{IdGenerator, Journal, OrderError, OrderUpdate};
use crate::clock::Clock;
use crate::exchange::{
    MassCancel, OrderEvent, OrderLimits, OrderNews, SymbolTable, TradingRestriction,
};
use crate::positions::Positions;
use crate::report::{LeftoverOrder, Phase};
use crate::risk::Risk;
use crate::state::{IntentRefused, Record, RecoveredOrder, WriteFailed, Writer};
use crate::types::{
    ClientOrderId, ExchangeName, Instrument, InvalidOrder, NewOrder, OnShutdown, Order, OrderKind,
    OrderStatus, TimeInForce, Timestamp,
};

/// How often the desk looks for answers that did not come, while it waits for some.
const SWEEP: Duration = Duration::from_millis(50);

/// How long new orders wait after "too many requests" when the exchange names no time.
const UNNAMED_PAUSE: Duration = Duration::from_secs(2);
/// The longest that new orders wait, whatever the exchange says; bans last up to three days.
const LONGEST_PAUSE: Duration = Duration::from_secs(3 * 24 * 3600);

/// What the connection may write now.
#[expect(clippy::large_enum_variant, reason = "taken apart at once; a box would allocate for each")]
pub(crate) enum Next {
    /// This command, about this order.
    Write(Command, Order),
    /// One request that cancels every order of an instrument or (`None`) of the account.
    CancelAll(Option<Instrument>),
    /// Nothing until then, for the sake of the exchange's limits.
    WaitUntil(Instant),
    /// Nothing waits.
    Nothing,
}

/// What a desk is made of.
pub(crate) struct DeskSettings {
    pub(crate) exchange: ExchangeName,
    /// Whether the exchange is configured for trading.
    pub(crate) trading: bool,
    pub(crate) patience: Patience,
    /// New orders that may wait for the connection.
    pub(crate) queue: usize,
    /// The exchange's limits on orders, if they are kept, and how much of them new orders leave to
    /// cancels.
    pub(crate) limits: Option<OrderLimits>,
    pub(crate) reserve_percent: u32,
    /// Why the exchange takes no reduce-only orders, if it takes none.
    pub(crate) no_reduce_only: Option<&'static str>,
    pub(crate) switch: SwitchSettings,
    /// The requests that may be used to cancel everything in a scope, whoever placed it.
    pub(crate) mass_cancel: MassCancel,
    pub(crate) symbols: Arc<SymbolTable>,
    pub(crate) ids: Arc<IdGenerator>,
    pub(crate) journal: Arc<Journal>,
    /// What the fills add up to.
    pub(crate) positions: Arc<Positions>,
    /// The limits that new orders must keep, of all exchanges together.
    pub(crate) risk: Arc<Risk>,
    /// Stores every order before it is written, and all that happens to it.
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

pub(crate) struct Desk {
    settings: DeskSettings,
    state: Mutex<State>,
    gate: Gate,
    lane: Lane,
    /// The exchange's dead-man's switch. Its lock may be taken under that of the state, never the
    /// other way round.
    switch: Mutex<Switch>,
    /// Something changed that the sweeper or the coordinator may wait for.
    changed: Notify,
    /// Whether the exit is forced.
    hurried: AtomicBool,
}

struct State {
    book: Book,
    waiters: HashMap<ClientOrderId, Waiters>,
    /// Orders that have not ended and were unknown once: the log tells how they were settled.
    doubted: BTreeSet<ClientOrderId>,
    restriction: TradingRestriction,
    /// Why there is no connection, for messages.
    down_reason: String,
    /// Since when there is no connection, if there was one before.
    down_since: Option<Instant>,
    /// Whether the gateway has ended: nothing more will come.
    ended: bool,
    /// Whether there was a connection when shutdown turned from trading to closing it.
    connected_before_close: Option<bool>,
    /// Whether new orders wait for the whole exchange to be resumed.
    is_resuming: bool,
    /// What the last shutdown, of this exchange or of all, wanted to be cancelled.
    last_cancels: CancelRequests,
}

#[derive(Default)]
struct Waiters {
    placed: Option<oneshot::Sender<Result<Order, OrderError>>>,
    ended: Vec<oneshot::Sender<Order>>,
}

impl Desk {
    pub(crate) fn new(settings: DeskSettings) -> Self {
        let state = State {
            book: Book::new(settings.patience, settings.ids.tag()),
            waiters: HashMap::new(),
            doubted: BTreeSet::new(),
            restriction: TradingRestriction::None,
            down_reason: "not connected yet".into(),
            down_since: None,
            ended: false,
            connected_before_close: None,
            is_resuming: false,
            last_cancels: CancelRequests::default(),
        };
        let limits = settings.limits.clone().unwrap_or_default();
        let lane = Lane::new(settings.queue, Limiter::new(limits, settings.reserve_percent));
        let switch = Mutex::new(Switch::new(settings.switch));
        let (gate, changed) = (Gate::new(), Notify::new());
        let (state, hurried) = (Mutex::new(state), AtomicBool::new(false));
        Self { settings, state, gate, lane, switch, changed, hurried }
    }

    pub(crate) fn exchange(&self) -> ExchangeName {
        self.settings.exchange
    }

    /// What the fills add up to, at all exchanges.
    pub(crate) fn positions(&self) -> &Positions {
        &self.settings.positions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the lock as a task that hangs would, until the other end of the channel is gone.
    #[cfg(test)]
    pub(crate) fn hang(
        &self,
        held: &std::sync::mpsc::Sender<()>,
        until: &std::sync::mpsc::Receiver<()>,
    ) {
        let _state = self.state();
        held.send(()).expect("somebody waits for it");
        _ = until.recv();
    }

    fn now(&self) -> Moment {
        Moment { wall: self.settings.clock.now(), monotonic: Instant::now() }
    }

    // ---- for bots -------------------------------------------------------------------------

    /// Checks an order, takes it in, and queues it once its intent is stored. The receiver gets the
    /// exchange's answer.
    pub(crate) fn submit(
        self: &Arc<Self>,
        request: NewOrder,
    ) -> Result<(ClientOrderId, oneshot::Receiver<Result<Order, OrderError>>), OrderError> {
        let permit = self.gate.enter().map_err(|phase| OrderError::Stopping { phase })?;
        if let Some(unread) = self.settings.journal.overfull() {
            let what = format!("{unread} order updates are not read yet");
            return Err(OrderError::Busy { what });
        }
        self.place(request, permit)
    }

    /// The same for an order that has a permit.
    fn place(
        self: &Arc<Self>,
        request: NewOrder,
        permit: Permit,
    ) -> Result<(ClientOrderId, oneshot::Receiver<Result<Order, OrderError>>), OrderError> {
        let exchange = self.settings.exchange;
        if !self.settings.trading {
            return Err(OrderError::TradingDisabled { exchange });
        }
        let instrument = request.instrument;
        let spec = self.settings.symbols.spec(instrument);
        spec.ok_or(OrderError::UnknownInstrument { instrument })?.check(&request)?;
        let reduce_only = request.reduce_only;
        if let Some(why) = self.settings.no_reduce_only.filter(|_| reduce_only) {
            return Err(InvalidOrder::ReduceOnlyUnsupported { instrument, why }.into());
        }
        if let Some(waiting) = self.state().book.overfull() {
            let what = format!("{waiting} ended orders wait for the exchange to tell their fills");
            return Err(OrderError::Busy { what });
        }
        let id =
            self.settings.ids.next().map_err(|error| OrderError::Busy {
                what: format!("no more order ids: {error}"),
            })?;

        let closes = permit.closes();
        let reduce_only = reduce_only || closes;
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.check_restriction(exchange, &request)?;
        self.lane.reserve(reduce_only).map_err(|refusal| self.refused(&state, refusal))?;
        let now = self.now();
        let open = state.book.open_quantities(instrument);
        let admitted = self.settings.risk.admit(&request, open, closes, (now.wall, now.monotonic));
        if let Err(refusal) = admitted {
            self.lane.give_up(reduce_only);
            return Err(refusal.into());
        }
        let change = state.book.insert(id, request, now);
        if closes {
            state.book.closes_position(id);
        }
        let desk = Arc::downgrade(self);
        let stored = Box::new(move |stored| {
            if let Some(desk) = desk.upgrade() {
                desk.intent_stored(id, permit, stored, instrument, reduce_only);
            }
        });
        // The answer comes from the database's own thread and waits there for this lock.
        if let Err(refused) = self.settings.writer.intend(Box::new(change.order.clone()), stored) {
            state.book.withdraw(id);
            self.count_exposure(&mut state);
            self.lane.give_up(reduce_only);
            return Err(not_stored(&refused));
        }
        state.waiters.entry(id).or_default().placed = Some(sender);
        self.settings.journal.add([OrderUpdate { order: change.order, fill: None }]);
        Ok((id, receiver))
    }

    /// The intent of a new order is in the database, or will never be: only then may it be written.
    fn intent_stored(
        &self,
        id: ClientOrderId,
        permit: Permit,
        stored: Result<(), WriteFailed>,
        instrument: Instrument,
        reduce_only: bool,
    ) {
        let state = self.state();
        // One that was cancelled meanwhile needs neither its place nor a share of the rate limit.
        let is_wanted =
            state.book.get(id).is_some_and(|order| order.status == OrderStatus::Pending);
        let refused = match stored {
            Ok(()) if is_wanted => match self.lane.submit(id, instrument, reduce_only, permit) {
                Ok(()) => return,
                Err(refusal) => self.refused(&state, refusal).to_string(),
            },
            Ok(()) => {
                self.lane.give_up(reduce_only);
                return;
            }
            Err(failure) => {
                self.lane.give_up(reduce_only);
                failure.to_string()
            }
        };
        drop(state);
        self.not_sent(id, &refused);
    }

    /// Takes over an order of an earlier run; see [`Book::adopt`].
    pub(crate) fn adopt(&self, recovered: RecoveredOrder, cancel: bool) {
        let now = self.now();
        let RecoveredOrder { order, fills } = recovered;
        let cancel = cancel && order.request.on_shutdown == OnShutdown::Cancel;
        let (exchange, id, status) = (self.exchange(), order.client_id, order.status);
        info!(target: "exchange_gateway::order", %exchange, order = %id, %status, cancel, "order of an earlier run");
        let mut state = self.state();
        let change = state.book.adopt(order, &fills, cancel, now);
        self.carry_out(&mut state, Effects { changes: vec![change], work: Vec::new() });
    }

    /// Asks for an order's cancel. The receiver gets the order when it has ended.
    pub(crate) fn cancel(&self, id: ClientOrderId) -> Result<oneshot::Receiver<Order>, OrderError> {
        let mut state = self.state();
        let order = state.book.get(id).ok_or(OrderError::UnknownOrder { id })?;
        let (sender, receiver) = oneshot::channel();
        if order.status.is_terminal() {
            // The caller gets the same answer as if it had asked a moment earlier.
            let _ = sender.send(order.clone());
            return Ok(receiver);
        }
        if state.ended {
            return Err(OrderError::Abandoned { id });
        }
        state.waiters.entry(id).or_default().ended.push(sender);
        let now = self.now();
        let effects = state.book.want_cancel(id, now);
        self.carry_out(&mut state, effects);
        Ok(receiver)
    }

    /// Asks for the cancel of every unfinished order, or of those of one instrument. Each receiver
    /// gets its order when it has ended.
    pub(crate) fn cancel_where(
        &self,
        instrument: Option<Instrument>,
    ) -> Result<Vec<(ClientOrderId, oneshot::Receiver<Order>)>, OrderError> {
        let mut state = self.state();
        let is_meant =
            |order: &&Order| instrument.is_none_or(|wanted| wanted == order.instrument());
        let ids: Vec<_> =
            state.book.unfinished().filter(is_meant).map(|order| order.client_id).collect();
        if let Some(&id) = ids.first().filter(|_| state.ended) {
            return Err(OrderError::Abandoned { id });
        }
        let now = self.now();
        let mut answers = Vec::with_capacity(ids.len());
        let mut all = Effects::default();
        for id in ids {
            let (sender, receiver) = oneshot::channel();
            state.waiters.entry(id).or_default().ended.push(sender);
            answers.push((id, receiver));
            let effects = state.book.want_cancel(id, now);
            all.changes.extend(effects.changes);
            all.work.extend(effects.work);
        }
        state.book.gather_cancels(instrument, self.settings.mass_cancel, &mut all);
        self.carry_out(&mut state, all);
        Ok(answers)
    }

    /// Wants every unfinished order cancelled, also those to be kept at shutdown: the kill switch has
    /// tripped. Tells how many have not ended. A shutdown that has begun cancels by its own rules, and
    /// its orders that close positions are left alone.
    pub(crate) fn cancel_everything(&self) -> usize {
        let now = self.now();
        let mut state = self.state();
        let ids: Vec<_> = state.book.unfinished().map(|order| order.client_id).collect();
        if self.gate.is_closed() {
            return ids.len();
        }
        let mut all = Effects::default();
        for id in ids {
            let effects = state.book.want_cancel(id, now);
            all.changes.extend(effects.changes);
            all.work.extend(effects.work);
        }
        if !all.work.is_empty() || !all.changes.is_empty() {
            state.book.gather_cancels(None, self.settings.mass_cancel, &mut all);
            self.carry_out(&mut state, all);
        }
        state.book.unfinished().count()
    }

    /// Waits until no order is unfinished. Cancel safe.
    pub(crate) async fn all_ended(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().book.unfinished().next().is_none() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn get(&self, id: ClientOrderId) -> Option<Order> {
        self.state().book.get(id).cloned()
    }

    pub(crate) fn unfinished(&self) -> Vec<Order> {
        self.state().book.unfinished().cloned().collect()
    }

    // ---- for the connection ---------------------------------------------------------------

    /// The next command that the exchange's limits have room for, with the order to write. A new
    /// order is taken as written from here on.
    pub(crate) fn next_command(&self) -> Next {
        loop {
            let (command, now) = match self.lane.pop(|| self.now()) {
                Popped::Command(command, now) => (command, now),
                Popped::WaitUntil(at) => return Next::WaitUntil(at),
                Popped::Nothing => return Next::Nothing,
            };
            let mut state = self.state();
            let order = match &command {
                Command::Submit(id, permit) if !self.gate.allows(permit) => {
                    let reason = format!("the gateway is stopping (phase {})", self.gate.phase());
                    let effects = state.book.not_sent(*id, &reason, now);
                    self.carry_out(&mut state, effects);
                    None
                }
                Command::Submit(id, _) => state.book.begin_write(*id, now),
                Command::Cancel(id) => state.book.begin_cancel(*id, now),
                Command::CancelAll(scope) => {
                    if self.begin_mass_cancel(&mut state, *scope, now) {
                        return Next::CancelAll(*scope);
                    }
                    None
                }
                Command::Query(id) => state.book.begin_query(*id, now),
                Command::Fills(id) => state.book.begin_fills(*id, now),
            };
            if let Some(order) = order {
                if matches!(command, Command::Submit(..)) {
                    self.settings.writer.record(Record::order(order.clone()));
                    // From now on the sweeper watches for the answer.
                    self.changed.notify_waiters();
                }
                return Next::Write(command, order);
            }
        }
    }

    /// Whether the request that cancels every order of a scope is to be written; it counts as a
    /// cancel of each. If it would touch more than it should by now, each is cancelled by itself.
    fn begin_mass_cancel(&self, state: &mut State, scope: Option<Instrument>, now: Moment) -> bool {
        let (exchange, place) = (self.exchange(), scope.map(tracing::field::display));
        match state.book.begin_mass_cancel(scope, now) {
            Ok(orders) => {
                info!(%exchange, instrument = place, orders = orders.len(), "one request cancels all orders");
                self.lane.cancelled_together(&orders, now);
                true
            }
            Err(work) => {
                debug!(%exchange, instrument = place, orders = work.len(), "each order is cancelled by itself");
                self.carry_out(state, Effects { changes: Vec::new(), work });
                false
            }
        }
    }

    /// Ends when [`next_command`](Self::next_command) may have something. Cancel safe.
    pub(crate) async fn command_waiting(&self) {
        self.lane.waiting().await;
    }

    /// Books what the exchange says of an order.
    pub(crate) fn apply(&self, event: &OrderEvent) {
        let now = self.now();
        let mut state = self.state();
        let effects = state.book.apply(event, now);
        if let OrderNews::CancelRejected { reason, retry, .. } = &event.news {
            debug!(exchange = %self.exchange(), order = ?event.client_id, reason, retry, "cancel refused");
        }
        self.carry_out(&mut state, effects);
        self.open_when_reconciled(&state);
    }

    /// A message of the trading session cannot be read.
    pub(crate) fn unreadable(&self) {
        self.state().book.lose_sight();
    }

    /// The exchange changed what trading it allows.
    pub(crate) fn restrict(&self, restriction: TradingRestriction) {
        let mut state = self.state();
        if state.restriction != restriction {
            info!(exchange = %self.exchange(), ?restriction, "trading restriction");
            state.restriction = restriction;
        }
    }

    /// The exchange told which limits hold for this account.
    pub(crate) fn set_limits(&self, limits: OrderLimits) {
        if self.settings.limits.is_some() {
            self.lane.set_limits(limits);
        }
    }

    /// The exchange said that there were too many requests: new orders wait, until the time that it
    /// names if it does.
    pub(crate) fn rate_limited(&self, until: Option<Timestamp>) {
        let now = self.now();
        let named = until.and_then(|until| Duration::try_from(until.duration_since(now.wall)).ok());
        let wait = named.unwrap_or(UNNAMED_PAUSE).min(LONGEST_PAUSE);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // Every cancel of a burst may be answered so; the first says it.
        if !self.lane.is_paused() {
            warn!(exchange = %self.exchange(), wait_ms, "too many requests: new orders wait");
        }
        for id in self.lane.pause_new(now.monotonic, wait) {
            self.not_sent(id, "the exchange takes no more requests for a while");
        }
    }

    /// A new trading session has a socket; its list of open orders will follow.
    pub(crate) fn session_opened(&self) {
        let mut state = self.state();
        state.book.session_opened();
        state.restriction = TradingRestriction::None;
    }

    /// The session is live and has listed its open orders. The rest is asked; new orders are let
    /// in when every answer is there.
    pub(crate) fn session_ready(&self) {
        let mut state = self.state();
        self.lane.set_state(LaneState::Reconciling);
        state.down_since = None;
        let work = state.book.session_ready();
        if !work.is_empty() {
            info!(exchange = %self.exchange(), questions = work.len(), "comparing orders with the exchange");
        }
        let mut effects = Effects { changes: Vec::new(), work };
        state.book.gather_cancels(None, self.settings.mass_cancel, &mut effects);
        self.carry_out(&mut state, effects);
        self.open_when_reconciled(&state);
    }

    /// Waits until new orders are let in. Cancel safe.
    pub(crate) async fn open(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lane.state() == LaneState::Open {
                return;
            }
            changed.await;
        }
    }

    fn open_when_reconciled(&self, state: &State) {
        if self.is_compared(state) && !state.is_resuming {
            self.lane.set_state(LaneState::Open);
            self.changed.notify_waiters();
        }
    }

    /// The session is about to close: nothing more is written, answers may still come.
    pub(crate) fn session_closing(&self, reason: &str) {
        let now = self.now();
        let mut state = self.state();
        let effects = self.take_down(&mut state, reason, now);
        self.carry_out(&mut state, effects);
    }

    /// Closes the lane and fails the new orders in it.
    fn take_down(&self, state: &mut State, reason: &str, now: Moment) -> Effects {
        let unwritten = self.lane.set_state(LaneState::Down);
        self.switch_lost();
        reason.clone_into(&mut state.down_reason);
        state.down_since.get_or_insert(now.monotonic);
        let mut effects = Effects::default();
        for id in unwritten {
            let why = format!("the connection ended before it was written: {reason}");
            effects.changes.extend(state.book.not_sent(id, &why, now).changes);
        }
        effects
    }

    /// The session is gone. New orders that were not written fail, written ones without an answer
    /// are unknown.
    pub(crate) fn session_lost(&self, reason: &str) {
        let now = self.now();
        let mut state = self.state();
        let mut effects = self.take_down(&mut state, reason, now);
        let on_purpose = self.gate.phase() >= Phase::Disconnect;
        effects.changes.extend(state.book.connection_lost(reason, on_purpose, now).changes);
        self.carry_out(&mut state, effects);
    }

    fn refused(&self, state: &State, refusal: LaneRefusal) -> OrderError {
        let exchange = self.exchange();
        let reason = match refusal {
            LaneRefusal::Full { capacity } => {
                let what = format!("{capacity} orders already wait to be written to {exchange}");
                return OrderError::Busy { what };
            }
            LaneRefusal::Paused { left } => {
                let seconds = left.as_secs();
                let what = format!("{exchange} takes no more requests for another {seconds} s");
                return OrderError::Busy { what };
            }
            LaneRefusal::NotOpen(LaneState::Reconciling) if state.is_resuming => {
                "it is being resumed".into()
            }
            LaneRefusal::NotOpen(LaneState::Reconciling) => {
                self.switch_bars().filter(|_| state.book.is_reconciled()).unwrap_or_else(|| {
                    "its orders are still being compared with the exchange's".into()
                })
            }
            LaneRefusal::NotOpen(_) => state.down_reason.clone(),
        };
        OrderError::NotConnected { exchange, reason }
    }

    fn not_sent(&self, id: ClientOrderId, reason: &str) {
        let now = self.now();
        let mut state = self.state();
        let effects = state.book.not_sent(id, reason, now);
        self.carry_out(&mut state, effects);
    }

    /// Tells everybody what changed and queues the work.
    fn carry_out(&self, state: &mut State, effects: Effects) {
        for work in &effects.work {
            let order = match work {
                Work::Cancel(id) | Work::Query(id) | Work::Fills(id) => state.book.get(*id),
                Work::CancelAll(scope) => state
                    .book
                    .unfinished()
                    .find(|order| scope.is_none_or(|at| at == order.instrument())),
            };
            let Some(order) = order else { continue };
            match work {
                Work::Cancel(_) => self.lane.cancel(order),
                Work::CancelAll(scope) => self.lane.cancel_all(*scope, order),
                Work::Query(_) => self.lane.query(order),
                Work::Fills(_) => self.lane.fills(order),
            }
        }
        let fills = effects.changes.iter().any(|change| change.fill.is_some());
        for change in &effects.changes {
            if change.order.status == OrderStatus::NotSent {
                self.lane.withdraw(change.order.client_id);
            } else if change.order.status.is_terminal() {
                self.lane.ended(change.order.client_id);
            }
            let settles = state.notes_doubt(&change.order);
            log_change(self.exchange(), &change.order, settles);
            state.tell_waiters(&change.order);
            self.store(change);
        }
        self.count_exposure(state);
        if fills {
            self.settings.risk.filled();
        }
        let updates = effects
            .changes
            .into_iter()
            .map(|change| OrderUpdate { order: change.order, fill: change.fill });
        self.settings.journal.add(updates);
        self.changed.notify_waiters();
    }

    /// Tells the risk limits what the orders may still add to positions, where that has changed.
    fn count_exposure(&self, state: &mut State) {
        while let Some(instrument) = state.book.next_changed() {
            self.settings.risk.set_open(instrument, state.book.open_quantities(instrument));
        }
    }

    /// Records a change. The fill goes first: an order that is stored as filled has all its fills
    /// stored, whenever the process is killed.
    fn store(&self, change: &Change) {
        let (writer, order) = (&self.settings.writer, &change.order);
        if let Some(fill) = &change.fill {
            self.settings.positions.book(order, fill, |position| {
                writer.record(Record::booked(order, fill.clone(), position));
            });
        }
        writer.record(Record::order(order.clone()));
    }

    // ---- the sweeper ----------------------------------------------------------------------

    /// Watches for answers that do not come, until the future is dropped.
    pub(crate) async fn sweep(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.state().book.is_waiting() {
                changed.await;
                continue;
            }
            tokio::time::sleep(SWEEP).await;
            if self.lane.state() == LaneState::Down {
                continue;
            }
            let now = self.now();
            let mut state = self.state();
            let effects = state.book.due(now);
            self.carry_out(&mut state, effects);
        }
    }

    // ---- for shutdown ---------------------------------------------------------------------

    /// Refuses new orders from here on, and fails those that wait to be written.
    pub(crate) fn close_gate(&self, phase: Phase) {
        let first = !self.gate.is_closed();
        self.gate.close(phase);
        if phase > Phase::ClosePositions {
            let connected = self.lane.state() != LaneState::Down;
            self.state().connected_before_close.get_or_insert(connected);
        }
        if first {
            for id in self.lane.take_new() {
                self.not_sent(id, "the gateway is stopping");
            }
        }
    }

    /// Waits until no new order can be written any more. Cancel safe.
    pub(crate) async fn gate_drained(&self) {
        self.gate.drained().await;
    }

    /// Wants a cancel for every open order that is not to be kept; tells how many.
    pub(crate) fn cancel_all(&self) -> usize {
        let now = self.now();
        let mut state = self.state();
        // A drain that has closed the connection for good has wanted all this before, and nobody is
        // left to ask whether an order that it kept is still there.
        state.last_cancels = CancelRequests::default();
        if self.gate.phase() < Phase::Disconnect {
            let mut effects = state.book.want_cancel_all(now);
            state.book.gather_cancels(None, self.settings.mass_cancel, &mut effects);
            state.last_cancels = state.book.cancel_requests(&effects.work);
            self.carry_out(&mut state, effects);
        }
        let to_cancel = |order: &&Order| order.request.on_shutdown == OnShutdown::Cancel;
        state.book.unfinished().filter(to_cancel).count()
    }

    /// Waits until every order that is to be cancelled has ended. Cancel safe.
    pub(crate) async fn flat(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().book.is_flat() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until every single fill that the exchange has shown to be there is booked. Cancel safe.
    pub(crate) async fn fills_known(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.state().book.lacks_fills() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until a cancel has been written for every order that is to be cancelled. Cancel safe.
    pub(crate) async fn cancels_written(&self) {
        let mut first = None;
        loop {
            let changed = self.changed.notified();
            first = self.state().book.next_unwritten(first);
            if first.is_none() {
                return;
            }
            changed.await;
        }
    }

    /// Wakes those who wait for cancels to be written; the connection calls it after writing.
    pub(crate) fn written(&self) {
        self.changed.notify_waiters();
    }

    /// Orders of the exchange's list that are not the gateway's.
    pub(crate) fn foreign_orders(&self) -> usize {
        self.state().book.foreign_orders()
    }

    /// Open orders that an earlier run left.
    pub(crate) fn leftovers(&self) -> Vec<LeftoverOrder> {
        self.state().book.leftovers().copied().collect()
    }

    /// Nothing more will come: everybody who still waits is told so.
    pub(crate) fn abandon_waiters(&self) {
        let mut state = self.state();
        state.ended = true;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        for (id, waiter) in waiters {
            if let Some(placed) = waiter.placed {
                // The bot may have gone away; then nobody is left to tell.
                let _ = placed.send(Err(OrderError::Abandoned { id }));
            }
        }
    }
}

impl State {
    fn check_restriction(
        &self,
        exchange: ExchangeName,
        order: &NewOrder,
    ) -> Result<(), OrderError> {
        let post_only =
            matches!(order.kind, OrderKind::Limit { time_in_force: TimeInForce::PostOnly, .. });
        let allowed = match self.restriction {
            TradingRestriction::None => true,
            TradingRestriction::PostOnly => post_only,
            TradingRestriction::CancelOnly | TradingRestriction::Maintenance => false,
        };
        let restriction = self.restriction;
        if allowed { Ok(()) } else { Err(OrderError::Restricted { exchange, restriction }) }
    }

    /// Whether this is news of an order that was unknown before.
    fn notes_doubt(&mut self, order: &Order) -> bool {
        if order.status == OrderStatus::OutcomeUnknown {
            self.doubted.insert(order.client_id);
            return false;
        }
        if order.status.is_terminal() {
            return self.doubted.remove(&order.client_id);
        }
        self.doubted.contains(&order.client_id)
    }

    fn tell_waiters(&mut self, order: &Order) {
        let id = order.client_id;
        let Some(waiters) = self.waiters.get_mut(&id) else { return };
        let reason = || order.reason.clone().unwrap_or_default();
        let answer = match order.status {
            OrderStatus::Pending | OrderStatus::Sent => None,
            OrderStatus::OutcomeUnknown => {
                Some(Err(OrderError::OutcomeUnknown { id, reason: reason() }))
            }
            OrderStatus::Rejected => Some(Err(OrderError::Rejected { id, reason: reason() })),
            OrderStatus::NotSent => Some(Err(OrderError::NotSent { id, reason: reason() })),
            _ => Some(Ok(order.clone())),
        };
        // A receiver that is gone is a bot that stopped waiting: the journal tells it anyway.
        if let Some(answer) = answer
            && let Some(placed) = waiters.placed.take()
        {
            let _ = placed.send(answer);
        }
        if order.status.is_terminal() {
            for ended in waiters.ended.drain(..) {
                let _ = ended.send(order.clone());
            }
            self.waiters.remove(&id);
        }
    }
}

/// Why the database does not take the intent of a new order.
fn not_stored(refused: &IntentRefused) -> OrderError {
    let reason = refused.to_string();
    match refused {
        IntentRefused::Busy { .. } => OrderError::Busy { what: reason },
        _ => OrderError::StateFailed { reason },
    }
}

fn log_change(exchange: ExchangeName, order: &Order, settles: bool) {
    let (id, status, filled) = (order.client_id, order.status, order.filled.0.normalize());
    let reason = order.reason.as_deref();
    if matches!(status, OrderStatus::OutcomeUnknown | OrderStatus::Rejected) {
        warn!(target: "exchange_gateway::order", %exchange, order = %id, %status, %filled, reason, "order update");
    } else if settles {
        info!(target: "exchange_gateway::order", %exchange, order = %id, %status, %filled, reason, "order update");
    } else {
        debug!(target: "exchange_gateway::order", %exchange, order = %id, %status, %filled, reason, "order update");
    }
}
