//! Engine events to channel messages.

use jiff::Timestamp;

use super::Kraken;
use super::balances;
use super::book;
use super::executions::{self, Detail, Event};
use super::market::{self, Tick};
use super::messages::{Kind, channel_data};
use super::session::Trigger;
use super::subscribe::SNAPSHOT_TRADES;
use crate::engine::{EngineEvent, Fill, Order, OrderChange, OrderStatus, PublicTrade};
use crate::instrument::InstrumentId;
use crate::protocol::ConnectionId;
use crate::venue::state::VenueState;

impl Kraken {
    /// Sends what the events mean to everyone who subscribed to it.
    pub(crate) fn publish_events(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        for event in events {
            match event {
                EngineEvent::Order { order, change } => self.publish_order(state, order, change),
                EngineEvent::Trade(trade) => self.publish_trade(state, trade),
                EngineEvent::Book { instrument, time, .. } => {
                    self.publish_book(state, *instrument, *time);
                }
                EngineEvent::Quote { instrument, quote, time, .. } => {
                    let tick = Tick { quote: *quote, last: None, at: *time };
                    self.publish_ticker(state, *instrument, Trigger::BestPrices, tick);
                }
                EngineEvent::Balances { .. } => {}
            }
        }
        self.publish_ledger(state, events);
    }

    fn publish_order(&mut self, state: &mut VenueState, order: &Order, change: &OrderChange) {
        match change {
            OrderChange::New => {
                self.report(state, order, &Event::PendingNew, order.created);
                self.report(state, order, &Event::New, order.created);
            }
            OrderChange::Trade(fill) => {
                self.report(state, order, &Event::Trade(fill.clone()), fill.time);
                if order.status == OrderStatus::Filled {
                    self.report(state, order, &Event::Filled, fill.time);
                }
            }
            OrderChange::Canceled { .. } => {
                let reason = "User requested";
                self.report(state, order, &Event::Canceled { reason }, order.updated);
            }
            OrderChange::Amended => self.report(state, order, &Event::Amended, order.updated),
            OrderChange::Expired => self.report(state, order, &Event::Expired, order.updated),
        }
    }

    fn report(&mut self, state: &mut VenueState, order: &Order, event: &Event, at: Timestamp) {
        let level = self.rate.level(&order.symbol, at);
        for (connection, session) in &mut self.sessions {
            let Some(subscription) = &mut session.executions else { continue };
            let is_detail = matches!(event, Event::PendingNew | Event::Amended);
            if is_detail && !subscription.order_status {
                continue;
            }
            subscription.sequence += 1;
            let detail = Detail {
                full: self.full_reports,
                rate_count: subscription.rate_counter.then_some(level),
            };
            let report = executions::report(order, event, at, detail);
            let sequence = Some(subscription.sequence);
            let text = channel_data("executions", Kind::Update, [report], sequence);
            state.send_update(*connection, order, text);
        }
    }

    fn publish_trade(&mut self, state: &mut VenueState, trade: &PublicTrade) {
        let recent = self.recent_trades.entry(trade.instrument).or_default();
        if recent.len() >= SNAPSHOT_TRADES {
            recent.pop_front();
        }
        recent.push_back(trade.clone());
        let subscribers: Vec<ConnectionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.trades.contains(&trade.instrument))
            .map(|(connection, _)| *connection)
            .collect();
        if !subscribers.is_empty() {
            let instrument = &state.engine.instruments()[trade.instrument];
            let text = market::trades(instrument, std::iter::once(trade), Kind::Update);
            send_market(state, &subscribers, text);
        }
        let quote = state.engine.book(trade.instrument).quote();
        let tick = Tick { quote, last: Some(trade.price), at: trade.time };
        self.publish_ticker(state, trade.instrument, Trigger::Trades, tick);
    }

    fn publish_ticker(
        &self,
        state: &mut VenueState,
        instrument: InstrumentId,
        trigger: Trigger,
        tick: Tick,
    ) {
        let subscribers: Vec<ConnectionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.tickers.get(&instrument) == Some(&trigger))
            .map(|(connection, _)| *connection)
            .collect();
        if !subscribers.is_empty() {
            let text = market::ticker(&state.engine, instrument, Kind::Update, tick);
            send_market(state, &subscribers, text);
        }
    }

    /// Several changes of one book in a row make one message: the first sends the difference to
    /// the book as it is now, and the others find none.
    fn publish_book(&mut self, state: &mut VenueState, id: InstrumentId, at: Timestamp) {
        for (connection, session) in &mut self.sessions {
            let Some(subscription) = session.books.get_mut(&id) else { continue };
            let now = market::sides(state.engine.book(id), subscription.depth);
            let changes = book::difference(&subscription.shown, &now, subscription.depth);
            let is_same = changes.bids.is_empty() && changes.asks.is_empty();
            subscription.shown = now;
            if is_same {
                continue;
            }
            let instrument = &state.engine.instruments()[id];
            let shown = &subscription.shown;
            let text = market::book_message(instrument, Kind::Update, &changes, shown, at);
            state.send(*connection, text);
        }
    }

    fn publish_ledger(&mut self, state: &mut VenueState, events: &[EngineEvent]) {
        if self.sessions.values().all(|session| session.balances.is_none()) {
            return;
        }
        let fills: Vec<&Fill> = events
            .iter()
            .filter_map(|event| match event {
                EngineEvent::Order { change: OrderChange::Trade(fill), .. } => Some(fill),
                _ => None,
            })
            .collect();
        let engine = &state.engine;
        for entry in balances::entries(&fills, engine.instruments(), engine.account()) {
            for (connection, session) in &mut self.sessions {
                let Some(sequence) = &mut session.balances else { continue };
                *sequence += 1;
                state.send(*connection, balances::update(&entry, *sequence));
            }
        }
    }
}

fn send_market(state: &mut VenueState, connections: &[ConnectionId], text: String) {
    let text = tokio_tungstenite::tungstenite::Utf8Bytes::from(text);
    for connection in connections {
        state.send_market(*connection, text.clone());
    }
}
