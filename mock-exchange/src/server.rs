//! The accept loop: HTTP and WebSocket on one port.

use std::future::pending;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::connection::{ByteStream, Driver, Ended, FaultStream, Listener};
use crate::faults::Refusal;
use crate::protocol::{ConnectionKind, HttpRequest, Upgrade};
use crate::venue::VenueShared;
use crate::venue::state::Ack;

/// Largest HTTP request body.
const BODY_LIMIT: usize = 1 << 20;

type HttpBody = Full<Bytes>;

/// Accepts until the venue stops.
pub(crate) async fn accept<L: Listener>(venue: Arc<VenueShared>, mut listener: L) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = venue.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) if venue.refusing() == Some(Refusal::Rst) => stream.reset_on_drop(),
            Ok(stream) => {
                let serving = serve(venue.clone(), stream);
                venue.tasks.spawn(serving);
            }
            Err(error) => {
                tracing::warn!(venue = venue.name, %error, "accepting a connection failed");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn serve<S: ByteStream>(venue: Arc<VenueShared>, stream: S) {
    let io = TokioIo::new(FaultStream::new(stream));
    let stop = venue.stop.clone();
    let service = service_fn(move |request| respond::<S>(venue.clone(), request));
    let connection = http1::Builder::new().serve_connection(io, service).with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

async fn respond<S: ByteStream>(
    venue: Arc<VenueShared>,
    request: Request<Incoming>,
) -> io::Result<Response<HttpBody>> {
    let refuses = match venue.refusing() {
        Some(Refusal::Http503) => true,
        Some(Refusal::Upgrades) => is_upgrade(&request),
        Some(Refusal::Rst) | None => false,
    };
    if refuses {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"));
    }
    if is_upgrade(&request) {
        return Ok(upgrade::<S>(&venue, request));
    }
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => {
            let text = format!("the request body could not be read: {error}");
            return Ok(plain(StatusCode::BAD_REQUEST, &text));
        }
    };
    let latency = venue.config.latency;
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let request = HttpRequest {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let answer = venue.http(&request);
    match answer.ack {
        Ack::Send => {}
        Ack::Delay(delay) => sleep(delay).await,
        Ack::Lose => {
            tokio::select! {
                biased;
                () = venue.stop.cancelled() => {}
                () = pending() => {}
            }
            return Err(io::Error::other("a fault lost the answer"));
        }
    }
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let content_type = http::HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

fn is_upgrade(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    request.method() == Method::GET
        && upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

fn upgrade<S: ByteStream>(
    venue: &Arc<VenueShared>,
    mut request: Request<Incoming>,
) -> Response<HttpBody> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Some(kind) = venue.accepts(&path) else {
        return plain(StatusCode::NOT_FOUND, &format!("no WebSocket at {path}"));
    };
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, "the Sec-WebSocket-Key header is missing");
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    let serving = venue.clone();
    let upgrade = Upgrade { path, query };
    venue.tasks.spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                if let Ok(parts) = upgraded.downcast::<TokioIo<FaultStream<S>>>() {
                    let stream = parts.io.into_inner();
                    websocket(serving, stream, parts.read_buf, upgrade, kind).await;
                } else {
                    tracing::error!("the upgraded stream is not the accepted one");
                }
            }
            Err(error) => tracing::debug!(%error, "a WebSocket upgrade failed"),
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
    if let Ok(value) = http::HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, value);
    }
    response
}

/// Runs one WebSocket over a stream whose handshake is done.
async fn websocket<S: ByteStream>(
    venue: Arc<VenueShared>,
    stream: FaultStream<S>,
    read: Bytes,
    upgrade: Upgrade,
    kind: ConnectionKind,
) {
    let config = WebSocketConfig::default().read_buffer_size(16 << 10);
    let read = read.to_vec();
    let socket =
        WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    let (peer, rules) = venue.connect(&upgrade, kind);
    let mut guard = Registered { venue: venue.clone(), id: peer.id, ended: Ended::default() };
    guard.ended = Driver::new(socket, peer, venue.clone(), rules).run().await;
}

/// Takes a connection out of the venue, also when its task is dropped.
struct Registered {
    venue: Arc<VenueShared>,
    id: u64,
    ended: Ended,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.venue.disconnect(self.id, self.ended);
    }
}

pub(crate) fn plain(status: StatusCode, text: &str) -> Response<HttpBody> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
