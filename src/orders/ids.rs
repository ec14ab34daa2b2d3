//! Client order ids: the gateway's tag, the run, and a number, in 18 letters and digits.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::{ClientOrderId, InvalidId, Timestamp};

/// Enough for tenths of a second until the year 4450.
const RUN_DIGITS: usize = 7;

/// Generates ids that are unique among all runs of one tag and one state directory. Eighteen characters are what Kraken allows for free text, the least of all.
pub(crate) struct IdGenerator {
    prefix: String,
    next: AtomicU64,
}

impl IdGenerator {
    /// Ids of a run that began at `start`, above all that an earlier run used, of which `newest` is
    /// the greatest. The tag has 1 to 3 lower-case letters or digits.
    pub(crate) fn new(tag: &str, start: Timestamp, newest: Option<ClientOrderId>) -> Self {
        let tenths = u64::try_from(start.as_millisecond() / 100).unwrap_or(0);
        // Runs may begin in one tenth of a second, and clocks are put back.
        let used = newest.and_then(|id| {
            let run = id.as_str().strip_prefix(tag)?.get(..RUN_DIGITS)?;
            u64::from_str_radix(run, 36).ok()
        });
        let run = tenths.max(used.map_or(0, |used| used + 1));
        Self { prefix: format!("{tag}{}", base36(run, RUN_DIGITS)), next: AtomicU64::new(1) }
    }

    /// What all ids of this gateway begin with, in this run and in others.
    pub(crate) fn tag(&self) -> &str {
        &self.prefix[..self.prefix.len() - RUN_DIGITS]
    }

    pub(crate) fn next(&self) -> Result<ClientOrderId, InvalidId> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let width = 18_usize.saturating_sub(self.prefix.len()).clamp(1, 8);
        ClientOrderId::new(&format!("{}{}", self.prefix, base36(number, width)))
    }
}

fn base36(mut value: u64, width: usize) -> String {
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(value % 36).unwrap_or(0)];
        value /= 36;
    }
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_the_tightest_exchange_and_never_repeat() {
        let start = "2026-11-23T10:00:00Z".parse().unwrap();
        let ids = IdGenerator::new("gw", start, None);
        let first = ids.next().unwrap();
        let second = ids.next().unwrap();
        assert_ne!(first, second);
        for id in [first, second] {
            assert!(id.as_str().len() <= 18, "{id}");
            assert!(id.as_str().starts_with("gw"));
            assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
        }
        let later = IdGenerator::new("gw", "2026-11-23T10:00:00.1Z".parse().unwrap(), None);
        assert_ne!(later.next().unwrap(), first);
    }

    #[test]
    fn runs_of_one_moment_or_of_a_clock_put_back_share_no_ids() {
        let start = "2026-11-23T10:00:00Z".parse().unwrap();
        let mut newest = IdGenerator::new("gw", start, None).next().unwrap();
        for clock in ["2026-11-23T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-23T10:00:00.05Z"] {
            let ids = IdGenerator::new("gw", clock.parse().unwrap(), Some(newest));
            let next = ids.next().unwrap();
            assert!(next > newest, "{next} comes after {newest}");
            newest = next;
        }
    }
}
