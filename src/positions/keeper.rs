//! Keeps the positions of all instruments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Terms;
use crate::types::{Fill, Instrument, InstrumentSpec, Position, Side, Timestamp};

/// The positions of all instruments. Shared by the desks, which book every fill once.
pub(crate) struct Positions {
    terms: BTreeMap<Instrument, Terms>,
    state: Mutex<BTreeMap<Instrument, Position>>,
}

impl Positions {
    /// Of these instruments, with nothing traded yet.
    pub(crate) fn new(specs: impl IntoIterator<Item = Arc<InstrumentSpec>>) -> Self {
        let terms = specs.into_iter().map(|spec| (spec.instrument, Terms::of(&spec))).collect();
        Self { terms, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<Instrument, Position>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How an instrument's quantity and price become money.
    pub(crate) fn terms(&self, instrument: Instrument) -> Option<&Terms> {
        self.terms.get(&instrument)
    }

    /// Books a fill; the caller does so once each. Tells the position after it, unless the
    /// instrument is not known.
    pub(crate) fn book(
        &self,
        instrument: Instrument,
        side: Side,
        fill: &Fill,
        at: Timestamp,
    ) -> Option<Position> {
        let terms = self.terms.get(&instrument)?;
        let mut state = self.state();
        let position =
            state.entry(instrument).or_insert_with(|| Position::empty(instrument, &terms.currency));
        terms.book(position, side, fill);
        position.updated = at;
        Some(position.clone())
    }

    /// The position in one instrument, if it was ever traded.
    pub(crate) fn get(&self, instrument: Instrument) -> Option<Position> {
        self.state().get(&instrument).cloned()
    }

    /// All of them, by the instruments' names.
    pub(crate) fn all(&self) -> Vec<Position> {
        self.state().values().cloned().collect()
    }
}
