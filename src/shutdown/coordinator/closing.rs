//! The phase that closes positions: once every cancel of an exchange is confirmed, all its positions
//! that are to be closed are, side by side.
//!
//! While any order of an instrument is open or unknown, its position is not known, and no further
//! order is placed for it. What is not closed is named with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rust_decimal::Decimal;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::{Coordinator, ExchangeParts, FORCED_LIMIT};
use crate::config::{Config, PositionsConfig};
use crate::market::Delivery;
use crate::orders::{ClosingPass, Desk, OrderError};
use crate::positions::{Obstacle, Plan, Rules, Situation, average, plan};
use crate::report::PositionReport;
use crate::types::{
    ClientOrderId, ClosePolicy, ExchangeName, Instrument, InstrumentSpec, NewOrder, Order,
    OrderKind, OrderStatus, Position, Price, Quote, Side, TickData, Valuation,
};

/// What is kept of the phase for the answers to what was sent, at most.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
/// The wait after orders that traded nothing; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// What becomes of the positions of each exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClosePolicies {
    exchanges: BTreeMap<ExchangeName, (PositionsConfig, BTreeMap<Instrument, PositionsConfig>)>,
}

impl ClosePolicies {
    pub(crate) fn of(config: &Config) -> Self {
        let of_exchange = config.exchanges.iter().map(|exchange| {
            (exchange.name, (exchange.positions.clone(), exchange.instrument_positions.clone()))
        });
        Self { exchanges: of_exchange.collect() }
    }

    fn get(&self, instrument: Instrument) -> Option<&PositionsConfig> {
        let (all, single) = self.exchanges.get(&instrument.exchange())?;
        Some(single.get(&instrument).unwrap_or(all))
    }

    /// A position on an exchange that is not configured is kept: nobody could close it.
    fn policy(&self, instrument: Instrument) -> ClosePolicy {
        self.get(instrument).map(|of| of.on_shutdown).unwrap_or_default()
    }
}

/// One position on its way to being closed.
pub(super) struct Closing {
    instrument: Instrument,
    policy: ClosePolicy,
    /// What was held when every cancel was settled.
    held: Decimal,
    entry: Option<Price>,
    orders: Vec<ClientOrderId>,
    /// The orders whose end has been logged.
    told: usize,
    /// Why the rest is not closed, as far as it has come.
    reason: Option<String>,
    /// What was held when it was too little for the exchange to take an order of it.
    dust: Option<Decimal>,
}

impl Closing {
    fn new(position: &Position, policy: ClosePolicy) -> Self {
        Self {
            instrument: position.instrument,
            policy,
            held: position.quantity,
            entry: position.entry,
            orders: Vec::new(),
            told: 0,
            reason: None,
            dust: None,
        }
    }

    fn is_wanted(&self) -> bool {
        self.policy == ClosePolicy::Close && !self.held.is_zero()
    }

    /// Cancels the orders that were placed for this and have not ended: their answers may be lost, and
    /// the orders with them. Others, which may be kept ones, are only waited for.
    fn cancel(&self, desk: &Desk) {
        for id in &self.orders {
            // Who has ended just now needs no cancel.
            let _ = desk.cancel(*id);
        }
    }

    fn because(&mut self, reason: impl Into<String>) {
        self.reason = Some(reason.into());
    }
}

impl Coordinator {
    /// Whether something is held on an exchange that is to be closed.
    pub(super) fn will_close(&self, exchange: ExchangeName) -> bool {
        let positions = self.positions.all();
        positions.iter().any(|position| {
            position.instrument.exchange() == exchange
                && !position.is_flat()
                && self.policies.policy(position.instrument) == ClosePolicy::Close
        })
    }

    /// Every position that this shutdown is about, as it is now.
    pub(super) fn closings(&self) -> Vec<Closing> {
        let all = self.positions.all();
        all.iter().filter(|held| self.is_about(held)).map(|held| self.closing(held)).collect()
    }

    /// A drain is about the positions of its own exchange alone.
    fn is_about(&self, position: &Position) -> bool {
        let name = position.instrument.exchange();
        self.saving.is_some() || self.exchanges.iter().any(|exchange| exchange.name == name)
    }

    fn closing(&self, position: &Position) -> Closing {
        Closing::new(position, self.policies.policy(position.instrument))
    }

