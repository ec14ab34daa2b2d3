//! The exchange's limits on orders and cancels: what may be written now, and when the rest may.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::exchange::{CancelWeight, LimitScope, OrderLimit, OrderLimits};
use crate::rate::{Meter, Share};
use crate::types::Instrument;

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A new order.
    New,
    /// A new order that only reduces a position.
    Reducing,
    /// A cancel of an order of this age.
    Cancel { age: Duration },
    /// A request that cancels many orders, by itself; the orders are
    /// [counted](Limiter::count_cancelled) besides.
    CancelAll,
    /// The question how an order stands.
    Query,
    /// The question for an order's fills.
    Fills,
}

/// How many requests cancel everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CancelRequests {
    /// Orders that are cancelled one by one, of each instrument.
    pub(crate) single: BTreeMap<Instrument, u32>,
    /// Requests that cancel all orders of an instrument or of the account.
    pub(crate) mass: u32,
}

impl CancelRequests {
    /// Whether nothing is to be cancelled.
    pub(crate) fn is_empty(&self) -> bool {
        self.single.is_empty() && self.mass == 0
    }
}

pub(super) struct Limiter {
    limits: OrderLimits,
    /// The use of each limit, in the same order.
    used: Vec<FxHashMap<Option<Instrument>, Meter>>,
    /// How much of a limit that cancels share is kept for them and for reduce-only orders.
    reserve_percent: u32,
    /// New orders wait because the exchange said that there were too many requests.
    paused_until: Option<Instant>,
}

impl Limiter {
    pub(super) fn new(limits: OrderLimits, reserve_percent: u32) -> Self {
        let used = limits.iter().map(|_| FxHashMap::default()).collect();
        Self { limits, used, reserve_percent, paused_until: None }
    }

    /// Other limits hold from now on. Told again, the same ones keep their count.
    pub(super) fn replace(&mut self, limits: OrderLimits) {
        if limits != self.limits {
            *self =
                Self { paused_until: self.paused_until, ..Self::new(limits, self.reserve_percent) };
        }
    }

