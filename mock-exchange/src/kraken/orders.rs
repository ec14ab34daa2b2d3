//! Order entry: `add_order`, `amend_order`, `cancel_order`, `cancel_all`, batches and the dead
//! man's switch.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use tokio::time::Instant;

use super::Kraken;
use super::executions::client_id;
use super::ids;
use super::new_order::NewOrder;
use super::rate::Transaction;
use super::request::Params;
use super::subscribe::{Call, refuse};
use super::time::seconds;
use crate::engine::{self, Amount, EngineEvent, Order, OrderId, Reject};
use crate::instrument::{Instrument, InstrumentId};
use crate::protocol::{ConnectionId, SystemStatus};
use crate::venue::state::{Ack, CancelAnswer, VenueState};

pub(crate) const UNKNOWN_ORDER: &str = "EOrder:Unknown order";
pub(crate) const UNAVAILABLE: &str = "EService:Unavailable";
const CANCEL_ONLY: &str = "EService:Market in cancel_only mode";
const RATE_LIMIT: &str = "EOrder:Rate limit exceeded";

/// The longest time the dead man's switch can be set to; exclusive.
const SWITCH_SECONDS_MAX: i64 = 86_400;

/// What the answer says of one order.
#[derive(Serialize, Default)]
struct PlacedAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cl_ord_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_userref: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What came of one order.
struct PlaceOutcome {
    answer: Result<PlacedAnswer, String>,
    ack: Ack,
    events: Vec<EngineEvent>,
}

impl PlaceOutcome {
    /// One that never reached the engine.
    fn at_once(answer: Result<PlacedAnswer, String>) -> Self {
        Self { answer, ack: Ack::Send, events: Vec::new() }
    }
}

#[derive(Serialize)]
struct OrderIds {
    order_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cl_ord_id: Option<String>,
}

impl OrderIds {
    fn of(order: &Order) -> Self {
        let cl_ord_id = client_id(order).map(str::to_owned);
        Self { order_id: ids::order_id(order.id), cl_ord_id }
    }
}

#[derive(Serialize)]
struct Count {
    count: usize,
}

#[derive(Serialize)]
struct Switch {
    #[serde(rename = "currentTime")]
    current_time: String,
    #[serde(rename = "triggerTime")]
    trigger_time: String,
}

impl Kraken {
    /// Answers `add_order`.
    pub(crate) fn add_order(&mut self, state: &mut VenueState, call: &Call<'_>) {
        if self.checked_token(state, call).is_none() {
            return;
        }
        let placed = self.place(state, call, call.params, Transaction::Add);
        let now = state.now();
        let text = match placed.answer {
            Ok(answer) => call.asked.success(answer, now),
            Err(error) => call.asked.failure(&error, None, now),
        };
        state.reply(call.connection, placed.ack, text);
        self.publish_events(state, &placed.events);
    }

    /// Answers `batch_add`: 2 to 15 orders of one pair, each accepted or refused on its own.
    pub(crate) fn batch_add(&mut self, state: &mut VenueState, call: &Call<'_>) {
        #[derive(Serialize)]
        struct Batch {
            orders: Vec<PlacedAnswer>,
        }
        if self.checked_token(state, call).is_none() {
            return;
        }
        let orders = call.params.objects("orders").filter(|o| (2..=15).contains(&o.len()));
        let Some(mut orders) = orders else {
            return refuse(state, call, "EGeneral:Invalid arguments:orders", None);
        };
        let count = u32::try_from(orders.len()).unwrap_or(u32::MAX);
        // The whole batch is charged with its first order.
        let mut cost = Some(Transaction::BatchAdd(count));
        let mut batch = Batch { orders: Vec::new() };
        let mut events = Vec::new();
        let mut ack = Ack::Send;
        for order in &mut orders {
            for key in ["symbol", "validate", "deadline"] {
                order.inherit(call.params, key);
            }
            let transaction = cost.take().unwrap_or(Transaction::BatchAdd(0));
            let placed = self.place(state, call, order, transaction);
            if placed.ack != Ack::Send {
                ack = placed.ack;
            }
            events.extend(placed.events);
            batch.orders.push(match placed.answer {
                Ok(answer) => PlacedAnswer { success: Some(true), ..answer },
                Err(error) => PlacedAnswer {
                    success: Some(false),
                    cl_ord_id: order.text("cl_ord_id"),
                    error: Some(error),
                    ..PlacedAnswer::default()
                },
            });
        }
        let text = call.asked.success(batch, state.now());
        state.reply(call.connection, ack, text);
        self.publish_events(state, &events);
    }

