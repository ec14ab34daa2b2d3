//! Cancel on disconnect, and the logout that does not trigger it.

use serde::Serialize;

use super::dispatch::socket;
use super::protocol::Deribit;
use super::rpc::{Call, Reply, RpcError};
use crate::engine::{EngineEvent, Order};
use crate::protocol::ConnectionId;
use crate::venue::state::VenueState;

const CANCEL_ON_DISCONNECT_FAILED: i64 = 10_049;

#[derive(Serialize)]
struct State {
    scope: &'static str,
    enabled: bool,
}

/// Whether a call is about the whole account and not its connection.
fn is_account(call: &Call<'_>) -> Result<bool, RpcError> {
    match call.params.text("scope").as_deref() {
        None | Some("connection") => Ok(false),
        Some("account") => Ok(true),
        Some(_) => Err(RpcError::param("scope", "must be connection or account")),
    }
}

impl Deribit {
    /// Answers `enable_` and `disable_cancel_on_disconnect`. For the account it is how new
    /// connections start; connections that are open stay as they are.
    pub(crate) fn set_cancel_on_disconnect(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        enabled: bool,
    ) -> Result<Reply, RpcError> {
        state.log_request(call.connection, call.method, None);
        let ack = state
            .set_switch(call.connection)
            .map_err(|text| RpcError::new(CANCEL_ON_DISCONNECT_FAILED, text))?;
        if is_account(call)? {
            self.cancel_on_disconnect = enabled;
        } else {
            self.session(socket(call)?).cancel_on_disconnect = enabled;
        }
        Ok(Reply { ack, ..Reply::new(&"ok") })
    }

    /// Answers `get_cancel_on_disconnect`.
    pub(crate) fn cancel_on_disconnect_state(
        &mut self,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let state = if is_account(call)? {
            State { scope: "account", enabled: self.cancel_on_disconnect }
        } else {
            let enabled = self.session(socket(call)?).cancel_on_disconnect;
            State { scope: "connection", enabled }
        };
        Ok(Reply::new(&state))
    }

    /// Answers `logout`: the socket is closed and its orders stay.
    pub(crate) fn logout(&mut self, call: &Call<'_>) -> Result<Reply, RpcError> {
        let connection = socket(call)?;
        let session = self.session(connection);
        session.cancel_on_disconnect = false;
        session.heartbeat = None;
        session.grant = None;
        if call.params.text("invalidate_token").as_deref() != Some("false") {
            self.tokens.closed(connection);
        }
        Ok(Reply { logout: true, ..Reply::new(&()) })
    }

    /// A connection ended: cancels the orders that it placed, if that was asked for. Does so
    /// once.
    pub(crate) fn disconnected(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
    ) -> Vec<EngineEvent> {
        let session = self.session(connection);
        if !std::mem::take(&mut session.cancel_on_disconnect) {
            return Vec::new();
        }
        let own: Vec<Order> = state
            .engine
            .open_orders()
            .filter(|order| self.placed_by(order.id, connection))
            .cloned()
            .collect();
        let mut events = Vec::new();
        for order in own {
            self.extra_mut(state, &order).cancel_reason = Some("cancel_on_disconnect");
            let result = state.cancel(None, Some(order.id), &order.client_id, None);
            events.extend(result.events);
        }
        events
    }
}
