//! `[log]`: what the program's log shows.

use std::fmt::Write as _;

use super::Fault;
use super::reader::{Reader, Section};

/// What the log of the program shows. A library installs no log of its own, and has no use for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// What the log shows on the terminal: `off`, `error`, `warn`, `info`, `debug`, `trace`, or a
    /// filter by target such as `warn,exchange_gateway=debug`. Default `info`. `--log-level` or
    /// `EXCHANGE_GATEWAY_LOG` replace it. SIGHUP reads it again. `debug` and `trace` write a line for
    /// every order and more; on a busy terminal that costs time.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

impl LogConfig {
    pub(super) fn read<'t>(&mut self, reader: &mut Reader<'t>, root: &mut Section<'t>) {
        let mut s = reader.section(root, "log");
        if let Some((level, _)) = reader.text(&mut s, "level", "write it like \"info\"") {
            level.clone_into(&mut self.level);
        }
        reader.close(&s);
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let wrong = self.level.split(',').find(|directive| {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            let levels = ["off", "error", "warn", "info", "debug", "trace"];
            !levels.iter().any(|known| level.eq_ignore_ascii_case(known))
        });
        let fault = wrong.map(|wrong| {
            let wrong: String = wrong.chars().take(60).collect();
            Fault::new("log.level", format!("`{wrong}` is no log level")).help(
                "use off, error, warn, info, debug, trace, or target=level, with commas between",
            )
        });
        fault.into_iter().collect()
    }

    pub(super) fn effective(&self, text: &mut String) {
        _ = writeln!(text, "\n[log]\nlevel = {}", toml::Value::from(self.level.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_a_fault() {
        for (level, sound) in [
            ("info", true),
            ("warn,exchange_gateway=debug", true),
            ("OFF", true),
            ("loud", false),
            ("exchange_gateway=loud,info", false),
            ("", false),
        ] {
            let faults = LogConfig { level: level.to_owned() }.faults();
            assert_eq!(faults.is_empty(), sound, "{level}: {faults:?}");
        }
    }
}
