//! `run`: a gateway from a configuration file, until it is asked to end.

use std::io;
use std::time::Duration;

use exchange_gateway::shutdown::ShutdownReport;
use exchange_gateway::{Config, Gateway, SavedTicks, StartError};

use super::args::RunArgs;
use super::{NOT_STARTED, USAGE, check, logging, report_table, screen, view};

/// How often an instrument is shown where there is no terminal.
const PLAIN_PAUSE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &RunArgs) -> io::Result<u8> {
    let Some(mut config) = check::read(&args.config) else { return Ok(USAGE) };
    if let Some(directory) = &args.state_dir {
        config.gateway.state_dir.clone_from(directory);
    }
    check::warn(&config);
    if let Err(error) = logging::install(&args.log_level, args.log.as_deref()) {
        eprintln!("exchange-gateway: {error}");
        return Ok(USAGE);
    }
    runtime()?.block_on(serve(config, args.duration))
}

async fn serve(config: Config, limit: Option<Duration>) -> io::Result<u8> {
    let gateway = match Gateway::start(config).await {
        Ok(gateway) => gateway,
        Err(error) => return Ok(not_started(&error)),
    };
    show_previous(gateway.previous_ticks());
    let shown = async {
        // The signal handlers are in place when this is first polled.
        say("running; Ctrl-C or SIGTERM ends it");
        view::show(&gateway, || "exchange-gateway".to_owned(), PLAIN_PAUSE).await
    };
    let report = until_end(&gateway, limit, shown).await?;
    show_end(&gateway, &report);
    Ok(report.outcome.exit_code())
}

/// The runtime of the program.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Tells why there is no gateway, and what exit code that is.
pub(crate) fn not_started(error: &StartError) -> u8 {
    screen::notice(&format!("exchange-gateway: {error}"));
    if matches!(error, StartError::Config(_)) { USAGE } else { NOT_STARTED }
}

/// Runs until a signal or the time limit while `shown` shows it; the shutdown does not depend on
/// whether somebody looks.
pub(crate) async fn until_end(
    gateway: &Gateway,
    limit: Option<Duration>,
    shown: impl Future<Output = io::Result<()>>,
) -> io::Result<std::sync::Arc<ShutdownReport>> {
    let elapsed = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
        "the end of --for"
    };
    // In this order: who sees the first output may send a signal.
    let (report, shown) = tokio::join!(biased; gateway.run_until(elapsed), shown);
    if shown.is_err() {
        tracing::debug!("nobody reads the output any more");
    }
    report
}

/// Prints what the run before saved.
pub(crate) fn show_previous(previous: Option<&SavedTicks>) {
    let Some(previous) = previous else { return };
    let table = view::ticks_table(&previous.ticks, None, screen::stdout_colors());
    let saved = format!("{:.0}", previous.saved);
    say(&format!("Last ticks of the previous run, saved {saved}\n{table}\n"));
}

/// Prints the last ticks and the report.
pub(crate) fn show_end(gateway: &Gateway, report: &ShutdownReport) {
    let colors = screen::stdout_colors();
    let table = view::ticks_table(&gateway.last_ticks(), None, colors);
    say(&format!("\nLast ticks\n{table}\n\n{}", report_table::render(report, colors).trim_end()));
}

/// Prints lines; a reader who has left is no reason to stop.
pub(crate) fn say(text: &str) {
    if screen::line(text).is_err() {
        tracing::debug!("nobody reads the output any more");
    }
}
