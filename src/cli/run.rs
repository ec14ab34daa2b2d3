//! `run`: a gateway from a configuration file, until it is asked to end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use exchange_gateway::shutdown::{Outcome, ShutdownReport, WatchdogSettings};
use exchange_gateway::{Config, Gateway, PreviousRun, SavedTicks, StartError};

use super::args::RunArgs;
use super::bounded::within;
use super::systemd::Manager;
use super::{NOT_STARTED, USAGE, check, logging, reload, report_table, screen, view};

/// How often an instrument is shown where there is no terminal.
const PLAIN_PAUSE: Duration = Duration::from_secs(10);

/// How long terminal and log file may take to get what is still to be written at the end.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the report's file may take; a disk that hangs keeps nobody.
const REPORT: Duration = Duration::from_secs(2);
/// What terminal and log file may take each when the process is ended by force.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &RunArgs) -> io::Result<u8> {
    let Some(mut config) = check::read(&args.config) else { return Ok(USAGE) };
    if let Some(directory) = &args.state_dir {
        config.gateway.state_dir.clone_from(directory);
    }
    check::warn(&config);
    check::warn_here(&config);
    let level = args.log_level.as_ref().unwrap_or(&config.log.level);
    if let Err(error) = logging::install(level, args.log.as_deref()) {
        eprintln!("exchange-gateway: {error}");
        return Ok(USAGE);
    }
    complete(serve(config, args))
}

async fn serve(config: Config, args: &RunArgs) -> io::Result<u8> {
    let started = config.clone();
    let limit = config.shutdown.deadline + WatchdogSettings::default().grace;
    let gateway = match Gateway::start(config).await {
        Ok(gateway) => gateway,
        Err(error) => return Ok(not_started(&error)),
    };
    show_left(gateway.previous_run());
    show_previous(gateway.previous_ticks());
    let shown = async {
        // The signal handlers are in place when this is first polled.
        say("running; Ctrl-C or SIGTERM ends it");
        tokio::select! {
            shown = view::show(&gateway, || "exchange-gateway".to_owned(), PLAIN_PAUSE) => shown,
            () = reload::follow(&gateway, &started, args) => Ok(()),
        }
    };
    let ends = Ends { limit, duration: args.duration, report: args.report.as_deref() };
    let report = until_end(&gateway, &ends, shown).await?;
    Ok(show_end(&gateway, &report, args.report.as_deref()))
}

/// Runs the program's work on its runtime. Whatever hangs in the background then, such as a write
/// to a disk that does not answer, does not keep the process.
pub(crate) fn complete(work: impl Future<Output = io::Result<u8>>) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(work);
    runtime.shutdown_background();
    logging::close(FLUSH);
    code
}

/// Tells why there is no gateway, and what exit code that is.
pub(crate) fn not_started(error: &StartError) -> u8 {
    screen::notice(&format!("exchange-gateway: {error}"));
    if matches!(error, StartError::Config(_)) { USAGE } else { NOT_STARTED }
}

/// How a run is ended.
pub(crate) struct Ends<'a> {
    /// What a shutdown may take in all before it is ended by force.
    pub(crate) limit: Duration,
    /// How long it runs, if not until a signal.
    pub(crate) duration: Option<Duration>,
    /// The file for its report.
    pub(crate) report: Option<&'a Path>,
}

/// Runs until a signal or the time limit while `shown` shows it; the shutdown does not depend on
/// whether somebody looks, and the process ends even if the shutdown does not.
pub(crate) async fn until_end(
    gateway: &Gateway,
    ends: &Ends<'_>,
    shown: impl Future<Output = io::Result<()>>,
) -> io::Result<Arc<ShutdownReport>> {
    let manager = Manager::from_environment();
    let elapsed = async {
        match ends.duration {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
        "the end of --for"
    };
    let watched = async {
        let settings = WatchdogSettings {
            report: ends.report.map(Path::to_owned),
            until_exit: true,
            say: Arc::new(screen::notice),
            before_exit: Arc::new(|| logging::close(LAST_WORDS)),
            ..WatchdogSettings::default()
        };
        if let Err(error) = gateway.enforce_deadline(settings) {
            tracing::error!(%error, "nothing ends a shutdown that hangs");
        }
        tracing::debug!("signals are heard");
        tokio::join!(biased; manager.follow(gateway, ends.limit), shown).1
    };
    // In this order: who sees the first output may send a signal.
    let (report, shown) = tokio::join!(biased; gateway.run_until(elapsed), watched);
    if shown.is_err() {
        tracing::debug!("nobody reads the output any more");
    }
    manager.settle();
    report
}

/// Prints what the run before left unfinished or failed to do.
fn show_left(previous: Option<&PreviousRun>) {
    let notice = previous.map(PreviousRun::notice).unwrap_or_default();
    if !notice.is_empty() {
        say(&format!("{}\n", notice.join("\n")));
    }
}

/// Prints what the run before saved.
pub(crate) fn show_previous(previous: Option<&SavedTicks>) {
    let Some(previous) = previous else { return };
    let table = view::ticks_table(&previous.ticks, None, screen::stdout_colors());
    let saved = format!("{:.0}", previous.saved);
    say(&format!("Last ticks of the previous run, saved {saved}\n{table}\n"));
}

/// Prints the last ticks and the report, writes the report's file if there is to be one, and
/// returns the exit code.
pub(crate) fn show_end(gateway: &Gateway, report: &ShutdownReport, file: Option<&Path>) -> u8 {
    let colors = screen::stdout_colors();
    let table = view::ticks_table(&gateway.last_ticks(), None, colors);
    say(&format!("\nLast ticks\n{table}\n\n{}", report_table::render(report, colors).trim_end()));
    let code = report.outcome.exit_code();
    let Some(file) = file else { return code };
    match write_report(report, file) {
        Ok(()) => code,
        Err(error) => {
            let file = file.display();
            screen::notice(&format!("exchange-gateway: the report {file}: {error}"));
            // All else went well, so that nobody would look for it.
            if code == 0 { Outcome::Degraded.exit_code() } else { code }
        }
    }
}

fn write_report(report: &ShutdownReport, file: &Path) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    let file = file.to_owned();
    let written = within(REPORT, move || std::fs::write(file, text));
    written.unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "the disk hangs")))
}

/// Prints lines; a reader who has left is no reason to stop.
pub(crate) fn say(text: &str) {
    if screen::last_line(text).is_err() {
        tracing::debug!("nobody reads the output any more");
    }
}
