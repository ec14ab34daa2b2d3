//! Who runs: a tree of named scopes, each a cancellation token and a set of tracked tasks.
//!
//! Names are paths such as `gateway/kraken/trading`. Cancelling a scope cancels its children;
//! joining one waits for every task below it. A scope declares the [`Phase`] it stops in, so that
//! a shutdown can end each part when its turn comes instead of all at once. Every task of the
//! gateway is spawned here: none is detached, and one that panics becomes a named failure.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::error;

use crate::report::{AlertKind, Failure, Phase, ScopeSnapshot};

/// More failures than this are only counted: a report must stay readable.
const MAX_FAILURES: usize = 256;

/// Is told of each failure as it happens, with what alert it is worth.
type Listener = Box<dyn Fn(AlertKind, &Failure) + Send + Sync>;

/// A named part of the gateway. Cheap to clone; clones are the same scope.
#[derive(Clone)]
pub(crate) struct Scope {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    stops_in: Phase,
    token: CancellationToken,
    tracker: TaskTracker,
    parent: Option<Scope>,
    children: Mutex<Vec<Weak<Inner>>>,
    failures: Arc<Failures>,
}

impl Scope {
    /// The root of a tree. Nothing but force cancels it.
    pub(crate) fn root(name: &str) -> Self {
        Self::build(name.to_owned(), Phase::Complete, CancellationToken::new(), None)
    }

    /// A part of this scope that stops when the shutdown enters `stops_in`.
    pub(crate) fn child(&self, name: &str, stops_in: Phase) -> Self {
        let path = format!("{}/{name}", self.inner.name);
        let token = self.inner.token.child_token();
        let child = Self::build(path, stops_in, token, Some(self.clone()));
        let mut children = self.inner.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(|known| known.strong_count() > 0);
        children.push(Arc::downgrade(&child.inner));
        drop(children);
        child
    }

    fn build(
        name: String,
        stops_in: Phase,
        token: CancellationToken,
        parent: Option<Self>,
    ) -> Self {
        let failures = match &parent {
            Some(parent) => Arc::clone(&parent.inner.failures),
            None => Arc::default(),
        };
        let tracker = TaskTracker::new();
        let children = Mutex::default();
        let inner = Inner { name, stops_in, token, tracker, parent, children, failures };
        Self { inner: Arc::new(inner) }
    }

    /// The path of names from the root, for example `gateway/kraken/trading`.
    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    /// Ends when this scope, or one above it, is cancelled. Cancel safe.
    pub(crate) async fn cancelled(&self) {
        self.inner.token.cancelled().await;
    }

    /// Whether this scope, or one above it, is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner.token.is_cancelled()
    }

    /// Cancels this scope and all below it.
    pub(crate) fn cancel(&self) {
        self.inner.token.cancel();
    }

    /// Cancels this scope when the guard is dropped, unless it is disarmed before.
    pub(crate) fn cancel_on_drop(&self) -> DropGuard {
        self.inner.token.clone().drop_guard()
    }

    /// Cancels every scope of this tree whose time has come once `phase` is entered.
    pub(crate) fn enter(&self, phase: Phase) {
        if self.inner.stops_in <= phase {
            self.cancel();
            return;
        }
        let children = self.inner.children.lock().unwrap_or_else(PoisonError::into_inner);
        let below: Vec<_> = children.iter().filter_map(Weak::upgrade).collect();
        drop(children);
        for inner in below {
            Self { inner }.enter(phase);
        }
    }

    /// Runs a task in this scope. A panic is logged and kept as a failure of this scope.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let scope = self.clone();
        let tracked = self.tokens();
        tokio::spawn(async move {
            let result = AssertUnwindSafe(future).catch_unwind().await;
            let output = match result {
                Ok(output) => Some(output),
                Err(panic) => {
                    scope.fail(format!("panicked: {}", panic_message(panic.as_ref())));
                    None
                }
            };
            drop(tracked);
            output
        })
    }

    fn tokens(&self) -> Vec<TaskTrackerToken> {
        let above = std::iter::successors(Some(self), |scope| scope.inner.parent.as_ref());
        above.map(|scope| scope.inner.tracker.token()).collect()
    }

    /// Waits until every task of this scope and of all below it has ended. Cancel safe.
    pub(crate) async fn join(&self) {
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    /// How many tasks run in this scope and below it.
    pub(crate) fn running(&self) -> usize {
        self.inner.tracker.len()
    }

    /// This scope and all below it that still exist, each before its children.
    pub(crate) fn snapshot(&self) -> Vec<ScopeSnapshot> {
        let mut all = Vec::new();
        self.add_to(&mut all);
        all
    }

    fn add_to(&self, all: &mut Vec<ScopeSnapshot>) {
        let children = self.inner.children.lock().unwrap_or_else(PoisonError::into_inner);
        let below: Vec<_> = children.iter().filter_map(Weak::upgrade).collect();
        drop(children);
        let of_children: usize = below.iter().map(|child| child.tracker.len()).sum();
        all.push(ScopeSnapshot {
            scope: self.inner.name.clone(),
            stops_in: self.inner.stops_in,
            tasks: self.inner.tracker.len().saturating_sub(of_children),
            cancelled: self.is_cancelled(),
        });
        for inner in below {
            Self { inner }.add_to(all);
        }
    }

    /// Keeps a failure under this scope's name, and logs it.
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        self.fail_as(AlertKind::PartFailed, reason);
    }

    /// The same for a failure that is worth an alert of another kind than that a part failed.
    pub(crate) fn fail_as(&self, kind: AlertKind, reason: impl Into<String>) {
        let reason = reason.into();
        error!(scope = self.name(), reason, "a part of the gateway failed");
        self.inner.failures.add(kind, Failure { scope: self.inner.name.clone(), reason });
    }

    /// Has somebody told of every failure in the whole tree: of those so far at once, of others as
    /// they happen. It must not block. Only the first listener is kept.
    pub(crate) fn on_failure(
        &self,
        listener: impl Fn(AlertKind, &Failure) + Send + Sync + 'static,
    ) {
        self.inner.failures.follow(Box::new(listener));
    }

    /// How many of them are listed one by one. They stay the first of the list.
    pub(crate) fn failures_listed(&self) -> usize {
        let kept = self.inner.failures.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.len()
    }

    /// Every failure in the whole tree so far.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.inner.failures.list()
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scope({})", self.inner.name)
    }
}

