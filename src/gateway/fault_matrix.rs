//! Every part fails in every way in every phase of a shutdown, against exchanges that are judges: the
//! report must come in time and be true, name the fault, and all else must go on.
//!
//! It is a unit test because the database's thread is out of reach from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use mock_exchange::{Disconnect, Fault, FaultAction, Ledger};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use url::Url;

use super::Gateway;
use crate::environment::Environment;
use crate::net::{ByteStream, Connecting, Connector, SystemConnector};
use crate::report::{AlertKind, HookEnd, HookPriority, OrderFate, Outcome, Phase, ShutdownReport};
use crate::scope::panic_message;
use crate::shutdown::Hook;
use crate::state::{Record, StateView, Writer};

#[path = "../../tests/common/mod.rs"]
mod common;

use common::judge::judge;
use common::receiver::{Answer, BROKEN, OK, Receiver};
use common::{BOTH, Bench, rest};

/// A busy machine may add this to a deadline.
const SLACK: Duration = Duration::from_secs(4);
/// The exchange that has the fault; the other one must not notice.
const FAULTY: &str = "binance";
const OTHER: &str = "kraken";
const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Connections,
    Hooks,
    Database,
    Alerts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Ok,
    Fails,
    Panics,
    Hangs,
    /// It hangs, and the operator forces the exit.
    Forced,
    /// It hangs, and the deadline is short.
    Deadline,
}

const PARTS: [Part; 4] = [Part::Connections, Part::Hooks, Part::Database, Part::Alerts];
const HOWS: [How; 6] = [How::Ok, How::Fails, How::Panics, How::Hangs, How::Forced, How::Deadline];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    part: Part,
    phase: Phase,
    how: How,
}

/// WebSocket streams that panic when they are told to, and from then on.
#[derive(Clone, Default, Debug)]
struct Panics(Arc<AtomicBool>);

impl Panics {
    fn check(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "the stream is to panic");
    }
}

#[derive(Debug)]
struct Panicking {
    inner: SystemConnector,
    panics: Panics,
    port: u16,
    /// Where alerts go.
    receiver: u16,
}

impl Connector for Panicking {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        Box::pin(async move {
            if url.port() == Some(self.receiver) {
                self.panics.check();
            }
            let stream = self.inner.connect(url).await?;
            if url.scheme() != "ws" || url.port() != Some(self.port) {
                return Ok(stream);
            }
            let panics = self.panics.clone();
            Ok(Box::new(PanickingStream { stream, panics }) as Box<dyn ByteStream>)
        })
    }
}

struct PanickingStream {
    stream: Box<dyn ByteStream>,
    panics: Panics,
}

impl AsyncRead for PanickingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.panics.check();
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PanickingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.panics.check();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Panics again when it is dropped, so that the database's thread ends of it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the database's thread is to panic");
    }
}

/// Whoever holds the database up lets go of it with this.
type Hold = Arc<Mutex<Vec<Box<dyn Send>>>>;

/// One cell: what it runs on.
struct Trial {
    cell: Cell,
    bench: Arc<Bench>,
    gateway: Arc<Gateway>,
    panics: Panics,
    hold: Hold,
    receiver: Receiver,
}

