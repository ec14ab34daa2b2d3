//! What is wrong with a configuration, and where.

use std::fmt;

/// Everything that is wrong with a configuration. It prints one line a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// All faults, in the order of the file. At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// One fault. It prints as `gateway.toml:12:3: shutdown.deadlne: unknown key; did you mean …?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or `configuration` where it was built in code.
    pub file: String,
    /// The line, from 1; 0 if there is none.
    pub line: usize,
    /// The column in characters, from 1; 0 if there is none.
    pub column: usize,
    /// Which value, for example `exchanges.kraken.instruments[1]`; empty for the whole file.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            file: "configuration".into(),
            line: 0,
            column: 0,
            key: key.into(),
            problem: problem.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
