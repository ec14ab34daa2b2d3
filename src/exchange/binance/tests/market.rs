use std::time::Duration;

use super::*;
use crate::exchange::{ConnectionKind, DeadMansSwitch, MarketSession, MessageRate, Probe, Refusal};
use crate::types::{Side, TickData};

fn opened(pairs: &[&str]) -> (Box<dyn MarketSession>, Outbox) {
    let mut session = adapter(false).market_session(symbols(pairs));
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    (session, out)
}

const SUBSCRIBED: &str = r#"{"result":null,"id":1}"#;

#[test]
fn one_message_subscribes_to_everything_and_its_ack_makes_ready() {
    let (mut session, out) = opened(&["BTC-USDT", "ETH-BTC"]);
    assert!(out.events.is_empty());
    assert_eq!(
        written(&out),
        serde_json::json!({
            "method": "SUBSCRIBE",
            "params": ["btcusdt@trade", "btcusdt@bookTicker", "ethbtc@trade", "ethbtc@bookTicker"],
            "id": 1
        })
    );
    let out = receive(&mut *session, SUBSCRIBED).unwrap();
    let request = "SUBSCRIBE 4 streams".to_owned();
    assert_eq!(out.events, [SessionEvent::Acknowledged { request }, SessionEvent::Ready]);
    // A second ack of the same request is no second readiness.
    let out = receive(&mut *session, SUBSCRIBED).unwrap();
    assert!(!out.events.contains(&SessionEvent::Ready));
}

#[test]
fn a_session_without_instruments_is_ready_at_once() {
    let (mut session, mut out) = opened(&[]);
    assert_eq!((out.events.as_slice(), out.messages.len()), (&[SessionEvent::Ready][..], 0));
    out.clear();
    session.unsubscribe(&mut out);
    assert_eq!(out.events, [SessionEvent::Unsubscribed]);
}

#[test]
fn more_streams_than_a_connection_carries_are_refused_for_good() {
    let pairs: Vec<String> = (0..513).map(|number| format!("A{number}-USDT")).collect();
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let (_, out) = opened(&pairs);
    assert!(out.messages.is_empty());
    let [SessionEvent::Refused(refusal)] = out.events.as_slice() else { panic!("{out:?}") };
    assert!(refusal.permanent && refusal.reason.contains("1024"), "{refusal:?}");
    let (_, out) = opened(&pairs[..512]);
    assert_eq!(written(&out)["params"].as_array().unwrap().len(), 1024);
}

