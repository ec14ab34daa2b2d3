//! Market streams: subscriptions and their events.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Binance;
use super::api::unit_of;
use super::messages::{self, TimeUnit};
use super::queries;
use crate::engine::{PublicTrade, Quote};
use crate::instrument::InstrumentId;
use crate::protocol::{ConnectionId, Upgrade};
use crate::venue::state::VenueState;

/// Streams of one connection.
const STREAMS_LIMIT: usize = 1024;
/// Pause between book events of `@100ms` streams, and the beat of all timed streams.
const BEAT: Duration = Duration::from_millis(100);
/// Beats between tickers and events of slow book streams.
const SLOW: u64 = 10;

/// What a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Topic {
    Trade,
    AggregateTrade,
    BookTicker,
    Ticker,
    MiniTicker,
    AllMiniTickers,
    Depth { fast: bool },
    PartialDepth { levels: usize, fast: bool },
}

type Stream = (InstrumentId, Topic);

/// One market-data socket.
#[derive(Debug, Default)]
pub(super) struct StreamSession {
    combined: bool,
    unit: TimeUnit,
    names: Vec<String>,
}

/// Book changes not sent yet.
#[derive(Debug, Default)]
struct Pending {
    first_id: u64,
    last_id: u64,
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
}

/// All market-data sockets.
#[derive(Debug, Default)]
pub(super) struct Streams {
    sessions: BTreeMap<ConnectionId, StreamSession>,
    /// Who listens to a stream, with the stream's name as they wrote it.
    listeners: HashMap<Stream, Vec<(ConnectionId, String)>>,
    pending: BTreeMap<(InstrumentId, bool), Pending>,
    next_beat: Option<Instant>,
    beats: u64,
}

fn parse(state: &VenueState, name: &str) -> Option<Stream> {
    if name == "!miniTicker@arr" {
        return Some((0, Topic::AllMiniTickers));
    }
    let (symbol, topic) = name.split_once('@')?;
    if symbol.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let instrument = state.instrument(&symbol.to_ascii_uppercase())?;
    let partial = |levels, fast| Topic::PartialDepth { levels, fast };
    let topic = match topic {
        "trade" => Topic::Trade,
        "aggTrade" => Topic::AggregateTrade,
        "bookTicker" => Topic::BookTicker,
        "ticker" => Topic::Ticker,
        "miniTicker" => Topic::MiniTicker,
        "depth" | "depth@1000ms" => Topic::Depth { fast: false },
        "depth@100ms" => Topic::Depth { fast: true },
        "depth5" | "depth5@1000ms" => partial(5, false),
        "depth10" | "depth10@1000ms" => partial(10, false),
        "depth20" | "depth20@1000ms" => partial(20, false),
        "depth5@100ms" => partial(5, true),
        "depth10@100ms" => partial(10, true),
        "depth20@100ms" => partial(20, true),
        _ => return None,
    };
    Some((instrument, topic))
}

fn is_timed(topic: Topic) -> bool {
    !matches!(topic, Topic::Trade | Topic::AggregateTrade | Topic::BookTicker)
}

impl Streams {
    pub(super) fn open(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        upgrade: &Upgrade,
    ) {
        let query: BTreeMap<_, _> =
            url::form_urlencoded::parse(upgrade.query.as_bytes()).into_owned().collect();
        let combined = upgrade.path == "/stream" || upgrade.path.starts_with("/stream/");
        let unit = unit_of(
            query.get("timeUnit").is_some_and(|unit| unit.eq_ignore_ascii_case("MICROSECOND")),
        );
        // `/stream/ws/0` is a path that some clients need on loopback; it behaves like `/ws`.
        let raw = upgrade.path.strip_prefix("/stream").unwrap_or(&upgrade.path);
        let raw = raw.strip_prefix("/ws/").unwrap_or_default();
        let combined = combined && !upgrade.path.starts_with("/stream/ws");
        self.sessions.insert(connection, StreamSession { combined, unit, names: Vec::new() });
        let listed = query.get("streams").map(String::as_str).unwrap_or_default();
        for name in raw.split('/').chain(listed.split('/')).filter(|name| name.contains('@')) {
            self.subscribe(state, connection, name);
        }
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.sessions.remove(&connection);
        self.listeners.retain(|_, listeners| {
            listeners.retain(|(own, _)| *own != connection);
            !listeners.is_empty()
        });
        self.forget_unheard();
    }

    fn forget_unheard(&mut self) {
        let listeners = &self.listeners;
        self.pending.retain(|(instrument, fast), _| {
            listeners.contains_key(&(*instrument, Topic::Depth { fast: *fast }))
        });
        if !listeners.keys().any(|(_, topic)| is_timed(*topic)) {
            self.next_beat = None;
        }
    }

