//! `subscribe` and `unsubscribe`: one answer per symbol, then the snapshot.

use jiff::Timestamp;
use serde::Serialize;

use super::Kraken;
use super::balances;
use super::executions::{self, Detail, Event};
use super::market::{self, Tick};
use super::messages::{Asked, HEARTBEAT, Kind, channel_data};
use super::request::Params;
use super::session::{BookSubscription, ExecutionsSubscription, Trigger};
use crate::engine::Order;
use crate::instrument::InstrumentId;
use crate::protocol::ConnectionId;
use crate::venue::state::VenueState;

const DEPTHS: [usize; 5] = [10, 25, 100, 500, 1000];

/// How many trades or fills a snapshot shows.
pub(crate) const SNAPSHOT_TRADES: usize = 50;

/// What a successful answer says; clients send it back as the parameters of their next
/// subscription, so it holds nothing else.
#[derive(Serialize, Default)]
struct Accepted<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_trigger: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_orders: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_trades: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_status: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratecounter: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxratecount: Option<u32>,
}

/// One connection's request.
pub(crate) struct Call<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) asked: &'a Asked,
    pub(crate) params: &'a Params,
}

impl Kraken {
    /// Answers `subscribe`.
    pub(crate) fn subscribe(&mut self, state: &mut VenueState, call: &Call<'_>) {
        match call.params.text("channel").as_deref() {
            Some(channel @ ("ticker" | "trade" | "book")) => {
                for symbol in symbols(state, call) {
                    self.subscribe_symbol(state, call, channel, &symbol);
                }
            }
            Some("instrument") => self.subscribe_instruments(state, call),
            Some("executions") => self.subscribe_executions(state, call),
            Some("balances") => self.subscribe_balances(state, call),
            _ => refuse(state, call, "Subscription name invalid", None),
        }
        self.refresh_heartbeat(state, call.connection);
    }

    /// Answers `unsubscribe`.
    pub(crate) fn unsubscribe(&mut self, state: &mut VenueState, call: &Call<'_>) {
        match call.params.text("channel").as_deref() {
            Some(channel @ ("ticker" | "trade" | "book")) => {
                for symbol in symbols(state, call) {
                    self.unsubscribe_symbol(state, call, channel, &symbol);
                }
            }
            Some(channel @ ("instrument" | "executions" | "balances")) => {
                self.unsubscribe_channel(state, call, channel);
            }
            _ => refuse(state, call, "Subscription name invalid", None),
        }
        self.refresh_heartbeat(state, call.connection);
    }

    fn subscribe_symbol(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        channel: &str,
        symbol: &str,
    ) {
        let Some(id) = state.instrument(symbol) else {
            let error = format!("Currency pair not supported {symbol}");
            return refuse(state, call, &error, Some(symbol));
        };
        let outcome = match channel {
            "ticker" => self.subscribe_ticker(state, call, id),
            "trade" => self.subscribe_trades(state, call, id),
            _ => self.subscribe_book(state, call, id),
        };
        if let Err(error) = outcome {
            refuse(state, call, error, Some(symbol));
        }
    }

