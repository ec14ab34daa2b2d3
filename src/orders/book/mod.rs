//! The order book of the gateway's own orders on one exchange: a pure state machine.
//!
//! It has no socket, clock or task. Events of the exchange and of the connection go in, changes
//! and work to do come out. Its rules, in short:
//!
//! * Only the exchange's answer, or the certainty that no byte was written, ends an order.
//! * What was written and not answered is unknown, and is asked until the exchange settles it.
//! * A cancel that was acknowledged or refused is not an order cancelled: it is asked again.
//! * Fills race cancels and win; each is booked once, and late ones are booked too.
//! * Fills of which only the sum was told are asked for until each is there.

mod elsewhere;
mod entry;
mod exposure;
mod fills;
mod mass;
mod written;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::{OrderEvent, OrderNews};
use crate::report::{CancelPath, LeftoverOrder, RoundTrips};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Fill, Instrument, NewOrder, OnShutdown, Order, OrderStatus,
    Quantity, Timestamp,
};

pub(crate) use elsewhere::Errands;
pub(super) use entry::{Cancel, Entry};

/// Orders that are not ours are counted by their ids, up to this many.
const MAX_FOREIGN: usize = 10_000;

/// A cancel that the exchange has no room for is repeated after at most this many times its usual
/// pause.
const MAX_PAUSE: u32 = 4;

/// Wall-clock time for people and monotonic time for waiting, taken together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Instant,
}

/// How long the book waits for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// An order without an answer for this long has an unknown outcome.
    pub(crate) acknowledgement: Duration,
    /// An unknown outcome is asked again after this long.
    pub(crate) query: Duration,
    /// An unconfirmed cancel is written again after this long.
    pub(crate) cancel: Duration,
    /// The longest that the exchange may take an order in after it was written.
    pub(crate) in_flight: Duration,
    /// How many ended orders are remembered.
    pub(crate) closed_kept: usize,
}

/// A change of an order, to be told to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) order: Order,
    pub(crate) fill: Option<Fill>,
}

/// What the connection should write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Cancel(ClientOrderId),
    /// One request for every order of an instrument or (`None`) of the account.
    CancelAll(Option<Instrument>),
    Query(ClientOrderId),
    /// The single fills of an order are to be asked for.
    Fills(ClientOrderId),
}

/// What an input brought about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) changes: Vec<Change>,
    pub(crate) work: Vec<Work>,
}

pub(crate) struct Book {
    patience: Patience,
    open: BTreeMap<ClientOrderId, Entry>,
    closed: HashMap<ClientOrderId, Entry>,
    closed_order: VecDeque<ClientOrderId>,
    /// Ended orders of which single fills are missing; they are not forgotten.
    incomplete: BTreeSet<ClientOrderId>,
    /// Exchange ids are unique within an instrument only, so one may stand for several orders.
    by_exchange_id: HashMap<ExchangeOrderId, Vec<ClientOrderId>>,
    foreign: BTreeSet<(ExchangeOrderId, Option<Instrument>)>,
    /// Whether the present session said something that cannot be read.
    lost_sight: bool,
    /// What the ids of this gateway's orders begin with, in every run.
    tag: String,
    /// Orders with the tag that this run did not place: an earlier one left them open. Each with the
    /// number of the session that told it last.
    leftovers: BTreeMap<ClientOrderId, (u64, LeftoverOrder)>,
    /// Orders that shutdown found unfinished; they are never forgotten before the report.
    watched: BTreeSet<ClientOrderId>,
    /// Whether shutdown wants every order cancelled, also one that shows up only now.
    cancelling_all: bool,
    /// How many trading sessions there have been.
    sessions: u64,
    /// Whether none is known to be gone since.
    session_is_open: bool,
    /// What the orders may still add to positions.
    exposure: exposure::Exposure,
    /// The times from the writing of an order to the exchange's first word on it.
    round_trips: Option<RoundTrips>,
}

