//! Keeps state while the gateway runs: saves the last ticks now and then, and tells when the
//! database can no longer be written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::market::Router;
use crate::scope::Scope;
use crate::state::{Record, Writer};

/// Runs until the scope is cancelled.
pub(super) async fn keep(scope: Scope, router: Arc<Router>, writer: Writer, save_every: Duration) {
    tokio::select! {
        biased;
        () = scope.cancelled() => {}
        failure = writer.failed() => scope.fail(format!("no new orders are taken: {failure}")),
        () = save_ticks(&router, &writer, save_every) => {}
    }
}

/// Saves the ticks that are new since the last time.
async fn save_ticks(router: &Router, writer: &Writer, save_every: Duration) {
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
    }
}
