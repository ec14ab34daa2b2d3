//! Market streams are subscribed, shaped and limited as the exchange does.

mod common;

use common::{Client, assert_shape, binance, quiet_binance, recorded};
use mock_exchange::{Limits, MarketConfig, Side, VenueConfig};
use rust_decimal::Decimal;
use serde_json::{Value, json};

#[tokio::test]
async fn trades_and_quotes_have_the_recorded_shape_raw_and_combined() {
    let (mock, venue) = quiet_binance().await;
    let mut raw = Client::connect(&venue, "/ws/btcusdt@trade").await;
    let mut combined =
        Client::connect(&venue, "/stream?streams=btcusdt@trade/btcusdt@bookTicker").await;
    let price = Decimal::new(6_000_000, 2);
    venue.trade("BTCUSDT", Side::Sell, price, Decimal::ONE).expect("the trade happens");
    let trade = raw.json().await;
    assert_shape(&trade, &recorded("stream_trade_raw.json"));
    assert_eq!(
        (&trade["p"], &trade["q"], &trade["m"]),
        (&json!("60000.00000000"), &json!("1.00000000"), &json!(true))
    );

    let wrapped = combined.json().await;
    assert_eq!(wrapped["stream"], "btcusdt@trade");
    assert_eq!(wrapped["data"], trade);
    let (bid, ask) = (Decimal::from(59_000), Decimal::from(61_000));
    // The trade's makers stepped back, so that quotes may come before this one.
    venue.set_quote("BTCUSDT", bid, Decimal::ONE, ask, Decimal::TWO).expect("the quote is set");
    let quote = loop {
        let event = combined.json().await;
        if event["data"]["b"] == "59000.00000000" {
            break event;
        }
    };
    assert_eq!(quote["stream"], "btcusdt@bookTicker");
    assert_shape(&quote["data"], &recorded("stream_book_ticker_raw.json"));
    assert_eq!(quote["data"]["A"], "2.00000000");
    drop((raw, combined));
    mock.shutdown().await;
}

