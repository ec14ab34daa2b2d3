//! Reads the disconnect stages back from a JSON log, line by line in bounded memory.
//!
//! Each exchange's stages since its order intake was stopped make up its timeline. A connection
//! may also have been closed before, for a planned reconnect; that belongs to no shutdown and is
//! left out as soon as a shutdown begins.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::report::Stage;

const STAGE_TARGET: &str = "exchange_gateway::stage";
const ORDER_TARGET: &str = "exchange_gateway::order";
const SHUTDOWN_TARGET: &str = "exchange_gateway::shutdown";
const GATEWAY_TARGET: &str = "exchange_gateway::gateway";

/// Stands in place of a connection for what concerns no socket.
const ORDERS: &str = "orders";

const MAX_EXCHANGES: usize = 256;
const MAX_CONNECTIONS: usize = 16;
const MAX_STAGES: usize = 32;
const MAX_ORDERS: usize = 1000;

/// A line that is no JSON object, or a stage line without its stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BrokenLine {
    reason: String,
}

/// One run of the gateway, from its start to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Run {
    /// The time of the line it began with, where the log has one.
    pub started: Option<String>,
    /// The line it began with, from 1.
    pub line: u64,
    /// Each exchange that the run's lines name.
    pub exchanges: Vec<ExchangeTimeline>,
    /// The last shutdown of the whole gateway, or drain of an exchange.
    pub shutdown: Option<Shutdown>,
}

/// How a shutdown went as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// Why it began: `SIGTERM`, `shutdown()`, `drain(kraken)`, ….
    pub trigger: String,
    /// The verdict, if it came to one.
    pub outcome: Option<String>,
    /// The exit code of the verdict.
    pub exit_code: Option<u64>,
}

/// How one exchange was disconnected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExchangeTimeline {
    /// Its name.
    pub exchange: String,
    /// `orders`, `market` and `trading`, as far as they occur.
    pub connections: Vec<ConnectionTimeline>,
    /// Orders whose cancel was not confirmed, at most 1000.
    pub orders_left: Vec<OrderLeft>,
    /// How many more there were.
    pub more_orders_left: u64,
    #[serde(skip)]
    shutdown: bool,
}

/// The stages of one connection, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConnectionTimeline {
    /// `market`, `trading`, or `orders` for what concerns no socket.
    pub connection: String,
    /// What happened.
    pub stages: Vec<StageEntry>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageEntry {
    /// Which.
    pub stage: Stage,
    /// Milliseconds since the shutdown, or the drain of this exchange, began.
    pub elapsed_ms: Option<u64>,
    /// How many orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many orders were not confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<u64>,
    /// The code of the close frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u64>,
    /// The reason of the close frame, or of the drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An order whose cancel was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderLeft {
    /// The gateway's id for it.
    pub order: String,
    /// Why.
    pub reason: Option<String>,
}

/// Reads lines and hands back each run as it ends.
#[derive(Debug, Default)]
pub struct Inspector {
    run: Option<Run>,
}

impl Inspector {
    /// Reads one line with its number, from 1; returns the run that ended before it, if this line
    /// begins another.
    ///
    /// # Errors
    ///
    /// A line that cannot be read; it is skipped.
    pub fn line(&mut self, number: u64, text: &str) -> Result<Option<Run>, BrokenLine> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| BrokenLine { reason: words(&error) })?;
        let record = Record { fields: &fields };
        let target = record.text("target").unwrap_or_default();
        let begins = target == GATEWAY_TARGET && record.text("message") == Some("gateway started");
        let ended = if begins { self.run.take() } else { None };
        let run = self.run.get_or_insert_with(|| Run {
            started: record.text("time").or(record.text("timestamp")).map(str::to_owned),
            line: number,
            ..Run::default()
        });
        run.see(&record);
        match target {
            STAGE_TARGET => run.stage(&record)?,
            within if within.starts_with(SHUTDOWN_TARGET) => run.progress(&record),
            ORDER_TARGET if record.text("message") == Some("cancel not confirmed") => {
                run.order_left(&record)?;
            }
            _ => {}
        }
        Ok(ended)
    }

    /// The last run.
    pub fn finish(self) -> Option<Run> {
        self.run
    }
}

/// The words of a JSON error, without the line, which is always 1.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or(&text);
    format!("{words} at column {}", error.column())
}

/// A log line; its fields may stand beside the message, or in `fields` as the default format of
/// `tracing-subscriber` has them.
struct Record<'l> {
    fields: &'l Map<String, Value>,
}

