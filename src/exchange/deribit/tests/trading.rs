use std::time::Duration;

use super::*;
use crate::exchange::{SwitchAnswer, SwitchOutcome, SwitchRequest, SwitchSetting};

fn submit(session: &mut dyn TradingSession, request: NewOrder) -> Value {
    let mut out = Outbox::default();
    session.submit(&Order { request, ..order() }, now(), &mut out);
    only(&out)
}

fn cancel(session: &mut dyn TradingSession, order: &Order) -> Value {
    let mut out = Outbox::default();
    session.cancel(order, now(), &mut out);
    only(&out)
}

fn query(session: &mut dyn TradingSession, order: &Order) -> Value {
    let mut out = Outbox::default();
    session.query(order, now(), &mut out);
    only(&out)
}

fn object(state: &str, filled: &str) -> String {
    format!(
        r#"{{"order_id":"146062","order_state":"{state}","label":"gw1","price":50000.5,"amount":10.0,"filled_amount":{filled},"instrument_name":"BTC-PERPETUAL","last_update_timestamp":1700000000000}}"#
    )
}

fn fill(id: &str, amount: &str, state: &str) -> String {
    format!(
        r#"{{"trade_id":"{id}","order_id":"146062","label":"gw1","price":50000.5,"amount":{amount},"fee":-2e-8,"fee_currency":"BTC","liquidity":"M","state":"{state}","instrument_name":"BTC-PERPETUAL","timestamp":1700000000000}}"#
    )
}

fn pushed(channel: &str, data: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}"#
    )
}

fn about(request_id: Option<&Value>, told: OrderNews) -> SessionEvent {
    let request_id = request_id.map(Value::to_string);
    let at = Some(time(1_700_000_000_000));
    news(("gw1", "146062"), Some("BTC-PERPETUAL"), request_id.as_deref(), at, told)
}

fn ended(status: OrderStatus, filled: &str, reason: Option<&str>) -> OrderNews {
    let reason = reason.map(str::to_owned);
    OrderNews::Ended { status, cumulative: Some(quantity(filled)), reason }
}