impl Trial {
    async fn start(cell: Cell) -> Self {
        let mut bench = Bench::start(BOTH).await;
        let shutdown = &mut bench.config.shutdown;
        shutdown.stop_new_orders = MS * 250;
        shutdown.cancel_pending = MS * 2500;
        shutdown.close_positions = MS * 250;
        shutdown.save_state = MS * 3000;
        shutdown.disconnect = MS * 500;
        shutdown.cancel_retry = MS * 100;
        shutdown.deadline = MS * 8000;
        if (cell.part, cell.how) == (Part::Hooks, How::Panics) {
            // Telling of the first panic with all its frames takes long.
            shutdown.stop_new_orders = MS * 2500;
            shutdown.close_positions = MS * 2500;
            shutdown.disconnect = MS * 2500;
            shutdown.deadline = MS * 20_000;
        }
        if cell.how == How::Deadline {
            shutdown.save_state = MS * 1200;
            shutdown.disconnect = MS * 300;
            shutdown.cancel_pending = MS * 5000;
            shutdown.close_positions = MS * 5000;
            shutdown.deadline = MS * 2500;
        }
        // One that is locked fails only after a second.
        if cell.part == Part::Database && cell.how > How::Panics {
            shutdown.save_state = MS * 600;
        }
        bench.connections(|connection| connection.close_timeout = MS * 300);
        let receiver = Receiver::start(&[match cell.how {
            How::Ok | How::Panics => OK,
            How::Fails => BROKEN,
            How::Hangs | How::Forced | How::Deadline => Answer::Hang,
        }])
        .await;
        if cell.part == Part::Alerts {
            let url = format!("http://{}/", receiver.address());
            bench.config.alerts.webhook = Some(url.parse().expect("a URL"));
            bench.config.alerts.webhook_retries = 1;
            bench.config.alerts.webhook_retry_pause = MS * 20;
            bench.config.alerts.webhook_timeout = MS * 60_000;
            bench.config.alerts.shutdown_wait = MS * 700;
        }
        let panics = Panics::default();
        let to = receiver.address().port();
        let (of_stream, port) = (panics.clone(), bench.venue(FAULTY).address().port());
        let make = move |file: Option<&std::path::Path>| {
            let inner = SystemConnector::new(file)?;
            let connector = Panicking { inner, panics: of_stream.clone(), port, receiver: to };
            Ok(Arc::new(connector) as Arc<dyn Connector>)
        };
        let environment = Environment { connector: Arc::new(make), ..Environment::system() };
        let gateway =
            Gateway::start_in(bench.config.clone(), environment).await.expect("it starts");
        for exchange in BOTH {
            rest(&gateway, exchange, 2).await;
        }
        let (bench, gateway) = (Arc::new(bench), Arc::new(gateway));
        Self { cell, bench, gateway, panics, hold: Hold::default(), receiver }
    }

    fn writer(&self) -> Writer {
        let database = self.gateway.inner.database.lock().expect("nobody panicked");
        database.as_ref().expect("it is open").writer()
    }

