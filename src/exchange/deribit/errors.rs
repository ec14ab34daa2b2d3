//! What Deribit's errors mean for a request: refused for good, refused for now, or unknown.
//!
//! Source: <https://docs.deribit.com/articles/errors>, the full table. A shorter table there gives
//! some numbers other meanings and is not followed.

use serde::Deserialize;

use super::messages::{Field, shorten};

/// What is wrong, as Deribit tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RpcError {
    /// Deribit's number for it.
    pub(super) code: Option<i64>,
    /// In Deribit's words, with the parameter that is to blame where it names one.
    pub(super) reason: String,
}

impl RpcError {
    /// Reads `error` of a response.
    pub(super) fn read(error: Field<'_>) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Words<'a> {
            #[serde(borrow)]
            code: Field<'a>,
            #[serde(borrow)]
            message: Field<'a>,
            #[serde(borrow)]
            data: Field<'a>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Blame<'a> {
            #[serde(borrow)]
            param: Field<'a>,
            #[serde(borrow)]
            reason: Field<'a>,
        }
        let words: Words<'_> = error.read("error").unwrap_or_default();
        let blame: Blame<'_> = words.data.read("error.data").unwrap_or_default();
        let message = words.message.optional_text();
        let message = message.as_deref().unwrap_or("no reason given");
        let details: Vec<_> =
            [blame.param, blame.reason].into_iter().filter_map(Field::optional_text).collect();
        let reason = if details.is_empty() {
            shorten(message)
        } else {
            shorten(&format!("{message}: {}", details.join(": ")))
        };
        Self { code: words.code.whole("error.code").ok(), reason }
    }

    fn is(&self, codes: &[i64]) -> bool {
        self.code.is_some_and(|code| codes.contains(&code))
    }

    /// Whether trying again with the same configuration is pointless: a key, a permission, an
    /// instrument or a parameter is wrong. A login that is refused for its time may pass later.
    pub(super) fn is_permanent(&self) -> bool {
        let about_time = ["timestamp", "nonce"].iter().any(|word| self.reason.contains(word));
        self.is(&[
            10_000, 10_020, 11_029, 11_050, 13_004, 13_009, 13_020, 13_021, 13_778, -32_601,
            -32_602,
        ]) && !about_time
    }

    /// Whether the exchange may have acted on the request all the same.
    pub(super) fn is_outcome_unknown(&self) -> bool {
        self.is(&[11_094, 13_028, 13_888, -32_603])
    }

    /// Whether the exchange is overloaded, limits the rate or is closed for a while: the same
    /// request may pass later.
    pub(super) fn is_passing(&self) -> bool {
        self.is_outcome_unknown() || self.is(&[10_028, 10_040, 10_041, 10_047, 10_066, 11_051])
    }

    /// Whether there were too many requests.
    pub(super) fn is_too_many(&self) -> bool {
        self.is(&[10_028, 10_047])
    }

    /// Whether the exchange knows no such order.
    pub(super) fn is_not_found(&self) -> bool {
        self.is(&[10_004])
    }

    /// Whether it can only be about an order that is not open: unknown, closed or filled.
    pub(super) fn is_not_open(&self) -> bool {
        self.is(&[10_004, 10_010, 11_008, 11_044])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RpcError {
        RpcError::read(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_parameter_that_is_to_blame_is_named() {
        let error = read(
            r#"{"code":-32602,"message":"Invalid params","data":{"param":"amount","reason":"must be a number"}}"#,
        );
        assert_eq!(error.code, Some(-32_602));
        assert_eq!(error.reason, "Invalid params: amount: must be a number");
        assert_eq!(
            read(r#"{"code":11050,"message":"bad_request","data":7}"#).reason,
            "bad_request"
        );
        assert_eq!(read("{}"), RpcError { code: None, reason: "no reason given".into() });
        assert_eq!(read("[]").code, None);
    }

    #[test]
    fn only_the_clock_makes_a_refused_login_worth_repeating() {
        assert!(read(r#"{"code":13004,"message":"invalid_credentials"}"#).is_permanent());
        let clock = r#"{"code":13004,"message":"invalid_credentials","data":{"reason":"timestamp too old"}}"#;
        assert!(!read(clock).is_permanent());
        assert!(!read(r#"{"code":10028,"message":"too_many_requests"}"#).is_permanent());
    }
}
