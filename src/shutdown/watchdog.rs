//! The last resort of a shutdown: a thread that depends on nothing of the gateway's runtime and ends
//! the process with the truth if the shutdown does not, or if the operator asks a third time.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::bounded::Bounded;
use super::signals::{Signal, Signals};
use super::witness::{self, Begun, Ending, Witness};
use crate::report::{LeftoverOrder, Outcome, Phase, ShutdownReport};
use crate::scope::Scope;

/// What may hang in the end (locks, the database, files, the terminal) is waited for this long each.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often the runtime shows that it lives.
const BEAT: Duration = Duration::from_millis(100);
/// A runtime that has not for this long is blocked.
const STILL: Duration = Duration::from_secs(1);
/// How often that is looked at once the deadline has passed.
const LOOK: Duration = Duration::from_millis(20);
/// A second ask sooner than this is a bounce, whatever is configured.
const SHORTEST_BOUNCE: Duration = Duration::from_millis(50);

/// How [`Gateway::enforce_deadline`](crate::Gateway::enforce_deadline) ends a process.
#[derive(Clone)]
pub struct WatchdogSettings {
    /// What a shutdown that is late may still take to tell of itself, beyond `shutdown.deadline`.
    /// Default 2 s. One whose runtime is blocked gets nothing of it. With zero, what is sealed and
    /// reported after the deadline is lost.
    pub grace: Duration,
    /// Whether the process is ended even if the shutdown did come to its report, once its time is
    /// up: with the report's exit code. Default false: a process may go on without its gateway.
    pub until_exit: bool,
    /// Whether SIGINT, SIGTERM and SIGQUIT are heard (and their handlers installed, for good): the
    /// third one ends the process at once, and the first begins the time even if the gateway is
    /// blocked and cannot hear it. Default true, which suits
    /// [`run_until_signal`](crate::Gateway::run_until_signal).
    pub signals: bool,
    /// Another file for the last report, as JSON, beside `forced-report.json` in the state
    /// directory. Default none.
    pub report: Option<PathBuf>,
    /// Says the last words, which name every order that is left. Default: to standard error.
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
    /// Called last, for example to write out a log; waited for half a second. Default: nothing.
    pub before_exit: Arc<dyn Fn() + Send + Sync>,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self {
            grace: crate::config::EXIT_GRACE,
            until_exit: false,
            signals: true,
            report: None,
            say: Arc::new(|words| {
                // Nobody is left to be told that it cannot be said.
                _ = io::Write::write_all(&mut io::stderr(), format!("{words}\n").as_bytes());
            }),
            before_exit: Arc::new(|| ()),
        }
    }
}

impl fmt::Debug for WatchdogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { grace, until_exit, signals, report, .. } = self;
        f.debug_struct("WatchdogSettings")
            .field("grace", grace)
            .field("until_exit", until_exit)
            .field("signals", signals)
            .field("report", report)
            .finish_non_exhaustive()
    }
}

/// Shows whether the gateway's runtime still runs its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Heart {
    began: Instant,
    /// Milliseconds since then.
    last_beat: Arc<AtomicU64>,
}

impl Heart {
    /// Beats in a task of the scope until the phase is `Complete`.
    pub(crate) fn start(scope: &Scope, mut phase: watch::Receiver<Phase>) -> Self {
        let heart = Self { began: Instant::now(), last_beat: Arc::default() };
        let beating = heart.clone();
        scope.spawn(async move {
            let beats = async {
                loop {
                    let now = u64::try_from(beating.began.elapsed().as_millis());
                    beating.last_beat.store(now.unwrap_or(u64::MAX), Ordering::Relaxed);
                    sleep(BEAT).await;
                }
            };
            tokio::select! {
                _ = phase.wait_for(|phase| *phase == Phase::Complete) => {}
                () = beats => {}
            }
        });
        heart
    }

    fn is_still(&self) -> bool {
        let last = Duration::from_millis(self.last_beat.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last) > STILL
    }
}

/// The thread and what it looks at.
pub(crate) struct Watchdog {
    pub(crate) settings: WatchdogSettings,
    pub(crate) begun: watch::Receiver<Option<Begun>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) report: watch::Receiver<Option<Arc<ShutdownReport>>>,
    pub(crate) heart: Heart,
    pub(crate) deadline: Duration,
    pub(crate) debounce: Duration,
    pub(crate) witness: Witness,
}