    /// New orders wait until then, if they do not wait for longer already.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// For how much longer new orders wait, if the exchange said so.
    pub(super) fn pause_left(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_duration_since(now()))
    }

    /// Whether some limit counts each instrument by itself, so that one that waits is no reason for
    /// another to wait.
    pub(super) fn tells_instruments_apart(&self) -> bool {
        self.limits.iter().any(|limit| limit.scope == LimitScope::Instrument)
    }

    /// Counts a message if every limit has room for it; if not, tells when they will have.
    pub(super) fn admit(
        &mut self,
        kind: Kind,
        instrument: Instrument,
        now: Instant,
    ) -> Result<(), Instant> {
        let is_new = matches!(kind, Kind::New | Kind::Reducing);
        if let Some(until) = self.paused_until.filter(|_| is_new) {
            if now < until {
                return Err(until);
            }
            self.paused_until = None;
        }
        let may_wait = matches!(kind, Kind::New | Kind::Fills);
        let share = if may_wait { Share::Ordinary } else { Share::Whole };
        let mut ready = now;
        for (limit, used) in self.limits.iter().zip(&mut self.used) {
            let (weight, waits) = weight(limit, kind);
            if weight > 0 && waits {
                let meter = meter(limit, used, instrument, self.reserve_percent, now);
                if let Err(at) = meter.look(share, weight, now) {
                    ready = ready.max(at);
                }
            }
        }
        if ready > now {
            return Err(ready);
        }
        for (limit, used) in self.limits.iter().zip(&mut self.used) {
            let (weight, _) = weight(limit, kind);
            if weight > 0 {
                meter(limit, used, instrument, self.reserve_percent, now).charge(weight, now);
            }
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> &OrderLimits {
        &self.limits
    }

    /// Counts the cancel of an order by a request for many, where the exchange counts cancels by
    /// their orders' age.
    pub(super) fn count_cancelled(&mut self, instrument: Instrument, age: Duration, now: Instant) {
        for (limit, used) in self.limits.iter().zip(&mut self.used) {
            let (weight, waits) = weight(limit, Kind::Cancel { age });
            if weight > 0 && !waits {
                meter(limit, used, instrument, self.reserve_percent, now).charge(weight, now);
            }
        }
    }
}

/// The least time from the first to the last of these requests, if nothing else uses the limits.
pub(super) fn least_wait(limits: &OrderLimits, cancels: &CancelRequests) -> Duration {
    let of_limit = |limit: &OrderLimit| {
        let CancelWeight::Waits(weight) = limit.cancel else { return Duration::ZERO };
        let singles = || cancels.single.values().copied();
        let most = match limit.scope {
            LimitScope::Account => singles().sum::<u32>() + cancels.mass,
            LimitScope::Instrument => singles().max().unwrap_or_default(),
        };
        let over = most.saturating_mul(weight).saturating_sub(limit.rule.burst());
        limit.rule.interval().saturating_mul(over)
    };
    limits.iter().map(of_limit).max().unwrap_or_default()
}

/// How much a message adds to a limit, and whether it waits for room.
fn weight(limit: &OrderLimit, kind: Kind) -> (u32, bool) {
    match (kind, limit.cancel) {
        (Kind::New | Kind::Reducing, _) => (limit.order, true),
        (Kind::Query, _) => (limit.question, true),
        (Kind::Fills, _) => (limit.fills, true),
        (Kind::Cancel { .. } | Kind::CancelAll, CancelWeight::Waits(weight)) => (weight, true),
        (Kind::CancelAll, CancelWeight::ByAge(_)) => (0, false),
        (Kind::Cancel { age }, CancelWeight::ByAge(table)) => {
            let entry = table.iter().find(|(below, _)| age < *below);
            (entry.map_or(0, |(_, weight)| *weight), false)
        }
    }
}

/// The use of a limit, by instrument where the exchange counts so. There are as many as there are
/// configured instruments.
fn meter<'a>(
    limit: &OrderLimit,
    used: &'a mut FxHashMap<Option<Instrument>, Meter>,
    instrument: Instrument,
    reserve_percent: u32,
    now: Instant,
) -> &'a Meter {
    let key = (limit.scope == LimitScope::Instrument).then_some(instrument);
    used.entry(key).or_insert_with(|| {
        let shared = limit.cancel != CancelWeight::Waits(0);
        let percent = if shared { u64::from(reserve_percent) } else { 0 };
        let reserve = (u64::from(limit.rule.burst()) * percent).div_ceil(100);
        Meter::new(limit.rule, u32::try_from(reserve).unwrap_or(u32::MAX), now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::RateRule;

    const SECOND: Duration = Duration::from_secs(1);
    const AGES: &[(Duration, u32)] = &[(Duration::from_secs(5), 8), (Duration::from_secs(10), 6)];
    const YOUNG: Kind = Kind::Cancel { age: Duration::ZERO };

    fn instrument(name: &str) -> Instrument {
        name.parse().unwrap()
    }

    fn bucket(name: &'static str, burst: u32) -> OrderLimit {
        OrderLimit {
            name,
            rule: RateRule::Bucket { burst, refill: SECOND },
            scope: LimitScope::Account,
            order: 1,
            cancel: CancelWeight::Waits(1),
            question: 0,
            fills: 0,
        }
    }

    fn admitted(limiter: &mut Limiter, kind: Kind, at: &str, now: Instant) -> usize {
        (0..1000).take_while(|_| limiter.admit(kind, instrument(at), now).is_ok()).count()
    }

    #[test]
    fn new_orders_leave_a_share_to_cancels_and_to_orders_that_reduce() {
        let now = Instant::now();
        let mut limiter = Limiter::new(vec![bucket("matching", 20)], 25);
        assert_eq!(admitted(&mut limiter, Kind::New, "deribit:BTC-PERPETUAL", now), 15);
        assert_eq!(limiter.admit(Kind::Reducing, instrument("deribit:BTC-PERPETUAL"), now), Ok(()));
        assert_eq!(admitted(&mut limiter, YOUNG, "deribit:BTC-PERPETUAL", now), 4);
        assert_eq!(admitted(&mut limiter, Kind::Query, "deribit:BTC-PERPETUAL", now), 1000);
    }

    #[test]
    fn the_least_wait_is_that_of_the_limit_that_holds_cancels_up_longest() {
        let each = OrderLimit { scope: LimitScope::Instrument, ..bucket("each", 2) };
        let limits = vec![bucket("matching", 20), each.clone()];
        let single = |counts: &[(&str, u32)]| CancelRequests {
            single: counts.iter().map(|(at, count)| (instrument(at), *count)).collect(),
            mass: 1,
        };
        let of = |counts: &[(&str, u32)]| least_wait(&limits, &single(counts));
        assert_eq!(of(&[]), Duration::ZERO);
        assert_eq!(of(&[("deribit:A-PERPETUAL", 2), ("deribit:B-PERPETUAL", 2)]), Duration::ZERO);
        assert_eq!(of(&[("deribit:A-PERPETUAL", 5), ("deribit:B-PERPETUAL", 2)]), SECOND * 3);
        // 30 and the one that cancels many, less the 20 at once.
        assert_eq!(of(&[("deribit:A-PERPETUAL", 12), ("deribit:B-PERPETUAL", 18)]), SECOND * 16);
        let by_age = OrderLimit { cancel: CancelWeight::ByAge(AGES), ..each };
        assert_eq!(least_wait(&vec![by_age], &single(&[("kraken:A-USD", 99)])), Duration::ZERO);
    }

    #[test]
    fn a_limit_that_counts_no_cancels_keeps_nothing_back_for_them() {
        let now = Instant::now();
        let limit = OrderLimit { cancel: CancelWeight::Waits(0), ..bucket("ORDERS", 20) };
        let mut limiter = Limiter::new(vec![limit], 25);
        assert_eq!(admitted(&mut limiter, Kind::New, "binance:BTC-USDT", now), 20);
    }

    #[test]
    fn what_one_limit_refuses_uses_up_no_other() {
        let now = Instant::now();
        let (wide, tight) = (bucket("wide", 40), bucket("tight", 4));
        let mut limiter = Limiter::new(vec![wide, tight], 0);
        assert_eq!(admitted(&mut limiter, Kind::New, "binance:BTC-USDT", now), 4);
        for _ in 0..100 {
            assert!(limiter.admit(Kind::New, instrument("binance:BTC-USDT"), now).is_err());
        }
        let later = now + SECOND * 36;
        assert_eq!(admitted(&mut limiter, Kind::New, "binance:BTC-USDT", later), 4);
    }

    #[test]
    fn each_instrument_has_its_own_counter_where_the_exchange_counts_so() {
        let now = Instant::now();
        let limit = OrderLimit {
            scope: LimitScope::Instrument,
            cancel: CancelWeight::ByAge(AGES),
            ..bucket("counter", 60)
        };
        let mut limiter = Limiter::new(vec![limit], 25);
        assert_eq!(
            admitted(&mut limiter, YOUNG, "kraken:ETH-USD", now),
            1000,
            "cancels never wait"
        );
        assert_eq!(admitted(&mut limiter, Kind::New, "kraken:ETH-USD", now), 0);
        limiter.admit(YOUNG, instrument("kraken:BTC-USD"), now).unwrap();
        limiter.admit(Kind::Cancel { age: SECOND * 5 }, instrument("kraken:BTC-USD"), now).unwrap();
        limiter
            .admit(Kind::Cancel { age: SECOND * 10 }, instrument("kraken:BTC-USD"), now)
            .unwrap();
        assert_eq!(admitted(&mut limiter, Kind::New, "kraken:BTC-USD", now), 45 - 8 - 6);
    }

    #[test]
    fn a_pause_holds_new_orders_only_and_the_same_limits_keep_their_count() {
        let now = Instant::now();
        let mut limiter = Limiter::new(vec![bucket("matching", 20)], 25);
        admitted(&mut limiter, Kind::New, "deribit:BTC-PERPETUAL", now);
        limiter.replace(vec![bucket("matching", 20)]);
        assert_eq!(admitted(&mut limiter, Kind::New, "deribit:BTC-PERPETUAL", now), 0);
        limiter.replace(vec![bucket("matching", 40)]);
        limiter.pause(now + SECOND * 3);
        limiter.pause(now + SECOND);
        let refused = limiter.admit(Kind::New, instrument("deribit:BTC-PERPETUAL"), now + SECOND);
        assert_eq!(refused, Err(now + SECOND * 3));
        assert_eq!(admitted(&mut limiter, YOUNG, "deribit:BTC-PERPETUAL", now + SECOND), 40);
        let later = now + SECOND * 40;
        assert_eq!(admitted(&mut limiter, Kind::New, "deribit:BTC-PERPETUAL", later), 29);
    }
}
