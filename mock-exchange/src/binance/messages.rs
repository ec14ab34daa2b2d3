//! Orders and events in Binance's words. Written by hand, because clients read some answers by
//! key order. Writing to a string cannot fail, so the results of `write!` are dropped.

use std::fmt::Write;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::params::ApiError;
use crate::engine::{
    Account, EngineEvent, Fill, Order, OrderChange, OrderKind, OrderStatus, PublicTrade, Quote,
    Side, TimeInForce,
};

/// In which unit a connection wants its times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TimeUnit {
    #[default]
    Millisecond,
    Microsecond,
}

impl TimeUnit {
    pub(super) fn of(self, time: Timestamp) -> i64 {
        match self {
            Self::Millisecond => time.as_millisecond(),
            Self::Microsecond => time.as_microsecond(),
        }
    }
}

pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

pub(super) fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New => "NEW",
        OrderStatus::PartiallyFilled => "PARTIALLY_FILLED",
        OrderStatus::Filled => "FILLED",
        OrderStatus::Canceled => "CANCELED",
        OrderStatus::Rejected => "REJECTED",
        OrderStatus::Expired => "EXPIRED",
    }
}

fn kind(order: &Order) -> &'static str {
    match (order.kind, order.post_only) {
        (OrderKind::Market, _) => "MARKET",
        (OrderKind::Limit, true) => "LIMIT_MAKER",
        (OrderKind::Limit, false) => "LIMIT",
    }
}

fn time_in_force(order: &Order) -> &'static str {
    match order.time_in_force {
        _ if order.kind == OrderKind::Market => "GTC",
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
    }
}

/// Why an expired order expired.
fn expiry_reason(order: &Order) -> &'static str {
    match (order.kind, order.time_in_force) {
        (OrderKind::Market, _) => "INSUFFICIENT_LIQUIDITY",
        (_, TimeInForce::Fok) => "UNFILLED_FOK_ORDER_EXPIRED",
        (_, TimeInForce::Ioc) => "UNFILLED_IOC_QUANTITY_EXPIRED",
        (_, TimeInForce::Gtc) => "EXCHANGE_CANCELED",
    }
}

/// How much of an order an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Ack,
    Result,
    Full,
}

