use super::*;
use crate::exchange::{MarketSession, Refusal};
use crate::types::TickData;

fn opened() -> (Box<dyn MarketSession>, Vec<Value>) {
    let mut session =
        adapter(false).market_session(symbols(&["BTC-PERPETUAL", "BTC-27DEC24-60000-C"]));
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    assert_eq!(out.events, []);
    (session, written(&out))
}

const LISTED: &str = r#"["trades.BTC-27DEC24-60000-C.100ms","quote.BTC-27DEC24-60000-C","trades.BTC-PERPETUAL.100ms","quote.BTC-PERPETUAL"]"#;

fn quote(fields: &str) -> String {
    format!(
        r#"{{"method":"subscription","params":{{"data":{{"timestamp":1765541767174,"instrument_name":"BTC-PERPETUAL",{fields}}},"channel":"quote.BTC-PERPETUAL"}}}}"#
    )
}

const TRADE: &str = r#"{"timestamp":1765531356452,"price":1234567890.123456789,"amount":21.0,"direction":"buy","instrument_name":"BTC-PERPETUAL","trade_id":"BTC-7"}"#;

fn trades(elements: &str) -> String {
    format!(
        r#"{{"params":{{"data":[{elements}],"channel":"trades.BTC-PERPETUAL.100ms"}},"method":"subscription","jsonrpc":"2.0"}}"#
    )
}

#[test]
fn opening_asks_for_heartbeats_and_subscribes_everything_at_once() {
    let (_, requests) = opened();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["method"], "public/set_heartbeat");
    assert_eq!(requests[0]["params"]["interval"], 30);
    assert_eq!(requests[1]["method"], "public/subscribe");
    let channels = [
        "quote.BTC-PERPETUAL",
        "trades.BTC-PERPETUAL.100ms",
        "quote.BTC-27DEC24-60000-C",
        "trades.BTC-27DEC24-60000-C.100ms",
    ];
    assert_eq!(requests[1]["params"]["channels"], serde_json::json!(channels));
}

#[test]
fn ready_comes_with_the_last_answer_in_whatever_order() {
    let (mut session, requests) = opened();
    let subscribed = answer(&requests[1]["id"], LISTED);
    let request = "public/subscribe 4 channels".to_owned();
    assert_eq!(told(&mut *session, &subscribed), [SessionEvent::Acknowledged { request }]);
    let heartbeats = answer(&requests[0]["id"], "\"ok\"");
    assert_eq!(told(&mut *session, &heartbeats)[1..], [SessionEvent::Ready]);
    // A repeated answer acknowledges nothing again.
    assert_eq!(told(&mut *session, &subscribed).len(), 1);
}

