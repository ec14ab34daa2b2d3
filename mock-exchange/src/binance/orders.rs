//! Order entry and queries, the same over the API socket and over REST.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::Binance;
use super::messages::{self, Detail, TimeUnit};
use super::params::{ApiError, Params};
use crate::engine::{Amount, NewOrder, Order, OrderId, OrderKind, Side, TimeInForce};
use crate::instrument::InstrumentId;
use crate::protocol::ConnectionId;
use crate::venue::state::{Ack, CancelAnswer, VenueState};

/// Open orders of one symbol.
const OPEN_ORDERS_LIMIT: usize = 200;

/// What came of a request: the JSON of `result`, or an error.
pub(super) struct Answer {
    pub(super) result: Result<String, ApiError>,
    pub(super) ack: Ack,
    /// To be published before the answer, because it happened before.
    pub(super) before: Vec<crate::engine::EngineEvent>,
    /// To be published after the answer.
    pub(super) events: Vec<crate::engine::EngineEvent>,
}

impl From<Result<String, ApiError>> for Answer {
    fn from(result: Result<String, ApiError>) -> Self {
        Self { result, ack: Ack::Send, before: Vec::new(), events: Vec::new() }
    }
}

/// Who asks, and in which unit they want times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) connection: Option<ConnectionId>,
    pub(super) unit: TimeUnit,
}

pub(super) fn instrument(state: &VenueState, params: &Params) -> Result<InstrumentId, ApiError> {
    let symbol = params.required("symbol")?;
    state.instrument(symbol).ok_or_else(|| ApiError::new(-1121, "Invalid symbol."))
}

/// Checks everything that is checked before the engine.
pub(super) fn new_order(
    state: &VenueState,
    params: &Params,
    client_id: Arc<str>,
) -> Result<(NewOrder, Detail), ApiError> {
    let instrument = instrument(state, params)?;
    let side = match params.required("side")? {
        "BUY" => Side::Buy,
        "SELL" => Side::Sell,
        _ => return Err(ApiError::new(-1117, "Invalid side.")),
    };
    let (kind, post_only) = match params.required("type")? {
        "LIMIT" => (OrderKind::Limit, false),
        "LIMIT_MAKER" => (OrderKind::Limit, true),
        "MARKET" => (OrderKind::Market, false),
        _ => return Err(ApiError::new(-1116, "Invalid orderType.")),
    };
    let surplus = |name: &str| {
        let text = format!("Parameter '{name}' sent when not required.");
        Err(ApiError::new(-1106, text))
    };
    let time_in_force = match (kind, post_only, params.get("timeInForce")) {
        (OrderKind::Market, _, None) => TimeInForce::Ioc,
        (OrderKind::Limit, true, None) => TimeInForce::Gtc,
        (OrderKind::Market, _, Some(_)) | (_, true, Some(_)) => return surplus("timeInForce"),
        (OrderKind::Limit, false, None) => return Err(ApiError::missing("timeInForce")),
        (_, _, Some("GTC")) => TimeInForce::Gtc,
        (_, _, Some("IOC")) => TimeInForce::Ioc,
        (_, _, Some("FOK")) => TimeInForce::Fok,
        _ => return Err(ApiError::new(-1115, "Invalid timeInForce.")),
    };
    let price = params.decimal("price")?;
    let quantity = params.decimal("quantity")?;
    let quote = params.decimal("quoteOrderQty")?;
    let amount = match (kind, quantity, quote) {
        (OrderKind::Limit, _, Some(_)) => return surplus("quoteOrderQty"),
        (_, Some(_), Some(_)) => return surplus("quoteOrderQty"),
        (_, Some(quantity), None) => Amount::Base(quantity),
        (OrderKind::Market, None, Some(quote)) => Amount::Quote(quote),
        (_, None, None) => return Err(ApiError::missing("quantity")),
    };
    match kind {
        OrderKind::Limit if price.is_none() => return Err(ApiError::missing("price")),
        OrderKind::Market if price.is_some() => return surplus("price"),
        _ => {}
    }
    filters(state, instrument, price, amount)?;
    let detail = match params.get("newOrderRespType") {
        Some("ACK") => Detail::Ack,
        Some("RESULT") => Detail::Result,
        Some("FULL") => Detail::Full,
        Some(_) => {
            return Err(ApiError::new(
                -1130,
                "Invalid data sent for parameter 'newOrderRespType'.",
            ));
        }
        None if post_only => Detail::Ack,
        None => Detail::Full,
    };
    let order = NewOrder {
        instrument,
        side,
        kind,
        time_in_force,
        post_only,
        reduce_only: false,
        price,
        amount,
        client_id,
        user_reference: None,
    };
    Ok((order, detail))
}