    fn subscribe(&mut self, state: &mut VenueState, connection: ConnectionId, name: &str) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        if session.names.iter().any(|own| own == name) {
            return;
        }
        session.names.push(name.to_owned());
        let Some(stream) = parse(state, name) else { return };
        self.listeners.entry(stream).or_default().push((connection, name.to_owned()));
        if let (instrument, Topic::Depth { fast }) = stream {
            self.pending.entry((instrument, fast)).or_default();
        }
        if is_timed(stream.1) && self.next_beat.is_none() {
            self.next_beat = Some(Instant::now() + BEAT);
            state.reschedule();
        }
    }

    fn unsubscribe(&mut self, state: &VenueState, connection: ConnectionId, name: &str) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        session.names.retain(|own| own != name);
        let Some(stream) = parse(state, name) else { return };
        if let Some(listeners) = self.listeners.get_mut(&stream) {
            listeners.retain(|(own, own_name)| *own != connection || own_name != name);
            if listeners.is_empty() {
                self.listeners.remove(&stream);
            }
        }
        self.forget_unheard();
    }

    /// A control message.
    pub(super) fn text(&mut self, state: &mut VenueState, connection: ConnectionId, text: &str) {
        let answer = match self.control(state, connection, text) {
            Ok(answer) => answer,
            Err((code, message, id)) => {
                let message = Value::from(message);
                let id = id.map(|id| format!(r#","id":{id}"#)).unwrap_or_default();
                format!(r#"{{"error":{{"code":{code},"msg":{message}}}{id}}}"#)
            }
        };
        state.send(connection, answer);
    }

    fn control(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        text: &str,
    ) -> Result<String, (i64, String, Option<String>)> {
        let request: BTreeMap<String, &RawValue> = serde_json::from_str(text)
            .map_err(|error| (3, format!("Invalid JSON: {error}"), None))?;
        let id = request.get("id").map(|id| id.get().to_owned());
        let end = format!("at line 1 column {}", text.len());
        let method = request
            .get("method")
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .ok_or_else(|| {
                (2, format!("Invalid request: missing field `method` {end}"), id.clone())
            })?;
        if !id.as_deref().is_none_or(legal_id) {
            return Err((2, "Invalid request: invalid request ID".to_owned(), None));
        }
        let params: Vec<Value> = request
            .get("params")
            .map_or_else(|| Ok(Vec::new()), |raw| serde_json::from_str(raw.get()))
            .map_err(|_| (2, format!("Invalid request: params {end}"), id.clone()))?;
        let result = match method.as_str() {
            "SUBSCRIBE" | "UNSUBSCRIBE" => {
                let names: Option<Vec<&str>> = params.iter().map(Value::as_str).collect();
                let names = names.filter(|names| !names.is_empty()).ok_or_else(|| {
                    (2, "Invalid request: params must be stream names".to_owned(), id.clone())
                })?;
                if method == "SUBSCRIBE" {
                    let held = self.sessions.get(&connection).map_or(0, |s| s.names.len());
                    if state.config.limits.enforced() && held + names.len() > STREAMS_LIMIT {
                        return Err((4, "Too many subscriptions".to_owned(), id));
                    }
                    for name in names {
                        self.subscribe(state, connection, name);
                    }
                } else {
                    for name in names {
                        self.unsubscribe(state, connection, name);
                    }
                }
                "null".to_owned()
            }
            "LIST_SUBSCRIPTIONS" => {
                let names = self.sessions.get(&connection).map(|session| session.names.clone());
                Value::from(names.unwrap_or_default()).to_string()
            }
            "SET_PROPERTY" | "GET_PROPERTY" => self
                .property(connection, &method, &params)
                .map_err(|(code, text)| (code, text, id.clone()))?,
            other => {
                let text = format!("Invalid request: unknown variant `{other}`");
                return Err((2, text, id));
            }
        };
        Ok(format!(r#"{{"result":{result},"id":{}}}"#, id.as_deref().unwrap_or("null")))
    }

    fn property(
        &mut self,
        connection: ConnectionId,
        method: &str,
        params: &[Value],
    ) -> Result<String, (i64, String)> {
        if params.first().and_then(Value::as_str) != Some("combined") {
            return Err((0, "Unknown property".to_owned()));
        }
        let session = self.sessions.entry(connection).or_default();
        if method == "GET_PROPERTY" {
            return Ok(session.combined.to_string());
        }
        let Some(value) = params.get(1).and_then(Value::as_bool) else {
            return Err((1, "Invalid value type: expected Boolean".to_owned()));
        };
        session.combined = value;
        Ok("null".to_owned())
    }

    /// Sends one event to a stream's listeners; rendered once a form.
    fn emit(&self, state: &VenueState, stream: Stream, render: impl Fn(TimeUnit) -> String) {
        let Some(listeners) = self.listeners.get(&stream) else { return };
        let mut rendered: [Option<Utf8Bytes>; 4] = [const { None }; 4];
        for (connection, name) in listeners {
            let Some(session) = self.sessions.get(connection) else { continue };
            let form = usize::from(session.combined)
                + 2 * usize::from(session.unit == TimeUnit::Microsecond);
            let text = rendered[form].get_or_insert_with(|| {
                let data = render(session.unit);
                if session.combined { combined(name, &data).into() } else { data.into() }
            });
            state.send_market(*connection, text.clone());
        }
    }

    pub(super) fn publish_trade(&self, state: &VenueState, trade: &PublicTrade) {
        let symbol = &state.instruments[trade.instrument].symbol;
        self.emit(state, (trade.instrument, Topic::Trade), |unit| {
            messages::trade(trade, symbol, unit)
        });
        self.emit(state, (trade.instrument, Topic::AggregateTrade), |unit| {
            messages::aggregate_trade(trade, symbol, unit)
        });
    }

    pub(super) fn publish_quote(
        &self,
        state: &VenueState,
        instrument: InstrumentId,
        quote: &Quote,
        update_id: u64,
    ) {
        let symbol = &state.instruments[instrument].symbol;
        self.emit(state, (instrument, Topic::BookTicker), |_| {
            messages::book_ticker(quote, symbol, update_id)
        });
    }

    /// Remembers a book change for the next beat.
    pub(super) fn note_book(
        &mut self,
        instrument: InstrumentId,
        (first_id, last_id): (u64, u64),
        bids: &[(Decimal, Decimal)],
        asks: &[(Decimal, Decimal)],
    ) {
        for fast in [false, true] {
            let Some(pending) = self.pending.get_mut(&(instrument, fast)) else { continue };
            if pending.last_id == 0 {
                pending.first_id = first_id;
            }
            pending.last_id = last_id;
            pending.bids.extend(bids.iter().copied());
            pending.asks.extend(asks.iter().copied());
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_beat
    }

    /// Sends what is sent by the clock.
    pub(super) fn beat(&mut self, state: &VenueState, now: Instant) {
        self.next_beat = Some(now + BEAT);
        self.beats += 1;
        let slow = self.beats.is_multiple_of(SLOW);
        let mut due: Vec<Stream> =
            self.listeners.keys().copied().filter(|(_, topic)| is_timed(*topic)).collect();
        due.sort_unstable();
        for stream in due {
            let (instrument, topic) = stream;
            match topic {
                Topic::Depth { fast } if fast || slow => self.emit_depth(state, instrument, fast),
                Topic::PartialDepth { levels, fast } if fast || slow => {
                    self.emit(state, stream, |_| queries::partial_depth(state, instrument, levels));
                }
                Topic::Ticker if slow => {
                    self.emit(state, stream, |unit| queries::ticker_event(state, instrument, unit));
                }
                Topic::MiniTicker if slow => self.emit(state, stream, |unit| {
                    queries::mini_ticker_event(state, instrument, unit)
                }),
                Topic::AllMiniTickers if slow => self.emit(state, stream, |unit| {
                    let all = 0..state.instruments.len();
                    let all = all.map(|id| queries::mini_ticker_event(state, id, unit));
                    format!("[{}]", all.collect::<Vec<_>>().join(","))
                }),
                _ => {}
            }
        }
    }

    fn emit_depth(&mut self, state: &VenueState, instrument: InstrumentId, fast: bool) {
        let Some(pending) = self.pending.get_mut(&(instrument, fast)) else { return };
        let changes = std::mem::take(pending);
        if changes.last_id == 0 {
            return;
        }
        self.emit(state, (instrument, Topic::Depth { fast }), |unit| {
            format!(
                r#"{{"e":"depthUpdate","E":{},"s":"{}","U":{},"u":{},"b":{},"a":{}}}"#,
                unit.of(state.now()),
                state.instruments[instrument].symbol,
                changes.first_id,
                changes.last_id,
                messages::levels(changes.bids.iter().rev()),
                messages::levels(&changes.asks),
            )
        });
    }

    /// A recorded message for the listeners of `name`.
    pub(super) fn replay(&self, state: &VenueState, name: &str, message: &str) {
        for (connection, session) in &self.sessions {
            if session.names.iter().any(|own| own == name) {
                let text =
                    if session.combined { combined(name, message) } else { message.to_owned() };
                state.send_market(*connection, text.into());
            }
        }
    }

    /// The notice that the server goes down.
    pub(super) fn shutdown_notice(&self, state: &mut VenueState, connection: ConnectionId) {
        let Some(session) = self.sessions.get(&connection) else { return };
        let time = session.unit.of(state.now());
        let event = format!(r#"{{"e":"serverShutdown","E":{time}}}"#);
        let text = if session.combined { combined("!serverShutdown", &event) } else { event };
        state.send(connection, text);
    }
}

fn combined(name: &str, data: &str) -> String {
    format!(r#"{{"stream":"{name}","data":{data}}}"#)
}

/// A 64-bit integer, a string of at most 36, or null.
fn legal_id(raw: &str) -> bool {
    match serde_json::from_str(raw) {
        Ok(Value::Null) => true,
        Ok(Value::Number(number)) => number.is_i64() || number.is_u64(),
        Ok(Value::String(text)) => text.len() <= 36,
        _ => false,
    }
}

impl Binance {
    pub(super) fn open_stream(
        &mut self,
        state: &mut VenueState,
        connection: ConnectionId,
        upgrade: &Upgrade,
    ) {
        self.streams.open(state, connection, upgrade);
    }
}