#[test]
fn a_channel_that_is_silently_left_out_refuses_the_session() {
    let (mut session, requests) = opened();
    let short = LISTED.replace(",\"quote.BTC-PERPETUAL\"", "");
    let events = told(&mut *session, &answer(&requests[1]["id"], &short));
    let [SessionEvent::Refused(refusal)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(refusal.reason, "not subscribed: quote.BTC-PERPETUAL");
    assert!(refusal.permanent);
}

#[test]
fn a_refused_subscription_says_whether_it_is_for_good() {
    let refused = |code, message: &str| {
        let (mut session, requests) = opened();
        told(&mut *session, &error(&requests[1]["id"], code, message))
    };
    let expected = |code, reason: &str, permanent| {
        let request = "public/subscribe 4 channels".into();
        let (code, reason) = (Some(code), reason.into());
        SessionEvent::Refused(Refusal { request, code, reason, permanent })
    };
    let raw = "raw_subscriptions_not_available_for_unauthorized";
    assert_eq!(refused(13_778, raw), [expected(13_778, raw, true)]);
    let busy = "temporarily_unavailable";
    assert_eq!(refused(13_028, busy), [expected(13_028, busy, false)]);
}

#[test]
fn unsubscribing_ends_with_its_answer() {
    let (mut session, _) = opened();
    let mut out = Outbox::default();
    session.unsubscribe(&mut out);
    let request = only(&out);
    assert_eq!(request["method"], "public/unsubscribe");
    assert_eq!(request["params"]["channels"].as_array().unwrap().len(), 4);
    let events = told(&mut *session, &answer(&request["id"], LISTED));
    assert_eq!(events[1..], [SessionEvent::Unsubscribed]);
}

#[test]
fn without_instruments_nothing_is_asked_and_all_is_ready() {
    let mut session = adapter(false).market_session(symbols(&[]));
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    session.unsubscribe(&mut out);
    assert_eq!(out.messages, [""; 0]);
    assert_eq!(out.events, [SessionEvent::Ready, SessionEvent::Unsubscribed]);
}

#[test]
fn no_request_is_larger_than_the_exchange_takes() {
    let names: Vec<String> = (0..500).map(|n| format!("BTC_{n:0>16}-{}", "X".repeat(20))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut out = Outbox::default();
    adapter(false).market_session(symbols(&names)).opened(now(), &mut out);
    assert!(out.messages.iter().all(|text| text.len() < 32_000));
    let channels: usize = written(&out)[1..]
        .iter()
        .map(|request| request["params"]["channels"].as_array().unwrap().len())
        .sum();
    assert_eq!(channels, 1000);
}

#[test]
fn a_probe_is_a_test_whose_answer_is_a_sign_of_life() {
    let (mut session, _) = opened();
    let mut out = Outbox::default();
    session.ping(now(), &mut out);
    let request = only(&out);
    assert_eq!(request["method"], "public/test");
    let text = answer(&request["id"], r#"{"version":"1.2.26"}"#);
    assert_eq!(told(&mut *session, &text), [SessionEvent::Pong]);
    let heartbeat = r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}"#;
    assert_eq!(told(&mut *session, heartbeat), [SessionEvent::Heartbeat]);
}

#[test]
fn an_empty_side_of_the_book_is_zero() {
    let (mut session, _) = opened();
    let text = quote(
        r#""best_bid_price":null,"best_bid_amount":0,"best_ask_price":5e-4,"best_ask_amount":1.0"#,
    );
    let out = receive(&mut *session, &text).unwrap();
    let TickData::Quote(quote) = out.ticks[0].data else { panic!("{out:?}") };
    assert!(quote.bid.is_zero() && quote.bid_quantity.is_zero());
    assert_eq!(quote.ask, "0.0005".parse().unwrap());
}

#[test]
fn keys_may_come_in_any_order_and_numbers_keep_their_digits() {
    let (mut session, _) = opened();
    let out = receive(&mut *session, &trades(TRADE)).unwrap();
    let TickData::Trade(trade) = out.ticks[0].data else { panic!("{out:?}") };
    assert_eq!(trade.price.to_string(), "1234567890.123456789");
    assert_eq!((trade.quantity, trade.trade_id), (quantity("21"), 7));
    assert_eq!(trade.taker_side, Side::Buy);
}

#[test]
fn trades_of_another_channel_and_unknown_instruments_are_no_ticks() {
    let (mut session, _) = opened();
    let other = trades(TRADE).replace("trades.BTC-PERPETUAL.100ms", "user.trades.any.any.raw");
    let what = "channel user.trades.any.any.raw".into();
    assert_eq!(told(&mut *session, &other), [SessionEvent::Ignored { what }]);
    let foreign = trades(&TRADE.replace("BTC-PERPETUAL", "ETH-PERPETUAL"));
    let what = "tick of the unknown instrument ETH-PERPETUAL".into();
    assert_eq!(told(&mut *session, &foreign), [SessionEvent::Ignored { what }]);
}

#[test]
fn a_broken_tick_spoils_its_message_and_names_its_key() {
    let whole = r#""best_bid_price":1,"best_bid_amount":1,"best_ask_price":2,"best_ask_amount":1"#;
    let element = |from: &str, to: &str| trades(&format!("{TRADE},{}", TRADE.replace(from, to)));
    let cases = [
        (element("1234567890.123456789", "\"5\""), "`price`"),
        (element("21.0", "0.12345678901234567890123456789"), "`amount`"),
        (element("21.0", "-1"), "`amount`"),
        (element("\"buy\"", "\"hold\""), "`direction` is `hold`"),
        (element("BTC-7", "BTC-seven"), "`trade_id`"),
        (element("1765531356452", "99999999999999999"), "`timestamp`"),
        (element("\"timestamp\":1765531356452,", ""), "`timestamp`"),
        (quote(&whole.replace("\"best_bid_price\":1,", "")), "`best_bid_price` is missing"),
        (quote(&whole.replace(":2,", ":\"2\",")), "`best_ask_price`"),
        (trades("").replace("[]", "{}"), "`data`"),
        (trades(TRADE).replace("\"trades.BTC-PERPETUAL.100ms\"", "7"), "`channel`"),
        (trades(TRADE).replace(",\"channel\":\"trades.BTC-PERPETUAL.100ms\"", ""), "`channel`"),
        ("[]".to_owned(), "JSON-RPC"),
        (String::new(), "EOF"),
    ];
    for (text, expected) in cases {
        let (mut session, _) = opened();
        let mut out = Outbox::default();
        let error = session.received(&text, now(), &mut out).unwrap_err();
        assert!(error.reason.contains(expected), "{text}: {error}");
        assert_eq!((out.ticks, out.events), (vec![], vec![]), "{text}");
    }
}
