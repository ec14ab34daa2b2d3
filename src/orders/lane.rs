//! The lane from the desk to the trading connection: bounded, prioritised, and paced by the
//! exchange's limits. Commands are never kept over a reconnect.
//!
//! Cancels and questions go first, then orders that only reduce a position, then all others. What
//! finds no room in the exchange's limits stays here until it does, and holds up nothing that is
//! more urgent: new orders leave a share of the limits to the others. Questions for fills, which have
//! time, take turns with new orders.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Permit;
use super::book::Moment;
use super::limiter::{Kind, Limiter};
use crate::exchange::OrderLimits;
use crate::types::{ClientOrderId, Instrument, Order, Timestamp};

/// What the trading connection is asked to write.
pub(crate) enum Command {
    /// A new order, with the right to write it.
    Submit(ClientOrderId, Permit),
    /// A cancel.
    Cancel(ClientOrderId),
    /// One request that cancels every order of an instrument or (`None`) of the account.
    CancelAll(Option<Instrument>),
    /// The question how an order stands.
    Query(ClientOrderId),
    /// The question for an order's single fills.
    Fills(ClientOrderId),
}

/// What the lane has for the connection now.
pub(crate) enum Popped {
    /// Write this; it was taken at this time.
    Command(Command, Moment),
    /// Something waits for the exchange's limits until then.
    WaitUntil(Instant),
    /// Nothing waits.
    Nothing,
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// No live connection.
    Down,
    /// Live, but orders are still being compared with the exchange's, or the dead-man's switch is
    /// not armed: cancels and questions only.
    Reconciling,
    /// Everything passes.
    Open,
}

pub(crate) struct Lane {
    queues: Mutex<Queues>,
    waiting: Notify,
    capacity: usize,
}

struct Queues {
    state: LaneState,
    /// Requests that cancel many orders; they go before everything else.
    mass: VecDeque<Mass>,
    /// Cancels and questions; those that the sets do not name are not needed any more.
    urgent: VecDeque<Urgent>,
    cancels: HashSet<ClientOrderId>,
    queries: HashSet<ClientOrderId>,
    /// New orders that only reduce a position.
    reducing: VecDeque<New>,
    /// All other new orders.
    new: VecDeque<New>,
    fills: VecDeque<(ClientOrderId, Instrument)>,
    /// Whether the last turn of the two was a question for fills.
    fills_turn: bool,
    /// New orders whose intent is being stored: each has a place kept for it.
    expected: Expected,
    limiter: Limiter,
}

#[derive(Default)]
struct Expected {
    reducing: usize,
    new: usize,
}

impl Expected {
    fn of(&mut self, reduce_only: bool) -> &mut usize {
        if reduce_only { &mut self.reducing } else { &mut self.new }
    }

    fn less(&mut self, reduce_only: bool) {
        let expected = self.of(reduce_only);
        *expected = expected.saturating_sub(1);
    }
}

struct New {
    id: ClientOrderId,
    instrument: Instrument,
    permit: Permit,
}

/// A request that cancels every order of a scope.
struct Mass {
    scope: Option<Instrument>,
    /// Where at least one of the orders is.
    instrument: Instrument,
}

/// A cancel or a question.
struct Urgent {
    is_cancel: bool,
    id: ClientOrderId,
    instrument: Instrument,
    created: Timestamp,
}

/// The longest that a new order is held for an exchange that takes no more requests: its price was
/// meant for now.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// Why a new order cannot join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneRefusal {
    NotOpen(LaneState),
    Full { capacity: usize },
    Paused { left: Duration },
}