impl Watchdog {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system grants no thread or no signal handler.
    pub(crate) fn start(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = if self.settings.signals {
            let _context = runtime.enter();
            Some(Signals::install()?)
        } else {
            None
        };
        let work = move || {
            let Self { settings, begun, phase, report, heart, witness, .. } = self;
            let watch = Watch {
                begun: begun.clone(),
                phase: phase.clone(),
                report: report.clone(),
                still: move || heart.is_still(),
                deadline: self.deadline,
                grace: settings.grace,
                until_exit: settings.until_exit,
                debounce: self.debounce.max(SHORTEST_BOUNCE),
            };
            let show = || {
                let tree = witness.tree(*phase.borrow(), LAST_WORDS);
                tree.log();
                say(&settings, &tree.to_string());
            };
            let Some(acted) = runtime.block_on(watch.cause(signals, show)) else { return };
            let now = *phase.borrow();
            let reported = report.borrow().clone();
            end(&acted, now, reported.as_deref(), witness, &settings);
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(work)?;
        Ok(())
    }
}

/// Why the process is ended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The deadline is over and the runtime runs nothing.
    Blocked,
    /// The deadline and the grace are over.
    Overdue,
    ThirdSignal,
}

impl Cause {
    fn words(self) -> &'static str {
        match self {
            Self::Blocked => {
                "the deadline has passed and the runtime is blocked, so the process ends here"
            }
            Self::Overdue => "the shutdown did not end in time, so the process ends here",
            Self::ThirdSignal => "asked a third time, so the process ends at once",
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Blocked | Self::Overdue => Outcome::DeadlineForced,
            Self::ThirdSignal => Outcome::OperatorForced,
        }
    }
}

/// When it was to be acted, and why.
#[derive(Debug)]
struct Acted {
    cause: Cause,
    due: Instant,
    /// The beginning, as the signal or the shutdown told it.
    begun: Begun,
}

/// Signals as they come.
trait Asked {
    async fn asked(&mut self) -> Signal;
}

impl Asked for Option<Signals> {
    async fn asked(&mut self) -> Signal {
        match self {
            Some(signals) => signals.next().await,
            None => std::future::pending().await,
        }
    }
}

struct Watch<S> {
    begun: watch::Receiver<Option<Begun>>,
    phase: watch::Receiver<Phase>,
    report: watch::Receiver<Option<Arc<ShutdownReport>>>,
    still: S,
    deadline: Duration,
    grace: Duration,
    until_exit: bool,
    debounce: Duration,
}

impl<S: Fn() -> bool> Watch<S> {
    /// Returns when the process must end, or `None` if nothing is left to watch. The first ask is
    /// whatever begins the shutdown; a signal begins the time even if the gateway is too stuck to
    /// hear it. `show` is called at each SIGQUIT.
    async fn cause(mut self, mut signals: impl Asked, show: impl Fn()) -> Option<Acted> {
        let mut asks = 0;
        let begun = loop {
            tokio::select! {
                biased;
                begun = self.begun.wait_for(Option::is_some) => {
                    // A gateway that is gone without a shutdown has nothing to be ended.
                    break begun.ok()?.clone()?;
                }
                signal = signals.asked() => {
                    asks = count(signal, asks, &show);
                    if asks > 0 {
                        let trigger = signal.as_str().to_owned();
                        let (at, started) = (Instant::now(), crate::types::Timestamp::now());
                        break Begun { at, started, trigger };
                    }
                }
            }
        };
        asks = asks.max(1);
        let mut last = Instant::now();
        let deadline = begun.at + self.deadline;
        let mut look = deadline;
        let mut is_done = self.is_done();
        loop {
            if is_done && !self.until_exit {
                return None;
            }
            let (cause, due) = tokio::select! {
                biased;
                () = sleep_until(look) => {
                    let end = deadline + self.grace;
                    if look >= end {
                        (Cause::Overdue, end)
                    } else if !is_done && (self.still)() {
                        (Cause::Blocked, look)
                    } else {
                        look = end.min(Instant::now() + LOOK);
                        continue;
                    }
                }
                signal = signals.asked() => {
                    // The first of those that force is one even right after another signal.
                    let forces = signal.forces() && asks < 2;
                    if last.elapsed() < self.debounce && !forces {
                        continue;
                    }
                    last = Instant::now();
                    asks = count(signal, asks, &show);
                    if asks < 3 {
                        continue;
                    }
                    (Cause::ThirdSignal, last)
                }
                done = completed(&mut self.phase), if !is_done => {
                    if !done {
                        return None;
                    }
                    is_done = true;
                    continue;
                }
            };
            // What was heard here may be known better by now.
            let told = self.begun.borrow().clone();
            return Some(Acted { cause, due, begun: told.unwrap_or(begun) });
        }
    }

