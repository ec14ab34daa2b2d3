//! Flipped bits: every one is noticed, none makes anything panic, none is passed on as data.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod state_common;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use exchange_gateway::StateDirectory;
use exchange_gateway::state::{Database, Durability, Record, StateError, recover, verify};
use exchange_gateway::types::OrderStatus;
use state_common::*;

/// A database as a kill leaves it: the newest transactions are in the log only.
fn killed(directory: &Path) {
    let running = memory_directory();
    fill_small(running.path());
    let (database, _) = open(running.path());
    let writer = database.writer();
    for status in [OrderStatus::PartiallyFilled, OrderStatus::Open] {
        writer.record(Record::order(order(2, status)));
        flush(&writer);
    }
    copy_state(running.path(), directory);
    let report = verify(directory).unwrap();
    assert!(report.is_sound() && report.log_frames > 3, "{report:?}");
    assert_eq!(report.notes, Vec::<String>::new());
}

/// Flips bits of every `step`th byte of a file of a copy of the database, one after the other, and
/// hands the copy to `check`. Two threads share the work.
fn sweep(from: &Path, name: &str, step: usize, restore: bool, check: impl Fn(&Path, usize) + Sync) {
    let length = usize::try_from(from.join(name).metadata().unwrap().len()).unwrap();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let copy = memory_directory();
                copy_state(from, copy.path());
                loop {
                    let place = next.fetch_add(step, Ordering::Relaxed);
                    if place >= length {
                        break;
                    }
                    let bits = [1 << (place % 8), 0xff][place / 8 % 2];
                    flip(&copy.path().join(name), place, bits);
                    check(copy.path(), place);
                    if restore {
                        copy_state(from, copy.path());
                    } else {
                        flip(&copy.path().join(name), place, bits);
                    }
                }
            });
        }
    });
}

fn is_noticed(directory: &Path, what: &str, place: usize) {
    let report = verify(directory).unwrap();
    assert!(
        !report.is_sound() || !report.notes.is_empty(),
        "a flip at byte {place} of {what} goes unnoticed"
    );
}

#[test]
fn a_flip_of_any_byte_of_the_file_is_noticed() {
    let directory = memory_directory();
    fill_small(directory.path());
    assert!(verify(directory.path()).unwrap().is_sound());
    for name in ["gateway.db", "gateway.db-sums"] {
        sweep(directory.path(), name, 1, false, |copy, place| is_noticed(copy, name, place));
    }
}

#[test]
fn a_flip_of_any_byte_is_noticed_beside_a_log_and_in_it() {
    let directory = memory_directory();
    killed(directory.path());
    for name in FILES {
        // Every byte of the log; the file is swept whole without one.
        let step = if name == "gateway.db" { 7 } else { 1 };
        sweep(directory.path(), name, step, false, |copy, place| is_noticed(copy, name, place));
    }
}

/// What is opened after a flip holds nothing wrong, and what it lacks is named.
fn nothing_wrong_is_passed_on(copy: &Path, place: usize) {
    let state = StateDirectory::open(copy).unwrap();
    match Database::open(&state, Durability::Process) {
        Ok((database, recovered)) => {
            drop(database);
            for number in 0..3 {
                let expected = order(number, OrderStatus::Open);
                let found =
                    recovered.orders.iter().find(|found| found.order.client_id == id(number));
                match found {
                    Some(found) if found.order == expected => {}
                    Some(found) => {
                        // The torn end of the log: an older truth, and it is told.
                        assert_eq!(found.order, order(number, OrderStatus::PartiallyFilled));
                        let told = recovered.damaged.iter().any(|found| found.table == "log");
                        assert!(told, "byte {place}");
                    }
                    None => assert!(!recovered.damaged.is_empty(), "byte {place}: order is gone"),
                }
            }
            match recovered.positions.as_slice() {
                [] => assert!(!recovered.unsummed.is_empty(), "byte {place}: position is gone"),
                [found] => assert_eq!(*found, position(), "byte {place}"),
                more => panic!("byte {place}: {more:?}"),
            }
        }
        Err(StateError::Damaged { .. } | StateError::Newer { .. }) => {}
        Err(error) => panic!("byte {place}: {error}"),
    }
}

#[test]
fn no_flip_is_passed_on_as_data_or_drops_an_order_in_silence() {
    let directory = memory_directory();
    killed(directory.path());
    for name in FILES {
        // Each opens a database and closes it, so only some bytes: 61 meets every part of a page.
        sweep(directory.path(), name, 61, true, nothing_wrong_is_passed_on);
    }
}

#[test]
fn after_a_recovery_from_any_flip_everything_is_there_or_set_aside() {
    let directory = memory_directory();
    killed(directory.path());
    for name in FILES {
        sweep(directory.path(), name, 61, true, |copy, place| {
            let report = recover(copy).unwrap();
            let after = verify(copy).unwrap();
            assert!(after.is_sound(), "byte {place} of {name}: {:?}", after.damaged);
            let (database, recovered) = open(copy);
            drop(database);
            assert_eq!(recovered.damaged, [], "byte {place} of {name}");
            for number in 0..3 {
                let found =
                    recovered.orders.iter().find(|found| found.order.client_id == id(number));
                match found {
                    Some(found) => assert_eq!(found.order, order(number, OrderStatus::Open)),
                    None => assert!(!report.set_aside.is_empty(), "byte {place} of {name}"),
                }
            }
            if let Some(kept) = report.kept {
                std::fs::remove_dir_all(kept).unwrap();
            }
        });
    }
}