impl Book {
    pub(crate) fn new(patience: Patience, tag: &str) -> Self {
        Self {
            patience,
            tag: tag.to_owned(),
            leftovers: BTreeMap::new(),
            open: BTreeMap::new(),
            closed: HashMap::new(),
            closed_order: VecDeque::new(),
            incomplete: BTreeSet::new(),
            by_exchange_id: HashMap::new(),
            foreign: BTreeSet::new(),
            lost_sight: false,
            watched: BTreeSet::new(),
            cancelling_all: false,
            sessions: 0,
            session_is_open: true,
            exposure: exposure::Exposure::default(),
            round_trips: None,
        }
    }

    /// The times from the writing of an order to the exchange's first word on it, if any was
    /// written.
    pub(crate) fn round_trips(&self) -> Option<RoundTrips> {
        self.round_trips
    }

    /// Takes a new order in.
    pub(crate) fn insert(&mut self, id: ClientOrderId, request: NewOrder, now: Moment) -> Change {
        let order = Order {
            client_id: id,
            exchange_id: None,
            request,
            status: OrderStatus::Pending,
            filled: Quantity::ZERO,
            booked: Quantity::ZERO,
            reason: None,
            created: now.wall,
            updated: now.wall,
        };
        let change = Change { order: order.clone(), fill: None };
        self.open.insert(id, Entry::new(order));
        self.recount(id);
        change
    }

    /// A new order closes a position: what it trades is kept for the report, and so is itself.
    pub(crate) fn closes_position(&mut self, id: ClientOrderId) {
        if let Some(entry) = self.open.get_mut(&id) {
            entry.closing = Some(Vec::new());
            self.watched.insert(id);
        }
    }

    /// Takes an order back of which nobody has been told.
    pub(crate) fn withdraw(&mut self, id: ClientOrderId) {
        if let Some(entry) = self.open.remove(&id) {
            self.exposure.forget(&entry);
        }
    }

    /// Takes over an order of an earlier run that had not ended when that run did, or that had and
    /// lacks fills. The exchange must say how it stands before new orders are let in; `cancel` if it
    /// is to be cancelled then.
    pub(crate) fn adopt(
        &mut self,
        order: Order,
        fills: &[Fill],
        cancel: bool,
        now: Moment,
    ) -> Change {
        let id = order.client_id;
        if let Some(exchange_id) = order.exchange_id {
            self.by_exchange_id.entry(exchange_id).or_default().push(id);
        }
        let mut entry = Entry::adopted(order, fills, now);
        if entry.order.status.is_terminal() {
            entry.refreshed = true;
            entry.ended = Some(now.monotonic);
            let change = entry.change(None, now);
            self.closed.insert(id, entry);
            self.incomplete.insert(id);
            self.file(id);
            self.recount(id);
            return change;
        }
        if cancel {
            entry.cancel = Some(Cancel::default());
        }
        let reason = "the gateway ended before the order did".to_owned();
        let change = entry.becomes_unknown(reason, now);
        self.open.insert(id, entry);
        self.recount(id);
        change
    }

    /// The order as known, if it is known.
    pub(crate) fn get(&self, id: ClientOrderId) -> Option<&Order> {
        self.entry(id).map(|entry| &entry.order)
    }

    /// All that is known of an order.
    pub(super) fn entry(&self, id: ClientOrderId) -> Option<&Entry> {
        self.open.get(&id).or_else(|| self.closed.get(&id))
    }

