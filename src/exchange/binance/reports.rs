//! The private stream: what Binance tells about the account's orders without being asked.
//!
//! Source: binance-spot-api-docs, user-data-stream.md.

use serde::Deserialize;

use super::messages::{Field, order_status, shorten};
use crate::exchange::{DecodeError, OrderEvent, OrderNews, Outbox, SessionEvent, SymbolTable};
use crate::types::{ClientOrderId, Fee, Fill, Liquidity, OrderStatus, Timestamp};

/// `executionReport`: news of one order of the account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExecutionReport<'a> {
    /// Symbol.
    #[serde(borrow, rename = "s")]
    symbol: Field<'a>,
    /// Client id; of the cancel, if the report is of one.
    #[serde(borrow, rename = "c")]
    client_id: Field<'a>,
    /// Client id of the order that was cancelled or amended, else empty.
    #[serde(borrow, rename = "C")]
    original_client_id: Field<'a>,
    /// What happened.
    #[serde(borrow, rename = "x")]
    execution: Field<'a>,
    /// The order's status now.
    #[serde(borrow, rename = "X")]
    status: Field<'a>,
    /// Reject reason, or `NONE`.
    #[serde(borrow, rename = "r")]
    reject_reason: Field<'a>,
    /// Expiry reason.
    #[serde(borrow, rename = "eR")]
    expiry_reason: Field<'a>,
    /// Exchange's order id.
    #[serde(borrow, rename = "i")]
    order_id: Field<'a>,
    /// Quantity of this fill.
    #[serde(borrow, rename = "l")]
    last_quantity: Field<'a>,
    /// Price of this fill.
    #[serde(borrow, rename = "L")]
    last_price: Field<'a>,
    /// Quantity filled in all.
    #[serde(borrow, rename = "z")]
    cumulative: Field<'a>,
    /// Fee of this fill.
    #[serde(borrow, rename = "n")]
    fee: Field<'a>,
    /// Asset of the fee, or `null`.
    #[serde(borrow, rename = "N")]
    fee_asset: Field<'a>,
    /// Transaction time.
    #[serde(borrow, rename = "T")]
    time: Field<'a>,
    /// Trade id, or -1.
    #[serde(borrow, rename = "t")]
    trade_id: Field<'a>,
    /// Whether this fill made liquidity.
    #[serde(borrow, rename = "m")]
    is_maker: Field<'a>,
}

/// Reads one event of the private stream, without its envelope.
pub(super) fn read(
    event: &str,
    symbols: &SymbolTable,
    out: &mut Outbox,
) -> Result<(), DecodeError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Kind<'a> {
        #[serde(borrow)]
        e: Field<'a>,
    }
    let kind: Kind<'_> = serde_json::from_str(event)?;
    match &*kind.e.text("e")? {
        "executionReport" => {
            let report = serde_json::from_str(event)?;
            return order(&report, symbols, out).inspect_err(|error| {
                unreadable(&report, symbols, error, out);
            });
        }
        "serverShutdown" => {
            out.event(SessionEvent::ClosingSoon { reason: "serverShutdown".into() });
        }
        "eventStreamTerminated" => out.event(SessionEvent::UpdatesLost {
            reason: "the exchange ended the stream of order updates".into(),
        }),
        other => {
            out.event(SessionEvent::Ignored { what: format!("event {}", shorten(other)) });
        }
    }
    Ok(())
}

/// A report that cannot be read may tell the end of an order: the order is asked about, and if
/// even its ids are unreadable, all of them.
fn unreadable(
    report: &ExecutionReport<'_>,
    symbols: &SymbolTable,
    error: &DecodeError,
    out: &mut Outbox,
) {
    let reason = error.reason.clone();
    let client_id = client_id(report);
    let exchange_id = report.order_id.exchange_id("executionReport.i").ok();
    if client_id.is_none() && exchange_id.is_none() {
        let reason = format!("an order report cannot be read: {reason}");
        out.event(SessionEvent::UpdatesLost { reason });
        return;
    }
    let symbol = report.symbol.optional_text("s");
    out.order(OrderEvent {
        client_id,
        exchange_id,
        instrument: symbol.and_then(|symbol| symbols.instrument(&symbol)),
        request_id: None,
        exchange_time: None,
        news: OrderNews::Unreadable { reason },
    });
}

/// A cancel renames the order; then its own id is the original one.
fn client_id(report: &ExecutionReport<'_>) -> Option<ClientOrderId> {
    let original = report.original_client_id.optional_text("C").filter(|id| !id.is_empty());
    match original {
        Some(original) => ClientOrderId::new(&original).ok(),
        None => report.client_id.client_id("c"),
    }
}

fn order(
    report: &ExecutionReport<'_>,
    symbols: &SymbolTable,
    out: &mut Outbox,
) -> Result<(), DecodeError> {
    let execution = report.execution.text("executionReport.x")?;
    let status = order_status(report.status, "executionReport.X")?;
    let exchange_id = report.order_id.exchange_id("executionReport.i")?;
    let time = report.time.time("executionReport.T")?;
    let cumulative = Some(report.cumulative.amount("executionReport.z")?);
    let symbol = report.symbol.text("executionReport.s")?;
    let client_id = client_id(report);
    let event = |news| OrderEvent {
        client_id,
        exchange_id: Some(exchange_id),
        instrument: symbols.instrument(&symbol),
        request_id: None,
        exchange_time: Some(time),
        news,
    };
    let completes = status == OrderStatus::Filled;
    if execution == "TRADE" {
        let fill = read_fill(report, time)?;
        out.order(event(OrderNews::Filled { fill, cumulative, completes }));
        if completes {
            return Ok(());
        }
    }
    if status.is_terminal() {
        let reason = end_reason(report, &execution);
        out.order(event(OrderNews::Ended { status, cumulative, reason }));
    } else if execution != "TRADE" {
        let pending = report.status.optional_text("X").as_deref() == Some("PENDING_NEW");
        let news = if pending { OrderNews::Acknowledged } else { OrderNews::Opened };
        out.order(event(news));
    }
    Ok(())
}

fn read_fill(report: &ExecutionReport<'_>, time: Timestamp) -> Result<Fill, DecodeError> {
    let fee = match report.fee_asset.optional_text("N") {
        Some(asset) => {
            let amount = report.fee.decimal("executionReport.n")?;
            Some(Fee { asset: shorten(&asset), amount })
        }
        None => None,
    };
    let is_maker = report.is_maker.boolean("executionReport.m")?;
    Ok(Fill {
        fill_id: report.trade_id.unsigned("executionReport.t")?.to_string(),
        price: report.last_price.amount("executionReport.L")?,
        quantity: report.last_quantity.amount("executionReport.l")?,
        fee,
        liquidity: Some(if is_maker { Liquidity::Maker } else { Liquidity::Taker }),
        time: Some(time),
    })
}

fn end_reason(report: &ExecutionReport<'_>, execution: &str) -> Option<String> {
    let told = [report.expiry_reason, report.reject_reason]
        .into_iter()
        .filter_map(|field| field.optional_text("reason"))
        .find(|reason| !reason.is_empty() && reason != "NONE");
    match told {
        Some(reason) => Some(shorten(&reason)),
        None if execution == "TRADE_PREVENTION" => Some("self-trade prevention".into()),
        None => None,
    }
}
