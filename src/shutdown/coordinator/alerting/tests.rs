use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::alerts::{Alerts, Origin};
use crate::clock::SystemClock;
use crate::config::AlertsConfig;
use crate::market::Router;
use crate::net::{ByteStream, Connecting, Connector};
use crate::report::{
    AlertKind, AlertReport, ClosePolicy, Outcome, Phase, PhaseEnd, PhaseReport, PositionReport,
    ShutdownReport,
};
use crate::scope::Scope;
use crate::shutdown::coordinator::tests::{coordinator, exchange};
use crate::shutdown::coordinator::{Coordinator, FORCED_LIMIT, Saving, millis};
use crate::state::StateDirectory;

const SECOND: Duration = Duration::from_secs(1);

/// A receiver that takes alerts after a time, or never.
#[derive(Debug)]
struct Receiver(Option<Duration>);

impl Connector for Receiver {
    fn connect<'a>(&'a self, _: &'a Url) -> Connecting<'a> {
        Box::pin(async {
            let Some(delay) = self.0 else { return std::future::pending().await };
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = theirs.read(&mut request).await;
                sleep(delay).await;
                let _ = theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            });
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }
}

fn told_to(scope: Scope, receiver: Receiver) -> Alerts {
    let config = AlertsConfig {
        webhook: Some("https://alerts.example.com/".parse().unwrap()),
        webhook_timeout: SECOND * 60,
        ..AlertsConfig::default()
    };
    let clock = Arc::new(SystemClock);
    Alerts::start(&config, Some(Arc::new(receiver)), Origin::default(), clock, scope)
}

/// The shutdown of a whole gateway with one exchange.
struct Bench {
    root: Scope,
    alerts: Alerts,
    delivering: Scope,
    coordinator: Coordinator,
    _state: tempfile::TempDir,
}

fn bench(receiver: Receiver) -> Bench {
    let root = Scope::root("gateway");
    let scope = root.child("alerts", Phase::Complete);
    let alerts = told_to(scope.clone(), receiver);
    let mut kraken = exchange(&root, "kraken");
    // None that would have to be closed in order.
    Arc::get_mut(&mut kraken).unwrap().connections.clear();
    let mut coordinator = coordinator(&root, vec![kraken]);
    coordinator.alerts = alerts.clone();
    let state = tempfile::tempdir().unwrap();
    coordinator.saving = Some(Saving {
        router: Arc::new(Router::new([])),
        directory: StateDirectory::open(&state.path().join("state")).unwrap(),
        previous: None,
        database: None,
        scope: root.child("state", Phase::SaveState),
        stranded: Vec::new(),
    });
    Bench { root, alerts, delivering: scope, coordinator, _state: state }
}

async fn run(bench: Bench) -> (ShutdownReport, Duration) {
    let began = Instant::now();
    let report = bench.coordinator.run().await;
    assert_eq!(bench.delivering.running(), 0, "the deliverer has ended");
    (report, began.elapsed())
}

fn error(told: &AlertReport) -> Option<&str> {
    told.deliveries[0].error.as_deref()
}

#[tokio::test(start_paused = true)]
async fn a_clean_shutdown_waits_for_no_alert() {
    let (report, took) = run(bench(Receiver(None))).await;
    assert_eq!((took, report.outcome), (Duration::ZERO, Outcome::Clean), "{report:#?}");
    assert_eq!(report.alerts, []);
}

