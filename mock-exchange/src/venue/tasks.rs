//! What a venue does without being asked: its market and its timers.

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep_until};

use super::{Inner, VenueShared};
use crate::config::MarketConfig;

/// Events made under one lock.
const CHUNK: usize = 64;
/// From this rate on ticks are only printed.
const FLOOD_PER_SECOND: f64 = 2_000.0;
/// A market that falls further behind than this skips ahead.
const BEHIND_LIMIT: Duration = Duration::from_millis(100);
/// A far end of time for timers that are off.
const FAR: Duration = Duration::from_secs(86_400 * 365);

impl VenueShared {
    /// Starts the market and the timers.
    pub(crate) fn start_tasks(self: &Arc<Self>, seed: u64) {
        let timers = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = timers.stop.cancelled() => {}
                () = timers.run_timers() => {}
            }
        });
        if let MarketConfig::Seeded { events_per_second } = self.config.market
            && events_per_second > 0.0
        {
            let market = self.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = market.stop.cancelled() => {}
                    () = market.run_market(seed, events_per_second) => {}
                }
            });
        }
    }

    async fn run_timers(&self) {
        loop {
            let due = self.with(|inner| {
                let now = Instant::now();
                let Inner { state, protocol, .. } = inner;
                let mut events = state.run_due();
                if protocol.next_deadline().is_some_and(|due| due <= now) {
                    events.extend(protocol.deadline(state, now));
                }
                if !events.is_empty() {
                    state.mark_changed();
                }
                protocol.publish(state, &events);
                [state.next_due(), protocol.next_deadline()].into_iter().flatten().min()
            });
            let due = due.unwrap_or_else(|| Instant::now() + FAR);
            tokio::select! {
                biased;
                () = self.timers.notified() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    async fn run_market(&self, seed: u64, events_per_second: f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let instruments = self.with(|inner| inner.state.instruments.len());
        let flood = events_per_second > FLOOD_PER_SECOND;
        #[expect(clippy::cast_precision_loss, reason = "a venue lists a handful of instruments")]
        let mean = 1.0 / (events_per_second * instruments as f64);
        let mut due = Instant::now();
        loop {
            sleep_until(due).await;
            let now = Instant::now();
            if now.duration_since(due) > BEHIND_LIMIT {
                due = now;
            }
            let mut picks = Vec::with_capacity(CHUNK);
            while due <= now && picks.len() < CHUNK {
                picks.push(rng.random_range(0..instruments));
                // Exponential gaps: events come at random, at the mean rate.
                let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
                due += Duration::from_secs_f64(-uniform.ln() * mean);
            }
            self.with(|inner| {
                let Inner { state, protocol, market } = inner;
                let time = state.now();
                let mut events = Vec::new();
                for instrument in picks {
                    if flood {
                        events.push(market.print(&mut state.engine, instrument, time));
                    } else {
                        market.step(&mut state.engine, instrument, time, &mut events);
                    }
                }
                protocol.publish(state, &events);
                // Own orders may have been filled, and slow clients may have lost frames.
                state.mark_changed();
            });
            tokio::task::yield_now().await;
        }
    }
}
