//! Tells the service manager how the gateway stands, by systemd's protocol (`sd_notify(3)`): ready,
//! the phases of a shutdown, and that it lives. Without a `NOTIFY_SOCKET` in the environment it tells
//! nobody. A thread sends, so that a manager that does not read holds nothing up.

use std::time::Duration;

use exchange_gateway::{Gateway, Phase};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::spool::Spool;

/// Messages that may wait for the service manager.
#[cfg(unix)]
const WAITING: usize = 64;
/// How long a progress lets the shutdown go on, at most.
const EXTENSION: Duration = Duration::from_secs(10);
/// How often is looked whether there is progress.
const LOOK: Duration = Duration::from_millis(250);

/// The service manager, if one listens.
pub(crate) struct Manager {
    messages: Option<Spool<String>>,
    /// How often it wants to hear that the gateway lives; half of it is kept.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    #[cfg(unix)]
    pub(crate) fn from_environment() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { messages: None, watchdog: None };
        }
        let messages = Spool::start("service-manager", WAITING, sender::Sender);
        Self { messages: Some(messages), watchdog: sd_notify::watchdog_enabled() }
    }

    /// Only Unix has one.
    #[cfg(not(unix))]
    pub(crate) fn from_environment() -> Self {
        Self { messages: None, watchdog: None }
    }

    fn tell(&self, message: impl Into<String>) {
        if let Some(messages) = &self.messages {
            // A manager that does not read misses what does not fit.
            _ = messages.put(message.into());
        }
    }

    /// Tells that the gateway is ready, and then all that there is to tell until its shutdown is
    /// complete. `limit` is what a shutdown takes at most.
    ///
    /// # Cancel safety
    /// Dropping the future ends the telling.
    pub(crate) async fn follow(&self, gateway: &Gateway, limit: Duration) {
        if self.messages.is_none() {
            return;
        }
        self.tell("READY=1\nSTATUS=running");
        tokio::select! {
            () = self.tell_phases(gateway, limit) => {}
            () = self.tell_life() => {}
        }
    }

    /// Waits a moment for the last message to be sent.
    pub(crate) fn settle(&self) {
        if let Some(messages) = &self.messages {
            messages.settle(LOOK);
        }
    }

    /// The phases of the shutdown, and more time for each real progress: a phase that ended, or
    /// fewer open orders than ever before. Time that merely passes earns nothing.
    async fn tell_phases(&self, gateway: &Gateway, limit: Duration) {
        let mut phase = gateway.phase();
        if phase.wait_for(|phase| *phase > Phase::Running).await.is_err() {
            return;
        }
        let began = Instant::now();
        let mut progress = Progress { least: usize::MAX, phase: Phase::Running };
        self.tell("STOPPING=1");
        loop {
            let now = *phase.borrow_and_update();
            let open = gateway.orders().unfinished().len();
            if progress.advances(now, open) {
                let rest = limit.saturating_sub(began.elapsed()).min(EXTENSION);
                let status = match (now, open) {
                    (Phase::Complete, _) => "STATUS=stopped".to_owned(),
                    (now, 0) => format!("STATUS=stopping: {}", words(now)),
                    (now, open) => format!("STATUS=stopping: {}, {open} orders open", words(now)),
                };
                // The last phase needs no time.
                let more = if now < Phase::Complete && !rest.is_zero() {
                    format!("\nEXTEND_TIMEOUT_USEC={}", rest.as_micros())
                } else {
                    String::new()
                };
                self.tell(format!("{status}{more}"));
            }
            if now == Phase::Complete {
                return;
            }
            _ = timeout(LOOK, phase.changed()).await;
        }
    }

    /// That the gateway lives, as long as the threads of the runtime take up tasks.
    async fn tell_life(&self) {
        let Some(every) = self.watchdog else { return std::future::pending().await };
        let mut beat = interval((every / 2).max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            // This itself is polled by the main thread, which is none of the runtime's workers.
            let answer = tokio::spawn(async {});
            if timeout(every, answer).await.is_ok() {
                self.tell("WATCHDOG=1");
            } else {
                tracing::error!(
                    "the runtime does not answer: the service manager is not told that it lives"
                );
                sleep(every).await;
            }
        }
    }
}

fn words(phase: Phase) -> String {
    phase.as_str().replace('_', " ")
}

/// How far a shutdown has come.
struct Progress {
    phase: Phase,
    /// The fewest open orders so far.
    least: usize,
}

impl Progress {
    /// Whether this is further than ever before.
    fn advances(&mut self, phase: Phase, open: usize) -> bool {
        let further = phase > self.phase || open < self.least;
        self.phase = self.phase.max(phase);
        self.least = self.least.min(open);
        further
    }
}

#[cfg(unix)]
mod sender {
    use std::io;

    use sd_notify::NotifyState;

    use crate::cli::spool::Work;

    pub(super) struct Sender;

    impl Work for Sender {
        type Item = String;

        fn work(&mut self, message: String) -> io::Result<()> {
            // One that is gone for a moment, as while it restarts, is told the next thing again.
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
                tracing::debug!(%error, message, "the service manager was not told");
            }
            Ok(())
        }

        fn lost(&mut self, count: u64) -> io::Result<()> {
            tracing::debug!(count, "messages to the service manager were dropped");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_phase_or_fewer_open_orders_than_ever_are_progress() {
        let mut progress = Progress { phase: Phase::Running, least: usize::MAX };
        let steps = [
            (Phase::StopNewOrders, 5, true),
            (Phase::StopNewOrders, 5, false),
            (Phase::CancelPending, 5, true),
            (Phase::CancelPending, 3, true),
            (Phase::CancelPending, 4, false),
            (Phase::CancelPending, 3, false),
            (Phase::SaveState, 3, true),
            (Phase::SaveState, 3, false),
        ];
        for (phase, open, further) in steps {
            assert_eq!(progress.advances(phase, open), further, "{phase} {open}");
        }
    }

    struct Told(std::sync::mpsc::Sender<String>);

    impl crate::cli::spool::Work for Told {
        type Item = String;

        fn work(&mut self, message: String) -> std::io::Result<()> {
            self.0.send(message).map_err(std::io::Error::other)
        }

        fn lost(&mut self, _: u64) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_runtime_whose_workers_are_blocked_is_not_called_alive() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let (sender, told) = std::sync::mpsc::channel();
        let messages = Some(Spool::start("told", WAITING, Told(sender)));
        let manager = Manager { messages, watchdog: Some(Duration::from_millis(20)) };
        let (blocked, is_blocked) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        runtime.spawn(async move {
            blocked.send(()).unwrap();
            _ = released.recv();
        });
        is_blocked.recv().unwrap();
        // The timers are the workers' too, so that this thread is the only one that can wait.
        let telling = runtime.handle().clone();
        std::thread::spawn(move || telling.block_on(manager.tell_life()));
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "its worker is blocked");
        release.send(()).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), "WATCHDOG=1");
        runtime.shutdown_background();
    }
}