#[test]
fn a_refused_subscription_is_told_in_every_form() {
    let cases = [
        (r#"{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}"#, 4, true),
        (r#"{"code":2,"msg":"Invalid request: bad"}"#, 2, true),
        (r#"{"error":{"code":2,"msg":"Invalid request: bad"}}"#, 2, true),
        (r#"{"id":1,"status":400,"error":{"code":-1121,"msg":"Invalid symbol."}}"#, -1121, true),
        (
            r#"{"id":1,"status":429,"error":{"code":-1003,"msg":"Too many requests."}}"#,
            -1003,
            false,
        ),
    ];
    for (text, code, permanent) in cases {
        let (mut session, _) = opened(&["BTC-USDT"]);
        let out = receive(&mut *session, text).unwrap();
        let [SessionEvent::Refused(Refusal { code: told, permanent: for_good, .. })] =
            out.events.as_slice()
        else {
            panic!("{text}: {out:?}")
        };
        assert_eq!((*told, *for_good), (Some(code), permanent), "{text}");
    }
}

#[test]
fn unsubscribing_is_done_at_its_ack() {
    let (mut session, _) = opened(&["BTC-USDT"]);
    receive(&mut *session, SUBSCRIBED).unwrap();
    let mut out = Outbox::default();
    session.unsubscribe(&mut out);
    let message = written(&out);
    assert_eq!(message["method"], "UNSUBSCRIBE");
    assert_eq!(message["params"], serde_json::json!(["btcusdt@trade", "btcusdt@bookTicker"]));
    let out =
        receive(&mut *session, &format!(r#"{{"result":null,"id":{}}}"#, message["id"])).unwrap();
    assert_eq!(out.events.last(), Some(&SessionEvent::Unsubscribed));
}

#[test]
fn a_tick_is_read_in_both_envelopes_and_both_time_units() {
    let (mut session, _) = opened(&["BTC-USDT"]);
    for text in [
        r#"{"e":"trade","s":"BTCUSDT","t":1,"p":"9","q":"2","T":1700000000123,"m":false}"#,
        r#"{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"9","q":"2","T":1700000000123000,"m":false}}"#,
        r#"{"data":{"e":"trade","s":"BTC\u0055SDT","t":1,"p":"\u0039","q":2,"T":1700000000123,"m":false,"x":{"e":"other"}},"stream":"btcusdt@trade"}"#,
    ] {
        let out = receive(&mut *session, text).unwrap();
        let tick = out.ticks[0];
        assert_eq!(tick.exchange_time, Some(now()), "{text}");
        let TickData::Trade(trade) = tick.data else { panic!("{text}") };
        assert_eq!((trade.taker_side, trade.trade_id), (Side::Buy, 1));
        assert_eq!((trade.price.to_string(), trade.quantity.to_string()), ("9".into(), "2".into()));
    }
    let text = r#"{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"0.1","B":"1","a":"0.2","A":"2"}}"#;
    assert_eq!(receive(&mut *session, text).unwrap().ticks.len(), 1);
}

#[test]
fn a_malformed_tick_names_the_key() {
    let (mut session, _) = opened(&["BTC-USDT"]);
    let trade = r#"{"e":"trade","s":"BTCUSDT","t":1,"p":"9","q":"2","T":1700000000123,"m":false}"#;
    let quote = r#"{"u":1,"s":"BTCUSDT","b":"0.1","B":"1","a":"0.2","A":"2"}"#;
    let cases = [
        (trade, r#""p":"9""#, r#""p":"nine""#, "trade.p"),
        (trade, r#""p":"9""#, r#""p":"0.12345678901234567890123456789""#, "trade.p"),
        (trade, r#""q":"2""#, r#""q":"-2""#, "trade.q"),
        (trade, r#""q":"2","#, "", "trade.q"),
        (trade, r#""t":1"#, r#""t":-1"#, "trade.t"),
        (trade, "1700000000123", "18446744073709551615", "trade.T"),
        (trade, "1700000000123", "99999999999999", "trade.T"),
        (trade, "false", "0", "trade.m"),
        (trade, r#""BTCUSDT""#, "7", "trade.s"),
        (trade, r#""trade""#, "[]", "`e`"),
        (quote, r#""A":"2""#, r#""A":[]"#, "bookTicker.A"),
        (quote, r#""b":"0.1","#, "", "bookTicker.b"),
    ];
    for (text, from, to, key) in cases {
        let text = text.replacen(from, to, 1);
        match receive(&mut *session, &text) {
            Err(error) => assert!(error.reason.contains(key), "{text}: {error}"),
            // The year 5138 is absurd and yet a time.
            Ok(out) => assert!(text.contains("99999999999999") && !out.ticks.is_empty(), "{text}"),
        }
    }
}

#[test]
fn what_nobody_asked_for_is_ignored_by_name() {
    let (mut session, _) = opened(&["BTC-USDT"]);
    let cases = [
        (r#"{"e":"trade","s":"XYZ","t":1,"p":"9","q":"2","T":1,"m":false}"#, "XYZ"),
        (r#"{"stream":"btcusdt@depth5","data":{"lastUpdateId":1,"bids":[],"asks":[]}}"#, "depth5"),
        (r#"{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}"#, "!miniTicker@arr"),
        (r#"{"e":"depthUpdate","s":"BTCUSDT","b":[["1","2"]],"a":[]}"#, "depthUpdate"),
        (r#"[{"e":"trade"}]"#, "list"),
        ("{}", "unknown shape"),
    ];
    for (text, what) in cases {
        let out = receive(&mut *session, text).unwrap();
        let [SessionEvent::Ignored { what: told }] = out.events.as_slice() else {
            panic!("{text}: {out:?}")
        };
        assert!(told.contains(what) && out.ticks.is_empty(), "{text}: {told}");
    }
    for text in ["", "7", "nonsense", r#"{"e":"trade""#] {
        assert!(receive(&mut *session, text).is_err(), "{text}");
    }
}

#[test]
fn the_rules_are_the_documented_ones() {
    let adapter = adapter(false);
    let market = adapter.rules(ConnectionKind::Market);
    assert_eq!(market.url.as_str(), "wss://stream.binance.com:9443/stream");
    let rate = MessageRate { messages: 5, per: Duration::from_secs(1) };
    assert_eq!((market.probe, market.message_rate), (Probe::PingFrame, Some(rate)));
    assert!(market.probe_after.as_secs() > 20 && market.dead_after.as_secs() == 60);
    assert!(market.lifetime.unwrap().as_secs() < 24 * 3600);
    let trading = adapter.rules(ConnectionKind::Trading);
    // The scheme's own port is not written.
    assert_eq!(trading.url.as_str(), "wss://ws-api.binance.com/ws-api/v3");
    assert_eq!(trading.message_rate, None);
    assert_eq!(adapter.dead_mans_switch(), DeadMansSwitch::None);
    assert_eq!(adapter.guess_instrument("ETHUSDT"), Some(instrument("ETH-USDT")));
    assert_eq!(adapter.guess_instrument("nothing"), None);
}