impl Lane {
    pub(crate) fn new(capacity: usize, limiter: Limiter) -> Self {
        let queues = Queues {
            state: LaneState::Down,
            mass: VecDeque::new(),
            urgent: VecDeque::new(),
            cancels: HashSet::new(),
            queries: HashSet::new(),
            reducing: VecDeque::new(),
            new: VecDeque::new(),
            fills: VecDeque::new(),
            fills_turn: false,
            expected: Expected::default(),
            limiter,
        };
        Self { queues: Mutex::new(queues), waiting: Notify::new(), capacity }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> LaneState {
        self.queues().state
    }

    /// Sets how far the connection is. `Down` empties the lane and hands back the new orders in
    /// it, which were not written; cancels and questions are asked again after the reconnect. What
    /// has been counted against the exchange's limits stays counted.
    pub(crate) fn set_state(&self, state: LaneState) -> Vec<ClientOrderId> {
        let mut queues = self.queues();
        queues.state = state;
        if state != LaneState::Down {
            return Vec::new();
        }
        queues.mass.clear();
        queues.urgent.clear();
        queues.cancels.clear();
        queues.queries.clear();
        queues.fills.clear();
        queues.take_new()
    }

    /// Keeps a place for a new order that will [`submit`](Self::submit) or
    /// [`give_up`](Self::give_up).
    pub(crate) fn reserve(&self, reduce_only: bool) -> Result<(), LaneRefusal> {
        let mut queues = self.queues();
        queues.accepts(reduce_only, self.capacity)?;
        *queues.expected.of(reduce_only) += 1;
        Ok(())
    }

    /// The new order will not come after all.
    pub(crate) fn give_up(&self, reduce_only: bool) {
        self.queues().expected.less(reduce_only);
    }

    /// Queues a new order in the place that was kept for it.
    pub(crate) fn submit(
        &self,
        id: ClientOrderId,
        instrument: Instrument,
        reduce_only: bool,
        permit: Permit,
    ) -> Result<(), LaneRefusal> {
        let mut queues = self.queues();
        queues.expected.less(reduce_only);
        queues.takes_orders()?;
        queues.of(reduce_only).push_back(New { id, instrument, permit });
        drop(queues);
        self.waiting.notify_one();
        Ok(())
    }

    /// Queues a cancel, once for each order. Without a connection it is not kept: the desk
    /// remembers that the cancel is wanted.
    pub(crate) fn cancel(&self, order: &Order) {
        self.urgent(order, true);
    }

    /// Queues a request that cancels every order of a scope, in which this order is.
    pub(crate) fn cancel_all(&self, scope: Option<Instrument>, order: &Order) {
        let mut queues = self.queues();
        if queues.state != LaneState::Down && queues.mass.iter().all(|mass| mass.scope != scope) {
            queues.mass.push_back(Mass { scope, instrument: order.instrument() });
            drop(queues);
            self.waiting.notify_one();
        }
    }

    /// One request cancels all these orders: cancels of their own that wait are not needed, and the
    /// exchange may count each by its age.
    pub(crate) fn cancelled_together(&self, orders: &[Order], now: Moment) {
        let mut queues = self.queues();
        for order in orders {
            queues.cancels.remove(&order.client_id);
            let age = age(order.created, now);
            queues.limiter.count_cancelled(order.instrument(), age, now.monotonic);
        }
    }

    /// The order has ended: what waits to be written about it takes no share of the limits.
    pub(crate) fn ended(&self, id: ClientOrderId) {
        let mut queues = self.queues();
        queues.cancels.remove(&id);
        queues.queries.remove(&id);
    }

    /// Queues a question, once for each order; without a connection it is not kept.
    pub(crate) fn query(&self, order: &Order) {
        self.urgent(order, false);
    }

    fn urgent(&self, order: &Order, is_cancel: bool) {
        let (id, instrument, created) = (order.client_id, order.instrument(), order.created);
        let mut queues = self.queues();
        if queues.state == LaneState::Down {
            return;
        }
        let known = if is_cancel { &mut queues.cancels } else { &mut queues.queries };
        if known.insert(id) {
            queues.urgent.push_back(Urgent { is_cancel, id, instrument, created });
            drop(queues);
            self.waiting.notify_one();
        }
    }

    /// Queues a question for fills, once for each order; without a connection it is not kept.
    pub(crate) fn fills(&self, order: &Order) {
        let wanted = (order.client_id, order.instrument());
        let mut queues = self.queues();
        if queues.state != LaneState::Down && !queues.fills.contains(&wanted) {
            queues.fills.push_back(wanted);
            drop(queues);
            self.waiting.notify_one();
        }
    }

    /// Takes a new order out, which will not be written: it keeps no place and no permit.
    pub(crate) fn withdraw(&self, id: ClientOrderId) {
        let mut queues = self.queues();
        let Queues { reducing, new, .. } = &mut *queues;
        for queue in [reducing, new] {
            if let Some(at) = queue.iter().position(|waiting| waiting.id == id) {
                queue.remove(at);
            }
        }
    }

    /// Takes all new orders that are still waiting, which will then not be written.
    pub(crate) fn take_new(&self) -> Vec<ClientOrderId> {
        self.queues().take_new()
    }

    /// The exchange told which limits hold for this account.
    pub(crate) fn set_limits(&self, limits: OrderLimits) {
        self.queues().limiter.replace(limits);
    }

    /// The limits that hold now.
    pub(crate) fn limits(&self) -> OrderLimits {
        self.queues().limiter.limits().clone()
    }

    /// Whether new orders wait because the exchange takes no more requests.
    pub(crate) fn is_paused(&self) -> bool {
        self.queues().limiter.pause_left(Instant::now).is_some_and(|left| !left.is_zero())
    }

    /// New orders wait for so long. If that is longer than they may be held, those that wait already
    /// are handed back, and no more are taken until less of it is left.
    pub(crate) fn pause_new(&self, now: Instant, wait: Duration) -> Vec<ClientOrderId> {
        let mut queues = self.queues();
        queues.limiter.pause(now + wait);
        if wait > LONGEST_HOLD { queues.take_new() } else { Vec::new() }
    }

    /// The next command that the exchange's limits have room for, the most urgent first. The time
    /// is asked for only if something waits.
    pub(crate) fn pop(&self, now: impl FnOnce() -> Moment) -> Popped {
        let mut queues = self.queues();
        if queues.are_empty() {
            return Popped::Nothing;
        }
        let now = now();
        let mut wait = None;
        if let Some(command) = queues.pop_mass(now, &mut wait) {
            return Popped::Command(command, now);
        }
        if let Some(command) = queues.pop_urgent(now, &mut wait) {
            return Popped::Command(command, now);
        }
        if let Some(New { id, permit, .. }) = queues.pop_new(true, now, &mut wait) {
            return Popped::Command(Command::Submit(id, permit), now);
        }
        let fills_first = !queues.fills_turn || queues.new.is_empty();
        for fills_turn in [fills_first, !fills_first] {
            let command = if fills_turn {
                queues.pop_fills(now, &mut wait).map(Command::Fills)
            } else {
                let next = queues.pop_new(false, now, &mut wait);
                next.map(|New { id, permit, .. }| Command::Submit(id, permit))
            };
            if let Some(command) = command {
                queues.fills_turn = fills_turn;
                return Popped::Command(command, now);
            }
        }
        wait.map_or(Popped::Nothing, Popped::WaitUntil)
    }

    /// Makes the connection look again, for something else than a command.
    pub(crate) fn wake(&self) {
        self.waiting.notify_one();
    }

    /// Ends when commands may be waiting. Cancel safe.
    pub(crate) async fn waiting(&self) {
        self.waiting.notified().await;
    }
}

impl Queues {
    fn of(&mut self, reduce_only: bool) -> &mut VecDeque<New> {
        if reduce_only { &mut self.reducing } else { &mut self.new }
    }

