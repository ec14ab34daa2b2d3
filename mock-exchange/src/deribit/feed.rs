//! Who listens to which channel, and what a channel still has to say.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::book::{Changes, LevelChange, Shown};
use super::channel::{Interval, Topic};
use super::messages::{self, TradeMessage, notification};
use super::number::Number;
use super::tape::{Printed, Tape};
use crate::engine::{Book, Engine, Side};
use crate::instrument::InstrumentId;
use crate::protocol::ConnectionId;
use jiff::Timestamp;
use serde::Serialize;

/// Trades that wait in a channel at most.
const TRADES_MAX: usize = 1_000;

/// One channel that somebody listens to.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) topic: Topic,
    pub(crate) subscribers: BTreeSet<ConnectionId>,
    due: Option<Instant>,
    trades: Vec<TradeMessage>,
    shown: Shown,
}

/// All channels that somebody listens to, by name.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) channels: BTreeMap<String, Channel>,
}

impl Feed {
    /// Adds a listener; false when it listens already.
    pub(crate) fn subscribe(
        &mut self,
        name: &str,
        topic: Topic,
        connection: ConnectionId,
        engine: &Engine,
    ) -> bool {
        let channel = self.channels.entry(name.to_owned()).or_insert_with(|| {
            let shown = match topic {
                Topic::Book(id, _) => Shown::of(engine.book(id)),
                _ => Shown::default(),
            };
            let subscribers = BTreeSet::new();
            Channel { topic, subscribers, due: None, trades: Vec::new(), shown }
        });
        channel.subscribers.insert(connection)
    }

    /// Takes a listener away; false when it did not listen.
    pub(crate) fn unsubscribe(&mut self, name: &str, connection: ConnectionId) -> bool {
        let Some(channel) = self.channels.get_mut(name) else { return false };
        let was = channel.subscribers.remove(&connection);
        if channel.subscribers.is_empty() {
            self.channels.remove(name);
        }
        was
    }

    /// Takes a connection's listeners away: of all channels, or of the private or public ones.
    pub(crate) fn unsubscribe_all(&mut self, connection: ConnectionId, private: bool) {
        for channel in self.channels.values_mut() {
            if private || !channel.topic.is_private() {
                channel.subscribers.remove(&connection);
            }
        }
        self.channels.retain(|_, channel| !channel.subscribers.is_empty());
    }

    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        self.unsubscribe_all(connection, true);
    }

    pub(crate) fn subscribers(&self, name: &str) -> Vec<ConnectionId> {
        let channel = self.channels.get(name);
        channel.map(|c| c.subscribers.iter().copied().collect()).unwrap_or_default()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.channels.values().filter_map(|channel| channel.due).min()
    }
}

#[derive(Serialize)]
struct BookMessage<'a> {
    r#type: &'static str,
    timestamp: i64,
    instrument_name: &'a str,
    change_id: u64,
    prev_change_id: Option<u64>,
    bids: Vec<LevelChange>,
    asks: Vec<LevelChange>,
}

#[derive(Serialize)]
struct TopMessage<'a> {
    timestamp: i64,
    instrument_name: &'a str,
    change_id: u64,
    bids: Vec<(Number, Number)>,
    asks: Vec<(Number, Number)>,
}

/// The best levels of a side as pairs.
pub(crate) fn pairs(book: &Book, side: Side, depth: usize) -> Vec<(Number, Number)> {
    let levels = book.levels(side, depth).into_iter();
    levels.map(|(price, amount)| (Number(price), Number(amount))).collect()
}

impl Channel {
    /// Notes that something is to be said; true when a timer must be set for it.
    fn wait(&mut self, pause: Interval) -> bool {
        let waits = self.due.is_some();
        self.due.get_or_insert_with(|| Instant::now() + pause.pause());
        !waits
    }

    /// A trade happened. The text to send now, and whether a timer must be set.
    pub(crate) fn trade(
        &mut self,
        name: &str,
        printed: &Printed,
        engine: &Engine,
    ) -> (Option<String>, bool) {
        let Topic::Trades(selection, pause) = &self.topic else { return (None, false) };
        let pause = *pause;
        let id = printed.trade.instrument;
        if !selection.holds(id, &engine.instruments()[id]) {
            return (None, false);
        }
        let message = messages::trade(printed, engine);
        if pause == Interval::Raw {
            return (Some(notification(name, [message])), false);
        }
        self.trades.push(message);
        let full = self.trades.len() >= TRADES_MAX;
        let text = full.then(|| notification(name, std::mem::take(&mut self.trades)));
        (text, self.wait(pause))
    }

