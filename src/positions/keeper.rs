//! Keeps the positions of all instruments.
//!
//! Its lock is held for a few microseconds. It may be taken under that of a desk, and the queue of
//! the state database under it, so that the positions are stored in the order in which they came
//! about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rust_decimal::Decimal;
use tracing::error;

use super::Terms;
use super::accounts::{Account, Compared};
use super::day::{self, DayProfit};
use super::updates::{Mailbox, PositionUpdates};
use super::value::value;
use crate::market::LastTick;
use crate::types::{
    ClientOrderId, Comparison, ExchangeName, Fill, Holding, Instrument, InstrumentSpec, Order,
    Position, Timestamp, Valuation,
};

/// The positions of all instruments. Shared by the desks, which book every fill once.
pub(crate) struct Positions {
    terms: BTreeMap<Instrument, Terms>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: BTreeMap<Instrument, Position>,
    /// Those whose day began and is not stored yet.
    unsaved: BTreeSet<Instrument>,
    /// Fills that are in the positions and may be told again, because nothing else is known of them.
    counted: BTreeSet<KnownFill>,
    /// By exchange.
    accounts: BTreeMap<ExchangeName, Account>,
    subscribers: Vec<Weak<Mailbox>>,
    closed: bool,
}

/// A fill by its instrument, its order and its id.
type KnownFill = (Instrument, ClientOrderId, String);