impl<'l> Record<'l> {
    fn value(&self, key: &str) -> Option<&'l Value> {
        let nested = || self.fields.get("fields").and_then(|fields| fields.get(key));
        self.fields.get(key).or_else(nested)
    }

    fn text(&self, key: &str) -> Option<&'l str> {
        self.value(key).and_then(Value::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        let value = self.value(key)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    fn required(&self, key: &str) -> Result<&'l str, BrokenLine> {
        self.text(key).ok_or_else(|| BrokenLine { reason: format!("the field `{key}` is absent") })
    }
}

impl Run {
    /// Whether any exchange was shut down or drained in it.
    pub fn has_shutdown(&self) -> bool {
        self.exchanges.iter().any(|exchange| exchange.shutdown)
    }

    /// What is missing, in words; empty if every exchange was disconnected in order.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for exchange in &self.exchanges {
            if exchange.shutdown {
                missing.extend(exchange.missing());
            } else if self.shutdown.as_ref().is_some_and(Shutdown::is_whole) {
                missing.push(format!("{}: it was never disconnected", exchange.exchange));
            }
        }
        if let Some(shutdown) = &self.shutdown
            && shutdown.outcome.is_none()
        {
            missing.push(format!("the shutdown by {} never came to its end", shutdown.trigger));
        }
        // What failed may have left every stage whole; the verdict must not be called complete then.
        if let Some(shutdown) = &self.shutdown
            && let Some(outcome) = &shutdown.outcome
            && missing.is_empty()
            && shutdown.exit_code != Some(0)
        {
            let code = shutdown.exit_code.map_or_else(String::new, |code| format!(" ({code})"));
            missing.push(format!(
                "no stage, but the shutdown ended as {outcome}{code}: its report names the failure"
            ));
        }
        missing
    }

    /// Remembers which connections there are, so that one without any stage is missed.
    fn see(&mut self, record: &Record<'_>) {
        let (Some(exchange), Some(connection)) =
            (record.text("exchange"), record.text("connection"))
        else {
            return;
        };
        // What is beyond the bounds is told by the stage lines.
        if let Ok(exchange) = self.exchange(exchange) {
            _ = exchange.connection(connection);
        }
    }

    fn progress(&mut self, record: &Record<'_>) {
        match record.text("message") {
            Some("shutdown begins") => {
                let trigger = record.text("trigger").unwrap_or("an unknown trigger").to_owned();
                self.shutdown = Some(Shutdown { trigger, outcome: None, exit_code: None });
            }
            Some("shutdown complete") => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.outcome = record.text("outcome").map(str::to_owned);
                    shutdown.exit_code = record.number("exit_code");
                }
            }
            _ => {}
        }
    }

    fn exchange(&mut self, name: &str) -> Result<&mut ExchangeTimeline, BrokenLine> {
        let known = self.exchanges.iter().position(|exchange| exchange.exchange == name);
        let index = match known {
            Some(index) => index,
            None if self.exchanges.len() >= MAX_EXCHANGES => {
                return Err(BrokenLine { reason: "too many different exchanges".into() });
            }
            None => {
                let timeline =
                    ExchangeTimeline { exchange: name.to_owned(), ..ExchangeTimeline::default() };
                self.exchanges.push(timeline);
                self.exchanges.len() - 1
            }
        };
        Ok(&mut self.exchanges[index])
    }

    fn stage(&mut self, record: &Record<'_>) -> Result<(), BrokenLine> {
        let name = record.required("stage")?;
        let stage = Stage::from_name(name).ok_or_else(|| BrokenLine {
            reason: format!("there is no stage `{}`", name.chars().take(40).collect::<String>()),
        })?;
        let connection = record.required("connection")?;
        let entry = StageEntry {
            stage,
            elapsed_ms: record.number("elapsed_ms"),
            count: record.number("count"),
            unconfirmed: record.number("unconfirmed"),
            code: record.number("code"),
            reason: record.text("reason").map(str::to_owned),
        };
        self.exchange(record.required("exchange")?)?.add(connection, entry)
    }

    fn order_left(&mut self, record: &Record<'_>) -> Result<(), BrokenLine> {
        let order = OrderLeft {
            order: record.required("order")?.to_owned(),
            reason: record.text("reason").map(str::to_owned),
        };
        let exchange = self.exchange(record.required("exchange")?)?;
        if exchange.orders_left.iter().any(|known| known.order == order.order) {
            return Ok(());
        }
        if exchange.orders_left.len() < MAX_ORDERS {
            exchange.orders_left.push(order);
        } else {
            exchange.more_orders_left += 1;
        }
        Ok(())
    }
}

/// Orders are the first to be dealt with, so they come first.
fn rank(connection: &str) -> usize {
    let order = [ORDERS, "market", "trading"];
    order.iter().position(|known| *known == connection).unwrap_or(order.len())
}

impl Shutdown {
    /// Whether it was the whole gateway's and not the drain of one exchange.
    fn is_whole(&self) -> bool {
        !self.trigger.starts_with("drain")
    }
}