    fn are_empty(&self) -> bool {
        self.mass.is_empty()
            && self.urgent.is_empty()
            && self.reducing.is_empty()
            && self.new.is_empty()
            && self.fills.is_empty()
    }

    fn take_new(&mut self) -> Vec<ClientOrderId> {
        self.reducing.drain(..).chain(self.new.drain(..)).map(|waiting| waiting.id).collect()
    }

    fn takes_orders(&self) -> Result<(), LaneRefusal> {
        if self.state != LaneState::Open {
            return Err(LaneRefusal::NotOpen(self.state));
        }
        match self.limiter.pause_left(Instant::now) {
            Some(left) if left > LONGEST_HOLD => Err(LaneRefusal::Paused { left }),
            _ => Ok(()),
        }
    }

    /// Each kind of new order has the whole capacity, so that a full queue of others keeps none
    /// out that reduces a position.
    fn accepts(&mut self, reduce_only: bool, capacity: usize) -> Result<(), LaneRefusal> {
        self.takes_orders()?;
        if self.of(reduce_only).len() + *self.expected.of(reduce_only) >= capacity {
            return Err(LaneRefusal::Full { capacity });
        }
        Ok(())
    }

    fn pop_mass(&mut self, now: Moment, wait: &mut Option<Instant>) -> Option<Command> {
        let Mass { scope, instrument } = *self.mass.front()?;
        match self.limiter.admit(Kind::CancelAll, instrument, now.monotonic) {
            Ok(()) => {
                self.mass.pop_front();
                Some(Command::CancelAll(scope))
            }
            Err(ready) => {
                earlier(wait, ready);
                None
            }
        }
    }

