//! Market data over real sockets.

mod deribit_support;

use std::collections::BTreeMap;
use std::io::Write as _;

use deribit_support::{Client, assert_shape, decimal, deribit, quiet_deribit, recorded};
use mock_exchange::{MarketConfig, MockConfig, MockExchange, ReplayConfig, Side, VenueConfig};
use serde_json::{Value, json};

const BTC: &str = "BTC-PERPETUAL";

#[tokio::test]
async fn quotes_tickers_and_trades_have_the_recorded_shapes() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::connect(&venue).await;
    let asked = ["quote.BTC-PERPETUAL", "ticker.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"];
    let result = client.ok("public/subscribe", json!({ "channels": asked })).await;
    assert_eq!(result, json!([asked[2], asked[1], asked[0]]), "the order is reversed");
    let quote = client.next_where(|m| m["params"]["channel"] == asked[0]).await;
    assert_shape(&quote, &recorded("quote.json"), &[]);
    let ticker = client.next_where(|m| m["params"]["channel"] == asked[1]).await;
    assert_shape(&ticker, &recorded("ticker_100ms.json"), &[]);

    venue
        .set_quote(BTC, decimal("59000"), decimal("20"), decimal("59001"), decimal("30"))
        .expect("a quote");
    let quote = client.data(asked[0]).await;
    assert_eq!(
        (&quote["best_bid_price"], &quote["best_bid_amount"], &quote["best_ask_price"]),
        (&json!(59000.0), &json!(20.0), &json!(59001.0))
    );
    assert_eq!(client.data(asked[1]).await["best_ask_amount"], json!(30.0));
    venue.trade(BTC, Side::Sell, decimal("59000"), decimal("10")).expect("a trade");
    venue.trade(BTC, Side::Buy, decimal("59001"), decimal("10")).expect("a trade");
    let message = client.next_where(|m| m["params"]["channel"] == asked[2]).await;
    assert_shape(&message, &recorded("trades_100ms.json"), &["combo_trade_id"]);
    let trades = message["params"]["data"].as_array().expect("trades");
    assert_eq!(trades.len(), 2, "what falls into the interval comes together");
    assert_eq!((&trades[0]["direction"], &trades[0]["contracts"]), (&json!("sell"), &json!(1.0)));
    assert_eq!(
        trades[1]["trade_seq"],
        json!(trades[0]["trade_seq"].as_u64().expect("a number") + 1)
    );

    venue.set_book(BTC, &[], &[(decimal("59001"), decimal("30"))]).expect("a book");
    let empty = client.next_where(|m| m["params"]["data"]["best_bid_amount"] == json!(0.0)).await;
    assert_eq!(empty["params"]["data"].get("best_bid_price"), Some(&Value::Null));
}

#[tokio::test]
async fn names_that_do_not_exist_are_left_out_and_raw_needs_a_login() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::connect(&venue).await;
    let channels = json!({ "channels": ["quote.NO-PERPETUAL", "quote.ETH-PERPETUAL", "user.orders.any.any.raw"] });
    assert_eq!(client.ok("public/subscribe", channels).await, json!(["quote.ETH-PERPETUAL"]));
    let raw = json!({ "channels": ["book.BTC-PERPETUAL.raw"] });
    assert_eq!(client.code("public/subscribe", raw.clone()).await, 13778);
    assert_eq!(client.code("private/subscribe", raw.clone()).await, 13009);
    let mut known = Client::login(&venue).await;
    known.ok("public/subscribe", raw).await;
    assert_eq!(known.data("book.BTC-PERPETUAL.raw").await["type"], "snapshot");
    let both = json!({ "channels": ["quote.ETH-PERPETUAL", "quote.BTC-PERPETUAL"] });
    assert_eq!(client.ok("public/unsubscribe", both).await, json!(["quote.ETH-PERPETUAL"]));
    client.skipped.clear();
    let (bid, ask) = (decimal("2900"), decimal("2901"));
    venue.set_quote("ETH-PERPETUAL", bid, decimal("1"), ask, decimal("1")).expect("a quote");
    client.ok("public/unsubscribe_all", json!({})).await;
    assert_eq!(client.skipped, Vec::<Value>::new());
}

/// A book built from messages, as text so that equality is exact.
#[derive(Default)]
struct Book {
    sides: BTreeMap<&'static str, BTreeMap<String, String>>,
    change_id: u64,
}

impl Book {
    fn apply(&mut self, data: &Value) {
        if data["type"] == "change" {
            assert_eq!(data["prev_change_id"], json!(self.change_id), "a gap");
        } else {
            assert_eq!(data.get("prev_change_id"), Some(&Value::Null));
            self.sides.clear();
        }
        self.change_id = data["change_id"].as_u64().expect("an id");
        for side in ["bids", "asks"] {
            let levels = self.sides.entry(side).or_default();
            for level in data[side].as_array().expect("levels") {
                let price = level[1].to_string();
                let known = match level[0].as_str().expect("a word") {
                    "delete" => levels.remove(&price).is_some(),
                    "new" => levels.insert(price, level[2].to_string()).is_none(),
                    "change" => levels.insert(price, level[2].to_string()).is_some(),
                    other => panic!("{other}"),
                };
                assert!(known, "{level} does not fit the book");
            }
        }
    }
}

