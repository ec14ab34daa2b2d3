use super::*;
use crate::types::Side;

const QUERY: Duration = Duration::from_secs(2);
const CANCEL: Duration = Duration::from_secs(1);

struct Bench {
    book: Book,
    now: Moment,
}

fn id(text: &str) -> ClientOrderId {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn event(client: &str, news: OrderNews) -> OrderEvent {
    OrderEvent {
        client_id: Some(id(client)),
        exchange_id: Some(format!("X{client}").parse().unwrap()),
        instrument: None,
        request_id: None,
        exchange_time: None,
        news,
    }
}

/// The exchange's answer on the connection that the order was written to.
fn denial(client: &str) -> OrderEvent {
    let exchange_id = None;
    let request_id = Some("1".into());
    OrderEvent { exchange_id, request_id, ..event(client, OrderNews::NotFound) }
}

fn fill(fill_id: &str, amount: &str) -> OrderNews {
    let fill = Fill {
        fill_id: fill_id.into(),
        price: "100".parse().unwrap(),
        quantity: quantity(amount),
        fee: None,
        liquidity: None,
        time: None,
    };
    OrderNews::Filled { fill, cumulative: None, completes: false }
}

fn ended(status: OrderStatus) -> OrderNews {
    OrderNews::Ended { status, cumulative: None, reason: None }
}

fn status(status: OrderStatus, filled: &str) -> OrderNews {
    OrderNews::Status { status, cumulative: Some(quantity(filled)), reason: None }
}

impl Bench {
    fn new() -> Self {
        let patience = Patience {
            acknowledgement: Duration::from_secs(5),
            query: QUERY,
            cancel: CANCEL,
            closed_kept: 3,
        };
        let now = Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Instant::now() };
        Self { book: Book::new(patience), now }
    }

    fn insert(&mut self, client: &str) {
        let instrument = "binance:BTC-USDT".parse().unwrap();
        let price = "100".parse().unwrap();
        let request = NewOrder::limit(instrument, Side::Buy, price, quantity("10"));
        self.book.insert(id(client), request, self.now);
    }

    /// An order that is written and not answered.
    fn sent(client: &str) -> Self {
        let mut bench = Self::new();
        bench.insert(client);
        bench.book.begin_write(id(client), bench.now).unwrap();
        bench
    }

    /// An order on the exchange's book.
    fn open(client: &str) -> Self {
        let mut bench = Self::sent(client);
        bench.apply(&event(client, OrderNews::Opened));
        bench
    }

    fn apply(&mut self, event: &OrderEvent) -> Effects {
        self.book.apply(event, self.now)
    }

    fn pass(&mut self, time: Duration) -> Effects {
        self.now.monotonic += time;
        self.book.due(self.now)
    }

    fn status(&self, client: &str) -> OrderStatus {
        self.book.get(id(client)).unwrap().status
    }

    fn filled(&self, client: &str) -> String {
        self.book.get(id(client)).unwrap().filled.to_string()
    }
}

#[test]
fn an_order_lives_from_pending_to_filled() {
    let mut bench = Bench::new();
    bench.insert("a");
    assert_eq!(bench.status("a"), OrderStatus::Pending);
    bench.book.begin_write(id("a"), bench.now).unwrap();
    assert_eq!(bench.status("a"), OrderStatus::Sent);
    bench.apply(&event("a", OrderNews::Acknowledged));
    assert_eq!(bench.status("a"), OrderStatus::Open);
    bench.apply(&event("a", fill("1", "4")));
    assert_eq!(
        (bench.status("a"), bench.filled("a").as_str()),
        (OrderStatus::PartiallyFilled, "4")
    );
    bench.apply(&event("a", fill("2", "6")));
    assert_eq!((bench.status("a"), bench.filled("a").as_str()), (OrderStatus::Filled, "10"));
    assert!(bench.book.is_flat());
}

#[test]
fn the_same_fill_told_twice_is_booked_once() {
    let mut bench = Bench::open("a");
    assert_eq!(bench.apply(&event("a", fill("1", "4"))).changes.len(), 1);
    assert_eq!(bench.apply(&event("a", fill("1", "4"))), Effects::default());
    assert_eq!(bench.filled("a"), "4");
}

#[test]
fn a_fill_that_races_the_cancel_is_booked() {
    let mut bench = Bench::open("a");
    assert_eq!(bench.book.want_cancel(id("a"), bench.now).work, vec![Work::Cancel(id("a"))]);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    bench.apply(&event("a", fill("1", "10")));
    let refused = OrderNews::CancelRejected {
        code: Some(-2011),
        reason: "Unknown order sent.".into(),
        retry: false,
    };
    bench.apply(&event("a", refused));
    assert_eq!((bench.status("a"), bench.filled("a").as_str()), (OrderStatus::Filled, "10"));
}

#[test]
fn a_fill_told_after_the_cancel_is_booked_too() {
    let mut bench = Bench::open("a");
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    let effects = bench.apply(&event("a", fill("1", "3")));
    assert_eq!(effects.changes[0].order.filled, quantity("3"));
    assert_eq!(bench.status("a"), OrderStatus::Canceled);
}

