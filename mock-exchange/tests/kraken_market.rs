//! The public channels over real sockets.

mod kraken_support;

use std::collections::BTreeMap;
use std::time::Duration;

use kraken_support::{Client, best, get, kraken, quiet_kraken};
use mock_exchange::{MarketConfig, MockConfig, MockExchange, ReplayConfig, Side, VenueConfig};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("decimal")
}

#[tokio::test]
async fn the_server_speaks_first_and_its_connection_id_exceeds_a_signed_number() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect_silently(&venue).await;
    let status = client.next().await;
    assert_eq!(status["channel"], "status");
    assert_eq!(status["data"][0]["system"], "online");
    let id = status["data"][0]["connection_id"].as_u64().expect("an unsigned number");
    assert!(i64::try_from(id).is_err());
}

#[tokio::test]
async fn a_ping_without_an_id_gets_a_pong_without_one() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    client.send(&json!({ "method": "ping" })).await;
    let pong = client.next().await;
    assert_eq!(pong["method"], "pong");
    assert_eq!(pong.get("req_id"), None);
    client.send(&json!({ "method": "ping", "req_id": 101 })).await;
    assert_eq!(client.next().await["req_id"], 101);
}

#[tokio::test]
async fn protocol_pings_are_answered_and_garbage_gets_an_error() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    client.send_raw(Message::Ping(b"x".as_slice().into())).await;
    assert_eq!(client.frame().await, Some(Message::Pong(b"x".as_slice().into())));
    client.send_raw(Message::text("hello")).await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["success"], &answer["error"]),
        (&json!(false), &json!("Malformed request"))
    );
}

#[tokio::test]
async fn heartbeats_begin_with_the_first_subscription() {
    let config = VenueConfig { heartbeat: Some(Duration::from_millis(50)), ..VenueConfig::quiet() };
    let (_mock, venue) = kraken(config).await;
    let mut client = Client::connect(&venue).await;
    let params = json!({ "channel": "trade", "symbol": "BTC/USD" });
    let answer = client.call("subscribe", &params).await;
    assert_eq!(answer["success"], true);
    assert_eq!(client.skipped, Vec::<Value>::new(), "no heartbeat before the subscription");
    for _ in 0..3 {
        assert_eq!(client.next().await, json!({ "channel": "heartbeat" }));
    }
}

#[tokio::test]
async fn each_symbol_is_acknowledged_before_its_snapshot() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    let params = json!({
        "channel": "ticker", "symbol": ["BTC/USD", "DOGE/USD", "ETH/USD"], "event_trigger": "bbo",
        "an_unknown_parameter": true,
    });
    client.send(&json!({ "method": "subscribe", "params": params, "req_id": 5 })).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let message = client.next().await;
        assert!(message.get("method").is_none() || message["req_id"] == 5);
        let symbol =
            [&message["result"]["symbol"], &message["symbol"], &message["data"][0]["symbol"]]
                .into_iter()
                .find_map(Value::as_str)
                .expect("a symbol")
                .to_owned();
        let kind = if message["channel"] == "ticker" { "data" } else { "ack" };
        seen.push((kind, message["success"].as_bool(), symbol));
    }
    let expected = [
        ("ack", Some(true), "BTC/USD"),
        ("data", None, "BTC/USD"),
        ("ack", Some(false), "DOGE/USD"),
        ("ack", Some(true), "ETH/USD"),
        ("data", None, "ETH/USD"),
    ];
    assert_eq!(seen, expected.map(|(kind, success, symbol)| (kind, success, symbol.to_owned())));
}

#[tokio::test]
async fn the_result_of_an_ack_can_be_sent_back_as_parameters() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    for params in [
        json!({ "channel": "book", "symbol": ["BTC/USD"], "depth": 25 }),
        json!({ "channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo" }),
        json!({ "channel": "trade", "symbol": ["BTC/USD"], "snapshot": true }),
        json!({ "channel": "instrument" }),
    ] {
        let first = client.call("subscribe", &params).await;
        assert_eq!(first["success"], true, "{first}");
        let ended = client.call("unsubscribe", &first["result"]).await;
        assert_eq!((&ended["success"], &ended["method"]), (&json!(true), &json!("unsubscribe")));
        let second = client.call("subscribe", &first["result"]).await;
        assert_eq!(second["result"], first["result"]);
    }
}

