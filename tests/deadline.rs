//! The deadline holds even with every thread of the runtime blocked: a thread of its own ends the
//! process, and tells the truth about the orders. The bot is this test program, started again; the
//! exchanges live on in this one and are the witnesses.

#![cfg(unix)]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::process::{Ended, Program, Setup, setup};
use common::{BOTH, Bench, logs, rest, resting};
use exchange_gateway::shutdown::{Outcome, ShutdownReport, WatchdogSettings};
use exchange_gateway::state::StateView;
use exchange_gateway::{Config, Gateway, Phase};
use mock_exchange::{Fault, FaultAction};

const CONFIG: &str = "DEADLINE_CONFIG";
const PART: &str = "DEADLINE_PART";

/// The deadline of the bots; their grace is long, so that only a blocked runtime ends at it.
const LIMITS: &str = "[shutdown]\ndeadline = \"2s\"\nstop_new_orders = \"100ms\"\n\
    save_state = \"300ms\"\ndisconnect = \"500ms\"\n";
const GRACE: Duration = Duration::from_secs(20);
/// How late the thread may act.
const LATE: Duration = Duration::from_millis(50);

/// Blocks every thread of the runtime for good, and returns when all are.
fn block_every_worker() {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let (blocked, all) = std::sync::mpsc::channel();
    for _ in 0..workers {
        let blocked = blocked.clone();
        tokio::spawn(async move {
            blocked.send(()).expect("somebody counts");
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    }
    // This thread is none of them.
    assert_eq!(all.iter().take(workers).count(), workers);
}

/// The bot that is ended. As a test of its own it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_that_blocks() {
    let (Ok(config), Ok(part)) = (std::env::var(CONFIG), std::env::var(PART)) else { return };
    let config = Config::from_file(config).expect("the parent writes it");
    let report = config.gateway.state_dir.join("../report.json");
    let gateway = Arc::new(Gateway::start(config).await.expect("it starts"));
    let settings = WatchdogSettings {
        grace: GRACE,
        report: Some(report),
        before_exit: Arc::new(|| {
            for line in logs::with(&["the process ends before"]) {
                println!("{}", line.text);
            }
        }),
        ..WatchdogSettings::default()
    };
    logs::keep();
    gateway.enforce_deadline(settings).expect("a thread");
    match part.as_str() {
        "orders" => {
            for exchange in BOTH {
                rest(&gateway, exchange, 2).await;
            }
            block_every_worker();
            gateway.shutdown().await;
        }
        "none" => {
            block_every_worker();
            gateway.shutdown().await;
        }
        "later" => {
            // The exchanges answer no close frame, so that the runtime blocks in the midst of it.
            let stopping = Arc::clone(&gateway);
            tokio::spawn(async move { stopping.shutdown().await });
            let mut phase = gateway.phase();
            phase.wait_for(|phase| *phase == Phase::Disconnect).await.expect("it goes on");
            block_every_worker();
            std::future::pending::<()>().await;
        }
        "signal" => {
            rest(&gateway, "kraken", 1).await;
            block_every_worker();
            println!("blocked");
            gateway.run_until_signal().await.expect("signals");
        }
        "done" => {
            gateway.orders().submit(resting("kraken")).await.expect("it rests");
            gateway.shutdown().await;
            // Far beyond what would be the deadline: the gateway is done, and the bot goes on.
            tokio::time::sleep(Duration::from_secs(3)).await;
            println!("still here");
            std::process::exit(0);
        }
        other => panic!("no part {other}"),
    }
    panic!("the process was to end");
}

fn bot(setup: &Setup, part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "the_bot_that_blocks", "--nocapture"]);
    command.env(CONFIG, &setup.config).env(PART, part).envs(setup.keys.clone());
    command
}

async fn ended(command: Command) -> Ended {
    let mut command = command;
    let ending = tokio::task::spawn_blocking(move || Program::start(&mut command).ended());
    ending.await.expect("no panic")
}

fn forced_report(bench: &Bench) -> ShutdownReport {
    let directory = &bench.config.gateway.state_dir;
    let text = std::fs::read(directory.join("forced-report.json")).expect("the report");
    let copy = std::fs::read(directory.join("../report.json")).expect("where it was asked for");
    assert_eq!(text, copy);
    serde_json::from_slice(&text).expect("a report")
}

