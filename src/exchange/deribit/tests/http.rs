use super::*;
use crate::exchange::{HttpFailure, HttpRequest, HttpResponse, HttpTrading};

fn trading() -> Box<dyn HttpTrading> {
    adapter(true).http_trading(known()).unwrap()
}

type Command = fn(&mut dyn HttpTrading, &[Order], &mut Outbox);

fn cancel(trading: &mut dyn HttpTrading, orders: &[Order], out: &mut Outbox) {
    trading.cancel(orders, now(), out);
}

fn query(trading: &mut dyn HttpTrading, orders: &[Order], out: &mut Outbox) {
    trading.query(orders, now(), out);
}

fn posted(request: &HttpRequest) -> Value {
    assert_eq!((request.method, request.url.as_str()), ("POST", "https://www.deribit.com/api/v2"));
    serde_json::from_str(&request.body).unwrap()
}

/// What the answer to one request means; `ID` in it stands for the request's id.
fn answered(
    command: Command,
    order: Order,
    answer: Result<(u16, &str), HttpFailure>,
) -> Vec<SessionEvent> {
    let (mut trading, mut out) = (trading(), Outbox::default());
    command(&mut *trading, &[order], &mut out);
    let (tag, request) = out.requests.remove(0);
    let id = posted(&request)["id"].to_string();
    let answer = answer.map(|(status, body)| {
        let body = body.replace("ID", &id);
        HttpResponse { status, body }
    });
    trading.answered(tag, answer, now(), &mut out);
    assert!(out.requests.is_empty() && out.messages.is_empty(), "{out:?}");
    out.events
}

fn result(result: &str) -> String {
    answer(&Value::from("ID"), result).replace("\"ID\"", "ID")
}

