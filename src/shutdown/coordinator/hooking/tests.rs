use std::sync::Mutex;

use super::super::tests::{coordinator, exchange};
use super::*;
use crate::report::{Outcome, PhaseEnd, ShutdownReport};

const SECOND: Duration = Duration::from_secs(1);

/// A coordinator with hooks.
fn hooked(root: &Scope, hooks: Vec<Hook>) -> Coordinator {
    let mut coordinator = coordinator(root, Vec::new());
    let registry = Arc::new(Hooks::default());
    for hook in hooks {
        registry.add(hook).unwrap();
    }
    coordinator.hooking = Some(Hooking {
        hooks: registry,
        scope: root.child("hooks", Phase::Complete),
        began: Instant::now(),
    });
    coordinator
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// A hook that notes its beginning and its end, `seconds` later.
    fn hook(&self, name: &'static str, priority: HookPriority, seconds: u32) -> Hook {
        let events = self.clone();
        let work = move || async move {
            events.add(format!("{name} begins"));
            tokio::time::sleep(SECOND * seconds).await;
            events.add(format!("{name} ends"));
            Ok::<(), String>(())
        };
        Hook::new(name, Phase::SaveState, work).priority(priority).timeout(SECOND * 60)
    }
}

fn ends(report: &ShutdownReport) -> Vec<(&str, HookEnd)> {
    report.hooks.iter().map(|hook| (hook.name.as_str(), hook.ended)).collect()
}

#[tokio::test(start_paused = true)]
async fn hooks_run_in_the_order_of_their_priority_and_one_priority_side_by_side() {
    let root = Scope::root("gateway");
    let events = Events::default();
    let hooks = vec![
        events.hook("cleanup", HookPriority::Cleanup, 1),
        events.hook("low", HookPriority::Low, 1),
        events.hook("normal", HookPriority::Normal, 1),
        events.hook("slow-normal", HookPriority::Normal, 2),
        events.hook("high", HookPriority::High, 1),
        events.hook("critical", HookPriority::Critical, 1),
    ];
    let coordinator = hooked(&root, hooks);
    let (began, of_work) = (Instant::now(), events.clone());
    let work = async {
        of_work.add("work begins");
        tokio::time::sleep(SECOND * 3).await;
        of_work.add("work ends");
    };
    coordinator.with_hooks(Phase::SaveState, SECOND * 40, work).await;
    assert_eq!(
        events.all(),
        [
            "critical begins",
            "critical ends",
            "high begins",
            "high ends",
            "work begins",
            "normal begins",
            "slow-normal begins",
            "normal ends",
            "slow-normal ends",
            "work ends",
            "low begins",
            "low ends",
            "cleanup begins",
            "cleanup ends",
        ]
    );
    assert_eq!(began.elapsed(), SECOND * 7);
    let reports = coordinator.hook_reports();
    let names: Vec<_> = reports.iter().map(|report| report.name.as_str()).collect();
    assert_eq!(names, ["critical", "high", "normal", "slow-normal", "low", "cleanup"]);
    assert_eq!(reports[3].began_ms, 2000);
    assert_eq!(reports[3].used_ms, 2000);
}