    /// What an instrument's best prices or book changed to. The text to send now, and whether a
    /// timer must be set.
    pub(crate) fn market(
        &mut self,
        name: &str,
        id: InstrumentId,
        change: Change<'_>,
        engine: &Engine,
        time: Timestamp,
    ) -> (Option<String>, bool) {
        let (own, pause) = match (&self.topic, change) {
            (Topic::Quote(own), Change::Quote(_)) => (*own, Interval::Raw),
            (Topic::Ticker(own, pause), Change::Quote(_) | Change::Trade)
            | (Topic::Book(own, pause) | Topic::Top(own, _, pause), Change::Book) => (*own, *pause),
            _ => return (None, false),
        };
        if own != id {
            return (None, false);
        }
        match (pause, change) {
            (Interval::Raw, Change::Quote(best)) => {
                let instrument = &engine.instruments()[id];
                let text = if matches!(self.topic, Topic::Quote(_)) {
                    notification(name, messages::quote(instrument, best, time))
                } else {
                    notification(name, messages::ticker(engine, id, best, time))
                };
                (Some(text), false)
            }
            (Interval::Raw, _) => (self.speak(name, engine, time), false),
            _ => (None, self.wait(pause)),
        }
    }

    /// What has gathered up to now, if it was due.
    pub(crate) fn flush(
        &mut self,
        name: &str,
        engine: &Engine,
        (now, time): (Instant, Timestamp),
    ) -> Option<String> {
        self.due.take_if(|due| *due <= now)?;
        self.speak(name, engine, time)
    }

    fn speak(&mut self, name: &str, engine: &Engine, time: Timestamp) -> Option<String> {
        match self.topic {
            Topic::Trades(..) if self.trades.is_empty() => None,
            Topic::Trades(..) => Some(notification(name, std::mem::take(&mut self.trades))),
            Topic::Book(id, _) => {
                let now = Shown::of(engine.book(id));
                let changes = self.shown.changes_to(&now);
                let previous = std::mem::replace(&mut self.shown, now).change_id;
                if changes.is_empty() {
                    // The next message goes on from what was really said.
                    self.shown.change_id = previous;
                    return None;
                }
                let instrument = &engine.instruments()[id].symbol;
                let kind = ("change", Some(previous));
                Some(self.book_text(name, instrument, kind, changes, time))
            }
            _ => self.current(name, engine, time),
        }
    }

    fn book_text(
        &self,
        name: &str,
        instrument_name: &str,
        (r#type, prev_change_id): (&'static str, Option<u64>),
        Changes { bids, asks }: Changes,
        time: Timestamp,
    ) -> String {
        let (timestamp, change_id) = (time.as_millisecond(), self.shown.change_id);
        let message = BookMessage {
            r#type,
            timestamp,
            instrument_name,
            change_id,
            prev_change_id,
            bids,
            asks,
        };
        notification(name, message)
    }

    /// The state that a new listener is told first, for channels that have one.
    pub(crate) fn current(&self, name: &str, engine: &Engine, time: Timestamp) -> Option<String> {
        let listed = engine.instruments();
        match self.topic {
            Topic::Quote(id) => {
                let best = engine.book(id).quote();
                Some(notification(name, messages::quote(&listed[id], &best, time)))
            }
            Topic::Ticker(id, _) => {
                let best = engine.book(id).quote();
                Some(notification(name, messages::ticker(engine, id, &best, time)))
            }
            Topic::Book(id, _) => {
                let all = self.shown.snapshot();
                Some(self.book_text(name, &listed[id].symbol, ("snapshot", None), all, time))
            }
            Topic::Top(id, depth, _) => {
                let book = engine.book(id);
                let message = TopMessage {
                    timestamp: time.as_millisecond(),
                    instrument_name: &listed[id].symbol,
                    change_id: book.update_id(),
                    bids: pairs(book, Side::Buy, depth),
                    asks: pairs(book, Side::Sell, depth),
                };
                Some(notification(name, message))
            }
            _ => None,
        }
    }
}

/// What changed in an instrument's market.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    Quote(&'a crate::engine::Quote),
    Book,
    Trade,
}

/// The noted trade of an event.
pub(crate) fn printed(tape: &Tape, trade: &crate::engine::PublicTrade) -> Printed {
    let newest_first = tape.trades(trade.instrument).rev();
    let mut found = newest_first.filter(|printed| printed.trade.id == trade.id);
    found.next().cloned().unwrap_or_else(|| Printed { trade: trade.clone(), tick_direction: 0 })
}