impl ExchangeTimeline {
    fn add(&mut self, connection: &str, entry: StageEntry) -> Result<(), BrokenLine> {
        if entry.stage == Stage::IntakeStopped {
            // A new shutdown of this exchange. What its sockets did before was a reconnect, unless
            // it was drained already: then they are closed and stay so.
            let drained = self.shutdown;
            for connection in &mut self.connections {
                if !drained || connection.connection == ORDERS {
                    connection.stages.clear();
                }
            }
            self.orders_left.clear();
            self.more_orders_left = 0;
        }
        // Only a shutdown or a drain concerns the orders; a reconnect does not.
        self.shutdown |= connection == ORDERS;
        let stages = &mut self.connection(connection)?.stages;
        if stages.len() >= MAX_STAGES {
            stages.remove(0);
        }
        stages.push(entry);
        Ok(())
    }

    fn connection(&mut self, connection: &str) -> Result<&mut ConnectionTimeline, BrokenLine> {
        let known = self.connections.iter().position(|known| known.connection == connection);
        let index = match known {
            Some(index) => index,
            None if self.connections.len() >= MAX_CONNECTIONS => {
                return Err(BrokenLine { reason: "too many different connections".into() });
            }
            None => {
                let stages = Vec::new();
                let timeline = ConnectionTimeline { connection: connection.to_owned(), stages };
                let index = self
                    .connections
                    .partition_point(|other| rank(&other.connection) <= rank(connection));
                self.connections.insert(index, timeline);
                index
            }
        };
        Ok(&mut self.connections[index])
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let orders = self.connections.iter().find(|known| known.connection == ORDERS);
        if let Some(orders) = orders {
            self.missing_cancels(orders, &mut missing);
        }
        let sockets = || self.connections.iter().filter(|known| known.connection != ORDERS);
        if sockets().next().is_none() {
            missing.push(format!("{}: no connection was closed", self.exchange));
        }
        for socket in sockets() {
            let name = format!("{}/{}", self.exchange, socket.connection);
            missing.extend(socket.missing().into_iter().map(|what| format!("{name}: {what}")));
        }
        missing
    }

    fn missing_cancels(&self, orders: &ConnectionTimeline, missing: &mut Vec<String>) {
        let name = &self.exchange;
        if orders.find(Stage::IntakeStopped).is_none() {
            missing.push(format!("{name}: intake_stopped is absent"));
        }
        let sent = orders.find(Stage::CancelsSent);
        let confirmed = orders.find(Stage::CancelsConfirmed);
        match (sent, confirmed) {
            (None, None) => {
                missing.push(format!("{name}: cancels_sent and cancels_confirmed are absent"));
            }
            (None, Some(_)) => missing.push(format!("{name}: cancels_sent is absent")),
            (Some(sent), None) => {
                let count =
                    sent.count.map_or_else(String::new, |count| format!(" of {count} orders"));
                missing.push(format!("{name}: the cancels{count} were never confirmed"));
            }
            (Some(_), Some(_)) => {}
        }
        for order in &self.orders_left {
            let reason = order.reason.as_deref().unwrap_or("no reason given");
            let id = &order.order;
            missing.push(format!("{name}: the cancel of order {id} was never confirmed: {reason}"));
        }
        let named = self.orders_left.len() as u64;
        let unconfirmed = confirmed.and_then(|entry| entry.unconfirmed).unwrap_or(0);
        if unconfirmed > named {
            let more = if named > 0 { " more" } else { "" };
            let count = unconfirmed - named;
            missing.push(format!("{name}: {count}{more} cancels were never confirmed"));
        }
    }
}

impl ConnectionTimeline {
    fn find(&self, stage: Stage) -> Option<&StageEntry> {
        self.stages.iter().rev().find(|entry| entry.stage == stage)
    }

    /// What a connection's close lacks. Without the first thing the later ones cannot be there, so
    /// a drop is told once with what it cut off.
    fn missing(&self) -> Vec<String> {
        let has = |stage| self.find(stage).is_some();
        let mut missing = Vec::new();
        if self.connection == "market" && !has(Stage::Unsubscribed) {
            missing.push("the end of its subscriptions was never acknowledged".to_owned());
        }
        if !has(Stage::CloseFrameSent) {
            missing.push("no close frame was sent".to_owned());
        } else if !has(Stage::CloseFrameReceived) {
            missing.push("the close frame was never answered".to_owned());
        }
        match self.find(Stage::Dropped) {
            Some(dropped) => {
                let reason = dropped.reason.as_deref().unwrap_or("no reason given");
                missing.push(format!("it was dropped: {reason}"));
            }
            None if !has(Stage::TcpClosed) => {
                missing
                    .push("tcp_closed is absent: the end of the connection was never seen".into());
            }
            None => {}
        }
        missing
    }
}
