//! What the state database promises to those who record and to the run after them.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod state_common;

use std::sync::mpsc;

use exchange_gateway::StateDirectory;
use exchange_gateway::state::{
    BookedFill, Database, Durability, IntentRefused, Record, StateView, WriteFailed, recover,
    verify,
};
use exchange_gateway::types::{OrderStatus, Position, Side};
use rusqlite::Connection;
use state_common::*;

#[test]
fn what_was_recorded_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    let (database, recovered) = open(directory.path());
    assert_eq!(recovered.damaged, []);
    let expected: Vec<_> = (0..3).map(|number| order(number, OrderStatus::Open)).collect();
    let orders: Vec<_> = recovered.orders.iter().map(|found| found.order.clone()).collect();
    assert_eq!(orders, expected);
    assert_eq!(recovered.orders[0].fills, []);
    assert_eq!(recovered.orders[1].fills, [fill(1)]);
    assert_eq!(recovered.positions, [position()]);
    assert_eq!((recovered.unsummed, recovered.broken_fills), (vec![], vec![]));
    assert_eq!(recovered.last_ticks, [last_tick("kraken:BTC-USD")]);
    let run = recovered.previous_run.unwrap();
    assert_eq!((run.id, run.pid, run.ended), (1, std::process::id(), Some(time(9))));
    assert_eq!(run.outcome.as_deref(), Some("clean"));
    assert_eq!(database.run(), 2);
}

#[test]
fn every_status_of_an_order_is_in_its_history_across_runs() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    let (database, _) = open(directory.path());
    database.writer().record(Record::order(order(1, OrderStatus::Canceled)));
    database.close().unwrap();
    let connection = Connection::open(directory.path().join("gateway.db")).unwrap();
    let sql = "SELECT group_concat(seq || ' ' || status) FROM transitions WHERE client_id = ?";
    let history: String = connection.query_row(sql, [id(1).as_str()], |row| row.get(0)).unwrap();
    assert_eq!(history, "0 pending,1 open,2 canceled");
}

#[test]
fn a_fill_told_twice_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    let instrument = "kraken:BTC-USD".parse().unwrap();
    database.writer().record(Record::order(order(1, OrderStatus::Open)));
    for _ in 0..2 {
        database.writer().record(Record::fill(id(1), instrument, fill(1)));
        flush(&database.writer());
    }
    database.writer().record(Record::fill(id(1), "kraken:ETH-USD".parse().unwrap(), fill(1)));
    drop(database);
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.orders[0].fills.len(), 2, "the other instrument's fill is another");
}

fn booked(number: usize, quantity: u32) -> Record {
    let position = Some(Position { quantity: quantity.into(), ..position() });
    let (client_id, instrument) = (id(number), "kraken:BTC-USD".parse().unwrap());
    Record::Fill(Box::new(BookedFill { client_id, instrument, fill: fill(1), position }))
}

#[test]
fn a_position_is_stored_with_its_fill_and_not_with_one_that_is_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    let writer = database.writer();
    let stored = || {
        flush(&writer);
        let view = StateView::open(directory.path()).unwrap();
        (view.fills(9).unwrap().rows.len(), view.positions().unwrap().rows[0].quantity)
    };
    writer.record(booked(1, 5));
    assert_eq!(stored(), (1, 5.into()));
    writer.record(booked(1, 10));
    assert_eq!(stored(), (1, 5.into()), "the same fill again");
    // The other side of a trade with oneself has the same number.
    writer.record(booked(2, 0));
    assert_eq!(stored(), (2, 0.into()));
}

