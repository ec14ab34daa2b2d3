//! What runs at one moment, for a person who wants to know why something hangs.

use std::fmt;

use serde::Serialize;

use super::{Failure, Phase};
use crate::types::{ExchangeName, Order};

/// One scope of the tree of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopeSnapshot {
    /// Its path, for example `gateway/kraken/trading`.
    pub scope: String,
    /// The phase that a shutdown ends it in.
    pub stops_in: Phase,
    /// Tasks that run in it, without those of the scopes below.
    pub tasks: usize,
    /// Whether it has been asked to end.
    pub cancelled: bool,
}

/// The state of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionState {
    /// Which exchange.
    pub exchange: ExchangeName,
    /// `market` or `trading`.
    pub connection: String,
    /// Where it stands, with the reason where there is one.
    pub status: String,
    /// Frames received since start.
    pub frames: u64,
}

/// The orders of one exchange that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenOrders {
    /// Which exchange.
    pub exchange: ExchangeName,
    /// Each of them; absent if something that hangs holds them, and then each may be open.
    pub orders: Option<Vec<Order>>,
}

/// The whole gateway at one moment: its tasks, its connections, and its open orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// How far its shutdown is.
    pub phase: Phase,
    /// The scopes of its tasks, each before those below it; empty if something that hangs holds
    /// them.
    pub scopes: Vec<ScopeSnapshot>,
    /// Its connections; empty if something that hangs holds them.
    pub connections: Vec<ConnectionState>,
    /// The open orders of each exchange.
    pub orders: Vec<OpenOrders>,
    /// What has failed so far.
    pub failures: Vec<Failure>,
}

impl Tree {
    /// Logs each part at debug level, with `target: "exchange_gateway::tree"`.
    pub fn log(&self) {
        tracing::debug!(target: "exchange_gateway::tree", phase = %self.phase, "what runs");
        for scope in &self.scopes {
            let ScopeSnapshot { scope, stops_in, tasks, cancelled } = scope;
            tracing::debug!(target: "exchange_gateway::tree", scope, %stops_in, tasks, cancelled, "scope");
        }
        for connection in &self.connections {
            let ConnectionState { exchange, connection, status, frames } = connection;
            tracing::debug!(target: "exchange_gateway::tree", %exchange, connection, status, frames, "connection");
        }
        for OpenOrders { exchange, orders } in &self.orders {
            let Some(orders) = orders else {
                tracing::debug!(target: "exchange_gateway::tree", %exchange, "orders cannot be listed");
                continue;
            };
            for order in orders {
                let (order, instrument, status) =
                    (order.client_id, order.request.instrument, order.status);
                tracing::debug!(target: "exchange_gateway::tree", %exchange, %order, %instrument, %status, "open order");
            }
        }
        for Failure { scope, reason } in &self.failures {
            tracing::debug!(target: "exchange_gateway::tree", scope, reason, "failure");
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "What runs in phase {}", self.phase)?;
        writeln!(f, "scopes")?;
        for scope in &self.scopes {
            let depth = scope.scope.matches('/').count();
            let name = scope.scope.rsplit('/').next().unwrap_or(&scope.scope);
            let name = format!("{:depth$}{name}", "", depth = depth * 2);
            let ended = if scope.cancelled { ", asked to end" } else { "" };
            let (tasks, stops_in) = (scope.tasks, scope.stops_in);
            let word = if tasks == 1 { "task," } else { "tasks," };
            writeln!(f, "  {name:<24} {tasks:>3} {word:<6} ends in {stops_in}{ended}")?;
        }
        if self.scopes.is_empty() {
            writeln!(f, "  not known: something that hangs holds them")?;
        }
        writeln!(f, "connections")?;
        for connection in &self.connections {
            let name = format!("{}/{}", connection.exchange, connection.connection);
            let ConnectionState { status, frames, .. } = connection;
            writeln!(f, "  {name:<24} {status}, {frames} frames received")?;
        }
        writeln!(f, "open orders")?;
        for OpenOrders { exchange, orders } in &self.orders {
            let Some(orders) = orders else {
                writeln!(f, "  {exchange}: not known, something that hangs holds them")?;
                continue;
            };
            for order in orders {
                let (filled, quantity) = (order.filled.0.normalize(), order.request.quantity);
                let (instrument, status) = (order.request.instrument, order.status);
                let id = order.client_id;
                writeln!(f, "  {instrument:<24} {id}  {status}, filled {filled} of {quantity}")?;
            }
        }
        if self.orders.iter().all(|of| of.orders.as_ref().is_some_and(Vec::is_empty)) {
            writeln!(f, "  none")?;
        }
        if !self.failures.is_empty() {
            writeln!(f, "failures")?;
            for failure in &self.failures {
                writeln!(f, "  {}: {}", failure.scope, failure.reason)?;
            }
        }
        Ok(())
    }
}
