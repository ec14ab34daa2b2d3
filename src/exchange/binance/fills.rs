//! The single fills of one order, asked for when the private stream did not tell them.
//!
//! Source: binance-spot-api-docs, web-socket-api.md, "Account trade history": `symbol` with `orderId`,
//! and `fromId` beside them. The id of a trade there is `t` of the private stream.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::messages::{Field, shorten};
use super::trading::About;
use crate::exchange::{DecodeError, OrderEvent, OrderNews, Outbox};
use crate::types::{ExchangeOrderId, Fee, Fill, Liquidity, Order};

/// The most trades that one answer may hold, as documented there.
const LIMIT: usize = 1000;

/// Which of an order's fills are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    order: u64,
    /// Fills from this id on; `None` for the newest, which nearly always are all.
    from: Option<u64>,
}

/// A trade of `myTrades`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OwnTrade<'a> {
    #[serde(borrow)]
    id: Field<'a>,
    #[serde(borrow)]
    order_id: Field<'a>,
    #[serde(borrow)]
    price: Field<'a>,
    #[serde(borrow)]
    qty: Field<'a>,
    #[serde(borrow)]
    commission: Field<'a>,
    #[serde(borrow)]
    commission_asset: Field<'a>,
    #[serde(borrow)]
    time: Field<'a>,
    #[serde(borrow)]
    is_maker: Field<'a>,
}

impl Page {
    /// The newest fills of an order, or why it cannot be asked for them.
    pub(super) fn first(order: &Order) -> Result<Self, String> {
        let number = order.exchange_id.as_ref().map(ExchangeOrderId::as_str);
        let number = number.and_then(|id| id.parse().ok());
        let order = number.ok_or("the exchange's number of the order is not known")?;
        Ok(Self { order, from: None })
    }

    pub(super) fn params(self, symbol: &str) -> Vec<(&'static str, Value)> {
        let mut params = vec![
            ("symbol", symbol.into()),
            ("orderId", self.order.into()),
            ("limit", LIMIT.into()),
            ("returnRateLimits", false.into()),
        ];
        params.extend(self.from.map(|from| ("fromId", from.into())));
        params
    }

    /// What to ask for after a full page that ended with this id. The newest fills of very many are
    /// followed by all from the beginning.
    fn next(self, last: u64) -> Option<Self> {
        let from = match self.from {
            None => 0,
            Some(from) => last.checked_add(1).filter(|next| *next > from)?,
        };
        Some(Self { from: Some(from), ..self })
    }
}

/// Tells every fill of an answer, and that this was all or why it is not. Hands back the page to
/// ask for next, and the first fault: a trade that cannot be read does not hide the others.
pub(super) fn read_page(
    result: &str,
    about: About,
    page: Page,
    out: &mut Outbox,
) -> (Option<Page>, Result<(), DecodeError>) {
    let listed: Vec<&RawValue> = match serde_json::from_str(result) {
        Ok(listed) => listed,
        Err(error) => {
            let error = DecodeError::from(error);
            out.order(about.event(unreadable(&error)));
            return (None, Err(error));
        }
    };
    let (mut fault, mut last) = (None, None);
    for trade in &listed {
        match read_trade(trade, about, page) {
            Ok((id, event)) => {
                last = last.max(Some(id));
                if let Some(event) = event {
                    out.order(event);
                }
            }
            Err(error) => _ = fault.get_or_insert(error),
        }
    }
    if let Some(error) = fault {
        out.order(about.event(unreadable(&error)));
        return (None, Err(error));
    }
    let next = last.filter(|_| listed.len() >= LIMIT).and_then(|last| page.next(last));
    if next.is_none() {
        out.order(about.event(OrderNews::FillsListed));
    }
    (next, Ok(()))
}

fn unreadable(error: &DecodeError) -> OrderNews {
    OrderNews::FillsFailed { reason: format!("the answer cannot be read: {error}") }
}

/// The trade's id, and the fill if it is one of the order that was asked for.
fn read_trade(
    trade: &RawValue,
    about: About,
    page: Page,
) -> Result<(u64, Option<OrderEvent>), DecodeError> {
    let trade: OwnTrade<'_> = serde_json::from_str(trade.get())?;
    let id = trade.id.unsigned("id")?;
    if trade.order_id.unsigned("orderId")? != page.order {
        return Ok((id, None));
    }
    let fee = match trade.commission_asset.optional_text("commissionAsset") {
        Some(asset) => {
            let amount = trade.commission.decimal("commission")?;
            Some(Fee { asset: shorten(&asset), amount })
        }
        None => None,
    };
    let time = trade.time.time("time")?;
    let is_maker = trade.is_maker.boolean("isMaker")?;
    let fill = Fill {
        fill_id: id.to_string(),
        price: trade.price.amount("price")?,
        quantity: trade.qty.amount("qty")?,
        fee,
        liquidity: Some(if is_maker { Liquidity::Maker } else { Liquidity::Taker }),
        time: Some(time),
    };
    let news = OrderNews::Filled { fill, cumulative: None, completes: false };
    let exchange_id = ExchangeOrderId::new(&page.order.to_string()).ok();
    let event = OrderEvent { exchange_id, exchange_time: Some(time), ..about.event(news) };
    Ok((id, Some(event)))
}