#[tokio::test]
async fn unsubscribing_what_is_not_subscribed_is_refused_as_recorded() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    let params = json!({ "channel": "ticker", "symbol": ["BTC/USD"] });
    let answer = client.call("unsubscribe", &params).await;
    assert_eq!(answer["method"], "subscribe");
    assert_eq!(answer["error"], "Subscription Not Found");
    assert_eq!(answer["symbol"], "BTC/USD");
    assert_eq!(answer.get("result"), None);
}

#[tokio::test]
async fn best_prices_move_the_bbo_ticker_and_trades_move_the_other() {
    let (_mock, venue) = quiet_kraken().await;
    let mut bbo = Client::connect(&venue).await;
    let mut trades = Client::connect(&venue).await;
    let params = json!({ "channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo" });
    bbo.call("subscribe", &params).await;
    let params = json!({ "channel": "ticker", "symbol": ["BTC/USD"] });
    trades.call("subscribe", &params).await;
    assert_eq!(bbo.next_of("ticker").await["type"], "snapshot");
    assert_eq!(trades.next_of("ticker").await["type"], "snapshot");

    let quantity = decimal("1.5");
    venue
        .set_quote("BTC/USD", decimal("29000.1"), quantity, decimal("29000.4"), quantity)
        .expect("a quote");
    let update =
        bbo.next_where(|m| m["channel"] == "ticker" && m["data"][0]["bid"] == 29000.1).await;
    assert_eq!(update["type"], "update");
    assert_eq!(update["data"][0]["ask_qty"], 1.5);

    venue.trade("BTC/USD", Side::Buy, decimal("29000.4"), decimal("0.25")).expect("a trade");
    let update = trades.next_of("ticker").await;
    assert_eq!(update["data"][0]["last"], 29000.4);
    assert_eq!(update["data"][0]["bid"], 29000.1);
    assert!(!trades.skipped.iter().any(|m| m["channel"] == "ticker"), "a quote moved it");
}

#[tokio::test]
async fn trades_name_the_taker_s_side_and_a_snapshot_shows_the_last() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    let params = json!({ "channel": "trade", "symbol": ["BTC/USD"] });
    client.call("subscribe", &params).await;
    let (bid, _) = best(&venue, "BTC/USD").await;
    let bid = Decimal::try_from(bid).expect("price");
    venue.trade("BTC/USD", Side::Sell, bid, decimal("0.5")).expect("a trade");
    let trade = client.next_of("trade").await;
    assert_eq!(trade["type"], "update");
    assert_eq!(
        (&trade["data"][0]["side"], &trade["data"][0]["qty"]),
        (&json!("sell"), &json!(0.5))
    );

    let mut late = Client::connect(&venue).await;
    let params = json!({ "channel": "trade", "symbol": ["BTC/USD"], "snapshot": true });
    late.call("subscribe", &params).await;
    let snapshot = late.next_of("trade").await;
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["data"][0]["trade_id"], trade["data"][0]["trade_id"]);
}

#[derive(Deserialize)]
struct BookMessage {
    r#type: String,
    data: Vec<BookData>,
}

#[derive(Deserialize)]
struct BookData {
    bids: Vec<BookLevel>,
    asks: Vec<BookLevel>,
    checksum: u32,
}

#[derive(Deserialize)]
struct BookLevel {
    price: Box<RawValue>,
    qty: Box<RawValue>,
}

/// A client's book that keeps the digits as they were sent.
#[derive(Default)]
struct ClientBook {
    bids: BTreeMap<Decimal, (String, String)>,
    asks: BTreeMap<Decimal, (String, String)>,
}

