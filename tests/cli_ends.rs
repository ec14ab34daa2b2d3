//! The program ends, and tells the truth, whatever hangs: the terminal, the log, the disk, or an
//! exchange that confirms nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use exchange_gateway::shutdown::{Outcome, ShutdownReport};
use serde_json::Value;

/// Generous for a busy machine, and far below forever.
const SOON: Duration = Duration::from_secs(30);

fn demo(state: &Path) -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
    demo.env_remove("EXCHANGE_GATEWAY_LOG").stdin(Stdio::null());
    demo.args(["demo", "--seed", "7", "--for", "5m", "--state-dir"]).arg(state);
    demo
}

/// Reads what the program prints until it shows ticks of an instrument: by then its orders rest.
fn ticks_of(instrument: &str, output: &mut impl BufRead) {
    let shown = format!("{instrument} bid ");
    let mut line = String::new();
    while !line.contains(&shown) {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the program ended early");
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

/// Waits for the process, and ends it if it does not end: a hang fails the test and leaves nothing.
fn ended(mut child: Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > SOON {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the process did not end within {SOON:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a file holds the text.
fn wait_for(file: &Path, text: &str) {
    let began = Instant::now();
    while !std::fs::read_to_string(file).is_ok_and(|held| held.contains(text)) {
        assert!(began.elapsed() < SOON, "{} never held {text:?}", file.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A pipe that is full already and stays so, as the terminal behind a held Ctrl-S is.
struct Stuck {
    _reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

fn stuck() -> Stuck {
    let (reader, writer) = std::io::pipe().unwrap();
    // Somebody fills it and hangs in the end, as the program would; it ends with the reader.
    let mut filler = writer.try_clone().unwrap();
    let (count, blocks) = mpsc::channel();
    thread::spawn(move || {
        let block = [b'x'; 4096];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {
            _ = count.send(());
        }
    });
    // Full is what takes nothing for a while.
    while blocks.recv_timeout(Duration::from_millis(500)).is_ok() {}
    Stuck { _reader: reader, writer }
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn faults(directory: &Path) -> PathBuf {
    let file = directory.join("faults.toml");
    let fault = "[[fault]]\nexchange = \"kraken\"\ncount = 0\n\
                 action = { ignore_cancel = { ack = true } }\n";
    std::fs::write(&file, fault).unwrap();
    file
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_neither_the_signal_nor_the_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("gateway.log");
    let (stdout, stderr) = (stuck(), stuck());
    let child = demo(directory.path())
        .args(["--orders", "20", "--log-level", "debug"])
        .stdout(stdout.writer.try_clone().unwrap())
        .stderr(stderr.writer.try_clone().unwrap())
        .spawn()
        .unwrap();
    wait_for(&log, "gateway started");
    // The handlers are in place once the watch begins; until then a signal would just kill.
    wait_for(&log, "signals are heard");
    signal(&child, "TERM");
    assert_eq!(ended(child).code(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("shutdown complete"), "{text}");
    assert!(text.contains("output was never read and is lost"), "the loss is told");
    let inspect = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .args(["inspect", "--json"])
        .arg(&log)
        .output()
        .unwrap();
    let run: Value = serde_json::from_slice(&inspect.stdout).unwrap();
    assert_eq!(inspect.status.code(), Some(0), "the log holds the whole shutdown: {run}");
}

#[test]
fn a_log_file_that_hangs_does_not_hold_up_the_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log.fifo");
    fifo(&log);
    let (reader, opened) = (log.clone(), mpsc::channel());
    // A reader that opens the pipe and never reads; held until the process has ended.
    thread::spawn(move || _ = opened.0.send(std::fs::File::open(reader)));
    let mut child = demo(directory.path())
        .args(["--exchanges", "binance,kraken", "--orders", "90", "--log"])
        .arg(&log)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let held = opened.1.recv_timeout(SOON).unwrap().unwrap();
    // The log of so many orders is larger than the pipe.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    ticks_of("binance:BTC-USDT", &mut output);
    signal(&child, "TERM");
    let mut errors = child.stderr.take().unwrap();
    let rest = thread::spawn(move || {
        let mut text = String::new();
        _ = output.read_to_string(&mut text);
        text
    });
    assert_eq!(ended(child).code(), Some(0));
    drop(held);
    let mut told = String::new();
    errors.read_to_string(&mut told).unwrap();
    assert!(told.contains("the log file hangs"), "{told}");
    assert!(rest.join().unwrap().contains("CLEAN, exit code 0"));
}

#[test]
fn a_disk_that_hangs_while_state_is_saved_does_not_keep_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let log = directory.path().join("gateway.log");
    let report = directory.path().join("report.json");
    let child = demo(&state)
        .args(["--exchanges", "kraken", "--log"])
        .arg(&log)
        .arg("--report")
        .arg(&report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&log, "signals are heard");
    // Nobody ever reads this pipe, so that whoever writes the draft hangs in opening it.
    fifo(&state.join("last-ticks.json.tmp"));
    signal(&child, "TERM");
    assert_eq!(ended(child).code(), Some(14));
    let report: ShutdownReport = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report.outcome, Outcome::StateNotSaved);
    assert_eq!(report.trigger, "SIGTERM");
}

#[test]
fn a_third_signal_ends_at_once_and_names_the_orders_that_are_left() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("gateway.log");
    let mut child = demo(directory.path())
        .args(["--exchanges", "kraken", "--orders", "3", "--faults"])
        .arg(faults(directory.path()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    ticks_of("kraken:BTC-USD", &mut output);
    let mut errors = child.stderr.take().unwrap();
    // Bounces are not counted, so that asking without a pause is asking every 300 ms. The forced
    // shutdown itself waits for half a second for cancels that never come.
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < SOON, "it did not end");
        let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).output();
        sent.unwrap();
    }
    assert_eq!(ended(child).code(), Some(13));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"cause\":\"ThirdSignal\""), "{text}");
    let mut told = String::new();
    errors.read_to_string(&mut told).unwrap();
    let orders = told.split("orders that are open or unknown:\n").nth(1).unwrap_or_default();
    assert_eq!(orders.lines().filter(|line| line.starts_with("  gw")).count(), 3, "{told}");
}

#[test]
fn a_demo_after_a_killed_one_is_clean() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut child = demo(&state)
        .args(["--exchanges", "kraken", "--orders", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    ticks_of("kraken:BTC-USD", &mut output);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut next = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
    next.args(["demo", "--exchanges", "kraken", "--for", "1s", "--state-dir"]).arg(&state);
    let next = next.output().unwrap();
    let told = String::from_utf8_lossy(&next.stdout);
    assert_eq!(next.status.code(), Some(0), "{told}");
    assert!(told.contains("orders of a demo that was killed ended with its exchanges"), "{told}");
}
