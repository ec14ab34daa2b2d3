//! The HTTP API.

use http::StatusCode;

use super::Binance;
use super::call::Call;
use super::messages::TimeUnit;
use super::orders::Caller;
use super::params::{ApiError, Params};
use super::sign;
use crate::protocol::{HttpRequest, HttpResponse};
use crate::venue::state::VenueState;

impl Binance {
    pub(super) fn rest(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse {
        if let Some(body) = odd(&request.path) {
            return HttpResponse::json(StatusCode::OK, body);
        }
        let Some(call) = Call::by_path(request.method.as_str(), &request.path) else {
            let error = ApiError::new(-1000, format!("Unknown path: {}", request.path));
            return failure(&error.with_status(404));
        };
        let params = Params::from_form(request.params());
        if call.is_signed()
            && let Err(error) = authorize(state, request, &params)
        {
            return failure(&error);
        }
        if call.is_order_entry() {
            let method = format!("{} {}", request.method, request.path);
            state.log_request(None, &method, call.named_order(&params));
        }
        let caller = Caller { connection: None, unit: TimeUnit::Millisecond };
        let answer = self.call(state, call, caller, &params);
        self.publish_events(state, &answer.before);
        self.publish_events(state, &answer.events);
        match answer.result {
            Ok(body) => HttpResponse::json(StatusCode::OK, body).with_ack(answer.ack),
            Err(error) => failure(&error).with_ack(answer.ack),
        }
    }
}

fn failure(error: &ApiError) -> HttpResponse {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    HttpResponse::json(status, error.json())
}

/// Signed is the query followed by the body, as sent, without the signature.
fn authorize(state: &VenueState, request: &HttpRequest, params: &Params) -> Result<(), ApiError> {
    sign::check_key(&state.credentials, request.header("x-mbx-apikey"))?;
    let signature = params.required("signature")?;
    let unsigned = |text: &str| {
        let kept = text.split('&').filter(|part| !part.starts_with("signature="));
        kept.collect::<Vec<_>>().join("&")
    };
    let payload = format!("{}{}", unsigned(&request.query), unsigned(&request.body));
    sign::check_signature(&state.credentials, &payload, signature)?;
    sign::check_time(params, state.now())
}

/// Paths of other products that clients ask before they trade spot.
fn odd(path: &str) -> Option<&'static str> {
    Some(match path {
        "/fapi/v1/exchangeInfo" | "/dapi/v1/exchangeInfo" | "/eapi/v1/exchangeInfo" => {
            r#"{"symbols":[]}"#
        }
        "/sapi/v1/capital/config/getall"
        | "/sapi/v1/margin/allPairs"
        | "/sapi/v1/margin/isolated/allPairs" => "[]",
        _ => return None,
    })
}