    /// Closes what is to be closed in a phase that ends then.
    pub(super) async fn close_positions(&self, closings: &mut [Closing], ends: Instant) {
        let left = ends.saturating_duration_since(Instant::now());
        let stop = ends - SETTLE_LIMIT.min(left / 4);
        let mut groups: BTreeMap<ExchangeName, Vec<&mut Closing>> = BTreeMap::new();
        for closing in closings.iter_mut().filter(|closing| closing.is_wanted()) {
            groups.entry(closing.instrument.exchange()).or_default().push(closing);
        }
        let closing = self.exchanges.iter().map(|exchange| {
            let group = groups.remove(&exchange.name);
            async move {
                match group {
                    Some(group) => self.close_exchange(exchange, group, stop).await,
                    // A kept order may have closed the position before this phase came to it.
                    None if exchange.desk.is_flat() && !self.force.is_cancelled() => {
                        exchange.desk.disarm_switch_at_last().await;
                    }
                    None => {}
                }
            }
        });
        join_all(closing.collect::<Vec<_>>()).await;
    }

    /// Closes positions of one exchange, until `stop` or the force of the operator; then waits until
    /// every order that was sent for it has ended, and disarms the dead-man's switch.
    async fn close_exchange(
        &self,
        exchange: &ExchangeParts,
        mut group: Vec<&mut Closing>,
        stop: Instant,
    ) {
        let desk = &exchange.desk;
        let refusal = if !desk.is_flat() {
            Some("its orders are not confirmed cancelled".to_owned())
        } else if self.force.is_cancelled() {
            Some("the exit was forced".to_owned())
        } else {
            None
        };
        if let Some(reason) = refusal {
            for closing in &mut group {
                match self.dust(desk, closing) {
                    Some(dust) if desk.is_flat() => {
                        closing.because(dust.to_string());
                        closing.dust = Some(self.held(closing.instrument));
                    }
                    _ => closing.because(reason.clone()),
                }
            }
            return;
        }
        let stopped = async {
            tokio::select! {
                () = sleep_until(stop) => "the time to close positions was up",
                () = self.force.cancelled() => "the exit was forced",
            }
        };
        let closed = async {
            match desk.closing_pass().await {
                Ok(pass) => {
                    join_all(group.iter_mut().map(|one| self.close_one(&pass, desk, one))).await;
                }
                Err(phase) => {
                    let reason = format!("the exchange takes no more orders (phase {phase})");
                    for closing in &mut group {
                        closing.because(reason.clone());
                    }
                }
            }
        };
        // What is dropped here holds the pass: no further order is written.
        let cut = tokio::select! {
            biased;
            cut = stopped => Some(cut),
            () = closed => None,
        };
        // All before any is waited for: the first may never be settled.
        for closing in &mut group {
            if let Some(cut) = cut {
                let last = closing.reason.take();
                closing.because(last.map_or(cut.to_owned(), |last| format!("{cut}: {last}")));
            }
            closing.cancel(desk);
        }
        for closing in group {
            desk.settled(closing.instrument).await;
            tell_ends(desk, closing);
        }
        desk.flat().await;
        if !self.force.is_cancelled() {
            desk.disarm_switch().await;
        }
    }

    /// Whether what is held is below the smallest order, whatever the price is.
    fn dust(&self, desk: &Desk, closing: &Closing) -> Option<Obstacle> {
        let spec = desk.spec(closing.instrument)?;
        let rules = self.rules(desk, closing.instrument)?;
        let held = self.held(closing.instrument);
        let (spoken_for, quote, worst) = (Decimal::ZERO, None, None);
        match plan(&Situation { spec: &spec, rules, held, spoken_for, quote, worst }) {
            Plan::Left(dust @ Obstacle::Dust { .. }) => Some(dust),
            _ => None,
        }
    }

    fn rules(&self, desk: &Desk, instrument: Instrument) -> Option<Rules> {
        let policy = self.policies.get(instrument)?;
        Some(Rules {
            order: policy.order,
            max_slippage_percent: policy.max_slippage_percent,
            max_quote_age: policy.max_quote_age,
            reduce_only: desk.reduces_only(),
        })
    }

