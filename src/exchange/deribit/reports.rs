//! What order objects and fills say, be they in a response or pushed.
//!
//! Sources: <https://docs.deribit.com/subscriptions/user/userorderskindcurrencyraw>,
//! <https://docs.deribit.com/subscriptions/user/usertradeskindcurrencyinterval>.

use super::messages::{Field, FillObject, OrderObject, shorten};
use crate::exchange::{
    Cumulative, DecodeError, OrderEvent, OrderNews, Outbox, SessionEvent, SymbolTable,
};
use crate::types::{Fee, Fill, Liquidity, OrderStatus, Quantity};

/// How an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: OrderStatus,
    pub(super) cumulative: Cumulative,
    pub(super) reason: Option<String>,
}

impl Standing {
    /// Reads `order_state` with what belongs to it. `None` for a trigger order that has triggered:
    /// another order takes its place.
    pub(super) fn read(order: &OrderObject<'_>) -> Result<Option<Self>, DecodeError> {
        let cumulative = order.filled_amount.optional_amount::<Quantity>("filled_amount")?;
        let reason = order.cancel_reason.optional_text().map(|reason| shorten(&reason));
        let status = match &*order.order_state.text("order_state")? {
            "open" | "untriggered" if cumulative.is_none_or(Quantity::is_zero) => OrderStatus::Open,
            "open" | "untriggered" => OrderStatus::PartiallyFilled,
            "filled" => OrderStatus::Filled,
            // The instrument came to its end, and the order with it.
            "cancelled" if reason.as_deref() == Some("settlement") => OrderStatus::Expired,
            "cancelled" => OrderStatus::Canceled,
            "rejected" => OrderStatus::Rejected,
            "triggered" => return Ok(None),
            other => {
                let shown = shorten(other);
                return Err(DecodeError::new(format!("`order_state` is the unknown `{shown}`")));
            }
        };
        Ok(Some(Self { status, cumulative, reason }))
    }

    /// As the answer to a question, or a line of a list.
    pub(super) fn told(self) -> OrderNews {
        let Self { status, cumulative, reason } = self;
        OrderNews::Status { status, cumulative, reason }
    }

    /// As a change.
    pub(super) fn changed(self) -> OrderNews {
        match self.status {
            OrderStatus::Open => OrderNews::Opened,
            OrderStatus::PartiallyFilled => self.told(),
            status => OrderNews::Ended { status, cumulative: self.cumulative, reason: self.reason },
        }
    }
}

/// An event about the order of an order object.
pub(super) fn order_event(
    order: &OrderObject<'_>,
    news: OrderNews,
    symbols: &SymbolTable,
) -> Result<OrderEvent, DecodeError> {
    let (client_id, exchange_id) = (order.label.client_id(), order.order_id.exchange_id());
    if client_id.is_none() && exchange_id.is_none() {
        return Err(DecodeError::new("`order_id` of an order is missing or unfit"));
    }
    let name = order.instrument_name.optional_text();
    Ok(OrderEvent {
        client_id,
        exchange_id,
        instrument: name.and_then(|name| symbols.instrument(&name)),
        request_id: None,
        exchange_time: order.last_update_timestamp.optional_time("last_update_timestamp")?,
        news,
    })
}

/// The data of `user.orders`: one order, or a list where changes are collected over time.
pub(super) fn read_changes(
    data: Field<'_>,
    symbols: &SymbolTable,
    out: &mut Outbox,
) -> Result<(), DecodeError> {
    each(data, "data", |order| {
        match Standing::read(order)? {
            Some(standing) => out.order(order_event(order, standing.changed(), symbols)?),
            None => out.event(SessionEvent::Ignored { what: "order state triggered".into() }),
        }
        Ok(())
    })
}

/// A list of orders, or one order, as the answer to a question.
pub(super) fn read_list(
    result: Field<'_>,
    request_id: Option<&String>,
    symbols: &SymbolTable,
    out: &mut Outbox,
) -> Result<(), DecodeError> {
    each(result, "result", |order| {
        match Standing::read(order)? {
            Some(standing) => {
                let mut event = order_event(order, standing.told(), symbols)?;
                event.request_id = request_id.cloned();
                out.order(event);
            }
            None => out.event(SessionEvent::Ignored { what: "order state triggered".into() }),
        }
        Ok(())
    })
}

/// Hands over each order of a list, or the only one. A broken one does not hide the others: the
/// first fault is returned when all have been seen.
fn each(
    orders: Field<'_>,
    key: &str,
    mut take: impl FnMut(&OrderObject<'_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let token = orders.token().ok_or_else(|| DecodeError::new(format!("`{key}` is missing")))?;
    if !token.starts_with('[') {
        return take(&orders.read(key)?);
    }
    let mut fault = None;
    for order in orders.read::<Vec<Field<'_>>>(key)? {
        if let Err(error) = order.read(key).and_then(|order| take(&order)) {
            fault.get_or_insert(error);
        }
    }
    fault.map_or(Ok(()), Err)
}

/// The fills of `user.trades` or of a response. Several fills of one order all tell the state after
/// the last of them, so that only the last completes it.
pub(super) fn read_fills(
    data: Field<'_>,
    symbols: &SymbolTable,
    mut take: impl FnMut(OrderEvent),
) -> Result<(), DecodeError> {
    let list: Vec<Field<'_>> = data.read("trades")?;
    let mut fault = None;
    let mut fills: Vec<FillObject<'_>> = Vec::with_capacity(list.len());
    for raw in list {
        match raw.read("trades") {
            Ok(fill) => fills.push(fill),
            Err(error) => _ = fault.get_or_insert(error),
        }
    }
    for (index, fill) in fills.iter().enumerate() {
        let same = |later: &FillObject<'_>| later.order_id.token() == fill.order_id.token();
        let is_last = !fills[index + 1..].iter().any(same);
        let is_whole = fill.state.optional_text().as_deref() == Some("filled");
        match fill_event(fill, is_last && is_whole, symbols) {
            Ok(event) => take(event),
            Err(error) => _ = fault.get_or_insert(error),
        }
    }
    fault.map_or(Ok(()), Err)
}

fn fill_event(
    fill: &FillObject<'_>,
    completes: bool,
    symbols: &SymbolTable,
) -> Result<OrderEvent, DecodeError> {
    let (client_id, exchange_id) = (fill.label.client_id(), fill.order_id.exchange_id());
    if client_id.is_none() && exchange_id.is_none() {
        return Err(DecodeError::new("`order_id` of a trade is missing or unfit"));
    }
    let time = fill.timestamp.optional_time("timestamp")?;
    let fee = match fill.fee_currency.optional_text() {
        Some(asset) => Some(Fee { asset: shorten(&asset), amount: fill.fee.decimal("fee")? }),
        None => None,
    };
    let news = OrderNews::Filled {
        fill: Fill {
            fill_id: shorten(&fill.trade_id.text("trade_id")?),
            price: fill.price.amount("price")?,
            quantity: fill.amount.amount("amount")?,
            fee,
            liquidity: match fill.liquidity.optional_text().as_deref() {
                Some("M") => Some(Liquidity::Maker),
                Some("T") => Some(Liquidity::Taker),
                _ => None,
            },
            time,
        },
        cumulative: None,
        completes,
    };
    let name = fill.instrument_name.optional_text();
    Ok(OrderEvent {
        client_id,
        exchange_id,
        instrument: name.and_then(|name| symbols.instrument(&name)),
        request_id: None,
        exchange_time: time,
        news,
    })
}