/// The answer to a new order.
pub(super) fn placed(
    order: &Order,
    detail: Detail,
    events: &[EngineEvent],
    unit: TimeUnit,
) -> String {
    let created = unit.of(order.created);
    let mut text = format!(
        r#"{{"symbol":"{}","orderId":{},"orderListId":-1,"clientOrderId":"{}","transactTime":{created}"#,
        order.symbol, order.id, order.client_id,
    );
    if detail != Detail::Ack {
        text.push_str(&amounts(order));
        let _ = write!(
            text,
            r#","status":"{}","timeInForce":"{}","type":"{}","side":"{}","workingTime":{created},"selfTradePreventionMode":"NONE""#,
            status(order.status),
            time_in_force(order),
            kind(order),
            side(order.side),
        );
        if order.status == OrderStatus::Expired {
            let _ = write!(text, r#","expiryReason":"{}""#, expiry_reason(order));
        }
    }
    if detail == Detail::Full {
        let fills: Vec<String> = own_fills(order, events)
            .map(|fill| {
                format!(
                    r#"{{"price":"{:.8}","qty":"{:.8}","commission":"{:.8}","commissionAsset":"{}","tradeId":{}}}"#,
                    fill.price, fill.quantity, fill.fee, fill.fee_asset, fill.trade_id,
                )
            })
            .collect();
        let _ = write!(text, r#","fills":[{}]"#, fills.join(","));
    }
    text.push('}');
    text
}

fn own_fills<'a>(order: &'a Order, events: &'a [EngineEvent]) -> impl Iterator<Item = &'a Fill> {
    events.iter().filter_map(|event| match event {
        EngineEvent::Order { change: OrderChange::Trade(fill), .. }
            if fill.order_id == order.id && !fill.maker =>
        {
            Some(fill)
        }
        _ => None,
    })
}

fn amounts(order: &Order) -> String {
    format!(
        r#","price":"{:.8}","origQty":"{:.8}","executedQty":"{:.8}","origQuoteOrderQty":"{:.8}","cummulativeQuoteQty":"{:.8}""#,
        order.price.unwrap_or_default(),
        order.quantity,
        order.filled,
        order.quote_quantity,
        order.filled_quote,
    )
}

/// The answer to a cancel: the order goes by the name of its cancel now.
pub(super) fn canceled(order: &Order, cancel_id: &str, unit: TimeUnit) -> String {
    format!(
        r#"{{"symbol":"{}","origClientOrderId":"{}","orderId":{},"orderListId":-1,"clientOrderId":"{cancel_id}","transactTime":{}{},"status":"{}","timeInForce":"{}","type":"{}","side":"{}","selfTradePreventionMode":"NONE"}}"#,
        order.symbol,
        order.client_id,
        order.id,
        unit.of(order.updated),
        amounts(order),
        status(order.status),
        time_in_force(order),
        kind(order),
        side(order.side),
    )
}

/// An order as queries show it.
pub(super) fn queried(order: &Order, unit: TimeUnit) -> String {
    let created = unit.of(order.created);
    format!(
        r#"{{"symbol":"{}","orderId":{},"orderListId":-1,"clientOrderId":"{}"{},"status":"{}","timeInForce":"{}","type":"{}","side":"{}","stopPrice":"0.00000000","icebergQty":"0.00000000","time":{created},"updateTime":{},"isWorking":true,"workingTime":{created},"selfTradePreventionMode":"NONE"}}"#,
        order.symbol,
        order.id,
        order.client_id,
        amounts(order),
        status(order.status),
        time_in_force(order),
        kind(order),
        side(order.side),
        unit.of(order.updated),
    )
}

/// A fill as `myTrades` shows it.
pub(super) fn own_trade(fill: &Fill, symbol: &str, unit: TimeUnit) -> String {
    format!(
        r#"{{"symbol":"{symbol}","id":{},"orderId":{},"orderListId":-1,"price":"{:.8}","qty":"{:.8}","quoteQty":"{:.8}","commission":"{:.8}","commissionAsset":"{}","time":{},"isBuyer":{},"isMaker":{},"isBestMatch":true}}"#,
        fill.trade_id,
        fill.order_id,
        fill.price,
        fill.quantity,
        fill.price * fill.quantity,
        fill.fee,
        fill.fee_asset,
        unit.of(fill.time),
        fill.side == Side::Buy,
        fill.maker,
    )
}

/// The inner `executionReport`.
pub(super) fn execution_report(
    order: &Order,
    change: &OrderChange,
    execution_id: u64,
    unit: TimeUnit,
) -> String {
    let zero = Decimal::ZERO;
    let own: &str = &order.client_id;
    let (name, original) = match change {
        OrderChange::Canceled { cancel_id: Some(cancel) } => (&**cancel, own),
        _ => (own, ""),
    };
    let execution = match change {
        OrderChange::New => "NEW",
        OrderChange::Trade(_) => "TRADE",
        OrderChange::Canceled { .. } => "CANCELED",
        OrderChange::Expired => "EXPIRED",
        OrderChange::Amended => "REPLACED",
    };
    let fill = match change {
        OrderChange::Trade(fill) => Some(fill),
        _ => None,
    };
    let (quantity, price) = fill.map_or((zero, zero), |fill| (fill.quantity, fill.price));
    let fee = fill.map_or_else(|| "0".to_owned(), |fill| format!("{:.8}", fill.fee));
    let asset = fill.map_or_else(|| "null".to_owned(), |fill| format!(r#""{}""#, fill.fee_asset));
    let trade = fill.map_or_else(|| "-1".to_owned(), |fill| fill.trade_id.to_string());
    let (time, created) = (unit.of(order.updated), unit.of(order.created));
    let mut text = format!(
        r#"{{"e":"executionReport","E":{time},"s":"{}","c":"{name}","S":"{}","o":"{}","f":"{}","q":"{:.8}","p":"{:.8}","P":"0.00000000","F":"0.00000000","g":-1,"C":"{original}","x":"{execution}","X":"{}","r":"NONE","i":{},"l":"{quantity:.8}","z":"{:.8}","L":"{price:.8}","n":"{fee}","N":{asset},"T":{time},"t":{trade},"I":{execution_id},"w":{},"m":{},"M":false,"O":{created},"Z":"{:.8}","Y":"{:.8}","Q":"{:.8}","W":{created},"V":"NONE""#,
        order.symbol,
        side(order.side),
        kind(order),
        time_in_force(order),
        order.quantity,
        order.price.unwrap_or_default(),
        status(order.status),
        order.id,
        order.filled,
        order.status.is_open(),
        fill.is_some_and(|fill| fill.maker),
        order.filled_quote,
        price * quantity,
        order.quote_quantity,
    );
    if matches!(change, OrderChange::Expired) {
        let _ = write!(text, r#","eR":"{}""#, expiry_reason(order));
    }
    text.push('}');
    text
}

/// The inner `outboundAccountPosition`.
pub(super) fn account_position(
    account: &Account,
    assets: &[std::sync::Arc<str>],
    time: Timestamp,
    unit: TimeUnit,
) -> String {
    let time = unit.of(time);
    let balances: Vec<String> = assets
        .iter()
        .map(|asset| {
            let held = account.balance(asset);
            format!(r#"{{"a":"{asset}","f":"{:.8}","l":"{:.8}"}}"#, held.free, held.locked)
        })
        .collect();
    format!(
        r#"{{"e":"outboundAccountPosition","E":{time},"u":{time},"B":[{}]}}"#,
        balances.join(",")
    )
}

/// `@trade`.
pub(super) fn trade(trade: &PublicTrade, symbol: &str, unit: TimeUnit) -> String {
    let time = unit.of(trade.time);
    format!(
        r#"{{"e":"trade","E":{time},"s":"{symbol}","t":{},"p":"{:.8}","q":"{:.8}","T":{time},"m":{},"M":true}}"#,
        trade.id,
        trade.price,
        trade.quantity,
        trade.taker == Side::Sell,
    )
}

/// `@aggTrade`; every trade is its own aggregate.
pub(super) fn aggregate_trade(trade: &PublicTrade, symbol: &str, unit: TimeUnit) -> String {
    let time = unit.of(trade.time);
    format!(
        r#"{{"e":"aggTrade","E":{time},"s":"{symbol}","a":{id},"p":"{:.8}","q":"{:.8}","f":{id},"l":{id},"T":{time},"m":{},"M":true}}"#,
        trade.price,
        trade.quantity,
        trade.taker == Side::Sell,
        id = trade.id,
    )
}

/// `@bookTicker`.
pub(super) fn book_ticker(quote: &Quote, symbol: &str, update_id: u64) -> String {
    format!(
        r#"{{"u":{update_id},"s":"{symbol}","b":"{:.8}","B":"{:.8}","a":"{:.8}","A":"{:.8}"}}"#,
        quote.bid, quote.bid_quantity, quote.ask, quote.ask_quantity,
    )
}

/// `[["price","quantity"],...]`
pub(super) fn levels<'a>(levels: impl IntoIterator<Item = (&'a Decimal, &'a Decimal)>) -> String {
    let levels: Vec<String> = levels
        .into_iter()
        .map(|(price, quantity)| format!(r#"["{price:.8}","{quantity:.8}"]"#))
        .collect();
    format!("[{}]", levels.join(","))
}

/// A refusal of the engine.
pub(super) fn reject(reject: &crate::engine::Reject) -> ApiError {
    use crate::engine::Reject;
    match reject {
        Reject::InsufficientBalance => {
            ApiError::new(-2010, "Account has insufficient balance for requested action.")
        }
        Reject::WouldTake => ApiError::new(-2010, "Order would immediately match and take."),
        Reject::DuplicateClientId => ApiError::new(-2010, "Duplicate order sent."),
        Reject::Fault { code, text } => ApiError::new(code.unwrap_or(-2010), text.clone()),
    }
}
