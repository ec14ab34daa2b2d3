//! `demo` and `run` with the real program: real sockets, real processes, real signals.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use exchange_gateway::state::StateView;
use mock_exchange::{MockConfig, MockExchange, VenueConfig};
use serde_json::Value;

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
    program.env_remove("EXCHANGE_GATEWAY_LOG").stdin(Stdio::null());
    program
}

fn demo(state: &Path) -> Command {
    let mut demo = program();
    demo.args(["demo", "--seed", "7", "--state-dir"]).arg(state);
    demo
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{}\n--- standard error:\n{}", text(&output.stdout), text(&output.stderr))
}

fn inspect(log: &Path) -> (Output, Value) {
    let output = program().args(["inspect", "--json"]).arg(log).output().unwrap();
    let run = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, run)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

/// Reads the output until a line holds the text, and returns what follows unread.
fn wait_for_line(child: &mut Child, text: &str) -> BufReader<std::process::ChildStdout> {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the program ended before {text:?}");
        if line.contains(text) {
            return reader;
        }
    }
}

fn rest(mut reader: impl Read) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_demo_trades_on_both_exchanges_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let output = demo(&state).args(["--for", "2s", "--orders", "4"]).output().unwrap();
    let text = shown(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "binance:BTC-USDT bid ",
        "kraken:BTC-USD bid ",
        "Shutdown by the end of --for",
        "CLEAN, exit code 0",
        "What the exchanges saw",
        "JSON log ",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour where there is no terminal");
    // Its positions are closed. On Binance a fee in the base asset leaves less than a lot.
    let (_, ledger) = text.split_once("What the exchanges saw").unwrap();
    let kraken = ledger.lines().find(|line| line.starts_with("  kraken  ")).unwrap();
    assert!(kraken.trim_end().ends_with("   nothing"), "{text}");
    for line in text.lines().filter(|line| !line.contains(&*state.to_string_lossy())) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    // Eight orders rested: each has a line in the report, cancelled and confirmed.
    let cancelled = text.lines().filter(|line| line.contains("  canceled  ")).count();
    assert_eq!(cancelled, 8, "{text}");
    let (output, run) = inspect(&state.join("gateway.log"));
    assert_eq!(output.status.code(), Some(0), "nothing is missing from a clean shutdown: {run}");
    let unconfirmed = |exchange: &Value| exchange["connections"][0]["stages"][2].clone();
    for exchange in run["exchanges"].as_array().unwrap() {
        let confirmed = unconfirmed(exchange);
        assert_eq!(confirmed["stage"], "cancels_confirmed", "{run}");
        assert_eq!((&confirmed["count"], &confirmed["unconfirmed"]), (&4.into(), &0.into()));
    }

    let again = demo(&state).args(["--for", "500ms"]).output().unwrap();
    let text = shown(&again);
    assert_eq!(again.status.code(), Some(0), "{text}");
    assert!(text.contains("Last ticks of the previous run, saved "), "{text}");
    // The first left nothing that the second had to settle.
    let runs = StateView::open(&state).unwrap().runs(10).unwrap().rows;
    let outcomes: Vec<_> = runs.iter().map(|run| run.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("clean"), Some("clean")]);
}

