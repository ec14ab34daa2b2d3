//! Which alerts are told, and what became of them. Pure: time is an argument.
//!
//! The same alert is told once in a while, and so are no more than a few different ones of one kind
//! and exchange, so that a fault that repeats itself neither floods a pager nor hides the others.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::report::{Alert, AlertDelivery, AlertKind, AlertReport};
use crate::types::ExchangeName;

/// Different alerts of one kind and exchange that are told in the time in which none is repeated.
const BURST: usize = 8;
/// Alerts that may wait for a free place to be delivered.
const WAITING: usize = 64;
/// Alerts that are remembered for the report.
const KEPT: usize = 256;
/// The least time between two log lines about alerts that are not told.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// What became of an alert that was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// It is told, under this number.
    New {
        /// Counted from 1.
        number: u64,
    },
    /// It is not told. It is to be logged if so many were not logged before it.
    Again {
        /// None: not to be logged.
        log: Option<u64>,
    },
}

/// An alert to be delivered.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) alert: Alert,
    /// How many of the same were left out since it was last told.
    pub(super) left_out: u64,
}

pub(super) struct Board {
    channels: Vec<&'static str>,
    repeat_after: Duration,
    raised: u64,
    kept: VecDeque<Entry>,
    waiting: VecDeque<Job>,
    on_their_way: usize,
    told: BTreeMap<(AlertKind, Option<ExchangeName>), Vec<Told>>,
    last_logged: Option<Instant>,
    unlogged: u64,
    stopped: bool,
}

struct Entry {
    number: u64,
    at: Instant,
    alert: Alert,
    deliveries: Vec<Delivery>,
}

struct Delivery {
    report: AlertDelivery,
    /// It has not come to its end; an error is that of the last attempt.
    open: bool,
}

/// When something was last told.
struct Told {
    about: u64,
    at: Instant,
    left_out: u64,
}

impl Board {
    pub(super) fn new(channels: Vec<&'static str>, repeat_after: Duration) -> Self {
        Self {
            channels,
            repeat_after,
            raised: 0,
            kept: VecDeque::new(),
            waiting: VecDeque::new(),
            on_their_way: 0,
            told: BTreeMap::new(),
            last_logged: None,
            unlogged: 0,
            stopped: false,
        }
    }

    pub(super) fn raise(&mut self, alert: Alert, about: &str, now: Instant) -> Raised {
        let Some(left_out) = self.is_news(&alert, about, now) else {
            return Raised::Again { log: self.may_log(now) };
        };
        self.raised += 1;
        let number = self.raised;
        let deliveries: Vec<_> =
            self.channels.iter().map(|channel| Delivery::new(channel)).collect();
        let delivers = !deliveries.is_empty();
        if self.kept.len() == KEPT {
            // Those that are still to be delivered are few, and the last.
            self.kept.pop_front();
        }
        self.kept.push_back(Entry { number, at: now, alert: alert.clone(), deliveries });
        if delivers && self.stopped {
            self.give_up(number, "the gateway had ended");
        } else if delivers {
            self.wait(Job { number, alert, left_out });
        }
        Raised::New { number }
    }

