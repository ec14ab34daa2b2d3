//! The REST calls that clients of the WebSocket need: pairs, tokens, and the account's orders.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::Kraken;
use super::executions::client_id;
use super::ids;
use super::orders::{
    UNAVAILABLE, UNKNOWN_ORDER, cancel_answer, cancel_each, find_order,
    open_orders as open_order_ids,
};
use super::pairs::{asset_id, asset_pairs, assets};
use super::rest_messages::{self, RestOrder, RestTrade, failure, success};
use super::sign::signature_matches;
use super::status_text;
use super::token::TOKEN_LIFETIME;
use crate::engine::{Fill, Order, OrderId};
use crate::protocol::{HttpRequest, HttpResponse, SystemStatus};
use crate::venue::state::{Ack, VenueState};

/// Entries of one page of a listing, as the exchange pages them.
const PAGE: usize = 50;

/// Executions that one `QueryTrades` may name.
const MAX_TRADES_NAMED: usize = 20;

type Params = BTreeMap<String, String>;
type Answer = Result<String, String>;

impl Kraken {
    /// Answers a REST request. The venue answers refusals with HTTP 200 and an `error` list.
    pub(crate) fn rest(&mut self, state: &mut VenueState, request: &HttpRequest) -> HttpResponse {
        let mut ack = Ack::Send;
        let answer = match request.path.strip_prefix("/0/") {
            Some(path) if path.starts_with("public/") => {
                Self::public(state, &path["public/".len()..], &request.params())
            }
            Some(path) if path.starts_with("private/") => {
                self.private(state, &path["private/".len()..], request, &mut ack)
            }
            _ => {
                let body = failure("EGeneral:Unknown method");
                return HttpResponse::json(StatusCode::NOT_FOUND, body);
            }
        };
        let body = answer.unwrap_or_else(|error| failure(&error));
        HttpResponse::json(StatusCode::OK, body).with_ack(ack)
    }

    fn public(state: &VenueState, method: &str, params: &Params) -> Answer {
        let engine = &state.engine;
        let instruments = engine.instruments();
        match method {
            "Time" => {
                let now = state.now();
                let text = now.strftime("%a, %d %b %y %H:%M:%S +0000").to_string();
                Ok(success(&json!({ "unixtime": now.as_second(), "rfc1123": text })))
            }
            "SystemStatus" => {
                let status = status_text(state.status);
                let timestamp = super::time::seconds(state.now());
                Ok(success(&json!({ "status": status, "timestamp": timestamp })))
            }
            "Assets" => Ok(success(&assets(instruments.iter()))),
            "AssetPairs" => {
                let asked = params.get("pair").map(String::as_str);
                asset_pairs(instruments, asked, status_text(state.status))
                    .map(|pairs| success(&pairs))
                    .map_err(str::to_owned)
            }
            _ => Err("EGeneral:Unknown method".into()),
        }
    }

    fn private(
        &mut self,
        state: &mut VenueState,
        method: &str,
        request: &HttpRequest,
        ack: &mut Ack,
    ) -> Answer {
        let params = request.params();
        self.check_signature(state, request, &params)?;
        match method {
            "GetWebSocketsToken" => {
                let token = self.issue_token(state);
                Ok(success(&json!({ "token": token, "expires": TOKEN_LIFETIME.as_secs() })))
            }
            "Balance" => Ok(success(&balances(state))),
            "BalanceEx" => Ok(success(&balances_with_holds(state))),
            "OpenOrders" => Ok(success(&open_orders(state, &params))),
            "ClosedOrders" => Ok(success(&closed_orders(state, &params))),
            "QueryOrders" => query_orders(state, &params),
            "QueryTrades" => query_trades(state, &params),
            "TradesHistory" => Ok(success(&trades_history(state, &params))),
            "CancelOrder" => self.rest_cancel(state, &params, ack),
            "CancelAll" => {
                state.log_request(None, "CancelAll", None);
                if state.status == SystemStatus::Maintenance {
                    return Err(UNAVAILABLE.into());
                }
                let open = open_order_ids(state);
                Ok(self.rest_cancel_each(state, open, ack))
            }
            _ => Err("EGeneral:Unknown method".into()),
        }
    }