    /// Whether a cancel or a question is still needed.
    fn is_needed(&self, urgent: &Urgent) -> bool {
        let known = if urgent.is_cancel { &self.cancels } else { &self.queries };
        known.contains(&urgent.id)
    }

    /// The first cancel or question. If one of the two has to wait for a limit of its own, the first
    /// of the other kind passes it.
    fn pop_urgent(&mut self, now: Moment, wait: &mut Option<Instant>) -> Option<Command> {
        while self.urgent.front().is_some_and(|first| !self.is_needed(first)) {
            self.urgent.pop_front();
        }
        let first = self.urgent.front()?.is_cancel;
        for (wanted, at) in [(first, Some(0)), (!first, None)] {
            let is_next = |next: &Urgent| next.is_cancel == wanted && self.is_needed(next);
            let at = at.or_else(|| self.urgent.iter().position(is_next));
            let Some((at, next)) = at.and_then(|at| Some((at, self.urgent.get(at)?))) else {
                continue;
            };
            let kind = if next.is_cancel {
                Kind::Cancel { age: age(next.created, now) }
            } else {
                Kind::Query
            };
            match self.limiter.admit(kind, next.instrument, now.monotonic) {
                Ok(()) => {
                    let Urgent { is_cancel, id, .. } = self.urgent.remove(at)?;
                    if is_cancel {
                        self.cancels.remove(&id);
                        return Some(Command::Cancel(id));
                    }
                    self.queries.remove(&id);
                    return Some(Command::Query(id));
                }
                Err(ready) => earlier(wait, ready),
            }
        }
        None
    }

    fn pop_fills(&mut self, now: Moment, wait: &mut Option<Instant>) -> Option<ClientOrderId> {
        let (_, instrument) = *self.fills.front()?;
        match self.limiter.admit(Kind::Fills, instrument, now.monotonic) {
            Ok(()) => self.fills.pop_front().map(|(id, _)| id),
            Err(ready) => {
                earlier(wait, ready);
                None
            }
        }
    }

