use super::*;
use crate::exchange::Refusal;

fn refusal(events: Vec<SessionEvent>) -> Refusal {
    match <[SessionEvent; 1]>::try_from(events) {
        Ok([SessionEvent::Refused(refusal)]) => refusal,
        other => panic!("{other:?}"),
    }
}

fn login() -> (Box<dyn TradingSession>, Value) {
    let mut session = adapter(true).trading_session(known());
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    let request = only(&out);
    assert!(!out.messages[0].contains("AMANDASECRECT"));
    (session, request)
}

#[test]
fn a_login_is_signed_and_asks_for_no_more_than_it_needs() {
    let (_, request) = login();
    assert_eq!(request["method"], "public/auth");
    let params = &request["params"];
    assert_eq!(params["grant_type"], "client_signature");
    assert_eq!(params["client_id"], "AMANDA");
    assert_eq!(params["timestamp"], 1_700_000_000_123_i64);
    assert_eq!(params["nonce"], "1700000000123");
    assert_eq!(params["data"], "");
    assert_eq!(params["signature"].as_str().unwrap().len(), 64);
    assert_eq!(params["scope"], "connection trade:read_write account:read_write");
}

#[test]
fn without_a_key_the_session_is_refused_for_good() {
    let mut out = Outbox::default();
    adapter(false).trading_session(known()).opened(now(), &mut out);
    assert_eq!(out.messages, [""; 0]);
    assert!(refusal(out.events).permanent);
}

#[test]
fn a_refused_login_says_whether_the_key_is_to_blame() {
    let cases = [(13_004, "invalid_credentials", true), (13_028, "temporarily_unavailable", false)];
    for (code, reason, permanent) in cases {
        let (mut session, request) = login();
        let refused = refusal(told(&mut *session, &error(&request["id"], code, reason)));
        let request = "public/auth".to_owned();
        let reason = reason.to_owned();
        assert_eq!(refused, Refusal { request, code: Some(code), reason, permanent });
    }
}

#[test]
fn a_key_without_a_needed_right_is_refused_and_the_right_is_named() {
    for right in ["trade:read_write", "account:read_write"] {
        let (mut session, request) = login();
        let granted = GRANTED.replace(right, &right.replace("read_write", "read"));
        let refused = refusal(told(&mut *session, &answer(&request["id"], &granted)));
        assert!(refused.permanent && refused.reason.contains(right), "{refused:?}");
    }
}

#[test]
fn signs_of_life_are_asked_for_with_the_subscription() {
    let (_, requests) = logged_in();
    let methods: Vec<_> = requests.iter().map(|request| request["method"].clone()).collect();
    assert_eq!(methods, ["public/set_heartbeat", "private/subscribe"]);
    assert_eq!(requests[0]["params"]["interval"], 10);
    assert_eq!(
        requests[1]["params"]["channels"],
        serde_json::json!(["user.orders.any.any.raw", "user.trades.any.any.raw"])
    );
}

#[test]
fn open_orders_are_listed_when_the_stream_runs_and_then_all_is_ready() {
    let (mut session, requests) = logged_in();
    told(&mut *session, &answer(&requests[1]["id"], SUBSCRIBED));
    let out = receive(&mut *session, &answer(&requests[0]["id"], "\"ok\"")).unwrap();
    let request = only(&out);
    assert_eq!(request["method"], "private/get_open_orders");
    let list = r#"[{"order_id":"1","order_state":"open","label":"gw1","amount":20,"filled_amount":10.0},
        {"order_id":"2","order_state":"dreamt"},
        {"order_id":"ETH-SLIS-12","order_state":"untriggered","price":"market_price"}]"#;
    let mut out = Outbox::default();
    let text = answer(&request["id"], list);
    let error = session.received(&text, now(), &mut out).unwrap_err();
    assert!(error.reason.contains("dreamt"), "{error}");
    let status = |status, cumulative| OrderNews::Status { status, cumulative, reason: None };
    assert_eq!(
        out.events,
        [
            news(
                ("gw1", "1"),
                None,
                None,
                None,
                status(OrderStatus::PartiallyFilled, Some(quantity("10")))
            ),
            news(("", "ETH-SLIS-12"), None, None, None, status(OrderStatus::Open, None)),
            SessionEvent::Ready,
        ]
    );
}

#[test]
fn a_private_channel_that_is_silently_left_out_refuses_the_session() {
    let (mut session, requests) = logged_in();
    let text = answer(&requests[1]["id"], r#"["user.trades.any.any.raw"]"#);
    let refused = refusal(told(&mut *session, &text));
    assert_eq!(refused.reason, "not subscribed: user.orders.any.any.raw");
}

#[test]
fn the_right_to_trade_is_renewed_before_it_ends() {
    let mut session = ready();
    let heartbeat = r#"{"method":"heartbeat","params":{"type":"heartbeat"}}"#;
    let mut at = |seconds: i64, text: &str| {
        let mut out = Outbox::default();
        let now = now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        session.received(text, now, &mut out).unwrap();
        out
    };
    assert_eq!(at(719, heartbeat).messages, [""; 0]);
    let request = only(&at(720, heartbeat));
    assert_eq!(request["method"], "public/auth");
    assert_eq!(
        request["params"],
        serde_json::json!({ "grant_type": "refresh_token", "refresh_token": "r" })
    );
    // Once, until the answer brings the next pair.
    assert_eq!(at(730, heartbeat).messages, [""; 0]);
    let next = GRANTED.replace("\"r\"", "\"r2\"");
    assert_eq!(at(731, &answer(&request["id"], &next)).messages, [""; 0]);
    let request = only(&at(731 + 720, heartbeat));
    assert_eq!(request["params"]["refresh_token"], "r2");
    let failed = refusal(at(1500, &error(&request["id"], 13_009, "unauthorized")).events);
    assert!(!failed.permanent, "a new login may succeed");
}
