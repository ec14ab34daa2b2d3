//! The kill switch in a file that a person can read. One that cannot be read counts as tripped: it is
//! there because something went wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::directory::replace_file;
use super::{StateDirectory, StateError};
use crate::types::{KillSwitch, Timestamp};

const FILE: &str = "kill-switch.json";

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KillSwitchState {
    /// No order may be placed.
    Tripped(KillSwitch),
    /// A person allowed orders again.
    Reset(KillSwitchReset),
}

/// The reset of a kill switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillSwitchReset {
    /// When.
    pub at: Timestamp,
    /// What the day's profit was then, by currency: the loss limit counts from it until the day
    /// (UTC) ends. A currency is added when a gateway has worked it out.
    #[serde(default)]
    pub day_profit: BTreeMap<String, Decimal>,
}

impl StateDirectory {
    /// Where the kill switch is kept.
    pub fn kill_switch_file(&self) -> PathBuf {
        self.path().join(FILE)
    }

    /// How the kill switch stands; none if it never tripped.
    ///
    /// # Errors
    /// The file cannot be read. The switch is to be taken for tripped then.
    pub fn load_kill_switch(&self) -> Result<Option<KillSwitchState>, StateError> {
        let path = self.kill_switch_file();
        let unreadable = |reason: String| StateError::KillSwitch { path: path.clone(), reason };
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map(Some).map_err(|e| unreadable(e.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// Keeps how the kill switch stands; the file is replaced whole or not at all, and is on the disk
    /// when this returns.
    pub fn save_kill_switch(&self, state: &KillSwitchState) -> Result<(), StateError> {
        let path = self.kill_switch_file();
        let write = |source| StateError::Write { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(state).map_err(|e| write(io::Error::other(e)))?;
        text.push(b'\n');
        replace_file(&path, &text).map_err(write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DayLoss;

    #[test]
    fn the_switch_comes_back_as_it_was_kept() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(temporary.path()).unwrap();
        assert_eq!(directory.load_kill_switch().unwrap(), None);
        let loss = DayLoss {
            currency: "USDT".into(),
            lost: "500.00000001".parse().unwrap(),
            limit: "500".parse().unwrap(),
        };
        let tripped = Timestamp::from_second(1_700_000_000).unwrap();
        let switch = KillSwitch { tripped, reason: "lost".into(), loss: Some(loss) };
        let reset = KillSwitchReset { at: tripped, day_profit: BTreeMap::new() };
        for state in [KillSwitchState::Tripped(switch), KillSwitchState::Reset(reset)] {
            directory.save_kill_switch(&state).unwrap();
            assert_eq!(directory.load_kill_switch().unwrap(), Some(state));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_a_switch_that_never_tripped() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(temporary.path()).unwrap();
        for text in ["", "{", "{\"state\":\"fine\"}", "null", "{\"state\":\"tripped\"}"] {
            fs::write(directory.kill_switch_file(), text).unwrap();
            let error = directory.load_kill_switch().unwrap_err().to_string();
            assert!(error.contains("risk reset"), "{text}: {error}");
        }
    }
}
