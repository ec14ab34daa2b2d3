use std::sync::atomic::{AtomicBool, Ordering};

use super::saving::dump;
use super::*;
use crate::clock::SystemClock;
use crate::config::RiskConfig;
use crate::exchange::{
    ConnectionKind, DeadMansSwitch, MassCancel, OrderEvent, OrderNews, SymbolTable,
};
use crate::orders::{
    Command, DeskSettings, IdGenerator, Journal, Next, OrderError, Patience, SwitchSettings,
};
use crate::positions::{DayProfit, Positions};
use crate::risk::{Mark, Market, Risk};
use crate::shutdown::witness::{Begun, Ending, Witness};
use crate::state::{Durability, Record, RecoveredOrder, Writer};
use crate::types::{
    ClientOrderId, Instrument, InstrumentSpec, NewOrder, Order, OrderStatus, Quantity, Side,
};

/// Tells the time once.
#[derive(Debug, Default)]
struct BrokenClock(AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        assert!(!self.0.swap(true, Ordering::Relaxed), "the clock is broken");
        Timestamp::UNIX_EPOCH
    }
}

fn spec(name: ExchangeName) -> InstrumentSpec {
    let instrument = Instrument::new(name, "BTC", "USD").unwrap();
    let one = Quantity(1.into());
    InstrumentSpec {
        instrument,
        symbol: "BTCUSD".into(),
        tick_size: "1".parse().unwrap(),
        lot_size: one.0,
        min_quantity: one,
        max_quantity: None,
        min_notional: None,
        tick_size_steps: Vec::new(),
        contract_size: None,
    }
}

/// Nothing is limited, and there are no prices.
fn unlimited() -> Arc<Risk> {
    struct Nothing;
    impl Market for Nothing {
        fn last(&self, _: Instrument) -> Option<(Mark, Timestamp)> {
            None
        }

        fn day_profit(&self, _: &str, _: Timestamp) -> DayProfit {
            DayProfit::default()
        }
    }
    let positions = Arc::new(Positions::new([]));
    let config = RiskConfig::default();
    Arc::new(Risk::new(config, [], positions, Arc::new(Nothing), None, None))
}

pub(super) fn exchange(root: &Scope, name: &str) -> Arc<ExchangeParts> {
    let name = ExchangeName::new(name).unwrap();
    let second = Duration::from_secs(1);
    let desk = Desk::new(DeskSettings {
        exchange: name,
        trading: true,
        patience: Patience {
            acknowledgement: second,
            query: second,
            cancel: second,
            in_flight: second,
            closed_kept: 8,
        },
        queue: 8,
        limits: None,
        reserve_percent: 25,
        no_reduce_only: None,
        switch: SwitchSettings { kind: DeadMansSwitch::None, timeout: None },
        mass_cancel: MassCancel::NONE,
        symbols: Arc::new(SymbolTable::new([spec(name)])),
        risk: unlimited(),
        ids: Arc::new(IdGenerator::new("gw", Timestamp::UNIX_EPOCH, None)),
        journal: Journal::new(8),
        writer: Writer::closed(),
        positions: Arc::new(Positions::new([])),
        clock: Arc::new(SystemClock),
    });
    let scope = root.child(name.as_str(), Phase::Complete);
    let connections = vec![Arc::new(ConnectionRecord::new(name, ConnectionKind::Market))];
    let (desk, cut) = (Arc::new(desk), CancellationToken::new());
    let failures_before = 0;
    Arc::new(ExchangeParts { name, scope, desk, connections, account: None, cut, failures_before })
}

pub(super) fn coordinator(root: &Scope, exchanges: Vec<Arc<ExchangeParts>>) -> Coordinator {
    Coordinator {
        exchanges,
        positions: Arc::new(Positions::new([])),
        router: Arc::new(Router::new([])),
        policies: ClosePolicies::default(),
        saving: None,
        hooking: None,
        phase: watch::channel(Phase::Running).0,
        config: ShutdownConfig::default(),
        clock: Arc::new(SystemClock),
        alerts: Alerts::silent(),
        order_stages: std::sync::Mutex::default(),
        scope: root.clone(),
        force: CancellationToken::new(),
        trigger: "test".into(),
        progress: Progress::default(),
    }
}

