//! The gateway seen from outside of its runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::Gateway;
use crate::shutdown::{Heart, Phase, Tree, Watchdog, WatchdogSettings, Witness, tree_of};

impl Gateway {
    /// What runs now: tasks by the tree of their names, connections, and open orders.
    pub fn tree(&self) -> Tree {
        let inner = &self.inner;
        tree_of(*inner.phase.borrow(), &inner.root, &inner.exchanges())
    }

    /// Has a thread of its own hold `shutdown.deadline`, which **ends the process**
    /// ([`std::process::exit`]) if a shutdown does not come to its report in time, even with every
    /// thread of the runtime blocked, and at a third signal at once. A blocked runtime is ended at
    /// the deadline itself, one that still works gets [`WatchdogSettings::grace`] to report by
    /// itself.
    ///
    /// Before that it closes the gates, lists what is open or unknown (no lock that a blocked task
    /// holds keeps it), seals the database with that report as the end of the run, writes it to
    /// `forced-report.json` in the state directory, and says it. The exit code is 13 if an order or
    /// a position is open or cannot be listed, 14 if the state could not be sealed, and else 11
    /// (12 at a third signal). All of this takes milliseconds, and 3 seconds if everything hangs.
    ///
    /// Once the shutdown has come to its report the thread ends, unless
    /// [`WatchdogSettings::until_exit`] is set. It also ends when the gateway is dropped.
    ///
    /// # Errors
    /// There is no runtime around the call, the system grants no thread or no signal handler, or
    /// the deadline of this gateway is enforced already.
    pub fn enforce_deadline(&self, settings: WatchdogSettings) -> io::Result<()> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let inner = &self.inner;
        if inner.watched.swap(true, Ordering::AcqRel) {
            let reason = "the deadline of this gateway is enforced already";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        // A channel of its own: the thread ends when the gateway's are gone.
        let (unused, _) = watch::channel(Phase::Running);
        let trigger = "the deadline".to_owned();
        let coordinator = inner.coordinator(Vec::new(), inner.root.clone(), unused, trigger);
        let heart = Heart::start(&inner.root.child("heart", Phase::Complete), self.phase());
        let watchdog = Watchdog {
            settings,
            begun: inner.begun.subscribe(),
            phase: inner.phase.subscribe(),
            report: inner.report.subscribe(),
            heart,
            deadline: inner.config.shutdown.deadline,
            debounce: inner.config.shutdown.force_debounce,
            witness: Witness {
                coordinator,
                exchanges: Arc::clone(&inner.exchanges),
                root: inner.root.clone(),
                stranded: inner.stranded.clone(),
                writer: inner.writer.clone(),
                directory: inner.directory.clone(),
                progress: inner.progress.clone(),
            },
        };
        let started = watchdog.start();
        if started.is_err() {
            inner.watched.store(false, Ordering::Release);
        }
        started
    }
}