#[tokio::test(start_paused = true)]
async fn alerts_that_have_arrived_are_not_waited_for() {
    let bench = bench(Receiver(Some(SECOND)));
    bench.alerts.raise(AlertKind::KillSwitch, None, "daily loss");
    bench.alerts.settled().await;
    let (report, took) = run(bench).await;
    assert_eq!((took, report.outcome), (Duration::ZERO, Outcome::Clean), "{report:#?}");
    assert_eq!((report.alerts.len(), error(&report.alerts[0])), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_costs_a_shutdown_two_seconds_and_the_report_says_so() {
    let bench = bench(Receiver(None));
    bench.alerts.raise(AlertKind::KillSwitch, None, "daily loss");
    let (report, took) = run(bench).await;
    // Before the database is closed, and after.
    assert_eq!(took, SECOND * 2);
    assert_eq!(report.elapsed_ms, 2000);
    assert_eq!(report.outcome, Outcome::Clean, "an alert changes no verdict");
    let told = &report.alerts[0];
    assert_eq!((error(told), told.deliveries[0].attempts), (Some("not delivered in time"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_never_waited_for_beyond_the_deadline() {
    let mut bench = bench(Receiver(None));
    bench.coordinator.config.deadline = SECOND;
    bench.coordinator.config.save_state = SECOND / 10;
    bench.coordinator.config.disconnect = SECOND / 10;
    bench.alerts.raise(AlertKind::KillSwitch, None, "daily loss");
    let (report, took) = run(bench).await;
    assert_eq!(took, SECOND.saturating_sub(FORCED_LIMIT));
    assert_eq!(report.outcome, Outcome::Clean);
}

#[tokio::test(start_paused = true)]
async fn a_forced_exit_raises_an_alert_and_waits_for_half_a_second() {
    let bench = bench(Receiver(None));
    bench.coordinator.force.cancel();
    let (report, took) = run(bench).await;
    assert_eq!(report.outcome, Outcome::OperatorForced, "{report:#?}");
    assert_eq!(took, FORCED_LIMIT);
    let [told] = report.alerts.as_slice() else { panic!("{report:#?}") };
    assert_eq!(told.alert.kind, AlertKind::ForcedExit);
    assert!(told.alert.message.starts_with("the operator forced the exit"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn forcing_the_exit_cuts_the_wait_short() {
    let mut bench = bench(Receiver(None));
    bench.coordinator.config.deadline = SECOND * 3600;
    bench.alerts.raise(AlertKind::KillSwitch, None, "daily loss");
    let force = bench.coordinator.force.clone();
    let forcing = tokio::spawn(async move {
        sleep(SECOND).await;
        force.cancel();
    });
    let (_, took) = run(bench).await;
    forcing.await.unwrap();
    assert_eq!(took, SECOND + FORCED_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn alerts_are_delivered_beside_the_phases_that_follow() {
    let bench = bench(Receiver(Some(SECOND * 2)));
    let kraken = &bench.coordinator.exchanges[0];
    // A connection whose close takes three seconds.
    kraken.scope.child("trading", Phase::Disconnect).spawn(sleep(SECOND * 3));
    let failing = kraken.scope.child("market", Phase::CancelPending);
    let over = failing.clone();
    failing.spawn(async move {
        over.cancelled().await;
        panic!("boom");
    });
    bench.alerts.follow(&bench.root, vec![kraken.name]);
    let (report, took) = run(bench).await;
    assert_eq!(took, SECOND * 3, "{report:#?}");
    let [told] = report.alerts.as_slice() else { panic!("{report:#?}") };
    assert_eq!(told.alert.kind, AlertKind::PartFailed);
    assert_eq!(told.alert.exchange.map(|name| name.to_string()).as_deref(), Some("kraken"));
    assert_eq!(told.alert.message, "gateway/kraken/market failed: panicked: boom");
    assert_eq!(error(told), None);
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_the_deadline_cuts_short_is_told_when_it_ends() {
    let bench = bench(Receiver(None));
    let ended = |budget: Duration, ended| PhaseReport {
        began_ms: Some(0),
        phase: Phase::CancelPending,
        budget_ms: millis(budget),
        used_ms: millis(budget),
        ended,
    };
    let tell = |report: &PhaseReport| {
        bench.coordinator.alert_phase(report, SECOND * 8, Instant::now());
        bench.alerts.reports()
    };
    assert_eq!(tell(&ended(SECOND * 8, PhaseEnd::TimedOut)), [], "its own limit ended it");
    assert_eq!(tell(&ended(SECOND * 4, PhaseEnd::Done)), []);
    let told = tell(&ended(SECOND * 4, PhaseEnd::TimedOut));
    let [told] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!(told.alert.kind, AlertKind::ForcedExit);
    let words = "the deadline of the shutdown, 20s, left too little time for cancel_pending";
    assert_eq!(told.alert.message, words);
    assert_eq!(tell(&ended(SECOND * 3, PhaseEnd::TimedOut)).len(), 1, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_alert_and_lists_only_those_about_its_exchange() {
    let mut bench = bench(Receiver(None));
    bench.coordinator.saving = None;
    let kraken = bench.coordinator.exchanges[0].name;
    bench.alerts.raise(AlertKind::KillSwitch, None, "daily loss");
    bench.alerts.raise(AlertKind::ExchangeLost, Some("binance".parse().unwrap()), "lost");
    bench.alerts.raise(AlertKind::ExchangeLost, Some(kraken), "lost");
    let began = Instant::now();
    let report = bench.coordinator.run().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let about: Vec<_> = report.alerts.iter().map(|told| told.alert.exchange).collect();
    assert_eq!(about, [Some(kraken)]);
    assert!(bench.root.running() > 0, "deliveries go on");
}

#[tokio::test(start_paused = true)]
async fn positions_that_were_to_be_closed_are_told_with_what_is_left() {
    let bench = bench(Receiver(Some(SECOND)));
    let instrument = "kraken:BTC-USD".parse().unwrap();
    let mut position = PositionReport {
        instrument,
        policy: ClosePolicy::Close,
        quantity: 3.into(),
        entry: None,
        closed: 1.into(),
        exit: None,
        left: 2.into(),
        currency: "USD".into(),
        realized: 0.into(),
        fees: 0.into(),
        other_fees: std::collections::BTreeMap::new(),
        unrealized: None,
        orders: Vec::new(),
        dust: false,
        not_closed: Some("no price".into()),
        difference: None,
        not_compared: None,
    };
    bench.coordinator.alert_positions(std::slice::from_ref(&position));
    position.policy = ClosePolicy::Keep;
    bench.coordinator.alert_positions(&[position]);
    let reports = bench.alerts.reports();
    let [told] = reports.as_slice() else { panic!("{reports:#?}") };
    assert_eq!(told.alert.kind, AlertKind::PositionsLeft);
    let words = "1 position not closed: 2 BTC-USD (no price); close them";
    assert!(told.alert.message.starts_with(words), "{told:?}");
}
