use super::*;
use crate::exchange::{HttpFailure, HttpResponse, HttpTrading};
use crate::types::Side;

fn limit() -> Order {
    let (price, amount) = ("50000.10".parse().unwrap(), quantity("0.00100"));
    order(NewOrder::limit(instrument("BTC-USDT"), Side::Buy, price, amount))
}

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

/// What the answer to one request means.
fn answered(command: Command, answer: Result<HttpResponse, HttpFailure>) -> Vec<SessionEvent> {
    let (mut trading, mut out) = (trading(), Outbox::default());
    command(&mut *trading, &[limit()], &mut out);
    let (tag, _) = out.requests.remove(0);
    trading.answered(tag, answer, now(), &mut out);
    assert!(out.requests.is_empty() && out.messages.is_empty(), "{out:?}");
    out.events
}

fn body(status: u16, body: &str) -> HttpResponse {
    HttpResponse { status, body: body.to_owned() }
}

fn ours(exchange_id: Option<&str>, at: Option<Timestamp>, what: OrderNews) -> Vec<SessionEvent> {
    vec![news(("gw00000001", exchange_id), Some("BTC-USDT"), None, at, what)]
}

/// The `result` of a recorded message of the WebSocket API: HTTP answers with the same.
fn recorded(text: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(text).unwrap()["result"].clone()
}

#[test]
fn a_request_is_signed_and_names_the_order_by_the_best_id() {
    let (mut trading, mut out) = (trading(), Outbox::default());
    let known = Order { exchange_id: Some("12569099453".parse().unwrap()), ..limit() };
    trading.cancel(&[limit(), known], now(), &mut out);
    trading.query(&[limit()], now(), &mut out);
    let tags: Vec<u64> = out.requests.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [1, 2, 3]);
    let methods: Vec<_> = out.requests.iter().map(|(_, request)| request.method).collect();
    assert_eq!(methods, ["DELETE", "DELETE", "GET"]);
    let queries: Vec<_> = out.requests.iter().map(|(_, r)| r.url.query().unwrap()).collect();
    let expected = "symbol=BTCUSDT&origClientOrderId=gw00000001&recvWindow=5000&timestamp=1700000000123&signature=";
    assert!(queries[0].starts_with(expected), "{}", queries[0]);
    assert!(queries[1].starts_with("symbol=BTCUSDT&orderId=12569099453&"), "{}", queries[1]);
    assert_eq!(queries[0], queries[2]);
    for (_, request) in &out.requests {
        assert!(request.url.as_str().starts_with("https://api.binance.com/api/v3/order?"));
        assert_eq!(request.headers, [("x-mbx-apikey", API_KEY.to_owned())]);
    }
}

#[test]
fn a_cancel_that_says_it_is_done_is_only_an_acknowledgement() {
    let ack = recorded(include_str!("../testdata/api_order_cancel_ack.json")).to_string();
    let events = answered(cancel, Ok(body(200, &ack)));
    let at = Some(time(1_684_804_350_068));
    assert_eq!(events, ours(Some("12569099453"), at, OrderNews::CancelAcknowledged));
}