    fn is_done(&self) -> bool {
        self.report.borrow().is_some()
    }
}

/// How often was asked, with this signal.
fn count(signal: Signal, asks: u32, show: &impl Fn()) -> u32 {
    match signal {
        // It may not mean the end.
        Signal::Hangup => asks,
        Signal::Quit => {
            show();
            // It forces, as the second does.
            (asks + 1).max(2)
        }
        _ => asks + 1,
    }
}

/// Waits until the shutdown is complete; false if it never will be.
async fn completed(phase: &mut watch::Receiver<Phase>) -> bool {
    phase.wait_for(|phase| *phase == Phase::Complete).await.is_ok()
}

fn end(
    acted: &Acted,
    phase: Phase,
    reported: Option<&ShutdownReport>,
    witness: Witness,
    settings: &WatchdogSettings,
) -> ! {
    let Acted { cause, due, begun } = acted;
    let (cause, why) = (*cause, cause.words());
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let late_us = micros(due.elapsed());
    let due_ms = micros(due.saturating_duration_since(begun.at)) / 1000;
    let (code, words) = if let Some(report) = reported {
        let words = format!("{why}; the shutdown itself had come to its report");
        (report.outcome.exit_code(), words)
    } else {
        let file = witness.file();
        let outcome = cause.outcome();
        let ending = Ending { begun, phase, outcome, why, limit: LAST_WORDS };
        let report = witness.last_report(&ending);
        let files: Vec<_> = [Some(&file), settings.report.as_ref()].into_iter().flatten().collect();
        let files: Vec<_> = files.into_iter().map(PathBuf::as_path).collect();
        let failed = witness::write(&report, &files, LAST_WORDS);
        (report.outcome.exit_code(), last_words(why, &report, &failed))
    };
    tracing::error!(?cause, %phase, due_ms, late_us, exit_code = code, words, "the process ends before its shutdown has");
    say(settings, &format!("exchange-gateway: {words}\nexit code {code}"));
    let last = Arc::clone(&settings.before_exit);
    Bounded::begin(move || last()).within(LAST_WORDS);
    std::process::exit(code.into())
}

fn say(settings: &WatchdogSettings, words: &str) {
    let (say, words) = (Arc::clone(&settings.say), words.to_owned());
    Bounded::begin(move || say(&words)).within(LAST_WORDS);
}

/// Why it ends, and by name all that somebody must see to.
fn last_words(why: &str, report: &ShutdownReport, not_written: &[String]) -> String {
    let orders = report.orders_left().map(|order| order.client_id.to_string()).collect();
    let leftover = |order: &LeftoverOrder| order.client_id.to_string();
    let leftovers = report.exchanges.iter().flat_map(|exchange| &exchange.leftover_orders);
    let positions = report.positions.iter().filter(|position| !position.left.is_zero());
    let positions = positions.map(|position| format!("{} {}", position.instrument, position.left));
    let failures = report.failures.iter();
    let lists: [(&str, Vec<String>); 6] = [
        ("orders that are open or unknown", orders),
        ("open orders of an earlier run", leftovers.map(leftover).collect()),
        ("orders of an earlier run that cannot be reached", {
            report.stranded_orders.iter().map(leftover).collect()
        }),
        ("positions", positions.collect()),
        ("failures", failures.map(|f| format!("{}: {}", f.scope, f.reason)).collect()),
        ("not written", not_written.to_vec()),
    ];
    let mut words = why.to_owned();
    for (name, list) in lists {
        if list.is_empty() {
            continue;
        }
        words.push('\n');
        words.push_str(name);
        words.push(':');
        for line in list {
            words.push_str("\n  ");
            words.push_str(&line);
        }
    }
    if let Some(error) = &report.state.error {
        words.push_str("\nstate not saved: ");
        words.push_str(error);
    }
    words
}

#[cfg(test)]
mod tests;
