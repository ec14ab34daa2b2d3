//! The `executions` channel: what its reports say of orders.
//!
//! Source: <https://docs.kraken.com/api/docs/websocket-v2/executions>.

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
            fault.get_or_insert(error);
        }
    }
    fault.map_or(Ok(()), Err)
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
        out.event(SessionEvent::Ignored { what: shorten(&what) });
        return Ok(());
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
