//! Request weight and order counts.

use std::fmt::Write;

use jiff::Timestamp;

use super::params::ApiError;

/// Request weight a minute.
pub(super) const WEIGHT_LIMIT: u64 = 6_000;
/// New orders in ten seconds.
pub(super) const ORDERS_LIMIT: u64 = 100;
/// New orders a day.
pub(super) const ORDERS_DAY_LIMIT: u64 = 200_000;

/// A count in a window aligned to the clock.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    number: i64,
    count: u64,
}

impl Window {
    fn at(&mut self, now: Timestamp, seconds: i64) -> &mut u64 {
        let number = now.as_second() / seconds;
        if number != self.number {
            *self = Self { number, count: 0 };
        }
        &mut self.count
    }
}

/// What the account and its address have used up.
#[derive(Debug, Default)]
pub(super) struct Usage {
    weight: Window,
    orders: Window,
    orders_day: Window,
}

impl Usage {
    /// Counts a request's weight.
    pub(super) fn add_weight(&mut self, now: Timestamp, weight: u64) {
        *self.weight.at(now, 60) += weight;
    }

    /// Counts a new order.
    pub(super) fn add_order(&mut self, now: Timestamp) {
        *self.orders.at(now, 10) += 1;
        *self.orders_day.at(now, 86_400) += 1;
    }

    /// Whether the address has weight left.
    pub(super) fn check_weight(&mut self, now: Timestamp) -> Result<(), ApiError> {
        if *self.weight.at(now, 60) < WEIGHT_LIMIT {
            return Ok(());
        }
        let text = format!(
            "Too much request weight used; current limit is {WEIGHT_LIMIT} request weight per \
             1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        );
        Err(ApiError::new(-1003, text).with_status(429))
    }

    /// Whether the account may place another order.
    pub(super) fn check_orders(&mut self, now: Timestamp) -> Result<(), ApiError> {
        let text = |limit: u64, window: &str| {
            let text =
                format!("Too many new orders; current limit is {limit} orders per {window}.");
            Err(ApiError::new(-1015, text).with_status(429))
        };
        if *self.orders.at(now, 10) >= ORDERS_LIMIT {
            return text(ORDERS_LIMIT, "10 SECOND");
        }
        if *self.orders_day.at(now, 86_400) >= ORDERS_DAY_LIMIT {
            return text(ORDERS_DAY_LIMIT, "1 DAY");
        }
        Ok(())
    }

    /// The `rateLimits` array; with the order counts for requests that place orders.
    pub(super) fn json(&mut self, now: Timestamp, orders: bool) -> String {
        let mut text = String::with_capacity(320);
        text.push('[');
        if orders {
            let ten = *self.orders.at(now, 10);
            let day = *self.orders_day.at(now, 86_400);
            entry(&mut text, "ORDERS", "SECOND", 10, ORDERS_LIMIT, ten);
            text.push(',');
            entry(&mut text, "ORDERS", "DAY", 1, ORDERS_DAY_LIMIT, day);
            text.push(',');
        }
        let weight = *self.weight.at(now, 60);
        entry(&mut text, "REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_LIMIT, weight);
        text.push(']');
        text
    }
}

fn entry(text: &mut String, kind: &str, interval: &str, number: u64, limit: u64, count: u64) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"{{"rateLimitType":"{kind}","interval":"{interval}","intervalNum":{number},"limit":{limit},"count":{count}}}"#
    );
}