#[tokio::test]
async fn a_shutdown_that_panics_still_reports_and_completes() {
    let root = Scope::root("gateway");
    let state = tempfile::tempdir().unwrap();
    let parts = exchange(&root, "binance");
    let mut coordinator = coordinator(&root, vec![Arc::clone(&parts)]);
    coordinator.clock = Arc::new(BrokenClock::default());
    coordinator.saving = Some(Saving {
        router: Arc::new(Router::new([])),
        directory: StateDirectory::open(&state.path().join("state")).unwrap(),
        previous: None,
        database: None,
        scope: root.child("state", Phase::SaveState),
        stranded: Vec::new(),
    });
    let phase = coordinator.phase.subscribe();
    let cut = parts.cut.clone();
    // A task that lives until its scope is cancelled or its socket is cut.
    parts.scope.spawn(async move { cut.cancelled().await });
    let report = coordinator.run().await;
    assert_eq!(report.outcome, Outcome::StateNotSaved, "{report:#?}");
    let reasons: Vec<_> = report.failures.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!(reasons, ["the shutdown panicked: the clock is broken"]);
    let phases: Vec<_> = report.phases.iter().map(|phase| phase.phase).collect();
    assert_eq!(phases, [Phase::StopNewOrders, Phase::CancelPending, Phase::ClosePositions]);
    assert_eq!(*phase.borrow(), Phase::Complete);
    assert_eq!(parts.scope.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn exchanges_that_do_not_end_are_cut_side_by_side() {
    let root = Scope::root("gateway");
    let names = ["one", "two", "three", "four"];
    let exchanges: Vec<_> = names.iter().map(|name| exchange(&root, name)).collect();
    for parts in &exchanges {
        parts.scope.spawn(std::future::pending::<()>());
    }
    let began = Instant::now();
    coordinator(&root, exchanges).cut_the_rest().await;
    assert_eq!(began.elapsed().as_millis(), CUT_LIMIT.as_millis());
    assert_eq!(root.failures().len(), names.len());
}

#[tokio::test]
async fn a_drain_lists_no_failures_of_an_exchange_with_a_longer_name() {
    let root = Scope::root("gateway");
    let (kraken, other) = (exchange(&root, "kraken"), exchange(&root, "kraken2"));
    let mut coordinator = coordinator(&root, vec![Arc::clone(&kraken)]);
    coordinator.scope = kraken.scope.clone();
    other.scope.fail("not ours");
    kraken.scope.fail("ours");
    kraken.scope.child("trading", Phase::Disconnect).fail("ours, too");
    let reasons: Vec<_> = coordinator.failures().into_iter().map(|f| f.reason).collect();
    assert_eq!(reasons, ["ours", "ours, too"]);
}

/// An order that was written and not answered.
fn sent(client_id: ClientOrderId, instrument: Instrument) -> Order {
    let (price, quantity) = ("5".parse().unwrap(), "10".parse().unwrap());
    Order {
        client_id,
        exchange_id: None,
        request: NewOrder::limit(instrument, Side::Buy, price, quantity),
        status: OrderStatus::Sent,
        filled: Quantity::ZERO,
        booked: Quantity::ZERO,
        reason: None,
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    }
}

#[tokio::test(start_paused = true)]
async fn fills_that_the_exchange_does_not_tell_are_named_and_leave_no_order_open() {
    let root = Scope::root("gateway");
    let parts = exchange(&root, "kraken");
    let desk = &parts.desk;
    let instrument = spec(parts.name).instrument;
    let id: ClientOrderId = "gw1".parse().unwrap();
    let order = sent(id, instrument);
    desk.adopt(RecoveredOrder { order, fills: Vec::new() }, false);
    desk.session_opened();
    desk.session_ready();
    let news = |news| OrderEvent {
        client_id: Some(id),
        exchange_id: None,
        instrument: Some(instrument),
        request_id: None,
        exchange_time: None,
        news,
    };
    // The answer to a question, before shutdown begins.
    let (status, cumulative) = (OrderStatus::Canceled, Some("4".parse().unwrap()));
    desk.apply(&news(OrderNews::Status { status, cumulative, reason: None }));
    let sweeper = Arc::clone(desk);
    parts.scope.child("sweeper", Phase::Disconnect).spawn(async move { sweeper.sweep().await });
    let report = coordinator(&root, vec![Arc::clone(&parts)]).run().await;
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    let commands = std::iter::from_fn(|| match desk.next_command() {
        Next::Write(command, _) => Some(command),
        Next::CancelAll(_) | Next::WaitUntil(_) | Next::Nothing => None,
    });
    let asked =
        commands.filter(|command| matches!(command, Command::Fills(asked) if *asked == id)).count();
    assert_eq!(asked, 1);
    let order = &report.exchanges[0].orders[0];
    assert_eq!((order.filled, order.booked), ("4".parse().unwrap(), Quantity::ZERO));
    assert!(!order.fate.is_left());
    let failure = report.failures.iter().find(|failure| failure.reason.contains(id.as_str()));
    let failure = failure.unwrap_or_else(|| panic!("{report:#?}"));
    assert_eq!(failure.scope, "gateway/kraken");
    assert!(failure.reason.ends_with("quantity 4 of 4"), "{failure:?}");
    let cancelling = &report.phases[1];
    assert_eq!((cancelling.phase, cancelling.ended), (Phase::CancelPending, PhaseEnd::TimedOut));
}

/// Holds the database's thread up until the sender sends or is dropped: what is recorded now waits.
fn hold(writer: &Writer) -> std::sync::mpsc::Sender<()> {
    let (entered, is_held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let then = Box::new(move |_| {
        entered.send(()).unwrap();
        let _ = released.recv();
    });
    writer.record_then(Record::Ticks { ticks: Vec::new() }, then);
    is_held.recv().unwrap();
    release
}

#[test]
fn an_emergency_file_of_an_earlier_process_with_the_same_id_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = StateDirectory::open(temporary.path()).unwrap();
    let (database, _) = Database::open(&directory, Durability::Process).unwrap();
    let writer = database.writer();
    let release = hold(&writer);
    writer.record(Record::Ticks { ticks: Vec::new() });

    let earlier = temporary.path().join(writer.emergency_name(1));
    std::fs::write(&earlier, "the only trace of a fill").unwrap();
    let written = dump(&writer, &directory, false).unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&earlier).unwrap(), "the only trace of a fill");
    assert_ne!(written, earlier);
    assert_eq!(written.parent(), Some(temporary.path()));
    assert_eq!(std::fs::read_to_string(&written).unwrap().lines().count(), 1);
    release.send(()).unwrap();
    database.close().unwrap();
}

