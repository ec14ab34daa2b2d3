//! One message as normalised events, by a fresh session of the adapter.

use std::collections::BTreeSet;
use std::sync::Arc;

use exchange_gateway::exchange::{
    Adapter, ConnectionKind, OrderEvent, OrderNews, Outbox, Refusal, Session, SessionEvent,
    SymbolTable,
};
use exchange_gateway::types::{InstrumentSpec, OrderStatus, Quantity, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

type Event = Map<String, Value>;

/// Symbols that one message may bring into the guessed table.
const MAX_SYMBOLS: usize = 4096;

pub(crate) struct Decoder {
    adapter: Arc<dyn Adapter>,
    connection: ConnectionKind,
}

impl Decoder {
    pub(crate) fn new(adapter: Arc<dyn Adapter>, connection: ConnectionKind) -> Self {
        Self { adapter, connection }
    }

    /// The events of one message, at least one.
    pub(crate) fn decode(&self, text: &str) -> Vec<Event> {
        let table = Arc::new(self.guess_symbols(text));
        let mut session: Box<dyn Session> = match self.connection {
            ConnectionKind::Market => self.adapter.market_session(table),
            ConnectionKind::Trading => self.adapter.trading_session(table),
        };
        let mut out = Outbox::default();
        let failure = session.received(text, Timestamp::now(), &mut out).err();
        let mut events: Vec<Event> = out.ticks.iter().map(tick).collect();
        events.extend(out.events.iter().filter_map(session_event));
        if let Some(failure) = failure {
            events.push(error(&failure.reason));
        }
        if events.is_empty() {
            events.push(named("ignored"));
        }
        events
    }

    /// A table of every symbol that the message mentions, each with the instrument it most likely
    /// means. Its specs hold no rules: nothing is checked against them here.
    fn guess_symbols(&self, text: &str) -> SymbolTable {
        let mut symbols = BTreeSet::new();
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            collect_symbols(&value, &mut symbols);
        }
        SymbolTable::new(symbols.into_iter().filter_map(|symbol| {
            let instrument = self.adapter.guess_instrument(&symbol)?;
            Some(InstrumentSpec {
                instrument,
                symbol,
                tick_size: 0.into(),
                lot_size: 0.into(),
                min_quantity: Quantity::ZERO,
                max_quantity: None,
                min_notional: None,
                tick_size_steps: Vec::new(),
                contract_size: None,
            })
        }))
    }
}

fn collect_symbols(value: &Value, symbols: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_symbols(item, symbols)),
        Value::Object(fields) => {
            for (key, value) in fields {
                if matches!(key.as_str(), "s" | "symbol" | "instrument_name") {
                    let named = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                    let named = named.iter().filter_map(Value::as_str);
                    symbols.extend(named.take(MAX_SYMBOLS - symbols.len()).map(str::to_owned));
                }
                collect_symbols(value, symbols);
            }
        }
        _ => {}
    }
}

fn named(event: &str) -> Event {
    let mut fields = Map::new();
    fields.insert("event".into(), event.into());
    fields
}

pub(crate) fn error(reason: &str) -> Event {
    with(named("error"), "reason", reason)
}

/// Adds a field, unless it is absent in the message.
fn with(mut event: Event, key: &str, value: impl Serialize) -> Event {
    match serde_json::to_value(value) {
        Ok(Value::Null) | Err(_) => {}
        Ok(value) => _ = event.insert(key.into(), value),
    }
    event
}

fn tick(tick: &exchange_gateway::types::Tick) -> Event {
    let Ok(Value::Object(mut event)) = serde_json::to_value(tick) else {
        return error("the tick cannot be written as JSON");
    };
    // It is now, not when the recorded message was received.
    event.remove("received");
    event.retain(|_, value| !value.is_null());
    event
}

fn session_event(event: &SessionEvent) -> Option<Event> {
    Some(match event {
        SessionEvent::Order(order) => order_event(order),
        SessionEvent::Heartbeat | SessionEvent::Pong => named("heartbeat"),
        SessionEvent::Acknowledged { request } => with(named("ack"), "of", request),
        SessionEvent::Refused(refusal) => refused(refusal),
        SessionEvent::ExchangeError { code, reason } => rejected("connection", *code, reason),
        SessionEvent::Ignored { what } => with(named("ignored"), "what", what),
        SessionEvent::ClosingSoon { reason } => {
            with(with(named("ignored"), "what", "closing soon"), "reason", reason)
        }
        SessionEvent::Restricted(restriction) => {
            with(with(named("ignored"), "what", "trading restriction"), "restriction", restriction)
        }
        SessionEvent::UpdatesLost { reason } => {
            with(with(named("ignored"), "what", "updates lost"), "reason", reason)
        }
        // What a whole session comes to; a single message says it as an acknowledgement.
        SessionEvent::Ready
        | SessionEvent::Unsubscribed
        | SessionEvent::LimitsTold(_)
        | SessionEvent::RateLimited { .. } => return None,
        _ => with(named("ignored"), "what", format!("{event:?}")),
    })
}

fn refused(refusal: &Refusal) -> Event {
    let event = rejected(&refusal.request, refusal.code, &refusal.reason);
    with(event, "permanent", refusal.permanent)
}

fn rejected(of: &str, code: Option<i64>, reason: &str) -> Event {
    with(with(with(named("reject"), "of", of), "code", code), "reason", reason)
}

fn order_event(event: &OrderEvent) -> Event {
    let mut fields = order_news(&event.news);
    fields = with(fields, "instrument", event.instrument);
    fields = with(fields, "client_id", event.client_id);
    fields = with(fields, "exchange_id", event.exchange_id);
    fields = with(fields, "request_id", &event.request_id);
    with(fields, "exchange_time", event.exchange_time)
}

fn order_news(news: &OrderNews) -> Event {
    match news {
        OrderNews::Acknowledged => with(named("ack"), "of", "order"),
        OrderNews::CancelAcknowledged => with(named("ack"), "of", "cancel"),
        OrderNews::Rejected { code, reason } => rejected("order", *code, reason),
        OrderNews::CancelRejected { code, reason, retry } => {
            with(rejected("cancel", *code, reason), "retry", retry)
        }
        OrderNews::QueryFailed { reason } => rejected("query", None, reason),
        OrderNews::OutcomeUnknown { reason } => {
            with(status(OrderStatus::OutcomeUnknown, None), "reason", reason)
        }
        OrderNews::Opened => status(OrderStatus::Open, None),
        OrderNews::Ended { status: ended, cumulative, reason } => {
            with(status(*ended, *cumulative), "reason", reason)
        }
        OrderNews::Status { status: told, cumulative, reason } => {
            with(status(*told, *cumulative), "reason", reason)
        }
        OrderNews::NotFound => with(named("order"), "status", "not_found"),
        OrderNews::Filled { fill, cumulative, completes } => {
            let mut fields = with(named("fill"), "fill_id", &fill.fill_id);
            fields = with(fields, "price", fill.price);
            fields = with(fields, "quantity", fill.quantity);
            fields = with(fields, "fee", &fill.fee);
            fields = with(fields, "liquidity", fill.liquidity);
            fields = with(fields, "time", fill.time);
            fields = with(fields, "cumulative", cumulative);
            with(fields, "completes", completes)
        }
        _ => with(named("order"), "news", json!(format!("{news:?}"))),
    }
}

fn status(status: OrderStatus, cumulative: Option<Quantity>) -> Event {
    with(with(named("order"), "status", status), "cumulative", cumulative)
}
