//! What is done and heard over HTTP.

use super::*;
use crate::report::CancelPath;
use crate::types::OnShutdown;

impl Bench {
    fn errands(&mut self) -> (Vec<String>, Vec<String>) {
        let ids = |orders: Vec<Order>| orders.iter().map(|o| o.client_id.to_string()).collect();
        let Errands { cancels, queries, .. } = self.book.begin_errands(8, self.now);
        (ids(cancels), ids(queries))
    }

    fn lose(&mut self) {
        self.book.connection_lost("gone", false, self.now);
    }

    /// The answer over HTTP to a question or cancel of `asked`.
    fn hear(&mut self, client: &str, news: OrderNews, asked: Instant) -> Effects {
        let exchange_id = match news {
            OrderNews::NotFound => None,
            _ => Some(format!("X{client}").parse().unwrap()),
        };
        let event = OrderEvent { exchange_id, ..event(client, news) };
        self.book.apply_elsewhere(&event, asked, self.now)
    }

    fn path(&self, client: &str) -> Option<CancelPath> {
        self.book.entry(id(client)).unwrap().confirmed_over
    }
}

fn none() -> (Vec<String>, Vec<String>) {
    (Vec::new(), Vec::new())
}

fn one(client: &str) -> Vec<String> {
    vec![client.to_owned()]
}

#[test]
fn only_wanted_cancels_and_unknown_orders_are_errands() {
    let mut bench = Bench::open("open");
    bench.lose();
    assert!(!bench.book.has_errands());
    assert_eq!(bench.errands(), none());
    bench.insert("lost");
    bench.book.begin_write(id("lost"), bench.now).unwrap();
    bench.lose();
    assert!(bench.book.has_errands());
    assert_eq!(bench.errands(), (Vec::new(), one("lost")));
    bench.book.want_cancel(id("open"), bench.now);
    assert_eq!(bench.errands(), (one("open"), Vec::new()));
    // Each is repeated at its own pace.
    assert_eq!(bench.errands(), none());
    bench.now.monotonic += CANCEL;
    assert_eq!(bench.errands(), (one("open"), Vec::new()));
    bench.now.monotonic += QUERY;
    assert_eq!(bench.errands(), (one("open"), one("lost")));
}

#[test]
fn a_shutdown_also_asks_about_what_is_to_be_kept() {
    let mut bench = Bench::new();
    let instrument = "binance:BTC-USDT".parse().unwrap();
    let request = NewOrder::limit(instrument, Side::Buy, "1".parse().unwrap(), quantity("10"));
    bench.book.insert(id("kept"), request.keep_on_shutdown(), bench.now);
    bench.book.begin_write(id("kept"), bench.now).unwrap();
    bench.apply(&event("kept", OrderNews::Opened));
    bench.lose();
    assert_eq!(bench.errands(), none());
    bench.book.want_cancel_all(bench.now);
    assert!(!bench.book.is_flat());
    assert_eq!(bench.errands(), (Vec::new(), one("kept")));
    let asked = bench.now.monotonic;
    bench.hear("kept", status(OrderStatus::Open, "0"), asked);
    assert!(bench.book.is_flat() && !bench.book.has_errands());
    // So it stays while attempts to connect fail.
    bench.lose();
    assert!(bench.book.is_flat());
    assert_eq!(bench.book.get(id("kept")).unwrap().request.on_shutdown, OnShutdown::Keep);
    // A new session wants to hear it for itself.
    bench.book.session_opened();
    assert!(!bench.book.is_flat());
}

#[test]
fn an_answer_over_http_confirms_nothing_to_a_session_that_has_come_up() {
    let mut bench = Bench::open("one");
    bench.lose();
    bench.book.session_opened();
    let asked = bench.now.monotonic;
    bench.hear("one", status(OrderStatus::Open, "0"), asked);
    assert!(!bench.book.is_reconciled());
    assert_eq!(bench.book.session_ready(), [Work::Query(id("one"))]);
}

