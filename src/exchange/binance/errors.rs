//! What Binance's errors mean for a request: refused for good, refused for now, or unknown.
//!
//! Source: binance-spot-api-docs, errors.md.

use serde::Deserialize;

use super::messages::Field;
use crate::types::Timestamp;

/// What is wrong, as Binance tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    /// Binance's number for it.
    pub(super) code: Option<i64>,
    /// In Binance's words.
    pub(super) reason: String,
    /// The status of the answer, like HTTP's; zero where there is none.
    pub(super) status: i64,
    /// Until when the exchange takes no more requests, where it says so.
    pub(super) retry_after: Option<Timestamp>,
}

impl ApiError {
    /// Reads the nested form (`error`) or the flat one (`code`, `msg`).
    pub(super) fn read(
        error: Field<'_>,
        code: Field<'_>,
        msg: Field<'_>,
        status: Field<'_>,
    ) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Nested<'a> {
            #[serde(borrow)]
            code: Field<'a>,
            #[serde(borrow)]
            msg: Field<'a>,
            #[serde(borrow)]
            data: Field<'a>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Data<'a> {
            #[serde(borrow)]
            retry_after: Field<'a>,
        }
        let nested: Nested<'_> = error
            .token()
            .and_then(|token| serde_json::from_str(token).ok())
            .unwrap_or(Nested { code, msg, data: Field::default() });
        let status = status.optional_integer().unwrap_or_default();
        let reason = match nested.msg.optional_text("msg") {
            Some(text) => text.chars().take(500).collect(),
            None => format!("status {status} without a reason"),
        };
        let data = nested.data.token().and_then(|token| serde_json::from_str(token).ok());
        let data: Data<'_> = data.unwrap_or_default();
        let retry_after = data.retry_after.optional_integer();
        let retry_after = retry_after.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self { code: nested.code.optional_integer(), reason, status, retry_after }
    }

    /// Whether trying again with the same configuration is pointless: a key, a signature, a
    /// permission, a symbol or a parameter is wrong.
    pub(super) fn permanent(&self) -> bool {
        self.status == 401
            || matches!(self.code, Some(-1002 | -1022 | -2014 | -2015 | -1130..=-1100))
    }

    /// Whether the exchange may have acted on the request all the same. A duplicate client id is
    /// such a case: the exchange says that an order with this id is open.
    pub(super) fn outcome_unknown(&self) -> bool {
        let duplicate = self.code == Some(-2010) && self.reason.starts_with("Duplicate order");
        duplicate || self.status >= 500 || matches!(self.code, Some(-1000 | -1001 | -1006 | -1007))
    }

    /// Whether there were too many requests or orders.
    pub(super) fn too_many(&self) -> bool {
        matches!(self.status, 418 | 429) || matches!(self.code, Some(-1003 | -1015))
    }

    /// Whether the exchange is overloaded, limits the rate or disagrees about the time: the same
    /// request may pass later.
    pub(super) fn limited(&self) -> bool {
        matches!(self.status, 418 | 429)
            || matches!(self.code, Some(-1003 | -1008 | -1015 | -1016 | -1021))
    }
}
