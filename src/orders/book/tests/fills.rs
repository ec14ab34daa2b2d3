use super::*;

fn fills_of(client: &str) -> Work {
    Work::Fills(id(client))
}

fn told(fill_id: &str, amount: &str, cumulative: &str) -> OrderNews {
    match fill(fill_id, amount) {
        OrderNews::Filled { fill, completes, .. } => {
            OrderNews::Filled { fill, cumulative: Some(quantity(cumulative)), completes }
        }
        other => panic!("{other:?}"),
    }
}

fn failed() -> OrderNews {
    OrderNews::FillsFailed { reason: "busy".into() }
}

impl Bench {
    /// An order of which 4 have filled, as a question has told.
    fn lacking(client: &str) -> Self {
        let mut bench = Self::open(client);
        bench.apply(&event(client, status(OrderStatus::PartiallyFilled, "4")));
        bench
    }

    fn booked(&self, client: &str) -> String {
        self.book.get(id(client)).unwrap().booked.to_string()
    }

    /// The exchange answers the question for fills with these.
    fn answer(&mut self, client: &str, fills: &[(&str, &str)]) -> Vec<Change> {
        self.book.begin_fills(id(client), self.now).unwrap();
        let mut changes = Vec::new();
        for (fill_id, amount) in fills {
            changes.extend(self.apply(&event(client, fill(fill_id, amount))).changes);
        }
        changes.extend(self.apply(&event(client, OrderNews::FillsListed)).changes);
        changes
    }
}