    /// Whether it is to be told, and then how many of the same were left out before.
    fn is_news(&mut self, alert: &Alert, about: &str, now: Instant) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        about.hash(&mut hasher);
        let about = hasher.finish();
        let repeat_after = self.repeat_after;
        let is_old = |told: &Told| now.duration_since(told.at) >= repeat_after;
        let told = self.told.entry((alert.kind, alert.exchange)).or_default();
        if let Some(known) = told.iter_mut().find(|told| told.about == about) {
            if !is_old(known) {
                known.left_out += 1;
                return None;
            }
            known.at = now;
            return Some(std::mem::take(&mut known.left_out));
        }
        told.retain(|told| !is_old(told));
        if told.len() == BURST {
            return None;
        }
        told.push(Told { about, at: now, left_out: 0 });
        Some(0)
    }

    fn may_log(&mut self, now: Instant) -> Option<u64> {
        if self.last_logged.is_some_and(|last| now.duration_since(last) < LOG_PAUSE) {
            self.unlogged += 1;
            return None;
        }
        self.last_logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }

    /// Queues it. Where there is no room the newest of a kind replaces one that waits.
    fn wait(&mut self, job: Job) {
        if self.waiting.len() == WAITING {
            let kind = job.alert.kind;
            match self.waiting.iter().position(|waiting| waiting.alert.kind == kind) {
                Some(at) => {
                    let replaced = self.waiting.remove(at).map(|job| job.number);
                    self.give_up(replaced.unwrap_or_default(), "a newer one took its place");
                }
                None => return self.give_up(job.number, "too many alerts were waiting"),
            }
        }
        self.waiting.push_back(job);
    }

    /// The next to be delivered.
    pub(super) fn take(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.on_their_way += 1;
        Some(job)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.waiting.len() + self.on_their_way
    }

    /// One more attempt is made.
    pub(super) fn attempt(&mut self, number: u64, channel: &str) {
        if let Some(delivery) = self.delivery(number, channel) {
            delivery.report.attempts += 1;
        }
    }

    /// An attempt has failed, and others may follow.
    pub(super) fn failed(&mut self, number: u64, channel: &str, words: &str) {
        if let Some(delivery) = self.delivery(number, channel) {
            delivery.report.error = Some(words.to_owned());
        }
    }

    /// A channel has come to its end with an alert.
    pub(super) fn ended(&mut self, number: u64, channel: &str, result: Result<(), String>) {
        if let Some(delivery) = self.delivery(number, channel) {
            delivery.open = false;
            delivery.report.error = result.err();
        }
    }

    /// Every channel has come to its end with an alert that was taken.
    pub(super) fn arrived(&mut self) {
        self.on_their_way = self.on_their_way.saturating_sub(1);
    }

    /// Nothing is delivered any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.waiting.clear();
    }

    fn delivery(&mut self, number: u64, channel: &str) -> Option<&mut Delivery> {
        let of_channel =
            |delivery: &&mut Delivery| delivery.open && delivery.report.channel == channel;
        self.entry(number)?.deliveries.iter_mut().find(of_channel)
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.kept.iter_mut().rev().find(|entry| entry.number == number)
    }

    fn give_up(&mut self, number: u64, why: &str) {
        for delivery in self.entry(number).into_iter().flat_map(|entry| &mut entry.deliveries) {
            delivery.open = false;
            delivery.report.error = Some(why.to_owned());
        }
    }

    pub(super) fn raised_since(&self, began: Instant, kinds: &[AlertKind]) -> bool {
        let mut recent = self.kept.iter().rev().take_while(|entry| entry.at >= began);
        recent.any(|entry| kinds.contains(&entry.alert.kind))
    }

    pub(super) fn reports(&self) -> Vec<AlertReport> {
        let report = |entry: &Entry| AlertReport {
            alert: entry.alert.clone(),
            deliveries: entry.deliveries.iter().map(Delivery::report).collect(),
        };
        self.kept.iter().map(report).collect()
    }
}

impl Delivery {
    fn new(channel: &str) -> Self {
        let report = AlertDelivery { channel: channel.to_owned(), attempts: 0, error: None };
        Self { report, open: true }
    }

