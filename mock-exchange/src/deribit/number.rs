//! Decimals as the venue writes them: JSON numbers with a point, small ones with an exponent.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

/// A decimal that is written as a JSON number: `92288.0`, `0.0001`, `7.766e-5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) Decimal);

impl Number {
    fn text(self) -> String {
        let value = self.0.normalize();
        if value.is_zero() {
            return "0.0".to_owned();
        }
        if value.scale() == 0 {
            return format!("{value}.0");
        }
        if value.abs() >= Decimal::new(1, 4) {
            return value.to_string();
        }
        let digits = value.mantissa().unsigned_abs().to_string();
        let (first, rest) = digits.split_at(1);
        let exponent = i64::from(value.scale()) - i64::try_from(rest.len()).unwrap_or(0);
        let sign = if value.is_sign_negative() { "-" } else { "" };
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}e-{exponent}")
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.text()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Reads a decimal from the text of a JSON number or of a parameter.
pub(crate) fn decimal_from_text(text: &str) -> Option<Decimal> {
    let text = text.trim();
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_recordings_have_them() {
        for (text, written) in [
            ("92288", "92288.0"),
            ("92288.50", "92288.5"),
            ("0", "0.0"),
            ("-0.0001", "-0.0001"),
            ("0.00007766", "7.766e-5"),
            ("-0.00000002", "-2e-8"),
        ] {
            let value = Decimal::from_str_exact(text).expect(text);
            assert_eq!(serde_json::to_string(&Number(value)).expect(text), written);
            assert_eq!(decimal_from_text(written), Some(value));
        }
        assert_eq!(decimal_from_text("market_price"), None);
    }
}