#[test]
fn an_acknowledged_cancel_is_not_a_cancelled_order() {
    let mut bench = Bench::open("a");
    bench.book.want_cancel(id("a"), bench.now);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    bench.apply(&event("a", OrderNews::CancelAcknowledged));
    assert_eq!(bench.status("a"), OrderStatus::Open);
    let again = bench.pass(CANCEL);
    assert_eq!(again.work, vec![Work::Query(id("a")), Work::Cancel(id("a"))]);
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    assert_eq!(bench.status("a"), OrderStatus::Canceled);
    assert_eq!(bench.pass(CANCEL), Effects::default());
}

#[test]
fn a_refused_cancel_is_asked_about_at_once() {
    let mut bench = Bench::open("a");
    bench.book.want_cancel(id("a"), bench.now);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    let refused = OrderNews::CancelRejected { code: None, reason: "Unknown".into(), retry: false };
    assert_eq!(bench.apply(&event("a", refused)).work, vec![Work::Query(id("a"))]);
    bench.apply(&event("a", status(OrderStatus::Filled, "10")));
    assert_eq!(bench.status("a"), OrderStatus::Filled);
}

#[test]
fn a_cancel_that_is_refused_again_and_again_is_repeated_at_its_own_pace() {
    let mut bench = Bench::open("a");
    bench.book.want_cancel(id("a"), bench.now);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    let refused = OrderNews::CancelRejected { code: None, reason: "No".into(), retry: false };
    bench.apply(&event("a", refused));
    assert_eq!(bench.apply(&event("a", status(OrderStatus::Open, "0"))).work, vec![]);
    assert!(bench.pass(CANCEL).work.contains(&Work::Cancel(id("a"))));
}

#[test]
fn no_answer_means_unknown_and_is_asked_until_it_is_settled() {
    let mut bench = Bench::sent("a");
    assert_eq!(bench.pass(Duration::from_secs(4)), Effects::default());
    let effects = bench.pass(Duration::from_secs(1));
    assert_eq!(effects.changes[0].order.status, OrderStatus::OutcomeUnknown);
    assert_eq!(effects.work, vec![Work::Query(id("a"))]);
    assert_eq!(bench.pass(Duration::from_secs(1)), Effects::default());
    assert_eq!(bench.pass(Duration::from_secs(1)).work, vec![Work::Query(id("a"))]);
    bench.apply(&event("a", status(OrderStatus::PartiallyFilled, "2")));
    assert_eq!(
        (bench.status("a"), bench.filled("a").as_str()),
        (OrderStatus::PartiallyFilled, "2")
    );
}

#[test]
fn a_lost_connection_makes_written_orders_unknown_and_never_rejected() {
    let mut bench = Bench::sent("a");
    bench.insert("pending");
    let effects = bench.book.connection_lost("reset by peer", bench.now);
    assert_eq!(effects.changes.len(), 1);
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    assert_eq!(bench.status("pending"), OrderStatus::Pending);
}

#[test]
fn after_a_reconnect_only_unmentioned_orders_are_asked() {
    let mut bench = Bench::open("a");
    bench.insert("b");
    bench.book.begin_write(id("b"), bench.now).unwrap();
    bench.book.connection_lost("gone", bench.now);
    bench.book.session_opened();
    bench.apply(&event("a", status(OrderStatus::Open, "0")));
    assert_eq!(bench.book.session_ready(), vec![Work::Query(id("b"))]);
    assert!(!bench.book.is_reconciled());
    bench.apply(&event("b", status(OrderStatus::Canceled, "1")));
    assert!(bench.book.is_reconciled());
    assert_eq!((bench.status("b"), bench.filled("b").as_str()), (OrderStatus::Canceled, "1"));
}

#[test]
fn a_question_that_failed_after_a_reconnect_is_asked_again() {
    let mut bench = Bench::open("a");
    bench.book.connection_lost("gone", bench.now);
    bench.book.session_opened();
    assert_eq!(bench.book.session_ready(), vec![Work::Query(id("a"))]);
    bench.book.begin_query(id("a"), bench.now).unwrap();
    bench.apply(&event("a", OrderNews::QueryFailed { reason: "rate limit".into() }));
    assert!(bench.book.is_waiting() && !bench.book.is_reconciled());
    assert_eq!(bench.pass(QUERY).work, vec![Work::Query(id("a"))]);
    bench.apply(&event("a", status(OrderStatus::Open, "0")));
    assert!(bench.book.is_reconciled());
}

