//! HTTP as data: an adapter describes a request, somebody else makes it.

use url::Url;

/// A request to the exchange's HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The whole address.
    pub url: Url,
    /// Headers beside `host` and `content-length`. Values may be secret.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none. May hold secrets.
    pub body: String,
}

/// A complete answer, of any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code, for example 200.
    pub status: u16,
    /// The body, at most a few MiB.
    pub body: String,
}

/// Why there is no answer. Whether the request was acted on is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpFailure {
    /// No connection could be made; nothing was sent.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// The system's or TLS's words.
        reason: String,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("no usable answer from {host}: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer from {host} within {limit_ms} ms")]
    Timeout {
        /// Host and port.
        host: String,
        /// The limit.
        limit_ms: u64,
    },
}
