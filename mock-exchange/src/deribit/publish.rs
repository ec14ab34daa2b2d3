//! Engine events to channel messages.

use serde::Serialize;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::channel::{Interval, Topic};
use super::feed::{Change, printed};
use super::messages::{self, FillMessage, OrderMessage, notification};
use super::portfolio::{self, PositionMessage};
use super::protocol::Deribit;
use crate::engine::{EngineEvent, Fill, Order, OrderChange, OrderId};
use crate::instrument::InstrumentId;
use crate::protocol::{ConnectionId, SystemStatus};
use crate::venue::state::VenueState;

#[derive(Serialize)]
struct ChangesMessage {
    instrument_name: String,
    trades: Vec<FillMessage>,
    orders: Vec<OrderMessage>,
    positions: Vec<PositionMessage>,
}

#[derive(Serialize)]
struct PlatformState {
    maintenance: bool,
}

impl Deribit {
    /// Sends what the events mean to everyone who subscribed to it.
    ///
    /// The venue promises no order between channels, so makers get their fill before the change
    /// of the order, and takers after it.
    pub(crate) fn publish_events(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        self.tape.note(events);
        let mut taken: Vec<(Fill, Order)> = Vec::new();
        for event in events {
            match event {
                EngineEvent::Order { order, change } => {
                    let extra = self.extra_mut(state, order);
                    if let OrderChange::Canceled { .. } = change {
                        extra.cancel_reason.get_or_insert("user_request");
                    }
                    match change {
                        OrderChange::Trade(fill) if fill.maker => {
                            self.publish_fills(state, &[(fill.clone(), order.clone())]);
                        }
                        OrderChange::Trade(fill) => taken.push((fill.clone(), order.clone())),
                        _ => {}
                    }
                    self.publish_order(state, order);
                }
                EngineEvent::Trade(trade) => {
                    let trade = printed(&self.tape, trade);
                    for (name, channel) in &mut self.feed.channels {
                        let (text, timer) = channel.trade(name, &trade, &state.engine);
                        send(state, &channel.subscribers, text, timer);
                    }
                    self.publish_market(
                        state,
                        trade.trade.instrument,
                        Change::Trade,
                        trade.trade.time,
                    );
                }
                EngineEvent::Quote { instrument, quote, time, .. } => {
                    self.publish_market(state, *instrument, Change::Quote(quote), *time);
                }
                EngineEvent::Book { instrument, time, .. } => {
                    self.publish_market(state, *instrument, Change::Book, *time);
                }
                EngineEvent::Balances { assets, .. } => {
                    for asset in assets {
                        self.publish_portfolio(state, asset);
                    }
                }
            }
        }
        let mut orders: Vec<OrderId> = taken.iter().map(|(fill, _)| fill.order_id).collect();
        orders.dedup();
        for id in orders {
            let own: Vec<_> =
                taken.iter().filter(|(fill, _)| fill.order_id == id).cloned().collect();
            self.publish_fills(state, &own);
        }
        self.publish_changes(state, events);
    }

    fn publish_market(
        &mut self,
        state: &mut VenueState,
        id: InstrumentId,
        change: Change<'_>,
        time: jiff::Timestamp,
    ) {
        for (name, channel) in &mut self.feed.channels {
            let (text, timer) = channel.market(name, id, change, &state.engine, time);
            send(state, &channel.subscribers, text, timer);
        }
    }

    /// Sends what channels have gathered.
    pub(crate) fn flush(&mut self, state: &mut VenueState, now: Instant) {
        let time = state.now();
        for (name, channel) in &mut self.feed.channels {
            let text = channel.flush(name, &state.engine, (now, time));
            send(state, &channel.subscribers, text, false);
        }
    }

    fn publish_order(&mut self, state: &mut VenueState, order: &Order) {
        let instrument = state.instruments[order.instrument].clone();
        let message = messages::order(order, &instrument, &self.extra(order.id));
        for (name, channel) in &self.feed.channels {
            let Topic::UserOrders(selection, pause) = &channel.topic else { continue };
            if !selection.holds(order.instrument, &instrument) {
                continue;
            }
            let text = if *pause == Interval::Raw {
                notification(name, &message)
            } else {
                notification(name, [&message])
            };
            send_update(state, &channel.subscribers, order, text);
        }
    }

