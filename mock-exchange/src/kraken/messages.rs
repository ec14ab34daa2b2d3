//! What the venue sends, as text.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::time::micros;

/// The heartbeat of a quiet connection that has a subscription.
pub(crate) const HEARTBEAT: &str = r#"{"channel":"heartbeat"}"#;

#[derive(Serialize)]
struct Response<'a, R> {
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    req_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    time_in: String,
    time_out: String,
}

/// What an answer repeats of its request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) req_id: Option<Box<RawValue>>,
    pub(crate) received: Timestamp,
}

impl Asked {
    /// A successful answer.
    pub(crate) fn success(&self, result: impl Serialize, now: Timestamp) -> String {
        self.response(Some(result), None, None, Some(true), now)
    }

    /// A refusal: `error` is one of the venue's texts, `symbol` is named by subscriptions only.
    pub(crate) fn failure(&self, error: &str, symbol: Option<&str>, now: Timestamp) -> String {
        self.response(None::<()>, Some(error), symbol, Some(false), now)
    }

    /// The answer to `ping`, which has neither `success` nor `result`.
    pub(crate) fn pong(&self, now: Timestamp) -> String {
        let asked = Self { method: "pong".into(), ..self.clone() };
        asked.response(None::<()>, None, None, None, now)
    }

    fn response<R: Serialize>(
        &self,
        result: Option<R>,
        error: Option<&str>,
        symbol: Option<&str>,
        success: Option<bool>,
        now: Timestamp,
    ) -> String {
        write(&Response {
            method: &self.method,
            req_id: self.req_id.as_deref(),
            result,
            error,
            symbol,
            success,
            time_in: micros(self.received),
            time_out: micros(now),
        })
    }
}

#[derive(Serialize)]
struct ChannelData<'a, D> {
    channel: &'a str,
    r#type: &'a str,
    data: D,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

/// Whether channel data is the first of its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Snapshot,
    Update,
}

impl Kind {
    /// The message's `type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Update => "update",
        }
    }
}

/// A message of a channel; only private channels have a `sequence`.
pub(crate) fn channel_data(
    channel: &str,
    kind: Kind,
    data: impl Serialize,
    sequence: Option<u64>,
) -> String {
    write(&ChannelData { channel, r#type: kind.as_str(), data, sequence })
}

#[derive(Serialize)]
struct Status<'a> {
    system: &'a str,
    api_version: &'static str,
    connection_id: u64,
    version: &'static str,
}

/// The `status` message, sent on connect and when the engine's state changes.
pub(crate) fn status(system: &str, connection_id: u64) -> String {
    let data = [Status { system, api_version: "v2", connection_id, version: "2.0.0" }];
    channel_data("status", Kind::Update, data, None)
}

/// Writes a message. The types here cannot fail to serialise; should one, the client gets an
/// internal error rather than silence.
pub(crate) fn write(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message of the mock could not be written");
        r#"{"success":false,"error":"EGeneral:Internal error"}"#.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn asked(method: &str, req_id: Option<&str>) -> Asked {
        Asked {
            method: method.into(),
            req_id: req_id.map(|id| RawValue::from_string(id.into()).expect("id")),
            received: Timestamp::from_microsecond(1_777_975_200_123_000).expect("time"),
        }
    }

    fn keys(text: &str) -> Vec<String> {
        let value: Value = serde_json::from_str(text).expect("json");
        let mut keys: Vec<String> = value.as_object().expect("object").keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn a_refusal_has_the_recorded_shape() {
        let asked = asked("add_order", Some("99"));
        let text = asked.failure("EOrder:Insufficient funds", None, asked.received);
        assert_eq!(keys(&text), keys(include_str!("testdata/add_order_reject.json")));
    }

    #[test]
    fn a_pong_has_the_recorded_shape_and_no_id_when_none_came() {
        let with_id = asked("ping", Some("42"));
        assert_eq!(keys(&with_id.pong(with_id.received)), keys(include_str!("testdata/pong.json")));
        let without = asked("ping", None);
        assert_eq!(keys(&without.pong(without.received)), ["method", "time_in", "time_out"]);
    }

    #[test]
    fn the_status_has_the_recorded_shape() {
        let text = status("online", 13_834_774_380_200_032_777);
        let ours: Value = serde_json::from_str(&text).expect("json");
        let recorded: Value =
            serde_json::from_str(include_str!("testdata/status_on_connect.json")).expect("json");
        assert_eq!(ours, recorded);
    }
}