#[test]
fn each_kind_of_order_is_written_with_its_terms() {
    let mut session = ready();
    let limit = order().request;
    let written = submit(&mut *session, limit);
    assert_eq!(written["method"], "private/buy");
    assert_eq!(
        written["params"].to_string(),
        r#"{"amount":10,"instrument_name":"BTC-PERPETUAL","label":"gw1","post_only":false,"price":50000.5,"time_in_force":"good_til_cancelled","type":"limit","valid_until":1700000005123}"#
    );
    let sold = submit(&mut *session, NewOrder { side: Side::Sell, ..limit }.immediate_or_cancel());
    assert_eq!(sold["method"], "private/sell");
    assert_eq!(sold["params"]["time_in_force"], "immediate_or_cancel");
    assert_eq!(sold["params"]["post_only"], false);
    let reducing = submit(&mut *session, limit.reduce_only());
    assert_eq!(reducing["params"]["reduce_only"], true);
    let post_only = submit(&mut *session, limit.post_only());
    assert_eq!(post_only["params"]["post_only"], true);
    assert_eq!(post_only["params"]["reject_post_only"], true);
    let small = quantity("0.0000001");
    let market = NewOrder::market(limit.instrument, Side::Buy, small);
    let mut out = Outbox::default();
    session.submit(&Order { request: market, ..order() }, now(), &mut out);
    assert!(out.messages[0].contains(r#""amount":0.0000001,"type":"market","#), "{out:?}");
    assert!(only(&out)["params"].get("price").is_none());
}

#[test]
fn an_order_of_an_unknown_instrument_is_rejected_unwritten() {
    let mut session = ready();
    let mut out = Outbox::default();
    let request = NewOrder { instrument: instrument("SOL-PERPETUAL"), ..order().request };
    session.submit(&Order { request, ..order() }, now(), &mut out);
    assert_eq!(out.messages, [""; 0]);
    assert!(matches!(only_news(out.events), OrderNews::Rejected { .. }));
}

#[test]
fn a_response_with_a_part_filled_and_the_rest_cancelled_tells_all_of_it() {
    let mut session = ready();
    let id = submit(&mut *session, order().request.immediate_or_cancel())["id"].clone();
    let result = format!(
        r#"{{"order":{},"trades":[{}]}}"#,
        object("cancelled", "4"),
        fill("BTC-1", "4", "cancelled")
    );
    let events = told(&mut *session, &answer(&id, &result));
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[0], about(Some(&id), OrderNews::Acknowledged));
    let SessionEvent::Order(event) = &events[1] else { panic!("{events:?}") };
    let OrderNews::Filled { fill, completes, .. } = &event.news else { panic!("{events:?}") };
    assert_eq!((fill.quantity, *completes), (quantity("4"), false));
    assert_eq!(fill.fee.as_ref().unwrap().amount, "-0.00000002".parse().unwrap());
    assert_eq!(events[2], about(Some(&id), ended(OrderStatus::Canceled, "4", None)));
    // The answer came: a second one belongs to no known request.
    let again = told(&mut *session, &answer(&id, &result));
    assert_eq!(again[0], about(Some(&id), OrderNews::Acknowledged));
}

#[test]
fn a_refused_order_is_rejected_unless_the_exchange_may_have_taken_it() {
    let mut session = ready();
    let mut refused = |code, reason: &str| {
        let id = submit(&mut *session, order().request)["id"].clone();
        only_news(told(&mut *session, &error(&id, code, reason)))
    };
    for (code, reason) in [
        (10_009, "not_enough_funds"),
        (10_028, "too_many_requests"),
        (10_040, "retry"),
        (11_054, "post_only_reject"),
    ] {
        let expected = OrderNews::Rejected { code: Some(code), reason: reason.into() };
        assert_eq!(refused(code, reason), expected);
    }
    for (code, reason) in [
        (11_094, "internal_server_error"),
        (13_028, "temporarily_unavailable"),
        (13_888, "timed_out"),
    ] {
        assert_eq!(refused(code, reason), OrderNews::OutcomeUnknown { reason: reason.into() });
    }
}

#[test]
fn a_cancel_by_id_is_confirmed_by_its_answer() {
    let mut session = ready();
    let request = cancel(&mut *session, &known_order());
    assert_eq!(request["method"], "private/cancel");
    assert_eq!(request["params"], serde_json::json!({ "order_id": "146062" }));
    let id = &request["id"];
    let result = object("cancelled", "0.0").replace('}', r#","cancel_reason":"user_request"}"#);
    assert_eq!(
        told(&mut *session, &answer(id, &result)),
        [
            about(Some(id), OrderNews::CancelAcknowledged),
            about(Some(id), ended(OrderStatus::Canceled, "0", Some("user_request"))),
        ]
    );
}

#[test]
fn a_cancel_by_label_is_acknowledged_or_has_found_nothing() {
    let mut session = ready();
    let request = cancel(&mut *session, &order());
    assert_eq!(request["method"], "private/cancel_by_label");
    assert_eq!(request["params"], serde_json::json!({ "currency": "BTC", "label": "gw1" }));
    let events = told(&mut *session, &answer(&request["id"], "1"));
    assert_eq!(only_news(events), OrderNews::CancelAcknowledged);
    let request = cancel(&mut *session, &order());
    let events = told(&mut *session, &answer(&request["id"], "0"));
    let OrderNews::CancelRejected { retry: false, .. } = only_news(events) else { panic!() };
}

#[test]
fn a_refused_cancel_says_whether_it_may_pass_later() {
    let mut session = ready();
    let mut refused = |code, reason: &str| {
        let id = cancel(&mut *session, &known_order())["id"].clone();
        only_news(told(&mut *session, &error(&id, code, reason)))
    };
    let cases = [
        (10_028, "too_many_requests", true),
        (10_047, "matching_engine_queue_full", true),
        (10_004, "order_not_found", false),
        (10_010, "already_closed", false),
        (11_008, "already_filled", false),
        (11_044, "not_open_order", false),
        (10_029, "not_owner_of_order", false),
    ];
    for (code, reason, retry) in cases {
        let (shown, code) = (reason, Some(code));
        let reason = reason.to_owned();
        let expected = OrderNews::CancelRejected { code, reason, retry };
        assert_eq!(refused(code.unwrap(), shown), expected);
    }
}

#[test]
fn a_question_is_answered_by_status_not_found_or_failure() {
    let mut session = ready();
    let request = query(&mut *session, &known_order());
    assert_eq!(request["method"], "private/get_order_state");
    let status = |status, filled: &str| OrderNews::Status {
        status,
        cumulative: Some(quantity(filled)),
        reason: None,
    };
    let id = &request["id"];
    let expected = about(Some(id), status(OrderStatus::Filled, "10"));
    assert_eq!(told(&mut *session, &answer(id, &object("filled", "10"))), [expected]);

    let request = query(&mut *session, &order());
    assert_eq!(request["method"], "private/get_order_state_by_label");
    assert_eq!(request["params"], serde_json::json!({ "currency": "BTC", "label": "gw1" }));
    let id = &request["id"];
    let other = object("open", "1").replace("gw1", "gw2");
    let list = format!("[{other},{}]", object("open", "0"));
    let expected = about(Some(id), status(OrderStatus::Open, "0"));
    assert_eq!(told(&mut *session, &answer(id, &list)), [expected]);

    let id = query(&mut *session, &order())["id"].clone();
    assert_eq!(only_news(told(&mut *session, &answer(&id, "[]"))), OrderNews::NotFound);
    let id = query(&mut *session, &known_order())["id"].clone();
    let text = error(&id, 10_004, "order_not_found");
    assert_eq!(only_news(told(&mut *session, &text)), OrderNews::NotFound);
    let id = query(&mut *session, &known_order())["id"].clone();
    let text = error(&id, 10_028, "too_many_requests");
    let reason = "too_many_requests".into();
    assert_eq!(only_news(told(&mut *session, &text)), OrderNews::QueryFailed { reason });
}

#[test]
fn the_dead_mans_switch_is_set_for_this_connection_and_the_answer_names_the_request() {
    let mut session = ready();
    let cases = [
        (SwitchSetting::Arm { timeout: Duration::ZERO }, "private/enable_cancel_on_disconnect"),
        (SwitchSetting::Disarm, "private/disable_cancel_on_disconnect"),
    ];
    for (number, (setting, method)) in (1..).zip(cases) {
        let asked = SwitchRequest { number, setting };
        let mut set = || {
            let mut out = Outbox::default();
            session.set_switch(asked, now(), &mut out);
            only(&out)
        };
        let (first, second) = (set(), set());
        assert_eq!(first["method"], method);
        assert_eq!(first["params"], serde_json::json!({ "scope": "connection" }));
        let answered = |outcome| [SessionEvent::Switch(SwitchAnswer { request: asked, outcome })];
        let done = SwitchOutcome::Done { fires_at: None };
        assert_eq!(told(&mut *session, &answer(&first["id"], "\"ok\"")), answered(done));
        let reason = "cancel_on_disconnect_failed".to_owned();
        let text = error(&second["id"], 10_049, &reason);
        let refused = SwitchOutcome::Refused { code: Some(10_049), reason };
        assert_eq!(told(&mut *session, &text), answered(refused));
    }
}

#[test]
fn every_order_state_of_the_private_stream_is_what_it_means() {
    let mut session = ready();
    let mut change = |data: &str| told(&mut *session, &pushed("user.orders.any.any.raw", data));
    let partly = OrderNews::Status {
        status: OrderStatus::PartiallyFilled,
        cumulative: Some(quantity("4")),
        reason: None,
    };
    let cases = [
        (object("open", "0.0"), OrderNews::Opened),
        (object("untriggered", "0"), OrderNews::Opened),
        (object("open", "4"), partly),
        (object("filled", "10"), ended(OrderStatus::Filled, "10", None)),
        (object("cancelled", "4"), ended(OrderStatus::Canceled, "4", None)),
        (object("rejected", "0"), ended(OrderStatus::Rejected, "0", None)),
        (
            object("cancelled", "0").replace('}', r#","cancel_reason":"settlement"}"#),
            ended(OrderStatus::Expired, "0", Some("settlement")),
        ),
    ];
    for (data, expected) in cases {
        assert_eq!(change(&data), [about(None, expected)], "{data}");
    }
    let what = "order state triggered".into();
    assert_eq!(change(&object("triggered", "0")), [SessionEvent::Ignored { what }]);
    // Changes that are collected over time come as a list.
    let list = format!("[{},{}]", object("open", "0"), object("cancelled", "0"));
    assert_eq!(change(&list).len(), 2);
}

#[test]
fn a_broken_fill_hides_no_other() {
    let mut session = ready();
    let mut out = Outbox::default();
    let broken = fill("BTC-1", "\"4\"", "open");
    let list = format!("[{broken},7,{}]", fill("BTC-2", "6", "filled"));
    let text = pushed("user.trades.any.any.raw", &list);
    assert!(session.received(&text, now(), &mut out).is_err());
    let OrderNews::Filled { fill, completes: true, .. } = only_news(out.events) else { panic!() };
    assert_eq!(fill.fill_id, "BTC-2");
}

#[test]
fn what_lacks_its_meaning_is_an_error_that_names_the_key() {
    let id = || Value::from(1);
    let cases = [
        (pushed("user.orders.any.any.raw", "null"), "`data`"),
        (pushed("user.orders.any.any.raw", r#"{"order_id":"1"}"#), "`order_state`"),
        (pushed("user.orders.any.any.raw", r#"{"order_state":"open"}"#), "`order_id`"),
        (pushed("user.trades.any.any.raw", "null"), "`data`"),
        (pushed("user.trades.any.any.raw", r#"[{"order_id":"1"}]"#), "`trade_id`"),
        (answer(&id(), r#"{"order":{"order_id":"1"}}"#), "`order_state`"),
        (r#"{"method":"subscription","params":{}}"#.to_owned(), "`channel`"),
        (r#"{"method":7}"#.to_owned(), "`method`"),
        ("7".to_owned(), "invalid type"),
    ];
    for (text, expected) in cases {
        let error = receive(&mut *adapter(true).trading_session(known()), &text).unwrap_err();
        assert!(error.reason.contains(expected), "{text}: {error}");
    }
}

#[test]
fn all_orders_of_a_scope_are_cancelled_by_one_request_whose_answer_ends_none() {
    let mut session = ready();
    let mut ask = |instrument| {
        let mut out = Outbox::default();
        session.cancel_all(instrument, now(), &mut out);
        only(&out)
    };
    let account = ask(None);
    assert_eq!(account["method"], "private/cancel_all");
    assert_eq!(account["params"], serde_json::json!({}));
    let one = ask(Some(instrument("BTC-PERPETUAL")));
    assert_eq!(one["method"], "private/cancel_all_by_instrument");
    assert_eq!(one["params"], serde_json::json!({ "instrument_name": "BTC-PERPETUAL" }));

    let recorded = fixture("cancel_all_response").replace("47", &account["id"].to_string());
    let request = "private/cancel_all".to_owned();
    assert_eq!(told(&mut *session, &recorded), [SessionEvent::Acknowledged { request }]);
    // It fails by itself: the session goes on.
    let refused = told(&mut *session, &error(&one["id"], 10_028, "too_many_requests"));
    let reason = "too_many_requests".to_owned();
    let expected = SessionEvent::ExchangeError { code: Some(10_028), reason };
    assert_eq!(refused, [SessionEvent::RateLimited { until: None }, expected]);
}
