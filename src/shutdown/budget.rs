//! How much time each phase may take, out of one absolute deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::Phase;
use crate::config::ShutdownConfig;

/// One deadline for the whole shutdown. A phase gets its own limit, or what remains if that is
/// less; what must remain for saving state and for closing the connections is never given away.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    deadline: Instant,
    config: ShutdownConfig,
}

impl Budget {
    pub(super) fn new(config: &ShutdownConfig, now: Instant) -> Self {
        Self { deadline: now + config.deadline, config: config.clone() }
    }

    /// What a phase that begins now may take.
    pub(super) fn allow(&self, phase: Phase, now: Instant) -> Duration {
        let reserved = [Phase::SaveState, Phase::Disconnect]
            .into_iter()
            .filter(|later| *later > phase)
            .map(|later| self.limit(later))
            .sum();
        let remaining = self.deadline.saturating_duration_since(now);
        self.limit(phase).min(remaining.saturating_sub(reserved))
    }

    /// What a phase may take if there is time enough.
    pub(super) fn limit(&self, phase: Phase) -> Duration {
        match phase {
            Phase::StopNewOrders => self.config.stop_new_orders,
            Phase::CancelPending => self.config.cancel_pending,
            Phase::ClosePositions => self.config.close_positions,
            Phase::SaveState => self.config.save_state,
            Phase::Disconnect => self.config.disconnect,
            Phase::Running | Phase::Complete => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn budget(now: Instant) -> Budget {
        let config = ShutdownConfig {
            deadline: SECOND * 10,
            stop_new_orders: SECOND,
            cancel_pending: SECOND * 8,
            close_positions: SECOND * 2,
            save_state: SECOND * 2,
            disconnect: SECOND * 3,
            ..ShutdownConfig::default()
        };
        Budget::new(&config, now)
    }

    #[test]
    fn a_phase_gets_its_limit_or_what_the_reserves_leave() {
        let start = Instant::now();
        let budget = budget(start);
        assert_eq!(budget.allow(Phase::StopNewOrders, start), SECOND);
        assert_eq!(budget.allow(Phase::CancelPending, start + SECOND), SECOND * 4);
        assert_eq!(budget.allow(Phase::ClosePositions, start + SECOND * 5), Duration::ZERO);
    }

    #[test]
    fn what_a_phase_does_not_use_is_there_for_the_next() {
        let start = Instant::now();
        let budget = budget(start);
        // Had the phase before used up its time, there would be nothing left for this one.
        let soon = start + SECOND / 10;
        assert_eq!(budget.allow(Phase::ClosePositions, soon), SECOND * 2);
        assert_eq!(budget.allow(Phase::ClosePositions, start + SECOND * 4), SECOND);
        assert_eq!(budget.allow(Phase::Disconnect, soon), SECOND * 3, "and never beyond its limit");
    }

    #[test]
    fn saving_and_disconnecting_keep_their_reserve_whatever_was_used() {
        let start = Instant::now();
        let budget = budget(start);
        assert_eq!(budget.allow(Phase::SaveState, start + SECOND * 5), SECOND * 2);
        assert_eq!(budget.allow(Phase::Disconnect, start + SECOND * 7), SECOND * 3);
        assert_eq!(budget.allow(Phase::Disconnect, start + SECOND * 9), SECOND);
        assert_eq!(budget.allow(Phase::Disconnect, start + SECOND * 11), Duration::ZERO);
    }
}
