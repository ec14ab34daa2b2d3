//! Private methods that read.

use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

use super::dispatch::method_not_found;
use super::messages::{self, FillMessage, OrderMessage, currency};
use super::orders::{find_order, instrument, order_not_found};
use super::portfolio::{self, Portfolio};
use super::protocol::Deribit;
use super::rpc::{Call, Reply, RpcError};
use crate::engine::{Fill, Order};
use crate::venue::state::VenueState;

/// Entries of a history, unless asked otherwise; and at most.
const COUNT: usize = 20;
const COUNT_MAX: usize = 1_000;

#[derive(Serialize)]
struct Trades {
    trades: Vec<FillMessage>,
    has_more: bool,
}

#[derive(Serialize)]
struct Summary {
    id: u64,
    username: &'static str,
    email: &'static str,
    r#type: &'static str,
    creation_timestamp: i64,
    #[serde(flatten)]
    portfolio: Portfolio,
}

#[derive(Serialize)]
struct Summaries {
    id: u64,
    username: &'static str,
    email: &'static str,
    r#type: &'static str,
    creation_timestamp: i64,
    #[serde(rename = "summaries")]
    currencies: Vec<Portfolio>,
}

/// How many entries a call wants.
pub(crate) fn count(call: &Call<'_>) -> Result<usize, RpcError> {
    let count = call.params.decimal("count")?.map(|count| count.to_usize());
    match count {
        None => Ok(COUNT),
        Some(Some(count @ 1..=COUNT_MAX)) => Ok(count),
        Some(_) => Err(RpcError::param("count", "must be 1 to 1000")),
    }
}

impl Deribit {
    /// Answers the private methods that only read.
    pub(crate) fn query(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let params = call.params;
        let engine = &state.engine;
        match call.method.trim_start_matches("private/") {
            "get_order_state" => {
                let id = find_order(state, &params.required("order_id")?);
                let order = id.and_then(|id| engine.order(id)).ok_or_else(order_not_found)?;
                Ok(Reply::new(&self.order_message(state, order)))
            }
            "get_order_state_by_label" => {
                let label = params.required("label")?;
                let wanted = params.required("currency")?;
                let orders = engine
                    .orders()
                    .rev()
                    .filter(|order| *order.client_id == *label && settles(state, order, &wanted));
                let orders = orders.take(COUNT_MAX).map(|order| self.order_message(state, order));
                Ok(Reply::new(&orders.collect::<Vec<_>>()))
            }
            name @ ("get_open_orders"
            | "get_open_orders_by_currency"
            | "get_open_orders_by_instrument"
            | "get_open_orders_by_label") => {
                let selected = select(state, call, name)?;
                let open = engine.open_orders().filter(|order| selected(order));
                let open = open.map(|order| self.order_message(state, order));
                Ok(Reply::new(&open.collect::<Vec<_>>()))
            }
            name @ ("get_order_history_by_instrument" | "get_order_history_by_currency") => {
                let selected = select(state, call, name)?;
                let unfilled = params.flag("include_unfilled")?;
                let offset = params.integer("offset")?.unwrap_or(0);
                let done = engine.orders().rev().filter(|order| {
                    let shown = unfilled || !order.filled.is_zero();
                    !order.status.is_open() && shown && selected(order)
                });
                let done = done.skip(usize::try_from(offset).unwrap_or(0)).take(count(call)?);
                let done = done.map(|order| self.order_message(state, order));
                Ok(Reply::new(&done.collect::<Vec<_>>()))
            }
            name if name.starts_with("get_user_trades_by_") => self.user_trades(state, call, name),
            "get_positions" => {
                let wanted = params.text("currency").filter(|wanted| wanted != "any");
                let other = params.text("kind").is_some_and(|k| k != "future" && k != "any");
                let positions = portfolio::positions(engine, wanted.as_deref());
                Ok(if other { Reply::new(&[(); 0]) } else { Reply::new(&positions) })
            }
            "get_position" => {
                Ok(Reply::new(&portfolio::position(engine, instrument(state, call)?)))
            }
            "get_account_summary" => {
                let wanted = params.required("currency")?;
                let portfolio = portfolio::portfolio(engine, &wanted);
                Ok(Reply::new(&Summary {
                    id: 96_103,
                    username: "mock",
                    email: "mock@example.com",
                    r#type: "main",
                    creation_timestamp: 1_550_000_000_000,
                    portfolio,
                }))
            }
            "get_account_summaries" => {
                let held = portfolio::currencies(engine);
                Ok(Reply::new(&Summaries {
                    id: 96_103,
                    username: "mock",
                    email: "mock@example.com",
                    r#type: "main",
                    creation_timestamp: 1_550_000_000_000,
                    currencies: held.iter().map(|a| portfolio::portfolio(engine, a)).collect(),
                }))
            }
            _ => Err(method_not_found()),
        }
    }