#[tokio::test(start_paused = true)]
async fn hooks_that_hang_before_the_work_leave_it_half_of_the_phase() {
    let root = Scope::root("gateway");
    let events = Events::default();
    let hooks = vec![
        events.hook("critical", HookPriority::Critical, 1000),
        events.hook("high", HookPriority::High, 1000),
        events.hook("low", HookPriority::Low, 1000),
    ];
    let coordinator = hooked(&root, hooks);
    let began = Instant::now();
    let work = async { began.elapsed() };
    let work_began = coordinator.with_hooks(Phase::SaveState, SECOND * 8, work).await;
    assert_eq!(work_began, SECOND * 4);
    assert_eq!(began.elapsed(), SECOND * 8, "the rest is for hooks after the work");
    assert!(coordinator.hook_reports().iter().all(|report| report.ended == HookEnd::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn cancels_wait_for_no_hook() {
    let root = Scope::root("gateway");
    let never = || std::future::pending::<Result<(), String>>();
    let hook = Hook::new("stuck", Phase::CancelPending, never).priority(HookPriority::Critical);
    let coordinator = hooked(&root, vec![hook]);
    let began = Instant::now();
    let work = async { began.elapsed() };
    let work_began = coordinator.with_hooks(Phase::CancelPending, SECOND * 8, work).await;
    assert_eq!(work_began, Duration::ZERO);
    assert_eq!(began.elapsed(), SECOND, "the hook's own timeout");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_end_well_is_named_and_only_degrades() {
    let root = Scope::root("gateway");
    let hook = |name: &str, phase, fails: fn() -> Result<(), String>| {
        Hook::new(name, phase, move || async move { fails() })
    };
    let hooks = vec![
        hook("fine", Phase::StopNewOrders, || Ok(())),
        hook("failing", Phase::StopNewOrders, || Err("no such table".into())),
        hook("panicking", Phase::CancelPending, || panic!("boom")),
        Hook::new(
            "panics early",
            Phase::SaveState,
            || -> std::future::Ready<Result<(), String>> { panic!("before its first await") },
        ),
        Hook::new("hanging", Phase::Disconnect, std::future::pending::<Result<(), String>>),
    ];
    let report = hooked(&root, hooks).run().await;
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    assert_eq!(
        ends(&report),
        [
            ("fine", HookEnd::Done),
            ("failing", HookEnd::Failed),
            ("panicking", HookEnd::Panicked),
            ("panics early", HookEnd::Panicked),
            ("hanging", HookEnd::TimedOut),
        ]
    );
    assert_eq!(report.phases.len(), Phase::WORKING.len());
    assert!(report.phases.iter().all(|phase| phase.ended == PhaseEnd::Done));
    let failures: Vec<_> =
        report.failures.iter().map(|f| (f.scope.as_str(), f.reason.as_str())).collect();
    assert_eq!(
        failures,
        [
            ("gateway/hooks/failing", "hook of phase stop_new_orders: no such table"),
            ("gateway/hooks/panicking", "hook of phase cancel_pending: panicked: boom"),
            (
                "gateway/hooks/panics early",
                "hook of phase save_state: panicked: before its first await"
            ),
            ("gateway/hooks/hanging", "hook of phase disconnect: it did not end within 1000 ms"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_forced_exit_cuts_hooks_and_begins_only_critical_ones() {
    let root = Scope::root("gateway");
    let never = || std::future::pending::<Result<(), String>>();
    let done = || std::future::ready(Ok::<(), String>(()));
    let mut coordinator = hooked(
        &root,
        vec![
            Hook::new("stuck", Phase::StopNewOrders, never).timeout(SECOND * 60),
            Hook::new("normal", Phase::SaveState, done),
            Hook::new("critical", Phase::SaveState, done).priority(HookPriority::Critical),
        ],
    );
    coordinator.config.stop_new_orders = SECOND * 5;
    let (force, began) = (coordinator.force.clone(), Instant::now());
    let forcing = async {
        tokio::time::sleep(SECOND).await;
        force.cancel();
    };
    let (report, ()) = tokio::join!(coordinator.run(), forcing);
    assert_eq!(report.outcome, Outcome::OperatorForced);
    assert_eq!(began.elapsed(), SECOND + FORCED_LIMIT);
    assert_eq!(
        ends(&report),
        [("stuck", HookEnd::Forced), ("critical", HookEnd::Done), ("normal", HookEnd::Forced),]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_for_which_no_time_is_left_is_skipped_and_named() {
    let root = Scope::root("gateway");
    let done = || std::future::ready(Ok::<(), String>(()));
    let parts = exchange(&root, "kraken");
    let stuck = parts.scope.child("stuck", Phase::Disconnect);
    stuck.spawn(std::future::pending::<()>());
    let late = Hook::new("late", Phase::Disconnect, done).priority(HookPriority::Cleanup);
    let mut coordinator = hooked(&root, vec![late]);
    coordinator.exchanges = vec![parts];
    let report = coordinator.run().await;
    assert_eq!(ends(&report), [("late", HookEnd::Skipped)]);
    assert_eq!(report.hooks[0].reason.as_deref(), Some("its phase had no time left"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_blocks_its_thread_is_left_behind_and_named() {
    let root = Scope::root("gateway");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let blocks = move || async move { released.recv().map_err(|error| error.to_string()) };
    let hook = Hook::new("blocking", Phase::SaveState, blocks).timeout(SECOND / 20);
    let report = hooked(&root, vec![hook]).run().await;
    drop(release);
    assert_eq!(ends(&report), [("blocking", HookEnd::TimedOut)]);
    let reason = report.hooks[0].reason.as_deref();
    assert_eq!(reason, Some("it did not end within 50 ms; it blocks its thread and runs on"));
}
