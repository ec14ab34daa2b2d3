//! Every recorded message, read in isolation, comes out as what it is; mutilated ones never panic.

use proptest::prelude::*;

use crate::exchange::{Adapter, OrderEvent, OrderNews, Outbox, SessionEvent, TradingRestriction};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Fee, Fill, Liquidity, Quote, Side, TickData, Timestamp, Trade,
};

use super::testing::{NOW, adapter, symbols};

macro_rules! recorded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("testdata/", $name, ".json")))),*]
    };
}

const RECORDED: &[(&str, &str)] = recorded![
    "add_order_ack",
    "add_order_reject",
    "add_order_request_limit_post_only",
    "balances_snapshot",
    "book_snapshot_depth10_checksum",
    "book_update_1_after_snapshot",
    "book_update_2_after_snapshot",
    "cancel_all_orders_after_ack",
    "cancel_all_orders_after_request",
    "cancel_order_ack",
    "cancel_order_request",
    "executions_new",
    "executions_pending_new",
    "executions_subscribe_ack",
    "executions_subscribe_request",
    "executions_trade_full_qty_but_partially_filled",
    "pong",
    "status_on_connect",
    "subscribe_ticker_ack",
    "ticker_update",
    "trade_update_two_trades",
];

fn recorded(name: &str) -> &'static str {
    RECORDED.iter().find(|(known, _)| *known == name).unwrap().1
}

fn on_market(text: &str) -> Outbox {
    let mut out = Outbox::default();
    adapter("").market_session(symbols()).received(text, NOW, &mut out).unwrap();
    out
}

