//! The `executions` channel: what its reports say of orders.
//!
//! Source: <https://docs.kraken.com/api/docs/websocket-v2/executions>.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::{
    Cumulative, DecodeError, OrderEvent, OrderNews, Outbox, SessionEvent, SymbolTable,
};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Fee, Fill, Liquidity, OrderStatus, Price, Quantity,
};

use super::messages::{Report, decimal, read, shorten, timestamp};

/// Reads every report of one message. A broken one does not hide the others: they are told, and
/// the first fault is returned.
pub(super) fn read_reports(
    data: &RawValue,
    is_snapshot: bool,
    symbols: &SymbolTable,
    out: &mut Outbox,
) -> Result<(), DecodeError> {
    let reports: Vec<&RawValue> = read(data, "data")?;
    let mut fault = None;
    for raw in reports {
        if let Err(error) = read_report(raw, is_snapshot, symbols, out) {
            unreadable(raw, is_snapshot, symbols, &error, out);
            fault.get_or_insert(error);
        }
    }
    fault.map_or(Ok(()), Err)
}

/// What even of a broken report may be readable.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ids<'a> {
    #[serde(borrow)]
    cl_ord_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    order_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    symbol: Option<Cow<'a, str>>,
}

/// A report that cannot be read may tell the end of an order: the order is asked about, and if
/// even its ids are unreadable, all of them. After a snapshot, what it did not name is asked anyway.
fn unreadable(
    raw: &RawValue,
    is_snapshot: bool,
    symbols: &SymbolTable,
    error: &DecodeError,
    out: &mut Outbox,
) {
    let ids: Ids<'_> = read(raw, "data").unwrap_or_default();
    let client_id = ids.cl_ord_id.and_then(|id| ClientOrderId::new(&id).ok());
    let exchange_id = ids.order_id.and_then(|id| ExchangeOrderId::new(&id).ok());
    if client_id.is_some() || exchange_id.is_some() {
        out.order(OrderEvent {
            client_id,
            exchange_id,
            instrument: ids.symbol.and_then(|symbol| symbols.instrument(&symbol)),
            request_id: None,
            exchange_time: None,
            news: OrderNews::Unreadable { reason: error.reason.clone() },
        });
    } else if !is_snapshot {
        let reason = format!("an execution report cannot be read: {error}");
        out.event(SessionEvent::UpdatesLost { reason });
    }
}

fn read_report(
    raw: &RawValue,
    is_snapshot: bool,
    symbols: &SymbolTable,
    out: &mut Outbox,
) -> Result<(), DecodeError> {
    let report: Report<'_> = read(raw, "data")?;
    let client_id = report.cl_ord_id.as_deref().and_then(|id| ClientOrderId::new(id).ok());
    let exchange_id = report.order_id.as_deref().and_then(|id| ExchangeOrderId::new(id).ok());
    if client_id.is_none() && exchange_id.is_none() {
        return Err(DecodeError::new("`order_id` of an execution report: missing or unfit"));
    }
    let cumulative = quantity(report.cum_qty, "cum_qty")?;
    let news =
        if is_snapshot { listed(&report, cumulative)? } else { changed(&report, cumulative)? };
    let Some(news) = news else {
        let status = report.order_status.as_deref().unwrap_or("none");
        let what = format!("execution report {}, order status {status}", report.exec_type);
        return Err(DecodeError::new(format!("unknown: {}", shorten(&what))));
    };
    out.order(OrderEvent {
        client_id,
        exchange_id,
        instrument: report.symbol.as_deref().and_then(|symbol| symbols.instrument(symbol)),
        request_id: None,
        exchange_time: timestamp(report.timestamp.as_deref(), "timestamp")?,
        news,
    });
    Ok(())
}

/// An element of a snapshot: an open order, or one of the latest fills.
fn listed(report: &Report<'_>, cumulative: Cumulative) -> Result<Option<OrderNews>, DecodeError> {
    if report.exec_id.is_some() && report.last_qty.is_some() {
        return filled(report, cumulative).map(Some);
    }
    let name = report.order_status.as_deref().unwrap_or(&report.exec_type);
    Ok(order_status(name, cumulative, reason(report).as_deref()).map(|status| OrderNews::Status {
        status,
        cumulative,
        reason: reason(report),
    }))
}