#[test]
fn not_found_once_is_a_race_and_twice_is_an_answer() {
    let mut bench = Bench::sent("a");
    bench.apply(&denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    bench.pass(QUERY);
    bench.apply(&denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
}

#[test]
fn an_order_under_way_is_not_denied_by_a_question_that_overtook_it() {
    let mut bench = Bench::sent("a");
    for _ in 0..3 {
        bench.now.monotonic += QUERY;
        bench.apply(&event("a", OrderNews::NotFound));
        assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    }
    // Once the connection is gone nothing is under way any more.
    bench.book.connection_lost("gone", bench.now);
    bench.apply(&event("a", OrderNews::NotFound));
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    bench.apply(&event("a", OrderNews::NotFound));
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
}

#[test]
fn an_order_presumed_absent_that_shows_up_is_open_again_and_cancelled() {
    let mut bench = Bench::sent("a");
    bench.book.want_cancel(id("a"), bench.now);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    let refused = OrderNews::CancelRejected { code: None, reason: "Unknown".into(), retry: false };
    bench.apply(&event("a", refused));
    bench.apply(&event("a", OrderNews::NotFound));
    bench.now.monotonic += QUERY;
    bench.apply(&event("a", OrderNews::NotFound));
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
    let effects = bench.apply(&event("a", OrderNews::Acknowledged));
    assert_eq!(bench.status("a"), OrderStatus::Open);
    assert_eq!(effects.work, vec![Work::Cancel(id("a"))]);
}

#[test]
fn an_order_presumed_absent_that_shows_up_during_shutdown_is_cancelled() {
    let mut bench = Bench::sent("a");
    bench.apply(&denial("a"));
    bench.now.monotonic += QUERY;
    bench.apply(&denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
    assert_eq!(bench.book.want_cancel_all(bench.now), Effects::default());
    let effects = bench.apply(&event("a", OrderNews::Opened));
    assert_eq!(effects.work, vec![Work::Cancel(id("a"))]);
    assert_eq!(bench.book.watched().count(), 1);
}

#[test]
fn an_acknowledged_order_is_never_presumed_absent() {
    let mut bench = Bench::open("a");
    for _ in 0..3 {
        bench.now.monotonic += QUERY;
        bench.apply(&event("a", OrderNews::NotFound));
    }
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
}

#[test]
fn a_cancel_before_the_write_means_nothing_is_written() {
    let mut bench = Bench::new();
    bench.insert("a");
    bench.book.want_cancel(id("a"), bench.now);
    assert_eq!(bench.status("a"), OrderStatus::NotSent);
    assert!(bench.book.begin_write(id("a"), bench.now).is_none());
}

#[test]
fn shutdown_cancels_all_but_the_kept() {
    let mut bench = Bench::open("a");
    let instrument = "binance:BTC-USDT".parse().unwrap();
    let request = NewOrder::limit(instrument, Side::Buy, "1".parse().unwrap(), quantity("10"));
    bench.book.insert(id("kept"), request.keep_on_shutdown(), bench.now);
    bench.book.begin_write(id("kept"), bench.now).unwrap();
    bench.apply(&event("kept", OrderNews::Opened));
    let effects = bench.book.want_cancel_all(bench.now);
    assert_eq!(effects.work, vec![Work::Cancel(id("a"))]);
    assert!(!bench.book.is_flat());
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    assert!(bench.book.is_flat());
    assert_eq!(bench.book.watched().count(), 2);
}

#[test]
fn updates_out_of_order_do_not_reopen_an_ended_order() {
    let mut bench = Bench::sent("a");
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    bench.apply(&event("a", OrderNews::Acknowledged));
    bench.apply(&event("a", OrderNews::Opened));
    assert_eq!(bench.status("a"), OrderStatus::Canceled);
}

#[test]
fn updates_that_name_only_the_exchange_id_find_their_order() {
    let mut bench = Bench::open("a");
    let mut delta = event("a", fill("1", "1"));
    delta.client_id = None;
    bench.apply(&delta);
    assert_eq!(bench.filled("a"), "1");
}

#[test]
fn orders_of_others_are_counted_and_left_alone() {
    let mut bench = Bench::new();
    assert_eq!(bench.apply(&event("manual", OrderNews::Opened)), Effects::default());
    assert_eq!(bench.book.foreign_orders(), 1);
    bench.apply(&event("manual", ended(OrderStatus::Canceled)));
    assert_eq!(bench.book.foreign_orders(), 0);
}

#[test]
fn only_so_many_ended_orders_are_remembered() {
    let mut bench = Bench::new();
    for client in ["a", "b", "c", "d"] {
        bench.insert(client);
        bench.book.not_sent(id(client), "test", bench.now);
    }
    assert!(bench.book.get(id("a")).is_none());
    assert_eq!(bench.status("d"), OrderStatus::NotSent);
}

#[test]
fn a_late_acknowledgement_leads_to_a_cancel_at_once() {
    let mut bench = Bench::sent("a");
    bench.book.want_cancel_all(bench.now);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    let refused = OrderNews::CancelRejected { code: None, reason: "Unknown".into(), retry: false };
    bench.apply(&event("a", refused));
    let effects = bench.apply(&event("a", OrderNews::Acknowledged));
    assert_eq!(effects.work, vec![Work::Cancel(id("a"))]);
}
