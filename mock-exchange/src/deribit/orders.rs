//! `buy`, `sell` and `edit`.

use rust_decimal::Decimal;
use serde::Serialize;

use super::ids;
use super::messages::{self, FillMessage, OrderMessage};
use super::protocol::{Deribit, Extra};
use super::rpc::{Call, Reply, RpcError};
use crate::engine::{
    Amount, EngineEvent, NewOrder, Order, OrderChange, OrderId, OrderKind, Reject, Side,
    TimeInForce,
};
use crate::instrument::InstrumentId;
use crate::protocol::SystemStatus;
use crate::venue::state::VenueState;

/// Longest label, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// What the answer to an order says.
#[derive(Serialize)]
struct OrderAndTrades {
    order: OrderMessage,
    trades: Vec<FillMessage>,
}

/// How an order wants to be executed.
struct Terms {
    kind: OrderKind,
    time_in_force: TimeInForce,
    day: bool,
    post_only: bool,
    reject_post_only: bool,
}

impl Terms {
    fn read(call: &Call<'_>) -> Result<Self, RpcError> {
        let params = call.params;
        for name in ["trigger", "trigger_price", "trigger_offset", "linked_order_type"] {
            if params.has(name) {
                return Err(not_implemented(name));
            }
        }
        let kind = match params.text("type").as_deref() {
            None | Some("limit") => OrderKind::Limit,
            Some("market") => OrderKind::Market,
            Some(
                "market_limit" | "stop_limit" | "stop_market" | "take_limit" | "take_market"
                | "trailing_stop",
            ) => return Err(not_implemented("type")),
            Some(_) => return Err(RpcError::param("type", "must be a known order type")),
        };
        let text = params.text("time_in_force");
        let day = text.as_deref() == Some("good_til_day");
        let time_in_force = match text.as_deref() {
            None | Some("good_til_cancelled" | "good_til_day") => TimeInForce::Gtc,
            Some("immediate_or_cancel") => TimeInForce::Ioc,
            Some("fill_or_kill") => TimeInForce::Fok,
            Some(_) => return Err(RpcError::param("time_in_force", "must be a known word")),
        };
        let post_only = params.flag("post_only")?;
        let reject_post_only = params.flag("reject_post_only")?;
        let rests = kind == OrderKind::Limit && time_in_force == TimeInForce::Gtc;
        if post_only && !rests {
            return Err(RpcError::new(11055, "post_only_not_allowed"));
        }
        Ok(Self { kind, time_in_force, day, post_only, reject_post_only })
    }
}

fn not_implemented(name: &str) -> RpcError {
    RpcError::because(10033, "not_implemented", &format!("{name} is not simulated"))
}

impl Deribit {
    /// Answers `buy` and `sell`: the order after matching, and the trades that it caused.
    pub(crate) fn place(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        side: Side,
    ) -> Result<Reply, RpcError> {
        let label = call.params.text("label").unwrap_or_default();
        let named = (!label.is_empty()).then_some(label.as_str());
        state.log_request(call.connection, call.method, named);
        check_status(state, call.params.flag("post_only")?)?;
        check_deadline(state, call)?;
        if label.chars().count() > LABEL_CHARS_MAX {
            return Err(RpcError::param("label", "must be at most 64 characters"));
        }
        let terms = Terms::read(call)?;
        let instrument = instrument(state, call)?;
        let quantity = amount(state, call, instrument)?
            .ok_or_else(|| RpcError::param("amount", "amount or contracts must be given"))?;
        let price = match terms.kind {
            OrderKind::Market => None,
            OrderKind::Limit => {
                let price = call.params.decimal("price")?;
                let price = price.ok_or_else(|| RpcError::param("price", "must be given"))?;
                check_price(state, instrument, side, price)?;
                let (post, reject) = (terms.post_only, terms.reject_post_only);
                Some(if post && !reject {
                    step_back(state, instrument, side, price)
                } else {
                    price
                })
            }
        };
        let reduce_only = call.params.flag("reduce_only")?;
        if reduce_only && state.engine.position(instrument).reducible(side).is_zero() {
            return Err(RpcError::because(11030, "other_reject", "reduce_only: nothing to reduce"));
        }
        let new = NewOrder {
            instrument,
            side,
            kind: terms.kind,
            time_in_force: terms.time_in_force,
            post_only: terms.post_only,
            reduce_only,
            price,
            amount: Amount::Base(quantity),
            client_id: label.into(),
            user_reference: None,
        };
        let placed = state.place(call.connection, new);
        let order = placed.outcome.map_err(|reject| refused(reject).with_ack(placed.ack))?;
        let extra = self.extra_mut(state, &order);
        *extra = Extra {
            connection: call.connection,
            api: true,
            reject_post_only: terms.reject_post_only,
            day: terms.day,
            currency: std::mem::take(&mut extra.currency),
            ..Extra::default()
        };
        let reply = self.order_reply(state, &order, placed.events);
        Ok(Reply { ack: placed.ack, ..reply })
    }

