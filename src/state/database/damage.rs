//! What is broken, and where.

use std::fmt;

use serde::Serialize;

/// Something in the state database that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The table; or `page`, `log`, `file` or `structure` where it is no row that is broken.
    pub table: String,
    /// The row's key, its parts joined with `/`; or the number of the page or frame, or a name.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Damage {
    pub(super) fn row(table: &str, key: String, reason: impl Into<String>) -> Self {
        Self { table: table.to_owned(), key, reason: reason.into() }
    }

    pub(super) fn page(number: usize, reason: impl Into<String>) -> Self {
        Self::row("page", number.to_string(), reason)
    }

    pub(super) fn log(key: &str, reason: impl Into<String>) -> Self {
        Self::row("log", key.to_owned(), reason)
    }

    pub(super) fn file(name: &str, reason: impl Into<String>) -> Self {
        Self::row("file", name.to_owned(), reason)
    }

    pub(super) fn structure(key: &str, reason: impl Into<String>) -> Self {
        Self::row("structure", key.to_owned(), reason)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.table, self.key, self.reason)
    }
}
