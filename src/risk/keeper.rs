//! What the limits are asked with, for all exchanges together, and the kill switch.
//!
//! A desk asks under its own lock, so that its orders are the ones that are counted; what all desks
//! share is behind one more lock, under which an order that passes is counted at once: of two orders
//! that would pass each by itself and not together, one does. Nothing here is locked while another
//! part is called but for the last ticks and the positions, which call nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rust_decimal::Decimal;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::check::{Exposure, Mark, check, worth};
use super::kill::{Allowance, day, judge};
use super::limits::{Limits, Pair};
use super::window::Window;
use super::{OpenQuantities, RiskBreach};
use crate::config::RiskConfig;
use crate::positions::{DayProfit, Positions, Terms};
use crate::types::{ExchangeName, Instrument, KillSwitch, NewOrder, Timestamp};

/// Knows the last prices and what the day has brought. It is asked under locks and never waits.
pub(crate) trait Market: Send + Sync {
    /// The last tick of an instrument, and when it was received.
    fn last(&self, instrument: Instrument) -> Option<(Mark, Timestamp)>;

    /// Profit of the day (UTC) in a currency: realised less fees, and what open positions have gained
    /// since the day began.
    fn day_profit(&self, currency: &str, now: Timestamp) -> DayProfit;
}

/// Why an order is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Breach(RiskBreach),
    KillSwitch(Arc<KillSwitch>),
}

/// Shared by all desks.
pub(crate) struct Risk {
    state: Mutex<State>,
    positions: Arc<Positions>,
    market: Arc<dyn Market>,
    switch: watch::Sender<Option<Arc<KillSwitch>>>,
    /// A fill came, or limits changed: the day's loss may be another.
    moved: Notify,
}

struct State {
    config: RiskConfig,
    slots: FxHashMap<Instrument, Slot>,
    /// By currency, and by exchange and currency.
    gross: BTreeMap<String, Gross>,
    open: usize,
    recent: Window,
    exchanges: FxHashMap<ExchangeName, OfExchange>,
    tripped: Option<Arc<KillSwitch>>,
    allowance: Option<Allowance>,
}

#[derive(Default)]
struct OfExchange {
    open: usize,
    recent: Window,
}

#[derive(Default)]
struct Gross {
    all: Decimal,
    exchanges: FxHashMap<ExchangeName, Decimal>,
    /// Instruments with a position or orders that cannot be valued.
    unpriced: Vec<Instrument>,
}

/// One instrument.
struct Slot {
    terms: Terms,
    limits: Limits,
    open: OpenQuantities,
    position: Decimal,
    /// The last price that it was valued at.
    mark: Option<Mark>,
    /// What it counts for among the gross exposure of its currency.
    worth: Decimal,
}