#[test]
fn a_refused_cancel_is_told_and_an_unanswered_one_is_not() {
    let rejected = |code, reason: &str, retry| {
        let reason = reason.to_owned();
        ours(None, None, OrderNews::CancelRejected { code: Some(code), reason, retry })
    };
    let unknown = body(400, r#"{"code":-2011,"msg":"Unknown order sent."}"#);
    assert_eq!(answered(cancel, Ok(unknown)), rejected(-2011, "Unknown order sent.", false));
    let slow = body(429, r#"{"code":-1003,"msg":"Too much request weight used."}"#);
    let mut limited = vec![SessionEvent::RateLimited { until: None }];
    limited.extend(rejected(-1003, "Too much request weight used.", true));
    assert_eq!(answered(cancel, Ok(slow)), limited);
    let failure = HttpFailure::Timeout { host: "h".into(), limit_ms: 5 };
    assert_eq!(answered(cancel, Err(failure)), []);
    assert_eq!(answered(cancel, Ok(body(502, "<html>"))), []);
}

#[test]
fn the_answer_to_a_question_says_how_the_order_stands() {
    let lines = recorded(include_str!("../testdata/api_open_orders_status.json"));
    let events = answered(query, Ok(body(200, &lines[0].to_string())));
    let told = OrderNews::Status {
        status: OrderStatus::PartiallyFilled,
        cumulative: Some(quantity("0.0072")),
        reason: None,
    };
    assert_eq!(events, ours(Some("12569099453"), Some(time(1_660_801_717_945)), told));
    let unknown = body(400, r#"{"code":-2013,"msg":"Order does not exist."}"#);
    assert_eq!(answered(query, Ok(unknown)), ours(None, None, OrderNews::NotFound));
}

#[test]
fn the_fills_of_an_order_are_asked_for_and_told() {
    let (mut trading, mut out) = (trading(), Outbox::default());
    let known = Order { exchange_id: Some("28".parse().unwrap()), ..limit() };
    trading.query_fills(&[known.clone(), limit()], now(), &mut out);
    let (tag, request) = out.requests.remove(0);
    assert!(out.requests.is_empty(), "{:?}", out.requests);
    let expected = "https://api.binance.com/api/v3/myTrades?symbol=BTCUSDT&orderId=28&limit=1000&recvWindow=5000&timestamp=";
    assert!(request.url.as_str().starts_with(expected), "{}", request.url);
    let failed = |event: &SessionEvent| matches!(event, SessionEvent::Order(event) if matches!(event.news, OrderNews::FillsFailed { .. }));
    assert!(out.events.len() == 1 && failed(&out.events[0]), "without a number: {:?}", out.events);
    out.clear();
    let trades = r#"[{"symbol":"BTCUSDT","id":7,"orderId":28,"price":"50000.1","qty":"0.001","commission":"0.1","commissionAsset":"BNB","time":1700000000000,"isBuyer":true,"isMaker":true,"isBestMatch":true}]"#;
    trading.answered(tag, Ok(body(200, trades)), now(), &mut out);
    let news: Vec<_> = out
        .events
        .drain(..)
        .map(|event| match event {
            SessionEvent::Order(event) => event.news,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(&news[0], OrderNews::Filled { fill, .. } if fill.fill_id == "7"), "{news:?}");
    assert_eq!(news[1..], [OrderNews::FillsListed]);

    for answer in [Ok(body(400, r#"{"code":-1121}"#)), Ok(body(200, "<html>"))] {
        trading.query_fills(std::slice::from_ref(&known), now(), &mut out);
        let (tag, _) = out.requests.remove(0);
        trading.answered(tag, answer, now(), &mut out);
        assert!(out.events.len() == 1 && failed(&out.events[0]), "{:?}", out.events);
        out.clear();
    }
}

#[test]
fn every_question_is_answered_whatever_comes() {
    let failure = HttpFailure::Timeout { host: "h".into(), limit_ms: 5 };
    let answers = [
        Err(failure),
        Ok(body(502, "<html>Bad gateway</html>")),
        Ok(body(503, r#"{"code":-1000,"msg":"later"}"#)),
        Ok(body(200, "")),
        Ok(body(200, "{}")),
        Ok(body(200, "null")),
        Ok(body(200, r#"{"orderId":1,"status":"ASLEEP","executedQty":"0"}"#)),
        Ok(body(200, r#"{}, "id": 7"#)),
    ];
    for answer in answers {
        let events = answered(query, answer.clone());
        let [SessionEvent::Order(event)] = events.as_slice() else {
            panic!("{answer:?} {events:?}")
        };
        assert!(matches!(event.news, OrderNews::QueryFailed { .. }), "{answer:?}: {event:?}");
        assert_eq!(event.client_id, Some(client_id("gw00000001")));
        assert_eq!(event.request_id, None);
    }
}

#[test]
fn without_a_key_nothing_is_sent_and_everything_is_answered() {
    let mut trading = adapter(false).http_trading(known()).unwrap();
    let mut out = Outbox::default();
    trading.cancel(&[limit()], now(), &mut out);
    trading.query(&[limit()], now(), &mut out);
    assert!(out.requests.is_empty(), "{:?}", out.requests);
    assert_eq!(out.events.len(), 2);
}

#[test]
fn the_balances_are_asked_for_with_a_signature() {
    let request = adapter(true).holdings_request(now()).unwrap();
    let url = request.url.as_str();
    let expected = "https://api.binance.com/api/v3/account?omitZeroBalances=true&recvWindow=5000&timestamp=1700000000123&signature=";
    assert!(url.starts_with(expected), "{url}");
    assert_eq!((request.method, request.headers[0].0), ("GET", "x-mbx-apikey"));
    assert!(adapter(false).holdings_request(now()).is_err());
}
