//! One request that cancels every order of a scope, an instrument or (`None`) the account.
//!
//! The exchange asks nobody whose orders those are. So it is used only where the book knows of no
//! order in the scope but those that are to be cancelled, and it is believed no more than a single
//! cancel is: each order still ends by its own news, and is cancelled by itself if that does not
//! come. It may overtake orders that are on their way, which it then misses: those are cancelled
//! when they show up.

use super::{Book, Effects, Entry, Moment, Work};
use crate::exchange::MassCancel;
use crate::orders::limiter::CancelRequests;
use crate::types::{Instrument, OnShutdown, Order, OrderStatus};

/// From so many orders on, one request stands for their cancels.
const LEAST: usize = 2;

impl Book {
    /// Puts one request in the place of the wanted cancels of each scope in which it touches nothing
    /// else. `asked` is the scope that is to be emptied, `has` what the exchange has requests for.
    pub(crate) fn gather_cancels(
        &self,
        asked: Option<Instrument>,
        has: MassCancel,
        effects: &mut Effects,
    ) {
        let wanted = effects.work.iter().filter_map(|work| self.cancels(*work));
        let mut scopes: Vec<_> = match asked {
            None if has.account => vec![None],
            None if has.instrument => wanted.map(Some).collect(),
            Some(_) if has.instrument => vec![asked],
            _ => return,
        };
        if !self.allows_mass_cancel(asked) {
            return;
        }
        scopes.sort_unstable();
        scopes.dedup();
        for scope in scopes {
            let covers = |work: &Work| self.cancels(*work).is_some_and(|at| is_within(at, scope));
            if effects.work.iter().filter(|work| covers(work)).count() >= LEAST
                && self.allows_mass_cancel(scope)
            {
                effects.work.retain(|work| !covers(work));
                effects.work.insert(0, Work::CancelAll(scope));
            }
        }
    }

    /// The requests for these cancels.
    pub(crate) fn cancel_requests(&self, work: &[Work]) -> CancelRequests {
        let mut requests = CancelRequests::default();
        for work in work {
            if matches!(work, Work::CancelAll(_)) {
                requests.mass += 1;
            } else if let Some(instrument) = self.cancels(*work) {
                *requests.single.entry(instrument).or_default() += 1;
            }
        }
        requests
    }

    /// Where the order is that this cancels.
    fn cancels(&self, work: Work) -> Option<Instrument> {
        let Work::Cancel(id) = work else { return None };
        self.open.get(&id).map(|entry| entry.order.instrument())
    }

    /// Whether a request that cancels whatever is open in the scope cancels nothing that is not to
    /// be cancelled, as far as the exchange has told. What it told without an instrument, or so that
    /// it could not be read, may be anywhere.
    fn allows_mass_cancel(&self, scope: Option<Instrument>) -> bool {
        let strange = self.sees_others(scope);
        let is_meant = |entry: &Entry| {
            entry.cancel.is_some() && entry.order.request.on_shutdown == OnShutdown::Cancel
        };
        !strange && self.written_within(scope).all(is_meant)
    }

    /// Whether an order of somebody else, or of an earlier run, may be in the scope.
    pub(crate) fn sees_others(&self, scope: Option<Instrument>) -> bool {
        let may_be_within =
            |at: Option<Instrument>| at.is_none_or(|instrument| is_within(instrument, scope));
        self.lost_sight
            || self.foreign.iter().any(|(_, at)| may_be_within(*at))
            || self.leftovers.values().any(|(_, leftover)| may_be_within(leftover.instrument))
    }

    /// The orders of a scope that may be on the exchange.
    fn written_within(&self, scope: Option<Instrument>) -> impl Iterator<Item = &Entry> {
        self.open.values().filter(move |entry| {
            entry.order.status != OrderStatus::Pending && is_within(entry.order.instrument(), scope)
        })
    }

    /// The request is about to be written: the orders that it cancels, for each of which it counts
    /// as a cancel. If it would touch others by now, the work is to cancel each by itself.
    pub(crate) fn begin_mass_cancel(
        &mut self,
        scope: Option<Instrument>,
        now: Moment,
    ) -> Result<Vec<Order>, Vec<Work>> {
        let wanted = self.written_within(scope).filter(|entry| entry.cancel.is_some());
        let ids: Vec<_> = wanted.map(|entry| entry.order.client_id).collect();
        if ids.len() < LEAST || !self.allows_mass_cancel(scope) {
            return Err(ids.into_iter().map(Work::Cancel).collect());
        }
        let mut orders = Vec::with_capacity(ids.len());
        for id in ids {
            orders.extend(self.begin_cancel(id, now));
            let Some(entry) = self.open.get_mut(&id) else { continue };
            let is_there =
                matches!(entry.order.status, OrderStatus::Open | OrderStatus::PartiallyFilled);
            if let Some(cancel) = entry.cancel.as_mut().filter(|_| !is_there) {
                cancel.overtook = true;
            }
        }
        Ok(orders)
    }

    /// The exchange said something that cannot be read. It may have been of an order that is not
    /// ours, so that until the next session lists them all no request may cancel more than one.
    pub(crate) fn lose_sight(&mut self) {
        self.lost_sight = true;
    }
}

fn is_within(instrument: Instrument, scope: Option<Instrument>) -> bool {
    scope.is_none_or(|scope| scope == instrument)
}
