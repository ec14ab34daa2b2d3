//! What accounts ought to hold: what they held at the start, and what the fills since then add up
//! to. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Terms;
use crate::types::{
    Comparison, ComparisonLine, ExchangeName, Fill, Held, Holding, Instrument, InstrumentSpec,
    Side, Timestamp,
};

/// Money that is moved to and fro may be rounded by an exchange at every fill: a ten-thousandth of
/// what was moved in all is taken for that.
const ROUNDED: Decimal = Decimal::from_parts(1, 0, 0, false, 4);

/// The account at one exchange.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// What is compared, with the least amount that could be traded of it; zero of what is only
    /// paid with.
    lots: BTreeMap<Held, Decimal>,
    flows: BTreeMap<Held, Flow>,
    /// Fills booked since the start.
    fills: u64,
    /// What was held before them.
    baseline: Option<BTreeMap<Held, Decimal>>,
    last: Option<Comparison>,
}

#[derive(Debug, Default)]
struct Flow {
    sum: Decimal,
    /// The same without signs.
    turnover: Decimal,
}

impl Account {
    pub(super) fn list(&mut self, spec: &InstrumentSpec) {
        let instrument = spec.instrument;
        if spec.contract_size.is_some() {
            self.lots.insert(Held::Instrument(instrument), spec.lot_size);
            return;
        }
        let base = self.lots.entry(Held::Asset(instrument.base().into())).or_default();
        *base = (*base).max(spec.lot_size);
        self.lots.entry(Held::Asset(instrument.quote().into())).or_default();
    }

    pub(super) fn fills(&self) -> u64 {
        self.fills
    }

    /// Counts what a fill brings in and takes out.
    pub(super) fn flow(&mut self, terms: &Terms, instrument: Instrument, side: Side, fill: &Fill) {
        self.fills += 1;
        let quantity = match side {
            Side::Buy => fill.quantity.0,
            Side::Sell => -fill.quantity.0,
        };
        let Some(base) = &terms.base else {
            // Profit and fees of derivatives are money, and that is not compared.
            return self.add(Held::Instrument(instrument), quantity);
        };
        self.add(Held::Asset(base.clone()), quantity);
        let cost = quantity.checked_mul(fill.price.0).unwrap_or_default();
        self.add(Held::Asset(terms.currency.clone()), -cost);
        if let Some(fee) = &fill.fee {
            self.add(Held::Asset(fee.asset.clone()), -fee.amount);
        }
    }

    fn add(&mut self, held: Held, amount: Decimal) {
        let flow = self.flows.entry(held).or_default();
        flow.sum = flow.sum.saturating_add(amount);
        flow.turnover = flow.turnover.saturating_add(amount.abs());
    }

    /// Compares what the exchange told with what the fills explain. `fills` were booked when it was
    /// asked: nothing can be said if more are now. What is told first is what later answers are
    /// compared with.
    pub(super) fn told(
        &mut self,
        exchange: ExchangeName,
        holdings: Vec<Holding>,
        fills: u64,
        at: Timestamp,
    ) -> Option<Comparison> {
        if fills != self.fills {
            return None;
        }
        let told: BTreeMap<Held, Decimal> =
            holdings.into_iter().map(|holding| (holding.held, holding.amount)).collect();
        let flow = |held: &Held| self.flows.get(held).map_or(Decimal::ZERO, |flow| flow.sum);
        let mut comparison = Comparison { exchange, at, lines: Vec::new(), problem: None };
        let Some(baseline) = &self.baseline else {
            let moved = self.flows.keys().filter(|held| !told.contains_key(held));
            let known = told.keys().chain(moved);
            let before = |held: &Held| amount(&told, held).saturating_sub(flow(held));
            self.baseline = Some(known.map(|held| (held.clone(), before(held))).collect());
            let problem = "what the account held at the start is not known; it counts from now on";
            comparison.problem = Some(problem.to_owned());
            return Some(comparison);
        };
        let paid_with = self.flows.keys().filter(|held| !self.lots.contains_key(held));
        for held in self.lots.keys().chain(paid_with) {
            let told = amount(&told, held);
            let expected = amount(baseline, held).saturating_add(flow(held));
            let difference = told.saturating_sub(expected);
            let is_rounding = self.is_rounding(held, difference);
            let held = held.clone();
            comparison.lines.push(ComparisonLine { held, told, expected, difference, is_rounding });
        }
        self.last = Some(comparison.clone());
        Some(comparison)
    }

    fn is_rounding(&self, held: &Held, difference: Decimal) -> bool {
        let lot = self.lots.get(held).copied().unwrap_or_default();
        let turnover = self.flows.get(held).map_or(Decimal::ZERO, |flow| flow.turnover);
        let difference = difference.abs();
        if lot.is_zero() { difference <= turnover * ROUNDED } else { difference < lot }
    }

    /// The exchange could not be asked.
    pub(super) fn not_told(
        &mut self,
        exchange: ExchangeName,
        problem: String,
        at: Timestamp,
    ) -> Comparison {
        let comparison = Comparison { exchange, at, lines: Vec::new(), problem: Some(problem) };
        self.last = Some(comparison.clone());
        comparison
    }

    pub(super) fn forget_comparison(&mut self) {
        self.last = None;
    }

    /// The difference in the last comparison of what an instrument's position is in, or why there
    /// is none; nothing if nobody compared.
    pub(super) fn difference(&self, terms: &Terms, instrument: Instrument) -> Option<Compared> {
        let last = self.last.as_ref()?;
        if let Some(problem) = &last.problem {
            return Some(Err(problem.clone()));
        }
        let of = match &terms.base {
            Some(base) => Held::Asset(base.clone()),
            None => Held::Instrument(instrument),
        };
        let mut lines = last.lines.iter();
        lines.find(|line| line.held == of).map(|line| Ok(line.difference))
    }
}

fn amount(of: &BTreeMap<Held, Decimal>, held: &Held) -> Decimal {
    of.get(held).copied().unwrap_or_default()
}

/// What the exchange says is held less what the fills explain, or why that is not known.
pub(crate) type Compared = Result<Decimal, String>;