#[test]
fn a_fill_whose_row_is_broken_is_written_anew_when_it_is_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    database.writer().record(Record::order(order(1, OrderStatus::Open)));
    database.writer().record(booked(1, 5));
    database.close().unwrap();
    let connection = Connection::open(directory.path().join("gateway.db")).unwrap();
    connection.execute("UPDATE fills SET price = '1'", ()).unwrap();
    connection.close().unwrap();
    save_sums(directory.path());
    let (database, recovered) = open(directory.path());
    let instrument = "kraken:BTC-USD".parse().unwrap();
    assert_eq!(recovered.broken_fills, [(instrument, id(1), "T1".to_owned())]);
    assert_eq!((recovered.damaged.len(), recovered.unsummed), (1, vec![]));
    database.writer().record(booked(1, 7));
    database.close().unwrap();
    let (_database, recovered) = open(directory.path());
    assert_eq!((recovered.damaged, recovered.orders[0].fills.len()), (vec![], 1));
    assert_eq!(recovered.positions[0].quantity, 7.into());
}

#[test]
fn a_position_whose_row_is_broken_or_gone_has_to_be_summed_up_anew() {
    for sql in ["UPDATE positions SET quantity = '9'", "DELETE FROM positions"] {
        let directory = tempfile::tempdir().unwrap();
        fill_small(directory.path());
        let connection = Connection::open(directory.path().join("gateway.db")).unwrap();
        assert_eq!(connection.execute(sql, ()).unwrap(), 1);
        connection.close().unwrap();
        save_sums(directory.path());
        let (database, recovered) = open(directory.path());
        assert_eq!(recovered.positions, []);
        let instrument = "kraken:BTC-USD".parse().unwrap();
        assert_eq!(recovered.unsummed, [instrument], "{sql}");
        let damaged = usize::from(sql.starts_with("UPDATE"));
        assert_eq!(recovered.damaged.len(), damaged, "{:?}", recovered.damaged);
        let view = StateView::open(directory.path()).unwrap();
        let mut fills = Vec::new();
        let broken = view.for_each_fill(instrument, |side, booked| fills.push((side, booked.fill)));
        assert_eq!(broken.unwrap(), []);
        assert_eq!(fills, [(Side::Buy, fill(1)), (Side::Buy, fill(3))]);
        drop(database);
    }
}

#[test]
fn a_database_of_the_first_schema_is_sound_and_moves_forward_with_every_row() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    to_version_1(directory.path());
    let report = verify(directory.path()).unwrap();
    assert!(report.is_sound(), "{:?}", report.damaged);
    assert_eq!((report.rows.get("positions"), report.rows["fills"]), (None, 2));
    let view = StateView::open(directory.path()).unwrap();
    assert_eq!(view.positions().unwrap().rows, []);
    drop(view);

    let (database, recovered) = open(directory.path());
    assert_eq!((recovered.damaged, recovered.orders.len()), (vec![], 3));
    assert_eq!(recovered.orders[1].fills, [fill(1)]);
    assert_eq!(recovered.unsummed, ["kraken:BTC-USD".parse().unwrap()]);
    database.writer().record(Record::Position(Box::new(position())));
    database.close().unwrap();
    let report = verify(directory.path()).unwrap();
    assert!(report.is_sound(), "{:?}", report.damaged);
    assert_eq!((report.rows["positions"], report.rows["fills"]), (1, 2));
}

#[test]
fn a_damaged_database_of_the_first_schema_is_recovered_into_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    to_version_1(directory.path());
    let connection = Connection::open(directory.path().join("gateway.db")).unwrap();
    connection.execute("UPDATE orders SET filled = '9' WHERE client_id = 'gw000001'", ()).unwrap();
    connection.close().unwrap();
    let report = recover(directory.path()).unwrap();
    assert_eq!((report.set_aside.len(), report.rows["fills"]), (1, 2), "{report:?}");
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.unsummed.len(), 1);
    // The fill of the order that cannot be read has no side.
    let view = StateView::open(directory.path()).unwrap();
    let mut fills = 0;
    let broken = view.for_each_fill(recovered.unsummed[0], |_, _| fills += 1).unwrap();
    assert_eq!((fills, broken.len()), (1, 1));
    assert_eq!(broken[0].key, "kraken/kraken:BTC-USD/T1/gw000001");
}