/// An element of an update.
fn changed(report: &Report<'_>, cumulative: Cumulative) -> Result<Option<OrderNews>, DecodeError> {
    Ok(Some(match &*report.exec_type {
        "pending_new" => OrderNews::Acknowledged,
        "new" | "amended" | "restated" | "status" | "iceberg_refill" => OrderNews::Opened,
        "trade" => filled(report, cumulative)?,
        // A report of its own after the last trade; fill fields that it may carry repeat that one.
        name @ ("filled" | "canceled" | "expired") => {
            let reason = reason(report);
            let Some(status) = order_status(name, cumulative, reason.as_deref()) else {
                return Ok(None);
            };
            OrderNews::Ended { status, cumulative, reason }
        }
        _ => return Ok(None),
    }))
}

/// The status that the exchange names, in HTTP answers too. A post-only order that would have
/// taken is reported as cancelled; with nothing filled it has been refused.
pub(super) fn order_status(
    name: &str,
    cumulative: Cumulative,
    reason: Option<&str>,
) -> Option<OrderStatus> {
    let untouched = cumulative.is_none_or(Quantity::is_zero);
    match name {
        "pending" | "pending_new" | "new" | "open" | "partially_filled" | "triggered" => {
            let open = untouched && name != "partially_filled";
            Some(if open { OrderStatus::Open } else { OrderStatus::PartiallyFilled })
        }
        "filled" | "closed" => Some(OrderStatus::Filled),
        "canceled" => {
            let refused = untouched
                && reason.is_some_and(|text| text.to_ascii_lowercase().contains("post only"));
            Some(if refused { OrderStatus::Rejected } else { OrderStatus::Canceled })
        }
        "expired" => Some(OrderStatus::Expired),
        _ => None,
    }
}

/// A fill. The trade that completes an order usually still says `partially_filled`, and a report
/// `filled` follows.
fn filled(report: &Report<'_>, cumulative: Cumulative) -> Result<OrderNews, DecodeError> {
    let missing = |key: &str| DecodeError::new(format!("`{key}` of a trade report: missing"));
    let fill_id = report.exec_id.as_deref().ok_or_else(|| missing("exec_id"))?;
    let price = report.last_price.ok_or_else(|| missing("last_price"))?;
    let part = report.last_qty.ok_or_else(|| missing("last_qty"))?;
    let fee = match report.fees.as_deref().unwrap_or_default() {
        [] => None,
        [fee, ..] => {
            let amount = decimal(fee.qty, "fees.qty")?;
            Some(Fee { asset: shorten(&fee.asset), amount })
        }
    };
    let fill = Fill {
        fill_id: shorten(fill_id),
        price: Price(decimal(price, "last_price")?),
        quantity: Quantity(decimal(part, "last_qty")?),
        fee,
        liquidity: match report.liquidity_ind.as_deref() {
            Some("m") => Some(Liquidity::Maker),
            Some("t") => Some(Liquidity::Taker),
            _ => None,
        },
        time: timestamp(report.timestamp.as_deref(), "timestamp")?,
    };
    let completes = report.order_status.as_deref() == Some("filled");
    Ok(OrderNews::Filled { fill, cumulative, completes })
}

fn reason(report: &Report<'_>) -> Option<String> {
    report.reason.as_deref().or(report.cancel_reason.as_deref()).map(shorten)
}

