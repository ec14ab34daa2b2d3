//! A log file that fails in the midst of a run: the log goes on to the standard error with one notice,
//! and the gateway is not disturbed.

#![cfg(all(unix, feature = "cli"))]

mod common;

use std::path::Path;
use std::process::Command;

use common::process::{Ended, Program, gateway, wait_for};

/// Files of at most this many bytes; larger than anything but the log will be.
const LARGEST: u64 = 4 << 20;

fn demo(directory: &Path, log: &Path) -> Vec<String> {
    let paths = [directory.join("state"), log.to_owned()];
    let [state, log] = paths.map(|path| path.to_str().expect("a plain path").to_owned());
    let flags = ["--exchanges", "kraken", "--orders", "3", "--for", "5m", "--state-dir"];
    flags.iter().map(|&flag| flag.to_owned()).chain([state, "--log".to_owned(), log]).collect()
}

/// The log went on to the standard error: one notice, and every line of the end after it.
fn assert_goes_on(ended: &Ended, log: &Path) {
    ended.code(0);
    assert!(ended.output.contains("CLEAN, exit code 0"), "{}", ended.output);
    let notice = format!("the log file {} cannot be written", log.display());
    let parts: Vec<_> = ended.errors.split(&notice).collect();
    assert_eq!(parts.len(), 2, "one notice: {}", ended.errors);
    let lines = parts[1].lines().filter(|line| line.starts_with('{'));
    let lines: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    let has = |message: &str| lines.iter().any(|line| line["message"] == message);
    for message in ["asked to end", "shutdown begins", "shutdown complete"] {
        assert!(has(message), "{message} is missing: {}", ended.errors);
    }
    let stages = lines.iter().filter(|line| line["message"] == "disconnect stage");
    let stages: Vec<_> = stages.filter_map(|line| line["stage"].as_str()).collect();
    for stage in ["intake_stopped", "cancels_confirmed", "close_frame_received", "tcp_closed"] {
        assert!(stages.contains(&stage), "{stage} is missing: {stages:?}");
    }
}

#[test]
fn a_log_file_that_cannot_grow_goes_on_at_the_standard_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("gateway.log");
    // Full already, and nothing else is near the limit.
    let full = std::fs::File::create(&log).expect("a file");
    full.set_len(LARGEST).expect("it grows");
    let limit = LARGEST / 512;
    let shell = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &shell, "sh", env!("CARGO_BIN_EXE_exchange-gateway"), "demo"]);
    command.args(demo(directory.path(), &log)).env_remove("EXCHANGE_GATEWAY_LOG");
    let program = Program::start_until(&mut command, "kraken:BTC-USD bid ");
    program.signal("TERM");
    assert_goes_on(&program.ended(), &log);
    let length = std::fs::metadata(&log).expect("the log").len();
    assert_eq!(length, LARGEST, "nothing is written to it");
}

#[test]
fn a_log_file_whose_directory_is_removed_goes_on_at_the_standard_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let logs = directory.path().join("logs");
    let log = logs.join("gateway.log");
    let mut command = gateway("demo");
    command.args(demo(directory.path(), &log));
    let program = Program::start_until(&mut command, "kraken:BTC-USD bid ");
    wait_for(&log, "signals are heard");
    std::fs::remove_dir_all(&logs).expect("it goes");
    program.signal("TERM");
    assert_goes_on(&program.ended(), &log);
    assert!(!logs.exists(), "it is not made again: it may have been a disk");
}