    fn order_reply(
        &mut self,
        state: &VenueState,
        order: &Order,
        events: Vec<EngineEvent>,
    ) -> Reply {
        self.tape.note(&events);
        let extra = self.extra(order.id);
        let trades = events.iter().filter_map(|event| match event {
            EngineEvent::Order { order: after, change: OrderChange::Trade(fill) } => {
                let own = after.id == order.id;
                own.then(|| messages::fill(fill, after, &extra, &state.engine, &self.tape))
            }
            _ => None,
        });
        let trades = trades.collect();
        let order = messages::order(order, &state.instruments[order.instrument], &extra);
        Reply { events, ..Reply::new(&OrderAndTrades { order, trades }) }
    }

    /// Answers `edit`.
    pub(crate) fn edit(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let name = call.params.required("order_id")?;
        state.log_request(call.connection, call.method, Some(&name));
        let id = find_order(state, &name).ok_or_else(order_not_found)?;
        self.edit_order(state, call, id)
    }

    /// Answers `edit_by_label`.
    pub(crate) fn edit_by_label(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let label = call.params.required("label")?;
        state.log_request(call.connection, call.method, Some(&label));
        let instrument = instrument(state, call)?;
        let mut open = state
            .engine
            .open_orders()
            .filter(|order| *order.client_id == *label && order.instrument == instrument);
        let id = open.next().map(|order| order.id).ok_or_else(order_not_found)?;
        let several = open.next().is_some();
        drop(open);
        if several {
            return Err(RpcError::new(13032, "non_unique_order_label"));
        }
        self.edit_order(state, call, id)
    }

    fn edit_order(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        id: OrderId,
    ) -> Result<Reply, RpcError> {
        check_deadline(state, call)?;
        let order = state.engine.order(id).cloned().ok_or_else(order_not_found)?;
        check_status(state, order.post_only)?;
        if !order.status.is_open() {
            return Err(not_open(&order));
        }
        let quantity = amount(state, call, order.instrument)?.unwrap_or(order.quantity);
        let asked = call.params.decimal("price")?.or(order.price);
        let mut price = asked.ok_or_else(|| RpcError::new(11044, "not_open_order"))?;
        check_price(state, order.instrument, order.side, price)?;
        if quantity <= order.filled {
            return Err(RpcError::new(10021, "invalid_amount"));
        }
        if order.post_only && !call.params.flag("reject_post_only")? {
            price = step_back(state, order.instrument, order.side, price);
        }
        let mut events = Vec::new();
        if !state.amend(id, quantity, price, &mut events).map_err(refused)? {
            return Err(not_open(&order));
        }
        let after = state.engine.order(id).cloned().unwrap_or(order);
        self.extra_mut(state, &after).replaced = true;
        Ok(self.order_reply(state, &after, events))
    }
}

/// The instrument that a call names.
pub(crate) fn instrument(state: &VenueState, call: &Call<'_>) -> Result<InstrumentId, RpcError> {
    let name = call.params.required("instrument_name")?;
    let found = state.instrument(&name);
    found.ok_or_else(|| RpcError::new(10020, "invalid_or_unsupported_instrument"))
}

