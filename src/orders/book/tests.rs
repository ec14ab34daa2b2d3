mod elsewhere;

use super::*;
use crate::types::Side;

mod adopted;
mod fills;
mod mass;
mod readme;

const QUERY: Duration = Duration::from_secs(2);
const IN_FLIGHT: Duration = Duration::from_secs(6);
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
            in_flight: IN_FLIGHT,
            closed_kept: 3,
        };
        let now = Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Instant::now() };
        Self { book: Book::new(patience, "gw"), now }
    }

    /// What the orders may still add to positions is counted as if every order was looked at.
    fn counts_hold(&mut self) {
        let instrument = "binance:BTC-USDT".parse().unwrap();
        let unwritten = self.book.next_unwritten(None);
        assert_eq!(unwritten.is_some(), self.book.lacks_cancel_searched());
        assert_eq!(self.book.next_unwritten(unwritten), unwritten, "from there on");
        let searched = self.book.open_quantities_searched(instrument);
        assert_eq!(self.book.open_quantities(instrument), searched);
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

    /// Asks how the order stands, and has the exchange deny it.
    fn ask_and_deny(&mut self, client: &str, denial: &OrderEvent) {
        self.book.begin_query(id(client), self.now).unwrap();
        self.apply(denial);
    }

    /// The order was written, never arrived, and the exchange says so when it can be sure.
    fn presume_absent(&mut self, client: &str) {
        self.now.monotonic += IN_FLIGHT;
        self.ask_and_deny(client, &denial(client));
        assert_eq!(self.status(client), OrderStatus::Rejected);
    }

    fn apply(&mut self, event: &OrderEvent) -> Effects {
        let effects = self.book.apply(event, self.now);
        self.counts_hold();
        effects
    }

    fn pass(&mut self, time: Duration) -> Effects {
        self.now.monotonic += time;
        self.counts_hold();
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
    let effects = bench.book.connection_lost("reset by peer", false, bench.now);
    assert_eq!(effects.changes.len(), 1);
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    assert_eq!(bench.status("pending"), OrderStatus::Pending);
}

#[test]
fn after_a_reconnect_only_unmentioned_orders_are_asked() {
    let mut bench = Bench::open("a");
    bench.insert("b");
    bench.book.begin_write(id("b"), bench.now).unwrap();
    bench.book.connection_lost("gone", false, bench.now);
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
    bench.book.connection_lost("gone", false, bench.now);
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
fn an_order_with_unreadable_news_is_asked_about_until_the_answer_comes() {
    let mut bench = Bench::open("a");
    let unreadable = OrderNews::Unreadable { reason: "unknown status".into() };
    assert_eq!(bench.apply(&event("a", unreadable)).work, vec![Work::Query(id("a"))]);
    assert_eq!(bench.status("a"), OrderStatus::Open);
    bench.book.begin_query(id("a"), bench.now).unwrap();
    bench.apply(&event("a", OrderNews::QueryFailed { reason: "rate limit".into() }));
    assert_eq!(bench.pass(QUERY).work, vec![Work::Query(id("a"))]);
    bench.apply(&event("a", status(OrderStatus::Canceled, "0")));
    assert_eq!(bench.status("a"), OrderStatus::Canceled);
}

#[test]
fn a_denial_is_an_answer_only_when_the_order_cannot_be_on_its_way_any_more() {
    let mut bench = Bench::sent("a");
    for _ in 0..5 {
        bench.ask_and_deny("a", &denial("a"));
        assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
        bench.pass(Duration::from_secs(1));
    }
    // Asked too early and answered late is too early all the same.
    bench.book.begin_query(id("a"), bench.now).unwrap();
    bench.pass(IN_FLIGHT);
    bench.apply(&denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    bench.ask_and_deny("a", &denial("a"));
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
}

#[test]
fn an_order_under_way_is_not_denied_by_a_question_that_overtook_it() {
    let mut bench = Bench::sent("a");
    let overtaking = event("a", OrderNews::NotFound);
    bench.now.monotonic += IN_FLIGHT;
    bench.ask_and_deny("a", &overtaking);
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
    // Once the connection is gone nothing is under way on it any more.
    bench.book.connection_lost("gone", false, bench.now);
    bench.ask_and_deny("a", &overtaking);
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
}

#[test]
fn the_same_denial_is_told_once() {
    let mut bench = Bench::sent("a");
    assert_eq!(bench.apply(&denial("a")).changes.len(), 1);
    assert_eq!(bench.apply(&denial("a")).changes.len(), 0);
}

#[test]
fn an_order_presumed_absent_that_shows_up_is_open_again_and_cancelled() {
    let mut bench = Bench::sent("a");
    bench.book.want_cancel(id("a"), bench.now);
    bench.book.begin_cancel(id("a"), bench.now).unwrap();
    let refused = OrderNews::CancelRejected { code: None, reason: "Unknown".into(), retry: false };
    bench.apply(&event("a", refused));
    bench.presume_absent("a");
    let effects = bench.apply(&event("a", OrderNews::Acknowledged));
    assert_eq!(bench.status("a"), OrderStatus::Open);
    assert_eq!(effects.work, vec![Work::Cancel(id("a"))]);
}

#[test]
fn unreadable_news_of_an_order_presumed_absent_shows_that_it_exists() {
    let mut bench = Bench::sent("a");
    bench.presume_absent("a");
    let unreadable = OrderNews::Unreadable { reason: "a status that is not known".into() };
    assert_eq!(bench.apply(&event("a", unreadable)).work, vec![Work::Query(id("a"))]);
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
}

#[test]
fn an_order_presumed_absent_is_not_forgotten() {
    let mut bench = Bench::sent("a");
    bench.presume_absent("a");
    for client in ["b", "c", "d", "e"] {
        bench.insert(client);
        bench.book.not_sent(id(client), "test", bench.now);
    }
    bench.apply(&event("a", OrderNews::Opened));
    assert_eq!(bench.status("a"), OrderStatus::Open);
}

#[test]
fn an_order_presumed_absent_that_shows_up_during_shutdown_is_cancelled() {
    let mut bench = Bench::sent("a");
    bench.presume_absent("a");
    assert_eq!(bench.book.want_cancel_all(bench.now), Effects::default());
    let effects = bench.apply(&event("a", OrderNews::Opened));
    assert_eq!(effects.work, vec![Work::Cancel(id("a"))]);
    assert_eq!(bench.book.watched().count(), 1);
}

#[test]
fn an_order_that_was_refused_and_shows_up_all_the_same_is_open_again_and_cancelled() {
    let refused = || OrderNews::Rejected { code: None, reason: "a word nobody knew".into() };
    let shown = [
        (OrderNews::Opened, OrderStatus::Open),
        (fill("t1", "1"), OrderStatus::PartiallyFilled),
        (status(OrderStatus::Open, "0"), OrderStatus::Open),
    ];
    for (news, after) in shown {
        let mut bench = Bench::sent("a");
        bench.apply(&event("a", refused()));
        assert_eq!(bench.status("a"), OrderStatus::Rejected);
        bench.book.want_cancel_all(bench.now);
        let effects = bench.apply(&event("a", news.clone()));
        assert_eq!(bench.status("a"), after, "{news:?}");
        assert!(effects.work.contains(&Work::Cancel(id("a"))), "{news:?}: {effects:?}");
        assert_eq!(bench.book.watched().count(), 1);
    }
    // What tells no more than that it ended changes nothing.
    let mut bench = Bench::sent("a");
    bench.apply(&event("a", refused()));
    bench.apply(&event("a", ended(OrderStatus::Rejected)));
    bench.apply(&event("a", OrderNews::NotFound));
    assert_eq!(bench.status("a"), OrderStatus::Rejected);
}

#[test]
fn an_acknowledged_order_is_never_presumed_absent() {
    let mut bench = Bench::open("a");
    for _ in 0..3 {
        bench.now.monotonic += IN_FLIGHT;
        bench.ask_and_deny("a", &event("a", OrderNews::NotFound));
    }
    assert_eq!(bench.status("a"), OrderStatus::OutcomeUnknown);
}

#[test]
fn one_question_is_open_at_a_time_until_it_must_be_lost() {
    let mut bench = Bench::sent("a");
    assert_eq!(bench.pass(Duration::from_secs(5)).work, vec![Work::Query(id("a"))]);
    bench.book.begin_query(id("a"), bench.now).unwrap();
    assert_eq!(bench.pass(QUERY).work, vec![]);
    assert_eq!(bench.pass(QUERY).work, vec![]);
    assert_eq!(bench.pass(QUERY).work, vec![Work::Query(id("a"))]);
}

#[test]
fn a_cancel_without_room_is_repeated_at_growing_pauses_and_without_questions() {
    let mut bench = Bench::open("a");
    bench.book.want_cancel(id("a"), bench.now);
    let limited = OrderNews::CancelRejected {
        code: None,
        reason: "EOrder:Rate limit exceeded".into(),
        retry: true,
    };
    for pause in [2, 4, 4] {
        bench.book.begin_cancel(id("a"), bench.now).unwrap();
        assert_eq!(bench.apply(&event("a", limited.clone())).work, vec![]);
        assert_eq!(
            bench.pass((CANCEL * pause).saturating_sub(Duration::from_millis(1))).work,
            vec![]
        );
        assert_eq!(bench.pass(Duration::from_millis(1)).work, vec![Work::Cancel(id("a"))]);
    }
}

#[test]
fn anothers_order_with_the_same_number_ends_none_of_ours() {
    let mut bench = Bench::open("a");
    let mut same_number = event("a", ended(OrderStatus::Canceled));
    same_number.client_id = Some(id("byhand"));
    bench.apply(&same_number);
    same_number.client_id = None;
    same_number.instrument = Some("binance:ETH-USDT".parse().unwrap());
    bench.apply(&same_number);
    assert_eq!(bench.status("a"), OrderStatus::Open);
}

#[test]
fn an_order_that_an_earlier_run_left_open_is_named_until_it_ends() {
    let mut bench = Bench::new();
    bench.apply(&event("gw88earlier", status(OrderStatus::Open, "0")));
    let left: Vec<_> = bench.book.leftovers().map(|left| left.client_id).collect();
    assert_eq!((left, bench.book.foreign_orders()), (vec![id("gw88earlier")], 0));
    bench.apply(&event("gw88earlier", ended(OrderStatus::Canceled)));
    assert_eq!(bench.book.leftovers().count(), 0);
}

#[test]
fn what_an_earlier_run_left_open_stays_named_until_a_new_session_has_told_its_orders() {
    let left = |bench: &Bench| -> Vec<_> {
        bench.book.leftovers().map(|left| left.client_id.to_string()).collect()
    };
    let mut bench = Bench::new();
    bench.book.session_opened();
    for client in ["gw88one", "gw88two", "gw88three"] {
        bench.apply(&event(client, status(OrderStatus::Open, "0")));
    }
    bench.book.session_ready();
    bench.book.connection_lost("reset", false, bench.now);
    // The login of the next connection may fail, and the one after that may never come.
    bench.book.session_opened();
    assert_eq!(left(&bench).len(), 3, "nobody has said that they have ended");
    bench.apply(&event("gw88one", status(OrderStatus::Open, "0")));
    bench.apply(&event("gw88two", OrderNews::Unreadable { reason: "odd".into() }));
    bench.book.session_ready();
    assert_eq!(left(&bench), ["gw88one", "gw88two"], "the exchange does not list the third");
}

#[test]
fn a_kept_order_is_waited_for_until_the_exchange_says_that_it_is_there() {
    let mut bench = Bench::new();
    let instrument = "binance:BTC-USDT".parse().unwrap();
    let request = NewOrder::limit(instrument, Side::Buy, "1".parse().unwrap(), quantity("10"));
    bench.book.insert(id("kept"), request.keep_on_shutdown(), bench.now);
    bench.book.begin_write(id("kept"), bench.now).unwrap();
    assert!(!bench.book.is_flat(), "sent and not answered");
    bench.apply(&event("kept", OrderNews::Opened));
    assert!(bench.book.is_flat());
    bench.book.connection_lost("gone", false, bench.now);
    assert!(!bench.book.is_flat(), "it may have filled meanwhile");
    bench.book.session_opened();
    bench.apply(&event("kept", status(OrderStatus::Open, "0")));
    assert!(bench.book.is_flat());
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
    assert_eq!(effects.work, vec![Work::Cancel(id("a")), Work::Query(id("kept"))]);
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    assert!(!bench.book.is_flat(), "nobody has said yet that the kept order is there");
    bench.apply(&event("kept", status(OrderStatus::Open, "0")));
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
fn an_order_of_others_counts_once_though_later_messages_leave_out_its_instrument() {
    let mut bench = Bench::new();
    let instrument = Some("kraken:BTC-USD".parse().unwrap());
    let first = OrderEvent { instrument, ..event("manual", OrderNews::Acknowledged) };
    let later = |news| OrderEvent { instrument: None, ..event("manual", news) };
    bench.apply(&first);
    bench.apply(&later(OrderNews::Opened));
    assert_eq!(bench.book.foreign_orders(), 1);
    bench.apply(&later(ended(OrderStatus::Canceled)));
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
