//! The control port: the ledger and the faults over HTTP.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::connection::Listener;
use crate::faults::Fault;
use crate::mock::{FaultError, Shared};

const BODY_LIMIT: usize = 1 << 20;
/// Control connections served at once.
const CONNECTIONS: usize = 64;

/// Accepts until stopped.
pub(crate) async fn accept<L: Listener>(
    shared: Arc<Shared>,
    mut listener: L,
    stop: CancellationToken,
) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept(), if tasks.len() < CONNECTIONS => match accepted {
                Ok(stream) => {
                    let shared = shared.clone();
                    let service = service_fn(move |request| respond(shared.clone(), request));
                    let serving =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    tasks.spawn(serving);
                }
                Err(error) => {
                    tracing::warn!(%error, "the control port could not accept a connection");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let problem = json!({"error": format!("the body could not be read: {error}")});
            return Ok(answer(StatusCode::BAD_REQUEST, &problem));
        }
    };
    let (status, value) = route(&shared, &parts.method, parts.uri.path(), &body);
    Ok(answer(status, &value))
}

fn route(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
    match (method.as_str(), path) {
        ("GET", "/") => (StatusCode::OK, index(shared)),
        ("GET", "/ledger") => match serde_json::to_value(shared.ledger()) {
            Ok(ledger) => (StatusCode::OK, ledger),
            Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        ("GET", "/faults") => (StatusCode::OK, json!({"faults": shared.faults()})),
        ("DELETE", "/faults") => {
            shared.clear_faults();
            (StatusCode::OK, json!({"faults": []}))
        }
        ("POST", "/faults") => match add(shared, body) {
            Ok(ids) => (StatusCode::OK, json!({"added": ids})),
            Err(error) => failure(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (_, "/" | "/ledger" | "/faults") => {
            let text = format!("{method} is not possible on {path}; GET / lists what is");
            failure(StatusCode::METHOD_NOT_ALLOWED, &text)
        }
        _ => {
            failure(StatusCode::NOT_FOUND, &format!("nothing at {path}; GET / lists what there is"))
        }
    }
}

/// One fault, a list of them, or `{"fault": [...]}` as in a file.
fn add(shared: &Shared, body: &[u8]) -> Result<Vec<u64>, FaultError> {
    let syntax = |error: serde_json::Error| FaultError::Syntax(error.to_string());
    let value: Value = serde_json::from_slice(body).map_err(syntax)?;
    let value = match value {
        Value::Object(mut map) if map.contains_key("fault") => {
            map.remove("fault").unwrap_or_default()
        }
        other => other,
    };
    let faults: Vec<Fault> = match value {
        Value::Array(_) => serde_json::from_value(value).map_err(syntax)?,
        one => vec![serde_json::from_value(one).map_err(syntax)?],
    };
    faults.iter().map(|fault| shared.add_fault(fault)).collect()
}

fn index(shared: &Shared) -> Value {
    let venues: Vec<Value> = shared
        .venue_names()
        .split(", ")
        .filter_map(|name| shared.venue(name))
        .map(|venue| json!({"name": venue.name(), "http": venue.http_url(), "ws": venue.ws_url()}))
        .collect();
    json!({
        "venues": venues,
        "paths": {
            "GET /ledger": "orders, fills, cancels, connections, requests and balances by exchange",
            "GET /faults": "the scripted faults and how often each happened",
            "POST /faults": "adds a fault (or a list): {exchange?, target?, action, count?, after?, at_ms?, when?}",
            "DELETE /faults": "forgets every fault",
        },
    })
}

fn failure(status: StatusCode, text: &str) -> (StatusCode, Value) {
    (status, json!({"error": text}))
}

fn answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