/// The order that an id means, if it is written with the right currency.
pub(crate) fn find_order(state: &VenueState, text: &str) -> Option<OrderId> {
    let order = state.engine.order(ids::parse_order_id(text)?)?;
    let currency = messages::currency(&state.instruments[order.instrument]);
    (ids::order_id(currency, order.id) == text).then_some(order.id)
}

pub(crate) fn order_not_found() -> RpcError {
    RpcError::new(10004, "order_not_found")
}

/// The error for an order that is done.
pub(crate) fn not_open(order: &Order) -> RpcError {
    match messages::state_text(order.status) {
        "filled" => RpcError::new(11044, "not_open_order"),
        _ => RpcError::new(10010, "already_closed"),
    }
}

/// Refuses what the venue's state forbids.
pub(crate) fn check_status(state: &VenueState, post_only: bool) -> Result<(), RpcError> {
    match state.status {
        SystemStatus::Maintenance => Err(RpcError::new(11051, "system_maintenance")),
        SystemStatus::CancelOnly => Err(RpcError::new(10012, "book_closed")),
        SystemStatus::PostOnly if !post_only => {
            Err(RpcError::because(11030, "other_reject", "only post_only orders are taken now"))
        }
        SystemStatus::PostOnly | SystemStatus::Online => Ok(()),
    }
}

fn check_deadline(state: &VenueState, call: &Call<'_>) -> Result<(), RpcError> {
    let until = call.params.integer("valid_until")?;
    if until.is_some_and(|until| until < state.now().as_millisecond()) {
        return Err(RpcError::new(13888, "timed_out"));
    }
    Ok(())
}

/// The amount that a call names, as such or in contracts.
fn amount(
    state: &VenueState,
    call: &Call<'_>,
    instrument: InstrumentId,
) -> Result<Option<Decimal>, RpcError> {
    let listed = &state.instruments[instrument];
    let size = listed.contract.as_ref().map_or(Decimal::ONE, |contract| contract.size);
    let contracts = call.params.decimal("contracts")?.and_then(|count| count.checked_mul(size));
    let amount = call.params.decimal("amount")?;
    if let (Some(amount), Some(contracts)) = (amount, contracts)
        && amount != contracts
    {
        return Err(RpcError::param("contracts", "must match the amount"));
    }
    let Some(amount) = amount.or(contracts) else { return Ok(None) };
    if amount < listed.quantity_min {
        return Err(RpcError::new(10002, "qty_too_low"));
    }
    if !listed.on_step(amount) {
        return Err(RpcError::because(
            10021,
            "invalid_amount",
            "must be a multiple of the contract size",
        ));
    }
    Ok(Some(amount))
}

fn check_price(
    state: &VenueState,
    instrument: InstrumentId,
    side: Side,
    price: Decimal,
) -> Result<(), RpcError> {
    if price <= Decimal::ZERO {
        return Err(RpcError::new(10023, "invalid_price"));
    }
    if !state.instruments[instrument].on_tick(price) {
        return Err(RpcError::new(10043, "price_wrong_tick"));
    }
    let (low, high) = messages::price_band(&state.engine, instrument);
    match side {
        Side::Buy if price > high => {
            Err(RpcError::new(10007, format!("price_too_high {}", high.normalize())))
        }
        Side::Sell if price < low => {
            Err(RpcError::new(10005, format!("price_too_low {}", low.normalize())))
        }
        _ => Ok(()),
    }
}

/// The price just inside its own side, if the given one would trade.
fn step_back(state: &VenueState, instrument: InstrumentId, side: Side, price: Decimal) -> Decimal {
    let (book, tick) = (state.engine.book(instrument), state.instruments[instrument].tick);
    match (book.crosses(side, price), book.best(side.opposite())) {
        (true, Some((best, _))) => best - side.signed(tick),
        _ => price,
    }
}

fn refused(reject: Reject) -> RpcError {
    match reject {
        Reject::InsufficientBalance => RpcError::new(10009, "not_enough_funds"),
        Reject::WouldTake => RpcError::new(11054, "post_only_reject"),
        Reject::DuplicateClientId => RpcError::new(11094, "internal_server_error"),
        Reject::Fault { code, text } => RpcError::new(code.unwrap_or(11030), text),
    }
}