    /// Every order that has not ended, in order of its id.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &Order> {
        self.open.values().map(|entry| &entry.order)
    }

    /// An order of an instrument that may still trade, but for those that are kept on purpose, or of
    /// which fills are missing.
    pub(crate) fn unsettled(&self, instrument: Instrument) -> Option<&Order> {
        let open = self.open.values().filter(|entry| !entry.is_kept() || entry.order.lacks_fills());
        let ended = self.incomplete.iter().filter_map(|id| self.closed.get(id));
        let mut orders = open.chain(ended).map(|entry| &entry.order);
        orders.find(|order| order.instrument() == instrument)
    }

    /// How many orders of the exchange's list are not the gateway's.
    pub(crate) fn foreign_orders(&self) -> usize {
        self.foreign.len()
    }

    /// The order is about to be written: from here on its outcome is the exchange's to tell.
    /// `None` if it should not be written any more.
    pub(crate) fn begin_write(&mut self, id: ClientOrderId, now: Moment) -> Option<Order> {
        let entry = self.open.get_mut(&id)?;
        if entry.order.status != OrderStatus::Pending || entry.cancel.is_some() {
            return None;
        }
        entry.order.status = OrderStatus::Sent;
        entry.order.updated = now.wall;
        entry.sent = Some(now.monotonic);
        entry.under_way = true;
        entry.refreshed = true;
        Some(entry.order.clone())
    }

    /// It is certain that no byte of the order was written.
    pub(crate) fn not_sent(&mut self, id: ClientOrderId, reason: &str, now: Moment) -> Effects {
        let mut effects = Effects::default();
        if self.open.get(&id).is_some_and(|e| e.order.status == OrderStatus::Pending) {
            self.end(id, OrderStatus::NotSent, Some(reason.to_owned()), now, &mut effects);
        }
        effects
    }

    /// A cancel is wanted, by a bot or by shutdown; it stays wanted until the order has ended.
    pub(crate) fn want_cancel(&mut self, id: ClientOrderId, now: Moment) -> Effects {
        let mut effects = Effects::default();
        if let Some(entry) = self.open.get_mut(&id) {
            let first = entry.cancel.is_none();
            entry.cancel.get_or_insert_with(Cancel::default);
            if first && entry.order.status == OrderStatus::Pending {
                let reason = Some("cancelled before it was written".to_owned());
                self.end(id, OrderStatus::NotSent, reason, now, &mut effects);
            } else if first {
                effects.work.push(Work::Cancel(id));
            }
        }
        effects
    }

    /// Shutdown: every unfinished order is watched until the report, and a cancel is wanted for
    /// each that is not to be kept; those to be kept are asked whether they are still there. Orders
    /// that have ended and lack fills are watched too.
    pub(crate) fn want_cancel_all(&mut self, now: Moment) -> Effects {
        let mut effects = Effects::default();
        self.cancelling_all = true;
        let ids: Vec<_> = self.open.keys().copied().collect();
        for id in ids {
            self.watched.insert(id);
            let Some(entry) = self.open.get_mut(&id) else { continue };
            if entry.order.request.on_shutdown == OnShutdown::Cancel {
                let more = self.want_cancel(id, now);
                effects.changes.extend(more.changes);
                effects.work.extend(more.work);
            } else if entry.order.status != OrderStatus::Pending {
                // What was last heard of it may be old, over a connection that is dead by now.
                entry.refreshed = false;
                entry.heard_elsewhere = false;
                effects.work.push(Work::Query(id));
            }
        }
        self.watched.extend(&self.incomplete);
        effects.work.extend(self.fetch_now());
        effects
    }

    /// A cancel is about to be written: the order to write it for, unless it has ended.
    pub(crate) fn begin_cancel(&mut self, id: ClientOrderId, now: Moment) -> Option<Order> {
        let entry = self.open.get_mut(&id)?;
        let cancel = entry.cancel.get_or_insert_with(Cancel::default);
        cancel.attempts += 1;
        if cancel.first_written.is_none() {
            cancel.first_written = Some(now.monotonic);
            cancel.session = self.sessions;
        }
        cancel.last_written = Some(now.monotonic);
        Some(entry.order.clone())
    }

    /// A question is about to be written: the order to ask for, unless it has ended.
    pub(crate) fn begin_query(&mut self, id: ClientOrderId, now: Moment) -> Option<Order> {
        let entry = self.open.get_mut(&id)?;
        entry.asked = Some(now.monotonic);
        entry.asking.get_or_insert(now.monotonic);
        Some(entry.order.clone())
    }

    /// The orders that an earlier run left open, as far as the exchange has told.
    pub(crate) fn leftovers(&self) -> impl Iterator<Item = &LeftoverOrder> {
        self.leftovers.values().map(|(_, left)| left)
    }

    /// A drain is over and its exchange is used again. Orders are cancelled no more for the drain's
    /// sake but for those whose cancel is wanted already. What the drain found stays for the last
    /// report: all that has not ended, and of what has as many as are remembered of others.
    pub(crate) fn begins_again(&mut self) {
        self.cancelling_all = false;
        let has_ended =
            |id: &&ClientOrderId| !self.open.contains_key(*id) && !self.incomplete.contains(*id);
        let ended: Vec<_> = self.watched.iter().filter(has_ended).copied().collect();
        // Ids grow with time.
        let too_many = ended.len().saturating_sub(self.patience.closed_kept);
        for id in ended.into_iter().take(too_many) {
            self.watched.remove(&id);
            let entry = self.closed.get_mut(&id);
            if entry.is_some_and(|entry| !std::mem::replace(&mut entry.in_line, true)) {
                self.closed_order.push_back(id);
            }
        }
        self.forget_oldest();
    }

    /// A new trading session began: nothing that is known has been confirmed by it yet.
    pub(crate) fn session_opened(&mut self) {
        self.sessions += 1;
        self.session_is_open = true;
        for entry in self.open.values_mut() {
            entry.refreshed = false;
            entry.heard_elsewhere = false;
            // What was asked over HTTP need not be answered any more.
            entry.asked = None;
            entry.asking = None;
        }
        self.foreign.clear();
        self.lost_sight = false;
    }

    /// The new session has told its open orders. What it did not mention must be asked, and wanted
    /// cancels must be written again.
    pub(crate) fn session_ready(&mut self) -> Vec<Work> {
        // Only a list without them says that they are gone: a session may end before it has one.
        self.leftovers.retain(|_, (session, _)| *session == self.sessions);
        let mut work = Vec::new();
        for (&id, entry) in &self.open {
            if entry.order.status == OrderStatus::Pending {
                continue;
            }
            if !entry.refreshed {
                work.push(Work::Query(id));
            }
            if entry.cancel.is_some() {
                work.push(Work::Cancel(id));
            }
        }
        work.extend(self.fetch_now());
        work
    }

    /// Whether the exchange has yet to say how some order stands since the session began.
    pub(crate) fn is_reconciled(&self) -> bool {
        let settled = |e: &Entry| e.refreshed || e.order.status == OrderStatus::Pending;
        self.open.values().all(settled)
    }

    /// The trading connection is gone: what was written and not answered is unknown. Unless it
    /// was closed on purpose at the very end, what is known of the others may be out of date.
    pub(crate) fn connection_lost(
        &mut self,
        reason: &str,
        on_purpose: bool,
        now: Moment,
    ) -> Effects {
        let mut effects = Effects::default();
        // An attempt to connect that failed takes nothing away that was asked over HTTP meanwhile.
        let was_open = std::mem::take(&mut self.session_is_open);
        for entry in self.open.values_mut() {
            if was_open {
                entry.asked = None;
                entry.asking = None;
            }
            entry.under_way = false;
            entry.refreshed &= on_purpose;
            if entry.order.status == OrderStatus::Sent {
                let reason = format!("the connection was lost before the answer came: {reason}");
                effects.changes.push(entry.becomes_unknown(reason, now));
            }
        }
        if was_open {
            self.forget_questions_for_fills();
        }
        effects
    }

    /// What is due: answers that did not come, questions and cancels to repeat.
    pub(crate) fn due(&mut self, now: Moment) -> Effects {
        let mut effects = Effects::default();
        let passed = |since: Option<Instant>, limit: Duration| {
            since.is_none_or(|at| now.monotonic.duration_since(at) >= limit)
        };
        for (&id, entry) in &mut self.open {
            // One question at a time: the next when the last was answered or got lost.
            let may_ask =
                entry.asking.is_none_or(|at| passed(Some(at), self.patience.acknowledgement));
            match entry.order.status {
                OrderStatus::Pending => continue,
                OrderStatus::Sent if passed(entry.sent, self.patience.acknowledgement) => {
                    let limit = self.patience.acknowledgement.as_millis();
                    let reason = format!("no answer within {limit} ms");
                    effects.changes.push(entry.becomes_unknown(reason, now));
                    effects.work.push(Work::Query(id));
                    entry.asked = Some(now.monotonic);
                }
                // What the present session has not confirmed keeps new orders out, so a question
                // that failed is asked again as well.
                status
                    if (status == OrderStatus::OutcomeUnknown || !entry.refreshed)
                        && may_ask
                        && passed(entry.asked, self.patience.query) =>
                {
                    effects.work.push(Work::Query(id));
                    entry.asked = Some(now.monotonic);
                }
                _ => {}
            }
            if let Some(cancel) = &mut entry.cancel
                && passed(cancel.last_written, self.patience.cancel * cancel.pause)
            {
                // One that the exchange had no room for needs no question.
                let unanswered = cancel.attempts > 0 && cancel.pause == 1;
                if unanswered && may_ask && passed(entry.asked, self.patience.cancel) {
                    effects.work.push(Work::Query(id));
                    entry.asked = Some(now.monotonic);
                }
                effects.work.push(Work::Cancel(id));
                cancel.last_written = Some(now.monotonic);
            }
        }
        self.fills_due(now, &mut effects);
        effects
    }

    /// Whether [`due`](Self::due) may have something to do later.
    pub(crate) fn is_waiting(&self) -> bool {
        let waits = |entry: &Entry| {
            entry.cancel.is_some()
                || !entry.refreshed
                || entry.order.lacks_fills()
                || matches!(entry.order.status, OrderStatus::Sent | OrderStatus::OutcomeUnknown)
        };
        !self.incomplete.is_empty() || self.open.values().any(waits)
    }

    /// Books what the exchange says of an order.
    pub(crate) fn apply(&mut self, event: &OrderEvent, now: Moment) -> Effects {
        let mut effects = Effects::default();
        let Some(id) = self.find(event) else {
            self.note_foreign(event);
            return effects;
        };
        let filled_before = self.get(id).map_or(Quantity::ZERO, |order| order.filled);
        let fills_answered =
            matches!(event.news, OrderNews::FillsListed | OrderNews::FillsFailed { .. });
        if self.closed.contains_key(&id) && !self.reopens(id, &event.news) {
            self.book_late(id, &event.news, now, &mut effects);
            self.recount(id);
            self.note_fills(id, filled_before, fills_answered, now);
            return effects;
        }
        let Some(entry) = self.open.get_mut(&id) else { return effects };
        // A fill, which may be an old one, says that the order was there and not that it still is.
        entry.refreshed |= !fills_answered && !matches!(event.news, OrderNews::Filled { .. });
        // Questions and cancels may take another way than orders (HTTP) and overtake them. Only
        // news of the order, or an answer on its own connection, which keeps the order of requests,
        // show that it has arrived.
        let overtakes = matches!(
            event.news,
            OrderNews::NotFound | OrderNews::QueryFailed { .. } | OrderNews::CancelRejected { .. }
        );
        if !overtakes || event.request_id.is_some() {
            if entry.under_way
                && !entry.answered
                && let Some(sent) = entry.sent
            {
                let took = now.monotonic.saturating_duration_since(sent);
                self.round_trips = Some(RoundTrips::and(self.round_trips, took));
            }
            entry.under_way = false;
        }
        if let Some(exchange_id) = event.exchange_id
            && entry.order.exchange_id != Some(exchange_id)
        {
            entry.order.exchange_id = Some(exchange_id);
            self.by_exchange_id.entry(exchange_id).or_default().push(id);
        }
        if matches!(
            event.news,
            OrderNews::Status { .. } | OrderNews::NotFound | OrderNews::QueryFailed { .. }
        ) {
            entry.answered_to = entry.asking.take();
        }
        self.apply_open(id, &event.news, now, &mut effects);
        self.recount(id);
        self.note_fills(id, filled_before, fills_answered, now);
        effects
    }

    /// Which of our orders an event is about. The exchange's id decides only where the message
    /// names no other: another's order may have the same number on another instrument.
    fn find(&self, event: &OrderEvent) -> Option<ClientOrderId> {
        if let Some(id) = event.client_id {
            return self.entry(id).map(|_| id);
        }
        let candidates = self.by_exchange_id.get(&event.exchange_id?)?;
        let fits = |id: &&ClientOrderId| {
            let instrument = self.entry(**id).map(|entry| entry.order.request.instrument);
            instrument.is_some() && (event.instrument.is_none() || event.instrument == instrument)
        };
        let mut fitting = candidates.iter().filter(fits);
        let first = fitting.next().copied();
        // Two that fit cannot be told apart; then both are left to be asked about.
        first.filter(|_| fitting.next().is_none())
    }

    fn apply_open(
        &mut self,
        id: ClientOrderId,
        news: &OrderNews,
        now: Moment,
        effects: &mut Effects,
    ) {
        let Some(entry) = self.open.get_mut(&id) else { return };
        match news {
            OrderNews::Acknowledged | OrderNews::Opened => {
                effects.changes.extend(entry.is_live(None, now));
                effects.work.extend(entry.cancel_again());
            }
            OrderNews::Rejected { code, reason } => {
                let reason = match code {
                    Some(code) => format!("{reason} ({code})"),
                    None => reason.clone(),
                };
                if entry.answered {
                    // The exchange took the order in before: only a question can settle this.
                    effects.work.push(Work::Query(id));
                } else {
                    entry.refused = true;
                    self.end(id, OrderStatus::Rejected, Some(reason), now, effects);
                }
            }
            OrderNews::OutcomeUnknown { reason } => {
                if !entry.answered {
                    effects.changes.push(entry.becomes_unknown(reason.clone(), now));
                    effects.work.push(Work::Query(id));
                    entry.asked = Some(now.monotonic);
                }
            }
            OrderNews::Filled { fill, cumulative, completes } => {
                entry.answered = true;
                let before = entry.order.filled;
                let whole = entry.book_fill(fill, *cumulative);
                let Some(whole) = whole else { return };
                if whole || *completes {
                    entry.order.status = OrderStatus::Filled;
                    let reason = entry.order.reason.take();
                    self.end_with(
                        id,
                        OrderStatus::Filled,
                        reason,
                        Some(fill.clone()),
                        now,
                        effects,
                    );
                } else {
                    // One that was counted already is history: how the order stands is known better.
                    if entry.order.filled > before {
                        entry.order.status = OrderStatus::PartiallyFilled;
                        entry.order.reason = None;
                    }
                    effects.changes.push(entry.change(Some(fill.clone()), now));
                    effects.work.extend(entry.cancel_again());
                }
            }
            OrderNews::Ended { status, cumulative, reason } => {
                entry.book_cumulative(*cumulative);
                self.end(id, *status, reason.clone(), now, effects);
            }
            OrderNews::Status { status, cumulative, reason } => {
                if status.is_terminal() {
                    entry.book_cumulative(*cumulative);
                    self.end(id, *status, reason.clone(), now, effects);
                } else {
                    effects.changes.extend(entry.is_live(*cumulative, now));
                    effects.work.extend(entry.cancel_again());
                }
            }
            OrderNews::CancelAcknowledged => {
                entry.answered = true;
                entry.note_cancel("acknowledged, not yet confirmed");
            }
            OrderNews::CancelRejected { reason, retry, .. } => {
                entry.note_cancel(reason);
                if let Some(cancel) = &mut entry.cancel {
                    // An order that the exchange knows is refused for another reason than being
                    // unknown: then the cancel is repeated at its own pace.
                    cancel.overtook = !entry.answered && !retry;
                    cancel.pause = if *retry { (cancel.pause * 2).min(MAX_PAUSE) } else { 1 };
                }
                if !retry {
                    effects.work.push(Work::Query(id));
                    entry.asked = Some(now.monotonic);
                }
            }
            OrderNews::Unreadable { .. } => {
                entry.refreshed = false;
                effects.work.push(Work::Query(id));
                entry.asked = Some(now.monotonic);
            }
            OrderNews::NotFound => self.not_found(id, now, effects),
            OrderNews::QueryFailed { reason } => {
                entry.refreshed = false;
                entry.last_query_failure = Some(reason.clone());
            }
            OrderNews::FillsListed => {}
            OrderNews::FillsFailed { reason } => entry.last_query_failure = Some(reason.clone()),
        }
    }

    /// The exchange does not know the order. That is an answer only if it was asked when the order
    /// could not be on its way any more: until then the order may still arrive.
    fn not_found(&mut self, id: ClientOrderId, now: Moment, effects: &mut Effects) {
        let Some(entry) = self.open.get_mut(&id) else { return };
        let arrived = entry.sent.zip(entry.answered_to).is_some_and(|(sent, asked)| {
            asked.saturating_duration_since(sent) >= self.patience.in_flight
        });
        let reason = if entry.answered {
            "the exchange acknowledged the order and now does not find it"
        } else if entry.under_way || !arrived {
            "the exchange does not know the order, which may still be on its way"
        } else {
            entry.presumed = true;
            let reason = "the exchange knows no such order".to_owned();
            self.end(id, OrderStatus::Rejected, Some(reason), now, effects);
            return;
        };
        let told = entry.order.reason.as_deref() == Some(reason);
        if entry.order.status != OrderStatus::OutcomeUnknown || !told {
            effects.changes.push(entry.becomes_unknown(reason.to_owned(), now));
        }
    }

    fn end(
        &mut self,
        id: ClientOrderId,
        status: OrderStatus,
        reason: Option<String>,
        now: Moment,
        effects: &mut Effects,
    ) {
        self.end_with(id, status, reason, None, now, effects);
    }

    fn end_with(
        &mut self,
        id: ClientOrderId,
        status: OrderStatus,
        reason: Option<String>,
        fill: Option<Fill>,
        now: Moment,
        effects: &mut Effects,
    ) {
        let Some(mut entry) = self.open.remove(&id) else { return };
        entry.order.status = status;
        entry.order.reason = reason;
        entry.ended = Some(now.monotonic);
        entry.confirmed_over =
            entry.cancel.as_ref().filter(|cancel| cancel.first_written.is_some()).map(|cancel| {
                let is_fresh = cancel.session != self.sessions;
                if is_fresh { CancelPath::Fresh } else { CancelPath::Live }
            });
        if status == OrderStatus::Filled {
            entry.order.filled = entry.order.filled.max(entry.order.request.quantity);
        }
        effects.changes.push(entry.change(fill, now));
        self.closed.insert(id, entry);
        self.recount(id);
        self.incomplete.insert(id);
        self.file(id);
    }

    fn forget_oldest(&mut self) {
        while self.closed_order.len() > self.patience.closed_kept {
            let Some(id) = self.closed_order.pop_front() else { return };
            if let Some(entry) = self.closed.get_mut(&id) {
                entry.in_line = false;
            }
            // Kept for the report, or because it may still show up. Both are few: the orders open
            // when shutdown began, and those that the exchange denied. One that lacks fills comes
            // back to the line when it has them.
            let presumed = self.closed.get(&id).is_some_and(|entry| entry.presumed);
            if presumed || self.watched.contains(&id) || self.incomplete.contains(&id) {
                continue;
            }
            if let Some(entry) = self.closed.remove(&id)
                && let Some(exchange_id) = entry.order.exchange_id
                && let Some(known) = self.by_exchange_id.get_mut(&exchange_id)
            {
                known.retain(|other| *other != id);
                if known.is_empty() {
                    self.by_exchange_id.remove(&exchange_id);
                }
            }
        }
    }

    /// An order that was taken for non-existent, or whose request was refused, turns out to exist: it
    /// is open again.
    fn reopens(&mut self, id: ClientOrderId, news: &OrderNews) -> bool {
        let exists = matches!(
            news,
            OrderNews::Acknowledged
                | OrderNews::Opened
                | OrderNews::Filled { .. }
                | OrderNews::Status { .. }
                | OrderNews::Ended { .. }
                | OrderNews::Unreadable { .. }
        );
        // That it has ended is no news of one that was refused.
        let has_ended = match news {
            OrderNews::Ended { .. } => true,
            OrderNews::Status { status, .. } => status.is_terminal(),
            _ => false,
        };
        let doubtful = |entry: &Entry| entry.presumed || (entry.refused && !has_ended);
        if !exists || !self.closed.get(&id).is_some_and(doubtful) {
            return false;
        }
        let Some(mut entry) = self.closed.remove(&id) else { return false };
        if std::mem::take(&mut entry.in_line) {
            self.closed_order.retain(|known| *known != id);
        }
        self.incomplete.remove(&id);
        entry.presumed = false;
        entry.refused = false;
        entry.order.status = OrderStatus::OutcomeUnknown;
        entry.ended = None;
        if self.cancelling_all && entry.order.request.on_shutdown == OnShutdown::Cancel {
            entry.cancel.get_or_insert_with(|| Cancel { overtook: true, ..Cancel::default() });
        }
        self.open.insert(id, entry);
        true
    }

    /// An ended order may still learn of fills, which came late or were told twice.
    fn book_late(
        &mut self,
        id: ClientOrderId,
        news: &OrderNews,
        now: Moment,
        effects: &mut Effects,
    ) {
        let Some(entry) = self.closed.get_mut(&id) else { return };
        match news {
            OrderNews::Filled { fill, cumulative, completes } => {
                if let Some(whole) = entry.book_fill(fill, *cumulative) {
                    if whole || *completes {
                        entry.order.status = OrderStatus::Filled;
                    }
                    effects.changes.push(entry.change(Some(fill.clone()), now));
                }
            }
            OrderNews::Ended { status, cumulative, .. }
            | OrderNews::Status { status, cumulative, .. } => {
                let before = entry.order.filled;
                entry.book_cumulative(*cumulative);
                if entry.order.filled > before {
                    if *status == OrderStatus::Filled {
                        entry.order.status = OrderStatus::Filled;
                    }
                    effects.changes.push(entry.change(None, now));
                }
            }
            _ => {}
        }
    }

    /// An order that this run did not place: a person's, or one that an earlier run left open.
    fn note_foreign(&mut self, event: &OrderEvent) {
        if matches!(event.news, OrderNews::Unreadable { .. }) {
            self.lose_sight();
        }
        let (is_open, has_ended) = match &event.news {
            // What cannot be read may be of an open order, and nobody asks about this one.
            OrderNews::Opened | OrderNews::Acknowledged | OrderNews::Unreadable { .. } => {
                (true, false)
            }
            OrderNews::Status { status, .. } => (!status.is_terminal(), status.is_terminal()),
            OrderNews::Ended { .. } | OrderNews::Filled { completes: true, .. } => (false, true),
            _ => (false, false),
        };
        let ours = event.client_id.filter(|id| id.as_str().starts_with(&self.tag));
        if let Some(client_id) = ours {
            if has_ended {
                self.leftovers.remove(&client_id);
            } else if is_open
                && (self.leftovers.len() < MAX_FOREIGN || self.leftovers.contains_key(&client_id))
            {
                let (exchange_id, instrument) = (event.exchange_id, event.instrument);
                let leftover = LeftoverOrder { client_id, exchange_id, instrument };
                self.leftovers.insert(client_id, (self.sessions, leftover));
            }
            return;
        }
        let Some(exchange_id) = event.exchange_id else { return };
        // Some exchanges name the instrument only in the first message about an order.
        let fits = |(id, instrument): &&(ExchangeOrderId, Option<Instrument>)| {
            let same = *instrument == event.instrument;
            *id == exchange_id && (same || instrument.is_none() || event.instrument.is_none())
        };
        let known =
            self.foreign.range((exchange_id, None)..).take_while(|key| key.0 == exchange_id);
        let known = known.copied().find(|key| fits(&key));
        if is_open && known.is_none() && self.foreign.len() < MAX_FOREIGN {
            self.foreign.insert((exchange_id, event.instrument));
        }
        if has_ended {
            if let Some(known) = known {
                self.foreign.remove(&known);
            }
            self.leftovers.retain(|_, (_, left)| left.exchange_id != Some(exchange_id));
        }
    }

    /// The orders that shutdown found unfinished or without all their fills, and all that still are.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Entry> {
        let late = self.open.keys().chain(&self.incomplete);
        let late = late.filter(|id| !self.watched.contains(*id));
        self.watched.iter().chain(late).filter_map(|id| self.entry(*id))
    }

    /// Whether shutdown has nothing to wait for: every order has ended, but for those to be kept,
    /// of which the exchange has said that they are there, and every single fill is booked.
    pub(crate) fn is_flat(&self) -> bool {
        self.open.values().all(Entry::is_kept) && !self.lacks_fills()
    }
}
