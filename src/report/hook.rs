//! How the hooks of a shutdown went.

use serde::{Deserialize, Serialize};

use super::Phase;

/// The order of hooks within a phase. Those of one priority run side by side.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum HookPriority {
    /// First.
    Critical,
    /// Second.
    High,
    /// Third.
    #[default]
    Normal,
    /// Fourth.
    Low,
    /// Last.
    Cleanup,
}

impl HookPriority {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Normal, Self::Low, Self::Cleanup];

    /// The name used in configurations, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Cleanup => "cleanup",
        }
    }
}

/// One hook's run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    /// Its name.
    pub name: String,
    /// The phase that it belongs to.
    pub phase: Phase,
    /// Its place within the phase.
    pub priority: HookPriority,
    /// When it began, in milliseconds since the shutdown did.
    pub began_ms: u64,
    /// Time it was allowed, in milliseconds.
    pub budget_ms: u64,
    /// Time it took, in milliseconds.
    pub used_ms: u64,
    /// How it ended.
    pub ended: HookEnd,
    /// Why it did not end well.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How a hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEnd {
    /// Its work was done.
    Done,
    /// It said that it failed.
    Failed,
    /// It panicked.
    Panicked,
    /// Its limit, or that of its phase, came first.
    TimedOut,
    /// The operator forced the exit before it was done.
    Forced,
    /// It never began, because its phase had no time left.
    Skipped,
}