impl Positions {
    /// Of these instruments, with nothing traded yet.
    pub(crate) fn new(specs: impl IntoIterator<Item = Arc<InstrumentSpec>>) -> Self {
        let (mut terms, mut state) = (BTreeMap::new(), State::default());
        for spec in specs {
            terms.insert(spec.instrument, Terms::of(&spec));
            state.accounts.entry(spec.instrument.exchange()).or_default().list(&spec);
        }
        Self { terms, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How an instrument's quantity and price become money.
    pub(crate) fn terms(&self, instrument: Instrument) -> Option<&Terms> {
        self.terms.get(&instrument)
    }

    /// Takes over the positions of earlier runs, before any fill is booked, with the fills in them
    /// that may be told again.
    pub(crate) fn restore(
        &self,
        positions: impl IntoIterator<Item = Position>,
        counted: impl IntoIterator<Item = KnownFill>,
    ) {
        let mut state = self.state();
        let named = positions.into_iter().map(|position| (position.instrument, position));
        state.held.extend(named);
        state.counted.extend(counted);
    }

    /// Books a fill of an order; the caller does so once each. `then` stores the position after it,
    /// if it moved one, and is called before any later position is told to anybody.
    pub(crate) fn book(&self, order: &Order, fill: &Fill, then: impl FnOnce(Option<Position>)) {
        let (instrument, at) = (order.request.instrument, order.updated);
        let Some(terms) = self.terms.get(&instrument) else { return then(None) };
        let mut state = self.state();
        if !state.counted.is_empty()
            && state.counted.remove(&(instrument, order.client_id, fill.fill_id.clone()))
        {
            drop(state);
            return then(None);
        }
        let account = state.accounts.entry(instrument.exchange()).or_default();
        account.flow(terms, instrument, order.request.side, fill);
        let empty = || Position::empty(instrument, &terms.currency);
        let position = state.held.entry(instrument).or_insert_with(empty);
        let held = position.entry.and_then(|e| terms.profit(position.quantity, e, fill.price));
        // No better price may be at hand than that of the fill itself.
        day::begin(position, day::date(at), held);
        if !terms.book(position, order.request.side, fill) {
            error!(%instrument, fill = fill.fill_id, "a fill is not in the position: its sums fit no decimal");
            drop(state);
            return then(None);
        }
        position.updated = at;
        let position = position.clone();
        state.tell(&position);
        state.unsaved.remove(&instrument);
        then(Some(position));
    }

    /// The position in one instrument, if it was ever traded.
    pub(crate) fn get(&self, instrument: Instrument) -> Option<Position> {
        self.state().held.get(&instrument).cloned()
    }

    /// What is held of one instrument, without a copy of the rest.
    pub(crate) fn quantity(&self, instrument: Instrument) -> Decimal {
        self.state().held.get(&instrument).map_or(Decimal::ZERO, |position| position.quantity)
    }

    /// All of them, by the instruments' names.
    pub(crate) fn all(&self) -> Vec<Position> {
        self.state().held.values().cloned().collect()
    }

    /// All of them, valued at the last ticks.
    pub(crate) fn valued(&self, prices: impl Fn(Instrument) -> Option<LastTick>) -> Vec<Valuation> {
        let all = self.all().into_iter();
        all.map(|position| self.value(position, &prices)).collect()
    }

    fn value(
        &self,
        position: Position,
        prices: impl Fn(Instrument) -> Option<LastTick>,
    ) -> Valuation {
        let instrument = position.instrument;
        value(position, self.terms.get(&instrument), prices(instrument).as_ref())
    }

    /// The profit of this UTC day in one currency: realised and unrealised less fees, less the same
    /// when the day began. A position that the gateway sees later on that day (a start after a
    /// pause) counts from then on, and what it holds from the first price on. `prices` are the last
    /// ticks.
    pub(crate) fn day_profit(
        &self,
        currency: &str,
        prices: impl Fn(Instrument) -> Option<LastTick>,
        now: Timestamp,
    ) -> DayProfit {
        let mut sum = DayProfit::default();
        let mut state = self.state();
        let State { held, unsaved, .. } = &mut *state;
        for position in held.values_mut().filter(|position| position.currency == currency) {
            let (profit, is_priced) = self.day_of(position, unsaved, &prices, now);
            sum.profit = sum.profit.saturating_add(profit);
            if !is_priced {
                sum.unpriced.push(position.instrument);
            }
        }
        sum
    }

    /// The profit of one position on this day, and whether all it holds has a price.
    fn day_of(
        &self,
        position: &mut Position,
        unsaved: &mut BTreeSet<Instrument>,
        prices: impl Fn(Instrument) -> Option<LastTick>,
        now: Timestamp,
    ) -> (Decimal, bool) {
        let instrument = position.instrument;
        let unrealized = self.value(position.clone(), prices).unrealized;
        if day::begin(position, day::date(now), unrealized) {
            unsaved.insert(instrument);
        }
        day::profit(position, unrealized)
    }

    /// Begins the day of every position that was not seen on it yet, and stores all that begun
    /// since the last time.
    pub(crate) fn keep_days(
        &self,
        prices: impl Fn(Instrument) -> Option<LastTick>,
        now: Timestamp,
        mut store: impl FnMut(Position),
    ) {
        let mut state = self.state();
        let State { held, unsaved, .. } = &mut *state;
        for position in held.values_mut() {
            self.day_of(position, unsaved, &prices, now);
        }
        for instrument in std::mem::take(unsaved) {
            if let Some(position) = held.get(&instrument) {
                store(position.clone());
            }
        }
    }

    /// How many fills were booked at an exchange since the start.
    pub(crate) fn fills_booked(&self, exchange: ExchangeName) -> u64 {
        self.state().accounts.get(&exchange).map_or(0, Account::fills)
    }

    /// Whether nothing was traded at an exchange since the start and nothing is held there.
    pub(crate) fn is_idle(&self, exchange: ExchangeName) -> bool {
        let state = self.state();
        let mut here = state.held.values().filter(|held| held.instrument.exchange() == exchange);
        here.all(Position::is_flat)
            && state.accounts.get(&exchange).is_none_or(|account| account.fills() == 0)
    }

    /// What an exchange told that the account holds, beside what the fills explain. `fills` is how
    /// many were booked when it was asked: if more are by now, nothing can be said. What is told
    /// first is what later answers are compared with.
    pub(crate) fn told(
        &self,
        exchange: ExchangeName,
        holdings: Vec<Holding>,
        fills: u64,
        at: Timestamp,
    ) -> Option<Comparison> {
        let mut state = self.state();
        state.accounts.entry(exchange).or_default().told(exchange, holdings, fills, at)
    }

    /// An exchange could not be asked what the account holds.
    pub(crate) fn not_told(
        &self,
        exchange: ExchangeName,
        problem: String,
        at: Timestamp,
    ) -> Comparison {
        let mut state = self.state();
        state.accounts.entry(exchange).or_default().not_told(exchange, problem, at)
    }

    /// Forgets what the last comparison with an exchange said.
    pub(crate) fn forget_comparison(&self, exchange: ExchangeName) {
        if let Some(account) = self.state().accounts.get_mut(&exchange) {
            account.forget_comparison();
        }
    }

    /// What the exchange said is held less what the fills explain, of what an instrument's position
    /// is in: the base asset on a spot market (all its instruments together), the derivative itself
    /// elsewhere. Nothing if nobody compared.
    pub(crate) fn difference(&self, instrument: Instrument) -> Option<Compared> {
        let terms = self.terms.get(&instrument)?;
        self.state().accounts.get(&instrument.exchange())?.difference(terms, instrument)
    }

    /// Follows the changes from now on.
    pub(crate) fn updates(&self) -> PositionUpdates {
        let mailbox = Arc::new(Mailbox::default());
        let mut state = self.state();
        if state.closed {
            mailbox.close();
        } else {
            state.subscribers.retain(|known| known.strong_count() > 0);
            state.subscribers.push(Arc::downgrade(&mailbox));
        }
        PositionUpdates::new(mailbox)
    }

    /// Nothing more will change: those who follow are told so.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for mailbox in std::mem::take(&mut state.subscribers).iter().filter_map(Weak::upgrade) {
            mailbox.close();
        }
    }
}

impl State {
    fn tell(&mut self, position: &Position) {
        let mut ended = false;
        for subscriber in &self.subscribers {
            match subscriber.upgrade() {
                Some(mailbox) => mailbox.put(position),
                None => ended = true,
            }
        }
        if ended {
            self.subscribers.retain(|known| known.strong_count() > 0);
        }
    }
}

#[cfg(test)]
mod tests;
