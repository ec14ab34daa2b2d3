use super::*;
use crate::types::{Fee, Fill, Liquidity, Quote, Side, Tick, TickData, Trade};

fn decode(trading: bool, name: &str) -> Outbox {
    let adapter = adapter(true);
    let result = if trading {
        receive(&mut *adapter.trading_session(known()), fixture(name))
    } else {
        receive(&mut *adapter.market_session(known()), fixture(name))
    };
    let out = result.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(out.messages.is_empty() && out.requests.is_empty(), "{name} is answered");
    out
}

fn ignored(what: &str) -> SessionEvent {
    SessionEvent::Ignored { what: what.into() }
}

fn acknowledged(request: &str) -> SessionEvent {
    SessionEvent::Acknowledged { request: request.into() }
}

#[test]
fn every_recorded_market_message_is_what_it_is() {
    let cases = [
        (
            "stream_error_missing_method",
            SessionEvent::ExchangeError {
                code: Some(2),
                reason: "Invalid request: missing field `method` at line 1 column 73".into(),
            },
        ),
        (
            "stream_server_shutdown_combined",
            SessionEvent::ClosingSoon { reason: "serverShutdown".into() },
        ),
        ("stream_subscribe_ack", acknowledged("request 1")),
        ("stream_subscribe_request", ignored("client request SUBSCRIBE")),
        ("stream_ticker_24hr", ignored("event 24hrTicker")),
    ];
    for (name, expected) in cases {
        let out = decode(false, name);
        assert_eq!((out.events.as_slice(), out.ticks.len()), (&[expected][..], 0), "{name}");
    }
}

#[test]
fn every_recorded_tick_is_read_exactly() {
    let trade = |pair, at, price: &str, amount: &str, trade_id| Tick {
        instrument: instrument(pair),
        exchange_time: Some(time(at)),
        received: now(),
        data: TickData::Trade(Trade {
            price: price.parse().unwrap(),
            quantity: quantity(amount),
            taker_side: Side::Sell,
            trade_id,
        }),
    };
    let quote = Tick {
        instrument: instrument("BNB-USDT"),
        exchange_time: None,
        received: now(),
        data: TickData::Quote(Quote {
            bid: "25.3519".parse().unwrap(),
            bid_quantity: quantity("31.21"),
            ask: "25.3652".parse().unwrap(),
            ask_quantity: quantity("40.66"),
        }),
    };
    let cases = [
        ("stream_trade_raw", trade("BNB-BTC", 1_672_515_782_136, "0.001", "100", 12_345)),
        (
            "stream_trade_combined_legacy",
            trade("ETH-USDT", 1_639_351_062_243, "4149.74", "0.4387", 705_291_099),
        ),
        ("stream_book_ticker_raw", quote),
    ];
    for (name, expected) in cases {
        let out = decode(false, name);
        assert_eq!((out.ticks.as_slice(), out.events.len()), (&[expected][..], 0), "{name}");
    }
}

#[test]
fn every_recorded_answer_is_what_it_is() {
    let cancelled = |news_of| {
        news(
            ("4d96324ff9d44481926157", Some("12569099453")),
            Some("BTC-USDT"),
            Some("5633b6a2-90a9-4192-83e7-925c90b6a2fd"),
            Some(time(1_684_804_350_068)),
            news_of,
        )
    };
    let placed = |at| {
        news(
            ("4d96324ff9d44481926157ec08158a40", Some("12569099453")),
            Some("BTC-USDT"),
            Some("56374a46-3061-486b-a311-99ee972eb648"),
            Some(time(at)),
            OrderNews::Acknowledged,
        )
    };
    let cases = [
        (
            "api_open_orders_status",
            vec![news(
                ("4d96324ff9d44481926157", Some("12569099453")),
                Some("BTC-USDT"),
                Some("55f07876-4f6f-4c47-87dc-43e5fff3f2e7"),
                Some(time(1_660_801_717_945)),
                OrderNews::Status {
                    status: OrderStatus::PartiallyFilled,
                    cumulative: Some(quantity("0.0072")),
                    reason: None,
                },
            )],
        ),
        ("api_order_cancel_ack", vec![cancelled(OrderNews::CancelAcknowledged)]),
        ("api_order_place_ack", vec![placed(1_660_801_715_639)]),
        ("api_order_place_full_filled", vec![placed(1_660_801_715_793)]),
        (
            "api_order_place_rejected",
            vec![news(
                ("", None),
                None,
                Some("e2a85d9f-07a5-4f94-8d5f-789dc3deb097"),
                None,
                OrderNews::Rejected {
                    code: Some(-2010),
                    reason: "Account has insufficient balance for requested action.".into(),
                },
            )],
        ),
        ("api_order_place_request_signed_hmac", vec![ignored("client request order.place")]),
        ("api_session_logon_ack", vec![acknowledged("session.logon")]),
        ("api_user_data_subscribe_ack", vec![acknowledged("userDataStream.subscribe")]),
    ];
    for (name, expected) in cases {
        assert_eq!(decode(true, name).events, expected, "{name}");
    }
}

#[test]
fn every_recorded_private_event_is_what_it_is() {
    let cases = [
        ("user_account_position", ignored("event outboundAccountPosition")),
        (
            "user_execution_report_new",
            news(
                ("mUvoqJxFIILMdfAW5iGSOW", Some("4293153")),
                Some("ETH-BTC"),
                None,
                Some(time(1_499_405_658_657)),
                OrderNews::Opened,
            ),
        ),
        (
            "user_execution_report_expired_ioc",
            news(
                ("x-TD67BGP9-T0000000000000", Some("12345678")),
                Some("ETH-USDT"),
                None,
                Some(time(1_709_654_403_000)),
                OrderNews::Ended {
                    status: OrderStatus::Expired,
                    cumulative: Some(Quantity::ZERO),
                    reason: Some("INSUFFICIENT_LIQUIDITY".into()),
                },
            ),
        ),
        (
            "user_execution_report_trade_filled",
            news(
                ("x-TD67BGP9-T0000000000000", Some("12345678")),
                Some("ETH-USDT"),
                None,
                Some(time(1_709_654_401_000)),
                OrderNews::Filled {
                    fill: Fill {
                        fill_id: "98765432".into(),
                        price: "2500".parse().unwrap(),
                        quantity: quantity("1"),
                        fee: Some(Fee { asset: "ETH".into(), amount: "0.001".parse().unwrap() }),
                        liquidity: Some(Liquidity::Maker),
                        time: Some(time(1_709_654_401_000)),
                    },
                    cumulative: Some(quantity("1")),
                    completes: true,
                },
            ),
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(decode(true, name).events, [expected], "{name}");
    }
}

#[test]
fn no_recorded_message_is_left_untested() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exchange/binance/testdata");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, FIXTURES.len(), "a recorded message is not tested");
}