    fn report(&self) -> AlertDelivery {
        let mut report = self.report.clone();
        if self.open {
            let words = report.error.map(|words| format!("; the last attempt: {words}"));
            report.error = Some(format!("not delivered in time{}", words.unwrap_or_default()));
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    const MINUTE: Duration = Duration::from_secs(60);
    const WEBHOOK: &str = "webhook";

    fn board() -> Board {
        Board::new(vec![WEBHOOK, "command"], MINUTE)
    }

    fn alert(kind: AlertKind, exchange: &str) -> Alert {
        let exchange = Some(ExchangeName::new(exchange).unwrap());
        Alert { kind, at: Timestamp::UNIX_EPOCH, exchange, message: "words".into() }
    }

    fn is_told(
        board: &mut Board,
        kind: AlertKind,
        exchange: &str,
        about: &str,
        at: Instant,
    ) -> bool {
        matches!(board.raise(alert(kind, exchange), about, at), Raised::New { .. })
    }

    #[test]
    fn the_same_is_told_again_only_after_a_while_and_with_the_number_left_out() {
        let (mut board, start) = (board(), Instant::now());
        let mut lost =
            |about, at| is_told(&mut board, AlertKind::ExchangeLost, "kraken", about, at);
        assert!(lost("market", start));
        assert!(!lost("market", start + MINUTE / 2));
        assert!(!lost("market", start + MINUTE - Duration::from_millis(1)));
        assert!(lost("trading", start + MINUTE / 2), "it is about something else");
        assert!(lost("market", start + MINUTE));
        assert!(!lost("market", start + MINUTE));
        let left_out: Vec<_> =
            std::iter::from_fn(|| board.take()).map(|job| (job.number, job.left_out)).collect();
        assert_eq!(left_out, [(1, 0), (2, 0), (3, 2)]);
        assert!(is_told(&mut board, AlertKind::ExchangeLost, "binance", "market", start));
        assert!(is_told(&mut board, AlertKind::KillSwitch, "kraken", "market", start));
    }

    #[test]
    fn a_storm_of_one_kind_is_cut_off_and_hides_no_other() {
        let (mut board, start) = (board(), Instant::now());
        let mut told = 0;
        for number in 0..1000 {
            let about = format!("failure {number}");
            told +=
                usize::from(is_told(&mut board, AlertKind::PartFailed, "kraken", &about, start));
        }
        assert_eq!(told, BURST);
        assert!(is_told(&mut board, AlertKind::OrdersLeft, "kraken", "gw1", start));
        let later = start + MINUTE;
        assert!(is_told(&mut board, AlertKind::PartFailed, "kraken", "failure 999", later));
        assert!(board.told.values().all(|told| told.len() <= BURST));
    }

    #[test]
    fn what_is_not_told_is_logged_once_a_second_with_the_number_not_logged() {
        let (mut board, start) = (board(), Instant::now());
        let mut raise = |at| board.raise(alert(AlertKind::KillSwitch, "kraken"), "loss", at);
        assert_eq!(raise(start), Raised::New { number: 1 });
        assert_eq!(raise(start), Raised::Again { log: Some(0) });
        assert_eq!(raise(start), Raised::Again { log: None });
        assert_eq!(raise(start + LOG_PAUSE / 2), Raised::Again { log: None });
        assert_eq!(raise(start + LOG_PAUSE), Raised::Again { log: Some(2) });
    }

    #[test]
    fn a_full_queue_keeps_the_newest_of_a_kind_and_says_which_were_not_delivered() {
        let (mut board, start) = (board(), Instant::now());
        for number in 0..WAITING {
            let exchange = format!("e{}", number / BURST);
            assert!(is_told(
                &mut board,
                AlertKind::PartFailed,
                &exchange,
                &number.to_string(),
                start
            ));
        }
        assert!(is_told(&mut board, AlertKind::PartFailed, "newest", "x", start));
        assert!(is_told(&mut board, AlertKind::OrdersLeft, "kraken", "gw1", start));
        assert_eq!(board.outstanding(), WAITING);
        let reports = board.reports();
        let error = |at: usize| reports[at].deliveries[0].error.clone().unwrap();
        assert_eq!(error(0), "a newer one took its place");
        assert_eq!(error(1), "not delivered in time");
        assert_eq!(error(WAITING + 1), "too many alerts were waiting");
    }

    #[test]
    fn the_report_tells_how_each_way_ended_and_what_is_still_on_its_way() {
        let (mut board, start) = (board(), Instant::now());
        assert!(is_told(&mut board, AlertKind::OrdersLeft, "kraken", "gw1", start));
        let job = board.take().unwrap();
        assert_eq!(board.outstanding(), 1);
        board.attempt(job.number, WEBHOOK);
        board.failed(job.number, WEBHOOK, "HTTP status 500");
        board.attempt(job.number, WEBHOOK);
        board.attempt(job.number, "command");
        board.ended(job.number, "command", Ok(()));
        let told = |board: &Board| board.reports().remove(0).deliveries;
        let on_its_way = "not delivered in time; the last attempt: HTTP status 500";
        assert_eq!(told(&board)[0].error.as_deref(), Some(on_its_way));
        assert_eq!((told(&board)[0].attempts, told(&board)[1].attempts), (2, 1));
        assert_eq!(told(&board)[1].error, None);
        board.ended(job.number, WEBHOOK, Ok(()));
        board.arrived();
        assert_eq!(told(&board)[0].error, None);
        assert_eq!(board.outstanding(), 0);
        board.stop();
        assert!(is_told(&mut board, AlertKind::KillSwitch, "kraken", "loss", start));
        let late = board.reports().remove(1).deliveries;
        assert_eq!(late[0].error.as_deref(), Some("the gateway had ended"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut board, start) = (board(), Instant::now());
        for number in 0..10_000_u32 {
            let at = start + MINUTE * number;
            assert!(is_told(&mut board, AlertKind::ExchangeLost, "kraken", "market", at));
            let job = board.take().unwrap();
            board.ended(job.number, WEBHOOK, Ok(()));
            board.arrived();
        }
        assert_eq!(board.kept.len(), KEPT);
        let last = start + MINUTE * 9_999;
        assert!(board.raised_since(last, &[AlertKind::ExchangeLost]));
        assert!(!board.raised_since(last + MINUTE, &[AlertKind::ExchangeLost]));
        assert!(!board.raised_since(start, &[AlertKind::KillSwitch]));
    }
}