#[test]
fn a_callback_runs_after_the_commit_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    for number in 0..50 {
        let path = directory.path().to_owned();
        let (sender, receiver) = mpsc::channel();
        let then = Box::new(move |result: Result<(), WriteFailed>| {
            result.unwrap();
            let seen = StateView::open(&path).unwrap().orders(1, false).unwrap();
            sender.send(seen.rows[0].client_id).unwrap();
        });
        database.writer().intend(Box::new(order(number, OrderStatus::Pending)), then).unwrap();
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), id(number));
    }
}

#[test]
fn intents_are_refused_while_many_records_wait_and_others_have_room() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (database, _) = Database::open_with(&state, Durability::Process, 4, 64).unwrap();
    let writer = database.writer();
    let (release, blocked) = mpsc::channel::<()>();
    let (entered, is_blocked) = mpsc::channel();
    let then = Box::new(move |_| {
        entered.send(()).unwrap();
        _ = blocked.recv_timeout(PATIENCE);
    });
    writer.record_then(Record::order(order(0, OrderStatus::Pending)), then);
    is_blocked.recv_timeout(PATIENCE).unwrap();
    let mut results = Vec::new();
    for number in 1..5 {
        let (then, result) = callback();
        writer.intend(Box::new(order(number, OrderStatus::Pending)), then).unwrap();
        results.push(result);
    }
    let (then, never) = callback();
    let refused = writer.intend(Box::new(order(6, OrderStatus::Pending)), then).unwrap_err();
    assert_eq!(refused, IntentRefused::Busy { depth: 4 });
    assert!(never.recv_timeout(PATIENCE).is_err(), "its callback is dropped");
    writer.record(Record::order(order(5, OrderStatus::Open)));
    assert_eq!(writer.depth(), 5);
    release.send(()).unwrap();
    for result in results {
        result.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    flush(&writer);
    assert_eq!(writer.depth(), 0);
    database.close().unwrap();
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.orders.len(), 6);
}

#[test]
fn a_queue_that_overflows_fails_aloud_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (database, _) = Database::open_with(&state, Durability::Process, 4, 8).unwrap();
    let writer = database.writer();
    let (release, blocked) = mpsc::channel::<()>();
    let (entered, is_blocked) = mpsc::channel();
    let then = Box::new(move |_| {
        entered.send(()).unwrap();
        _ = blocked.recv_timeout(PATIENCE);
    });
    writer.record_then(Record::order(order(0, OrderStatus::Pending)), then);
    is_blocked.recv_timeout(PATIENCE).unwrap();
    for number in 1..11 {
        writer.record(Record::order(order(number, OrderStatus::Open)));
    }
    assert_eq!(writer.failure(), Some(WriteFailed::Overflow(8)));
    assert_eq!(writer.lost(), 2);
    let dump = directory.path().join("dump.jsonl");
    assert_eq!(writer.emergency_dump(&dump).unwrap(), 8);
    release.send(()).unwrap();
    assert_eq!(database.close().unwrap_err(), WriteFailed::Overflow(8));
}

#[test]
fn a_database_that_stays_locked_fails_every_callback_and_keeps_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    let writer = database.writer();
    let other = Connection::open(directory.path().join("gateway.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let failed = {
        let writer = writer.clone();
        std::thread::spawn(move || wait(writer.failed()))
    };
    let results: Vec<_> = (0..3)
        .map(|number| {
            let (then, result) = callback();
            writer.record_then(Record::order(order(number, OrderStatus::Pending)), then);
            result
        })
        .collect();
    for result in results {
        let failure = result.recv_timeout(PATIENCE).unwrap().unwrap_err();
        assert!(matches!(failure, WriteFailed::Locked(_)), "{failure}");
    }
    assert!(matches!(failed.join().unwrap(), WriteFailed::Locked(_)));
    other.execute_batch("ROLLBACK").unwrap();

    // The failure is final: what comes later is answered at once and kept.
    let (then, result) = callback();
    writer.record_then(Record::order(order(3, OrderStatus::Open)), then);
    assert!(result.recv_timeout(PATIENCE).unwrap().is_err());
    assert!(wait(writer.flush()).is_err());
    let (then, _) = callback();
    let refused = writer.intend(Box::new(order(4, OrderStatus::Pending)), then).unwrap_err();
    assert!(matches!(refused, IntentRefused::Failed(WriteFailed::Locked(_))), "{refused}");
    let dump = directory.path().join("dump.jsonl");
    assert_eq!(writer.emergency_dump(&dump).unwrap(), 4);
    let text = std::fs::read_to_string(dump).unwrap();
    let kept: Vec<Record> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(kept[3], Record::order(order(3, OrderStatus::Open)));
    assert!(database.close().is_err());
}