#[tokio::test]
async fn control_messages_echo_the_id_with_its_type_and_errors_are_nested() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws").await;
    client
        .send(&json!({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "nobody@trade"], "id": 1}))
        .await;
    assert_eq!(client.json().await, json!({"result": null, "id": 1}));
    client.send(&json!({"method": "LIST_SUBSCRIPTIONS", "id": "a-1"})).await;
    assert_eq!(
        client.json().await,
        json!({"result": ["btcusdt@trade", "nobody@trade"], "id": "a-1"})
    );
    client.send(&json!({"method": "UNSUBSCRIBE", "params": ["nobody@trade"], "id": null})).await;
    assert_eq!(client.json().await, json!({"result": null, "id": null}));
    client.send(&json!({"params": [], "id": 4})).await;
    let error = client.json().await;
    assert_eq!((&error["error"]["code"], &error["id"]), (&json!(2), &json!(4)));
    client.send_text("nonsense").await;
    assert_eq!(client.json().await["error"]["code"], 3);
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn the_envelope_is_a_property_that_can_be_switched_live() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws/btcusdt@trade").await;
    client.send(&json!({"method": "GET_PROPERTY", "params": ["combined"], "id": 1})).await;
    assert_eq!(client.json().await["result"], false);
    client.send(&json!({"method": "SET_PROPERTY", "params": ["combined", true], "id": 2})).await;
    assert_eq!(client.json().await, json!({"result": null, "id": 2}));
    let price = Decimal::from(60_000);
    venue.trade("BTCUSDT", Side::Buy, price, Decimal::ONE).expect("the trade happens");
    assert_eq!(client.json().await["stream"], "btcusdt@trade");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn more_than_five_messages_a_second_are_closed_with_1008() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws").await;
    for id in 0..6 {
        client.send(&json!({"method": "LIST_SUBSCRIPTIONS", "id": id})).await;
    }
    let frame = client.close_frame().await.expect("a code");
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, "Too many requests"));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn limits_that_are_off_let_a_client_subscribe_one_by_one() {
    let config = VenueConfig { limits: Limits::Off, ..VenueConfig::quiet() };
    let (mock, venue) = binance(config).await;
    let mut client = Client::connect(&venue, "/ws").await;
    for id in 0..50 {
        client.send(&json!({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": id})).await;
        assert_eq!(client.json().await["id"], id);
    }
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn book_changes_continue_the_snapshot_without_a_hole() {
    let market = MarketConfig::Seeded { events_per_second: 200.0 };
    let (mock, venue) = binance(VenueConfig { market, ..VenueConfig::default() }).await;
    let mut client = Client::connect(&venue, "/ws/btcusdt@depth@100ms").await;
    let first = client.json().await;
    let path = "/api/v3/depth?symbol=BTCUSDT&limit=1000";
    let (status, body) = common::http(&venue.http_url(), "GET", path, "", "").await;
    assert_eq!(status, 200, "{body}");
    let snapshot: Value = serde_json::from_str(&body).expect("JSON");
    let mut book = std::collections::BTreeMap::new();
    for (side, name) in [("b", "bids"), ("a", "asks")] {
        for level in snapshot[name].as_array().expect("levels") {
            book.insert((side, level[0].to_string()), level[1].to_string());
        }
    }
    let last = snapshot["lastUpdateId"].as_u64().expect("an id");
    let mut previous = first["u"].as_u64().expect("an id");
    for _ in 0..5 {
        let event = client.json().await;
        assert_eq!(event["U"].as_u64().expect("an id"), previous + 1, "{event}");
        previous = event["u"].as_u64().expect("an id");
        if previous <= last {
            continue;
        }
        for side in ["b", "a"] {
            for level in event[side].as_array().expect("levels") {
                if level[1] == "0.00000000" {
                    book.remove(&(side, level[0].to_string()));
                } else {
                    book.insert((side, level[0].to_string()), level[1].to_string());
                }
            }
        }
    }
    assert!(book.len() >= 20, "{book:?}");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn the_ticker_comes_each_second_with_the_recorded_shape() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws/ethusdt@ticker").await;
    let ticker = client.json().await;
    assert_shape(&ticker, &recorded("stream_ticker_24hr.json"));
    assert_eq!(ticker["s"], "ETHUSDT");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn one_seed_gives_one_market() {
    let market = MarketConfig::Seeded { events_per_second: 500.0 };
    let mut tapes = Vec::new();
    for _ in 0..2 {
        let (mock, venue) = binance(VenueConfig { market, ..VenueConfig::default() }).await;
        let mut client = Client::connect(&venue, "/ws/btcusdt@bookTicker").await;
        let mut tape = Vec::new();
        while tape.len() < 50 {
            let quote = client.json().await;
            tape.push((quote["u"].as_u64().expect("an id"), quote["b"].clone()));
        }
        tapes.push(tape);
        drop(client);
        mock.shutdown().await;
    }
    // The two clients joined at different moments; what both saw must agree.
    let first: std::collections::BTreeMap<_, _> = tapes[0].iter().cloned().collect();
    let both: Vec<_> =
        tapes[1].iter().filter_map(|(id, bid)| first.get(id).map(|b| (b, bid))).collect();
    assert!(!both.is_empty(), "seed 7: {tapes:?}");
    assert!(both.iter().all(|(a, b)| a == b), "seed 7: {both:?}");
}

#[tokio::test]
async fn a_flood_is_bounded_by_the_clients_pace() {
    let market = MarketConfig::Seeded { events_per_second: 100_000.0 };
    let config = VenueConfig { market, queue_frames: 1_000, ..VenueConfig::default() };
    let (mock, venue) = binance(config).await;
    let client = Client::connect(&venue, "/ws/btcusdt@trade/btcusdt@bookTicker").await;
    let dropping = |ledger: &mock_exchange::Ledger| {
        ledger.exchange("binance").connections.iter().any(|c| c.frames_dropped > 0)
    };
    // Nobody reads: the queue fills, and then frames are left out instead of piling up.
    mock.wait_for(dropping, common::LIMIT).await.expect("frames are dropped");
    drop(client);
    mock.shutdown().await;
}
