//! Keeps a rate below a limit, by the generic cell rate algorithm of the crate `governor`.
//!
//! The crate decides; this file owns the state and the time it decides with. Time is an argument,
//! so that a paused clock works and the clock is read once for several limits. The state is shared
//! by two limiters of one rate and different bursts: the smaller burst leaves a reserve for those
//! who use the larger. And it can be looked at without taking anything, so that of several limits
//! none is used up when another refuses.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::exchange::RateRule;

type Limiter = RateLimiter<NotKeyed, Shared, Shared, NoOpMiddleware<Nanos>>;

/// How full it is, and what time it is. Only one task uses it at a time: the atomics are there
/// because the limiters take it by shared reference.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Nanoseconds since the meter was made.
    now: AtomicU64,
    /// When it will be empty again, in the same unit.
    empty_at: AtomicU64,
    /// Whether decisions are only looked at.
    looking: AtomicBool,
}

impl Clock for Shared {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.now.load(Ordering::Relaxed))
    }
}

impl StateStore for Shared {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, empty_at) =
            decide(Some(Nanos::new(self.0.empty_at.load(Ordering::Relaxed))))?;
        if !self.0.looking.load(Ordering::Relaxed) {
            self.0.empty_at.store(empty_at.as_u64(), Ordering::Relaxed);
        }
        Ok(outcome)
    }
}

/// What may be used of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All but the reserve.
    Ordinary,
    /// All of it.
    Whole,
}

/// The use of one limit.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    shared: Shared,
    whole: Limiter,
    ordinary: Limiter,
    interval: u64,
    burst: u32,
    ordinary_burst: u32,
}

impl Meter {
    /// An unused limit, of whose burst `reserve` is kept from ordinary use. At least one is left.
    pub(crate) fn new(rule: RateRule, reserve: u32, now: Instant) -> Self {
        let shared = Shared::default();
        let burst = rule.burst();
        let ordinary_burst = burst.saturating_sub(reserve).max(1);
        let limiter = |burst: u32| {
            let quota = Quota::with_period(rule.interval())
                .unwrap_or_else(|| unreachable!("an interval is never zero"))
                .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
            RateLimiter::new(quota, shared.clone(), shared.clone())
        };
        Self {
            began: now,
            whole: limiter(burst),
            ordinary: limiter(ordinary_burst),
            interval: nanoseconds(rule.interval()),
            shared,
            burst,
            ordinary_burst,
        }
    }

    /// Whether so many fit in now; if not, when they will. Nothing is taken.
    pub(crate) fn look(&self, share: Share, weight: u32, now: Instant) -> Result<(), Instant> {
        self.decide(share, weight, now, true)
    }

    /// Takes so many, whether they fit in or not: what must be written at once counts as well. The
    /// limit is never used up further than to twice its burst.
    pub(crate) fn charge(&self, weight: u32, now: Instant) {
        let fits = self.decide(Share::Whole, weight, now, false).is_ok();
        let weight = if fits { weight.saturating_sub(self.burst) } else { weight };
        if weight == 0 {
            return;
        }
        let now = self.shared.0.now.load(Ordering::Relaxed);
        let empty_at = self.shared.0.empty_at.load(Ordering::Relaxed).max(now);
        let most = now.saturating_add(self.interval.saturating_mul(u64::from(self.burst) * 2));
        let charged = empty_at.saturating_add(self.interval.saturating_mul(u64::from(weight)));
        self.shared.0.empty_at.store(charged.min(most), Ordering::Relaxed);
    }