fn filters(
    state: &VenueState,
    instrument: InstrumentId,
    price: Option<Decimal>,
    amount: Amount,
) -> Result<(), ApiError> {
    let listed = &state.instruments[instrument];
    let fails = |name: &str| Err(ApiError::new(-1013, format!("Filter failure: {name}")));
    if let Some(price) = price
        && (price < listed.tick || !listed.on_tick(price) || price > super::PRICE_MAX)
    {
        return fails("PRICE_FILTER");
    }
    let reference = price.unwrap_or_else(|| state.engine.stats(instrument).last);
    let notional = match amount {
        Amount::Quote(quote) => quote,
        Amount::Base(quantity) => {
            let in_range = quantity >= listed.quantity_min && quantity <= super::QUANTITY_MAX;
            if !in_range || !listed.on_step(quantity) {
                return fails("LOT_SIZE");
            }
            quantity.saturating_mul(reference)
        }
    };
    if notional < listed.notional_min || notional > super::NOTIONAL_MAX {
        return fails("NOTIONAL");
    }
    Ok(())
}

/// The client id of `name`, or one of the server's making.
fn client_id(binance: &mut Binance, params: &Params, name: &str) -> Result<Arc<str>, ApiError> {
    let Some(id) = params.get(name) else { return Ok(binance.next_client_id().into()) };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.len() > 36 || !id.bytes().all(legal) {
        return Err(ApiError::illegal(name, "^[a-zA-Z0-9-_]{1,36}$"));
    }
    Ok(id.into())
}

/// The order that `orderId` or `origClientOrderId` names; the former first.
fn find<'a>(state: &'a VenueState, params: &Params) -> Result<Option<&'a Order>, ApiError> {
    let instrument = instrument(state, params)?;
    let client_id = params.get("origClientOrderId");
    let found = match (params.integer("orderId")?, client_id) {
        (Some(id), _) => {
            let order = OrderId::try_from(id).ok().and_then(|id| state.engine.order(id));
            if let (Some(order), Some(client_id)) = (order, client_id)
                && *order.client_id != *client_id
            {
                let text = "The queried order does not match the client order ID.";
                return Err(ApiError::new(-2039, text));
            }
            order
        }
        (None, Some(client_id)) => state.engine.order_by_client_id(client_id),
        (None, None) => {
            let text = "Param 'origClientOrderId' or 'orderId' must be sent, but both were \
                        empty/null!";
            return Err(ApiError::new(-1128, text));
        }
    };
    Ok(found.filter(|order| order.instrument == instrument))
}

impl Binance {
    pub(super) fn place(
        &mut self,
        state: &mut VenueState,
        caller: Caller,
        params: &Params,
    ) -> Answer {
        match self.try_place(state, caller, params) {
            Ok(answer) => answer,
            Err(error) => Err(error).into(),
        }
    }

    fn try_place(
        &mut self,
        state: &mut VenueState,
        caller: Caller,
        params: &Params,
    ) -> Result<Answer, ApiError> {
        let client_id = client_id(self, params, "newClientOrderId")?;
        let (order, detail) = new_order(state, params, client_id)?;
        if state.config.limits.enforced() {
            self.usage.check_orders(state.now())?;
            let instrument = order.instrument;
            let open = state.engine.open_orders().filter(|o| o.instrument == instrument).count();
            if open >= OPEN_ORDERS_LIMIT {
                return Err(ApiError::new(-1013, "Filter failure: MAX_NUM_ORDERS"));
            }
        }
        let placed = state.place(caller.connection, order);
        let result = match &placed.outcome {
            Ok(order) => {
                self.usage.add_order(state.now());
                Ok(messages::placed(order, detail, &placed.events, caller.unit))
            }
            Err(reject) => Err(messages::reject(reject)),
        };
        Ok(Answer { result, ack: placed.ack, before: Vec::new(), events: placed.events })
    }

    /// Checks an order without placing it.
    pub(super) fn test_order(
        &mut self,
        state: &VenueState,
        params: &Params,
    ) -> Result<String, ApiError> {
        let client_id = client_id(self, params, "newClientOrderId")?;
        new_order(state, params, client_id).map(|_| "{}".to_owned())
    }

    pub(super) fn cancel(
        &mut self,
        state: &mut VenueState,
        caller: Caller,
        params: &Params,
    ) -> Answer {
        match self.try_cancel(state, caller, params) {
            Ok(answer) => answer,
            Err(error) => Err(error).into(),
        }
    }

    fn try_cancel(
        &mut self,
        state: &mut VenueState,
        caller: Caller,
        params: &Params,
    ) -> Result<Answer, ApiError> {
        let cancel_id = client_id(self, params, "newClientOrderId")?;
        let found = find(state, params)?;
        restrictions(params, found)?;
        let id = found.map(|order| order.id);
        let named = params.get("origClientOrderId").or(params.get("orderId")).unwrap_or_default();
        let cancelled = state.cancel(caller.connection, id, named, Some(cancel_id.clone()));
        let mut answer = Answer {
            result: Err(ApiError::new(-2011, "Unknown order sent.")),
            ack: cancelled.ack,
            before: Vec::new(),
            events: cancelled.events,
        };
        match cancelled.outcome {
            CancelAnswer::Canceled(order) => {
                answer.result = Ok(messages::canceled(&order, &cancel_id, caller.unit));
            }
            CancelAnswer::Refused { code, text } => {
                answer.result = Err(ApiError::new(code.unwrap_or(-2011), text));
            }
            CancelAnswer::NotOpen => answer.before = std::mem::take(&mut answer.events),
        }
        Ok(answer)
    }

