//! Kraken Spot.

use std::sync::Arc;

use super::*;
use crate::types::{Instrument, InstrumentSpec};

/// The production addresses.
pub fn production() -> Endpoints {
    unimplemented!()
}

/// The Kraken adapter.
#[derive(Debug)]
pub struct Kraken;

impl Kraken {
    /// An adapter from its setup.
    pub fn new(_: AdapterSetup) -> Self {
        Self
    }
}

impl Adapter for Kraken {
    fn kind(&self) -> AdapterKind {
        AdapterKind::Kraken
    }
    fn rules(&self, _: ConnectionKind) -> ConnectionRules {
        unimplemented!()
    }
    fn instruments_request(&self, _: &[Instrument]) -> HttpRequest {
        unimplemented!()
    }
    fn read_instruments(
        &self,
        _: &HttpResponse,
        _: &[Instrument],
    ) -> Result<Vec<InstrumentSpec>, DecodeError> {
        unimplemented!()
    }
    fn market_session(&self, _: Arc<SymbolTable>) -> Box<dyn MarketSession> {
        unimplemented!()
    }
    fn trading_session(&self, _: Arc<SymbolTable>) -> Box<dyn TradingSession> {
        unimplemented!()
    }
    fn guess_instrument(&self, _: &str) -> Option<Instrument> {
        unimplemented!()
    }
    fn dead_mans_switch(&self) -> DeadMansSwitch {
        unimplemented!()
    }
}
