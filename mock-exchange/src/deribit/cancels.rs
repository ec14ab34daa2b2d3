//! `cancel`, `cancel_by_label` and `cancel_all`.

use serde::Serialize;

use super::messages::{self, OrderMessage, currency, kind_text};
use super::orders::{find_order, instrument, not_open, order_not_found};
use super::protocol::{Deribit, worse};
use super::rpc::{Call, Reply, RpcError};
use crate::engine::{Order, OrderKind};
use crate::protocol::SystemStatus;
use crate::venue::state::{Ack, CancelAnswer, VenueState};

/// What a detailed answer says of one instrument.
#[derive(Serialize)]
struct Detailed {
    currency: String,
    r#type: &'static str,
    instrument_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    result: Vec<OrderMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<DetailedError>,
}

#[derive(Serialize)]
struct DetailedError {
    code: i64,
    message: String,
}

impl Deribit {
    /// Answers `cancel` with the order itself.
    pub(crate) fn cancel(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let name = call.params.required("order_id")?;
        state.log_request(call.connection, call.method, Some(&name));
        check_maintenance(state)?;
        let target = find_order(state, &name);
        let result = state.cancel(call.connection, target, &name, None);
        match result.outcome {
            CancelAnswer::Canceled(order) => {
                let message = self.cancelled(state, &order);
                let reply = Reply::new(&message);
                Ok(Reply { ack: result.ack, events: result.events, ..reply })
            }
            CancelAnswer::NotOpen => {
                self.publish_events(state, &result.events);
                let order = target.and_then(|id| state.engine.order(id));
                Err(order.map_or_else(order_not_found, not_open).with_ack(result.ack))
            }
            CancelAnswer::Refused { code, text } => {
                Err(RpcError::new(code.unwrap_or(11030), text).with_ack(result.ack))
            }
        }
    }

    /// An order as the answer to its cancel shows it.
    fn cancelled(&self, state: &VenueState, order: &Order) -> OrderMessage {
        let mut extra = self.extra(order.id);
        extra.cancel_reason.get_or_insert("user_request");
        messages::order(order, &state.instruments[order.instrument], &extra)
    }

    /// Answers the methods that cancel many: how many, or all the orders if asked for details.
    pub(crate) fn cancel_many(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let label = call.params.text("label").filter(|_| call.method.ends_with("_by_label"));
        state.log_request(call.connection, call.method, label.as_deref());
        check_maintenance(state)?;
        let detailed = call.params.flag("detailed")?;
        let targets = targets(state, call)?;
        let mut ack = Ack::Send;
        let (mut count, mut events, mut details) = (0_usize, Vec::new(), Vec::<Detailed>::new());
        for order in targets {
            let result = state.cancel(call.connection, Some(order.id), &order.client_id, None);
            ack = worse(ack, result.ack);
            events.extend(result.events);
            match result.outcome {
                CancelAnswer::Canceled(order) => {
                    count += 1;
                    let message = self.cancelled(state, &order);
                    entry(&mut details, state, &order).result.push(message);
                }
                CancelAnswer::NotOpen => {}
                CancelAnswer::Refused { code, text } => {
                    let error = DetailedError { code: code.unwrap_or(11030), message: text };
                    entry(&mut details, state, &order).error = Some(error);
                }
            }
        }
        let reply = if detailed { Reply::new(&details) } else { Reply::new(&count) };
        Ok(Reply { ack, events, ..reply })
    }
}

fn check_maintenance(state: &VenueState) -> Result<(), RpcError> {
    if state.status == SystemStatus::Maintenance {
        return Err(RpcError::new(11051, "system_maintenance"));
    }
    Ok(())
}

/// The entry of an order's instrument.
fn entry<'a>(
    details: &'a mut Vec<Detailed>,
    state: &VenueState,
    order: &Order,
) -> &'a mut Detailed {
    let found = details.iter().position(|entry| *entry.instrument_name == *order.symbol);
    let index = found.unwrap_or_else(|| {
        details.push(Detailed {
            currency: currency(&state.instruments[order.instrument]).to_owned(),
            r#type: kind_text(OrderKind::Limit),
            instrument_name: order.symbol.to_string(),
            result: Vec::new(),
            error: None,
        });
        details.len() - 1
    });
    &mut details[index]
}

/// The open orders that a method means.
fn targets(state: &VenueState, call: &Call<'_>) -> Result<Vec<Order>, RpcError> {
    let params = call.params;
    let mut open: Vec<Order> = state.engine.open_orders().cloned().collect();
    match call.method.trim_start_matches("private/") {
        "cancel_by_label" => {
            let label = params.required("label")?;
            open.retain(|order| *order.client_id == *label);
        }
        "cancel_all_by_instrument" => {
            let instrument = instrument(state, call)?;
            open.retain(|order| order.instrument == instrument);
        }
        "cancel_all_by_currency" => {
            params.required("currency")?;
        }
        _ => {}
    }
    if let Some(wanted) = params.text("currency").filter(|wanted| wanted != "any") {
        open.retain(|order| currency(&state.instruments[order.instrument]) == wanted);
    }
    let other_kind = params.text("kind").is_some_and(|kind| kind != "future" && kind != "any");
    let kind = params.text("type");
    let other_type = kind.is_some_and(|kind| kind != "limit" && kind != "all");
    if other_kind || other_type {
        open.clear();
    }
    Ok(open)
}
