use super::*;
use crate::types::{Fee, Fill, Liquidity, Quote, TickData, Trade};

fn on_market(name: &str) -> Outbox {
    receive(&mut *adapter(false).market_session(known()), fixture(name)).unwrap()
}

fn on_trading(name: &str) -> Vec<SessionEvent> {
    told(&mut *adapter(false).trading_session(known()), fixture(name))
}

fn ignored(what: &str) -> SessionEvent {
    SessionEvent::Ignored { what: what.into() }
}

fn acknowledged(request: &str) -> SessionEvent {
    SessionEvent::Acknowledged { request: request.into() }
}

#[test]
fn a_quote_is_one_tick_with_all_its_digits() {
    let out = on_market("quote");
    assert_eq!(out.events, []);
    assert_eq!(out.ticks.len(), 1);
    assert_eq!(out.ticks[0].instrument, instrument("BTC-PERPETUAL"));
    assert_eq!(out.ticks[0].exchange_time, Some(time(1_765_541_767_174)));
    assert_eq!(out.ticks[0].received, now());
    let quote = Quote {
        bid: "92288.0".parse().unwrap(),
        bid_quantity: quantity("133440"),
        ask: "92288.5".parse().unwrap(),
        ask_quantity: quantity("99470"),
    };
    assert_eq!(out.ticks[0].data, TickData::Quote(quote));
}

#[test]
fn two_trades_of_one_message_are_two_ticks_in_order() {
    let out = on_market("trades_100ms");
    assert_eq!(out.events, []);
    let trade = |price: &str, amount: &str, trade_id| {
        let (price, quantity) = (price.parse().unwrap(), quantity(amount));
        TickData::Trade(Trade { price, quantity, taker_side: Side::Sell, trade_id })
    };
    let data: Vec<_> = out.ticks.iter().map(|tick| tick.data).collect();
    assert_eq!(data, [trade("92294.5", "10", 403_691_824), trade("92288.5", "750", 403_691_825)]);
    assert_eq!(out.ticks[1].exchange_time, Some(time(1_765_531_356_452)));
}

#[test]
fn the_other_messages_of_a_market_connection_are_what_they_are() {
    let cases = [
        ("subscribe_response", acknowledged("subscribe 2 channels")),
        ("public_test_response", SessionEvent::Pong),
        ("ticker_100ms", ignored("channel ticker.BTC-PERPETUAL.100ms")),
        ("book_snapshot", ignored("channel book.BTC-PERPETUAL.100ms")),
        ("book_change", ignored("channel book.BTC-PERPETUAL.100ms")),
        ("user_orders_raw", ignored("channel user.orders.BTC-PERPETUAL.raw")),
        ("user_trades_raw", ignored("channel user.trades.BTC-PERPETUAL.raw")),
        ("user_portfolio", ignored("channel user.portfolio.any")),
        ("buy_response_open", acknowledged("request 3")),
        ("set_heartbeat_request", ignored("client request public/set_heartbeat")),
        ("auth_client_credentials_request", ignored("client request public/auth")),
    ];
    for (name, expected) in cases {
        let out = on_market(name);
        assert_eq!((out.events, out.ticks), (vec![expected], vec![]), "{name}");
    }
    let reason = "too_many_requests".to_owned();
    let expected = SessionEvent::ExchangeError { code: Some(10_028), reason };
    assert_eq!(on_market("error_too_many_requests").events, [expected]);
}

