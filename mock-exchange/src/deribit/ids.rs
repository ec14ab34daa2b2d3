//! Ids as the venue writes them: plain numbers for BTC, with the currency before them elsewhere.

use crate::engine::OrderId;

/// Keeps ids of the two kinds apart, as a mix-up would be on the real venue.
const FIRST_ORDER: u64 = 146_000;
const FIRST_TRADE: u64 = 48_079_000;

pub(crate) fn order_id(currency: &str, id: OrderId) -> String {
    prefixed(currency, FIRST_ORDER + id)
}

pub(crate) fn trade_id(currency: &str, id: u64) -> String {
    prefixed(currency, FIRST_TRADE + id)
}

/// The order that an id may mean; whether it is written with the right currency is for the
/// caller to check.
pub(crate) fn parse_order_id(text: &str) -> Option<OrderId> {
    let digits = text.rsplit('-').next()?;
    digits.parse::<u64>().ok()?.checked_sub(FIRST_ORDER)
}

fn prefixed(currency: &str, number: u64) -> String {
    if currency == "BTC" { number.to_string() } else { format!("{currency}-{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_currency_unless_it_is_bitcoin() {
        assert_eq!(order_id("BTC", 62), "146062");
        assert_eq!(order_id("USDC", 1), "USDC-146001");
        assert_eq!(parse_order_id("USDC-146001"), Some(1));
        assert_eq!(parse_order_id("146062"), Some(62));
        for text in ["", "abc", "ETH-", "1"] {
            assert_eq!(parse_order_id(text), None, "{text}");
        }
    }
}
