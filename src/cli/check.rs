//! `check`: every fault of a configuration, or its effective values.

use std::io;
use std::path::Path;

use exchange_gateway::config::Config;

use super::args::CheckArgs;
use super::{USAGE, output};

pub(crate) fn check(args: &CheckArgs) -> io::Result<u8> {
    let Some(config) = read(&args.config) else { return Ok(USAGE) };
    output::print(&config.effective_toml())?;
    warn(&config);
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
    for warning in config.warnings() {
        let help = warning.help.map(|help| format!("; {help}")).unwrap_or_default();
        eprintln!("warning: {}: {}{help}", warning.key, warning.problem);
    }
}