    /// Places orders until the position is flat, or something is in the way that does not pass.
    /// It may be dropped at any time: what was placed is in `closing`.
    async fn close_one(&self, pass: &ClosingPass, desk: &Arc<Desk>, closing: &mut Closing) {
        let instrument = closing.instrument;
        let found = desk.spec(instrument).zip(self.rules(desk, instrument));
        let Some((spec, rules)) = found else {
            return closing.because("the instrument is not configured");
        };
        let mut ticks = self.router.subscribe(&[instrument], Delivery::Conflate).ok();
        let (mut worst, mut pause) = (None, PAUSE_MIN);
        loop {
            self.settle(desk, closing).await;
            let held = self.held(instrument);
            let situation = Situation {
                spec: &spec,
                rules,
                held,
                spoken_for: desk.spoken_for(instrument, closing_side(held)),
                quote: self.quote(instrument),
                worst,
            };
            let orders = match plan(&situation) {
                Plan::Flat => return,
                Plan::Orders { orders, worst: settled } => {
                    worst = Some(settled);
                    orders
                }
                Plan::Left(obstacle) => {
                    closing.because(obstacle.to_string());
                    closing.dust = matches!(obstacle, Obstacle::Dust { .. }).then_some(held);
                    if matches!(
                        obstacle,
                        Obstacle::Dust { .. }
                            | Obstacle::SpokenFor { .. }
                            | Obstacle::NoSize { .. }
                    ) {
                        return;
                    }
                    // Only another price can change that.
                    let ticked = match &mut ticks {
                        Some(ticks) => ticks.next().await.is_some(),
                        None => false,
                    };
                    if !ticked {
                        return;
                    }
                    continue;
                }
            };
            let first = closing.orders.len();
            let placed = place(pass, &spec, closing, orders);
            self.settle(desk, closing).await;
            if self.held(instrument) != held {
                pause = PAUSE_MIN;
            }
            let is_whole = |id: &ClientOrderId| {
                desk.get(*id).is_some_and(|order| order.status == OrderStatus::Filled)
            };
            match placed {
                Ok(()) if closing.orders[first..].iter().all(is_whole) => continue,
                // The book has no more at this price: others have to come.
                Ok(()) => {}
                Err(OrderError::NotConnected { .. }) => desk.open().await,
                Err(OrderError::Busy { .. } | OrderError::Restricted { .. }) => {}
                // The others do not pass by waiting.
                Err(_) => return,
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits until every order of the instrument has ended with all its fills. One that takes longer
    /// than a cancel may is cancelled: its answer may be lost.
    async fn settle(&self, desk: &Arc<Desk>, closing: &mut Closing) {
        let instrument = closing.instrument;
        while let Some(order) = desk.unsettled(instrument) {
            closing.because(format!("order {} had not ended", order.client_id));
            if timeout(self.config.cancel_retry, desk.settled(instrument)).await.is_err() {
                closing.cancel(desk);
                desk.settled(instrument).await;
            }
        }
        tell_ends(desk, closing);
    }

    fn held(&self, instrument: Instrument) -> Decimal {
        self.positions.get(instrument).map_or(Decimal::ZERO, |position| position.quantity)
    }

    /// The best bid and ask, and how old they are.
    fn quote(&self, instrument: Instrument) -> Option<(Quote, Duration)> {
        let tick = self.router.last(instrument)?.quote?;
        let TickData::Quote(quote) = tick.data else { return None };
        // A clock that was set back makes it no younger than now.
        let age = Duration::try_from(self.clock.now().duration_since(tick.received));
        Some((quote, age.unwrap_or_default()))
    }

    /// After the phase: nothing of it is written any more, and what is left is told.
    pub(super) async fn end_closing(&self, closings: &[Closing]) {
        for exchange in &self.exchanges {
            let name = exchange.name;
            let placed = |closing: &Closing| {
                closing.instrument.exchange() == name && !closing.orders.is_empty()
            };
            if closings.iter().any(placed)
                && timeout(FORCED_LIMIT, exchange.desk.gate_drained()).await.is_err()
            {
                exchange.scope.fail("closing orders were still being written when the phase ended");
            }
            exchange.desk.leave_switch(if self.force.is_cancelled() {
                "the exit was forced"
            } else {
                "positions were still being closed when their phase ended"
            });
        }
        let reports = self.position_reports(closings);
        self.alert_positions(&reports);
        for left in reports.iter().filter(|report| report.is_left()) {
            let (left, reason) = (left, left.not_closed.as_deref());
            error!(
                instrument = %left.instrument, quantity = %left.left.normalize(), reason,
                "position not closed"
            );
        }
    }

    /// Every position as it is now.
    pub(super) fn position_reports(&self, closings: &[Closing]) -> Vec<PositionReport> {
        let now = self.positions.valued(|instrument| self.router.last(instrument));
        let reports = now.iter().filter(|now| self.is_about(&now.position)).map(|now| {
            let instrument = now.position.instrument;
            match closings.iter().find(|closing| closing.instrument == instrument) {
                Some(closing) => self.position_report(now, closing),
                // The phase was not reached.
                None => self.position_report(now, &self.closing(&now.position)),
            }
        });
        reports.collect()
    }

    fn position_report(&self, now: &Valuation, closing: &Closing) -> PositionReport {
        let (position, instrument) = (&now.position, closing.instrument);
        let exchange = self.exchanges.iter().find(|e| e.name == instrument.exchange());
        let trades = exchange.map_or_else(Vec::new, |e| e.desk.closing_trades(&closing.orders));
        let closed = trades.iter().map(|(_, quantity)| quantity.0).sum();
        let inverse = self.positions.terms(instrument).is_some_and(|terms| terms.inverse);
        let is_left = closing.policy == ClosePolicy::Close && !position.is_flat();
        let unsettled = exchange.and_then(|exchange| exchange.desk.unsettled(instrument));
        let is_dust = closing.dust == Some(position.quantity);
        let why = || match unsettled {
            Some(order) if closing.orders.contains(&order.client_id) => not_settled(&order),
            _ if closing.dust.is_some() && !is_dust => {
                "it was traded after what was left of it was too little to be closed".to_owned()
            }
            _ => closing.reason.clone().unwrap_or_else(|| {
                "the phase that closes positions was over before it came to this one".to_owned()
            }),
        };
        let compared = self.positions.difference(instrument);
        PositionReport {
            instrument,
            policy: closing.policy,
            quantity: closing.held,
            entry: closing.entry,
            closed,
            exit: average(trades, inverse),
            left: position.quantity,
            currency: position.currency.clone(),
            realized: position.realized,
            fees: position.fees,
            other_fees: position.other_fees.clone(),
            unrealized: now.unrealized,
            orders: closing.orders.clone(),
            not_closed: is_left.then(why),
            // More may have been traded since.
            dust: is_left && is_dust,
            difference: compared.as_ref().and_then(|compared| compared.as_ref().ok().copied()),
            not_compared: compared.and_then(Result::err),
        }
    }
}

/// The side of an order that makes a position smaller.
fn closing_side(held: Decimal) -> Side {
    if held > Decimal::ZERO { Side::Sell } else { Side::Buy }
}

/// Places the orders of one plan, up to the first that is not taken.
fn place(
    pass: &ClosingPass,
    spec: &InstrumentSpec,
    closing: &mut Closing,
    orders: Vec<NewOrder>,
) -> Result<(), OrderError> {
    for order in orders {
        match pass.submit(order) {
            Ok(id) => {
                closing.orders.push(id);
                let price = match order.kind {
                    OrderKind::Limit { price, .. } => Some(price),
                    OrderKind::Market => None,
                };
                info!(
                    target: "exchange_gateway::order",
                    exchange = %spec.instrument.exchange(), order = %id,
                    instrument = %spec.instrument, side = %order.side,
                    quantity = %order.quantity, price = price.map(tracing::field::display),
                    "closing order"
                );
            }
            Err(error) => {
                closing.because(error.to_string());
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Logs how the orders ended that have not been told of, and keeps the last as a reason.
fn tell_ends(desk: &Desk, closing: &mut Closing) {
    for at in closing.told..closing.orders.len() {
        let Some(order) = desk.get(closing.orders[at]) else { continue };
        let (status, filled) = (order.status, order.filled.0.normalize());
        let reason = order.reason.as_deref();
        let exchange = desk.exchange();
        if order.status.is_terminal() {
            info!(
                target: "exchange_gateway::order",
                %exchange, order = %order.client_id, %status, %filled, reason,
                "closing order ended"
            );
        } else {
            warn!(
                target: "exchange_gateway::order",
                %exchange, order = %order.client_id, %status, %filled, reason,
                "closing order has not ended"
            );
        }
        closing.reason = Some(ended(&order));
    }
    closing.told = closing.orders.len();
}

/// How an order ended that did not close its position.
fn ended(order: &Order) -> String {
    let (id, status) = (order.client_id, order.status);
    let (filled, quantity) = (order.filled.0.normalize(), order.request.quantity.0.normalize());
    let text = format!("order {id}: {status}, {filled} of {quantity} filled");
    match &order.reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}

fn not_settled(order: &Order) -> String {
    if order.status.is_terminal() {
        return format!("{}; the exchange has not told all its fills", ended(order));
    }
    format!("its closing order has not ended: {}", ended(order))
}