    /// The first new order of a kind. Where the exchange counts each instrument by itself, an order
    /// that has to wait lets those of other instruments pass.
    fn pop_new(
        &mut self,
        reduce_only: bool,
        now: Moment,
        wait: &mut Option<Instant>,
    ) -> Option<New> {
        let kind = if reduce_only { Kind::Reducing } else { Kind::New };
        let queue = if reduce_only { &mut self.reducing } else { &mut self.new };
        let mut refused: Vec<Instrument> = Vec::new();
        let mut found = None;
        for (at, next) in queue.iter().enumerate() {
            if refused.contains(&next.instrument) {
                continue;
            }
            match self.limiter.admit(kind, next.instrument, now.monotonic) {
                Ok(()) => {
                    found = Some(at);
                    break;
                }
                Err(ready) => earlier(wait, ready),
            }
            if !self.limiter.tells_instruments_apart() {
                break;
            }
            refused.push(next.instrument);
        }
        queue.remove(found?)
    }
}

/// How old an order is.
fn age(created: Timestamp, now: Moment) -> Duration {
    Duration::try_from(now.wall.duration_since(created)).unwrap_or_default()
}

/// Keeps the earlier of two times.
fn earlier(kept: &mut Option<Instant>, other: Instant) {
    *kept = Some(kept.map_or(other, |known| known.min(other)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{CancelWeight, LimitScope, OrderLimit, RateRule};
    use crate::orders::gate::Gate;
    use crate::types::{NewOrder, OrderStatus, Quantity, Side};

    const SECOND: Duration = Duration::from_secs(1);

    fn id(text: &str) -> ClientOrderId {
        text.parse().unwrap()
    }

    fn instrument(name: &str) -> Instrument {
        name.parse().unwrap()
    }

    fn now() -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Instant::now() }
    }

    fn order(text: &str) -> Order {
        let (price, quantity) = ("1".parse().unwrap(), "1".parse().unwrap());
        let instrument = instrument("kraken:BTC-USD");
        Order {
            client_id: id(text),
            exchange_id: None,
            request: NewOrder::limit(instrument, Side::Buy, price, quantity),
            status: OrderStatus::Open,
            filled: Quantity::ZERO,
            booked: Quantity::ZERO,
            reason: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    fn limit(burst: u32, scope: LimitScope) -> OrderLimit {
        OrderLimit {
            name: "test",
            rule: RateRule::Bucket { burst, refill: SECOND },
            scope,
            order: 1,
            cancel: CancelWeight::Waits(1),
            question: 0,
            fills: 0,
        }
    }

    /// An open lane with room for so many of each kind, and these limits.
    struct Bench {
        lane: Lane,
        gate: Gate,
        now: Moment,
    }

    impl Bench {
        fn new(capacity: usize, limits: OrderLimits) -> Self {
            let lane = Lane::new(capacity, Limiter::new(limits, 25));
            lane.set_state(LaneState::Open);
            Self { lane, gate: Gate::new(), now: now() }
        }

        fn submit(&self, text: &str) -> Result<(), LaneRefusal> {
            self.submit_at("kraken:BTC-USD", text, false)
        }

        fn submit_at(&self, at: &str, text: &str, reducing: bool) -> Result<(), LaneRefusal> {
            self.lane.reserve(reducing)?;
            let permit = self.gate.enter().unwrap();
            self.lane.submit(id(text), instrument(at), reducing, permit)
        }

        /// What would be written now.
        fn written(&self) -> String {
            let mut written = Vec::new();
            while let Popped::Command(command, _) = self.lane.pop(|| self.now) {
                written.push(match command {
                    Command::Submit(id, _) => format!("new {id}"),
                    Command::Cancel(id) => format!("cancel {id}"),
                    Command::CancelAll(scope) => format!("cancel all {scope:?}"),
                    Command::Query(id) => format!("ask {id}"),
                    Command::Fills(id) => format!("fills {id}"),
                });
            }
            written.join(", ")
        }

        fn waits(&self) -> Option<Duration> {
            match self.lane.pop(|| self.now) {
                Popped::WaitUntil(at) => Some(at - self.now.monotonic),
                Popped::Nothing => None,
                Popped::Command(..) => panic!("nothing waits"),
            }
        }
    }

    #[test]
    fn cancels_overtake_new_orders_and_are_queued_once() {
        let bench = Bench::new(8, Vec::new());
        bench.submit("new").unwrap();
        bench.submit_at("kraken:BTC-USD", "less", true).unwrap();
        bench.lane.cancel(&order("old"));
        bench.lane.query(&order("old"));
        bench.lane.cancel(&order("old"));
        assert_eq!(bench.written(), "cancel old, ask old, new less, new new");
        assert_eq!(bench.waits(), None);
    }

    #[test]
    fn one_request_for_all_goes_first_and_takes_the_place_of_cancels_that_wait() {
        let ages: &[(Duration, u32)] = &[(SECOND, 8)];
        let by_age =
            OrderLimit { cancel: CancelWeight::ByAge(ages), ..limit(20, LimitScope::Instrument) };
        let bench = Bench::new(8, vec![by_age]);
        for text in ["one", "two", "other"] {
            bench.lane.cancel(&order(text));
        }
        for _ in 0..2 {
            bench.lane.cancel_all(None, &order("one"));
        }
        let popped = bench.lane.pop(|| bench.now);
        assert!(matches!(popped, Popped::Command(Command::CancelAll(None), _)));
        bench.lane.cancelled_together(&[order("one"), order("two")], bench.now);
        assert_eq!(bench.written(), "cancel other");
        // Three cancels of 8 were counted, two of them by the one request.
        bench.submit("new").unwrap();
        assert_eq!(bench.waits(), Some(SECOND * (24 - 20 + 5 + 1)));
        bench.lane.cancel_all(None, &order("one"));
        bench.lane.set_state(LaneState::Down);
        bench.lane.cancel_all(None, &order("one"));
        bench.lane.set_state(LaneState::Open);
        assert_eq!(bench.written(), "", "it is not kept over a reconnect");
    }

    #[test]
    fn an_order_that_ended_takes_no_room_from_the_cancels_of_others() {
        let bench = Bench::new(8, vec![limit(1, LimitScope::Account)]);
        for text in ["ended", "open"] {
            bench.lane.query(&order(text));
            bench.lane.cancel(&order(text));
        }
        bench.lane.ended(id("ended"));
        assert_eq!(bench.written(), "ask open, cancel open");
    }

    #[test]
    fn questions_for_fills_yield_to_cancels_and_take_turns_with_new_orders() {
        let bench = Bench::new(8, Vec::new());
        for text in ["f1", "f2", "f1"] {
            bench.lane.fills(&order(text));
        }
        for text in ["n1", "n2", "n3"] {
            bench.submit(text).unwrap();
        }
        bench.lane.cancel(&order("old"));
        assert_eq!(bench.written(), "cancel old, fills f1, new n1, fills f2, new n2, new n3");
    }

    #[test]
    fn whichever_of_fills_and_new_orders_waits_for_its_limit_lets_the_other_pass() {
        let fills = OrderLimit {
            order: 0,
            cancel: CancelWeight::Waits(0),
            fills: 1,
            ..limit(1, LimitScope::Account)
        };
        let bench = Bench::new(8, vec![fills, limit(3, LimitScope::Account)]);
        for text in ["f1", "f2"] {
            bench.lane.fills(&order(text));
        }
        for text in ["n1", "n2", "n3"] {
            bench.submit(text).unwrap();
        }
        assert_eq!(bench.written(), "fills f1, new n1, new n2");
        assert_eq!(bench.waits(), Some(SECOND));
    }

    #[test]
    fn a_place_is_kept_while_the_intent_is_stored_and_given_back() {
        let bench = Bench::new(1, Vec::new());
        bench.lane.reserve(false).unwrap();
        assert_eq!(bench.lane.reserve(false), Err(LaneRefusal::Full { capacity: 1 }));
        bench.lane.reserve(true).unwrap();
        bench.lane.give_up(false);
        bench.submit("a").unwrap();
        assert_eq!(bench.lane.reserve(false), Err(LaneRefusal::Full { capacity: 1 }));
    }

    #[test]
    fn a_full_or_closed_lane_refuses_new_orders() {
        let bench = Bench::new(1, Vec::new());
        bench.lane.set_state(LaneState::Down);
        assert_eq!(bench.submit("a"), Err(LaneRefusal::NotOpen(LaneState::Down)));
        bench.lane.set_state(LaneState::Open);
        bench.submit("a").unwrap();
        assert_eq!(bench.submit("b"), Err(LaneRefusal::Full { capacity: 1 }));
        bench.submit_at("kraken:BTC-USD", "c", true).unwrap();
        assert_eq!(bench.lane.set_state(LaneState::Down), vec![id("c"), id("a")]);
        assert_eq!(bench.written(), "");
    }

    #[test]
    fn new_orders_wait_at_the_reserve_which_cancels_and_reducing_orders_may_use() {
        let mut bench = Bench::new(8, vec![limit(4, LimitScope::Account)]);
        for text in ["a", "b", "c", "d"] {
            bench.submit(text).unwrap();
        }
        assert_eq!(bench.written(), "new a, new b, new c");
        assert_eq!(bench.waits(), Some(SECOND));
        bench.submit_at("kraken:BTC-USD", "less", true).unwrap();
        bench.lane.cancel(&order("old"));
        assert_eq!(bench.written(), "cancel old");
        bench.now.monotonic += SECOND;
        assert_eq!(bench.written(), "new less");
        bench.now.monotonic += SECOND * 2;
        assert_eq!(bench.written(), "new d");
    }

    #[test]
    fn a_question_that_waits_for_its_own_limit_holds_up_no_cancel() {
        let questions = OrderLimit {
            order: 0,
            cancel: CancelWeight::Waits(0),
            question: 1,
            ..limit(1, LimitScope::Account)
        };
        let bench = Bench::new(8, vec![questions]);
        for text in ["a", "b"] {
            bench.lane.query(&order(text));
        }
        bench.lane.cancel(&order("c"));
        bench.submit("d").unwrap();
        assert_eq!(bench.written(), "ask a, cancel c, new d");
        assert_eq!(bench.waits(), Some(SECOND));
    }

    #[test]
    fn an_order_that_waits_for_its_instrument_lets_another_instrument_pass() {
        let bench = Bench::new(8, vec![limit(4, LimitScope::Instrument)]);
        for text in ["a", "b", "c", "d", "e"] {
            bench.submit(text).unwrap();
        }
        bench.submit_at("kraken:ETH-USD", "f", false).unwrap();
        assert_eq!(bench.written(), "new a, new b, new c, new f");
    }

    #[test]
    fn a_short_pause_holds_new_orders_and_a_long_one_hands_them_back() {
        let bench = Bench::new(8, Vec::new());
        bench.submit("a").unwrap();
        assert_eq!(bench.lane.pause_new(bench.now.monotonic, SECOND * 2), []);
        bench.submit("b").unwrap();
        bench.lane.cancel(&order("old"));
        assert_eq!(bench.written(), "cancel old");
        assert_eq!(bench.waits(), Some(SECOND * 2));
        assert_eq!(bench.lane.pause_new(bench.now.monotonic, SECOND * 3600), [id("a"), id("b")]);
        assert!(
            matches!(bench.submit("c"), Err(LaneRefusal::Paused { left }) if left > SECOND * 3000)
        );
        bench.lane.cancel(&order("older"));
        assert_eq!(bench.written(), "cancel older");
    }

    #[test]
    fn a_withdrawn_order_keeps_no_place_and_no_permit() {
        let bench = Bench::new(1, Vec::new());
        bench.submit("a").unwrap();
        bench.lane.withdraw(id("a"));
        bench.submit("b").unwrap();
        assert_eq!(bench.written(), "new b");
    }
}
