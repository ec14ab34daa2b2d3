//! `kill -9` at random moments: what a callback said is committed is there afterwards, and the
//! file is sound. The writing process is this test program, started again.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod state_common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use exchange_gateway::StateDirectory;
use exchange_gateway::state::{Database, Durability, Record, WriteFailed, verify};
use exchange_gateway::types::OrderStatus;
use state_common::*;

const DIRECTORY: &str = "STATE_KILL_DIRECTORY";
const POWER: &str = "STATE_KILL_POWER";
const ROUNDS: usize = 12;

/// The other process. As a test of its own it does nothing.
#[test]
fn the_writing_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let durability =
        if std::env::var(POWER).is_ok() { Durability::Power } else { Durability::Process };
    let state = StateDirectory::open(Path::new(&directory)).unwrap();
    let (database, recovered) = Database::open(&state, durability).unwrap();
    assert_eq!(recovered.damaged, []);
    let writer = database.writer();
    let first = usize::try_from(database.run()).unwrap() * 30_000;
    let began = Instant::now();
    for number in first..first + 30_000 {
        let then = Box::new(move |result: Result<(), WriteFailed>| {
            result.unwrap();
            // A line in one write: the parent may kill this process at any moment.
            std::io::stdout().write_all(format!("committed {number}\n").as_bytes()).unwrap();
        });
        writer.record_then(Record::order(order(number, OrderStatus::Open)), then);
        if number % 64 == 0 {
            flush(&writer);
        }
        assert!(began.elapsed() < PATIENCE, "nobody kills this process");
    }
    flush(&writer);
    // Everything is written: be killed while doing nothing.
    std::thread::sleep(PATIENCE);
}

fn nothing_committed_is_lost(durability: Durability) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut committed = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_writing_process", "--nocapture"]);
        command.env(DIRECTORY, directory.path()).stdout(Stdio::piped());
        if durability == Durability::Power {
            command.env(POWER, "1");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Some rounds die at once, some after thousands of records and a checkpoint or two.
        let wanted = [1, 100, 2_000, 9_000][round % 4];
        let mut count = 0;
        let mut note = |line: String, count: &mut usize| {
            if let Some(number) = line.strip_prefix("committed ") {
                committed.insert(number.parse::<usize>().unwrap());
                *count += 1;
            }
        };
        while count < wanted {
            note(lines.next().expect("the process ended by itself"), &mut count);
        }
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        child.kill().unwrap();
        lines.for_each(|line| note(line, &mut count));
        child.wait().unwrap();

        let report = verify(directory.path()).unwrap();
        assert!(report.is_sound(), "seed {seed}, round {round}: {:?}", report.damaged);
    }
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.damaged, []);
    let stored: BTreeSet<_> = recovered.orders.iter().map(|found| found.order.client_id).collect();
    let lost: Vec<_> = committed.iter().filter(|number| !stored.contains(&id(**number))).collect();
    assert!(committed.len() > ROUNDS, "seed {seed}: hardly anything was committed");
    assert!(lost.is_empty(), "seed {seed}: {} of {} lost", lost.len(), committed.len());
    assert_eq!(recovered.previous_run.unwrap().ended, None, "it was killed");
}

#[test]
fn a_kill_at_any_moment_loses_nothing_committed() {
    nothing_committed_is_lost(Durability::Process);
}

#[test]
fn a_kill_at_any_moment_loses_nothing_committed_where_every_commit_is_synced() {
    nothing_committed_is_lost(Durability::Power);
}
