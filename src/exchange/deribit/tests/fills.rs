use super::*;
use crate::types::{Fee, Fill, Liquidity};

fn trade(id: &str, amount: &str, order: &str) -> String {
    format!(
        r#"{{"trade_id":"{id}","trade_seq":1,"order_id":"{order}","label":"gw1","price":50000.5,"amount":{amount},"fee":-2e-8,"fee_currency":"BTC","liquidity":"M","state":"filled","instrument_name":"BTC-PERPETUAL","timestamp":1700000000000}}"#
    )
}

/// A session that has asked for the fills of an order of which this much has filled.
fn asked(filled: &str) -> (Box<dyn TradingSession>, Value) {
    let mut session = ready();
    let mut out = Outbox::default();
    let order = Order { filled: quantity(filled), ..known_order() };
    session.query_fills(&order, now(), &mut out);
    (session, only(&out))
}

fn news_of(events: &[SessionEvent]) -> Vec<OrderNews> {
    let news = |event: &SessionEvent| match event {
        SessionEvent::Order(event) => {
            assert_eq!(event.client_id, Some(client_id("gw1")));
            event.news.clone()
        }
        other => panic!("{other:?}"),
    };
    let about_orders =
        events.iter().filter(|event| !matches!(event, SessionEvent::RateLimited { .. }));
    about_orders.map(news).collect()
}

#[test]
fn the_fills_of_an_order_are_told_and_end_it_not_by_themselves() {
    let (mut session, request) = asked("10");
    assert_eq!(request["method"], "private/get_user_trades_by_order");
    assert_eq!(
        request["params"].to_string(),
        r#"{"historical":false,"order_id":"146062","sorting":"asc"}"#
    );
    let trades = [trade("T1", "4", "146062"), trade("T2", "9", "999"), trade("T3", "6", "146062")];
    let text = answer(&request["id"], &format!("[{}]", trades.join(",")));
    let news = news_of(&told(&mut *session, &text));
    let filled = |fill_id: &str, amount: &str| OrderNews::Filled {
        fill: Fill {
            fill_id: fill_id.into(),
            price: "50000.5".parse().unwrap(),
            quantity: quantity(amount),
            fee: Some(Fee { asset: "BTC".into(), amount: "-0.00000002".parse().unwrap() }),
            liquidity: Some(Liquidity::Maker),
            time: Some(time(1_700_000_000_000)),
        },
        cumulative: None,
        completes: false,
    };
    assert_eq!(news, [filled("T1", "4"), filled("T3", "6"), OrderNews::FillsListed]);
}

#[test]
fn fills_older_than_a_day_are_asked_for_once_more() {
    let (mut session, request) = asked("10");
    let text = answer(&request["id"], &format!("[{}]", trade("T2", "6", "146062")));
    let out = receive(&mut *session, &text).unwrap();
    assert_eq!(news_of(&out.events).len(), 1);
    let request = only(&out);
    assert_eq!(request["params"]["historical"], true);
    let text = answer(&request["id"], "[]");
    assert_eq!(news_of(&told(&mut *session, &text)), [OrderNews::FillsListed]);
}

#[test]
fn a_refused_or_unreadable_answer_fails_the_question() {
    let (mut session, request) = asked("10");
    let text = error(&request["id"], 10_028, "too_many_requests");
    let reason = "too_many_requests".to_owned();
    assert_eq!(news_of(&told(&mut *session, &text)), [OrderNews::FillsFailed { reason }]);
    let broken = trade("T1", "\"much\"", "146062");
    for result in [format!("[{},{broken}]", trade("T2", "4", "146062")), "7".into()] {
        let (mut session, request) = asked("10");
        let mut out = Outbox::default();
        session.received(&answer(&request["id"], &result), now(), &mut out).unwrap_err();
        let news = news_of(&out.events);
        assert!(matches!(news.last(), Some(OrderNews::FillsFailed { .. })), "{result}: {news:?}");
    }
}

#[test]
fn an_order_that_only_the_gateway_has_named_cannot_be_asked_for_fills() {
    let mut session = ready();
    let mut out = Outbox::default();
    session.query_fills(&order(), now(), &mut out);
    assert!(out.messages.is_empty());
    assert!(matches!(news_of(&out.events)[..], [OrderNews::FillsFailed { .. }]), "{out:?}");
}
