//! Order requests.
//!
//! Sources: <https://docs.deribit.com/api-reference/trading/private-buy>, `private-sell`,
//! `private-cancel`, `private-cancel_by_label`, `private-cancel_all`,
//! `private-cancel_all_by_instrument`, `private-get_order_state`,
//! `private-get_order_state_by_label`, `private-get_user_trades_by_order` there.

use super::ORDER_VALIDITY;
use super::instruments::settlement_currency;
use super::messages::json;
use crate::types::{
    ClientOrderId, ExchangeOrderId, Instrument, Order, OrderKind, Side, TimeInForce, Timestamp,
};

/// The order that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) client_id: ClientOrderId,
    pub(super) exchange_id: Option<ExchangeOrderId>,
    pub(super) instrument: Instrument,
}

impl About {
    pub(super) fn new(order: &Order) -> Self {
        Self {
            client_id: order.client_id,
            exchange_id: order.exchange_id,
            instrument: order.instrument(),
        }
    }
}

/// Method and parameters of a new order. Numbers are JSON numbers: a decimal prints its digits
/// exactly and never an exponent. `post_only` is always said, because its default is documented
/// in two ways, and never without `reject_post_only`, which keeps the exchange from changing the
/// price.
pub(super) fn place(order: &Order, symbol: &str, now: Timestamp) -> (&'static str, String) {
    let method = match order.request.side {
        Side::Buy => "private/buy",
        Side::Sell => "private/sell",
    };
    let kind = match order.request.kind {
        OrderKind::Market => r#""type":"market","post_only":false"#.to_owned(),
        OrderKind::Limit { price, time_in_force } => {
            let terms = match time_in_force {
                TimeInForce::Gtc => r#""time_in_force":"good_til_cancelled","post_only":false"#,
                TimeInForce::Ioc => r#""time_in_force":"immediate_or_cancel","post_only":false"#,
                TimeInForce::PostOnly => {
                    r#""time_in_force":"good_til_cancelled","post_only":true,"reject_post_only":true"#
                }
            };
            format!(r#""type":"limit","price":{},{terms}"#, price.0.normalize())
        }
    };
    let validity = i64::try_from(ORDER_VALIDITY.as_millis()).unwrap_or(i64::MAX);
    let valid_until = now.as_millisecond().saturating_add(validity);
    let reducing = if order.request.reduce_only { r#""reduce_only":true,"# } else { "" };
    let params = format!(
        r#"{{"instrument_name":{},"amount":{},{kind},{reducing}"valid_until":{valid_until},"label":{}}}"#,
        json(symbol),
        order.request.quantity.0.normalize(),
        json(order.client_id.as_str()),
    );
    (method, params)
}

/// Method and parameters of a cancel.
pub(super) fn cancel(about: &About) -> (&'static str, String) {
    match about.exchange_id {
        Some(id) => ("private/cancel", by_id(&id)),
        None => ("private/cancel_by_label", by_label(about)),
    }
}

/// Method and parameters of the cancel of every order of an instrument or of the account.
pub(super) fn cancel_all(symbol: Option<&str>) -> (&'static str, String) {
    match symbol {
        Some(symbol) => {
            let params = format!(r#"{{"instrument_name":{}}}"#, json(symbol));
            ("private/cancel_all_by_instrument", params)
        }
        None => ("private/cancel_all", "{}".to_owned()),
    }
}

/// Method and parameters of the question how an order stands.
pub(super) fn query(about: &About) -> (&'static str, String) {
    match about.exchange_id {
        Some(id) => ("private/get_order_state", by_id(&id)),
        None => ("private/get_order_state_by_label", by_label(about)),
    }
}

/// Method and parameters of the question for an order's fills. The recent ones, of 24 hours, are
/// told at once; the historical ones after a while.
pub(super) fn fills(id: &ExchangeOrderId, historical: bool) -> (&'static str, String) {
    let id = json(id.as_str());
    let params = format!(r#"{{"order_id":{id},"sorting":"asc","historical":{historical}}}"#);
    ("private/get_user_trades_by_order", params)
}

fn by_id(id: &ExchangeOrderId) -> String {
    format!(r#"{{"order_id":{}}}"#, json(id.as_str()))
}

fn by_label(about: &About) -> String {
    let currency = json(settlement_currency(about.instrument));
    format!(r#"{{"currency":{currency},"label":{}}}"#, json(about.client_id.as_str()))
}