#[test]
fn a_signal_ends_a_demo_through_every_phase() {
    for name in ["INT", "TERM", "HUP"] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = demo(directory.path())
            .args(["--for", "1m", "--exchanges", "kraken"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let reader = wait_for_line(&mut child, "kraken:BTC-USD bid ");
        signal(&child, name);
        let text = rest(reader);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
        assert!(text.contains(&format!("Shutdown by SIG{name}")), "{text}");
        for phase in ["stop new orders", "cancel pending", "save state", "disconnect"] {
            assert!(text.contains(phase), "{phase} is not in\n{text}");
        }
    }
}

#[test]
fn an_order_that_stays_open_is_named_and_is_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let faults = directory.path().join("faults.toml");
    let fault = "[[fault]]\nexchange = \"kraken\"\ntarget = { nth_order = 2 }\ncount = 0\n\
                 action = { ignore_cancel = { ack = true } }\n";
    std::fs::write(&faults, fault).unwrap();
    let mut child = demo(directory.path())
        .args(["--for", "1500ms", "--exchanges", "kraken", "--faults"])
        .arg(&faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = rest(child.stdout.take().unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(13), "{text}");
    assert!(text.contains("still open") && text.contains("ORDERS LEFT, exit code 13"), "{text}");
    let (output, run) = inspect(&directory.path().join("gateway.log"));
    assert_eq!(output.status.code(), Some(1), "{run}");
    let missing = run["missing"].to_string();
    assert!(missing.contains("was never confirmed"), "{missing}");
}

#[test]
fn a_second_signal_forces_the_exit_and_the_order_left_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let faults = directory.path().join("faults.toml");
    let fault = "[[fault]]\nexchange = \"binance\"\ntarget = { nth_order = 1 }\ncount = 0\n\
                 action = { ignore_cancel = { ack = true } }\n";
    std::fs::write(&faults, fault).unwrap();
    let log = directory.path().join("gateway.log");
    let mut child = demo(directory.path())
        .args(["--for", "1m", "--exchanges", "binance", "--faults"])
        .arg(&faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let reader = wait_for_line(&mut child, "binance:BTC-USDT bid ");
    let began = std::time::Instant::now();
    signal(&child, "INT");
    // The first is asked again only once it is no bounce of the same key press; until the process
    // ends by itself the phase waits for a cancel that never comes.
    let asked = |text: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    while !asked("asked again") && began.elapsed().as_secs() < 20 {
        signal(&child, "INT");
        std::thread::yield_now();
    }
    let text = rest(reader);
    assert_eq!(child.wait().unwrap().code(), Some(13), "{text}");
    assert!(began.elapsed().as_secs() < 7, "forced well before the phase's limit of 8 s");
    assert!(text.contains("still open") && text.contains("State saved in"), "{text}");
}

#[test]
fn a_demo_whose_reader_leaves_shuts_down_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = demo(directory.path())
        .args(["--for", "2500ms", "--exchanges", "binance"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(wait_for_line(&mut child, "binance:BTC-USDT bid "));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (_, run) = inspect(&directory.path().join("gateway.log"));
    assert_eq!(run["shutdown"]["outcome"], "Clean", "{run}");
}

#[test]
fn what_a_demo_cannot_do_is_said_before_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path()).args(["--faults", "/no/such.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("/no/such.toml"), "{}", shown(&output));
    let output = demo(directory.path()).args(["--exchanges", "nyse"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("binance, deribit, kraken"), "{}", shown(&output));
    let output = demo(directory.path()).args(["--for", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("a number and a unit"), "{}", shown(&output));
}

/// A configuration of a gateway on a mock venue.
fn configuration(mock: &MockExchange, state: &Path) -> String {
    let venue = mock.venue("kraken").unwrap();
    format!(
        "[gateway]\nstate_dir = \"{state}\"\n\
         [exchanges.kraken]\ninstruments = [\"BTC-USD\"]\n\
         market_url = \"{ws}/v2\"\ntrading_url = \"{ws}/v2\"\nhttp_url = \"{http}\"\n\
         api_key_env = \"RUN_TEST_KEY\"\napi_secret_env = \"RUN_TEST_SECRET\"\n",
        state = state.display(),
        ws = venue.ws_url(),
        http = venue.http_url(),
    )
}

#[test]
fn a_wrong_log_level_is_named_with_what_may_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path()).args(["--log-level", "loud=very"]).output().unwrap();
    let text = shown(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("the log level `loud=very` cannot be read; write"), "{text}");
    assert!(!text.contains("gateway.log"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_from_a_configuration_ends_on_a_signal_and_says_why_it_cannot_start() {
    let kraken = Some(VenueConfig::default());
    let mock = MockExchange::start(MockConfig { kraken, ..MockConfig::default() }).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    let log = directory.path().join("gateway.log");
    std::fs::write(&config, configuration(&mock, &directory.path().join("state"))).unwrap();
    let credentials = mock.venue("kraken").unwrap().credentials();
    let run = |secret: &str| {
        let mut run = program();
        run.args(["run", "--for", "1m", "--config"]).arg(&config).arg("--log").arg(&log);
        run.env("RUN_TEST_KEY", &credentials.api_key).env("RUN_TEST_SECRET", secret);
        run.stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    };
    let mut child = run(&credentials.api_secret).spawn().unwrap();
    let (status, text) = tokio::task::spawn_blocking(move || {
        let reader = wait_for_line(&mut child, "running");
        signal(&child, "TERM");
        let text = rest(reader) + &rest(child.stderr.take().unwrap());
        (child.wait().unwrap(), text)
    })
    .await
    .unwrap();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("Shutdown by SIGTERM") && text.contains("kraken:BTC-USD"), "{text}");
    assert!(!text.contains(&credentials.api_secret), "a secret is never shown");
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(!written.contains(&credentials.api_secret), "a secret is never logged");
    for connection in &mock.ledger().exchange("kraken").connections {
        assert_eq!(connection.close_code_received, Some(1000), "{connection:?}");
    }

    let mut refused = run("d3Jvbmc=");
    let output = tokio::task::spawn_blocking(move || refused.output()).await.unwrap().unwrap();
    let text = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("exchange-gateway: kraken"), "{text}");
    mock.shutdown().await;
}
