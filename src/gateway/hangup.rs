//! What SIGHUP means: a terminal that was closed sends it, and so does a person who wants the
//! configuration read again.
//!
//! A terminal that is gone ends the gateway, in order: nobody is left to look at it. So does SIGHUP
//! where nobody reads configurations again. A process that was started without a terminal, or with
//! the signal ignored (`nohup`), was meant to run on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::Gateway;

/// How long after its SIGHUP a terminal may still seem to be there.
const SETTLES: Duration = Duration::from_secs(5);
/// How often it is looked for in that time.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How this process was started, and who is told of a SIGHUP.
pub(super) struct Hangups {
    /// Whether the end of the terminal is to end the gateway.
    had_terminal: bool,
    count: watch::Sender<u64>,
}

impl Hangups {
    pub(super) fn new() -> Self {
        let had_terminal = has_terminal() && !is_ignored();
        Self { had_terminal, count: watch::channel(0).0 }
    }

    /// Ends when the terminal turns out to be gone soon after a SIGHUP that looked like a wish to
    /// reload: the system may send it a moment before it takes the terminal away. Cancel safe.
    pub(super) async fn terminal_gone(&self, since: Option<Instant>) {
        if let Some(since) = since.filter(|_| self.had_terminal) {
            while since.elapsed() < SETTLES {
                sleep(LOOK_AGAIN).await;
                if !has_terminal() {
                    return;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    fn ends(&self) -> bool {
        (self.had_terminal && !has_terminal()) || self.count.receiver_count() == 0
    }
}

impl Gateway {
    /// Follows SIGHUP: the number goes up with each that asks for the configuration to be read again.
    /// As long as somebody follows, such a SIGHUP does not end
    /// [`run_until_signal`](Self::run_until_signal); one of a terminal that was closed still does.
    pub fn hangups(&self) -> watch::Receiver<u64> {
        self.inner.hangups.count.subscribe()
    }

    /// Whether the SIGHUP that came means the end; if not, those who follow are told.
    pub(super) fn hangup_ends(&self) -> bool {
        let hangups = &self.inner.hangups;
        if hangups.ends() {
            return true;
        }
        info!("SIGHUP: the configuration is to be read again");
        hangups.count.send_modify(|count| *count += 1);
        false
    }
}

/// Whether the process has a controlling terminal.
fn has_terminal() -> bool {
    cfg!(unix) && std::fs::File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP was ignored when the process began, where the system tells.
fn is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_seen() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000000001\nSigCgt:\t0\n"));
        assert!(ignores_hangup("SigIgn:\t0000000000001003\n"));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001002\n"));
        assert!(!ignores_hangup(""));
    }

    #[test]
    fn without_a_reader_or_with_the_terminal_gone_it_is_the_end() {
        let hangups = Hangups { had_terminal: false, count: watch::channel(0).0 };
        assert!(hangups.ends());
        let reader = hangups.count.subscribe();
        assert!(!hangups.ends());
        let had = Hangups { had_terminal: true, ..hangups };
        assert_eq!(had.ends(), !has_terminal());
        drop(reader);
    }
}