#[test]
fn fills_are_asked_for_when_the_stream_has_had_its_moment() {
    let mut bench = Bench::lacking("a");
    assert!(bench.book.is_waiting());
    assert_eq!(bench.pass(QUERY.saturating_sub(Duration::from_millis(1))).work, []);
    assert_eq!(bench.pass(Duration::from_millis(1)).work, [fills_of("a")]);
    let changes = bench.answer("a", &[("1", "1"), ("2", "3")]);
    let fills: Vec<_> = changes.iter().map(|change| change.fill.as_ref().unwrap()).collect();
    assert_eq!(fills.iter().map(|fill| fill.fill_id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((bench.booked("a").as_str(), bench.filled("a").as_str()), ("4", "4"));
    assert!(!bench.book.is_waiting());
    assert_eq!(bench.pass(QUERY * 100).work, []);
}

#[test]
fn fills_that_the_stream_tells_in_its_moment_are_not_asked_for() {
    let mut bench = Bench::lacking("a");
    bench.apply(&event("a", fill("1", "4")));
    assert_eq!(bench.pass(QUERY).work, []);
    assert_eq!(bench.booked("a"), "4");
}

#[test]
fn a_fill_with_a_higher_sum_shows_that_others_are_missing() {
    let mut bench = Bench::open("a");
    bench.apply(&event("a", told("3", "1", "5")));
    assert_eq!((bench.booked("a").as_str(), bench.filled("a").as_str()), ("1", "5"));
    assert_eq!(bench.pass(QUERY).work, [fills_of("a")]);
    // The one that is known comes again, and is booked once.
    assert_eq!(bench.answer("a", &[("1", "2"), ("2", "2"), ("3", "1")]).len(), 2);
    assert_eq!((bench.booked("a").as_str(), bench.filled("a").as_str()), ("5", "5"));
}

#[test]
fn one_question_for_fills_is_open_at_a_time_and_a_lost_one_is_repeated() {
    let mut bench = Bench::lacking("a");
    assert_eq!(bench.pass(QUERY).work, [fills_of("a")]);
    bench.book.begin_fills(id("a"), bench.now).unwrap();
    assert_eq!(bench.pass(Duration::from_millis(4999)).work, []);
    assert_eq!(bench.pass(Duration::from_millis(1)).work, [fills_of("a")]);
}

#[test]
fn an_exchange_that_does_not_tell_them_is_asked_at_growing_pauses() {
    let mut bench = Bench::lacking("a");
    assert_eq!(bench.pass(QUERY).work, [fills_of("a")]);
    for pause in [1, 2, 4, 8, 16, 16] {
        bench.book.begin_fills(id("a"), bench.now).unwrap();
        bench.apply(&event("a", if pause == 2 { failed() } else { OrderNews::FillsListed }));
        assert_eq!(bench.pass((QUERY * pause).saturating_sub(Duration::from_millis(1))).work, []);
        assert_eq!(bench.pass(Duration::from_millis(1)).work, [fills_of("a")], "{pause}");
    }
    // More that fills is asked for at the usual pace again.
    bench.apply(&event("a", failed()));
    bench.apply(&event("a", status(OrderStatus::PartiallyFilled, "5")));
    assert_eq!(bench.pass(QUERY).work, [fills_of("a")]);
}

#[test]
fn a_new_session_asks_at_once_for_what_is_missing() {
    let mut bench = Bench::lacking("a");
    bench.pass(QUERY);
    bench.book.begin_fills(id("a"), bench.now).unwrap();
    bench.book.connection_lost("gone", false, bench.now);
    bench.book.session_opened();
    bench.apply(&event("a", status(OrderStatus::PartiallyFilled, "6")));
    assert_eq!(bench.book.session_ready(), [fills_of("a")]);
    bench.answer("a", &[("1", "6")]);
    assert_eq!((bench.booked("a").as_str(), bench.book.is_waiting()), ("6", false));
}

#[test]
fn an_old_fill_says_nothing_of_how_the_order_stands_now() {
    let mut bench = Bench::lacking("a");
    bench.book.connection_lost("gone", false, bench.now);
    bench.book.session_opened();
    // A list of the latest fills names the order, a list of open orders does not.
    bench.apply(&event("a", fill("1", "4")));
    bench.apply(&event("a", fill("2", "1")));
    assert_eq!(bench.book.session_ready(), [Work::Query(id("a"))]);
    assert!(!bench.book.is_reconciled());
    bench.ask_and_deny("a", &denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    bench.apply(&event("a", status(OrderStatus::Canceled, "7")));
    bench.answer("a", &[("3", "2")]);
    assert_eq!((bench.status("a"), bench.booked("a").as_str()), (OrderStatus::Canceled, "7"));
}

#[test]
fn a_fill_that_was_counted_already_does_not_settle_an_unknown_order() {
    let mut bench = Bench::lacking("a");
    bench.ask_and_deny("a", &denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    bench.answer("a", &[("1", "4")]);
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    assert_eq!(bench.pass(QUERY).work, [Work::Query(id("a"))]);
}

#[test]
fn an_ended_order_that_lacks_fills_is_asked_for_them_and_not_forgotten() {
    let mut bench = Bench::lacking("a");
    bench.apply(&event("a", status(OrderStatus::Filled, "10")));
    assert_eq!(bench.status("a"), OrderStatus::Filled);
    for client in ["b", "c", "d", "e"] {
        bench.insert(client);
        bench.book.not_sent(id(client), "test", bench.now);
    }
    assert!(bench.book.get(id("b")).is_none(), "the others are forgotten as ever");
    assert!(bench.book.is_waiting());
    assert_eq!(bench.pass(QUERY).work, [fills_of("a")]);
    assert_eq!(bench.answer("a", &[("1", "4"), ("2", "6")]).len(), 2);
    assert_eq!((bench.booked("a").as_str(), bench.book.is_waiting()), ("10", false));
    // Now it is one of the others, and the youngest of them.
    for client in ["f", "g"] {
        bench.insert(client);
        bench.book.not_sent(id(client), "test", bench.now);
    }
    assert!(bench.book.get(id("a")).is_some());
    bench.insert("h");
    bench.book.not_sent(id("h"), "test", bench.now);
    assert!(bench.book.get(id("a")).is_none());
}

#[test]
fn a_late_sum_of_an_ended_order_is_fetched_too() {
    let mut bench = Bench::open("a");
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    assert!(!bench.book.is_waiting());
    bench.apply(&event("a", status(OrderStatus::Canceled, "2")));
    assert_eq!(bench.pass(QUERY).work, [fills_of("a")]);
    bench.answer("a", &[("1", "2")]);
    assert_eq!((bench.booked("a").as_str(), bench.book.is_waiting()), ("2", false));
}

#[test]
fn many_orders_are_asked_for_a_few_at_a_time() {
    let mut bench = Bench::new();
    let names: Vec<_> = (0..20).map(|number| format!("o{number}")).collect();
    for name in &names {
        bench.insert(name);
        bench.book.begin_write(id(name), bench.now).unwrap();
        bench.apply(&event(name, status(OrderStatus::Canceled, "1")));
    }
    let mut asked = Vec::new();
    let mut next = bench.pass(QUERY).work;
    while !next.is_empty() {
        assert!(next.len() <= 8, "{next:?}");
        assert_eq!(bench.pass(Duration::ZERO).work, [], "no room before an answer");
        for work in &next {
            let Work::Fills(client) = work else { panic!("{work:?}") };
            bench.answer(client.as_str(), &[("1", "1")]);
        }
        asked.extend(next);
        next = bench.pass(Duration::ZERO).work;
    }
    assert_eq!(asked.len(), names.len());
}

#[test]
fn shutdown_waits_for_the_fills_of_open_and_of_ended_orders() {
    let mut bench = Bench::lacking("a");
    bench.apply(&event("a", status(OrderStatus::Filled, "10")));
    assert!(!bench.book.is_flat());
    assert_eq!(bench.book.want_cancel_all(bench.now).work, [fills_of("a")]);
    assert_eq!(bench.book.watched().count(), 1, "it is in the report");
    bench.answer("a", &[("1", "10")]);
    assert!(bench.book.is_flat());
}

#[test]
fn an_ended_order_of_an_earlier_run_is_only_asked_for_the_fills_that_it_lacks() {
    let mut earlier = Bench::open("a");
    earlier.apply(&event("a", fill("1", "3")));
    earlier.apply(&event("a", status(OrderStatus::Canceled, "7")));
    let order = earlier.book.get(id("a")).unwrap().clone();
    let OrderNews::Filled { fill: booked, .. } = fill("1", "3") else { panic!() };
    let mut bench = Bench::new();
    let change = bench.book.adopt(order, &[booked], true, bench.now);
    assert_eq!((change.order.status, change.order.booked), (OrderStatus::Canceled, quantity("3")));
    assert!(bench.book.is_reconciled() && bench.book.is_waiting());
    bench.book.session_opened();
    assert_eq!(bench.book.session_ready(), [fills_of("a")]);
    assert_eq!(bench.answer("a", &[("1", "3"), ("2", "4")]).len(), 1);
    assert_eq!((bench.booked("a").as_str(), bench.book.is_flat()), ("7", true));
}