    fn place(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        params: &Params,
        transaction: Transaction,
    ) -> PlaceOutcome {
        let client_id = params.text("cl_ord_id");
        state.log_request(Some(call.connection), &call.asked.method, client_id.as_deref());
        let (order, instrument) = match self.prepare(state, params, transaction) {
            Ok(prepared) => prepared,
            Err(error) => return PlaceOutcome::at_once(Err(error)),
        };
        let answer = PlacedAnswer {
            cl_ord_id: order.cl_ord_id.clone(),
            order_userref: Some(order.order_userref.unwrap_or(0)),
            ..PlacedAnswer::default()
        };
        if order.validate_only {
            return PlaceOutcome::at_once(Ok(answer));
        }
        let new = engine::NewOrder {
            instrument,
            side: order.side,
            kind: order.kind,
            time_in_force: order.time_in_force,
            post_only: order.post_only,
            reduce_only: false,
            price: order.price,
            amount: order.amount,
            client_id: order.cl_ord_id.unwrap_or_default().into(),
            user_reference: order.order_userref.filter(|userref| *userref != 0),
        };
        let placed = state.place(Some(call.connection), new);
        let answer = placed
            .outcome
            .map_err(reject_text)
            .map(|order| PlacedAnswer { order_id: Some(ids::order_id(order.id)), ..answer });
        PlaceOutcome { answer, ack: placed.ack, events: placed.events }
    }

    /// Every check that comes before the engine.
    fn prepare(
        &mut self,
        state: &VenueState,
        params: &Params,
        transaction: Transaction,
    ) -> Result<(NewOrder, InstrumentId), String> {
        let now = state.now();
        let order = NewOrder::read(params, now)?;
        match state.status {
            SystemStatus::Maintenance => return Err(UNAVAILABLE.into()),
            SystemStatus::CancelOnly => return Err(CANCEL_ONLY.into()),
            SystemStatus::PostOnly if !order.post_only => {
                return Err("EService:Market in post_only mode".into());
            }
            SystemStatus::PostOnly | SystemStatus::Online => {}
        }
        let id = state
            .instrument(&order.symbol)
            .ok_or_else(|| format!("EQuery:Unknown asset pair {}", order.symbol))?;
        let instrument = &state.engine.instruments()[id];
        check_size(instrument, order.price, order.amount)?;
        if state.config.limits.enforced() {
            if !self.rate.charge(&order.symbol, transaction, now) {
                return Err(RATE_LIMIT.into());
            }
            let open = state.engine.open_orders().filter(|open| open.instrument == id).count();
            if open >= self.rate.tier().open_orders_max() {
                return Err("EOrder:Orders limit exceeded".into());
            }
        }
        Ok((order, id))
    }

    /// Answers `cancel_order`: one response per order.
    pub(crate) fn cancel_order(&mut self, state: &mut VenueState, call: &Call<'_>) {
        if self.checked_token(state, call).is_none() {
            return;
        }
        let targets = named_orders(state, call.params);
        if targets.is_empty() {
            return refuse(state, call, "EGeneral:Invalid arguments:order_id", None);
        }
        for (name, target) in targets {
            state.log_request(Some(call.connection), &call.asked.method, Some(&name));
            let (answer, ack, events) = if let Err(error) = self.check_cancel(state, target) {
                (Err(error), Ack::Send, Vec::new())
            } else {
                let result = state.cancel(Some(call.connection), target, &name, None);
                (cancel_answer(result.outcome), result.ack, result.events)
            };
            let now = state.now();
            let text = match answer {
                Ok(order) => call.asked.success(OrderIds::of(&order), now),
                Err(error) => call.asked.failure(&error, None, now),
            };
            state.reply(call.connection, ack, text);
            self.publish_events(state, &events);
        }
    }