fn quantity(raw: Option<&RawValue>, key: &str) -> Result<Cumulative, DecodeError> {
    raw.map(|raw| decimal(raw, key).map(Quantity)).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::testing::symbols;
    use super::*;

    fn read_update(elements: &str) -> (Result<(), DecodeError>, Vec<SessionEvent>) {
        let mut out = Outbox::default();
        let text = format!("[{elements}]");
        let data: &RawValue = serde_json::from_str(&text).unwrap();
        let read = read_reports(data, false, &symbols(), &mut out);
        (read, out.events)
    }

    fn news(fields: &str) -> OrderNews {
        let (read, events) = read_update(&format!(r#"{{"order_id":"OA",{fields}}}"#));
        read.unwrap();
        match events.as_slice() {
            [SessionEvent::Order(event)] => event.news.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_post_only_order_that_would_take_is_rejected_unless_it_was_filled() {
        let ended = |fields: &str| match news(fields) {
            OrderNews::Ended { status, .. } => status,
            other => panic!("{other:?}"),
        };
        let canceled = r#""exec_type":"canceled","order_status":"canceled""#;
        let cases = [
            (r#","cum_qty":0.0,"reason":"Post only order""#, OrderStatus::Rejected),
            (r#","cancel_reason":"Post only order""#, OrderStatus::Rejected),
            (r#","cum_qty":0.1,"reason":"Post only order""#, OrderStatus::Canceled),
            (r#","cum_qty":0.1,"reason":"User requested""#, OrderStatus::Canceled),
            ("", OrderStatus::Canceled),
        ];
        for (rest, expected) in cases {
            assert_eq!(ended(&format!("{canceled}{rest}")), expected, "{rest}");
        }
    }

    #[test]
    fn a_final_report_ends_the_order_and_is_no_fill() {
        let cumulative = Some("1.5".parse().unwrap());
        let filled = r#""exec_type":"filled","order_status":"filled","cum_qty":1.50,"exec_id":"T9","last_qty":1.5,"last_price":2"#;
        let status = OrderStatus::Filled;
        assert_eq!(news(filled), OrderNews::Ended { status, cumulative, reason: None });
        let expired = r#""exec_type":"expired","order_status":"expired""#;
        let status = OrderStatus::Expired;
        assert_eq!(news(expired), OrderNews::Ended { status, cumulative: None, reason: None });
    }

    #[test]
    fn changes_on_the_book_keep_the_order_open() {
        for name in ["new", "amended", "restated", "status", "iceberg_refill"] {
            assert_eq!(news(&format!(r#""exec_type":"{name}""#)), OrderNews::Opened, "{name}");
        }
    }

    #[test]
    fn a_trade_that_says_filled_completes_its_order() {
        let trade = r#""exec_type":"trade","exec_id":"T1","last_qty":5e-7,"last_price":2,"liquidity_ind":"m","fees":[],"order_status":"filled""#;
        let OrderNews::Filled { fill, cumulative, completes } = news(trade) else { panic!() };
        assert!(completes);
        assert_eq!((cumulative, fill.fee, fill.time), (None, None, None));
        assert_eq!(fill.quantity, "0.0000005".parse().unwrap());
        assert_eq!(fill.liquidity, Some(Liquidity::Maker));
    }

    #[test]
    fn a_broken_report_hides_no_other() {
        let good = r#"{"order_id":"OA","exec_type":"new"}"#;
        let cases = [
            (r#"{"order_id":"OB","exec_type":"trade"}"#, "`exec_id`"),
            (r#"{"order_id":"OB","exec_type":"canceled","cum_qty":"x"}"#, "`cum_qty`"),
            (r#"{"cl_ord_id":"gw1","exec_type":"new","timestamp":"now"}"#, "`timestamp`"),
            (r#"{"exec_type":"new"}"#, "`order_id`"),
            (r#"{"order_id":"OB"}"#, "exec_type"),
        ];
        for (broken, expected) in cases {
            let (read, events) = read_update(&format!("{broken},{good}"));
            let error = read.unwrap_err();
            assert!(error.reason.contains(expected), "{error}");
            let [first, SessionEvent::Order(other)] = events.as_slice() else {
                panic!("{broken}: {events:?}")
            };
            assert_eq!(other.news, OrderNews::Opened);
            match first {
                // Its order must be asked about.
                SessionEvent::Order(event) => {
                    assert!(matches!(event.news, OrderNews::Unreadable { .. }), "{event:?}");
                    let (ours, exchange_s) = (event.client_id, event.exchange_id);
                    assert_eq!(ours.is_some(), broken.contains("gw1"), "{event:?}");
                    assert_eq!(exchange_s.is_some(), broken.contains("OB"), "{event:?}");
                }
                // Nobody knows which order it was.
                SessionEvent::UpdatesLost { .. } => assert_eq!(expected, "`order_id`"),
                event => panic!("{broken}: {event:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_kind_of_report_asks_for_its_order() {
        let (read, events) = read_update(r#"{"order_id":"OA","exec_type":"dreamt"}"#);
        let reason = "unknown: execution report dreamt, order status none".to_owned();
        assert_eq!(read.unwrap_err().reason, reason);
        let [SessionEvent::Order(event)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(event.exchange_id.unwrap().as_str(), "OA");
        assert_eq!(event.news, OrderNews::Unreadable { reason });
    }
}
