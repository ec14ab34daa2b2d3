//! Orders and fills as REST writes them: prices and quantities as text, times as seconds.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;

use super::ids;
use super::number::Number;
use super::pairs::pair_name;
use crate::engine::{Fill, Order, OrderKind, OrderStatus, Side, TimeInForce};
use crate::instrument::Instrument;

/// Seconds since the epoch with microseconds, as a JSON number.
pub(crate) fn seconds(time: Timestamp) -> Number {
    Number(Decimal::from_i128_with_scale(i128::from(time.as_microsecond()), 6))
}

/// An answer: `{"error":[],"result":...}`.
pub(crate) fn success(result: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Answer<'a, R> {
        error: [(); 0],
        result: &'a R,
    }
    super::messages::write(&Answer { error: [], result })
}

/// A refusal: the venue answers it with HTTP 200.
pub(crate) fn failure(error: &str) -> String {
    json!({ "error": [error] }).to_string()
}

#[derive(Serialize)]
struct Description {
    pair: String,
    r#type: &'static str,
    ordertype: &'static str,
    price: String,
    price2: &'static str,
    leverage: &'static str,
    order: String,
    close: &'static str,
}

/// An order as `OpenOrders`, `ClosedOrders` and `QueryOrders` show it.
#[derive(Serialize)]
pub(crate) struct RestOrder {
    refid: Option<String>,
    userref: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cl_ord_id: Option<String>,
    status: &'static str,
    opentm: Number,
    starttm: u8,
    expiretm: u8,
    descr: Description,
    vol: String,
    vol_exec: String,
    cost: String,
    fee: String,
    price: String,
    stopprice: &'static str,
    limitprice: &'static str,
    misc: &'static str,
    oflags: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trades: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closetm: Option<Number>,
    reason: Option<&'static str>,
    time_in_force: &'static str,
}

/// Builds the REST form of an order; `fills` are those of this order, named if `with_trades`.
pub(crate) fn order(
    order: &Order,
    instrument: &Instrument,
    fills: &[&Fill],
    with_trades: bool,
) -> RestOrder {
    let pair = pair_name(instrument);
    let decimals = instrument.price_decimals();
    let price = order.price.map(|price| Number::with_decimals(price, decimals).0.to_string());
    let at = price.as_ref().map_or_else(|| "market".to_owned(), |price| format!("limit {price}"));
    let limit = price.unwrap_or_else(|| "0".to_owned());
    let side = side_text(order.side);
    let is_open = order.status.is_open();
    let fee: Decimal = fills.iter().map(|fill| fill.fee).sum();
    let average = order.average_price().unwrap_or_default().round_dp(10).normalize();
    RestOrder {
        refid: None,
        userref: order.user_reference.unwrap_or(0),
        cl_ord_id: (!order.client_id.is_empty()).then(|| order.client_id.to_string()),
        status: status_text(order.status),
        opentm: seconds(order.created),
        starttm: 0,
        expiretm: 0,
        descr: Description {
            order: format!("{side} {} {pair} @ {at}", order.quantity),
            pair,
            r#type: side,
            ordertype: kind_text(order.kind),
            price: limit,
            price2: "0",
            leverage: "none",
            close: "",
        },
        vol: order.quantity.to_string(),
        vol_exec: order.filled.to_string(),
        cost: order.filled_quote.to_string(),
        fee: fee.to_string(),
        price: average.to_string(),
        stopprice: "0.00000",
        limitprice: "0.00000",
        misc: "",
        oflags: if order.post_only { "fciq,post" } else { "fciq" },
        trades: if with_trades {
            fills.iter().map(|fill| ids::execution_id(fill.trade_id)).collect()
        } else {
            Vec::new()
        },
        closetm: (!is_open).then(|| seconds(order.updated)),
        reason: closing_reason(order.status),
        time_in_force: if order.time_in_force == TimeInForce::Ioc { "IOC" } else { "GTC" },
    }
}

/// A fill as `QueryTrades` and `TradesHistory` show it.
#[derive(Serialize)]
pub(crate) struct RestTrade {
    ordertxid: String,
    postxid: String,
    pair: String,
    time: Number,
    r#type: &'static str,
    ordertype: &'static str,
    price: String,
    cost: String,
    fee: String,
    vol: String,
    margin: &'static str,
    misc: &'static str,
    trade_id: u64,
    maker: bool,
}

/// Builds the REST form of a fill.
pub(crate) fn trade(fill: &Fill, kind: OrderKind, instrument: &Instrument) -> RestTrade {
    RestTrade {
        ordertxid: ids::order_id(fill.order_id),
        postxid: ids::position_id(fill.order_id),
        pair: pair_name(instrument),
        time: seconds(fill.time),
        r#type: side_text(fill.side),
        ordertype: kind_text(kind),
        price: fill.price.to_string(),
        cost: (fill.price * fill.quantity).normalize().to_string(),
        fee: fill.fee.to_string(),
        vol: fill.quantity.to_string(),
        margin: "0.00000",
        misc: "",
        trade_id: fill.trade_id,
        maker: fill.maker,
    }
}

/// `buy` or `sell`.
pub(crate) fn side_text(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// `limit` or `market`.
pub(crate) fn kind_text(kind: OrderKind) -> &'static str {
    match kind {
        OrderKind::Limit => "limit",
        OrderKind::Market => "market",
    }
}

fn status_text(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New | OrderStatus::PartiallyFilled => "open",
        OrderStatus::Filled => "closed",
        OrderStatus::Canceled | OrderStatus::Rejected => "canceled",
        OrderStatus::Expired => "expired",
    }
}

fn closing_reason(status: OrderStatus) -> Option<&'static str> {
    match status {
        OrderStatus::Canceled => Some("User requested"),
        OrderStatus::Rejected => Some("Post only order"),
        _ => None,
    }
}