    /// Status and rate counter; unknown orders cost nothing and go on to their refusal.
    fn check_cancel(&mut self, state: &VenueState, target: Option<OrderId>) -> Result<(), String> {
        if state.status == SystemStatus::Maintenance {
            return Err(UNAVAILABLE.into());
        }
        let order = target.and_then(|id| state.engine.order(id));
        let Some(order) = order.filter(|order| order.status.is_open()) else { return Ok(()) };
        let now = state.now();
        let cost = Transaction::Cancel(age(order, now));
        if state.config.limits.enforced() && !self.rate.charge(&order.symbol, cost, now) {
            return Err(RATE_LIMIT.into());
        }
        Ok(())
    }

    /// Answers `cancel_all`.
    pub(crate) fn cancel_all(&mut self, state: &mut VenueState, call: &Call<'_>) {
        if self.checked_token(state, call).is_none() {
            return;
        }
        state.log_request(Some(call.connection), &call.asked.method, None);
        if state.status == SystemStatus::Maintenance {
            return refuse(state, call, UNAVAILABLE, None);
        }
        let open = open_orders(state);
        self.cancel_counted(state, call, open);
    }

    /// Answers `batch_cancel`: up to 50 orders by either id, one count. The rate counter is
    /// charged but never refuses.
    pub(crate) fn batch_cancel(&mut self, state: &mut VenueState, call: &Call<'_>) {
        if self.checked_token(state, call).is_none() {
            return;
        }
        state.log_request(Some(call.connection), &call.asked.method, None);
        if state.status == SystemStatus::Maintenance {
            return refuse(state, call, UNAVAILABLE, None);
        }
        let mut names = call.params.texts("orders").unwrap_or_default();
        names.extend(call.params.texts("cl_ord_id").unwrap_or_default());
        if !(1..=50).contains(&names.len()) {
            return refuse(state, call, "EGeneral:Invalid arguments:orders", None);
        }
        let now = state.now();
        let mut targets = Vec::new();
        for name in names {
            let order = find_order(state, &name).filter(|order| order.status.is_open());
            let Some(order) = order else { continue };
            self.rate.charge(&order.symbol, Transaction::Cancel(age(order, now)), now);
            targets.push(order.id);
        }
        self.cancel_counted(state, call, targets);
    }

    /// Cancels these orders and answers how many; a fault of any of them is the answer's fault.
    fn cancel_counted(&mut self, state: &mut VenueState, call: &Call<'_>, targets: Vec<OrderId>) {
        let cancelled = cancel_each(state, Some(call.connection), targets);
        let text = call.asked.success(Count { count: cancelled.count }, state.now());
        state.reply(call.connection, cancelled.ack, text);
        self.publish_events(state, &cancelled.events);
    }

    /// Answers `amend_order`: price and quantity of an open order change, its ids stay.
    pub(crate) fn amend_order(&mut self, state: &mut VenueState, call: &Call<'_>) {
        #[derive(Serialize)]
        struct Amended {
            amend_id: String,
            #[serde(flatten)]
            ids: OrderIds,
        }
        if self.checked_token(state, call).is_none() {
            return;
        }
        let name = call.params.text("cl_ord_id").or_else(|| call.params.text("order_id"));
        state.log_request(Some(call.connection), &call.asked.method, name.as_deref());
        let mut events = Vec::new();
        let amended = self.amend(state, call.params, &mut events);
        let now = state.now();
        let text = match amended {
            Ok(ids) => {
                self.amendments += 1;
                let amend_id = ids::amend_id(self.amendments);
                call.asked.success(Amended { amend_id, ids }, now)
            }
            Err(error) => call.asked.failure(&error, None, now),
        };
        state.send(call.connection, text);
        self.publish_events(state, &events);
    }

