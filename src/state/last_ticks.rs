//! The last tick of every instrument, in a file that a person can read.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::directory::replace_file;
use super::{StateDirectory, StateError};
use crate::market::LastTick;
use crate::types::Timestamp;

const FILE: &str = "last-ticks.json";

/// Ticks as saved, with the time of saving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTicks {
    /// When they were saved.
    pub saved: Timestamp,
    /// In order of the instruments' names.
    pub ticks: Vec<LastTick>,
}

impl SavedTicks {
    /// What a run before left in the database, saved when the last of them came.
    pub(crate) fn of_earlier_run(ticks: Vec<LastTick>) -> Option<Self> {
        let all = ticks.iter().flat_map(|last| [last.trade, last.quote]).flatten();
        let saved = all.map(|tick| tick.received).max()?;
        Some(Self { saved, ticks })
    }

    /// Fills in from an earlier save what this one has not seen, so that a short run erases
    /// nothing.
    pub(crate) fn keeping(mut self, earlier: Option<&Self>) -> Self {
        for old in earlier.iter().flat_map(|earlier| &earlier.ticks) {
            match self.ticks.iter_mut().find(|new| new.instrument == old.instrument) {
                Some(new) => {
                    new.trade = new.trade.or(old.trade);
                    new.quote = new.quote.or(old.quote);
                }
                None => self.ticks.push(LastTick { count: 0, ..*old }),
            }
        }
        self.ticks.sort_unstable_by_key(|last| last.instrument);
        self
    }
}

impl StateDirectory {
    /// Where the last ticks are.
    pub fn last_ticks_file(&self) -> PathBuf {
        self.path().join(FILE)
    }

    /// Saves the last ticks; the file is replaced whole or not at all.
    pub fn save_last_ticks(&self, saved: &SavedTicks) -> Result<(), StateError> {
        let path = self.last_ticks_file();
        let write = |source| StateError::Write { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(saved).map_err(|e| write(io::Error::other(e)))?;
        text.push(b'\n');
        replace_file(&path, &text).map_err(write)
    }

    /// The ticks that the last run saved, or `None` if there was none.
    pub fn load_last_ticks(&self) -> Result<Option<SavedTicks>, StateError> {
        let path = self.last_ticks_file();
        let unreadable = |reason: String| StateError::Read { path: path.clone(), reason };
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map(Some).map_err(|e| unreadable(e.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Side, Tick, TickData, Trade};

    #[test]
    fn saved_ticks_come_back_as_they_were() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(temporary.path()).unwrap();
        assert_eq!(directory.load_last_ticks().unwrap(), None);
        let instrument = "kraken:BTC-USD".parse().unwrap();
        let trade = Trade {
            price: "64123.10".parse().unwrap(),
            quantity: "0.00000001".parse().unwrap(),
            taker_side: Side::Sell,
            trade_id: u64::MAX,
        };
        let received = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        let data = TickData::Trade(trade);
        let tick = Tick { instrument, exchange_time: None, received, data };
        let last = LastTick { instrument, trade: Some(tick), quote: None, count: 3 };
        let saved = SavedTicks { saved: received, ticks: vec![last] };
        directory.save_last_ticks(&saved).unwrap();
        assert_eq!(directory.load_last_ticks().unwrap(), Some(saved));
    }

    #[test]
    fn a_run_without_ticks_erases_none() {
        let received = Timestamp::UNIX_EPOCH;
        let saved = |name: &str, trade: Option<Tick>| {
            let instrument = name.parse().unwrap();
            let last = LastTick { instrument, trade, quote: None, count: 1 };
            SavedTicks { saved: received, ticks: vec![last] }
        };
        let trade = Trade {
            price: "1".parse().unwrap(),
            quantity: "1".parse().unwrap(),
            taker_side: Side::Buy,
            trade_id: 1,
        };
        let instrument = "binance:BTC-USDT".parse().unwrap();
        let data = TickData::Trade(trade);
        let tick = Tick { instrument, exchange_time: None, received, data };
        let earlier = saved("binance:BTC-USDT", Some(tick));
        let silent = saved("binance:BTC-USDT", None).keeping(Some(&earlier));
        assert_eq!(silent.ticks[0].trade, Some(tick));
        let other = saved("kraken:BTC-USD", None).keeping(Some(&earlier));
        assert_eq!(other.ticks.len(), 2);
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(temporary.path()).unwrap();
        fs::write(directory.last_ticks_file(), "{").unwrap();
        let error = directory.load_last_ticks().unwrap_err();
        assert!(error.to_string().contains("last-ticks.json"), "{error}");
        assert!(directory.last_ticks_file().exists());
    }
}
