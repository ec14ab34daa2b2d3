//! Installs the log writers: readable lines on the terminal, JSON in a file. Only the program does
//! this; the library writes to whatever its user has installed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::json_log::JsonLog;
use super::screen;

/// What the file always holds, whatever the terminal shows.
const FILE_FILTER: &str = "info,exchange_gateway=debug";

/// Changes what the terminal shows.
static LEVEL: OnceLock<Box<dyn Fn(Targets) -> io::Result<()> + Send + Sync>> = OnceLock::new();

/// The log file, to be closed at the end.
static FILE: OnceLock<JsonLog> = OnceLock::new();

/// Installs both writers, and has panics logged by them: the standard library's own message would
/// wait for the terminal. `terminal` is a filter such as `info` or `warn,exchange_gateway=debug`.
///
/// # Errors
///
/// The file cannot be opened, or the filter cannot be read.
pub(crate) fn install(terminal: &str, file: Option<&Path>) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let filter = terminal.parse::<Targets>().map_err(|_| {
        invalid(format!(
            "the log level `{terminal}` cannot be read; write a level (error, warn, info, debug, trace \
             or off) or, for single parts, something like warn,exchange_gateway::order=info"
        ))
    })?;
    let (filter, level) = reload::Layer::new(filter);
    let readable = tracing_subscriber::fmt::layer()
        .compact()
        .with_target(false)
        .with_timer(ClockTime)
        .with_ansi(screen::stderr_colors())
        .with_writer(|| screen::LogLine)
        .with_filter(filter);
    let json = match file {
        Some(path) => {
            let log = JsonLog::open(path, screen::patient_notice).map_err(|error| {
                io::Error::new(error.kind(), format!("the log {}: {error}", path.display()))
            })?;
            let filter = FILE_FILTER.parse::<Targets>();
            _ = FILE.set(log.clone());
            Some(log.with_filter(filter.map_err(|error| invalid(error.to_string()))?))
        }
        None => None,
    };
    _ = LEVEL.set(Box::new(move |filter| {
        level.reload(filter).map_err(|error| io::Error::other(error.to_string()))
    }));
    let installed = tracing_subscriber::registry().with(readable).with(json).try_init();
    installed.map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    Ok(())
}

/// Has the terminal show what another filter lets through; the file holds what it always does.
///
/// # Errors
///
/// The filter cannot be read.
pub(crate) fn set_level(terminal: &str) -> io::Result<()> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
    let filter = terminal.parse::<Targets>().map_err(|error| invalid(error.to_string()))?;
    LEVEL.get().map_or(Ok(()), |set| set(filter))
}

/// Writes out what log file and terminal are still to get, each within `limit`, and tells what
/// was not written wherever that is possible. Nothing is logged after this.
pub(crate) fn close(limit: Duration) {
    let file = FILE.get();
    let unwritten = file.map_or(0, |file| file.settle(limit));
    if unwritten > 0 {
        screen::notice(&format!(
            "exchange-gateway: the log file hangs; {unwritten} lines are lost"
        ));
    }
    let unread = screen::close(limit);
    if unread > 0 {
        tracing::warn!(count = unread, "output was never read and is lost");
    }
    if let Some(file) = file
        && unwritten == 0
    {
        file.close(limit);
    }
}

/// Hours, minutes, seconds and milliseconds, UTC.
struct ClockTime;

impl FormatTime for ClockTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = jiff::Timestamp::now().to_string();
        // `2026-01-31T12:34:56.789012Z`; a whole second has no fraction.
        writer.write_str(now.get(11..23).unwrap_or(&now).trim_end_matches('Z'))
    }
}
