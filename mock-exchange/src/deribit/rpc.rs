//! Answers: results and errors in their envelope.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::auth::Grant;
use super::params::Params;
use crate::engine::EngineEvent;
use crate::protocol::ConnectionId;
use crate::venue::state::Ack;

/// A call on its way through the venue.
pub(crate) struct Call<'a> {
    /// `None` over HTTP.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) method: &'a str,
    pub(crate) params: &'a Params,
    /// What the headers of an HTTP request allow.
    pub(crate) header: Option<Grant>,
}

/// An error object.
#[derive(Clone, Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    message: String,
    data: Option<Detail>,
    pub(crate) ack: Ack,
}

#[derive(Clone, Debug, Serialize)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    reason: String,
}

impl RpcError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, ack: Ack::Send }
    }

    /// An invalid parameter.
    pub(crate) fn param(param: &str, reason: &str) -> Self {
        let data = Detail { param: Some(param.to_owned()), reason: reason.to_owned() };
        Self { data: Some(data), ..Self::new(-32602, "Invalid params") }
    }

    /// An error with a reason of its own.
    pub(crate) fn because(code: i64, message: &str, reason: &str) -> Self {
        let data = Detail { param: None, reason: reason.to_owned() };
        Self { data: Some(data), ..Self::new(code, message) }
    }

    /// The same error with the fate that a fault gave it.
    pub(crate) fn with_ack(self, ack: Ack) -> Self {
        Self { ack, ..self }
    }

    /// Credits ran out; the session ends with it.
    pub(crate) fn too_many_requests() -> Self {
        Self::new(10028, "too_many_requests")
    }

    fn object(&self) -> ErrorObject<'_> {
        ErrorObject { code: self.code, message: &self.message, data: self.data.as_ref() }
    }

    pub(crate) fn ends_session(&self) -> bool {
        self.code == 10028
    }
}

/// A successful answer and what follows it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) result: Box<RawValue>,
    pub(crate) ack: Ack,
    /// To be published after the answer.
    pub(crate) events: Vec<EngineEvent>,
    /// Channels whose first message follows the answer.
    pub(crate) first: Vec<String>,
    /// There is no answer: the socket is closed.
    pub(crate) logout: bool,
}

impl Reply {
    pub(crate) fn new(result: &impl Serialize) -> Self {
        let result = serde_json::value::to_raw_value(result).unwrap_or_else(|error| {
            tracing::error!(%error, "a result could not be written");
            RawValue::NULL.to_owned()
        });
        Self { result, ack: Ack::Send, events: Vec::new(), first: Vec::new(), logout: false }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
    testnet: bool,
    #[serde(rename = "usIn")]
    us_in: i64,
    #[serde(rename = "usOut")]
    us_out: i64,
    #[serde(rename = "usDiff")]
    us_diff: i64,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Detail>,
}

/// The text of an answer.
pub(crate) fn answer(
    id: Option<&RawValue>,
    outcome: Result<&RawValue, &RpcError>,
    (received, now): (Timestamp, Timestamp),
) -> String {
    let (us_in, us_out) = (received.as_microsecond(), now.as_microsecond());
    text(&Envelope {
        jsonrpc: "2.0",
        id,
        result: outcome.ok(),
        error: outcome.err().map(RpcError::object),
        testnet: true,
        us_in,
        us_out,
        us_diff: us_out - us_in,
    })
}

/// The text of a message of the venue's own.
pub(crate) fn text(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written");
        String::new()
    })
}
