//! Keeps state while the gateway runs: saves the last ticks now and then, begins the days of the
//! positions, and tells when the database can no longer be written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::market::Router;
use crate::positions::Positions;
use crate::report::AlertKind;
use crate::scope::Scope;
use crate::state::{Record, Writer};

/// What is kept, and where.
pub(super) struct Kept {
    pub(super) router: Arc<Router>,
    pub(super) positions: Arc<Positions>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Writer,
}

/// Runs until the scope is cancelled.
pub(super) async fn keep(scope: Scope, kept: Kept, save_every: Duration) {
    tokio::select! {
        biased;
        () = scope.cancelled() => {}
        failure = kept.writer.failed() => {
            let reason = format!("no new orders are taken: {failure}");
            scope.fail_as(AlertKind::StateNotSaved, reason);
        }
        () = save(&kept, save_every) => {}
    }
}

/// Saves the ticks that are new since the last time, and how each position stood when its day began.
async fn save(kept: &Kept, save_every: Duration) {
    let Kept { router, positions, clock, writer } = kept;
    let mut pace = interval(save_every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut saved = Vec::new();
    loop {
        pace.tick().await;
        let now = router.last_ticks();
        let ticks: Vec<_> =
            now.iter().filter(|last| last.count > 0 && !saved.contains(*last)).copied().collect();
        if !ticks.is_empty() {
            writer.record(Record::Ticks { ticks });
        }
        saved = now;
        positions.keep_days(
            |instrument| router.last(instrument),
            clock.now(),
            |position| writer.record(Record::Position(Box::new(position))),
        );
    }
}