    /// What goes wrong when the phase begins.
    fn fault(&self) -> impl FnOnce() + Send + 'static {
        let (cell, bench, panics) = (self.cell, Arc::clone(&self.bench), self.panics.clone());
        let (hold, writer) = (Arc::clone(&self.hold), self.writer());
        let (gateway, alerts) = (Arc::downgrade(&self.gateway), self.gateway.inner.alerts.clone());
        let directory = self.gateway.state_directory().path().to_owned();
        move || {
            match (cell.part, cell.how) {
                (Part::Alerts, _) => {
                    panics.0.store(cell.how == How::Panics, Ordering::SeqCst);
                    alerts.raise(AlertKind::PartFailed, None, "tried");
                }
                (_, How::Ok) | (Part::Hooks, _) => {}
                (Part::Connections, How::Fails) => {
                    bench.venue(FAULTY).drop_connections(Disconnect::Rst);
                }
                (Part::Connections, How::Panics) => {
                    panics.0.store(true, Ordering::SeqCst);
                    // Something to be read, so that it panics now.
                    bench.quote(FAULTY, 50_000);
                }
                (Part::Connections, _) => {
                    bench.add(
                        Fault::new(FaultAction::GoSilent { for_ms: None }).at(FAULTY).times(0),
                    );
                }
                (Part::Database, How::Fails) => {
                    let other = rusqlite::Connection::open(directory.join("gateway.db"));
                    let other = other.expect("it opens");
                    let option = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                    other.set_db_config(option, true).expect("an option that there is");
                    other.busy_timeout(SLACK).expect("it can wait");
                    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
                    writer.record(Record::Ticks { ticks: Vec::new() });
                    hold.lock().expect("nobody panicked").push(Box::new(other));
                }
                (Part::Database, How::Panics) => {
                    let then = Box::new(|_| std::panic::panic_any(Bomb));
                    writer.record_then(Record::Ticks { ticks: Vec::new() }, then);
                }
                (Part::Database, _) => {
                    let (release, released) = mpsc::channel::<()>();
                    let (entered, is_held) = mpsc::channel();
                    let then = Box::new(move |_| {
                        let _ = entered.send(());
                        let _ = released.recv();
                    });
                    writer.record_then(Record::Ticks { ticks: Vec::new() }, then);
                    is_held.recv_timeout(SLACK).expect("the thread is held");
                    hold.lock().expect("nobody panicked").push(Box::new(release));
                }
            }
            if cell.how == How::Forced
                && let Some(gateway) = gateway.upgrade()
            {
                gateway.force();
            }
        }
    }

    /// The fault goes with a hook just before the phase's work; for the first phase there is nothing
    /// before but the shutdown itself.
    fn arm(&self) {
        let fault = self.fault();
        let work = || async {
            fault();
            Ok::<(), String>(())
        };
        let hook = match self.cell.phase {
            Phase::StopNewOrders => return work().now_or_never().map_or((), drop),
            Phase::CancelPending => {
                Hook::new("inject", Phase::StopNewOrders, work).priority(HookPriority::Cleanup)
            }
            phase => Hook::new("inject", phase, work).priority(HookPriority::Critical),
        };
        self.gateway.on_shutdown(hook).expect("it is taken");
    }

    /// The hook that has the fault, if hooks have it.
    fn add_hook(&self) {
        let (phase, how) = (self.cell.phase, self.cell.how);
        let never = std::future::pending::<Result<(), String>>;
        let limit = MS * if how == How::Hangs { 100 } else { 60_000 };
        let hook = match how {
            How::Ok => Hook::new("tried", phase, || async { Ok::<(), String>(()) }),
            How::Fails => Hook::new("tried", phase, || async { Err("it failed") }),
            How::Panics => Hook::new("tried", phase, panicking),
            How::Hangs | How::Forced | How::Deadline => Hook::new("tried", phase, never),
        };
        let hook: Hook = hook.timeout(limit);
        self.gateway.on_shutdown(hook).expect("it is taken");
    }

    async fn run(self) -> ShutdownReport {
        if self.cell.part == Part::Hooks {
            self.add_hook();
        }
        let began = Instant::now();
        if self.cell.part != Part::Hooks || self.cell.how == How::Forced {
            self.arm();
        }
        let report = common::within(self.gateway.shutdown()).await;
        let took = began.elapsed();
        let deadline = self.bench.config.shutdown.deadline;
        assert!(took < deadline + SLACK, "it took {took:?}");
        let ledger = self.bench.mock.ledger();
        self.hold.lock().expect("nobody panicked").clear();
        assert_eq!(*self.gateway.phase().borrow(), Phase::Complete);
        let file = report.state.emergency_file.clone();
        let written = file.as_ref().map(|file| std::fs::read_to_string(file).expect("it is there"));
        if let Some(file) = file {
            std::fs::remove_file(file).expect("it is there");
        }
        self.examine(&report, &ledger, written.as_deref());
        Arc::unwrap_or_clone(report)
    }

    /// Whether the report is in the database all the same.
    fn is_stored(&self, report: &ShutdownReport) -> bool {
        let view = StateView::open(self.gateway.state_directory().path()).expect("it is there");
        let runs = view.runs(1).expect("it is readable").rows;
        runs[0].trigger.as_deref() == Some(&report.trigger)
    }

    fn examine(&self, report: &ShutdownReport, ledger: &Ledger, emergency: Option<&str>) {
        let Cell { part, phase, how } = self.cell;
        judge(report, ledger);
        let phases: Vec<_> = report.phases.iter().map(|phase| phase.phase).collect();
        assert_eq!(phases, Phase::WORKING, "every phase was entered");
        let told = serde_json::to_string(report).expect("it can be written");
        assert_eq!(&serde_json::from_str::<ShutdownReport>(&told).expect("and read"), report);
        let in_time = !matches!(how, How::Forced | How::Deadline);
        if in_time {
            let other = report.exchanges.iter().find(|e| e.exchange.as_str() == OTHER);
            let orders = &other.expect("it is reported").orders;
            assert!(orders.iter().all(|order| order.fate == OrderFate::Canceled), "{orders:?}");
            assert_eq!(ledger.exchange(OTHER).open_orders, []);
            let saved = &report.state;
            assert_eq!(saved.saved, part != Part::Database || how == How::Ok, "{saved:?}");
        }
        let outcomes: &[Outcome] = match (part, how) {
            (_, How::Ok) => &[Outcome::Clean],
            (Part::Database, How::Fails | How::Panics | How::Hangs) => &[Outcome::StateNotSaved],
            (Part::Database, _) => &[Outcome::StateNotSaved, Outcome::OrdersLeft],
            (_, How::Forced) => &[Outcome::OperatorForced, Outcome::OrdersLeft],
            (Part::Alerts, How::Deadline) => {
                &[Outcome::Clean, Outcome::Degraded, Outcome::DeadlineForced]
            }
            // That nobody was reached is in the report, and harms no order.
            (Part::Alerts, _) => &[Outcome::Clean, Outcome::Degraded],
            (_, How::Deadline) => {
                &[Outcome::Degraded, Outcome::DeadlineForced, Outcome::OrdersLeft]
            }
            (Part::Hooks, _) => &[Outcome::Degraded],
            // A connection that is opened again in time is no blemish.
            (Part::Connections, How::Fails) if phase <= Phase::ClosePositions => {
                &[Outcome::Clean, Outcome::Degraded]
            }
            (Part::Connections, _) => &[Outcome::Degraded],
        };
        assert!(
            outcomes.contains(&report.outcome),
            "{:?} is not of {outcomes:?}: {report:#?}",
            report.outcome
        );
        let failed = |text: &str| report.failures.iter().any(|f| f.reason.contains(text));
        match (part, how) {
            (Part::Alerts, _) => {
                let told = report.alerts.iter().find(|told| told.alert.message == "tried");
                let delivery = &told.expect("it is reported").deliveries[0];
                assert_eq!(delivery.error.is_none(), how == How::Ok, "{delivery:?}");
                let posted = self.receiver.of("part_failed").len();
                assert_eq!(posted > 0, how != How::Panics, "{posted} were posted");
            }
            (_, How::Ok) => assert_eq!(report.failures, []),
            (Part::Connections, How::Panics) => assert!(failed("panicked: the stream is to panic")),
            (Part::Connections, _) => {
                let all = report.exchanges.iter().flat_map(|exchange| &exchange.connections);
                let blemish = all.clone().any(|c| !c.closed_in_order || c.problem.is_some());
                let named = blemish || !report.failures.is_empty();
                assert!(named || report.outcome == Outcome::Clean, "{report:#?}");
            }
            (Part::Hooks, _) => {
                let hook = report.hooks.iter().find(|hook| hook.name == "tried");
                let hook = hook.expect("it is reported");
                let expected = match how {
                    How::Fails => HookEnd::Failed,
                    How::Panics => HookEnd::Panicked,
                    How::Forced => HookEnd::Forced,
                    _ => HookEnd::TimedOut,
                };
                assert_eq!((hook.phase, hook.ended), (phase, expected), "{hook:?}");
                assert!(
                    hook.reason.is_some() && failed(hook.reason.as_deref().unwrap_or_default())
                );
            }
            (Part::Database, _) => {
                assert!(report.state.error.is_some() && failed("state not saved: "));
                // A thread may end right after it has written the last record.
                let end = "\"record\":\"run_ended\"";
                let kept = emergency.is_some_and(|emergency| emergency.contains(end));
                assert!(kept || self.is_stored(report), "{:#?}", report.failures);
            }
        }
    }
}

