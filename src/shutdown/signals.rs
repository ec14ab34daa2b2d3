//! The operating system's requests, each by its name.

#[cfg(unix)]
#[path = "signals/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "signals/windows.rs"]
mod system;

use std::fmt;

pub(crate) use system::Signals;

/// A request of the operating system to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT, or Ctrl-C on Windows: end in order.
    Interrupt,
    /// SIGTERM: end in order. What service managers send.
    Terminate,
    /// SIGHUP, which a terminal sends that is closed.
    Hangup,
    /// SIGQUIT (Ctrl-\): force the exit at once, and show what runs.
    Quit,
    /// Ctrl-Break on Windows: end in order. What can be sent to a single process group there.
    Break,
    /// The console is closed (Windows): end in order, within the 5 seconds that the system gives.
    Close,
    /// The user logs off (Windows): end in order, within about 5 seconds.
    Logoff,
    /// The system shuts down (Windows): end in order, within the 20 seconds that a service has.
    SystemShutdown,
}

impl Signal {
    /// The name used in logs and reports, that of the system.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt if cfg!(windows) => "CTRL_C",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
            Self::Quit => "SIGQUIT",
            Self::Break => "CTRL_BREAK",
            Self::Close => "CTRL_CLOSE",
            Self::Logoff => "CTRL_LOGOFF",
            Self::SystemShutdown => "CTRL_SHUTDOWN",
        }
    }

    /// Whether it waits for nobody: the exit is forced without a signal before it.
    pub fn forces(self) -> bool {
        matches!(self, Self::Quit)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
