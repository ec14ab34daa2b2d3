//! Prices and quantities: decimals that never were a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Text that is no plain decimal number, or has more digits than 96 bits hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no decimal number of at most 28 digits")]
pub struct InvalidNumber {
    text: String,
}

/// Reads a decimal exactly; a number with excess digits is refused, never rounded. An exponent
/// (`1e-7`) is read too, because some writers of JSON numbers use one for small values.
pub(crate) fn exact_decimal(text: &str) -> Result<Decimal, InvalidNumber> {
    // An exponent is rare, so it is looked for only in what is no plain number.
    let parsed = Decimal::from_str_exact(text)
        .or_else(|error| if text.contains(['e', 'E']) { scientific(text) } else { Err(error) });
    parsed.map_err(|_| InvalidNumber { text: text.chars().take(64).collect() })
}

/// The same for an exchange that writes small numbers with an exponent as a rule: what has one is
/// not tried as a plain number first, which would cost an allocated error.
pub(crate) fn exact_json_number(text: &str) -> Result<Decimal, InvalidNumber> {
    if !text.contains(['e', 'E']) {
        return exact_decimal(text);
    }
    scientific(text).map_err(|_| InvalidNumber { text: text.chars().take(64).collect() })
}

/// The library would round the digits before the exponent, so they are tried by themselves first.
fn scientific(text: &str) -> Result<Decimal, rust_decimal::Error> {
    let digits = text.split(['e', 'E']).next().unwrap_or(text);
    Decimal::from_str_exact(digits)?;
    Decimal::from_scientific(text)
}

macro_rules! money {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Decimal);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(Decimal::ZERO);

            /// The decimal inside.
            pub const fn decimal(self) -> Decimal {
                self.0
            }

            /// Whether it is zero.
            pub fn is_zero(self) -> bool {
                self.0.is_zero()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidNumber;

            fn from_str(text: &str) -> Result<Self, InvalidNumber> {
                exact_decimal(text).map(Self)
            }
        }

        impl From<Decimal> for $name {
            fn from(value: Decimal) -> Self {
                Self(value)
            }
        }
    };
}

money! {
    /// A price in the instrument's quote asset for one unit of its base asset.
    Price
}

money! {
    /// An amount of the instrument's base asset.
    Quantity
}

impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_survive_exactly_or_the_number_is_refused() {
        let price: Price = "1234567890.123456789".parse().unwrap();
        assert_eq!(price.to_string(), "1234567890.123456789");
        assert!("0.12345678901234567890123456789".parse::<Price>().is_err());
        assert!("NaN".parse::<Price>().is_err());
        assert!("".parse::<Quantity>().is_err());
    }

    #[test]
    fn an_exponent_is_a_number_too() {
        assert_eq!("1e-7".parse::<Quantity>().unwrap().to_string(), "0.0000001");
        assert_eq!("2.5E3".parse::<Quantity>().unwrap().0, Decimal::from(2500));
        assert!("0.12345678901234567890123456789e1".parse::<Quantity>().is_err());
        for text in ["1e-7", "2.5E3", "-2e-8", "21", "21.0"] {
            assert_eq!(exact_json_number(text), exact_decimal(text), "{text}");
        }
        assert!(exact_json_number("e5").is_err() && exact_json_number("1e99").is_err());
    }
}
