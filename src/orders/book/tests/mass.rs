//! When one request may cancel all orders, and what becomes of those that it misses.

use super::*;
use crate::exchange::MassCancel;
use crate::types::OnShutdown;

const BOTH: MassCancel = MassCancel { account: true, instrument: true };
const ACCOUNT: MassCancel = MassCancel { account: true, instrument: false };
const INSTRUMENT: MassCancel = MassCancel { account: false, instrument: true };

fn at(name: &str) -> Instrument {
    format!("binance:{name}").parse().unwrap()
}

impl Bench {
    fn place(&mut self, client: &str, instrument: &str, on_shutdown: OnShutdown) {
        let price = "100".parse().unwrap();
        let mut request = NewOrder::limit(at(instrument), Side::Buy, price, quantity("10"));
        request.on_shutdown = on_shutdown;
        self.book.insert(id(client), request, self.now);
        self.book.begin_write(id(client), self.now).unwrap();
    }

    fn rest(&mut self, client: &str, instrument: &str) {
        self.place(client, instrument, OnShutdown::Cancel);
        self.apply(&event(client, OrderNews::Opened));
    }

    /// Two orders on one instrument and one on another.
    fn three() -> Self {
        let mut bench = Self::new();
        bench.rest("a", "BTC-USDT");
        bench.rest("b", "BTC-USDT");
        bench.rest("c", "ETH-USDT");
        bench
    }

    /// What a shutdown writes.
    fn shutdown(&mut self, has: MassCancel) -> Vec<Work> {
        let mut effects = self.book.want_cancel_all(self.now);
        self.book.gather_cancels(None, has, &mut effects);
        effects.work
    }

    /// What the cancel of one instrument's orders writes.
    fn empty(&mut self, instrument: &str, has: MassCancel) -> Vec<Work> {
        let mut all = Effects::default();
        let orders: Vec<_> = self.book.unfinished().cloned().collect();
        for order in orders.iter().filter(|order| order.instrument() == at(instrument)) {
            all.work.extend(self.book.want_cancel(order.client_id, self.now).work);
        }
        self.book.gather_cancels(Some(at(instrument)), has, &mut all);
        all.work
    }
}

fn cancels(clients: &[&str]) -> Vec<Work> {
    clients.iter().map(|client| Work::Cancel(id(client))).collect()
}

/// An order of somebody else, on an instrument that is told or not.
fn stranger(client: Option<&str>, instrument: Option<&str>, news: OrderNews) -> OrderEvent {
    let client_id = client.map(id);
    OrderEvent { client_id, instrument: instrument.map(at), ..event("S", news) }
}

#[test]
fn one_request_stands_for_all_cancels_of_its_scope() {
    let (all, btc) = (Work::CancelAll(None), Work::CancelAll(Some(at("BTC-USDT"))));
    let single = Work::Cancel(id("c"));
    assert_eq!(Bench::three().shutdown(BOTH), [all]);
    assert_eq!(Bench::three().shutdown(ACCOUNT), [all]);
    // One order alone is cancelled by itself.
    assert_eq!(Bench::three().shutdown(INSTRUMENT), [btc, single]);
    assert_eq!(Bench::three().shutdown(MassCancel::NONE), cancels(&["a", "b", "c"]));
    assert_eq!(Bench::three().empty("BTC-USDT", BOTH), [btc]);
    assert_eq!(Bench::three().empty("BTC-USDT", ACCOUNT), cancels(&["a", "b"]));
    assert_eq!(Bench::three().empty("ETH-USDT", BOTH), cancels(&["c"]));
}

#[test]
fn whatever_else_may_be_open_in_the_scope_forbids_it() {
    let foreign = |instrument| stranger(None, instrument, OrderNews::Opened);
    let leftover = |instrument| stranger(Some("gw9"), instrument, OrderNews::Opened);
    let unreadable = OrderNews::Unreadable { reason: "odd".into() };
    // With whether each forbids it on the other instrument too.
    let strangers = [
        ("foreign", foreign(Some("BTC-USDT")), false),
        ("foreign somewhere", foreign(None), true),
        ("leftover", leftover(Some("BTC-USDT")), false),
        ("leftover somewhere", leftover(None), true),
        ("unreadable", stranger(None, Some("BTC-USDT"), unreadable), true),
    ];
    for (name, stranger, anywhere) in strangers {
        let told = || {
            let mut bench = Bench::three();
            bench.rest("d", "ETH-USDT");
            bench.apply(&stranger);
            bench
        };
        assert_eq!(told().shutdown(BOTH), cancels(&["a", "b", "c", "d"]), "{name}");
        assert_eq!(told().shutdown(INSTRUMENT), cancels(&["a", "b", "c", "d"]), "{name}");
        assert_eq!(told().empty("BTC-USDT", BOTH), cancels(&["a", "b"]), "{name}");
        let elsewhere = told().empty("ETH-USDT", BOTH);
        assert_eq!(elsewhere.len(), if anywhere { 2 } else { 1 }, "{name}: {elsewhere:?}");
    }
    let mut ended = Bench::three();
    ended.apply(&foreign(Some("BTC-USDT")));
    ended.apply(&stranger(None, Some("BTC-USDT"), super::ended(OrderStatus::Canceled)));
    assert_eq!(ended.shutdown(BOTH), [Work::CancelAll(None)], "the stranger's order has ended");
}