    fn amend(
        &mut self,
        state: &mut VenueState,
        params: &Params,
        events: &mut Vec<EngineEvent>,
    ) -> Result<OrderIds, String> {
        match state.status {
            SystemStatus::Maintenance => return Err(UNAVAILABLE.into()),
            SystemStatus::CancelOnly => return Err(CANCEL_ONLY.into()),
            SystemStatus::PostOnly | SystemStatus::Online => {}
        }
        let target = named_orders(state, params).into_iter().next().and_then(|(_, id)| id);
        let order = target
            .and_then(|id| state.engine.order(id))
            .filter(|order| order.status.is_open())
            .ok_or(UNKNOWN_ORDER)?
            .clone();
        let quantity = params.decimal("order_qty").unwrap_or(order.quantity);
        let price = params.decimal("limit_price").or(order.price).ok_or(UNKNOWN_ORDER)?;
        if price <= Decimal::ZERO {
            return Err("EGeneral:Invalid arguments:price".into());
        }
        if quantity <= order.filled {
            return Err("EGeneral:Invalid arguments:volume".into());
        }
        let instrument = &state.instruments[order.instrument];
        check_size(instrument, Some(price), Amount::Base(quantity))?;
        let now = state.now();
        let cost = Transaction::Amend(age(&order, now));
        if state.config.limits.enforced() && !self.rate.charge(&order.symbol, cost, now) {
            return Err(RATE_LIMIT.into());
        }
        match state.amend(order.id, quantity, price, events) {
            Ok(true) => Ok(OrderIds::of(&order)),
            Ok(false) => Err(UNKNOWN_ORDER.into()),
            Err(reject) => Err(reject_text(reject)),
        }
    }

    /// Answers `cancel_all_orders_after`: arms, moves or disarms the account's one switch.
    pub(crate) fn arm_switch(&mut self, state: &mut VenueState, call: &Call<'_>) {
        if self.checked_token(state, call).is_none() {
            return;
        }
        let timeout =
            call.params.integer("timeout").filter(|t| (0..SWITCH_SECONDS_MAX).contains(t));
        let Some(timeout) = timeout.and_then(|timeout| u64::try_from(timeout).ok()) else {
            return refuse(state, call, "EGeneral:Invalid arguments:timeout", None);
        };
        state.log_request(Some(call.connection), &call.asked.method, None);
        let ack = match state.set_switch(Some(call.connection)) {
            Ok(ack) => ack,
            Err(text) => return refuse(state, call, &text, None),
        };
        let now = state.now();
        let after = Duration::from_secs(timeout);
        let armed = timeout != 0;
        self.switch = armed.then(|| (Instant::now() + after, now + after));
        state.reschedule();
        let trigger_time = if armed { seconds(now + after) } else { "0".to_owned() };
        let answer = Switch { current_time: seconds(now), trigger_time };
        let text = call.asked.success(answer, now);
        state.reply(call.connection, ack, text);
    }
}

fn age(order: &Order, now: Timestamp) -> Duration {
    now.duration_since(order.created).try_into().unwrap_or_default()
}