    fn subscribe_ticker(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        id: InstrumentId,
    ) -> Result<(), &'static str> {
        let trigger = Trigger::parse(call.params.text("event_trigger").as_deref())
            .ok_or("EGeneral:Invalid arguments:event_trigger")?;
        let session = self.session(call.connection);
        if session.tickers.contains_key(&id) {
            return Err("Already subscribed");
        }
        session.tickers.insert(id, trigger);
        let snapshot = call.params.boolean("snapshot").unwrap_or(true);
        let symbol = state.engine.instruments()[id].symbol.clone();
        let accepted = Accepted {
            channel: "ticker",
            symbol: Some(&symbol),
            event_trigger: Some(trigger.as_str()),
            snapshot: Some(snapshot),
            ..Accepted::default()
        };
        accept(state, call, accepted);
        if snapshot {
            let tick = Tick::now(&state.engine, id, state.now());
            let text = market::ticker(&state.engine, id, Kind::Snapshot, tick);
            state.send(call.connection, text);
        }
        Ok(())
    }

    fn subscribe_trades(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        id: InstrumentId,
    ) -> Result<(), &'static str> {
        if !self.session(call.connection).trades.insert(id) {
            return Err("Already subscribed");
        }
        let snapshot = call.params.boolean("snapshot").unwrap_or(false);
        let instrument = state.engine.instruments()[id].clone();
        let accepted = Accepted {
            channel: "trade",
            symbol: Some(&instrument.symbol),
            snapshot: Some(snapshot),
            ..Accepted::default()
        };
        accept(state, call, accepted);
        if snapshot {
            let recent = self.recent_trades.get(&id).into_iter().flatten();
            let text = market::trades(&instrument, recent, Kind::Snapshot);
            state.send(call.connection, text);
        }
        Ok(())
    }

    fn subscribe_book(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        id: InstrumentId,
    ) -> Result<(), &'static str> {
        let depth = depth(call.params)?;
        if self.session(call.connection).books.contains_key(&id) {
            return Err("Already subscribed");
        }
        let snapshot = call.params.boolean("snapshot").unwrap_or(true);
        let instrument = state.engine.instruments()[id].clone();
        let accepted = Accepted {
            channel: "book",
            symbol: Some(&instrument.symbol),
            depth: Some(depth),
            snapshot: Some(snapshot),
            ..Accepted::default()
        };
        accept(state, call, accepted);
        let shown = market::sides(state.engine.book(id), depth);
        if snapshot {
            let now = state.now();
            let text = market::book_message(&instrument, Kind::Snapshot, &shown, &shown, now);
            state.send(call.connection, text);
        }
        self.session(call.connection).books.insert(id, BookSubscription { depth, shown });
        Ok(())
    }

    fn subscribe_instruments(&mut self, state: &mut VenueState, call: &Call<'_>) {
        self.session(call.connection).instruments = true;
        let snapshot = call.params.boolean("snapshot").unwrap_or(true);
        let accepted =
            Accepted { channel: "instrument", snapshot: Some(snapshot), ..Accepted::default() };
        accept(state, call, accepted);
        if snapshot {
            let status = super::status_text(state.status);
            let text = market::instruments(state.engine.instruments(), status, Kind::Snapshot);
            state.send(call.connection, text);
        }
    }

    fn subscribe_executions(&mut self, state: &mut VenueState, call: &Call<'_>) {
        let Some(token) = self.checked_token(state, call) else { return };
        if self.session(call.connection).executions.is_some() {
            return refuse(state, call, "Already subscribed", None);
        }
        let flag = |key, default| call.params.boolean(key).unwrap_or(default);
        let (snap_orders, snap_trades) = (flag("snap_orders", true), flag("snap_trades", false));
        let subscription = ExecutionsSubscription {
            sequence: 0,
            order_status: flag("order_status", true),
            rate_counter: flag("ratecounter", false),
        };
        let accepted = Accepted {
            channel: "executions",
            snap_orders: Some(snap_orders),
            snap_trades: Some(snap_trades),
            order_status: Some(subscription.order_status),
            ratecounter: Some(subscription.rate_counter),
            maxratecount: Some(self.rate.tier().threshold()),
            ..Accepted::default()
        };
        accept(state, call, accepted);
        self.session(call.connection).executions = Some(subscription);
        self.tokens.subscribed(&token, call.connection);
        if snap_orders {
            self.send_order_snapshot(state, call.connection);
        }
        if snap_trades {
            self.send_fill_snapshot(state, call.connection);
        }
    }

    fn send_order_snapshot(&mut self, state: &mut VenueState, connection: ConnectionId) {
        let sequence = self.next_sequence(connection);
        let reports: Vec<_> = state
            .engine
            .open_orders()
            .map(|order| {
                executions::report(order, &Event::Snapshot, order.updated, Detail::default())
            })
            .collect();
        let text = channel_data("executions", Kind::Snapshot, reports, sequence);
        state.send(connection, text);
    }

    fn send_fill_snapshot(&mut self, state: &mut VenueState, connection: ConnectionId) {
        let engine = &state.engine;
        let mut fills: Vec<(Order, Event, Timestamp)> = engine
            .fills()
            .rev()
            .take(SNAPSHOT_TRADES)
            .filter_map(|fill| {
                let order = engine.order(fill.order_id)?.clone();
                Some((order, Event::Trade(fill.clone()), fill.time))
            })
            .collect();
        fills.reverse();
        if fills.is_empty() {
            return;
        }
        let reports: Vec<_> = fills
            .iter()
            .map(|(order, event, at)| executions::report(order, event, *at, Detail::default()))
            .collect();
        let sequence = self.next_sequence(connection);
        let text = channel_data("executions", Kind::Snapshot, reports, sequence);
        state.send(connection, text);
    }

    fn next_sequence(&mut self, connection: ConnectionId) -> Option<u64> {
        self.session(connection).executions.as_mut().map(|subscription| {
            subscription.sequence += 1;
            subscription.sequence
        })
    }

    fn subscribe_balances(&mut self, state: &mut VenueState, call: &Call<'_>) {
        let Some(token) = self.checked_token(state, call) else { return };
        if self.session(call.connection).balances.is_some() {
            return refuse(state, call, "Already subscribed", None);
        }
        let snapshot = call.params.boolean("snapshot").unwrap_or(true);
        let accepted =
            Accepted { channel: "balances", snapshot: Some(snapshot), ..Accepted::default() };
        accept(state, call, accepted);
        self.session(call.connection).balances = Some(u64::from(snapshot));
        self.tokens.subscribed(&token, call.connection);
        if snapshot {
            let text = balances::snapshot(state.engine.account(), 1);
            state.send(call.connection, text);
        }
    }

    fn unsubscribe_symbol(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        channel: &str,
        symbol: &str,
    ) {
        let mut accepted = Accepted { channel, symbol: Some(symbol), ..Accepted::default() };
        let id = state.instrument(symbol);
        let session = self.session(call.connection);
        let was_subscribed = id.is_some_and(|id| match channel {
            "ticker" => {
                let trigger = Trigger::parse(call.params.text("event_trigger").as_deref());
                accepted.event_trigger = trigger.map(Trigger::as_str);
                session.tickers.get(&id).copied() == trigger
                    && session.tickers.remove(&id).is_some()
            }
            "trade" => session.trades.remove(&id),
            _ => {
                let depth = depth(call.params).ok();
                accepted.depth = depth;
                session.books.get(&id).map(|book| book.depth) == depth
                    && session.books.remove(&id).is_some()
            }
        });
        if was_subscribed {
            accept(state, call, accepted);
        } else {
            refuse_unsubscribe(state, call, Some(symbol));
        }
    }

    fn unsubscribe_channel(&mut self, state: &mut VenueState, call: &Call<'_>, channel: &str) {
        if channel != "instrument" && self.checked_token(state, call).is_none() {
            return;
        }
        let session = self.session(call.connection);
        let was_subscribed = match channel {
            "instrument" => std::mem::take(&mut session.instruments),
            "executions" => session.executions.take().is_some(),
            _ => session.balances.take().is_some(),
        };
        if !session.is_private() {
            self.tokens.unsubscribed(call.connection);
        }
        if was_subscribed {
            accept(state, call, Accepted { channel, ..Accepted::default() });
        } else {
            refuse_unsubscribe(state, call, None);
        }
    }

    fn refresh_heartbeat(&mut self, state: &mut VenueState, connection: ConnectionId) {
        let is_subscribed = self.session(connection).is_subscribed();
        state.set_heartbeat(connection, is_subscribed.then(|| HEARTBEAT.into()));
    }
}

