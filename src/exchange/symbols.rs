//! The exchange's symbols and the gateway's instruments, both ways.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::types::{Instrument, InstrumentSpec};

/// Maps between an exchange's symbols and instruments. Looking up borrows and allocates nothing.
#[derive(Debug, Default)]
pub struct SymbolTable {
    by_symbol: FxHashMap<String, Instrument>,
    specs: FxHashMap<Instrument, Arc<InstrumentSpec>>,
    order: Vec<Instrument>,
}

impl SymbolTable {
    /// A table of these instruments, in this order.
    pub fn new(specs: impl IntoIterator<Item = InstrumentSpec>) -> Self {
        let mut table = Self::default();
        for spec in specs {
            table.by_symbol.insert(spec.symbol.clone(), spec.instrument);
            table.order.push(spec.instrument);
            table.specs.insert(spec.instrument, Arc::new(spec));
        }
        table
    }

    /// The instrument that the exchange calls so.
    pub fn instrument(&self, symbol: &str) -> Option<Instrument> {
        self.by_symbol.get(symbol).copied()
    }

    /// What the exchange calls an instrument.
    pub fn symbol(&self, instrument: Instrument) -> Option<&str> {
        self.specs.get(&instrument).map(|spec| spec.symbol.as_str())
    }

    /// The exchange's rules for an instrument.
    pub fn spec(&self, instrument: Instrument) -> Option<&Arc<InstrumentSpec>> {
        self.specs.get(&instrument)
    }

    /// All instruments, in the order given.
    pub fn instruments(&self) -> &[Instrument] {
        &self.order
    }

    /// All rules, in the order given.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<InstrumentSpec>> {
        self.order.iter().filter_map(|instrument| self.specs.get(instrument))
    }
}