#[tokio::test]
async fn records_that_not_even_the_emergency_file_has_are_told() {
    let root = Scope::root("gateway");
    let temporary = tempfile::tempdir().unwrap();
    let directory = StateDirectory::open(temporary.path()).unwrap();
    let (database, _) = Database::open_with(&directory, Durability::Process, 1, 1).unwrap();
    let writer = database.writer();
    let release = hold(&writer);
    for _ in 0..3 {
        writer.record(Record::Ticks { ticks: Vec::new() });
    }
    assert!(writer.lost() > 0);
    release.send(()).unwrap();
    let mut coordinator = coordinator(&root, Vec::new());
    coordinator.saving = Some(Saving {
        router: Arc::new(Router::new([])),
        directory,
        previous: None,
        database: Some(database),
        scope: root.child("state", Phase::SaveState),
        stranded: Vec::new(),
    });
    let report = coordinator.run().await;
    assert_eq!(report.outcome, Outcome::StateNotSaved);
    let told = report.failures.iter().any(|failure| failure.reason.contains("records are lost"));
    assert!(told, "{report:#?}");
}

#[tokio::test]
async fn a_database_that_hangs_gets_an_emergency_file_on_another_disk() {
    let root = Scope::root("gateway");
    let temporary = tempfile::tempdir().unwrap();
    let directory = StateDirectory::open(temporary.path()).unwrap();
    let (database, _) = Database::open(&directory, Durability::Process).unwrap();
    let release = hold(&database.writer());
    let mut coordinator = coordinator(&root, Vec::new());
    coordinator.config.save_state = Duration::from_secs(3);
    coordinator.saving = Some(Saving {
        router: Arc::new(Router::new([])),
        directory,
        previous: None,
        database: Some(database),
        scope: root.child("state", Phase::SaveState),
        stranded: Vec::new(),
    });
    let began = Instant::now();
    let (phases, state) = (Vec::new(), StateReport::default());
    let started = Timestamp::UNIX_EPOCH;
    let course = Course { began, started, phases, state, closings: Vec::new() };
    let mut report = coordinator.report(course);
    // As after a panic, when nothing is known of the orders.
    report.outcome = Outcome::OrdersLeft;
    coordinator.seal(&mut report, began).await;
    drop(release);
    let file = std::path::PathBuf::from(
        report.state.emergency_file.as_deref().expect("an emergency file"),
    );
    assert_eq!(file.parent(), Some(std::env::temp_dir().as_path()));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(text.contains("run_ended"), "{text}");
    assert_eq!(report.outcome, Outcome::OrdersLeft, "a state not saved is the lesser evil");
}

#[tokio::test(start_paused = true)]
async fn what_is_sealed_after_the_deadline_is_sealed_before_the_watchdog_ends_the_process() {
    let root = Scope::root("gateway");
    let coordinator = coordinator(&root, Vec::new());
    let began = Instant::now();
    assert_eq!(coordinator.seal_limit(began), coordinator.config.save_state);
    tokio::time::advance(coordinator.config.deadline).await;
    assert_eq!(coordinator.seal_limit(began), FORCED_LIMIT);
}

