//! What a running gateway looks like: a table that is redrawn on a terminal, and a line now and
//! then for each instrument where the output goes elsewhere.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use comfy_table::{Cell, Color};
use exchange_gateway::types::{Tick, TickData, Timestamp};
use exchange_gateway::{ConnectionSnapshot, ConnectionStatus, Gateway, LastTick, Phase};
use rust_decimal::Decimal;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::report_table::{new_table, right, shown};
use super::screen;

/// How often the table is redrawn.
const REDRAW: Duration = Duration::from_millis(200);

/// Shows the gateway until market data is frozen for shutdown. `title` is asked for the first line
/// each time; `pause` is how long each instrument is silent where there is no terminal.
///
/// # Errors
///
/// Nobody reads the output any more. The gateway does not depend on it.
///
/// # Cancel safety
///
/// Dropping the future leaves the last table on the terminal.
pub(crate) async fn show(
    gateway: &Gateway,
    title: impl Fn() -> String,
    pause: Duration,
) -> io::Result<()> {
    let mut phase = gateway.phase();
    let live = screen::is_live();
    let mut redraw =
        if live { interval(REDRAW) } else { interval_at(Instant::now() + pause, pause) };
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counts = Vec::new();
    loop {
        tokio::select! {
            _ = redraw.tick() => {}
            _ = phase.wait_for(|phase| *phase > Phase::SaveState) => return screen::clear(),
        }
        if live {
            let title = format!("{}{}", title(), phase_note(*phase.borrow()));
            screen::table(page(gateway, &title))?;
            continue;
        }
        let ticks = gateway.last_ticks();
        for (index, last) in ticks.iter().enumerate() {
            // An instrument that stood still says nothing.
            if counts.get(index).is_none_or(|count| *count != last.count) {
                screen::line(&plain(last))?;
            }
        }
        counts = ticks.iter().map(|last| last.count).collect();
    }
}

fn phase_note(phase: Phase) -> String {
    match phase {
        Phase::Running => "   Ctrl-C to end".to_owned(),
        phase => {
            let phase = phase.as_str().replace('_', " ");
            format!("   ENDING: {phase}; Ctrl-C forces")
        }
    }
}

fn page(gateway: &Gateway, title: &str) -> String {
    let mut text = format!("{title}\n");
    for connection in gateway.connections() {
        _ = write!(text, "{}  ", connection_status(&connection));
    }
    let table = ticks_table(&gateway.last_ticks(), Some(Timestamp::now()), screen::stdout_colors());
    _ = write!(text, "\n{table}\n");
    text
}

fn connection_status(connection: &ConnectionSnapshot) -> String {
    let status = match &connection.status {
        ConnectionStatus::Waiting { .. } => "waiting",
        ConnectionStatus::Connecting => "connecting",
        ConnectionStatus::Live => "live",
        ConnectionStatus::Closing => "closing",
        ConnectionStatus::Closed => "closed",
        ConnectionStatus::Failed { .. } => "FAILED",
        _ => "?",
    };
    format!("{}/{} {status}", connection.exchange, connection.connection)
}

/// The last trade and quote of each instrument. With `now`, how old they are; without, when they
/// were received.
pub(crate) fn ticks_table(ticks: &[LastTick], now: Option<Timestamp>, colors: bool) -> String {
    let when = if now.is_some() { "age" } else { "received" };
    let header = ["instrument", "bid", "ask", "last trade", "quantity", "ticks", when];
    let mut table = new_table(&header, colors);
    if now.is_some() {
        // A live table never wraps: what does not fit into 80 columns would be cut off.
        for column in table.column_iter_mut().skip(1) {
            column.set_padding((0, 1));
        }
    }
    for last in ticks {
        let (bid, ask) = quote(last);
        let (price, quantity, color) = trade(last);
        table.add_row(vec![
            Cell::new(last.instrument),
            right(bid),
            right(ask),
            right(price).fg(color),
            right(quantity),
            right(last.count),
            right(newest(last).map_or_else(String::new, |tick| seen(tick, now))),
        ]);
    }
    shown(&table)
}

fn quote(last: &LastTick) -> (String, String) {
    match last.quote.map(|tick| tick.data) {
        Some(TickData::Quote(quote)) => (money(quote.bid.0), money(quote.ask.0)),
        _ => (String::new(), String::new()),
    }
}

fn trade(last: &LastTick) -> (String, String, Color) {
    match last.trade.map(|tick| tick.data) {
        Some(TickData::Trade(trade)) => {
            let color = match trade.taker_side {
                exchange_gateway::types::Side::Buy => Color::Green,
                exchange_gateway::types::Side::Sell => Color::Red,
            };
            (money(trade.price.0), trade.quantity.0.normalize().to_string(), color)
        }
        _ => (String::new(), String::new(), Color::Reset),
    }
}

/// Without the zeros that some exchanges append, but with two decimals at least.
fn money(price: Decimal) -> String {
    let mut price = price.normalize();
    if price.scale() < 2 {
        price.rescale(2);
    }
    price.to_string()
}

fn newest(last: &LastTick) -> Option<Tick> {
    [last.trade, last.quote].into_iter().flatten().max_by_key(|tick| tick.received)
}

fn seen(tick: Tick, now: Option<Timestamp>) -> String {
    match now {
        Some(now) => {
            let age_ms = now.duration_since(tick.received).as_millis().max(0);
            if age_ms < 10_000 { format!("{age_ms} ms") } else { format!("{} s", age_ms / 1000) }
        }
        None => time_of_day(tick.received),
    }
}

/// Hours to milliseconds, UTC.
pub(crate) fn time_of_day(time: Timestamp) -> String {
    let text = format!("{time:.3}");
    text.get(11..23).unwrap_or(&text).to_owned()
}

fn plain(last: &LastTick) -> String {
    let mut line = last.instrument.to_string();
    let (bid, ask) = quote(last);
    if last.quote.is_some() {
        _ = write!(line, " bid {bid} ask {ask}");
    }
    if last.trade.is_some() {
        let (price, quantity, _) = trade(last);
        _ = write!(line, " trade {price} x {quantity}");
    }
    _ = write!(line, " ticks {}", last.count);
    line
}
