//! Console events of Windows. For the last three the system ends the process by itself after its
//! own limit, whatever the process does.

use std::io;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
    ctrl_logoff, ctrl_shutdown,
};

use super::Signal;

/// Waits for Ctrl-C, Ctrl-Break, and for the end of the console, the session or the system.
pub(crate) struct Signals {
    interrupt: CtrlC,
    pause: CtrlBreak,
    close: CtrlClose,
    logoff: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Installs the handlers. From here on the events no longer end the process by themselves.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            pause: ctrl_break()?,
            close: ctrl_close()?,
            logoff: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.pause.recv() => Signal::Break,
            _ = self.close.recv() => Signal::Close,
            _ = self.logoff.recv() => Signal::Logoff,
            _ = self.shutdown.recv() => Signal::SystemShutdown,
        }
    }
}