#[test]
fn a_lock_that_a_blocked_task_holds_keeps_neither_the_last_report_nor_the_tree() {
    let root = Scope::root("gateway");
    let temporary = tempfile::tempdir().unwrap();
    let directory = StateDirectory::open(temporary.path()).unwrap();
    let (database, _) = Database::open(&directory, Durability::Process).unwrap();
    let (stuck, well) = (exchange(&root, "kraken"), exchange(&root, "binance"));
    let order = sent("gw1".parse().unwrap(), spec(well.name).instrument);
    well.desk.adopt(RecoveredOrder { order, fills: Vec::new() }, true);
    let (held, is_held) = std::sync::mpsc::channel();
    let (_release, released) = std::sync::mpsc::channel();
    std::thread::spawn({
        let stuck = Arc::clone(&stuck);
        move || stuck.desk.hang(&held, &released)
    });
    is_held.recv().unwrap();
    let witness = Witness {
        coordinator: coordinator(&root, Vec::new()),
        exchanges: Arc::new(std::sync::Mutex::new(vec![stuck, well])),
        root: root.clone(),
        stranded: Vec::new(),
        writer: database.writer(),
        directory,
        progress: Progress::default(),
    };
    let limit = Duration::from_millis(300);
    let tree = witness.tree(Phase::CancelPending, limit);
    let orders: Vec<_> = tree.orders.iter().map(|of| of.orders.as_ref().map(Vec::len)).collect();
    assert_eq!(orders, [None, Some(1)]);
    let text = tree.to_string();
    assert!(text.contains("kraken: not known, something that hangs holds them"), "{text}");

    let (at, trigger) = (Instant::now(), "SIGTERM".to_owned());
    let begun = Begun { at, started: Timestamp::UNIX_EPOCH, trigger };
    let outcome = Outcome::DeadlineForced;
    let phase = Phase::CancelPending;
    let ending = Ending { begun: &begun, phase, outcome, why: "late", limit };
    let report = witness.last_report(&ending);
    assert_eq!(report.outcome, Outcome::OrdersLeft);
    assert_eq!(report.trigger, "SIGTERM");
    assert_eq!(report.orders_left().count(), 1, "the other exchange is reported: {report:#?}");
    let reasons: Vec<_> = report.failures.iter().map(|f| f.reason.as_str()).collect();
    let unknown = "the orders of kraken cannot be listed: take every order for open";
    assert_eq!(reasons, [unknown, "late, in phase cancel_pending"]);
    assert!(report.state.saved);
}

#[tokio::test]
async fn nothing_that_closes_a_position_is_written_once_the_last_report_is_made() {
    let root = Scope::root("gateway");
    let temporary = tempfile::tempdir().unwrap();
    let directory = StateDirectory::open(temporary.path()).unwrap();
    let (database, _) = Database::open(&directory, Durability::Process).unwrap();
    let parts = exchange(&root, "kraken");
    parts.desk.close_gate(Phase::ClosePositions);
    let pass = parts.desk.closing_pass().await.ok().unwrap();
    let witness = Witness {
        coordinator: coordinator(&root, Vec::new()),
        exchanges: Arc::new(std::sync::Mutex::new(vec![parts])),
        root: root.clone(),
        stranded: Vec::new(),
        writer: database.writer(),
        directory,
        progress: Progress::default(),
    };
    let (at, trigger) = (Instant::now(), "SIGTERM".to_owned());
    let begun = Begun { at, started: Timestamp::UNIX_EPOCH, trigger };
    let (outcome, phase) = (Outcome::OperatorForced, Phase::ClosePositions);
    let limit = Duration::from_secs(20);
    let ending = Ending { begun: &begun, phase, outcome, why: "asked", limit };
    witness.last_report(&ending);
    let instrument = spec("kraken".parse().unwrap()).instrument;
    let refused = pass.submit(NewOrder::market(instrument, Side::Sell, Quantity(1.into())));
    assert!(matches!(refused, Err(OrderError::Stopping { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_drain_tells_of_failures_although_many_were_before() {
    let root = Scope::root("gateway");
    for _ in 0..300 {
        root.fail("a damaged row");
    }
    let parts = exchange(&root, "kraken");
    let failures_before = root.failures_listed();
    let mut parts = Arc::into_inner(parts).unwrap();
    parts.failures_before = failures_before;
    let mut drain = coordinator(&parts.scope, Vec::new());
    drain.exchanges = vec![Arc::new(parts)];
    assert_eq!(drain.failures(), []);
    drain.exchanges[0].scope.fail("1 tasks did not end");
    let scopes: Vec<_> = drain.failures().into_iter().map(|failure| failure.scope).collect();
    assert_eq!(scopes, ["gateway/kraken"]);
    assert_eq!(root.failures().len(), 258, "the rest is counted");
}