#[test]
fn a_request_is_signed_and_names_the_order_by_the_best_id() {
    let (mut trading, mut out) = (trading(), Outbox::default());
    trading.cancel(&[order(), known_order()], now(), &mut out);
    trading.query(&[order(), known_order()], now(), &mut out);
    let expected = [
        ("private/cancel_by_label", r#"{"currency":"BTC","label":"gw1"}"#),
        ("private/cancel", r#"{"order_id":"146062"}"#),
        ("private/get_order_state_by_label", r#"{"currency":"BTC","label":"gw1"}"#),
        ("private/get_order_state", r#"{"order_id":"146062"}"#),
    ];
    let mut nonces = Vec::new();
    for ((_, request), (method, params)) in out.requests.iter().zip(expected) {
        let body = posted(request);
        assert_eq!(
            (body["method"].as_str(), body["params"].to_string().as_str()),
            (Some(method), params)
        );
        let (name, value) = &request.headers[0];
        assert_eq!(*name, "authorization");
        let (start, nonce) = value.split_once(",nonce=").unwrap();
        assert!(start.starts_with("deri-hmac-sha256 id=AMANDA,ts=1700000000123,sig="), "{start}");
        nonces.push(nonce.to_owned());
    }
    nonces.dedup();
    assert_eq!(nonces.len(), 4);
}

#[test]
fn a_cancel_that_says_it_is_done_is_only_an_acknowledgement() {
    let recorded = fixture("cancel_response").replace("\"id\": 11", "\"id\": ID");
    let events = answered(cancel, known_order(), Ok((200, &recorded)));
    assert_eq!(only_news(events), OrderNews::CancelAcknowledged);
    let events = answered(cancel, order(), Ok((200, &result("1"))));
    assert_eq!(only_news(events), OrderNews::CancelAcknowledged);
    let events = answered(cancel, order(), Ok((200, &result("0"))));
    assert!(matches!(only_news(events), OrderNews::CancelRejected { retry: false, .. }));
}

#[test]
fn a_refused_cancel_is_told_and_an_unanswered_one_is_not() {
    let refused = |code: i64, message: &str| {
        let body = error(&Value::from("ID"), code, message).replace("\"ID\"", "ID");
        only_news(answered(cancel, known_order(), Ok((400, &body))))
    };
    let (code, reason) = (Some(11_044), "not_open_order".to_owned());
    assert_eq!(
        refused(11_044, "not_open_order"),
        OrderNews::CancelRejected { code, reason, retry: false }
    );
    let busy = refused(10_028, "too_many_requests");
    assert!(matches!(busy, OrderNews::CancelRejected { retry: true, .. }), "{busy:?}");
    let failure = HttpFailure::Timeout { host: "h".into(), limit_ms: 5 };
    assert_eq!(answered(cancel, order(), Err(failure)), []);
    assert_eq!(answered(cancel, order(), Ok((502, "<html>"))), []);
}

#[test]
fn the_answer_to_a_question_says_how_the_order_stands() {
    let recorded = fixture("cancel_response").replace("\"id\": 11", "\"id\": ID");
    let told = OrderNews::Status {
        status: OrderStatus::Canceled,
        cumulative: Some(quantity("0")),
        reason: Some("user_request".to_owned()),
    };
    let events = answered(query, known_order(), Ok((200, &recorded)));
    let [SessionEvent::Order(event)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event.news, &event.request_id), (&told, &None));
    assert_eq!(only_news(answered(query, order(), Ok((200, &result("[]"))))), OrderNews::NotFound);
    let unknown = error(&Value::from("ID"), 10_004, "order_not_found").replace("\"ID\"", "ID");
    let events = answered(query, known_order(), Ok((400, &unknown)));
    assert_eq!(only_news(events), OrderNews::NotFound);
}

#[test]
fn every_question_is_answered_whatever_comes() {
    let failure = HttpFailure::Timeout { host: "h".into(), limit_ms: 5 };
    let foreign = r#"{"jsonrpc":"2.0","id":77,"result":[]}"#;
    let answers = [
        Err(failure),
        Ok((502, "<html>Bad gateway</html>")),
        Ok((200, "")),
        Ok((200, "{}")),
        Ok((200, foreign)),
        Ok((200, r#"{"jsonrpc":"2.0","id":ID,"result":{"order_state":"asleep"}}"#)),
        Ok((429, r#"{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}"#)),
    ];
    for answer in answers {
        let news = only_order_news(answered(query, known_order(), answer.clone()));
        assert!(matches!(news, OrderNews::QueryFailed { .. }), "{answer:?}: {news:?}");
    }
}

#[test]
fn the_fills_of_an_order_are_asked_for_also_the_older_ones() {
    let (mut trading, mut out) = (trading(), Outbox::default());
    let order = Order { filled: quantity("10"), ..known_order() };
    trading.query_fills(std::slice::from_ref(&order), now(), &mut out);
    for historical in [false, true] {
        let (tag, request) = out.requests.remove(0);
        let posted = posted(&request);
        assert_eq!(posted["method"], "private/get_user_trades_by_order");
        let asks_history = posted["params"].to_string().contains("historical\":true");
        assert_eq!(asks_history, historical, "{posted}");
        let body = answer(&posted["id"], "[]");
        trading.answered(tag, Ok(HttpResponse { status: 200, body }), now(), &mut out);
    }
    assert!(out.requests.is_empty() && out.messages.is_empty(), "{out:?}");
    assert_eq!(only_order_news(std::mem::take(&mut out.events)), OrderNews::FillsListed);
    trading.query_fills(&[order], now(), &mut out);
    let (tag, _) = out.requests.remove(0);
    let failure = HttpFailure::Timeout { host: "h".into(), limit_ms: 5 };
    trading.answered(tag, Err(failure), now(), &mut out);
    let news = only_order_news(out.events);
    assert!(matches!(news, OrderNews::FillsFailed { .. }), "{news:?}");
}

/// The news of the only event about an order.
fn only_order_news(mut events: Vec<SessionEvent>) -> OrderNews {
    events.retain(|event| matches!(event, SessionEvent::Order(_)));
    only_news(events)
}

#[test]
fn without_a_key_there_is_no_trading_over_http() {
    assert!(adapter(false).http_trading(known()).is_none());
}
