//! The same methods over HTTP: `GET /api/v2/{method}?...`, or JSON-RPC by POST.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use serde_json::value::RawValue;

use super::auth::{Grant, check_age, invalid_credentials, unauthorized};
use super::params::{Params, Request, invalid_request};
use super::protocol::Deribit;
use super::rpc::{Call, Reply, RpcError, answer};
use super::sign;
use crate::protocol::{HttpRequest, HttpResponse};
use crate::venue::state::VenueState;

const PREFIX: &str = "/api/v2";

impl Deribit {
    /// Answers an HTTP request.
    pub(crate) fn rest(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse {
        let Some(path) = request.path.strip_prefix(PREFIX) else {
            return HttpResponse::json(StatusCode::NOT_FOUND, "{}");
        };
        let received = state.now();
        let method = path.trim_matches('/').to_owned();
        let (id, outcome) = self.rest_call(state, request, method);
        let times = (received, state.now());
        match outcome {
            Ok(reply) => {
                self.publish_events(state, &reply.events);
                let body = answer(id.as_deref(), Ok(&reply.result), times);
                HttpResponse::json(StatusCode::OK, body).with_ack(reply.ack)
            }
            Err(error) => {
                let status = match error.code {
                    10028 => StatusCode::TOO_MANY_REQUESTS,
                    _ => StatusCode::BAD_REQUEST,
                };
                let body = answer(id.as_deref(), Err(&error), times);
                HttpResponse::json(status, body).with_ack(error.ack)
            }
        }
    }

    fn rest_call(
        &mut self,
        state: &mut VenueState,
        request: &HttpRequest,
        path: String,
    ) -> (Option<Box<RawValue>>, Result<Reply, RpcError>) {
        let (id, method, params) = match request.method {
            Method::GET => (None, path, Ok(Params::from_query(&request.query))),
            Method::POST => match Request::parse(&request.body) {
                Ok(posted) if path.is_empty() || posted.method == path => {
                    (posted.id, posted.method, posted.params)
                }
                Ok(posted) => (posted.id, path, Err(invalid_request())),
                Err(error) => (None, path, Err(error)),
            },
            _ => (None, path, Err(invalid_request())),
        };
        let outcome = params.and_then(|params| {
            let header = self.header(state, request)?;
            let method = method.as_str();
            self.call(state, &Call { connection: None, method, params: &params, header })
        });
        (id, outcome)
    }

    /// What the `Authorization` header allows.
    fn header(&self, state: &VenueState, request: &HttpRequest) -> Result<Option<Grant>, RpcError> {
        let header = request.header("authorization");
        if header.is_empty() {
            return Ok(None);
        }
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => {
                let grant = self.tokens.grant(value.trim(), state.now());
                grant.map(Some).ok_or_else(|| unauthorized("invalid_token"))
            }
            "basic" => {
                let own = &state.credentials;
                let expected = format!("{}:{}", own.api_key, own.api_secret);
                if STANDARD.decode(value.trim()).is_ok_and(|sent| sent == expected.as_bytes()) {
                    Ok(Some(Grant::of_key(state.now())))
                } else {
                    Err(invalid_credentials())
                }
            }
            "deri-hmac-sha256" => {
                check_header(state, request, value)?;
                Ok(Some(Grant::of_key(state.now())))
            }
            _ => Err(unauthorized("unknown_authorization")),
        }
    }
}

fn check_header(state: &VenueState, request: &HttpRequest, value: &str) -> Result<(), RpcError> {
    let field = |name: &str| {
        let fields = value.split(',').filter_map(|field| field.trim().split_once('='));
        fields.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    let (Some(id), Some(timestamp), Some(signature), Some(nonce)) =
        (field("id"), field("ts"), field("sig"), field("nonce"))
    else {
        return Err(unauthorized("id, ts, sig and nonce must be given"));
    };
    let own = &state.credentials;
    if id != own.api_key {
        return Err(invalid_credentials());
    }
    check_age(state, timestamp)?;
    let target = if request.query.is_empty() {
        request.path.clone()
    } else {
        format!("{}?{}", request.path, request.query)
    };
    let method = request.method.as_str();
    let payload = sign::http_payload((timestamp, nonce), method, &target, &request.body);
    if sign::matches(&own.api_secret, &payload, signature) {
        Ok(())
    } else {
        Err(unauthorized("invalid_signature"))
    }
}
