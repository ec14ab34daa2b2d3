use serde_json::{Value, json};

use super::*;
use crate::types::{Fee, Fill, Liquidity, Side};

fn filled_order() -> Order {
    let price = "50000.10".parse().unwrap();
    let request = NewOrder::limit(instrument("BTC-USDT"), Side::Buy, price, quantity("0.002"));
    Order { exchange_id: Some(ExchangeOrderId::new("7").unwrap()), ..order(request) }
}

fn trade(id: u64) -> Value {
    json!({
        "symbol": "BTCUSDT", "id": id, "orderId": 7, "orderListId": -1, "price": "50000.10000000",
        "qty": "0.00100000", "quoteQty": "50.00010000", "commission": "0.00000041",
        "commissionAsset": "BNB", "time": 1_700_000_000_000_i64, "isBuyer": true,
        "isMaker": false, "isBestMatch": true,
    })
}

/// A session that has asked for the fills of an order, and the request.
fn asked() -> (Box<dyn TradingSession>, Value) {
    let (mut session, _) = ready();
    let mut out = Outbox::default();
    session.query_fills(&filled_order(), now(), &mut out);
    assert_eq!(out.events, []);
    (session, written(&out))
}

fn answer(session: &mut dyn Session, request: &Value, trades: &[Value]) -> Outbox {
    let answer = json!({"id": request["id"], "status": 200, "result": trades});
    receive(session, &answer.to_string()).unwrap()
}

fn only_news(out: &Outbox) -> &OrderNews {
    match out.events.as_slice() {
        [SessionEvent::Order(event)]
        | [SessionEvent::RateLimited { until: None }, SessionEvent::Order(event)] => &event.news,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fills_of_an_order_are_told_as_the_private_stream_tells_them() {
    let (mut session, request) = asked();
    assert_eq!(request["method"], "myTrades");
    let params = &request["params"];
    assert_eq!((&params["symbol"], &params["orderId"]), (&json!("BTCUSDT"), &json!(7)));
    assert_eq!((&params["limit"], params.get("fromId")), (&json!(1000), None));
    assert!(params["signature"].is_string());
    let mut foreign = trade(8_675_308);
    foreign["orderId"] = json!(8);
    let out = answer(&mut *session, &request, &[foreign, trade(8_675_309)]);
    let at = Some(time(1_700_000_000_000));
    let fill = Fill {
        fill_id: "8675309".into(),
        price: "50000.1".parse().unwrap(),
        quantity: quantity("0.001"),
        fee: Some(Fee { asset: "BNB".into(), amount: "0.00000041".parse().unwrap() }),
        liquidity: Some(Liquidity::Taker),
        time: at,
    };
    let told = OrderNews::Filled { fill, cumulative: None, completes: false };
    let ids = |exchange| ("gw00000001", exchange);
    let pair = Some("BTC-USDT");
    assert_eq!(
        out.events,
        [
            news(ids(Some("7")), pair, None, at, told),
            news(ids(None), pair, None, None, OrderNews::FillsListed),
        ]
    );
    // The same trade on the stream has the same id.
    let report = r#"{"e":"executionReport","s":"BTCUSDT","c":"gw00000001","C":"","x":"TRADE","X":"PARTIALLY_FILLED","i":7,"l":"0.001","L":"50000.1","z":"0.001","n":"0.00000041","N":"BNB","T":1700000000000,"t":8675309,"m":false}"#;
    let streamed = receive(&mut *session, report).unwrap();
    let fill_of = |event: &SessionEvent| match event {
        SessionEvent::Order(OrderEvent { news: OrderNews::Filled { fill, .. }, .. }) => {
            fill.clone()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(fill_of(&out.events[0]), fill_of(&streamed.events[0]));
}

#[test]
fn more_fills_than_one_answer_holds_are_asked_for_from_the_beginning() {
    let (mut session, request) = asked();
    let page = |from: u64, count: u64| (from..from + count).map(trade).collect::<Vec<_>>();
    // The newest, which are not all.
    let out = answer(&mut *session, &request, &page(1500, 1000));
    assert_eq!(out.events.len(), 1000);
    let request = written(&out);
    assert_eq!(
        (&request["params"]["orderId"], &request["params"]["fromId"]),
        (&json!(7), &json!(0))
    );
    let request = written(&answer(&mut *session, &request, &page(1000, 1000)));
    assert_eq!(request["params"]["fromId"], 2000);
    let out = answer(&mut *session, &request, &page(2000, 500));
    assert_eq!((out.events.len(), out.messages.len()), (501, 0));
    // An exchange that tells the same page again and again is not asked for ever.
    let (mut session, request) = asked();
    let mut request = written(&answer(&mut *session, &request, &page(1, 1000)));
    for _ in 0..2 {
        let out = answer(&mut *session, &request, &page(1, 1000));
        if out.messages.is_empty() {
            return;
        }
        request = written(&out);
    }
    panic!("asked again: {request}");
}

#[test]
fn a_refused_or_unreadable_answer_fails_the_question() {
    let (mut session, request) = asked();
    let refused =
        json!({"id": request["id"], "status": 429, "error": {"code": -1003, "msg": "Too many."}});
    let out = receive(&mut *session, &refused.to_string()).unwrap();
    assert_eq!(only_news(&out), &OrderNews::FillsFailed { reason: "Too many.".into() });
    for result in [json!({}), json!([{"id": 1}]), json!(["odd"]), json!(7)] {
        let (mut session, request) = asked();
        let answer = json!({"id": request["id"], "status": 200, "result": result}).to_string();
        let mut out = Outbox::default();
        session.received(&answer, now(), &mut out).unwrap_err();
        assert!(matches!(only_news(&out), OrderNews::FillsFailed { .. }), "{answer}: {out:?}");
    }
}

#[test]
fn an_order_without_the_exchanges_number_cannot_be_asked_for_fills() {
    let (mut session, _) = ready();
    for exchange_id in [None, Some(ExchangeOrderId::new("x7").unwrap())] {
        let mut out = Outbox::default();
        session.query_fills(&Order { exchange_id, ..filled_order() }, now(), &mut out);
        assert!(out.messages.is_empty());
        assert!(matches!(only_news(&out), OrderNews::FillsFailed { .. }), "{out:?}");
    }
}
