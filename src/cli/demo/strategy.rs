//! A small strategy, so that there is something to shut down: orders that rest away from the
//! market, and a few that take so that fills are seen. It is no advice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use exchange_gateway::types::{InstrumentSpec, NewOrder, Price, Quantity, Quote, Side, TickData};
use exchange_gateway::{Gateway, OrderError, Phase};
use rust_decimal::Decimal;

use super::super::screen;

/// What an order is worth, in the quote asset.
const NOTIONAL: i64 = 50;
/// Between two orders that take.
const TAKE_PAUSE: Duration = Duration::from_millis(400);

/// Counters that the title shows.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) placed: AtomicU64,
    pub(super) fills: AtomicU64,
}

pub(super) struct Strategy<'g> {
    gateway: &'g Gateway,
    activity: &'g Activity,
    resting: usize,
    turn: AtomicU64,
    /// The last refusal that was told; the same one is not told again and again.
    told: Mutex<String>,
}

impl<'g> Strategy<'g> {
    /// Will rest this many orders on each exchange; the seed chooses which instrument it takes on
    /// first.
    pub(super) fn new(
        gateway: &'g Gateway,
        activity: &'g Activity,
        resting: usize,
        seed: u64,
    ) -> Self {
        let (turn, told) = (AtomicU64::new(seed), Mutex::default());
        Self { gateway, activity, resting, turn, told }
    }

    /// Trades until the gateway takes no more orders.
    pub(super) async fn trade(&self) {
        let mut phase = self.gateway.phase();
        let trading = async {
            self.rest().await;
            loop {
                self.take().await;
                tokio::time::sleep(TAKE_PAUSE).await;
            }
        };
        tokio::select! {
            () = trading => {}
            _ = phase.wait_for(|phase| *phase > Phase::Running) => {}
        }
    }

    /// Counts fills and tells of rejections until the gateway has ended.
    pub(super) async fn follow(&self) {
        let mut updates = self.gateway.orders().updates();
        while let Some(update) = updates.next().await {
            if update.fill.is_some() {
                self.activity.fills.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Places the resting orders of all exchanges at once, spread over their instruments.
    async fn rest(&self) {
        let specs = self.gateway.instruments();
        let mut exchanges: Vec<_> = specs.iter().map(|spec| spec.instrument.exchange()).collect();
        exchanges.dedup();
        let mut orders = Vec::new();
        for exchange in exchanges {
            let of_exchange = specs.iter().filter(|spec| spec.instrument.exchange() == exchange);
            let cycled: Vec<_> = of_exchange.cycle().take(self.resting).enumerate().collect();
            for (index, spec) in cycled {
                orders.push(self.rest_one(spec, index));
            }
        }
        futures::future::join_all(orders).await;
    }

    async fn rest_one(&self, spec: &Arc<InstrumentSpec>, index: usize) {
        let Some(quote) = self.quote(spec).await else { return };
        // From 3 % away on, so that the market of a demo does not reach them.
        let away = Decimal::new(30 + i64::try_from(index).unwrap_or(0), 3);
        let (side, price) = if index.is_multiple_of(2) {
            (Side::Buy, quote.bid.0 * (Decimal::ONE - away))
        } else {
            (Side::Sell, quote.ask.0 * (Decimal::ONE + away))
        };
        let price = spec.round_price(Price(price));
        let order = NewOrder::limit(spec.instrument, side, price, quantity(spec, price));
        self.place(order.post_only()).await;
    }

    /// Takes on one instrument after the other: buys with an immediate-or-cancel limit, sells at
    /// the market; each what the other did before.
    async fn take(&self) {
        let specs = self.gateway.instruments();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = specs.len() as u64;
        let index = usize::try_from(turn.checked_rem(count).unwrap_or(0)).unwrap_or(0);
        let Some(spec) = specs.get(index) else { return };
        let Some(quote) = self.quote(spec).await else { return };
        let buys = turn.checked_div(count).unwrap_or(0).is_multiple_of(2);
        let order = if buys {
            let worst = spec.round_price(Price(quote.ask.0 * Decimal::new(1002, 3)));
            let quantity = self.size(spec, Side::Buy, quote.ask);
            NewOrder::limit(spec.instrument, Side::Buy, worst, quantity).immediate_or_cancel()
        } else {
            NewOrder::market(spec.instrument, Side::Sell, self.size(spec, Side::Sell, quote.bid))
        };
        self.place(order).await;
    }

    /// What the other side traded before, or about the same value where it did not.
    fn size(&self, spec: &InstrumentSpec, side: Side, price: Price) -> Quantity {
        let positions = self.gateway.positions();
        let held = positions.iter().find(|position| position.instrument == spec.instrument);
        let held = held.map_or(Decimal::ZERO, |position| position.quantity);
        let to_close = spec.round_quantity(Quantity(if side == Side::Sell { held } else { -held }));
        if to_close >= spec.min_quantity { to_close } else { quantity(spec, price) }
    }

    fn stopping(&self) -> bool {
        *self.gateway.phase().borrow() > Phase::Running
    }

    async fn place(&self, order: NewOrder) {
        match self.gateway.orders().submit(order).await {
            Ok(_) => _ = self.activity.placed.fetch_add(1, Ordering::Relaxed),
            // The shutdown has begun; what was on its way is in the report.
            Err(OrderError::Stopping { .. } | OrderError::Abandoned { .. }) => {}
            Err(OrderError::NotSent { .. }) if self.stopping() => {}
            Err(error) => self.tell(format!("demo: {error}")),
        }
    }

    fn tell(&self, refusal: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != refusal {
            screen::notice(&refusal);
            *told = refusal;
        }
    }

    /// The best bid and ask, as soon as there is one.
    async fn quote(&self, spec: &InstrumentSpec) -> Option<Quote> {
        let last = self.gateway.last_ticks();
        let known = last.iter().find(|last| last.instrument == spec.instrument);
        if let Some(TickData::Quote(quote)) = known.and_then(|last| last.quote).map(|t| t.data) {
            return Some(quote);
        }
        let mut ticks = self.gateway.subscribe(spec.instrument).ok()?;
        loop {
            if let TickData::Quote(quote) = ticks.next_tick().await?.data {
                return Some(quote);
            }
        }
    }
}

/// About the same value for each instrument, within the exchange's rules.
fn quantity(spec: &InstrumentSpec, price: Price) -> Quantity {
    let wanted = Decimal::from(NOTIONAL).checked_div(price.0).unwrap_or_default();
    let quantity = spec.round_quantity(Quantity(wanted));
    quantity.max(spec.min_quantity)
}
