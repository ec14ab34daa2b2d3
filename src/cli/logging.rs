//! Installs the log writers: readable lines on the terminal, JSON in a file. Only the program does
//! this; the library writes to whatever its user has installed.

use std::fmt;
use std::io;
use std::path::Path;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::json_log::JsonLog;
use super::screen;

/// What the file always holds, whatever the terminal shows.
const FILE_FILTER: &str = "info,exchange_gateway=debug";

/// Installs both writers. `terminal` is a filter such as `info` or `warn,exchange_gateway=debug`.
///
/// # Errors
///
/// The file cannot be opened, or the filter cannot be read.
pub(crate) fn install(terminal: &str, file: Option<&Path>) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let filter = terminal.parse::<Targets>().map_err(|error| invalid(error.to_string()))?;
    let readable = tracing_subscriber::fmt::layer()
        .compact()
        .with_target(false)
        .with_timer(ClockTime)
        .with_ansi(screen::stderr_colors())
        .with_writer(|| screen::LogLine)
        .with_filter(filter);
    let json = match file {
        Some(path) => Some(JsonLog::open(path, screen::notice)?.with_filter(
            FILE_FILTER.parse::<Targets>().map_err(|error| invalid(error.to_string()))?,
        )),
        None => None,
    };
    tracing_subscriber::registry().with(readable).with(json).try_init().map_err(io::Error::other)
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