#[test]
fn a_damaged_row_is_named_by_table_and_key() {
    let directory = memory_directory();
    fill_small(directory.path());
    let path = directory.path().join("gateway.db");
    let place = places(&path, "0.00125000")[1];
    flip(&path, place, 1);
    let report = verify(directory.path()).unwrap();
    let tables: Vec<_> = report.damaged.iter().map(|found| found.table.as_str()).collect();
    assert_eq!(tables, ["orders", "page"], "{:?}", report.damaged);
    assert!(report.damaged[0].key.starts_with("gw00000"), "{:?}", report.damaged);
}

/// Changes a stored order behind the back of every checksum of the pages.
fn change_row(directory: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(directory.join("gateway.db")).unwrap();
    assert_eq!(connection.execute(sql, ()).unwrap(), 1);
}

#[test]
fn a_changed_row_is_told_at_the_start_and_not_used() {
    let directory = memory_directory();
    fill_small(directory.path());
    change_row(directory.path(), "UPDATE orders SET filled = '9' WHERE client_id = 'gw000001'");
    let (database, recovered) = open(directory.path());
    drop(database);
    assert_eq!(recovered.orders.len(), 2);
    let named = |found: &&exchange_gateway::state::Damage| {
        found.table == "orders" && found.key == "gw000001"
    };
    assert_eq!(recovered.damaged.iter().filter(named).count(), 1, "{:?}", recovered.damaged);

    let report = recover(directory.path()).unwrap();
    assert_eq!(report.set_aside.len(), 1);
    assert_eq!(report.rows["orders"], 4);
    assert!(report.kept.unwrap().join("gateway.db").exists());
    let (database, recovered) = open(directory.path());
    drop(database);
    assert_eq!((recovered.orders.len(), recovered.damaged.len()), (2, 0));
    let connection = rusqlite::Connection::open(directory.path().join("gateway.db")).unwrap();
    let sql = "SELECT origin, key, content FROM damaged_rows";
    let row =
        connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let (origin, key, content): (String, String, String) = row;
    assert_eq!((origin.as_str(), key.as_str()), ("orders", "gw000001"));
    assert!(content.contains("\"filled\":\"9\""), "{content}");
}

#[test]
fn a_row_that_is_deleted_or_swapped_for_another_is_noticed() {
    let directory = memory_directory();
    fill_small(directory.path());
    change_row(directory.path(), "DELETE FROM fills WHERE fill_id = 'T1'");
    let report = verify(directory.path()).unwrap();
    assert!(report.damaged.iter().any(|found| found.table == "page"), "{report:?}");

    let directory = memory_directory();
    fill_small(directory.path());
    // A sound row under another key.
    change_row(
        directory.path(),
        "UPDATE orders SET client_id = 'gw9' WHERE client_id = 'gw000001'",
    );
    let report = verify(directory.path()).unwrap();
    assert_eq!(
        (report.damaged[0].table.as_str(), report.damaged[0].key.as_str()),
        ("orders", "gw9")
    );
}

#[test]
fn one_wrong_byte_of_a_page_is_put_right_by_the_recovery() {
    let directory = memory_directory();
    fill_small(directory.path());
    let path = directory.path().join("gateway.db");
    flip(&path, 3, 0x40);
    let state = StateDirectory::open(directory.path()).unwrap();
    let error = Database::open(&state, Durability::Process).unwrap_err().to_string();
    assert!(error.contains("state recover"), "{error}");
    let report = recover(directory.path()).unwrap();
    assert_eq!(report.repaired_pages, [1]);
    assert_eq!(report.set_aside, []);
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.orders.len(), 3);
}

#[test]
fn what_is_readable_of_a_file_with_a_hole_goes_on() {
    let directory = memory_directory();
    let (database, _) = open(directory.path());
    for number in 0..500 {
        database.writer().record(Record::order(order(number, OrderStatus::Open)));
    }
    drop(database);
    let path = directory.path().join("gateway.db");
    // A page in the middle of the table of orders is overwritten.
    let places = places(&path, "OABC-249");
    let page = places[0] / 2048;
    for offset in 0..64 {
        flip(&path, page * 2048 + offset, 0x5a);
    }
    let report = recover(directory.path()).unwrap();
    assert!(!report.set_aside.is_empty());
    assert!((400..500).contains(&report.rows["orders"]), "{:?}", report.rows);
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.orders.len() as u64, report.rows["orders"]);
}

#[test]
fn a_torn_log_starts_without_its_tail_and_the_tail_is_kept() {
    let directory = memory_directory();
    killed(directory.path());
    let log = directory.path().join("gateway.db-wal");
    let length = usize::try_from(log.metadata().unwrap().len()).unwrap();
    flip(&log, length - 100, 1);
    let (database, recovered) = open(directory.path());
    drop(database);
    assert!(recovered.damaged.iter().any(|found| found.table == "log"), "{recovered:?}");
    let mut names = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.starts_with("gateway.db-wal.torn-")));
}

#[test]
fn an_interrupted_recovery_is_begun_again_from_the_files_as_found() {
    let directory = memory_directory();
    fill_small(directory.path());
    // As a kill leaves it: the copy is made and named, and the file is only half replaced.
    let kept = directory.path().join("damaged-1");
    std::fs::create_dir(&kept).unwrap();
    copy_state(directory.path(), &kept);
    std::fs::write(directory.path().join("gateway.recovering"), "damaged-1").unwrap();
    std::fs::write(directory.path().join("gateway.db"), "half").unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let error = Database::open(&state, Durability::Process).unwrap_err().to_string();
    assert!(error.contains("recovery was interrupted"), "{error}");
    assert_eq!(recover(directory.path()).unwrap().set_aside, []);
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.orders.len(), 3);
}
