//! The exit code tells the truth: each one, by the real program against exchanges that live in this
//! test.

#![cfg(all(unix, feature = "cli"))]

mod common;

use common::process::{Ended, Program, Setup, gateway, run, setup, wait_for};
use common::{Bench, symbol};
use exchange_gateway::shutdown::{Outcome, ShutdownReport};
use mock_exchange::{Fault, FaultAction};

/// What the program prints when it is ready for signals.
const READY: &str = "running; Ctrl-C or SIGTERM ends it";

/// A gateway whose exchange never answers a close frame, and that would wait long for it.
const PATIENT: &str = "[connection]\nclose_timeout = \"15s\"\n\
    [shutdown]\ndeadline = \"60s\"\ndisconnect = \"15s\"\n";

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let work = tokio::task::spawn_blocking(work);
    async move { work.await.expect("no panic") }
}

/// Runs the gateway, asks it to end with these signals once it is ready, and waits for its end.
async fn ended_by(bench: &Bench, setup: &Setup, signals: &'static [&'static str]) -> Ended {
    let (mut command, _) = run(bench, setup);
    blocking(move || {
        let program = Program::start_until(&mut command, READY);
        for signal in signals {
            program.signal(signal);
        }
        program.ended()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_in_order_exits_0() {
    let bench = Bench::start(&["binance", "kraken"]).await;
    let ended = ended_by(&bench, &setup(&bench, "", ""), &["TERM"]).await;
    ended.code(0);
    assert!(ended.output.contains("Shutdown by SIGTERM"), "{}", ended.output);
    assert!(ended.output.contains("CLEAN, exit code 0"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_start_exits_1() {
    let bench = Bench::start(&["kraken"]).await;
    let mut setup = setup(&bench, "", "");
    for (_, key) in &mut setup.keys {
        "d3Jvbmc=".clone_into(key);
    }
    let (mut command, _) = run(&bench, &setup);
    let ended = blocking(move || Program::start(&mut command).ended()).await;
    ended.code(1);
    assert!(ended.errors.contains("kraken trading"), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_configuration_exits_2_before_anything_is_started() {
    let bench = Bench::start(&["kraken"]).await;
    let setup = setup(&bench, "[shutdown]\ndeadlin = \"5s\"", "");
    let (mut command, _) = run(&bench, &setup);
    let ended = blocking(move || Program::start(&mut command).ended()).await;
    ended.code(2);
    assert!(ended.errors.contains("deadlin"), "{}", ended.errors);
    let ledger = bench.mock.ledger();
    assert!(ledger.exchange("kraken").connections.is_empty());
    let wrong = blocking(|| Program::start(gateway("run").arg("--no-such-flag")).ended()).await;
    wrong.code(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_not_answered_exits_10() {
    let bench = Bench::start(&["kraken"]).await;
    bench.add(Fault::new(FaultAction::RefuseClose).at("kraken").times(0));
    let setup = setup(&bench, "[connection]\nclose_timeout = \"200ms\"", "");
    let ended = ended_by(&bench, &setup, &["INT"]).await;
    ended.code(10);
    assert!(ended.output.contains("DEGRADED, exit code 10"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_the_deadline_cuts_short_exits_11() {
    let bench = Bench::start(&["kraken"]).await;
    // A second in all, of which a phase that may take eight gets a part.
    let limits = "[shutdown]\ndeadline = \"2s\"\nstop_new_orders = \"200ms\"\n\
        cancel_pending = \"8s\"\nsave_state = \"500ms\"\ndisconnect = \"1s\"\n";
    let switch = "account_is_ours = true\ndead_mans_switch = \"60s\"\n";
    let (mut command, _) = run(&bench, &setup(&bench, limits, switch));
    let program = blocking(move || Program::start_until(&mut command, READY)).await;
    // That the switch is off is confirmed by nobody, and the phase waits for it.
    bench.add(Fault::new(FaultAction::LoseSwitchAck).at("kraken").times(0));
    let ended = blocking(move || {
        program.signal("TERM");
        program.ended()
    })
    .await;
    ended.code(11);
    assert!(ended.output.contains("FORCED BY THE DEADLINE, exit code 11"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_exits_12() {
    let bench = Bench::start(&["kraken"]).await;
    bench.add(Fault::new(FaultAction::RefuseClose).at("kraken").times(0));
    let (mut command, log) = run(&bench, &setup(&bench, PATIENT, ""));
    let ended = blocking(move || {
        let mut program = Program::start_until(&mut command, READY);
        program.signal("TERM");
        wait_for(&log, "close_frame_sent");
        // One that comes too soon after the first is a bounce; no third is needed.
        while program.runs()
            && !std::fs::read_to_string(&log).unwrap_or_default().contains("asked again")
        {
            program.signal("INT");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        program.ended()
    })
    .await;
    ended.code(12);
    assert!(ended.output.contains("FORCED BY THE OPERATOR, exit code 12"), "{}", ended.output);
    assert!(ended.output.contains("State saved"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigquit_forces_at_once_and_shows_what_runs() {
    let bench = Bench::start(&["kraken"]).await;
    bench.add(Fault::new(FaultAction::RefuseClose).at("kraken").times(0));
    let setup = setup(&bench, PATIENT, "");
    let (mut command, log) = run(&bench, &setup);
    let ended = blocking(move || {
        let program = Program::start_until(&mut command, READY);
        program.signal("QUIT");
        program.ended()
    })
    .await;
    ended.code(12);
    assert!(ended.output.contains("Shutdown by SIGQUIT"), "{}", ended.output);
    for part in [
        "What runs in phase",
        "  gateway",
        "kraken",
        "trading",
        "kraken/market",
        "open orders\n  none",
    ] {
        assert!(ended.errors.contains(part), "{part:?} is missing: {}", ended.errors);
    }
    let log = std::fs::read_to_string(log).expect("the log");
    let shown = |scope: &str| log.contains(&format!("\"scope\":\"{scope}\""));
    assert!(shown("gateway/kraken/trading") && shown("gateway/state"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_left_exits_13() {
    let bench = Bench::start(&["kraken"]).await;
    let (price, quantity) =
        ("19000".parse().expect("a price"), "0.01".parse().expect("a quantity"));
    // It carries the gateway's tag, and no gateway knows it.
    let placed = bench.venue("kraken").place_by_hand(
        symbol("kraken"),
        "gw0000000000000001",
        mock_exchange::Side::Buy,
        price,
        quantity,
    );
    placed.expect("it rests");
    let ended = ended_by(&bench, &setup(&bench, "", ""), &["TERM"]).await;
    ended.code(13);
    assert!(ended.output.contains("ORDERS LEFT, exit code 13"), "{}", ended.output);
    assert!(ended.output.contains("gw0000000000000001"), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_not_saved_exits_14() {
    let bench = Bench::start(&["kraken"]).await;
    let (mut command, _) = run(&bench, &setup(&bench, "", ""));
    let report = bench.state.path().join("report.json");
    command.arg("--report").arg(&report);
    let in_the_way = bench.config.gateway.state_dir.join("last-ticks.json");
    let ended = blocking(move || {
        let program = Program::start_until(&mut command, READY);
        std::fs::create_dir_all(in_the_way.join("full")).expect("a directory");
        program.signal("TERM");
        program.ended()
    })
    .await;
    ended.code(14);
    let report = std::fs::read(report).expect("the report");
    let report: ShutdownReport = serde_json::from_slice(&report).expect("a report");
    assert_eq!(report.outcome, Outcome::StateNotSaved);
}

#[test]
fn the_help_names_every_exit_code() {
    let outcomes = [
        Outcome::Clean,
        Outcome::Degraded,
        Outcome::DeadlineForced,
        Outcome::OperatorForced,
        Outcome::OrdersLeft,
        Outcome::StateNotSaved,
    ];
    let codes = outcomes.map(Outcome::exit_code).into_iter().chain([1, 2]);
    let helps = [["--help", ""], ["run", "--help"], ["demo", "--help"]];
    let helps = helps.map(|args| {
        let args = args.into_iter().filter(|arg| !arg.is_empty());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
        Program::start(command.args(args)).ended().output
    });
    let readme = std::fs::read_to_string("README.md").expect("the README");
    for code in codes {
        for help in &helps {
            assert!(help.contains(&format!("\n  {code:>2}  ")), "{code} is missing: {help}");
        }
        assert!(readme.contains(&format!("\n| {code} | ")), "{code} is missing in the README");
    }
}