    fn order_message(&self, state: &VenueState, order: &Order) -> OrderMessage {
        messages::order(order, &state.instruments[order.instrument], &self.extra(order.id))
    }

    fn user_trades(
        &self,
        state: &VenueState,
        call: &Call<'_>,
        name: &str,
    ) -> Result<Reply, RpcError> {
        let params = call.params;
        let by_order = name == "get_user_trades_by_order";
        let order_id = if by_order {
            Some(find_order(state, &params.required("order_id")?).ok_or_else(order_not_found)?)
        } else {
            None
        };
        let by_instrument = name.starts_with("get_user_trades_by_instrument");
        let listed = if by_instrument { Some(instrument(state, call)?) } else { None };
        let by_currency = name.starts_with("get_user_trades_by_currency");
        let wanted = if by_currency { Some(params.required("currency")?) } else { None };
        if !(by_order || by_instrument || by_currency) {
            return Err(method_not_found());
        }
        let (from, to) = (params.integer("start_seq")?, params.integer("end_seq")?);
        let since = params.integer("start_timestamp")?;
        let until = params.integer("end_timestamp")?;
        let within = |value: i64, low: Option<i64>, high: Option<i64>| {
            low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high)
        };
        let selected = |fill: &&Fill| {
            let sequence = i64::try_from(fill.sequence).unwrap_or(i64::MAX);
            order_id.is_none_or(|id| fill.order_id == id)
                && listed.is_none_or(|id| fill.instrument == id)
                && wanted.as_ref().is_none_or(|wanted| *fill.fee_asset == **wanted)
                && within(sequence, from, to)
                && within(fill.time.as_millisecond(), since, until)
        };
        let mut fills: Vec<&Fill> = state.engine.fills().filter(selected).collect();
        let ascending = params.text("sorting").as_deref() == Some("asc")
            || from.is_some() && params.text("sorting").is_none();
        if !ascending {
            fills.reverse();
        }
        let limit = if by_order { COUNT_MAX } else { count(call)? };
        let has_more = fills.len() > limit;
        fills.truncate(limit);
        let trades: Vec<FillMessage> = fills
            .into_iter()
            .filter_map(|fill| {
                let order = state.engine.order(fill.order_id)?;
                let extra = self.extra(order.id);
                Some(messages::fill(fill, order, &extra, &state.engine, &self.tape))
            })
            .collect();
        Ok(if by_order { Reply::new(&trades) } else { Reply::new(&Trades { trades, has_more }) })
    }
}

fn settles(state: &VenueState, order: &Order, wanted: &str) -> bool {
    wanted == "any" || currency(&state.instruments[order.instrument]) == wanted
}

/// Which orders a method is about.
fn select<'a>(
    state: &'a VenueState,
    call: &Call<'_>,
    name: &str,
) -> Result<impl Fn(&Order) -> bool + 'a, RpcError> {
    let params = call.params;
    let by_instrument = name.ends_with("_by_instrument");
    let listed = if by_instrument { Some(instrument(state, call)?) } else { None };
    let by_currency = name.ends_with("_by_currency");
    let wanted = if by_currency { Some(params.required("currency")?) } else { None };
    let label = params.text("label").filter(|_| name.ends_with("_by_label"));
    let other = params.text("kind").is_some_and(|kind| kind != "future" && kind != "any");
    Ok(move |order: &Order| {
        !other
            && listed.is_none_or(|id| order.instrument == id)
            && wanted.as_ref().is_none_or(|wanted| settles(state, order, wanted))
            && label.as_ref().is_none_or(|label| *order.client_id == **label)
    })
}