impl ClientBook {
    fn apply(&mut self, data: &BookData, depth: usize) {
        for (side, levels) in [(&mut self.bids, &data.bids), (&mut self.asks, &data.asks)] {
            for level in levels {
                let (price, quantity) = (level.price.get(), level.qty.get());
                if decimal(quantity).is_zero() {
                    side.remove(&decimal(price));
                } else {
                    side.insert(decimal(price), (price.to_owned(), quantity.to_owned()));
                }
            }
        }
        while self.bids.len() > depth {
            self.bids.pop_first();
        }
        while self.asks.len() > depth {
            self.asks.pop_last();
        }
    }

    fn checksum(&self) -> u32 {
        let strip = |text: &str| text.replace('.', "").trim_start_matches('0').to_owned();
        let levels = self.asks.values().take(10).chain(self.bids.values().rev().take(10));
        let text: String =
            levels.map(|(price, quantity)| strip(price) + &strip(quantity)).collect();
        crc32fast::hash(text.as_bytes())
    }
}

#[tokio::test]
async fn a_moving_book_keeps_its_checksum() {
    let market = MarketConfig::Seeded { events_per_second: 300.0 };
    let (_mock, venue) = kraken(VenueConfig { market, ..VenueConfig::default() }).await;
    for depth in [10, 25] {
        let mut client = Client::connect(&venue).await;
        let params = json!({ "channel": "book", "symbol": ["BTC/USD"], "depth": depth });
        client.call("subscribe", &params).await;
        let mut book = ClientBook::default();
        let mut updates = 0;
        while updates < 100 {
            let Some(Message::Text(text)) = client.frame().await else { continue };
            let Ok(message) = serde_json::from_str::<BookMessage>(&text) else { continue };
            updates += u32::from(message.r#type == "update");
            book.apply(&message.data[0], depth);
            assert_eq!(book.checksum(), message.data[0].checksum, "update {updates}: {text}");
        }
    }
}

#[tokio::test]
async fn instruments_and_rest_pairs_tell_the_same_precision() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    client.call("subscribe", &json!({ "channel": "instrument" })).await;
    let listing = client.next_of("instrument").await["data"].clone();
    for pair in listing["pairs"].as_array().expect("pairs") {
        let symbol = pair["symbol"].as_str().expect("symbol");
        let path = format!("/0/public/AssetPairs?pair={}", symbol.replace('/', "%2F"));
        let answer = get(&venue, &path).await;
        let rest = &answer["result"][symbol];
        assert_eq!(rest["pair_decimals"], pair["price_precision"], "{answer}");
        assert_eq!(rest["lot_decimals"], pair["qty_precision"]);
    }
    assert_eq!(get(&venue, "/0/public/Assets").await["result"]["XXBT"]["altname"], "XBT");
    assert!(get(&venue, "/0/public/Time").await["result"]["unixtime"].is_u64());
}

#[tokio::test]
async fn a_recording_reaches_those_who_subscribed_to_its_channel_and_pair() {
    let mut lines = String::new();
    for n in 0..400 {
        for (symbol, price) in [("ETH/USD", "3000.10"), ("BTC/USD", "29000.10")] {
            let message = format!(
                r#"{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","price":{price},"trade_id":{n}}}]}}"#
            );
            let line = format!(
                r#"{{"at_ms":{},"exchange":"kraken","channel":"trade","message":{message}}}"#,
                n * 500
            );
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("kraken_replay.jsonl");
    std::fs::write(&file, lines).expect("the recording is written");
    let config = MockConfig {
        kraken: Some(VenueConfig::quiet()),
        replay: Some(ReplayConfig { file, speed: 10.0 }),
        ..MockConfig::default()
    };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let venue = mock.venue("kraken").expect("the venue runs");
    let mut client = Client::connect(&venue).await;
    let params = json!({ "channel": "trade", "symbol": ["BTC/USD"] });
    client.call("subscribe", &params).await;
    let mut last = None;
    for _ in 0..5 {
        let Some(Message::Text(text)) = client.frame().await else { panic!("no text") };
        assert!(text.contains(r#""price":29000.10,"#), "digits or pair differ: {text}");
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let number = message["data"][0]["trade_id"].as_u64();
        assert!(last.is_none_or(|last| number == Some(last + 1)), "{last:?}, then {text}");
        last = number;
    }
}
