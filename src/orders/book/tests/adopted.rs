//! Orders of an earlier run: what the exchange says of each, and what then becomes of it.

use super::*;

/// An order as the database had it when that run was killed.
pub(super) fn stored(status: OrderStatus, filled: &str, booked: &str) -> Order {
    let mut bench = Bench::new();
    bench.insert("gw1");
    let order = bench.book.get(id("gw1")).unwrap().clone();
    let exchange_id =
        matches!(status, OrderStatus::Open | OrderStatus::PartiallyFilled | OrderStatus::Filled)
            .then(|| "Xgw1".parse().unwrap());
    Order { status, exchange_id, filled: quantity(filled), booked: quantity(booked), ..order }
}

pub(super) fn adopted(order: Order, fills: &[Fill], cancel: bool) -> Bench {
    let mut bench = Bench::new();
    bench.book.adopt(order, fills, cancel, bench.now);
    bench.book.session_opened();
    bench
}

fn single(fill_id: &str, amount: &str) -> Fill {
    match fill(fill_id, amount) {
        OrderNews::Filled { fill, .. } => fill,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_was_stored_the_exchange_says_how_it_stands() {
    use OrderStatus as S;
    let stored_statuses = [S::Pending, S::Sent, S::OutcomeUnknown, S::Open, S::PartiallyFilled];
    let answers = [
        (status(S::Open, "0"), S::Open),
        (status(S::PartiallyFilled, "4"), S::PartiallyFilled),
        (status(S::Filled, "10"), S::Filled),
        (status(S::Canceled, "0"), S::Canceled),
        (status(S::Expired, "0"), S::Expired),
        (status(S::Rejected, "0"), S::Rejected),
        (OrderNews::QueryFailed { reason: "busy".into() }, S::OutcomeUnknown),
    ];
    for before in stored_statuses {
        for (answer, after) in &answers {
            let mut bench = adopted(stored(before, "0", "0"), &[], false);
            assert_eq!(bench.status("gw1"), S::OutcomeUnknown, "{before}");
            assert!(!bench.book.is_reconciled(), "{before}");
            let work = bench.book.session_ready();
            assert!(work.contains(&Work::Query(id("gw1"))), "{before}: {work:?}");
            bench.book.begin_query(id("gw1"), bench.now).unwrap();
            bench.apply(&event("gw1", answer.clone()));
            assert_eq!(bench.status("gw1"), *after, "{before}, {answer:?}");
            let failed = matches!(answer, OrderNews::QueryFailed { .. });
            assert_eq!(bench.book.is_reconciled(), !failed, "{before}, {answer:?}");
        }
    }
}

#[test]
fn an_order_that_may_still_be_on_its_way_is_not_denied_by_an_early_answer() {
    let mut bench = adopted(stored(OrderStatus::Sent, "0", "0"), &[], true);
    bench.book.session_ready();
    bench.ask_and_deny("gw1", &denial("gw1"));
    assert_eq!(bench.status("gw1"), OrderStatus::OutcomeUnknown);
    bench.presume_absent("gw1");
}

#[test]
fn an_order_that_the_exchange_had_shown_is_never_called_absent() {
    let mut bench = adopted(stored(OrderStatus::Open, "0", "0"), &[], true);
    bench.book.session_ready();
    bench.now.monotonic += IN_FLIGHT;
    bench.ask_and_deny("gw1", &denial("gw1"));
    assert_eq!(bench.status("gw1"), OrderStatus::OutcomeUnknown);
}

#[test]
fn only_orders_that_are_to_be_cancelled_are() {
    let cancels = |cancel| {
        let mut bench = adopted(stored(OrderStatus::Open, "0", "0"), &[], cancel);
        bench.book.session_ready().contains(&Work::Cancel(id("gw1")))
    };
    assert!(cancels(true));
    assert!(!cancels(false));
}

#[test]
fn stored_fills_are_not_booked_again_and_missing_ones_are_asked_for() {
    let order = stored(OrderStatus::PartiallyFilled, "4", "4");
    let mut bench = adopted(order, &[single("1", "3"), single("2", "1")], false);
    assert_eq!(bench.book.get(id("gw1")).unwrap().booked, quantity("4"));
    bench.book.session_ready();
    bench.book.begin_query(id("gw1"), bench.now).unwrap();
    bench.apply(&event("gw1", status(OrderStatus::PartiallyFilled, "6")));
    for told in [fill("1", "3"), fill("2", "1"), fill("3", "2")] {
        bench.apply(&event("gw1", told));
    }
    let order = bench.book.get(id("gw1")).unwrap();
    assert_eq!((order.filled, order.booked), (quantity("6"), quantity("6")));
}

#[test]
fn a_fill_that_was_stored_before_its_order_counts() {
    let bench = adopted(stored(OrderStatus::Open, "0", "0"), &[single("1", "3")], false);
    let order = bench.book.get(id("gw1")).unwrap();
    assert_eq!((order.filled, order.booked), (quantity("3"), quantity("3")));
}

#[test]
fn an_ended_order_is_only_asked_for_the_fills_that_it_lacks() {
    let order = stored(OrderStatus::Filled, "10", "4");
    let mut bench = adopted(order, &[single("1", "4")], true);
    assert!(bench.book.is_reconciled());
    assert!(!bench.book.is_flat(), "fills are missing");
    assert_eq!(bench.book.session_ready(), [Work::Fills(id("gw1"))]);
    bench.apply(&event("gw1", fill("2", "6")));
    assert!(bench.book.is_flat());
    assert_eq!(bench.status("gw1"), OrderStatus::Filled);
}