fn on_trading(text: &str) -> Vec<SessionEvent> {
    let mut out = Outbox::default();
    adapter("").trading_session(symbols()).received(text, NOW, &mut out).unwrap();
    assert!(out.ticks.is_empty() && out.messages.is_empty(), "{out:?}");
    out.events
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An event that names an order by the exchange's id alone.
fn order(id: &str, at: &str, news: OrderNews) -> OrderEvent {
    OrderEvent {
        client_id: None,
        exchange_id: Some(ExchangeOrderId::new(id).unwrap()),
        instrument: None,
        request_id: None,
        exchange_time: Some(time(at)),
        news,
    }
}

fn ignored(what: &str) -> SessionEvent {
    SessionEvent::Ignored { what: what.into() }
}

fn acknowledged(request: &str) -> SessionEvent {
    SessionEvent::Acknowledged { request: request.into() }
}

#[test]
fn a_ticker_is_one_quote_with_all_its_digits() {
    let out = on_market(recorded("ticker_update"));
    assert_eq!(out.events, []);
    assert_eq!(out.ticks.len(), 1);
    assert_eq!(out.ticks[0].instrument.as_str(), "kraken:ALGO-USD");
    assert_eq!(out.ticks[0].exchange_time, Some(time("2023-09-25T09:04:31.742648Z")));
    let quote = Quote {
        bid: "0.10025".parse().unwrap(),
        bid_quantity: "740.0".parse().unwrap(),
        ask: "0.10035".parse().unwrap(),
        ask_quantity: "740".parse().unwrap(),
    };
    assert_eq!(out.ticks[0].data, TickData::Quote(quote));
}

#[test]
fn two_trades_of_one_message_are_two_ticks_in_order() {
    let out = on_market(recorded("trade_update_two_trades"));
    assert_eq!(out.events, []);
    let trade = |price: &str, quantity: &str, taker_side, trade_id| {
        let (price, quantity) = (price.parse().unwrap(), quantity.parse().unwrap());
        TickData::Trade(Trade { price, quantity, taker_side, trade_id })
    };
    let data: Vec<_> = out.ticks.iter().map(|tick| tick.data).collect();
    assert_eq!(
        data,
        [
            trade("105944.20", "0.00027625", Side::Buy, 10_218_208),
            trade("105910.50", "0.00012460", Side::Sell, 10_218_209),
        ]
    );
    assert_eq!(out.ticks[1].exchange_time, Some(time("2023-10-06T17:35:56.123456Z")));
}

#[test]
fn the_other_messages_of_the_market_socket_are_what_they_are() {
    let cases = [
        ("status_on_connect", SessionEvent::Restricted(TradingRestriction::None)),
        ("subscribe_ticker_ack", acknowledged("subscribe ticker BTC/USD")),
        ("pong", SessionEvent::Pong),
        ("book_snapshot_depth10_checksum", ignored("channel book")),
        ("book_update_1_after_snapshot", ignored("channel book")),
        ("book_update_2_after_snapshot", ignored("channel book")),
        ("executions_new", ignored("channel executions")),
        ("add_order_ack", ignored("response add_order")),
        ("add_order_reject", ignored("response add_order")),
        ("executions_subscribe_request", ignored("client request subscribe")),
    ];
    for (name, expected) in cases {
        let out = on_market(recorded(name));
        assert_eq!((out.events, out.ticks), (vec![expected], vec![]), "{name}");
    }
}

#[test]
fn the_messages_of_the_trading_socket_are_what_they_are() {
    let cases = [
        ("status_on_connect", SessionEvent::Restricted(TradingRestriction::None)),
        ("pong", SessionEvent::Pong),
        ("cancel_all_orders_after_ack", acknowledged("cancel_all_orders_after")),
        ("balances_snapshot", ignored("channel balances")),
        ("ticker_update", ignored("channel ticker")),
        ("trade_update_two_trades", ignored("channel trade")),
        ("add_order_request_limit_post_only", ignored("client request add_order")),
        ("cancel_order_request", ignored("client request cancel_order")),
        ("cancel_all_orders_after_request", ignored("client request cancel_all_orders_after")),
        ("executions_subscribe_request", ignored("client request subscribe")),
    ];
    for (name, expected) in cases {
        assert_eq!(on_trading(recorded(name)), [expected], "{name}");
    }
    let [acknowledged_first, SessionEvent::LimitsTold(limits)] =
        &on_trading(recorded("executions_subscribe_ack"))[..]
    else {
        panic!("the limits are told");
    };
    assert_eq!(*acknowledged_first, acknowledged("subscribe executions"));
    assert_eq!(limits[0].rule.burst(), 121, "a little below the account's 125");
}

#[test]
fn responses_to_unknown_requests_name_the_order_as_far_as_they_can() {
    let mut placed =
        order("OABCDE-12345-FGHIJ", "2026-05-05T10:00:00.125Z", OrderNews::Acknowledged);
    placed.client_id = Some(ClientOrderId::new("O-20260505-000001").unwrap());
    placed.request_id = Some("42".into());
    assert_eq!(on_trading(recorded("add_order_ack")), [SessionEvent::Order(placed)]);

    let mut canceled =
        order("OLUMT4-UTEGU-ZYM7E9", "2023-09-21T14:36:57.437952Z", OrderNews::CancelAcknowledged);
    canceled.request_id = Some("123456789".into());
    assert_eq!(on_trading(recorded("cancel_order_ack")), [SessionEvent::Order(canceled)]);

    let refused = OrderEvent {
        client_id: None,
        exchange_id: None,
        instrument: None,
        request_id: Some("99".into()),
        exchange_time: Some(time("2026-05-05T10:00:00.125Z")),
        news: OrderNews::Rejected { code: None, reason: "EOrder:Insufficient funds".into() },
    };
    assert_eq!(on_trading(recorded("add_order_reject")), [SessionEvent::Order(refused)]);
}

#[test]
fn execution_reports_are_the_news_of_their_order() {
    const ID: &str = "OK4GJX-KSTLS-7DZZO5";
    let instrument = Some("kraken:BTC-USD".parse().unwrap());

    let taken = order(ID, "2023-09-22T10:33:05.709950Z", OrderNews::Acknowledged);
    assert_eq!(
        on_trading(recorded("executions_pending_new")),
        [SessionEvent::Order(OrderEvent { instrument, ..taken })]
    );

    let opened = order(ID, "2023-09-22T10:33:05.709982Z", OrderNews::Opened);
    assert_eq!(on_trading(recorded("executions_new")), [SessionEvent::Order(opened)]);

    let fill = Fill {
        fill_id: "TGBB7L-HT5LX-J3BZ4A".into(),
        price: "26599.9".parse().unwrap(),
        quantity: "0.005".parse().unwrap(),
        fee: Some(Fee { asset: "USD".into(), amount: "0.3458".parse().unwrap() }),
        liquidity: Some(Liquidity::Taker),
        time: Some(time("2023-09-22T10:33:05.709993Z")),
    };
    let news =
        OrderNews::Filled { fill, cumulative: Some("0.005".parse().unwrap()), completes: false };
    let filled = order(ID, "2023-09-22T10:33:05.709993Z", news);
    assert_eq!(
        on_trading(recorded("executions_trade_full_qty_but_partially_filled")),
        [SessionEvent::Order(OrderEvent { instrument, ..filled })]
    );
}

/// A recorded message with some of its bytes or keys spoilt.
fn mutilated() -> impl Strategy<Value = String> {
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let number = prop::sample::select(vec![
        "0",
        "-1",
        "1e400",
        "1e-400",
        "79228162514264337593543950336",
        "18446744073709551616",
        "0.12345678901234567890123456789",
        "null",
        "\"5\"",
        "[]",
        "{}",
        "true",
        "\"\\ud800\"",
        "\"-9999999-01-01T00:00:00Z\"",
    ]);
    let message = prop::sample::select(RECORDED.to_vec());
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    let swap = prop::option::of((any::<prop::sample::Index>(), number));
    let removed = prop::option::of(any::<prop::sample::Index>());
    (message, flips, cut, swap, removed).prop_map(|((_, text), flips, cut, swap, removed)| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(index) = removed {
            lines.remove(index.index(lines.len()));
        }
        if let Some((index, value)) = swap {
            let line = index.index(lines.len());
            if let Some((key, rest)) = lines[line].split_once(": ") {
                let comma = if rest.ends_with(',') { "," } else { "" };
                lines[line] = format!("{key}: {value}{comma}");
            }
        }
        let mut bytes = lines.join("\n").into_bytes();
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(index) = cut {
            bytes.truncate(index.index(bytes.len()));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn a_mutilated_message_is_read_or_refused_but_never_a_panic(texts in prop::collection::vec(mutilated(), 1..4)) {
        let adapter = adapter("");
        let mut market = adapter.market_session(symbols());
        let mut trading = adapter.trading_session(symbols());
        let mut out = Outbox::default();
        market.opened(NOW, &mut out);
        trading.opened(NOW, &mut out);
        for text in &texts {
            out.clear();
            if let Err(error) = market.received(text, NOW, &mut out) {
                prop_assert!(error.reason.len() <= 2_048, "{error}");
                prop_assert!(out.ticks.is_empty() && out.events.is_empty(), "{out:?}");
            } else {
                prop_assert!(!out.ticks.is_empty() || !out.events.is_empty() || text.contains("data"));
            }
            out.clear();
            if let Err(error) = trading.received(text, NOW, &mut out) {
                prop_assert!(error.reason.len() <= 2_048, "{error}");
            }
        }
    }
}