impl Risk {
    /// Limits for these instruments. `tripped` if an earlier run left the kill switch so.
    pub(crate) fn new(
        config: RiskConfig,
        instruments: impl IntoIterator<Item = Instrument>,
        positions: Arc<Positions>,
        market: Arc<dyn Market>,
        tripped: Option<KillSwitch>,
        allowance: Option<Allowance>,
    ) -> Self {
        let tripped = tripped.map(Arc::new);
        let mut state = State {
            config: RiskConfig::default(),
            slots: FxHashMap::default(),
            gross: BTreeMap::new(),
            open: 0,
            recent: Window::default(),
            exchanges: FxHashMap::default(),
            tripped: tripped.clone(),
            allowance,
        };
        for instrument in instruments {
            let Some(terms) = positions.terms(instrument) else { continue };
            state.gross.entry(terms.currency.clone()).or_default();
            state.exchanges.entry(instrument.exchange()).or_default();
            let slot = Slot {
                terms: terms.clone(),
                limits: Limits::default(),
                open: OpenQuantities::default(),
                position: Decimal::ZERO,
                mark: None,
                worth: Decimal::ZERO,
            };
            state.slots.insert(instrument, slot);
        }
        let (switch, _) = watch::channel(tripped);
        let moved = Notify::new();
        let risk = Self { state: Mutex::new(state), positions, market, switch, moved };
        risk.set_limits(config);
        risk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- for the desks --------------------------------------------------------------------

    /// Whether the order keeps every limit; if so it counts from here on. `open` are the
    /// instrument's orders without it. An order that the shutdown places to `close` a position is
    /// counted and never refused. The caller holds the lock of the instrument's desk.
    pub(crate) fn admit(
        &self,
        order: &NewOrder,
        open: OpenQuantities,
        close: bool,
        now: (Timestamp, Instant),
    ) -> Result<(), Refusal> {
        let instrument = order.instrument;
        let position = self.positions.quantity(instrument);
        let mut state = self.state();
        let state = &mut *state;
        if let Some(tripped) = state.tripped.as_ref().filter(|_| !close) {
            return Err(Refusal::KillSwitch(Arc::clone(tripped)));
        }
        let Some(slot) = state.slots.get_mut(&instrument) else { return Ok(()) };
        let Some(of_exchange) = state.exchanges.get_mut(&instrument.exchange()) else {
            return Ok(());
        };
        let last = slot.limits.needs_price().and_then(|_| {
            let (mark, received) = self.market.last(instrument)?;
            let age = now.0.duration_since(received);
            Some((mark, Duration::try_from(age).unwrap_or_default()))
        });
        let per_second = slot.limits.orders_per_second;
        let counted = |window: &mut Window, limit: Option<usize>| {
            if limit.is_some() { window.count(now.1) } else { 0 }
        };
        if !close {
            let gross = state.gross.get(&slot.terms.currency);
            let others = Pair {
                all: gross.map_or(Decimal::ZERO, |gross| gross.all - slot.worth),
                exchange: gross
                    .and_then(|gross| gross.exchanges.get(&instrument.exchange()))
                    .map_or(Decimal::ZERO, |sum| sum - slot.worth),
            };
            let unpriced = gross.and_then(|gross| {
                gross.unpriced.iter().find(|found| **found != instrument).copied()
            });
            let exposure = Exposure {
                position,
                open,
                open_orders: Pair { all: state.open, exchange: of_exchange.open },
                recent: Pair {
                    all: counted(&mut state.recent, per_second.all),
                    exchange: counted(&mut of_exchange.recent, per_second.exchange),
                },
                others,
                unpriced,
                last,
            };
            check(&slot.limits, &slot.terms, &exposure, order).map_err(Refusal::Breach)?;
        }
        if per_second.all.is_some() {
            state.recent.add(now.1);
        }
        if per_second.exchange.is_some() {
            of_exchange.recent.add(now.1);
        }
        let mut after = open;
        after.add(order.side, order.reduce_only, order.quantity.0);
        after.orders += 1;
        let mark = last.map(|(mark, _)| mark);
        state.set(instrument, after, position, mark);
        Ok(())
    }

    /// The instrument's open orders, or its position, are others than before. The caller holds the
    /// lock of its desk.
    pub(crate) fn set_open(&self, instrument: Instrument, open: OpenQuantities) {
        let position = self.positions.quantity(instrument);
        self.state().set(instrument, open, position, None);
    }

    /// A fill was booked.
    pub(crate) fn filled(&self) {
        self.moved.notify_one();
    }

    // ---- limits ---------------------------------------------------------------------------

    /// Other limits hold from here on. Orders that are open stay, however many.
    pub(crate) fn set_limits(&self, config: RiskConfig) {
        let mut state = self.state();
        for (instrument, slot) in &mut state.slots {
            slot.limits = Limits::of(&config, *instrument, &slot.terms.currency);
        }
        state.config = config;
        let instruments: Vec<_> = state.slots.keys().copied().collect();
        drop(state);
        for instrument in instruments {
            self.value(instrument);
        }
        self.moved.notify_one();
    }

    /// The limits that hold.
    pub(crate) fn limits(&self) -> RiskConfig {
        self.state().config.clone()
    }

    /// Instruments that no daily loss limit counts, though there is one for others, with their
    /// currency.
    pub(crate) fn without_loss_limit(&self) -> Vec<(Instrument, String)> {
        let state = self.state();
        let limits = &state.config.max_daily_loss;
        let slots = state
            .slots
            .iter()
            .filter(|(_, slot)| !limits.is_empty() && !limits.contains_key(&slot.terms.currency));
        let mut found: Vec<_> =
            slots.map(|(instrument, slot)| (*instrument, slot.terms.currency.clone())).collect();
        found.sort_unstable();
        found
    }

    /// Values every instrument at the last ticks, each by itself, so that no order waits long.
    pub(crate) fn value_all(&self) {
        let state = self.state();
        let is_valued = |slot: &&Slot| slot.limits.limits_exposure();
        if !state.slots.values().any(|slot| is_valued(&slot)) {
            return;
        }
        let instruments: Vec<_> = state.slots.keys().copied().collect();
        drop(state);
        for instrument in instruments {
            self.value(instrument);
        }
    }

    fn value(&self, instrument: Instrument) {
        let mark = self.market.last(instrument).map(|(mark, _)| mark);
        let mut state = self.state();
        // Read under the lock: a fill that is booked meanwhile counts twice for a moment, not never.
        let position = self.positions.quantity(instrument);
        let Some(open) = state.slots.get(&instrument).map(|slot| slot.open) else { return };
        state.set(instrument, open, position, mark);
    }

    // ---- the kill switch ------------------------------------------------------------------

    /// Ends when the day's loss may be another. Cancel safe.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Trips the kill switch if the day's loss has reached a limit; tells whether it did now. Also
    /// tells a reset's allowance that has become complete and is to be kept.
    pub(crate) fn judge(&self, now: Timestamp) -> Judged {
        let state = self.state();
        let limits = state.config.max_daily_loss.clone();
        let mut allowance = state.allowance.clone();
        drop(state);
        let known = allowance.as_ref().map(|allowance| allowance.at);
        let mut judged = Judged::default();
        if allowance.as_ref().is_some_and(|allowance| day(allowance.at) != day(now)) {
            allowance = None;
        }
        for (currency, limit) in limits {
            let DayProfit { profit, unpriced } = self.market.day_profit(&currency, now);
            if let Some(allowance) = &mut allowance
                && !allowance.day_profit.contains_key(&currency)
            {
                // Without every price it is not known yet what the reset allows.
                if !unpriced.is_empty() {
                    continue;
                }
                allowance.day_profit.insert(currency.clone(), profit);
                judged.allowance = Some(allowance.clone());
            }
            if judged.tripped.is_none() {
                judged.tripped = judge(&currency, limit, profit, allowance.as_ref(), now);
            }
        }
        let mut state = self.state();
        // A reset that came meanwhile is left alone.
        if state.allowance.as_ref().map(|allowance| allowance.at) == known {
            state.allowance = allowance;
        }
        drop(state);
        judged.tripped = judged.tripped.filter(|switch| self.trip(switch.clone()));
        judged
    }

    /// From here on no new order is let in; tells whether that is news. Who calls it cancels the
    /// orders that were let in before.
    pub(crate) fn trip(&self, switch: KillSwitch) -> bool {
        let switch = Arc::new(switch);
        let mut state = self.state();
        if state.tripped.is_some() {
            return false;
        }
        state.tripped = Some(Arc::clone(&switch));
        drop(state);
        self.switch.send_replace(Some(switch));
        self.moved.notify_one();
        true
    }

    /// A person allows orders again: the day's loss counts from now on.
    pub(crate) fn reset(&self, allowance: Allowance) {
        let mut state = self.state();
        state.tripped = None;
        state.allowance = Some(allowance);
        drop(state);
        self.switch.send_replace(None);
        self.moved.notify_one();
    }

    /// Follows the kill switch.
    pub(crate) fn switch(&self) -> watch::Receiver<Option<Arc<KillSwitch>>> {
        self.switch.subscribe()
    }

    /// How the kill switch stands.
    pub(crate) fn tripped(&self) -> Option<Arc<KillSwitch>> {
        self.state().tripped.clone()
    }
}

/// What a look at the day's loss came to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// The kill switch has tripped now.
    pub(crate) tripped: Option<KillSwitch>,
    /// What a reset allows is known for one more currency.
    pub(crate) allowance: Option<Allowance>,
}

