//! `check`: every fault of a configuration, or its effective values.

use std::io;
use std::path::Path;

use exchange_gateway::config::{Config, Fault, Supervisor};

use super::args::CheckArgs;
use super::{USAGE, output, risk};

pub(crate) fn check(args: &CheckArgs) -> io::Result<u8> {
    let Some(config) = read(&args.config) else { return Ok(USAGE) };
    output::print(&config.effective_toml())?;
    warn(&config);
    if let Some(warning) = config.supervisor_warning(&Supervisor::ALL) {
        print(warning);
    }
    risk::warn(&config);
    Ok(0)
}

/// Reads a configuration, or prints its faults.
pub(crate) fn read(file: &Path) -> Option<Config> {
    match Config::from_file(file) {
        Ok(config) => Some(config),
        Err(error) => {
            eprintln!("{error}");
            let count = error.faults.len();
            eprintln!(
                "{count} {} in the configuration",
                if count == 1 { "fault" } else { "faults" }
            );
            None
        }
    }
}

/// Prints what is allowed but most likely not meant.
pub(crate) fn warn(config: &Config) {
    config.warnings().into_iter().for_each(print);
}

/// Warns if what runs this very process would kill it before its shutdown ends.
pub(crate) fn warn_here(config: &Config) {
    let here: Vec<_> = supervisor().into_iter().collect();
    config.supervisor_warning(&here).into_iter().for_each(print);
}

/// What runs this process, as far as it shows.
fn supervisor() -> Option<Supervisor> {
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("KUBERNETES_SERVICE_HOST") {
        Some(Supervisor::Kubernetes)
    } else if Path::new("/.dockerenv").exists() {
        Some(Supervisor::Docker)
    } else {
        // It sets this for every service that it starts, and for what these start in turn.
        is_set("INVOCATION_ID").then_some(Supervisor::Systemd)
    }
}

fn print(warning: Fault) {
    let help = warning.help.map(|help| format!("; {help}")).unwrap_or_default();
    eprintln!("warning: {}: {}{help}", warning.key, warning.problem);
}
