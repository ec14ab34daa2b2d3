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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Fee, Price, Quantity};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn exchange() -> ExchangeName {
        ExchangeName::new("kraken").unwrap()
    }

    fn spec(name: &str, contract_size: Option<Decimal>) -> InstrumentSpec {
        let instrument: Instrument = name.parse().unwrap();
        InstrumentSpec {
            instrument,
            symbol: instrument.pair().into(),
            tick_size: Decimal::ONE,
            tick_size_steps: Vec::new(),
            lot_size: Decimal::new(1, 2),
            min_quantity: Quantity(Decimal::ONE),
            max_quantity: None,
            min_notional: None,
            contract_size,
        }
    }

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn asset(name: &str) -> Held {
        Held::Asset(name.to_owned())
    }

    fn holdings(amounts: &[(&str, &str)]) -> Vec<Holding> {
        let of =
            |(name, amount): &(&str, &str)| Holding { held: asset(name), amount: number(amount) };
        amounts.iter().map(of).collect()
    }

    fn trade(
        account: &mut Account,
        name: &str,
        side: Side,
        quantity: &str,
        price: &str,
        fee: &str,
    ) {
        let spec = spec(name, None);
        let fee = fee
            .split_once(' ')
            .map(|(amount, asset)| Fee { asset: asset.to_owned(), amount: number(amount) });
        let fill = Fill {
            fill_id: "1".into(),
            price: Price(number(price)),
            quantity: Quantity(number(quantity)),
            fee,
            liquidity: None,
            time: None,
        };
        account.flow(&Terms::of(&spec), spec.instrument, side, &fill);
    }

    fn spot() -> Account {
        let mut account = Account::default();
        account.list(&spec("kraken:BTC-USD", None));
        account.list(&spec("kraken:ETH-BTC", None));
        account
    }

    fn told(account: &mut Account, amounts: &[(&str, &str)]) -> Comparison {
        let fills = account.fills();
        account.told(exchange(), holdings(amounts), fills, AT).unwrap()
    }

    fn differences(comparison: &Comparison) -> Vec<(String, Decimal, bool)> {
        let lines = comparison.lines.iter().filter(|line| !line.difference.is_zero());
        lines.map(|l| (l.held.to_string(), l.difference.normalize(), l.is_rounding)).collect()
    }

    #[test]
    fn flows_of_all_instruments_and_fees_explain_the_balances() {
        let mut account = spot();
        // Before the first answer: part of what is told then.
        trade(&mut account, "kraken:BTC-USD", Side::Buy, "1", "100", "");
        let first = [("BTC", "5"), ("USD", "1000"), ("KFEE", "70"), ("OLD", "9")];
        assert!(told(&mut account, &first).problem.is_some());
        trade(&mut account, "kraken:BTC-USD", Side::Buy, "2", "100", "0.5 USD");
        trade(&mut account, "kraken:ETH-BTC", Side::Buy, "10", "0.05", "0.1 ETH");
        trade(&mut account, "kraken:BTC-USD", Side::Sell, "1", "110", "3 KFEE");
        let now = [("BTC", "5.5"), ("USD", "909.5"), ("ETH", "9.9"), ("KFEE", "67")];
        let comparison = told(&mut account, &now);
        // What is not traded here may come and go.
        assert_eq!(differences(&comparison), []);
        assert_eq!(comparison.lines.len(), 4, "{comparison:?}");
        let more =
            told(&mut account, &[("BTC", "6"), ("USD", "909.5"), ("ETH", "9.9"), ("KFEE", "67")]);
        assert_eq!(differences(&more), [("BTC".to_owned(), number("0.5"), false)]);
        let terms = Terms::of(&spec("kraken:BTC-USD", None));
        let difference = account.difference(&terms, "kraken:BTC-USD".parse().unwrap());
        assert_eq!(difference, Some(Ok(number("0.5"))));
        account.not_told(exchange(), "no answer".to_owned(), AT);
        let difference = account.difference(&terms, "kraken:BTC-USD".parse().unwrap());
        assert_eq!(difference, Some(Err("no answer".to_owned())));
        account.forget_comparison();
        assert_eq!(account.difference(&terms, "kraken:BTC-USD".parse().unwrap()), None);
    }

    #[test]
    fn less_than_a_lot_and_a_ten_thousandth_of_the_money_moved_is_rounding() {
        let mut account = spot();
        told(&mut account, &[]);
        trade(&mut account, "kraken:BTC-USD", Side::Buy, "1", "1000", "");
        trade(&mut account, "kraken:BTC-USD", Side::Sell, "1", "1000", "");
        let rounded = |account: &mut Account, amounts: &[(&str, &str)]| {
            let found = differences(&told(account, amounts));
            found.into_iter().map(|(_, _, is_rounding)| is_rounding).collect::<Vec<_>>()
        };
        assert_eq!(rounded(&mut account, &[("BTC", "0.009"), ("USD", "-0.2")]), [true, true]);
        assert_eq!(rounded(&mut account, &[("BTC", "0.01"), ("USD", "0.21")]), [false, false]);
    }

    #[test]
    fn an_answer_from_before_a_fill_says_nothing() {
        let mut account = spot();
        told(&mut account, &[]);
        let fills = account.fills();
        trade(&mut account, "kraken:BTC-USD", Side::Buy, "1", "100", "");
        assert_eq!(account.told(exchange(), holdings(&[("BTC", "1")]), fills, AT), None);
        assert_eq!(differences(&told(&mut account, &[("BTC", "1"), ("USD", "-100")])), []);
    }

    #[test]
    fn a_derivative_is_compared_by_its_position_alone() {
        let mut account = Account::default();
        let spec = spec("deribit:BTC-PERPETUAL", Some(Decimal::TEN));
        account.list(&spec);
        let held = Held::Instrument(spec.instrument);
        let holding = |amount: i64| vec![Holding { held: held.clone(), amount: amount.into() }];
        account.told(exchange(), holding(100), 0, AT).unwrap();
        let fill = Fill {
            fill_id: "1".into(),
            price: Price(number("50000")),
            quantity: Quantity(30.into()),
            fee: Some(Fee { asset: "BTC".into(), amount: number("0.1") }),
            liquidity: None,
            time: None,
        };
        let terms = Terms::of(&spec);
        account.flow(&terms, spec.instrument, Side::Sell, &fill);
        let comparison = account.told(exchange(), holding(60), 1, AT).unwrap();
        assert_eq!(comparison.lines.len(), 1);
        assert_eq!(comparison.lines[0].expected, 70.into());
        assert_eq!(account.difference(&terms, spec.instrument), Some(Ok((-10).into())));
    }
}
