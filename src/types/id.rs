//! Order identifiers as short inline text, so that they are `Copy` and cost no allocation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MAX_LENGTH: usize = 36;

/// Text that cannot be an order identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no order id: 1 to 36 printable ASCII characters are allowed")]
pub struct InvalidId {
    text: String,
}

/// One to 36 printable ASCII bytes, stored inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct InlineText {
    bytes: [u8; MAX_LENGTH],
    length: u8,
}

impl InlineText {
    fn new(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty() && text.len() <= MAX_LENGTH;
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidId { text: text.chars().take(64).collect() });
        }
        let mut bytes = [0; MAX_LENGTH];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "at most 36, checked above")]
        let length = text.len() as u8;
        Ok(Self { bytes, length })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

macro_rules! order_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(InlineText);

        impl $name {
            /// Checks and copies the text: 1 to 36 printable ASCII characters.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                InlineText::new(text).map(Self)
            }

            /// The identifier as it stands on the wire.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

order_id! {
    /// The id that the sender of an order gave it. The gateway's own are at most 18 letters and
    /// digits, which is what the tightest exchange allows, and begin with the gateway's tag.
    ClientOrderId
}

order_id! {
    /// The id that the exchange gave an order.
    ExchangeOrderId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_text_through_json() {
        let id = ClientOrderId::new("gw0abc123").unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"gw0abc123\"");
        assert_eq!(serde_json::from_str::<ClientOrderId>(&json).unwrap(), id);
    }

    #[test]
    fn empty_long_and_unprintable_ids_are_refused() {
        for text in ["", "a b", "é", &"x".repeat(37)] {
            assert!(ClientOrderId::new(text).is_err(), "{text:?}");
        }
        assert!(ExchangeOrderId::new(&"x".repeat(36)).is_ok());
    }
}
