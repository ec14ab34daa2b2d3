//! The limits on orders that `exchangeInfo` tells.
//!
//! Sources: binance-spot-api-docs, `rest-api.md` (exchange information, `rateLimits`),
//! `web-socket-api.md` (rate limits), `faqs/order_count_decrement.md`.

use std::time::Duration;

use serde::Deserialize;

use super::messages::Field;
use crate::exchange::{CancelWeight, HttpResponse, LimitScope, OrderLimit, OrderLimits, RateRule};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the exchange told on 2026-11-01, for an answer that does not name a limit.
const ORDERS: RateRule = RateRule::Window { most: 100, per: Duration::from_secs(10) };
const ORDERS_A_DAY: RateRule = RateRule::Window { most: 200_000, per: DAY };
const WEIGHT: RateRule = RateRule::Window { most: 6_000, per: Duration::from_secs(60) };

/// Weights of a refused order or cancel, of which those that succeed are free, and of
/// `order.status` and `myTrades`.
const ORDER_WEIGHT: u32 = 1;
const QUESTION_WEIGHT: u32 = 4;
const FILLS_WEIGHT: u32 = 20;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExchangeInfo<'a> {
    #[serde(borrow)]
    rate_limits: Vec<Told<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Told<'a> {
    #[serde(borrow)]
    rate_limit_type: Field<'a>,
    #[serde(borrow)]
    interval: Field<'a>,
    #[serde(borrow)]
    interval_num: Field<'a>,
    #[serde(borrow)]
    limit: Field<'a>,
}

/// Reads the limits; what cannot be read has the documented value.
pub(super) fn read(response: &HttpResponse) -> OrderLimits {
    let info: ExchangeInfo<'_> = serde_json::from_str(&response.body).unwrap_or_default();
    let (mut orders, mut weights) = (Vec::new(), Vec::new());
    for limit in &info.rate_limits {
        let kind = limit.rate_limit_type.optional_text("rateLimitType");
        match (kind.as_deref(), rule(limit)) {
            (Some("ORDERS"), Some(rule)) => orders.push(counts_orders(rule)),
            (Some("REQUEST_WEIGHT"), Some(rule)) => weights.push(counts_weight(rule)),
            _ => {}
        }
    }
    if orders.is_empty() {
        orders.extend([ORDERS, ORDERS_A_DAY].map(counts_orders));
    }
    if weights.is_empty() {
        weights.push(counts_weight(WEIGHT));
    }
    orders.append(&mut weights);
    orders
}

fn rule(limit: &Told<'_>) -> Option<RateRule> {
    let second = Duration::from_secs(1);
    let unit = match limit.interval.optional_text("interval")?.as_ref() {
        "SECOND" => second,
        "MINUTE" => second * 60,
        "HOUR" => second * 3600,
        "DAY" => DAY,
        _ => return None,
    };
    let whole = |field: Field<'_>| u32::try_from(field.optional_integer()?).ok();
    let (count, most) = (whole(limit.interval_num)?, whole(limit.limit)?);
    let per = unit.checked_mul(count).filter(|per| !per.is_zero())?;
    (most > 0).then_some(RateRule::Window { most, per })
}

/// New orders of the account. Filled ones are taken off the count again, which is not counted on.
fn counts_orders(rule: RateRule) -> OrderLimit {
    OrderLimit {
        name: "ORDERS",
        rule,
        scope: LimitScope::Account,
        order: 1,
        cancel: CancelWeight::Waits(0),
        question: 0,
        fills: 0,
    }
}

/// All requests of the address. A sixth is left to what is not an order: connecting, lists, and
/// other programs.
fn counts_weight(rule: RateRule) -> OrderLimit {
    let rule = match rule {
        RateRule::Window { most, per } => RateRule::Window { most: most - most / 6, per },
        other @ RateRule::Bucket { .. } => other,
    };
    OrderLimit {
        name: "REQUEST_WEIGHT",
        rule,
        scope: LimitScope::Account,
        order: ORDER_WEIGHT,
        cancel: CancelWeight::Waits(ORDER_WEIGHT),
        question: QUESTION_WEIGHT,
        fills: FILLS_WEIGHT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(body: &str) -> Vec<(&'static str, RateRule)> {
        let limits = read(&HttpResponse { status: 200, body: body.into() });
        limits.into_iter().map(|limit| (limit.name, limit.rule)).collect()
    }

    #[test]
    fn the_exchange_s_own_numbers_are_taken() {
        let told = rules(
            r#"{"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":1200},{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":50},{"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":300000}],"symbols":[]}"#,
        );
        let window = |most, seconds| RateRule::Window { most, per: Duration::from_secs(seconds) };
        assert_eq!(told, [("ORDERS", window(50, 10)), ("REQUEST_WEIGHT", window(1000, 60))]);
    }

    #[test]
    fn what_is_not_told_has_the_documented_value() {
        let odd = r#"{"rateLimits":[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":0,"limit":50}]}"#;
        for body in ["", "{}", odd] {
            let rules = rules(body);
            assert_eq!(rules[..2], [("ORDERS", ORDERS), ("ORDERS", ORDERS_A_DAY)], "{body}");
            assert_eq!(rules.len(), 3);
        }
    }
}
