//! The last resort of a shutdown: a thread that depends on nothing of the gateway's runtime and
//! ends the process with the truth if the shutdown does not, or if the operator asks a third time.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use exchange_gateway::config::ShutdownConfig;
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::{Gateway, Phase};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{logging, screen};

/// Beyond its deadline, what a shutdown that works still needs to tell of itself.
const GRACE: Duration = Duration::from_secs(2);
/// What may hang in the end (the list of orders, the terminal, the log) is waited for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Watches from the start of the gateway to the end of the process.
pub(crate) struct Watchdog {
    reported: Arc<OnceLock<u8>>,
}

impl Watchdog {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system grants no thread or no signal handler.
    pub(crate) fn start(gateway: &Gateway, config: &ShutdownConfig) -> io::Result<Self> {
        let reported = Arc::new(OnceLock::new());
        let orders = gateway.orders().clone();
        let unfinished = move || {
            let orders = orders.unfinished();
            orders.iter().map(|order| order.client_id.to_string()).collect()
        };
        let watch = Watch {
            phase: gateway.phase(),
            limit: config.deadline + GRACE,
            debounce: config.force_debounce.max(Duration::from_millis(50)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _context = runtime.enter();
            Signals::install()?
        };
        let of_thread = Arc::clone(&reported);
        let work = move || {
            let cause = runtime.block_on(watch.cause(signals));
            end(cause, of_thread.get().copied(), unfinished)
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(work)?;
        Ok(Self { reported })
    }

    /// The shutdown has come to its report: from here on this is the exit code, whatever hangs.
    pub(crate) fn reported(&self, exit_code: u8) {
        _ = self.reported.set(exit_code);
    }
}

/// Why the process is ended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Overdue,
    ThirdSignal,
}

/// Asks to end, as they come.
trait Asked {
    async fn asked(&mut self);
}

struct Watch {
    phase: watch::Receiver<Phase>,
    limit: Duration,
    debounce: Duration,
}

impl Watch {
    /// Returns when the process must end. The first ask is whatever begins the shutdown; a signal
    /// begins the wait even if the gateway is too stuck to hear it.
    async fn cause(mut self, mut signals: impl Asked) -> Cause {
        tokio::select! {
            _ = self.phase.wait_for(|phase| *phase > Phase::Running) => {}
            () = signals.asked() => {}
        }
        let overdue = sleep(self.limit);
        tokio::pin!(overdue);
        let (mut asks, mut last) = (1, Instant::now());
        loop {
            tokio::select! {
                () = &mut overdue => return Cause::Overdue,
                () = signals.asked() => {
                    if last.elapsed() >= self.debounce {
                        (asks, last) = (asks + 1, Instant::now());
                    }
                    if asks == 3 {
                        return Cause::ThirdSignal;
                    }
                }
            }
        }
    }
}

/// The exit code, and what to say. `unfinished` is absent if the orders could not be looked at.
fn verdict(cause: Cause, reported: Option<u8>, unfinished: Option<&[String]>) -> (u8, String) {
    let mut words = match cause {
        Cause::Overdue => "the shutdown did not end in time, so the process ends here",
        Cause::ThirdSignal => "asked a third time, so the process ends at once",
    }
    .to_owned();
    if let Some(code) = reported {
        words.push_str("; the shutdown itself had come to its report");
        return (code, words);
    }
    let outcome = match (unfinished, cause) {
        (None, _) => {
            words.push_str("; the orders cannot be listed: take every order for open");
            Outcome::OrdersLeft
        }
        (Some([]), Cause::Overdue) => Outcome::DeadlineForced,
        (Some([]), Cause::ThirdSignal) => Outcome::OperatorForced,
        (Some(orders), _) => {
            words.push_str("; orders that are open or unknown:");
            for order in orders {
                words.push_str("\n  ");
                words.push_str(order);
            }
            Outcome::OrdersLeft
        }
    };
    (outcome.exit_code(), words)
}

fn end(
    cause: Cause,
    reported: Option<u8>,
    unfinished: impl FnOnce() -> Vec<String> + Send + 'static,
) -> ! {
    let unfinished = within(LAST_WORDS, unfinished);
    let (exit_code, words) = verdict(cause, reported, unfinished.as_deref());
    let orders = unfinished.map(|orders| orders.join(" "));
    tracing::error!(?cause, exit_code, orders, "the process ends before its shutdown has");
    screen::notice(&format!("exchange-gateway: {words}\nexit code {exit_code}"));
    logging::close(LAST_WORDS);
    std::process::exit(exit_code.into())
}

/// Does the work in a thread of its own and waits for it up to `limit`, so that work that hangs
/// holds nobody up.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("bounded-work".to_owned());
    thread.spawn(move || _ = done.send(work())).ok()?;
    result.recv_timeout(limit).ok()
}

struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    #[cfg(unix)]
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(windows)]
    fn install() -> io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }
}

impl Asked for Signals {
    #[cfg(unix)]
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(windows)]
    async fn asked(&mut self) {
        _ = self.interrupt.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    impl Asked for Receiver<()> {
        async fn asked(&mut self) {
            if self.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn watch(phase: Phase) -> (watch::Sender<Phase>, Watch) {
        let (sender, phase) = watch::channel(phase);
        let (limit, debounce) = (Duration::from_secs(22), Duration::from_millis(300));
        (sender, Watch { phase, limit, debounce })
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_that_does_not_end_is_ended_after_its_deadline() {
        let (phase, watch) = watch(Phase::Running);
        let (_signals, asked) = channel(8);
        let start = Instant::now();
        let begin = async {
            sleep(Duration::from_secs(100)).await;
            phase.send_replace(Phase::StopNewOrders);
        };
        let (cause, ()) = tokio::join!(watch.cause(asked), begin);
        assert_eq!(cause, Cause::Overdue);
        assert_eq!(start.elapsed().as_secs(), 122);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_that_the_gateway_is_too_stuck_to_hear_begins_the_wait() {
        let (_phase, watch) = watch(Phase::Running);
        let (signals, asked) = channel(8);
        signals.send(()).await.unwrap();
        let began = Instant::now();
        assert_eq!(watch.cause(asked).await, Cause::Overdue);
        assert_eq!(began.elapsed().as_secs(), 22);
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_signal_ends_at_once_and_a_bounce_is_none() {
        let (_phase, watch) = watch(Phase::CancelPending);
        let (signals, asked) = channel(8);
        let began = Instant::now();
        let press = async {
            for pause_ms in [0, 1, 399, 1, 499] {
                sleep(Duration::from_millis(pause_ms)).await;
                signals.send(()).await.unwrap();
            }
        };
        let (cause, ()) = tokio::join!(watch.cause(asked), press);
        assert_eq!(cause, Cause::ThirdSignal);
        assert_eq!(began.elapsed().as_millis(), 900, "two bounces were no asks");
    }

    #[test]
    fn the_exit_code_is_the_truth_about_the_orders() {
        let left = ["gw1".to_owned(), "gw2".to_owned()];
        let code = |cause, orders: Option<&[String]>| verdict(cause, None, orders).0;
        assert_eq!(code(Cause::Overdue, Some(&[])), 11);
        assert_eq!(code(Cause::ThirdSignal, Some(&[])), 12);
        for cause in [Cause::Overdue, Cause::ThirdSignal] {
            assert_eq!(code(cause, Some(&left)), 13);
            assert_eq!(code(cause, None), 13, "what is not known is not closed");
            assert_eq!(verdict(cause, Some(10), Some(&left)).0, 10);
        }
        let (_, words) = verdict(Cause::Overdue, None, Some(&left));
        assert!(words.contains("gw1") && words.contains("gw2"), "{words}");
    }

    #[test]
    fn work_that_hangs_is_given_up() {
        let (sender, never) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(5), move || never.recv().is_ok()), None);
        assert_eq!(within(Duration::from_secs(20), || 7), Some(7));
        drop(sender);
    }
}