/// How long after its time the thread acted, by its own account.
fn late(ended: &Ended) -> Duration {
    let told = ended.output.split("late_us=").nth(1).unwrap_or_else(|| panic!("{ended:?}"));
    let micros: String = told.chars().take_while(char::is_ascii_digit).collect();
    Duration::from_micros(micros.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_runtime_is_ended_at_its_deadline_with_every_order_named() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let mut latest = Vec::new();
    // A machine that is busy with something else for a moment is given another chance.
    for _ in 0..3 {
        let bench = Bench::start(BOTH).await;
        let began = Instant::now();
        let ended = ended(bot(&setup(&bench, LIMITS, ""), "orders")).await;
        assert!(began.elapsed() < GRACE, "the grace was not waited for: {:?}", began.elapsed());
        ended.code(13);
        let report = forced_report(&bench);
        assert_eq!(report.outcome, Outcome::OrdersLeft);
        assert_eq!(report.trigger, "shutdown()");
        assert!(report.state.saved, "{report:#?}");
        let ledger = bench.mock.ledger();
        let mut named: Vec<_> = report.orders_left().map(|o| o.client_id.to_string()).collect();
        let open = BOTH.iter().flat_map(|exchange| &ledger.exchange(exchange).open_orders);
        let mut open: Vec<_> = open.map(|order| order.client_id.clone()).collect();
        named.sort();
        open.sort();
        assert_eq!(named, open);
        assert_eq!(open.len(), 4);
        for id in &open {
            assert!(ended.errors.contains(&format!("\n  {id}\n")), "{}", ended.errors);
        }
        assert!(ended.output.contains("cause=Blocked"), "{}", ended.output);
        let view = StateView::open(&bench.config.gateway.state_dir).expect("the database");
        let run = view.runs(1).expect("runs").rows.remove(0);
        assert_eq!(run.outcome.as_deref(), Some("orders_left"), "the run is sealed");
        latest.push(late(&ended));
        if latest.last() < Some(&LATE) {
            return;
        }
    }
    panic!("never within {LATE:?}: {latest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_runtime_without_orders_exits_11() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let bench = Bench::start(&["kraken"]).await;
    let ended = ended(bot(&setup(&bench, LIMITS, ""), "none")).await;
    ended.code(11);
    let report = forced_report(&bench);
    assert_eq!(report.outcome, Outcome::DeadlineForced);
    assert!(report.state.saved, "{report:#?}");
    let told =
        report.failures.iter().any(|failure| failure.reason.contains("the runtime is blocked"));
    assert!(told, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_blocks_in_the_midst_reports_the_phases_that_ended() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let bench = Bench::start(&["kraken"]).await;
    bench.add(Fault::new(FaultAction::RefuseClose).at("kraken").times(0));
    let ended = ended(bot(&setup(&bench, LIMITS, ""), "later")).await;
    ended.code(11);
    let report = forced_report(&bench);
    let phases: Vec<_> = report.phases.iter().map(|phase| phase.phase).collect();
    assert_eq!(phases, Phase::WORKING);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_an_earlier_run_is_named_by_the_last_report_too() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let bench = Bench::start(&["kraken"]).await;
    let (price, quantity) =
        ("19000".parse().expect("a price"), "0.01".parse().expect("a quantity"));
    let placed = bench.venue("kraken").place_by_hand(
        common::symbol("kraken"),
        "gw0000000000000001",
        mock_exchange::Side::Buy,
        price,
        quantity,
    );
    placed.expect("it rests");
    let ended = ended(bot(&setup(&bench, LIMITS, ""), "none")).await;
    ended.code(13);
    let leftovers = "open orders of an earlier run:\n  gw0000000000000001\n";
    assert!(ended.errors.contains(leftovers), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_heard_by_the_thread_though_the_runtime_is_blocked() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let bench = Bench::start(&["kraken"]).await;
    let limits = "[shutdown]\ndeadline = \"10m\"\n";
    let mut command = bot(&setup(&bench, limits, ""), "signal");
    let ended = tokio::task::spawn_blocking(move || {
        let mut program = Program::start_until(&mut command, "blocked");
        // It forces and shows what runs; whatever comes after the bounces is the third.
        program.signal("QUIT");
        while program.runs() {
            program.signal("TERM");
            std::thread::sleep(Duration::from_millis(50));
        }
        program.ended()
    });
    let ended = ended.await.expect("no panic");
    ended.code(13);
    assert!(ended.errors.contains("What runs in phase"), "{}", ended.errors);
    assert!(ended.errors.contains("kraken:BTC-USDT"), "{}", ended.errors);
    assert!(ended.errors.contains("asked a third time"), "{}", ended.errors);
    let trigger = forced_report(&bench).trigger;
    assert!(trigger == "SIGQUIT", "{trigger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_goes_on_after_its_shutdown_is_left_alone() {
    if std::env::var(CONFIG).is_ok() {
        return;
    }
    let bench = Bench::start(&["kraken"]).await;
    let ended = ended(bot(&setup(&bench, LIMITS, ""), "done")).await;
    ended.code(0);
    assert!(ended.output.contains("still here"), "{}", ended.output);
}