    pub(super) fn cancel_all(
        &mut self,
        state: &mut VenueState,
        caller: Caller,
        params: &Params,
    ) -> Answer {
        let instrument = match instrument(state, params) {
            Ok(instrument) => instrument,
            Err(error) => return Err(error).into(),
        };
        let open = state.engine.open_orders().filter(|order| order.instrument == instrument);
        let ids: Vec<OrderId> = open.map(|order| order.id).collect();
        let mut reports = Vec::new();
        let mut ack = Ack::Send;
        let mut events = Vec::new();
        let mut refusal = None;
        for id in ids {
            let cancel_id: Arc<str> = self.next_client_id().into();
            let cancelled = state.cancel(caller.connection, Some(id), "", Some(cancel_id.clone()));
            if cancelled.ack != Ack::Send {
                ack = cancelled.ack;
            }
            events.extend(cancelled.events);
            match cancelled.outcome {
                CancelAnswer::Canceled(order) => {
                    reports.push(messages::canceled(&order, &cancel_id, caller.unit));
                }
                CancelAnswer::Refused { code, text } => {
                    refusal = Some(ApiError::new(code.unwrap_or(-2011), text));
                }
                CancelAnswer::NotOpen => {}
            }
        }
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None if reports.is_empty() => Err(ApiError::new(-2011, "Unknown order sent.")),
            None => Ok(format!("[{}]", reports.join(","))),
        };
        Answer { result, ack, before: Vec::new(), events }
    }
}

fn restrictions(params: &Params, found: Option<&Order>) -> Result<(), ApiError> {
    use crate::engine::OrderStatus;
    let wanted = match params.get("cancelRestrictions") {
        None => return Ok(()),
        Some("ONLY_NEW") => OrderStatus::New,
        Some("ONLY_PARTIALLY_FILLED") => OrderStatus::PartiallyFilled,
        Some(_) => return Err(ApiError::new(-1145, "Invalid cancelRestrictions")),
    };
    match found {
        Some(order) if order.status.is_open() && order.status != wanted => {
            let text = "Order was not canceled due to cancel restrictions.";
            Err(ApiError::new(-2011, text))
        }
        _ => Ok(()),
    }
}

pub(super) fn order_status(
    state: &VenueState,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    match find(state, params)? {
        Some(order) => Ok(messages::queried(order, unit)),
        None => Err(ApiError::new(-2013, "Order does not exist.")),
    }
}

pub(super) fn open_orders(
    state: &VenueState,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    let wanted = if params.has("symbol") { Some(instrument(state, params)?) } else { None };
    let orders: Vec<String> = state
        .engine
        .open_orders()
        .filter(|order| wanted.is_none_or(|wanted| order.instrument == wanted))
        .map(|order| messages::queried(order, unit))
        .collect();
    Ok(format!("[{}]", orders.join(",")))
}

pub(super) fn all_orders(
    state: &VenueState,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    let wanted = instrument(state, params)?;
    let limit = params.limit(500, 1000)?;
    let from = params.integer("orderId")?.and_then(|id| OrderId::try_from(id).ok());
    let orders = state
        .engine
        .orders()
        .filter(|order| order.instrument == wanted && from.is_none_or(|from| order.id >= from));
    let shown: Vec<String> = newest(orders, limit, from.is_some())
        .into_iter()
        .map(|order| messages::queried(order, unit))
        .collect();
    Ok(format!("[{}]", shown.join(",")))
}

pub(super) fn my_trades(
    state: &VenueState,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    let wanted = instrument(state, params)?;
    let limit = params.limit(500, 1000)?;
    let order = params.integer("orderId")?.and_then(|id| OrderId::try_from(id).ok());
    let from = params.integer("fromId")?.and_then(|id| u64::try_from(id).ok());
    let start = params.integer("startTime")?;
    let end = params.integer("endTime")?;
    let fills = state.engine.fills().filter(|fill| {
        let time = fill.time.as_millisecond();
        fill.instrument == wanted
            && order.is_none_or(|order| fill.order_id == order)
            && from.is_none_or(|from| fill.trade_id >= from)
            && start.is_none_or(|start| time >= start)
            && end.is_none_or(|end| time <= end)
    });
    let symbol = &state.instruments[wanted].symbol;
    let shown: Vec<String> = newest(fills, limit, from.is_some() || start.is_some())
        .into_iter()
        .map(|fill| messages::own_trade(fill, symbol, unit))
        .collect();
    Ok(format!("[{}]", shown.join(",")))
}

/// The newest `limit` items, or the oldest when the caller said where to begin; oldest first.
fn newest<T>(
    items: impl DoubleEndedIterator<Item = T>,
    limit: usize,
    from_the_start: bool,
) -> Vec<T> {
    if from_the_start {
        return items.take(limit).collect();
    }
    let mut newest: Vec<T> = items.rev().take(limit).collect();
    newest.reverse();
    newest
}