async fn panicking() -> Result<(), String> {
    panic!("it panicked")
}

fn cells() -> Vec<Cell> {
    let of_phase = |part, phase| HOWS.map(|how| Cell { part, phase, how });
    let of_part = |part| Phase::WORKING.into_iter().flat_map(move |phase| of_phase(part, phase));
    PARTS.into_iter().flat_map(of_part).collect()
}

/// The matrix as it was run.
fn table(outcomes: &BTreeMap<Cell, String>) -> String {
    let mut text = String::new();
    for part in PARTS {
        _ = write!(text, "\n{:<16}", format!("{part:?}"));
        for how in HOWS {
            _ = write!(text, "{:>18}", format!("{how:?}"));
        }
        for phase in Phase::WORKING {
            _ = write!(text, "\n{phase:<16}");
            for how in HOWS {
                let outcome = outcomes.get(&Cell { part, phase, how });
                _ = write!(text, "{:>18}", outcome.map_or("MISSING", String::as_str));
            }
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_fails_in_whichever_phase_the_report_is_true_and_the_rest_goes_on() {
    let running = futures::stream::iter(cells()).map(|cell| async move {
        let trial = tokio::spawn(async move { Trial::start(cell).await.run().await });
        let broken = |error: tokio::task::JoinError| {
            let panic = error.into_panic();
            println!("{cell:?}: {}", panic_message(panic.as_ref()));
            "BROKEN".to_owned()
        };
        (cell, trial.await.map_or_else(broken, |report| report.outcome.as_str().to_owned()))
    });
    let outcomes: BTreeMap<_, _> = running.buffer_unordered(8).collect().await;
    println!("{}", table(&outcomes));
    let ran: BTreeSet<_> = outcomes.keys().copied().collect();
    let wanted = PARTS.len() * Phase::WORKING.len() * HOWS.len();
    assert_eq!(ran.len(), wanted, "cells are missing");
    assert!(outcomes.values().all(|outcome| outcome != "BROKEN"), "see above");
}