#[test]
fn a_second_gateway_is_refused_and_told_the_process_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let (_database, _) = open(directory.path());
    let state = StateDirectory::open(directory.path()).unwrap();
    let error = Database::open(&state, Durability::Process).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("--state-dir"), "{error}");
}

#[test]
fn a_database_of_a_newer_gateway_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    let path = directory.path().join("gateway.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let error = Database::open(&state, Durability::Process).unwrap_err().to_string();
    assert!(error.contains("schema version 99, newer than"), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_database_that_was_taken_away_is_not_begun_anew_in_silence() {
    let directory = tempfile::tempdir().unwrap();
    fill_small(directory.path());
    std::fs::remove_file(directory.path().join("gateway.db")).unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let error = Database::open(&state, Durability::Process).unwrap_err().to_string();
    assert!(error.contains("somebody took it away"), "{error}");
}

#[test]
fn a_dropped_database_has_written_everything_and_takes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    let writer = database.writer();
    for number in 0..1000 {
        writer.record(Record::order(order(number, OrderStatus::Open)));
    }
    drop(database);
    let (then, result) = callback();
    writer.record_then(Record::order(order(1000, OrderStatus::Open)), then);
    assert_eq!(result.recv_timeout(PATIENCE).unwrap(), Err(WriteFailed::Closed));
    assert_eq!(wait(writer.flush()), Err(WriteFailed::Closed));
    assert_eq!(writer.lost(), 1);
    assert!(!directory.path().join("gateway.db-wal").exists(), "a log is left behind");
    let (_database, recovered) = open(directory.path());
    assert_eq!(recovered.orders.len(), 1000);
}

#[test]
fn a_sealed_database_keeps_its_log_and_the_next_run_has_everything() {
    for durability in [Durability::Process, Durability::Power] {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        let (database, _) = Database::open(&state, durability).unwrap();
        let writer = database.writer();
        for number in 0..1000 {
            writer.record(Record::order(order(number, OrderStatus::Open)));
        }
        writer.record(Record::RunEnded(Box::new(run_end())));
        database.seal().unwrap();
        assert_eq!(wait(writer.flush()), Err(WriteFailed::Closed));
        let log = directory.path().join("gateway.db-wal");
        assert!(log.metadata().unwrap().len() > 0, "nothing has waited for the disk");
        let report = verify(directory.path()).unwrap();
        assert!(report.is_sound(), "{report:?}");
        let view = StateView::open(directory.path()).unwrap();
        assert_eq!(view.orders(2000, false).unwrap().rows.len(), 1000);
        drop(view);
        let (database, recovered) = Database::open(&state, durability).unwrap();
        assert_eq!(recovered.orders.len(), 1000);
        let run = recovered.previous_run.unwrap();
        assert_eq!(run.outcome.as_deref(), Some("clean"));
        database.close().unwrap();
        assert!(!log.exists(), "a log is left behind");
        assert!(verify(directory.path()).unwrap().is_sound());
    }
}

#[test]
fn a_callback_that_panics_harms_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path());
    let writer = database.writer();
    let panics = Box::new(|_| panic!("on purpose"));
    writer.record_then(Record::order(order(0, OrderStatus::Open)), panics);
    writer.record(Record::order(order(1, OrderStatus::Open)));
    flush(&writer);
    database.close().unwrap();
}
