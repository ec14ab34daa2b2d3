//! The methods, what they need and what they cost.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::auth::{Access, Grant};
use super::credits::Cost;
use super::protocol::Deribit;
use super::rpc::{Call, Reply, RpcError};
use super::session::Heartbeat;
use crate::engine::Side;
use crate::protocol::ConnectionId;
use crate::venue::state::VenueState;

const VERSION: &str = "1.2.26";
/// Shortest interval of heartbeats.
const HEARTBEAT_SECONDS_MIN: i64 = 10;

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

fn cost(method: &str) -> Cost {
    match method {
        "public/test" | "public/auth" | "private/logout" => Cost::Free,
        "public/subscribe" | "private/subscribe" => Cost::Subscribing,
        "private/buy"
        | "private/sell"
        | "private/edit"
        | "private/edit_by_label"
        | "private/cancel"
        | "private/cancel_by_label" => Cost::Matching,
        _ if method.starts_with("private/cancel_all") => Cost::CancelAll,
        _ => Cost::Reading,
    }
}

/// Whether the scope of a login holds what a method needs.
fn is_allowed(method: &str, grant: &Grant) -> bool {
    let name = method.trim_start_matches("private/");
    match name {
        "buy" | "sell" | "edit" | "edit_by_label" => grant.scope.trade == Access::Write,
        "enable_cancel_on_disconnect" | "disable_cancel_on_disconnect" => {
            grant.scope.account == Access::Write
        }
        "logout" | "subscribe" | "unsubscribe" | "unsubscribe_all" => true,
        _ if name.starts_with("cancel") => grant.scope.trade == Access::Write,
        _ if name.starts_with("get_account") || name.contains("cancel_on_disconnect") => {
            grant.scope.account >= Access::Read
        }
        _ => grant.scope.trade >= Access::Read,
    }
}

impl Deribit {
    /// Answers a call.
    pub(crate) fn call(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let private = call.method.starts_with("private/");
        let grant = if private { Some(self.authorised(state, call)?) } else { None };
        self.charge(state, call)?;
        if grant.is_some_and(|grant| !is_allowed(call.method, &grant)) {
            return Err(RpcError::new(13021, "forbidden"));
        }
        if private { self.call_private(state, call) } else { self.call_public(state, call) }
    }

    fn charge(&mut self, state: &VenueState, call: &Call<'_>) -> Result<(), RpcError> {
        let known = call.header.is_some()
            || call.connection.is_some_and(|connection| self.is_logged_in(state, connection));
        let credits = if known { &mut self.account } else { &mut self.visitors };
        let enforced = state.config.limits.enforced();
        if enforced && !credits.draw(cost(call.method), state.now()) {
            return Err(RpcError::too_many_requests());
        }
        Ok(())
    }

    fn call_public(&mut self, state: &mut VenueState, call: &Call<'_>) -> Result<Reply, RpcError> {
        match call.method {
            "public/auth" => self.authenticate(state, call),
            "public/hello" => {
                call.params.required("client_name")?;
                call.params.required("client_version")?;
                Ok(Reply::new(&Version { version: VERSION }))
            }
            "public/test" => {
                if let Some(connection) = call.connection
                    && let Some(beat) = &mut self.session(connection).heartbeat
                {
                    beat.unanswered = false;
                }
                Ok(Reply::new(&Version { version: VERSION }))
            }
            "public/set_heartbeat" => self.set_heartbeat(state, call),
            "public/disable_heartbeat" => {
                self.session(socket(call)?).heartbeat = None;
                Ok(Reply::new(&"ok"))
            }
            "public/subscribe" => self.subscribe(state, call, false),
            "public/unsubscribe" => self.unsubscribe(state, call, false),
            "public/unsubscribe_all" => self.unsubscribe_all(call, false),
            _ => self.list(state, call),
        }
    }

    fn call_private(&mut self, state: &mut VenueState, call: &Call<'_>) -> Result<Reply, RpcError> {
        match call.method.trim_start_matches("private/") {
            "buy" => self.place(state, call, Side::Buy),
            "sell" => self.place(state, call, Side::Sell),
            "edit" => self.edit(state, call),
            "edit_by_label" => self.edit_by_label(state, call),
            "cancel" => self.cancel(state, call),
            "cancel_by_label"
            | "cancel_all"
            | "cancel_all_by_instrument"
            | "cancel_all_by_currency"
            | "cancel_all_by_kind_or_type" => self.cancel_many(state, call),
            "subscribe" => self.subscribe(state, call, true),
            "unsubscribe" => self.unsubscribe(state, call, true),
            "unsubscribe_all" => self.unsubscribe_all(call, true),
            "enable_cancel_on_disconnect" => self.set_cancel_on_disconnect(state, call, true),
            "disable_cancel_on_disconnect" => self.set_cancel_on_disconnect(state, call, false),
            "get_cancel_on_disconnect" => self.cancel_on_disconnect_state(call),
            "logout" => self.logout(call),
            _ => self.query(state, call),
        }
    }

    fn set_heartbeat(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let connection = socket(call)?;
        let seconds = call.params.integer("interval")?;
        let Some(seconds) = seconds.filter(|seconds| *seconds >= HEARTBEAT_SECONDS_MIN) else {
            return Err(RpcError::param("interval", "must be at least 10"));
        };
        let asked = Duration::from_secs(seconds.unsigned_abs());
        let every = self.heartbeat.unwrap_or(asked);
        let next = Instant::now() + every;
        self.session(connection).heartbeat = Some(Heartbeat { every, next, unanswered: false });
        state.reschedule();
        Ok(Reply::new(&"ok"))
    }
}

/// The connection of a call that makes no sense over HTTP.
pub(crate) fn socket(call: &Call<'_>) -> Result<ConnectionId, RpcError> {
    call.connection.ok_or_else(|| RpcError::new(10030, "must_be_websocket_request"))
}

pub(crate) fn method_not_found() -> RpcError {
    RpcError::new(-32601, "Method not found")
}
