use serde_json::json;

use super::*;
use crate::exchange::{MassCancel, Refusal};
use crate::types::{Liquidity, Side};

const OURS: &str = "gw00000001";

fn limit() -> NewOrder {
    let price = "50000.10".parse().unwrap();
    NewOrder::limit(instrument("BTC-USDT"), Side::Buy, price, quantity("0.00100"))
}

type Command = fn(&mut dyn TradingSession, &Order, &mut Outbox);

fn submit(session: &mut dyn TradingSession, order: &Order, out: &mut Outbox) {
    session.submit(order, now(), out);
}

fn cancel(session: &mut dyn TradingSession, order: &Order, out: &mut Outbox) {
    session.cancel(order, now(), out);
}

fn query(session: &mut dyn TradingSession, order: &Order, out: &mut Outbox) {
    session.query(order, now(), out);
}

/// Gives a command in a ready session, answers it, and returns the events of the answer.
/// What is said of the order; what is said of the rate is told elsewhere.
fn dialogue(command: Command, answer: &str) -> Vec<SessionEvent> {
    let mut events = everything(command, answer);
    events.retain(|event| !matches!(event, SessionEvent::RateLimited { .. }));
    events
}

fn everything(command: Command, answer: &str) -> Vec<SessionEvent> {
    let (mut session, id) = ready();
    let mut out = Outbox::default();
    command(&mut *session, &order(limit()), &mut out);
    assert_eq!(written(&out)["id"], id);
    assert!(out.events.is_empty() && out.requests.is_empty());
    receive(&mut *session, &answer.replace("ID", &id.to_string())).unwrap().events
}

fn ours(exchange_id: Option<&str>, at: Option<Timestamp>, what: OrderNews) -> SessionEvent {
    // The id that the first command of a ready session has.
    news((OURS, exchange_id), Some("BTC-USDT"), Some("3"), at, what)
}

