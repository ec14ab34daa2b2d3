//! Plays recorded messages to whoever subscribed to their stream.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use crate::config::ReplayConfig;
use crate::mock::Shared;

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file could not be read.
    #[error("the recording {} could not be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A line is not a recorded message.
    #[error("{} line {line}: {problem}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The speed makes no sense.
    #[error("the replay speed is {0}; it must be above 0, 1 keeps the recorded pace")]
    Speed(f64),
}

#[derive(Deserialize)]
struct Line {
    at_ms: u64,
    exchange: String,
    #[serde(alias = "channel")]
    stream: String,
    message: Box<RawValue>,
}

/// A recording in memory.
pub(crate) struct Recording {
    lines: Vec<Line>,
    speed: f64,
}

impl Recording {
    pub(crate) fn load(config: &ReplayConfig) -> Result<Self, ReplayError> {
        if !(config.speed.is_finite() && config.speed > 0.0) {
            return Err(ReplayError::Speed(config.speed));
        }
        let file = config.file.clone();
        let text = std::fs::read_to_string(&file)
            .map_err(|source| ReplayError::Read { file: file.clone(), source })?;
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let line = serde_json::from_str(line).map_err(|error| ReplayError::Line {
                file: file.clone(),
                line: index + 1,
                problem: error.to_string(),
            })?;
            lines.push(line);
        }
        lines.sort_by_key(|line: &Line| line.at_ms);
        Ok(Self { lines, speed: config.speed })
    }

    /// Plays it once, from now.
    pub(crate) async fn play(self, shared: Arc<Shared>) {
        let start = Instant::now();
        let count = self.lines.len();
        for line in self.lines {
            let at = Duration::from_millis(line.at_ms).div_f64(self.speed);
            sleep_until(start + at).await;
            if let Some(venue) = shared.venue(&line.exchange) {
                venue.shared.replay(&line.stream, line.message.get());
            } else {
                tracing::debug!(exchange = line.exchange, "the replayed exchange does not run");
            }
        }
        tracing::info!(messages = count, "the recording was played");
    }
}
