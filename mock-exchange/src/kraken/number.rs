//! Decimals as JSON numbers, exactly.
//!
//! Kraken writes prices and quantities as JSON numbers. A number that goes through `f64` loses
//! digits that the book checksum needs, so both directions use the raw token.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

/// A decimal that is written as a JSON number with all its digits and no exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) Decimal);

impl Number {
    /// The value with exactly `decimals` digits after the point, as the venue writes a pair's
    /// prices and quantities (`0.29975980`).
    pub(crate) fn with_decimals(value: Decimal, decimals: u32) -> Self {
        let mut value = value;
        value.rescale(decimals);
        Self(value)
    }
}

impl From<Decimal> for Number {
    fn from(value: Decimal) -> Self {
        Self(value)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Reads a decimal from a raw JSON token: a number or a string that holds one.
///
/// Returns `None` for anything else, and for a value with more digits than a decimal holds.
pub(crate) fn decimal_from_token(token: &str) -> Option<Decimal> {
    let text = token.trim().trim_matches('"');
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_survives_the_way_out_and_in() {
        for text in ["0.29975980", "1234567890.123456789", "0.00000001", "500", "500.0", "-0.00017"]
        {
            let value = Decimal::from_str_exact(text).expect(text);
            let written = serde_json::to_string(&Number(value)).expect(text);
            assert_eq!(written, text);
            assert_eq!(decimal_from_token(&written), Some(value));
        }
    }

    #[test]
    fn a_pair_s_decimals_are_filled_up() {
        let written = Number::with_decimals(Decimal::new(8, 1), 8);
        assert_eq!(serde_json::to_string(&written).expect("number"), "0.80000000");
    }

    #[test]
    fn strings_and_exponents_are_read_and_text_is_not() {
        assert_eq!(decimal_from_token("\"0.01\""), Some(Decimal::new(1, 2)));
        assert_eq!(decimal_from_token("1e-5"), Some(Decimal::new(1, 5)));
        for token in ["\"abc\"", "true", "null", "[1]", "\"\""] {
            assert_eq!(decimal_from_token(token), None, "{token}");
        }
    }
}