    fn decide(
        &self,
        share: Share,
        weight: u32,
        now: Instant,
        looking: bool,
    ) -> Result<(), Instant> {
        let (limiter, burst) = match share {
            Share::Whole => (&self.whole, self.burst),
            Share::Ordinary => (&self.ordinary, self.ordinary_burst),
        };
        // More than the whole at once fits in when it is empty.
        let Some(weight) = NonZeroU32::new(weight.min(burst)) else { return Ok(()) };
        let since = nanoseconds(now.saturating_duration_since(self.began));
        self.shared.0.now.store(since, Ordering::Relaxed);
        self.shared.0.looking.store(looking, Ordering::Relaxed);
        match limiter.check_n(weight) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                Err(self.began + Duration::from_nanos(not_until.earliest_possible().as_u64()))
            }
            Err(_) => Err(now + Duration::from_nanos(self.interval)),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn ordinary_use_stops_at_the_reserve_and_the_rest_is_there_at_once() {
        let start = Instant::now();
        let rule = RateRule::Bucket { burst: 10, refill: 200 * MS };
        let meter = Meter::new(rule, 3, start);
        for _ in 0..7 {
            assert_eq!(meter.look(Share::Ordinary, 1, start), Ok(()));
            meter.charge(1, start);
        }
        assert_eq!(meter.look(Share::Ordinary, 1, start), Err(start + 200 * MS));
        for _ in 0..3 {
            assert_eq!(meter.look(Share::Whole, 1, start), Ok(()));
            meter.charge(1, start);
        }
        assert_eq!(meter.look(Share::Whole, 1, start), Err(start + 200 * MS));
        // What was taken of the reserve is put back before ordinary use goes on.
        assert_eq!(meter.look(Share::Ordinary, 1, start + 200 * MS), Err(start + 800 * MS));
        assert_eq!(meter.look(Share::Ordinary, 1, start + 800 * MS), Ok(()));
    }

    #[test]
    fn looking_takes_nothing_and_what_must_be_written_counts_all_the_same() {
        let start = Instant::now();
        let meter = Meter::new(RateRule::Bucket { burst: 2, refill: 100 * MS }, 0, start);
        for _ in 0..10 {
            assert_eq!(meter.look(Share::Whole, 2, start), Ok(()));
        }
        meter.charge(3, start);
        assert_eq!(meter.look(Share::Whole, 1, start), Err(start + 200 * MS));
        meter.charge(1000, start);
        assert_eq!(meter.look(Share::Whole, 1, start), Err(start + 300 * MS));
    }

    proptest! {
        /// Against a counter that knows nothing of buckets: however the wishes are timed, no stretch
        /// of the window's length, its ends included, has more than the limit.
        #[test]
        fn no_window_ever_has_more_than_its_limit(
            most in 1_u32..60,
            per_ms in 1_u32..20_000,
            reserve in 0_u32..20,
            wishes in prop::collection::vec((0_u32..3_000, 1_u32..80, any::<bool>()), 1..60),
        ) {
            let per = MS * per_ms;
            let start = Instant::now();
            let meter = Meter::new(RateRule::Window { most, per }, reserve, start);
            let mut now = start;
            let mut passed: Vec<Instant> = Vec::new();
            for (pause, count, urgent) in wishes {
                now += MS * pause;
                let share = if urgent { Share::Whole } else { Share::Ordinary };
                for _ in 0..count {
                    if let Err(next) = meter.look(share, 1, now) {
                        prop_assert!(next > now);
                        // Half of the waits end to the nanosecond where the meter says.
                        if urgent { now = next; } else { break; }
                    }
                    meter.charge(1, now);
                    passed.push(now);
                }
            }
            for (index, first) in passed.iter().enumerate() {
                let within = passed[index..].iter().take_while(|at| **at - *first <= per).count();
                prop_assert!(within <= most as usize, "{within} of {most} within {per:?}");
            }
        }

        /// A bucket is the exchange's own counter: it is never overdrawn, and one that is full is
        /// ready when the meter says so and not later.
        #[test]
        fn a_bucket_is_never_overdrawn_and_never_wasted(
            burst in 1_u32..100,
            refill_ms in 1_u32..2_000,
            pauses in prop::collection::vec(0_u32..5_000, 1..200),
        ) {
            let refill = MS * refill_ms;
            let start = Instant::now();
            let meter = Meter::new(RateRule::Bucket { burst, refill }, 0, start);
            // The exchange's level, in nanoseconds of refill.
            let full = u128::from(burst) * refill.as_nanos();
            let (mut now, mut at, mut level) = (start, start, full);
            for pause in pauses {
                now += MS * pause;
                level = (level + (now - at).as_nanos()).min(full);
                at = now;
                let enough = level >= refill.as_nanos();
                prop_assert_eq!(meter.look(Share::Whole, 1, now).is_ok(), enough);
                if enough {
                    level -= refill.as_nanos();
                    meter.charge(1, now);
                }
            }
        }
    }
}
