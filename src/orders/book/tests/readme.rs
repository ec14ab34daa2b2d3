//! The README's table of reconciliation is true: every row is read and played to the book, and every
//! pair of what is known and what the exchange says has one row.

use std::collections::BTreeSet;

use super::adopted::{adopted, stored};
use super::*;

const README: &str = include_str!("../../../../README.md");
const HEADER: &str = "| we know | the exchange says | it is then | and |";

const KNOWN: [&str; 9] = [
    "pending",
    "sent",
    "unknown",
    "open",
    "partly filled",
    "cancel wanted",
    "ended without all fills",
    "earlier run, unanswered",
    "earlier run, acknowledged",
];
const ANSWERS: [&str; 9] = [
    "open",
    "partly filled",
    "filled",
    "cancelled",
    "expired",
    "rejected",
    "not found early",
    "not found late",
    "question refused",
];

struct Row {
    known: Vec<&'static str>,
    answers: Vec<&'static str>,
    then: &'static str,
    and: BTreeSet<&'static str>,
}

/// The rows of the table as they stand in the README.
fn rows() -> Vec<Row> {
    let table = README.split(HEADER).nth(1).expect("the README has the table");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let words = |cell: &'static str| cell.split(';').map(str::trim).collect::<Vec<_>>();
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [known, answers, then, and] = cells[..] else { panic!("four cells: {line}") };
            let and = words(and).into_iter().filter(|word| !word.is_empty()).collect();
            Row { known: words(known), answers: words(answers), then, and }
        })
        .collect()
}

/// A book that knows the order `gw1` so.
fn known(state: &str) -> Bench {
    use OrderStatus as S;
    match state {
        "pending" => {
            let mut bench = Bench::new();
            bench.insert("gw1");
            bench
        }
        "sent" => Bench::sent("gw1"),
        "unknown" => {
            let mut bench = Bench::sent("gw1");
            bench.book.connection_lost("gone", false, bench.now);
            bench.book.session_opened();
            bench
        }
        "open" => Bench::open("gw1"),
        "partly filled" => {
            let mut bench = Bench::open("gw1");
            bench.apply(&event("gw1", fill("1", "4")));
            bench
        }
        "cancel wanted" => {
            let mut bench = Bench::open("gw1");
            bench.book.want_cancel(id("gw1"), bench.now);
            bench.book.begin_cancel(id("gw1"), bench.now).unwrap();
            bench
        }
        "ended without all fills" => {
            let mut bench = Bench::open("gw1");
            let cumulative = Some(quantity("4"));
            let ended = OrderNews::Ended { status: S::Canceled, cumulative, reason: None };
            bench.apply(&event("gw1", ended));
            bench
        }
        "earlier run, unanswered" => adopted(stored(S::Sent, "0", "0"), &[], false),
        "earlier run, acknowledged" => adopted(stored(S::Open, "0", "0"), &[], false),
        other => panic!("not understood: {other}"),
    }
}

/// Puts the question, where the book would, and gives the answer. Tells what then has to be done.
fn answer(bench: &mut Bench, answer: &str) -> BTreeSet<&'static str> {
    use OrderStatus as S;
    if answer == "not found late" {
        bench.now.monotonic += IN_FLIGHT;
    }
    if bench.status("gw1") != S::Pending {
        bench.book.begin_query(id("gw1"), bench.now);
        let news = match answer {
            "open" => event("gw1", status(S::Open, "0")),
            "partly filled" => event("gw1", status(S::PartiallyFilled, "4")),
            "filled" => event("gw1", status(S::Filled, "10")),
            "cancelled" => event("gw1", status(S::Canceled, "0")),
            "expired" => event("gw1", status(S::Expired, "0")),
            "rejected" => event("gw1", status(S::Rejected, "0")),
            "not found early" | "not found late" => denial("gw1"),
            "question refused" => event("gw1", OrderNews::QueryFailed { reason: "busy".into() }),
            other => panic!("not understood: {other}"),
        };
        bench.apply(&news);
    }
    let mut and = BTreeSet::new();
    if !bench.book.is_reconciled() {
        and.insert("new orders wait");
    }
    for work in bench.pass(QUERY).work {
        and.insert(match work {
            Work::Query(_) => "asked again",
            Work::Cancel(_) | Work::CancelAll(_) => "cancel repeated",
            Work::Fills(_) => "fills fetched",
        });
    }
    and
}

fn named(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::Sent => "sent",
        OrderStatus::OutcomeUnknown => "unknown",
        OrderStatus::Open => "open",
        OrderStatus::PartiallyFilled => "partly filled",
        OrderStatus::Filled => "filled",
        OrderStatus::Canceled => "cancelled",
        OrderStatus::Rejected => "rejected",
        OrderStatus::Expired => "expired",
        OrderStatus::NotSent => "not sent",
    }
}

/// An order that the book does not know, in the exchange's list.
fn listed(client: &str) -> Bench {
    let mut bench = Bench::open("gw1");
    let effects = bench.apply(&event(client, status(OrderStatus::Open, "0")));
    assert_eq!(effects, Effects::default(), "left alone");
    assert_eq!(bench.status("gw1"), OrderStatus::Open);
    bench
}

#[test]
fn every_row_of_the_readme_is_true_and_every_case_has_one() {
    let mut missing: BTreeSet<_> =
        KNOWN.iter().flat_map(|known| ANSWERS.map(|answer| (*known, answer))).collect();
    let (mut foreign, mut leftover) = (0, 0);
    for row in rows() {
        if row.known == ["nothing of it"] {
            match (&row.answers[..], row.then) {
                (["listed without our tag"], "foreign") => {
                    assert_eq!(listed("byhand").book.foreign_orders(), 1);
                    foreign += 1;
                }
                (["listed with our tag"], "left over") => {
                    assert_eq!(listed("gw88earlier").book.leftovers().count(), 1);
                    leftover += 1;
                }
                other => panic!("not understood: {other:?}"),
            }
            assert!(row.and.contains("left alone"), "{:?}", row.and);
            continue;
        }
        let answers = if row.answers == ["anything"] { ANSWERS.to_vec() } else { row.answers };
        for state in &row.known {
            for told in &answers {
                let mut bench = known(state);
                let and = answer(&mut bench, told);
                let case = format!("{state}, {told}");
                assert_eq!(named(bench.status("gw1")), row.then, "{case}");
                assert_eq!(and, row.and, "{case}");
                assert!(missing.remove(&(*state, *told)), "{case}: twice, or not understood");
            }
        }
    }
    assert_eq!((foreign, leftover), (1, 1));
    assert!(missing.is_empty(), "no row for {missing:?}");
}