    /// Sends fills of one order in one message.
    fn publish_fills(&mut self, state: &mut VenueState, fills: &[(Fill, Order)]) {
        let Some((_, order)) = fills.first() else { return };
        let instrument = state.instruments[order.instrument].clone();
        let extra = self.extra(order.id);
        let engine = &state.engine;
        let trades: Vec<FillMessage> = fills
            .iter()
            .map(|(fill, after)| messages::fill(fill, after, &extra, engine, &self.tape))
            .collect();
        for (name, channel) in &self.feed.channels {
            let Topic::UserTrades(selection, _) = &channel.topic else { continue };
            if selection.holds(order.instrument, &instrument) {
                let text = notification(name, &trades);
                send_update(state, &channel.subscribers, order, text);
            }
        }
    }

    /// One message an instrument: what happened to its orders, trades and position.
    fn publish_changes(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        let listens = |topic: &Topic| matches!(topic, Topic::UserChanges(..));
        if !self.feed.channels.values().any(|channel| listens(&channel.topic)) {
            return;
        }
        for id in 0..state.instruments.len() {
            let mut last = None;
            let (mut orders, mut trades) = (Vec::new(), Vec::new());
            for event in events {
                let EngineEvent::Order { order, change } = event else { continue };
                if order.instrument != id {
                    continue;
                }
                let extra = self.extra(order.id);
                orders.push(messages::order(order, &state.instruments[id], &extra));
                if let OrderChange::Trade(fill) = change {
                    trades.push(messages::fill(fill, order, &extra, &state.engine, &self.tape));
                }
                last = Some(order);
            }
            let Some(order) = last else { continue };
            let positions = if trades.is_empty() {
                vec![]
            } else {
                vec![portfolio::position(&state.engine, id)]
            };
            let instrument_name = state.instruments[id].symbol.to_string();
            let message = ChangesMessage { instrument_name, trades, orders, positions };
            for (name, channel) in &self.feed.channels {
                let Topic::UserChanges(selection, _) = &channel.topic else { continue };
                if selection.holds(id, &state.instruments[id]) {
                    let text = notification(name, &message);
                    send_update(state, &channel.subscribers, order, text);
                }
            }
        }
    }

    fn publish_portfolio(&mut self, state: &mut VenueState, asset: &str) {
        for (name, channel) in &self.feed.channels {
            let Topic::Portfolio(currency) = &channel.topic else { continue };
            if currency.as_deref().is_none_or(|currency| currency == asset) {
                for text in portfolio::messages(state, name, Some(asset)) {
                    send(state, &channel.subscribers, Some(text), false);
                }
            }
        }
    }

    /// Tells of maintenance and of its end.
    pub(crate) fn publish_status(&mut self, state: &mut VenueState) {
        let maintenance = state.status == SystemStatus::Maintenance;
        if std::mem::replace(&mut self.maintenance, maintenance) == maintenance {
            return;
        }
        for (name, channel) in &self.feed.channels {
            if channel.topic == Topic::PlatformState {
                let text = notification(name, PlatformState { maintenance });
                send(state, &channel.subscribers, Some(text), false);
            }
        }
    }
}

fn send<'a>(
    state: &mut VenueState,
    subscribers: impl IntoIterator<Item = &'a ConnectionId>,
    text: Option<String>,
    timer: bool,
) {
    if timer {
        state.reschedule();
    }
    let Some(text) = text.map(Utf8Bytes::from) else { return };
    for connection in subscribers {
        state.send_market(*connection, text.clone());
    }
}

fn send_update<'a>(
    state: &mut VenueState,
    subscribers: impl IntoIterator<Item = &'a ConnectionId>,
    order: &Order,
    text: String,
) {
    let text = Utf8Bytes::from(text);
    for connection in subscribers {
        state.send_update(*connection, order, text.clone());
    }
}