/// How many failures more than are kept there were of each part: `gateway`, or what is right below.
type More = BTreeMap<String, usize>;

#[derive(Default)]
struct Failures {
    kept: Mutex<(Vec<(AlertKind, Failure)>, More)>,
    listener: OnceLock<Listener>,
}

impl Failures {
    fn add(&self, kind: AlertKind, failure: Failure) {
        let told = failure.clone();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() < MAX_FAILURES {
            kept.0.push((kind, failure));
        } else {
            let mut parts = failure.scope.splitn(3, '/');
            let part: Vec<_> = parts.by_ref().take(2).collect();
            *kept.1.entry(part.join("/")).or_default() += 1;
        }
        // Looked at under the lock, so that a failure is told either here or by `follow`.
        let listener = self.listener.get();
        drop(kept);
        if let Some(listener) = listener {
            listener(kind, &told);
        }
    }

    fn follow(&self, listener: Listener) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = kept.0.clone();
        if self.listener.set(listener).is_err() {
            return;
        }
        drop(kept);
        if let Some(listener) = self.listener.get() {
            for (kind, failure) in &so_far {
                listener(*kind, failure);
            }
        }
    }

    fn list(&self) -> Vec<Failure> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = kept.0.iter().map(|(_, failure)| failure.clone()).collect();
        list.extend(kept.1.iter().map(|(scope, count)| {
            let reason = format!("{count} more failures, see the log");
            Failure { scope: scope.clone(), reason }
        }));
        list
    }
}

/// The words that a task panicked with.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_stops_only_the_scopes_that_declare_it() {
        let root = Scope::root("gateway");
        let exchange = root.child("kraken", Phase::Complete);
        let feed = exchange.child("feed", Phase::SaveState);
        let trading = exchange.child("trading", Phase::Disconnect);
        root.enter(Phase::SaveState);
        assert!(feed.is_cancelled() && !trading.is_cancelled() && !root.is_cancelled());
        root.enter(Phase::Disconnect);
        assert!(trading.is_cancelled() && !exchange.is_cancelled());
    }

    #[tokio::test]
    async fn joining_a_scope_waits_for_the_tasks_of_its_children() {
        let root = Scope::root("gateway");
        let child = root.child("kraken", Phase::Complete).child("trading", Phase::Disconnect);
        let seen = child.clone();
        child.spawn(async move { seen.cancelled().await });
        assert_eq!(root.running(), 1);
        root.cancel();
        root.join().await;
        assert_eq!(root.running(), 0);
    }

    #[tokio::test]
    async fn every_failure_is_told_once_whether_before_or_after_somebody_listens() {
        let root = Scope::root("gateway");
        root.fail("early");
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        root.on_failure(move |kind, failure| {
            heard.lock().unwrap().push((kind, format!("{}: {}", failure.scope, failure.reason)));
        });
        root.child("state", Phase::SaveState).fail_as(AlertKind::StateNotSaved, "full");
        let expected = [
            (AlertKind::PartFailed, "gateway: early".to_owned()),
            (AlertKind::StateNotSaved, "gateway/state: full".to_owned()),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
        assert_eq!(root.failures().len(), 2);
    }

    #[tokio::test]
    async fn a_snapshot_counts_each_task_in_the_scope_that_it_was_spawned_in() {
        let root = Scope::root("gateway");
        let exchange = root.child("kraken", Phase::Complete);
        let trading = exchange.child("trading", Phase::Disconnect);
        for scope in [&exchange, &trading, &trading] {
            scope.spawn(std::future::pending::<()>());
        }
        drop(exchange.child("gone", Phase::Complete));
        trading.cancel();
        let all: Vec<_> = root
            .snapshot()
            .into_iter()
            .map(|scope| (scope.scope, scope.tasks, scope.stops_in, scope.cancelled))
            .collect();
        let expected = [
            ("gateway", 0, Phase::Complete, false),
            ("gateway/kraken", 1, Phase::Complete, false),
            ("gateway/kraken/trading", 2, Phase::Disconnect, true),
        ];
        assert_eq!(all, expected.map(|(name, tasks, in_, ended)| (name.into(), tasks, in_, ended)));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_the_name_of_its_scope() {
        let root = Scope::root("gateway");
        let task = root.child("binance", Phase::Complete).spawn(async { panic!("boom") });
        assert_eq!(task.await.unwrap(), None::<()>);
        let failures = root.failures();
        assert_eq!(failures[0].scope, "gateway/binance");
        assert_eq!(failures[0].reason, "panicked: boom");
    }
}