/// The symbols asked for; without any the refusal is sent.
fn symbols(state: &mut VenueState, call: &Call<'_>) -> Vec<String> {
    let symbols = call.params.texts("symbol").unwrap_or_default();
    if symbols.is_empty() {
        refuse(state, call, "EGeneral:Invalid arguments:symbol", None);
    }
    symbols
}

/// The venue answers this refusal with the method `subscribe`.
fn refuse_unsubscribe(state: &mut VenueState, call: &Call<'_>, symbol: Option<&str>) {
    let asked = Asked { method: "subscribe".into(), ..call.asked.clone() };
    let text = asked.failure("Subscription Not Found", symbol, state.now());
    state.send(call.connection, text);
}

fn depth(params: &Params) -> Result<usize, &'static str> {
    if !params.has("depth") {
        return Ok(DEPTHS[0]);
    }
    let depth = params.integer("depth").ok_or("Subscription book depth must be an integer")?;
    usize::try_from(depth)
        .ok()
        .filter(|depth| DEPTHS.contains(depth))
        .ok_or("Subscription depth not supported")
}

fn accept(state: &mut VenueState, call: &Call<'_>, accepted: Accepted<'_>) {
    let text = call.asked.success(accepted, state.now());
    state.send(call.connection, text);
}

/// Sends a refusal.
pub(crate) fn refuse(state: &mut VenueState, call: &Call<'_>, error: &str, symbol: Option<&str>) {
    let text = call.asked.failure(error, symbol, state.now());
    state.send(call.connection, text);
}