impl State {
    /// Counts an instrument anew.
    fn set(
        &mut self,
        instrument: Instrument,
        open: OpenQuantities,
        position: Decimal,
        mark: Option<Mark>,
    ) {
        let Some(slot) = self.slots.get_mut(&instrument) else { return };
        let exchange = instrument.exchange();
        let orders = slot.open.orders;
        self.open = (self.open + open.orders).saturating_sub(orders);
        if let Some(of_exchange) = self.exchanges.get_mut(&exchange) {
            of_exchange.open = (of_exchange.open + open.orders).saturating_sub(orders);
        }
        slot.open = open;
        slot.position = position;
        slot.mark = mark.or(slot.mark);
        if !slot.limits.limits_exposure() && slot.worth.is_zero() {
            return;
        }
        let Some(gross) = self.gross.get_mut(&slot.terms.currency) else { return };
        let largest = open.largest(position);
        let now = match slot.mark {
            _ if largest.is_zero() || !slot.limits.limits_exposure() => Some(Decimal::ZERO),
            Some(mark) => worth(&slot.terms, largest, mark),
            None => None,
        };
        gross.unpriced.retain(|known| *known != instrument);
        if now.is_none() {
            gross.unpriced.push(instrument);
        }
        let now = now.unwrap_or_default();
        let change = now.saturating_sub(slot.worth);
        slot.worth = now;
        gross.all = gross.all.saturating_add(change);
        let sum = gross.exchanges.entry(exchange).or_default();
        *sum = sum.saturating_add(change);
    }
}

#[cfg(test)]
mod tests;