#[tokio::test]
async fn changes_build_the_same_book_as_a_later_snapshot() {
    let market = MarketConfig::Seeded { events_per_second: 300.0 };
    let (_mock, venue) = deribit(VenueConfig { market, ..VenueConfig::default() }).await;
    for channel in ["book.BTC-PERPETUAL.100ms", "book.BTC-PERPETUAL.raw"] {
        let mut client = Client::login(&venue).await;
        client.subscribe(&[channel]).await;
        let first = client.next_where(|m| m["params"]["channel"] == channel).await;
        assert_shape(&first, &recorded("book_snapshot.json"), &[]);
        let mut book = Book::default();
        book.apply(&first["params"]["data"]);
        for number in 0..12 {
            let change = client.next_where(|m| m["params"]["channel"] == channel).await;
            if number == 0 {
                assert_shape(&change, &recorded("book_change.json"), &[]);
            }
            book.apply(&change["params"]["data"]);
        }
        let mut late = Client::login(&venue).await;
        late.subscribe(&[channel]).await;
        let snapshot = late.data(channel).await;
        let mut expected = Book::default();
        expected.apply(&snapshot);
        while book.change_id < expected.change_id {
            book.apply(&client.data(channel).await);
        }
        assert_eq!(book.change_id, expected.change_id, "{channel}");
        assert_eq!(book.sides, expected.sides, "{channel}");
    }
}

#[tokio::test]
async fn the_grouped_book_is_whole_in_every_message() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::connect(&venue).await;
    let channel = "book.BTC-PERPETUAL.none.1.100ms";
    client.ok("public/subscribe", json!({ "channels": [channel] })).await;
    client.data(channel).await;
    let bids = [(decimal("59000"), decimal("20")), (decimal("58000"), decimal("20"))];
    venue.set_book(BTC, &bids, &[]).expect("a book");
    let data = client.data(channel).await;
    assert_eq!((&data["bids"], &data["asks"]), (&json!([[59000.0, 20.0]]), &json!([])));
    assert_eq!(data.get("type"), None);
}

#[tokio::test]
async fn what_can_be_asked_agrees_with_what_is_pushed() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::connect(&venue).await;
    let btc = json!({ "instrument_name": BTC });
    let instrument = client.ok("public/get_instrument", btc.clone()).await;
    assert_eq!(
        (&instrument["tick_size"], &instrument["contract_size"], &instrument["kind"]),
        (&json!(0.5), &json!(10.0), &json!("future"))
    );
    let linear = json!({ "instrument_name": "ETH_USDC-PERPETUAL" });
    let instrument = client.ok("public/get_instrument", linear).await;
    assert_eq!(instrument["settlement_currency"], "USDC");
    venue.trade(BTC, Side::Sell, decimal("59900"), decimal("10")).expect("a trade");
    venue.trade(BTC, Side::Buy, decimal("60100"), decimal("30")).expect("a trade");
    let last = client.ok("public/get_last_trades_by_instrument", btc.clone()).await;
    assert_eq!((&last["trades"][0]["price"], &last["has_more"]), (&json!(60100.0), &json!(false)));
    let after = json!({ "instrument_name": BTC, "start_seq": last["trades"][0]["trade_seq"] });
    let after = client.ok("public/get_last_trades_by_instrument", after).await;
    assert_eq!(after["trades"].as_array().map(Vec::len), Some(1));
    assert_eq!(client.ok("public/ticker", btc.clone()).await["last_price"], json!(60100.0));
    let (bid, ask) = (decimal("60000"), decimal("60010"));
    venue.set_quote(BTC, bid, decimal("20"), ask, decimal("20")).expect("a quote");
    let book = client.ok("public/get_order_book", btc).await;
    assert_eq!(book["bids"], json!([[60000.0, 20.0]]));
    assert_eq!(book["best_ask_price"], json!(60010.0));
    let currencies = client.ok("public/get_currencies", json!({})).await;
    assert_eq!(currencies.as_array().map(Vec::len), Some(3));
    let hello = json!({ "client_name": "test", "client_version": "1" });
    assert!(client.ok("public/hello", hello).await["version"].is_string());
    let time = client.ok("public/get_time", json!({})).await.as_i64().expect("a time");
    assert!((time - deribit_support::now_ms()).abs() < 60_000);
}

#[tokio::test]
async fn a_recording_is_played_to_the_channel_s_subscribers() {
    let message = recorded("quote.json");
    let mut file = tempfile();
    let line = json!({
        "at_ms": 300, "exchange": "deribit", "channel": "quote.BTC-PERPETUAL", "message": message,
    });
    writeln!(file.1, "{line}").expect("the line is written");
    let config = MockConfig {
        deribit: Some(VenueConfig::quiet()),
        replay: Some(ReplayConfig { file: file.0.clone(), speed: 1.0 }),
        ..MockConfig::default()
    };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let venue = mock.venue("deribit").expect("the venue runs");
    let mut client = Client::connect(&venue).await;
    client.ok("public/subscribe", json!({ "channels": ["quote.BTC-PERPETUAL"] })).await;
    client.next_where(|got| *got == message).await;
    std::fs::remove_file(&file.0).expect("the file was there");
}

fn tempfile() -> (std::path::PathBuf, std::fs::File) {
    let path = std::env::temp_dir().join(format!("deribit-replay-{}.jsonl", std::process::id()));
    let file = std::fs::File::create(&path).expect("the file is created");
    (path, file)
}