#[test]
fn the_way_of_the_last_word_is_told() {
    let mut bench = Bench::open("one");
    bench.book.want_cancel_all(bench.now);
    bench.book.begin_cancel(id("one"), bench.now);
    bench.lose();
    bench.now.monotonic += CANCEL;
    assert_eq!(bench.errands().0, one("one"));
    let asked = bench.now.monotonic;
    bench.hear("one", OrderNews::CancelAcknowledged, asked);
    assert_eq!(bench.status("one"), OrderStatus::Open);
    bench.hear("one", status(OrderStatus::Canceled, "4"), asked);
    assert_eq!(bench.status("one"), OrderStatus::Canceled);
    assert_eq!(bench.path("one"), Some(CancelPath::Http));
    assert_eq!(bench.book.get(id("one")).unwrap().filled, quantity("4"));

    let mut bench = Bench::open("one");
    bench.book.want_cancel(id("one"), bench.now);
    bench.book.begin_cancel(id("one"), bench.now);
    bench.lose();
    bench.book.session_opened();
    bench.apply(&event("one", ended(OrderStatus::Canceled)));
    assert_eq!(bench.path("one"), Some(CancelPath::Fresh));
}

#[test]
fn a_fill_that_was_quicker_than_the_cancel_over_http_is_booked() {
    let mut bench = Bench::open("one");
    bench.book.want_cancel(id("one"), bench.now);
    bench.lose();
    bench.errands();
    let asked = bench.now.monotonic;
    let refused = OrderNews::CancelRejected { code: None, reason: "unknown".into(), retry: false };
    bench.hear("one", refused, asked);
    assert_eq!(bench.status("one"), OrderStatus::Open);
    bench.hear("one", status(OrderStatus::Filled, "10"), asked);
    assert_eq!(bench.status("one"), OrderStatus::Filled);
    assert_eq!(bench.book.get(id("one")).unwrap().filled, quantity("10"));
}

#[test]
fn an_order_is_denied_over_http_only_if_it_cannot_be_on_its_way_any_more() {
    let mut bench = Bench::sent("one");
    // The connection still lives: whatever is told elsewhere, the order may be in its buffers.
    let asked = bench.now.monotonic + IN_FLIGHT;
    bench.now.monotonic = asked;
    let refused = OrderNews::CancelRejected { code: None, reason: "unknown".into(), retry: false };
    bench.hear("one", refused, asked);
    bench.hear("one", OrderNews::NotFound, asked);
    assert_eq!(bench.status("one"), OrderStatus::OutcomeUnknown);

    let mut bench = Bench::sent("one");
    bench.lose();
    let early = bench.now.monotonic;
    bench.now.monotonic += IN_FLIGHT;
    // A question that was put meanwhile over a connection does not make an old answer young.
    bench.book.begin_query(id("one"), bench.now).unwrap();
    bench.hear("one", OrderNews::NotFound, early);
    assert_eq!(bench.status("one"), OrderStatus::OutcomeUnknown);
    let late = bench.now.monotonic;
    bench.hear("one", OrderNews::NotFound, late);
    assert_eq!(bench.status("one"), OrderStatus::Rejected);
}

#[test]
fn a_cancel_that_nobody_took_does_not_count() {
    let mut bench = Bench::open("one");
    bench.book.want_cancel(id("one"), bench.now);
    bench.lose();
    bench.errands();
    let attempts = |bench: &Bench| {
        let entry = bench.book.entry(id("one")).unwrap();
        let cancel = entry.cancel.as_ref().unwrap();
        (cancel.attempts, cancel.first_written.is_some())
    };
    assert_eq!(attempts(&bench), (1, true));
    bench.book.cancel_not_written(id("one"));
    assert_eq!(attempts(&bench), (0, false));
}

#[test]
fn a_shutdown_fetches_the_fills_of_what_ended_elsewhere() {
    let mut bench = Bench::open("one");
    bench.book.want_cancel_all(bench.now);
    bench.lose();
    bench.errands();
    let asked = bench.now.monotonic;
    bench.hear("one", status(OrderStatus::Filled, "10"), asked);
    assert!(!bench.book.is_flat() && bench.book.has_errands());
    let wanted = bench.book.begin_errands(8, bench.now).fills;
    assert_eq!(wanted.len(), 1, "at once: no stream will tell them");
    bench.hear("one", fill("1", "10"), asked);
    bench.hear("one", OrderNews::FillsListed, asked);
    assert!(bench.book.is_flat() && !bench.book.has_errands());
}
