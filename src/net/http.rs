//! One HTTP/1.1 request over a fresh stream.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use futures::future::{Either, select};
use http::Response;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;

use super::Connector;
use crate::exchange::{HttpFailure, HttpRequest, HttpResponse};

/// The largest list of instruments is some 20 MB.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Makes a request and reads the whole answer, within `limit`. Dropping the future abandons the
/// request; whether the exchange acted on it is then unknown.
pub(crate) async fn request(
    connector: &dyn Connector,
    request: HttpRequest,
    limit: Duration,
) -> Result<HttpResponse, HttpFailure> {
    let host = authority(&request);
    let answer = exchange(connector, request, &host, |response| read(response, &host));
    within(limit, &host, answer).await
}

/// How somebody took a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The status code, for example 204.
    pub(crate) status: u16,
    /// When to ask again, in whole seconds from now, where the receiver says so.
    pub(crate) retry_after: Option<Duration>,
}

/// Makes a request whose answer is of no interest beyond its status, within `limit`: the body is
/// not read, redirects are not followed. Dropping the future abandons the request.
pub(crate) async fn deliver(
    connector: &dyn Connector,
    request: HttpRequest,
    limit: Duration,
) -> Result<Receipt, HttpFailure> {
    let host = authority(&request);
    let answer = exchange(connector, request, &host, |response: Response<Incoming>| {
        let wanted = response.headers().get(http::header::RETRY_AFTER);
        let seconds = wanted.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let receipt = Receipt { status: response.status().as_u16(), retry_after };
        std::future::ready(Ok(receipt))
    });
    within(limit, &host, answer).await
}

async fn within<T>(
    limit: Duration,
    host: &str,
    answer: impl Future<Output = Result<T, HttpFailure>>,
) -> Result<T, HttpFailure> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Err(HttpFailure::Timeout { host: host.to_owned(), limit_ms })
    })
}

fn authority(request: &HttpRequest) -> String {
    let host = request.url.host_str().unwrap_or_default();
    match request.url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// An error in its own words and those of what caused it: the cause alone names the network's.
fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        words.push_str(": ");
        words.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    words
}

async fn read(response: Response<Incoming>, host: &str) -> Result<HttpResponse, HttpFailure> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| broken(host, error.as_ref()))?
        .to_bytes();
    let body = String::from_utf8(body.into()).map_err(|error| broken(host, &error.utf8_error()))?;
    Ok(HttpResponse { status, body })
}

fn broken(host: &str, error: &dyn Error) -> HttpFailure {
    HttpFailure::Broken { host: host.to_owned(), reason: with_causes(error) }
}

async fn exchange<T, R>(
    connector: &dyn Connector,
    request: HttpRequest,
    host: &str,
    read: impl FnOnce(Response<Incoming>) -> R,
) -> Result<T, HttpFailure>
where
    R: Future<Output = Result<T, HttpFailure>>,
{
    let broken = |error: &dyn Error| broken(host, error);
    let stream = connector.connect(&request.url).await.map_err(|error| HttpFailure::Connect {
        host: host.to_owned(),
        reason: error.to_string(),
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;

    let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut wanted = http::Request::builder()
        .method(request.method)
        .uri(target)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, concat!("exchange-gateway/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &request.headers {
        wanted = wanted.header(*name, value);
    }
    let wanted =
        wanted.body(Full::new(Bytes::from(request.body))).map_err(|error| broken(&error))?;

    let answer = Box::pin(async {
        read(sender.send_request(wanted).await.map_err(|error| broken(&error))?).await
    });
    // The connection is driven here beside the request, so that no task outlives the call.
    match select(answer, Box::pin(connection)).await {
        Either::Left((result, _)) => result,
        Either::Right((Ok(()), answer)) => answer.await,
        Either::Right((Err(error), _)) => Err(broken(&error)),
    }
}