    fn check_signature(
        &mut self,
        state: &VenueState,
        request: &HttpRequest,
        params: &Params,
    ) -> Result<(), String> {
        if request.method != Method::POST {
            return Err("EGeneral:Invalid arguments".into());
        }
        let credentials = state.credentials.clone();
        if request.header("API-Key") != credentials.api_key {
            return Err("EAPI:Invalid key".into());
        }
        let nonce = params.get("nonce").map(String::as_str).unwrap_or_default();
        let secret = &credentials.api_secret;
        let (path, body) = (&request.path, request.body.as_bytes());
        if !signature_matches(secret, path, nonce, body, request.header("API-Sign")) {
            return Err("EAPI:Invalid signature".into());
        }
        // The venue wants a nonce that grows for each key. All clients share the mock's one key
        // and count in different units, so here it has to grow among those of its length.
        let Ok(number) = nonce.parse::<u64>() else { return Err("EAPI:Invalid nonce".into()) };
        let last = self.last_nonces.entry(nonce.len()).or_default();
        if number <= *last {
            return Err("EAPI:Invalid nonce".into());
        }
        *last = number;
        Ok(())
    }

    fn rest_cancel(&mut self, state: &mut VenueState, params: &Params, ack: &mut Ack) -> Answer {
        let name = params.get("txid").or_else(|| params.get("cl_ord_id"));
        state.log_request(None, "CancelOrder", name.map(String::as_str));
        if state.status == SystemStatus::Maintenance {
            return Err(UNAVAILABLE.into());
        }
        let name = name.ok_or("EGeneral:Invalid arguments:txid")?;
        if let Some(order) = find_order(state, name) {
            let id = Some(order.id);
            let result = state.cancel(None, id, name, None);
            *ack = result.ack;
            self.publish_events(state, &result.events);
            return cancel_answer(result.outcome).map(|_| success(&json!({ "count": 1 })));
        }
        let userref = name.parse::<i64>().ok();
        let tagged: Vec<OrderId> = state
            .engine
            .open_orders()
            .filter(|order| userref.is_some() && order.user_reference == userref)
            .map(|order| order.id)
            .collect();
        if tagged.is_empty() {
            return Err(UNKNOWN_ORDER.into());
        }
        Ok(self.rest_cancel_each(state, tagged, ack))
    }

    fn rest_cancel_each(
        &mut self,
        state: &mut VenueState,
        targets: Vec<OrderId>,
        ack: &mut Ack,
    ) -> String {
        let cancelled = cancel_each(state, None, targets);
        *ack = cancelled.ack;
        self.publish_events(state, &cancelled.events);
        success(&json!({ "count": cancelled.count }))
    }
}

fn balances(state: &VenueState) -> BTreeMap<String, String> {
    let account = state.engine.account();
    let entry = |(asset, amount): (&std::sync::Arc<str>, &crate::Balance)| {
        (asset_id(asset).to_owned(), (amount.free + amount.locked).to_string())
    };
    account.balances().iter().map(entry).collect()
}

fn balances_with_holds(state: &VenueState) -> BTreeMap<String, Value> {
    let account = state.engine.account();
    let entry = |(asset, amount): (&std::sync::Arc<str>, &crate::Balance)| {
        let total = (amount.free + amount.locked).to_string();
        let held = amount.locked.to_string();
        (asset_id(asset).to_owned(), json!({ "balance": total, "hold_trade": held }))
    };
    account.balances().iter().map(entry).collect()
}

/// The order, with the ids of its executions where the request asks for them.
fn rest_order(state: &VenueState, order: &Order, params: &Params) -> RestOrder {
    let engine = &state.engine;
    let fills: Vec<&Fill> = engine.fills().filter(|fill| fill.order_id == order.id).collect();
    let with_trades = params.get("trades").is_some_and(|wanted| wanted == "true");
    rest_messages::order(order, &engine.instruments()[order.instrument], &fills, with_trades)
}