/// Ticks, steps and minima, with the venue's texts.
fn check_size(
    instrument: &Instrument,
    price: Option<Decimal>,
    amount: Amount,
) -> Result<(), String> {
    if let Some(price) = price {
        let decimals = instrument.price_decimals();
        if price.normalize().scale() > decimals {
            let symbol = &instrument.symbol;
            return Err(format!(
                "EOrder:Invalid price:{symbol} price can only be specified up to {decimals} decimals."
            ));
        }
        if !instrument.on_tick(price) {
            return Err("EOrder:Tick size check failed".into());
        }
    }
    match amount {
        Amount::Base(quantity) => {
            if !instrument.on_step(quantity) {
                return Err("EGeneral:Invalid arguments:volume".into());
            }
            if quantity < instrument.quantity_min {
                return Err("EOrder:Order minimum not met (volume too low)".into());
            }
            if price.is_some_and(|price| price * quantity < instrument.notional_min) {
                return Err("EOrder:Cost minimum not met".into());
            }
        }
        Amount::Quote(quote) if quote < instrument.notional_min => {
            return Err("EOrder:Cost minimum not met".into());
        }
        Amount::Quote(_) => {}
    }
    Ok(())
}

/// The venue's text for what the engine refused.
pub(crate) fn reject_text(reject: Reject) -> String {
    match reject {
        Reject::InsufficientBalance => "EOrder:Insufficient funds (insufficient user funds)".into(),
        Reject::WouldTake => "EOrder:Post only order".into(),
        Reject::DuplicateClientId => "EOrder:Invalid order:duplicate cl_ord_id".into(),
        Reject::Fault { text, .. } => text,
    }
}

/// The order that was cancelled, or the venue's text for why not.
pub(crate) fn cancel_answer(answer: CancelAnswer) -> Result<Order, String> {
    match answer {
        CancelAnswer::Canceled(order) => Ok(order),
        CancelAnswer::NotOpen => Err(UNKNOWN_ORDER.into()),
        CancelAnswer::Refused { text, .. } => Err(text),
    }
}

/// What came of cancelling several orders.
pub(crate) struct Cancelled {
    pub(crate) count: usize,
    /// The last fate of an answer that a fault changed.
    pub(crate) ack: Ack,
    pub(crate) events: Vec<EngineEvent>,
}

/// Cancels orders one by one.
pub(crate) fn cancel_each(
    state: &mut VenueState,
    from: Option<ConnectionId>,
    targets: Vec<OrderId>,
) -> Cancelled {
    let mut cancelled = Cancelled { count: 0, ack: Ack::Send, events: Vec::new() };
    for id in targets {
        let result = state.cancel(from, Some(id), "", None);
        cancelled.count += usize::from(matches!(result.outcome, CancelAnswer::Canceled(_)));
        cancelled.events.extend(result.events);
        if result.ack != Ack::Send {
            cancelled.ack = result.ack;
        }
    }
    cancelled
}

/// Every open order.
pub(crate) fn open_orders(state: &VenueState) -> Vec<OrderId> {
    state.engine.open_orders().map(|order| order.id).collect()
}

/// The order with this id of either kind.
pub(crate) fn find_order<'a>(state: &'a VenueState, name: &str) -> Option<&'a Order> {
    ids::order_number(name)
        .and_then(|id| state.engine.order(id))
        .or_else(|| state.engine.order_by_client_id(name))
}

/// Every order that `order_id`, `cl_ord_id` and `order_userref` name, with its name; without an
/// order when there is none.
fn named_orders(state: &VenueState, params: &Params) -> Vec<(String, Option<OrderId>)> {
    let engine = &state.engine;
    let texts = |key| params.texts(key).unwrap_or_default();
    let mut named: Vec<(String, Option<OrderId>)> = Vec::new();
    for id in texts("order_id") {
        let known = ids::order_number(&id).filter(|number| engine.order(*number).is_some());
        named.push((id, known));
    }
    for id in texts("cl_ord_id") {
        let known = engine.order_by_client_id(&id).map(|order| order.id);
        named.push((id, known));
    }
    for userref in texts("order_userref") {
        let number = userref.parse::<i64>().ok();
        let before = named.len();
        let tagged = engine.open_orders().filter(|order| order.user_reference == number);
        named.extend(tagged.map(|order| (userref.clone(), Some(order.id))));
        if named.len() == before {
            named.push((userref, None));
        }
    }
    named
}