#[test]
fn a_message_that_cannot_be_read_forbids_it_until_the_next_session() {
    let mut bench = Bench::three();
    bench.book.lose_sight();
    assert_eq!(bench.shutdown(BOTH), cancels(&["a", "b", "c"]));
    bench.book.session_opened();
    for client in ["a", "b", "c"] {
        bench.apply(&event(client, status(OrderStatus::Open, "0")));
    }
    let mut effects = Effects { changes: Vec::new(), work: bench.book.session_ready() };
    bench.book.gather_cancels(None, BOTH, &mut effects);
    assert_eq!(effects.work, [Work::CancelAll(None)], "wanted cancels are gathered again");
}

#[test]
fn an_order_that_is_not_to_be_cancelled_forbids_it() {
    let mut kept = Bench::three();
    kept.place("k", "ETH-USDT", OnShutdown::Keep);
    assert_eq!(kept.shutdown(BOTH)[..3], cancels(&["a", "b", "c"])[..]);
    let mut elsewhere = Bench::three();
    elsewhere.place("k", "ETH-USDT", OnShutdown::Keep);
    let btc = Work::CancelAll(Some(at("BTC-USDT")));
    assert_eq!(elsewhere.empty("BTC-USDT", BOTH), [btc], "it is kept on another instrument");
    let mut inside = Bench::three();
    inside.place("k", "BTC-USDT", OnShutdown::Keep);
    assert_eq!(inside.empty("BTC-USDT", BOTH), cancels(&["a", "b", "k"]));
}

#[test]
fn it_counts_as_a_cancel_of_each_order_and_is_believed_no_more() {
    let mut bench = Bench::three();
    bench.shutdown(BOTH);
    let orders = bench.book.begin_mass_cancel(None, bench.now).unwrap();
    assert_eq!(orders.len(), 3);
    let attempts = |bench: &Bench, client| {
        bench.book.entry(id(client)).unwrap().cancel.as_ref().unwrap().attempts
    };
    assert_eq!(attempts(&bench, "a"), 1);
    bench.apply(&event("a", ended(OrderStatus::Canceled)));
    assert_eq!(bench.book.due(bench.now), Effects::default(), "an answer has its time");
    assert!(!bench.book.is_flat());
    // No more was heard: the others are asked about and cancelled singly.
    bench.now.monotonic += CANCEL;
    let due = bench.book.due(bench.now).work;
    let each = |client| [Work::Query(id(client)), Work::Cancel(id(client))];
    assert_eq!(due, [each("b"), each("c")].concat());
    bench.book.begin_cancel(id("b"), bench.now);
    assert_eq!(attempts(&bench, "b"), 2);
}

#[test]
fn an_order_that_it_overtook_is_cancelled_when_it_shows_up() {
    let shown: [(&str, OrderNews); 4] = [
        ("acknowledged", OrderNews::Acknowledged),
        ("opened", OrderNews::Opened),
        ("filled in part", fill("1", "1")),
        ("found", status(OrderStatus::Open, "0")),
    ];
    for (name, news) in shown {
        let mut bench = Bench::three();
        bench.place("late", "BTC-USDT", OnShutdown::Cancel);
        assert_eq!(bench.shutdown(BOTH), [Work::CancelAll(None)]);
        bench.book.begin_mass_cancel(None, bench.now).unwrap();
        assert_eq!(bench.apply(&event("late", news)).work, cancels(&["late"]), "{name}");
        assert_eq!(bench.apply(&event("a", OrderNews::Opened)).work, [], "{name}: it was there");
    }
}

#[test]
fn what_has_come_up_before_it_is_written_turns_it_into_single_cancels() {
    let foreign = stranger(None, Some("BTC-USDT"), OrderNews::Opened);
    let mut bench = Bench::three();
    assert_eq!(bench.shutdown(BOTH), [Work::CancelAll(None)]);
    bench.apply(&foreign);
    assert_eq!(bench.book.begin_mass_cancel(None, bench.now), Err(cancels(&["a", "b", "c"])));

    // An order that was placed since and is not meant.
    let mut bench = Bench::three();
    bench.empty("BTC-USDT", BOTH);
    bench.place("new", "BTC-USDT", OnShutdown::Cancel);
    let scope = Some(at("BTC-USDT"));
    assert_eq!(bench.book.begin_mass_cancel(scope, bench.now), Err(cancels(&["a", "b"])));

    // One that is not written yet is not on the exchange.
    let mut bench = Bench::three();
    bench.empty("BTC-USDT", BOTH);
    bench.insert("new");
    assert_eq!(bench.book.begin_mass_cancel(scope, bench.now).map(|orders| orders.len()), Ok(2));

    let mut bench = Bench::three();
    bench.shutdown(BOTH);
    for client in ["a", "b"] {
        bench.apply(&event(client, ended(OrderStatus::Canceled)));
    }
    assert_eq!(bench.book.begin_mass_cancel(None, bench.now), Err(cancels(&["c"])));
}