fn error(status: u16, code: i64, msg: &str) -> String {
    format!(r#"{{"id":ID,"status":{status},"error":{{"code":{code},"msg":"{msg}"}}}}"#)
}

#[test]
fn the_private_stream_is_up_before_the_open_orders_are_listed() {
    let mut session = adapter(true).trading_session(known());
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    let subscribe = written(&out);
    assert_eq!(subscribe["method"], "userDataStream.subscribe.signature");
    assert_eq!(subscribe["params"]["apiKey"], API_KEY);
    assert_eq!(subscribe["params"]["timestamp"], now().as_millisecond());
    let answer = json!({"id": subscribe["id"], "status": 200, "result": {"subscriptionId": 0}});
    let out = receive(&mut *session, &answer.to_string()).unwrap();
    let list = written(&out);
    assert_eq!(list["method"], "openOrders.status");
    assert_eq!(list["params"].get("symbol"), None);
    assert!(!out.events.contains(&SessionEvent::Ready));

    let answer = json!({"id": list["id"], "status": 200, "result": [
        {"symbol": "BTCUSDT", "orderId": 7, "clientOrderId": OURS, "executedQty": "0.0", "status": "NEW", "updateTime": 1_700_000_000_000_i64},
        {"symbol": "XYZUSDT", "orderId": 8, "clientOrderId": "", "executedQty": "1.5", "status": "PARTIALLY_FILLED", "updateTime": 1_700_000_000_000_i64},
    ]});
    let out = receive(&mut *session, &answer.to_string()).unwrap();
    let at = Some(time(1_700_000_000_000));
    let status = |status, filled| OrderNews::Status {
        status,
        cumulative: Some(quantity(filled)),
        reason: None,
    };
    assert_eq!(
        out.events,
        [
            news(
                (OURS, Some("7")),
                Some("BTC-USDT"),
                Some("2"),
                at,
                status(OrderStatus::Open, "0")
            ),
            news(("", Some("8")), None, Some("2"), at, status(OrderStatus::PartiallyFilled, "1.5")),
            SessionEvent::Acknowledged { request: "openOrders.status".into() },
            SessionEvent::Ready,
        ]
    );
}

#[test]
fn an_unreadable_line_of_the_list_is_told_and_does_not_keep_trading_from_starting() {
    let mut session = adapter(true).trading_session(known());
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    let id = &written(&out)["id"];
    let subscribed = json!({"id": id, "status": 200, "result": {"subscriptionId": 0}});
    let list = written(&receive(&mut *session, &subscribed.to_string()).unwrap());
    let line = |id: u64, status: &str| json!({"symbol": "BTCUSDT", "orderId": id, "clientOrderId": OURS, "executedQty": "0.0", "status": status});
    let answer = json!({"id": list["id"], "status": 200, "result": [
        {"symbol": "BTCUSDT", "status": "NEW"}, "odd", line(7, "ASLEEP"), line(8, "NEW"),
    ]});
    let mut out = Outbox::default();
    let error = session.received(&answer.to_string(), now(), &mut out).unwrap_err();
    assert!(error.reason.contains("executedQty"), "the first fault is told: {error}");
    let [SessionEvent::Order(odd), SessionEvent::Order(good), _, ready] = out.events.as_slice()
    else {
        panic!("{out:?}")
    };
    assert_eq!(odd.client_id, Some(client_id(OURS)));
    let reason = "`status` is the unknown status `ASLEEP`".to_owned();
    assert_eq!(odd.news, OrderNews::Unreadable { reason });
    assert!(matches!(good.news, OrderNews::Status { status: OrderStatus::Open, .. }), "{good:?}");
    assert_eq!(*ready, SessionEvent::Ready);
}

#[test]
fn an_unreadable_answer_to_a_question_is_a_question_that_failed() {
    let (mut session, id) = ready();
    session.query(&order(limit()), now(), &mut Outbox::default());
    let mut out = Outbox::default();
    let answer = json!({"id": id, "status": 200, "result": {"orderId": 7, "status": "ASLEEP"}});
    session.received(&answer.to_string(), now(), &mut out).unwrap_err();
    let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
    assert_eq!(event.client_id, Some(client_id(OURS)));
    assert!(matches!(&event.news, OrderNews::QueryFailed { reason } if reason.contains("ASLEEP")));
}

#[test]
fn a_refused_login_is_permanent_only_if_trying_again_is_pointless() {
    let cases = [
        (401, -2015, true),
        (400, -2014, true),
        (400, -1022, true),
        (400, -1021, false),
        (429, -1003, false),
        (503, -1000, false),
    ];
    for (status, code, permanent) in cases {
        let mut session = adapter(true).trading_session(known());
        let mut out = Outbox::default();
        session.opened(now(), &mut out);
        let text = error(status, code, "No.").replace("ID", "1");
        let out = receive(&mut *session, &text).unwrap();
        let request = "userDataStream.subscribe.signature".to_owned();
        let refusal = Refusal { request, code: Some(code), reason: "No.".into(), permanent };
        assert_eq!(out.events, [SessionEvent::Refused(refusal)], "{code}");
    }
}

#[test]
fn without_a_key_nothing_is_written() {
    let mut session = adapter(false).trading_session(known());
    let mut out = Outbox::default();
    session.opened(now(), &mut out);
    let [SessionEvent::Refused(refusal)] = out.events.as_slice() else { panic!("{out:?}") };
    assert!(refusal.permanent && refusal.reason.contains("API key"), "{refusal:?}");
    out.clear();
    session.submit(&order(limit()), now(), &mut out);
    assert!(out.messages.is_empty());
    let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
    assert!(matches!(event.news, OrderNews::Rejected { .. }), "{event:?}");
}

#[test]
fn a_key_that_dies_mid_session_ends_it_for_good() {
    let (mut session, _) = ready();
    let text = r#"{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}"#;
    let out = receive(&mut *session, text).unwrap();
    let [SessionEvent::Refused(refusal)] = out.events.as_slice() else { panic!("{out:?}") };
    assert!(refusal.permanent && refusal.code == Some(-2015), "{refusal:?}");
}

#[test]
fn every_kind_of_order_is_written_as_documented() {
    let market = NewOrder::market(instrument("BTC-USDT"), Side::Sell, quantity("0.00100"));
    let cases = [
        (
            limit(),
            json!({"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000.1"}),
        ),
        (
            limit().immediate_or_cancel(),
            json!({"side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "price": "50000.1"}),
        ),
        (limit().post_only(), json!({"side": "BUY", "type": "LIMIT_MAKER", "price": "50000.1"})),
        (market, json!({"side": "SELL", "type": "MARKET"})),
    ];
    for (request, mut expected) in cases {
        let (mut session, _) = ready();
        let mut out = Outbox::default();
        session.submit(&order(request), now(), &mut out);
        let message = written(&out);
        assert_eq!(message["method"], "order.place");
        let mut params = message["params"].clone();
        let signature = params.as_object_mut().unwrap().remove("signature").unwrap();
        assert_eq!(signature.as_str().unwrap().len(), 64);
        for (name, value) in [
            ("symbol", json!("BTCUSDT")),
            ("quantity", json!("0.001")),
            ("newClientOrderId", json!(OURS)),
            ("newOrderRespType", json!("ACK")),
            ("returnRateLimits", json!(false)),
            ("apiKey", json!(API_KEY)),
            ("recvWindow", json!(5000)),
            ("timestamp", json!(now().as_millisecond())),
        ] {
            expected[name] = value;
        }
        assert_eq!(params, expected, "{request:?}");
    }
}

#[test]
fn the_written_bytes_verify_against_their_signature() {
    let (mut session, _) = ready();
    let mut out = Outbox::default();
    session.submit(&order(limit()), now(), &mut out);
    let message = written(&out);
    // What a server does: all of `params` but the signature, by name, as printed.
    let mut pairs: Vec<(String, String)> = message["params"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, value)| {
            (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })
        .collect();
    pairs.sort();
    let payload: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, API_SECRET.as_bytes());
    let signature = message["params"]["signature"].as_str().unwrap();
    let bytes: Vec<u8> = (0..signature.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap())
        .collect();
    ring::hmac::verify(&key, payload.join("&").as_bytes(), &bytes).unwrap();
}

#[test]
fn a_cancel_and_a_query_name_the_order_by_its_own_id() {
    for (command, method) in [(cancel as Command, "order.cancel"), (query, "order.status")] {
        let (mut session, _) = ready();
        let mut out = Outbox::default();
        command(&mut *session, &order(limit()), &mut out);
        let message = written(&out);
        assert_eq!(message["method"], method);
        assert_eq!(message["params"]["symbol"], "BTCUSDT");
        assert_eq!(message["params"]["origClientOrderId"], OURS);
        // An instrument that is no longer configured: the order must be reachable all the same.
        let gone = NewOrder::market(instrument("GONE-USDT"), Side::Buy, quantity("1"));
        out.clear();
        command(&mut *session, &order(gone), &mut out);
        assert_eq!(written(&out)["params"]["symbol"], "GONEUSDT");
    }
}

#[test]
fn an_answered_order_is_acknowledged_rejected_or_unknown() {
    let ack = r#"{"id":ID,"status":200,"result":{"symbol":"BTCUSDT","orderId":7,"orderListId":-1,"clientOrderId":"gw00000001","transactTime":1700000000500}}"#;
    assert_eq!(
        dialogue(submit, ack),
        [ours(Some("7"), Some(time(1_700_000_000_500)), OrderNews::Acknowledged)]
    );
    for (status, code, msg) in [
        (400, -2010, "Account has insufficient balance for requested action."),
        (400, -2010, "Order would immediately match and take."),
        (400, -1013, "Filter failure: PRICE_FILTER"),
        (400, -1021, "Timestamp for this request is outside of the recvWindow."),
        (429, -1015, "Too many new orders."),
        (418, -1003, "Way too much request weight used; IP banned."),
    ] {
        let rejected = OrderNews::Rejected { code: Some(code), reason: msg.into() };
        let events = dialogue(submit, &error(status, code, msg));
        assert_eq!(events, [ours(None, None, rejected)], "{code} {msg}");
    }
    for (status, code, msg) in [
        (400, -1006, "An unexpected response was received from the message bus."),
        (408, -1007, "Timeout waiting for response from backend server."),
        (503, -1008, "Server is currently overloaded."),
        (500, -1000, "An unknown error occurred."),
        // The exchange holds an open order with this id: it may well be this one.
        (400, -2010, "Duplicate order sent."),
    ] {
        let unknown = OrderNews::OutcomeUnknown { reason: msg.into() };
        let events = dialogue(submit, &error(status, code, msg));
        assert_eq!(events, [ours(None, None, unknown)], "{code} {msg}");
    }
    let events = dialogue(submit, r#"{"id":ID,"status":502}"#);
    let reason = "status 502 without a reason".to_owned();
    assert_eq!(events, [ours(None, None, OrderNews::OutcomeUnknown { reason })]);
}

#[test]
fn an_answered_cancel_is_no_end_before_the_private_stream_says_so() {
    let ack = r#"{"id":ID,"status":200,"result":{"symbol":"BTCUSDT","origClientOrderId":"gw00000001","orderId":7,"clientOrderId":"server-made","transactTime":1700000000500,"executedQty":"0.00040","status":"CANCELED"}}"#;
    let at = Some(time(1_700_000_000_500));
    assert_eq!(dialogue(cancel, ack), [ours(Some("7"), at, OrderNews::CancelAcknowledged)]);
}

#[test]
fn too_many_requests_say_until_when_new_orders_have_to_wait() {
    let banned = r#"{"id":ID,"status":418,"error":{"code":-1003,"msg":"IP banned.","data":{"serverTime":1659142907531,"retryAfter":1659146400000}}}"#;
    let until = Some(time(1_659_146_400_000));
    assert_eq!(everything(submit, banned)[0], SessionEvent::RateLimited { until });
    let unnamed = everything(cancel, &error(429, -1015, "Too many new orders."));
    assert_eq!(unnamed[0], SessionEvent::RateLimited { until: None });
    assert_eq!(everything(submit, &error(400, -2010, "No.")).len(), 1);
}

#[test]
fn a_refused_cancel_says_whether_to_try_again() {
    for (status, code, retry) in [
        (400, -2011, false),
        (400, -1121, false),
        (429, -1003, true),
        (418, -1003, true),
        (429, -1015, true),
        (400, -1006, true),
        (400, -1007, true),
        (400, -1021, true),
        (503, -1008, true),
    ] {
        let rejected = OrderNews::CancelRejected { code: Some(code), reason: "No.".into(), retry };
        let events = dialogue(cancel, &error(status, code, "No."));
        assert_eq!(events, [ours(None, None, rejected)], "{code}");
    }
}

#[test]
fn a_query_is_answered_with_the_status_not_found_or_failure() {
    for (word, status) in [
        ("NEW", OrderStatus::Open),
        ("PARTIALLY_FILLED", OrderStatus::PartiallyFilled),
        ("FILLED", OrderStatus::Filled),
        ("CANCELED", OrderStatus::Canceled),
        ("REJECTED", OrderStatus::Rejected),
        ("EXPIRED", OrderStatus::Expired),
        ("EXPIRED_IN_MATCH", OrderStatus::Expired),
    ] {
        let answer = r#"{"id":ID,"status":200,"result":{"symbol":"BTCUSDT","orderId":7,"clientOrderId":"other","executedQty":"0.0003","status":"WORD","updateTime":1700000000500}}"#;
        let told = OrderNews::Status { status, cumulative: Some(quantity("0.0003")), reason: None };
        assert_eq!(
            dialogue(query, &answer.replace("WORD", word)),
            [ours(Some("7"), Some(time(1_700_000_000_500)), told)],
            "{word}"
        );
    }
    assert_eq!(
        dialogue(query, &error(400, -2013, "Order does not exist.")),
        [ours(None, None, OrderNews::NotFound)]
    );
    for (status, code) in [(429, -1003), (400, -2026), (500, -1000)] {
        let failed = OrderNews::QueryFailed { reason: "No.".into() };
        assert_eq!(dialogue(query, &error(status, code, "No.")), [ours(None, None, failed)]);
    }
}

#[test]
fn answers_in_any_order_find_their_requests_once() {
    let (mut session, id) = ready();
    let mut out = Outbox::default();
    session.submit(&order(limit()), now(), &mut out);
    session.cancel(&order(limit()), now(), &mut out);
    assert_eq!(out.messages.len(), 2);
    let text = error(400, -2011, "Unknown order sent.").replace("ID", &(id + 1).to_string());
    let out = receive(&mut *session, &text).unwrap();
    let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
    assert_eq!(event.client_id, Some(client_id(OURS)));
    // The same answer again is nobody's: it names no order.
    let out = receive(&mut *session, &text).unwrap();
    let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
    assert_eq!((event.client_id, event.request_id.clone()), (None, Some((id + 1).to_string())));
}

#[test]
fn the_memory_of_requests_is_bounded_and_forgets_the_oldest() {
    let (mut session, id) = ready();
    let mut out = Outbox::default();
    for _ in 0..=16_384 {
        session.query(&order(limit()), now(), &mut out);
        out.clear();
    }
    let remembered = |session: &mut dyn TradingSession, id: u64| {
        let text = error(400, -2013, "Order does not exist.").replace("ID", &id.to_string());
        let out = receive(session, &text).unwrap();
        let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
        event.client_id.is_some()
    };
    assert!(!remembered(&mut *session, id));
    assert!(remembered(&mut *session, id + 1));
    assert!(remembered(&mut *session, id + 16_384));
}

fn report(changes: &[(&str, Value)]) -> Result<Outbox, DecodeError> {
    let mut out = Outbox::default();
    report_into(changes, &mut out).map(|()| out)
}

fn report_into(changes: &[(&str, Value)], out: &mut Outbox) -> Result<(), DecodeError> {
    let mut event: Value = serde_json::from_str(fixture("user_execution_report_new")).unwrap();
    for (key, value) in changes {
        event["event"][*key] = value.clone();
    }
    let (mut session, _) = ready();
    session.received(&event.to_string(), now(), out)
}

fn told(changes: &[(&str, Value)]) -> Vec<OrderEvent> {
    let out = report(changes).unwrap();
    let orders = out.events.into_iter().map(|event| match event {
        SessionEvent::Order(order) => order,
        other => panic!("{other:?}"),
    });
    orders.collect()
}

#[test]
fn a_cancelled_order_is_known_by_its_own_id_and_not_by_the_cancels() {
    let changes = [
        ("x", json!("CANCELED")),
        ("X", json!("CANCELED")),
        ("c", json!("server-made")),
        ("C", json!(OURS)),
        ("z", json!("0.25")),
    ];
    let events = told(&changes);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].client_id, Some(client_id(OURS)));
    let ended = OrderNews::Ended {
        status: OrderStatus::Canceled,
        cumulative: Some(quantity("0.25")),
        reason: None,
    };
    assert_eq!(events[0].news, ended);
}

#[test]
fn a_partial_fill_is_a_fill_and_no_end() {
    let changes = [
        ("x", json!("TRADE")),
        ("X", json!("PARTIALLY_FILLED")),
        ("l", json!("0.4")),
        ("L", json!("0.1026441")),
        ("z", json!("0.6")),
        ("t", json!(8_675_309)),
    ];
    let events = told(&changes);
    assert_eq!(events.len(), 1);
    let OrderNews::Filled { fill, cumulative, completes } = &events[0].news else {
        panic!("{events:?}")
    };
    assert_eq!((fill.fill_id.as_str(), fill.quantity), ("8675309", quantity("0.4")));
    assert_eq!((fill.fee.as_ref(), fill.liquidity), (None, Some(Liquidity::Taker)));
    assert_eq!((*cumulative, *completes), (Some(quantity("0.6")), false));
}

#[test]
fn every_end_is_told_with_its_reason() {
    let cases = [
        ("REJECTED", "REJECTED", "r", "INSUFFICIENT_BALANCES", OrderStatus::Rejected),
        ("EXPIRED", "EXPIRED", "eR", "UNFILLED_IOC_QUANTITY_EXPIRED", OrderStatus::Expired),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", "V", "EXPIRE_TAKER", OrderStatus::Expired),
    ];
    for (execution, status, key, reason, expected) in cases {
        let changes = [("x", json!(execution)), ("X", json!(status)), (key, json!(reason))];
        let events = told(&changes);
        let [OrderEvent { news: OrderNews::Ended { status, reason: told, .. }, .. }] =
            events.as_slice()
        else {
            panic!("{events:?}")
        };
        assert_eq!(*status, expected);
        let reason = if key == "V" { "self-trade prevention" } else { reason };
        assert_eq!(told.as_deref(), Some(reason));
    }
}

#[test]
fn an_order_that_changes_on_the_book_stays_open() {
    for (execution, status, expected) in [
        ("NEW", "PENDING_NEW", OrderNews::Acknowledged),
        ("REPLACED", "PARTIALLY_FILLED", OrderNews::Opened),
        ("TRADE_PREVENTION", "NEW", OrderNews::Opened),
    ] {
        let events = told(&[("x", json!(execution)), ("X", json!(status))]);
        assert_eq!(events[0].news, expected, "{execution} {status}");
    }
}

#[test]
fn a_foreign_id_that_does_not_fit_leaves_the_exchanges_own() {
    let events = told(&[("c", json!("an id with blanks"))]);
    assert_eq!(events[0].client_id, None);
    assert_eq!(events[0].exchange_id, Some(ExchangeOrderId::new("4293153").unwrap()));
}

#[test]
fn a_malformed_report_names_the_key() {
    for (key, value) in [
        ("z", json!("x")),
        ("z", json!("-1")),
        ("i", json!(-1)),
        ("T", json!("soon")),
        ("X", json!("SOMETHING_NEW")),
        ("s", json!(null)),
    ] {
        let error = report(&[(key, value.clone())]).unwrap_err();
        assert!(error.reason.contains(&format!("executionReport.{key}")), "{key} {value}: {error}");
    }
    let trade = [("x", json!("TRADE")), ("X", json!("FILLED"))];
    let error = report(&trade).unwrap_err();
    assert!(error.reason.contains("executionReport.t"), "a trade without a trade id: {error}");
}

#[test]
fn a_malformed_report_asks_for_its_order_and_without_ids_for_all() {
    for (key, value) in [("X", json!("SOMETHING_NEW")), ("z", json!(null)), ("i", json!("x"))] {
        let mut out = Outbox::default();
        let changes = [("c", json!(OURS)), (key, value)];
        let error = report_into(&changes, &mut out).unwrap_err();
        let [SessionEvent::Order(event)] = out.events.as_slice() else { panic!("{out:?}") };
        assert_eq!(event.client_id, Some(client_id(OURS)), "{key}");
        assert_eq!(event.news, OrderNews::Unreadable { reason: error.reason });
    }
    let mut out = Outbox::default();
    report_into(&[("c", json!(null)), ("i", json!(null))], &mut out).unwrap_err();
    assert!(matches!(out.events.as_slice(), [SessionEvent::UpdatesLost { .. }]), "{out:?}");
}

#[test]
fn the_end_of_the_stream_and_of_the_server_are_told() {
    let (mut session, _) = ready();
    let text = r#"{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1728973001334}}"#;
    let out = receive(&mut *session, text).unwrap();
    assert!(matches!(out.events.as_slice(), [SessionEvent::UpdatesLost { .. }]), "{out:?}");
    let text = r#"{"event":{"e":"serverShutdown","E":1770123456789}}"#;
    let out = receive(&mut *session, text).unwrap();
    assert!(matches!(out.events.as_slice(), [SessionEvent::ClosingSoon { .. }]), "{out:?}");
    for name in ["balanceUpdate", "listStatus", "externalLockUpdate", "newlyInvented"] {
        let text = format!(r#"{{"subscriptionId":0,"event":{{"e":"{name}"}}}}"#);
        let out = receive(&mut *session, &text).unwrap();
        assert_eq!(out.events, [SessionEvent::Ignored { what: format!("event {name}") }]);
    }
}

#[test]
fn all_orders_of_a_symbol_are_cancelled_by_one_request_whose_answer_ends_none() {
    let cancel_all: Command = |session, order, out| {
        session.cancel_all(Some(order.instrument()), now(), out);
    };
    let (mut session, _) = ready();
    let mut out = Outbox::default();
    cancel_all(&mut *session, &order(limit()), &mut out);
    let message = written(&out);
    assert_eq!(message["method"], "openOrders.cancelAll");
    assert_eq!(message["params"]["symbol"], "BTCUSDT");
    assert_eq!(adapter(true).mass_cancel(), MassCancel { account: false, instrument: true });
    out.clear();
    session.cancel_all(None, now(), &mut out);
    assert_eq!(out.messages, [""; 0], "there is none for the account");

    let cancelled = r#"{"symbol":"BTCUSDT","origClientOrderId":"gw00000001","orderId":7,"clientOrderId":"server-made","transactTime":1700000000500,"status":"CANCELED"}"#;
    let list = r#"{"orderListId":1,"contingencyType":"OCO","orderReports":[]}"#;
    let done = format!(r#"{{"id":ID,"status":200,"result":[{cancelled},{list}]}}"#);
    let request = "openOrders.cancelAll".to_owned();
    assert_eq!(dialogue(cancel_all, &done), [SessionEvent::Acknowledged { request }]);

    let refused = |code, reason: &str| {
        let reason = reason.to_owned();
        SessionEvent::ExchangeError { code: Some(code), reason }
    };
    let nothing = error(400, -2011, "Unknown order sent.");
    assert_eq!(everything(cancel_all, &nothing), [refused(-2011, "Unknown order sent.")]);
    let limited = everything(cancel_all, &error(429, -1003, "Too much."));
    assert_eq!(limited, [SessionEvent::RateLimited { until: None }, refused(-1003, "Too much.")]);
}
