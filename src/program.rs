//! Programs that the gateway starts: each is a process group of its own, so that it can be ended with
//! all that it started.

use std::io;

use tokio::process::{Child, Command};

/// Gives the program a group of its own. Ctrl-C at a terminal is for the gateway, not for it.
pub(crate) fn in_its_own_group(command: &mut Command) {
    #[cfg(unix)]
    command.process_group(0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Kills the program with all that it started, unless it has been waited for. Where there are no
/// process groups, nothing happens.
pub(crate) fn kill_group(child: &Child) -> io::Result<()> {
    // It has an id until it has been waited for, so that the id is nobody else's.
    #[cfg(unix)]
    if let Some(group) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
    }
    #[cfg(not(unix))]
    let _ = child;
    Ok(())
}