/// Whether the order is one that the `cl_ord_id` and `userref` filters let through.
fn is_asked_for(order: &Order, params: &Params) -> bool {
    params.get("cl_ord_id").is_none_or(|id| client_id(order) == Some(id))
        && params
            .get("userref")
            .and_then(|userref| userref.parse::<i64>().ok())
            .is_none_or(|userref| order.user_reference == Some(userref))
}

#[derive(Serialize)]
struct OpenOrders {
    open: BTreeMap<String, RestOrder>,
}

fn open_orders(state: &VenueState, params: &Params) -> OpenOrders {
    let open = state
        .engine
        .open_orders()
        .filter(|order| is_asked_for(order, params))
        .map(|order| (ids::order_id(order.id), rest_order(state, order, params)))
        .collect();
    OpenOrders { open }
}

#[derive(Serialize)]
struct ClosedOrders {
    closed: BTreeMap<String, RestOrder>,
    count: usize,
}

fn closed_orders(state: &VenueState, params: &Params) -> ClosedOrders {
    let is_closed = |order: &&Order| !order.status.is_open() && is_asked_for(order, params);
    let closed: Vec<&Order> = state.engine.orders().rev().filter(is_closed).collect();
    let page = closed.iter().skip(offset(params)).take(PAGE);
    ClosedOrders {
        count: closed.len(),
        closed: page
            .map(|order| (ids::order_id(order.id), rest_order(state, order, params)))
            .collect(),
    }
}

fn offset(params: &Params) -> usize {
    params.get("ofs").and_then(|offset| offset.parse().ok()).unwrap_or(0)
}

fn query_orders(state: &VenueState, params: &Params) -> Answer {
    let names = params.get("txid").or_else(|| params.get("cl_ord_id"));
    let names = names.ok_or("EGeneral:Invalid arguments:txid")?;
    let mut found: BTreeMap<String, RestOrder> = BTreeMap::new();
    for name in names.split(',').map(str::trim) {
        let order = find_order(state, name).ok_or(UNKNOWN_ORDER)?;
        found.insert(ids::order_id(order.id), rest_order(state, order, params));
    }
    Ok(success(&found))
}

#[derive(Serialize)]
struct TradesHistory {
    trades: BTreeMap<String, RestTrade>,
    count: usize,
}

fn rest_trade(state: &VenueState, fill: &Fill) -> (String, RestTrade) {
    let engine = &state.engine;
    let kind = engine.order(fill.order_id).map_or(crate::OrderKind::Limit, |order| order.kind);
    let instrument = &engine.instruments()[fill.instrument];
    (ids::execution_id(fill.trade_id), rest_messages::trade(fill, kind, instrument))
}

fn trades_history(state: &VenueState, params: &Params) -> TradesHistory {
    let fills = state.engine.fills();
    let page = state.engine.fills().rev().skip(offset(params)).take(PAGE);
    TradesHistory {
        count: fills.count(),
        trades: page.map(|fill| rest_trade(state, fill)).collect(),
    }
}

/// The executions of these ids; what is refused for an unknown one is not documented.
fn query_trades(state: &VenueState, params: &Params) -> Answer {
    let names = params.get("txid").ok_or("EGeneral:Invalid arguments:txid")?;
    let names: BTreeSet<&str> = names.split(',').map(str::trim).collect();
    if names.len() > MAX_TRADES_NAMED {
        return Err("EGeneral:Invalid arguments:txid".into());
    }
    let asked_for = state.engine.fills().map(|fill| (ids::execution_id(fill.trade_id), fill));
    let found: BTreeMap<String, RestTrade> = asked_for
        .filter(|(id, _)| names.contains(id.as_str()))
        .map(|(_, fill)| rest_trade(state, fill))
        .collect();
    if found.len() < names.len() {
        return Err("EQuery:Unknown transaction".into());
    }
    Ok(success(&found))
}