#[test]
fn the_messages_of_a_trading_connection_are_what_they_are() {
    let cases = [
        ("auth_response", acknowledged("public/auth")),
        ("subscribe_response", acknowledged("subscribe 2 channels")),
        ("cancel_all_response", acknowledged("request 47")),
        ("public_test_response", SessionEvent::Pong),
        ("user_portfolio", ignored("channel user.portfolio.any")),
        ("quote", ignored("channel quote.BTC-PERPETUAL")),
        ("trades_100ms", ignored("channel trades.BTC-PERPETUAL.100ms")),
        ("auth_client_credentials_request", ignored("client request public/auth")),
        ("set_heartbeat_request", ignored("client request public/set_heartbeat")),
        ("public_test_request", ignored("client request public/test")),
        (
            "enable_cancel_on_disconnect_request",
            ignored("client request private/enable_cancel_on_disconnect"),
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(on_trading(name), [expected], "{name}");
    }
}

#[test]
fn a_test_request_is_answered_at_once_on_either_connection() {
    let text = fixture("heartbeat_test_request");
    let mut trading = adapter(false).trading_session(known());
    let trading = receive(&mut *trading, text).unwrap();
    for out in [on_market("heartbeat_test_request"), trading] {
        assert_eq!(out.events, [SessionEvent::Heartbeat]);
        assert_eq!(
            out.messages,
            [r#"{"jsonrpc":"2.0","id":1,"method":"public/test","params":{}}"#]
        );
    }
}

#[test]
fn an_order_that_rests_is_acknowledged_with_its_ids() {
    let expected = news(
        ("O-19700101-000000-001-001-1", "USDC-104819327443"),
        Some("ETH_USDC-PERPETUAL"),
        Some("3"),
        Some(time(1_767_978_363_493)),
        OrderNews::Acknowledged,
    );
    assert_eq!(on_trading("buy_response_open"), [expected]);
}

#[test]
fn an_order_that_filled_at_once_is_acknowledged_and_filled() {
    let at = time(1_590_486_335_742);
    let fill = Fill {
        fill_id: "ETH-2696097".into(),
        price: "202.8".parse().unwrap(),
        quantity: quantity("21"),
        fee: Some(Fee { asset: "ETH".into(), amount: "0.00007766".parse().unwrap() }),
        liquidity: Some(Liquidity::Taker),
        time: Some(at),
    };
    let ids = ("", "ETH-584864807");
    let name = Some("ETH-PERPETUAL");
    let filled = OrderNews::Filled { fill, cumulative: None, completes: true };
    assert_eq!(
        on_trading("sell_response_filled_with_trades"),
        [
            news(ids, name, Some("6130"), Some(at), OrderNews::Acknowledged),
            news(ids, name, None, Some(at), filled),
        ]
    );
}

#[test]
fn a_cancel_response_tells_how_the_order_stands() {
    let status = OrderNews::Status {
        status: OrderStatus::Canceled,
        cumulative: Some(Quantity::ZERO),
        reason: Some("user_request".into()),
    };
    let expected = news(
        ("O-19700101-000000-001-001-1", "USDC-104819327443"),
        Some("ETH_USDC-PERPETUAL"),
        Some("11"),
        Some(time(1_767_978_373_490)),
        status,
    );
    assert_eq!(on_trading("cancel_response"), [expected]);
}

#[test]
fn each_open_order_of_a_list_tells_its_status() {
    let status = OrderNews::Status {
        status: OrderStatus::Open,
        cumulative: Some(Quantity::ZERO),
        reason: None,
    };
    let expected = news(
        ("fooBar", "146062"),
        Some("BTC-15FEB19-3250-P"),
        Some("1953"),
        Some(time(1_550_050_597_036)),
        status,
    );
    assert_eq!(on_trading("get_open_orders_response"), [expected]);
}

#[test]
fn an_order_that_somebody_placed_by_hand_is_told_without_a_client_id() {
    let at = Some(time(1_581_507_423_789));
    let expected = news(("", "5"), Some("BTC-PERPETUAL"), None, at, OrderNews::Opened);
    assert_eq!(on_trading("user_orders_raw"), [expected]);
}

#[test]
fn only_the_last_of_several_fills_completes_the_order() {
    let at = time(1_590_484_156_350);
    let filled = |id: &str, completes| {
        let fill = Fill {
            fill_id: id.into(),
            price: "8954".parse().unwrap(),
            quantity: quantity("20"),
            fee: Some(Fee { asset: "BTC".into(), amount: "0.00000168".parse().unwrap() }),
            liquidity: Some(Liquidity::Taker),
            time: Some(at),
        };
        let filled = OrderNews::Filled { fill, cumulative: None, completes };
        news(("", "4008965646"), Some("BTC-PERPETUAL"), None, Some(at), filled)
    };
    assert_eq!(
        on_trading("user_trades_raw"),
        [filled("48079254", false), filled("48079255", true)]
    );
}

#[test]
fn errors_of_unknown_requests_are_rejects_with_the_request_id() {
    let rejected = |id: &str, code, reason: &str, at| {
        let reason = reason.to_owned();
        let rejected = OrderNews::Rejected { code: Some(code), reason };
        news(("", ""), None, Some(id), at, rejected)
    };
    let at = Timestamp::from_microsecond(1_535_037_392_448_119).unwrap();
    let expected = rejected("8163", 11_050, "bad_request", Some(at));
    assert_eq!(on_trading("error_bad_request"), [expected]);
    let expected = rejected("1", 10_028, "too_many_requests", None);
    let limited = SessionEvent::RateLimited { until: None };
    assert_eq!(on_trading("error_too_many_requests"), [limited, expected]);
}
