//! Orders, fills, positions and cancels over real sockets.

mod deribit_support;

use deribit_support::{
    Client, PATIENCE, assert_shape, decimal, deribit, limit, quiet_deribit, recorded, with,
};
use mock_exchange::{Limits, OrderStatus, Side, Venue, VenueConfig};
use serde_json::{Value, json};

const ORDERS: &str = "user.orders.any.any.raw";
const TRADES: &str = "user.trades.BTC-PERPETUAL.raw";

fn trade(venue: &Venue, side: Side, price: &str, amount: &str) {
    venue.trade("BTC-PERPETUAL", side, decimal(price), decimal(amount)).expect("a trade");
}

/// Buys at the market and returns the position's size.
async fn hold(client: &mut Client, amount: f64) -> f64 {
    let market = json!({ "instrument_name": "BTC-PERPETUAL", "amount": amount, "type": "market" });
    let result = client.ok("private/buy", market).await;
    assert_eq!(result["order"]["order_state"], "filled", "{result}");
    position(client).await
}

async fn position(client: &mut Client) -> f64 {
    let params = json!({ "instrument_name": "BTC-PERPETUAL" });
    client.ok("private/get_position", params).await["size"].as_f64().expect("a size")
}

#[tokio::test]
async fn an_order_lives_from_its_answer_to_its_cancel_as_recorded() {
    let (mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.subscribe(&[ORDERS]).await;
    let answer = client.call("private/buy", limit(10.0, 50_000.0, "c-1")).await;
    assert_shape(&answer, &recorded("buy_response_open.json"), &[]);
    assert_eq!(answer["result"]["trades"], json!([]));
    let order = &answer["result"]["order"];
    assert_eq!((&order["order_state"], &order["label"]), (&json!("open"), &json!("c-1")));
    let spent = answer["usOut"].as_i64().zip(answer["usIn"].as_i64()).map(|(o, i)| o - i);
    assert_eq!(answer["usDiff"].as_i64(), spent);
    let pushed = client.data(ORDERS).await;
    assert_shape(
        &pushed,
        &recorded("user_orders_raw.json")["params"]["data"],
        &["max_show", "profit_loss", "commission", "original_order_type"],
    );
    assert_eq!(pushed["order_id"], order["order_id"]);
    let id = order["order_id"].clone();
    let answer = client.call("private/cancel", json!({ "order_id": id })).await;
    assert_shape(&answer, &recorded("cancel_response.json"), &[]);
    assert_eq!(answer["result"]["cancel_reason"], "user_request");
    assert_eq!(client.data(ORDERS).await["order_state"], "cancelled");
    assert_eq!(client.code("private/cancel", json!({ "order_id": id })).await, 10010);
    let ledger = mock.ledger();
    let deribit = ledger.exchange("deribit");
    assert_eq!(deribit.open_orders, []);
    assert_eq!(deribit.orders[0].status, OrderStatus::Canceled);
    assert_eq!(json!(deribit.orders[0].exchange_id), id);
}

#[tokio::test]
async fn an_aggressive_order_is_answered_with_its_trades_and_they_are_pushed_too() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.subscribe(&[ORDERS, TRADES]).await;
    let book = [(decimal("59990"), decimal("100")), (decimal("59980"), decimal("100"))];
    venue.set_book("BTC-PERPETUAL", &book, &[]).expect("a book");
    let answer = client.call("private/sell", limit(150.0, 59_980.0, "c-1")).await;
    let recording = recorded("sell_response_filled_with_trades.json");
    assert_shape(&answer, &recording, &["max_show", "is_rebalance"]);
    let trades = answer["result"]["trades"].as_array().expect("trades");
    let amounts: Vec<&Value> = trades.iter().map(|trade| &trade["amount"]).collect();
    assert_eq!(amounts, [&json!(100.0), &json!(50.0)]);
    assert_eq!(trades[0]["liquidity"], "T");
    assert_eq!((&trades[0]["state"], &trades[1]["state"]), (&json!("open"), &json!("filled")));
    let sequence = |trade: &Value| trade["trade_seq"].as_u64().expect("a number");
    assert_eq!(sequence(&trades[1]), sequence(&trades[0]) + 1);
    let pushed = client.data(TRADES).await;
    assert_eq!(&pushed, &answer["result"]["trades"]);
    assert_shape(&pushed, &recorded("user_trades_raw.json")["params"]["data"], &[]);
    // Shorting 150 USD: half a thousandth of it is the fee, in bitcoin.
    let fee = trades[0]["fee"].as_f64().expect("a fee");
    assert!((fee - 100.0 / 59_990.0 * 0.0005).abs() < 1e-8, "{fee}");
    assert!((position(&mut client).await + 150.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_maker_hears_of_its_fills_and_the_answer_to_the_query_agrees() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.subscribe(&[ORDERS, TRADES]).await;
    let params = limit(30.0, 59_990.0, "c-1");
    let placed = client.ok("private/buy", params).await;
    let id = placed["order"]["order_id"].clone();
    trade(&venue, Side::Sell, "59990", "10");
    trade(&venue, Side::Sell, "59990", "20");
    let first = client.data(TRADES).await;
    assert_eq!((&first[0]["liquidity"], &first[0]["label"]), (&json!("M"), &json!("c-1")));
    assert_eq!(first[0]["fee"], json!(0.0));
    client.data(TRADES).await;
    let states: Vec<Value> =
        [client.data(ORDERS).await, client.data(ORDERS).await, client.data(ORDERS).await]
            .iter()
            .map(|order| json!([order["order_state"], order["filled_amount"]]))
            .collect();
    assert_eq!(states, [json!(["open", 0.0]), json!(["open", 10.0]), json!(["filled", 30.0])]);
    let order = client.ok("private/get_order_state", json!({ "order_id": id })).await;
    assert_eq!(
        (&order["order_state"], &order["average_price"]),
        (&json!("filled"), &json!(59990.0))
    );
    let trades = client.ok("private/get_user_trades_by_order", json!({ "order_id": id })).await;
    assert_eq!(trades.as_array().map(Vec::len), Some(2));
    assert_eq!(client.code("private/cancel", json!({ "order_id": id })).await, 11044);
}

#[tokio::test]
async fn what_the_venue_refuses_is_refused_with_its_code() {
    let config = VenueConfig { limits: Limits::Off, ..VenueConfig::quiet() };
    let (mock, venue) = deribit(config).await;
    let mut client = Client::login(&venue).await;
    let order = || limit(10.0, 50_000.0, "c-1");
    for (more, code) in [
        (json!({ "instrument_name": "DOGE-PERPETUAL" }), 10020),
        (json!({ "amount": 5 }), 10002),
        (json!({ "amount": 15 }), 10021),
        (json!({ "amount": "10" }), -32602),
        (json!({ "price": 50_000.25 }), 10043),
        (json!({ "price": 70_000 }), 10007),
        (json!({ "price": -1 }), 10023),
        (json!({ "price": 60_500, "post_only": true, "reject_post_only": true }), 11054),
        (json!({ "post_only": true, "time_in_force": "fill_or_kill" }), 11055),
        (json!({ "reduce_only": true }), 11030),
        (json!({ "valid_until": 1 }), 13888),
        (json!({ "label": "x".repeat(65) }), -32602),
        (json!({ "amount": 10_000_000_000_i64 }), 10009),
        (json!({ "type": "stop_limit", "trigger_price": 1 }), 10033),
        (json!({ "label": null }), -32602),
    ] {
        assert_eq!(client.code("private/buy", with(order(), &more)).await, code, "{more}");
    }
    let low = with(order(), &json!({ "price": 50_000 }));
    assert_eq!(client.code("private/sell", low).await, 10005);
    for (method, params, code) in [
        ("private/cancel", json!({ "order_id": "ETH-146001" }), 10004),
        ("private/get_order_state", json!({ "order_id": "abc" }), 10004),
        ("private/fly", json!({}), -32601),
        ("public/fly", json!({}), -32601),
        ("private/buy", json!({}), -32602),
    ] {
        assert_eq!(client.code(method, params).await, code, "{method}");
    }
    assert_eq!(mock.ledger().exchange("deribit").orders, []);
}

#[tokio::test]
async fn a_post_only_order_steps_back_unless_it_wants_to_be_refused() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    let (bid, ask) = (decimal("59999"), decimal("60001"));
    venue.set_quote("BTC-PERPETUAL", bid, decimal("100"), ask, decimal("100")).expect("a quote");
    let post = with(limit(10.0, 60_100.0, "c-1"), &json!({ "post_only": true }));
    let result = client.ok("private/buy", post).await;
    assert_eq!(result["order"]["price"], json!(60_000.5));
    let post = with(limit(10.0, 59_000.0, "c-2"), &json!({ "post_only": true }));
    let result = client.ok("private/sell", post).await;
    assert_eq!(result["order"]["price"], json!(60_001.0), "just above the bid of 60000.5");
}

#[tokio::test]
async fn an_immediate_order_ends_cancelled_with_what_it_got() {
    let (mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    let ask = (decimal("60001"), decimal("40"));
    venue.set_book("BTC-PERPETUAL", &[], &[ask]).expect("a book");
    let ioc =
        with(limit(100.0, 60_001.0, "c-1"), &json!({ "time_in_force": "immediate_or_cancel" }));
    let order = client.ok("private/buy", ioc).await["order"].clone();
    assert_eq!(
        (&order["order_state"], &order["filled_amount"]),
        (&json!("cancelled"), &json!(40.0))
    );
    assert_eq!(mock.ledger().exchange("deribit").positions["BTC-PERPETUAL"], decimal("40"));
}

#[tokio::test]
async fn labels_need_not_be_unique_and_a_cancel_by_label_takes_them_all() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.rest("buy", 50_000.0, "same").await;
    client.rest("buy", 50_000.5, "same").await;
    client.rest("buy", 50_001.0, "other").await;
    let by_label = json!({ "label": "same", "currency": "BTC" });
    let found = client.ok("private/get_order_state_by_label", by_label.clone()).await;
    assert_eq!(found.as_array().map(Vec::len), Some(2));
    let edit = json!({ "label": "same", "instrument_name": "BTC-PERPETUAL", "price": 50_002 });
    assert_eq!(client.code("private/edit_by_label", edit).await, 13032);
    assert_eq!(client.ok("private/cancel_by_label", by_label.clone()).await, json!(2));
    assert_eq!(client.ok("private/cancel_by_label", by_label).await, json!(0));
    let open = client.ok("private/get_open_orders", json!({})).await;
    assert_eq!(open.as_array().map(Vec::len), Some(1));
    let details = client.ok("private/cancel_all", json!({ "detailed": true })).await;
    assert_eq!(details[0]["result"][0]["label"], "other");
    assert_eq!(client.ok("private/cancel_all", json!({})).await, json!(0));
}

#[tokio::test]
async fn an_edit_keeps_the_id_and_says_so() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    let id = client.rest("buy", 50_000.0, "c-1").await;
    let edit = json!({ "order_id": id, "amount": 20, "price": 51_000 });
    let order = client.ok("private/edit", edit).await["order"].clone();
    assert_eq!(
        (&order["order_id"], &order["replaced"], &order["amount"], &order["price"]),
        (&json!(id), &json!(true), &json!(20.0), &json!(51_000.0))
    );
    let crossing = json!({ "order_id": id, "amount": 20, "price": 60_500 });
    let result = client.ok("private/edit", crossing).await;
    assert_eq!(result["order"]["order_state"], "filled");
    assert_eq!(result["trades"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn reduce_only_orders_never_turn_the_position_around() {
    let (mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    assert!((hold(&mut client, 100.0).await - 100.0).abs() < 1e-9);
    let reduce =
        |price: f64, label: &str| with(limit(80.0, price, label), &json!({ "reduce_only": true }));
    client.ok("private/sell", reduce(61_000.0, "a")).await;
    client.ok("private/sell", reduce(61_001.0, "b")).await;
    let buys = with(limit(10.0, 50_000.0, "c"), &json!({ "reduce_only": true }));
    assert_eq!(client.code("private/buy", buys).await, 11030);
    // One sweep through both takes only what is held.
    trade(&venue, Side::Buy, "61001", "1000");
    let ledger = mock
        .wait_for(|ledger| ledger.exchange("deribit").open_orders.is_empty(), PATIENCE)
        .await
        .expect("both are done");
    let deribit = ledger.exchange("deribit");
    assert_eq!(deribit.positions.len(), 0, "{:?}", deribit.positions);
    let filled = |label| deribit.order(label).map(|order| (order.filled, order.status));
    assert_eq!(filled("a"), Some((decimal("80"), OrderStatus::Filled)));
    assert_eq!(filled("b"), Some((decimal("20"), OrderStatus::Expired)), "its rest was taken out");
}

#[tokio::test]
async fn positions_gain_and_lose_in_their_settlement_currency() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    let linear =
        json!({ "instrument_name": "BTC_USDC-PERPETUAL", "type": "market", "amount": 0.5 });
    let bought = client.ok("private/buy", linear.clone()).await;
    let entry = bought["order"]["average_price"].as_f64().expect("a price");
    assert_eq!(bought["trades"][0]["fee_currency"], "USDC");
    let (bid, ask) = (decimal("61000"), decimal("61002"));
    venue.set_quote("BTC_USDC-PERPETUAL", bid, decimal("9"), ask, decimal("9")).expect("a quote");
    let held = client.ok("private/get_positions", json!({ "currency": "USDC" })).await;
    let floating = held[0]["floating_profit_loss"].as_f64().expect("a number");
    assert!((floating - 0.5 * (61_001.0 - entry)).abs() < 1e-6, "{held}");
    let sold = client.ok("private/sell", linear).await;
    let profit = sold["trades"][0]["profit_loss"].as_f64().expect("a number");
    assert!((profit - 0.5 * (61_000.0 - entry)).abs() < 1e-6, "{sold}");
    assert_eq!(client.ok("private/get_positions", json!({ "currency": "any" })).await, json!([]));
    let account = client.ok("private/get_account_summary", json!({ "currency": "USDC" })).await;
    let fees: f64 = [&bought, &sold]
        .iter()
        .map(|result| result["trades"][0]["fee"].as_f64().expect("a fee"))
        .sum();
    let balance = account["balance"].as_f64().expect("a balance");
    assert!((balance - (10_000_000.0 + profit - fees)).abs() < 1e-6, "{account}");
}

#[tokio::test]
async fn the_portfolio_and_the_changes_follow_a_fill() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    let changes = "user.changes.future.BTC.raw";
    client.subscribe(&["user.portfolio.BTC", changes]).await;
    let before = client.data("user.portfolio.BTC").await;
    assert_shape(&before, &recorded("user_portfolio.json")["params"]["data"], &[]);
    hold(&mut client, 1_000.0).await;
    let change = client.data(changes).await;
    assert_eq!(change["instrument_name"], "BTC-PERPETUAL");
    assert_eq!(change["positions"][0]["size"], json!(1000.0));
    assert_eq!(change["trades"].as_array().map(Vec::len), Some(1));
    let after = client.data("user.portfolio.BTC").await;
    assert!(after["balance"].as_f64() < before["balance"].as_f64(), "the fee is gone");
    assert!(after["initial_margin"].as_f64() > Some(0.0));
}
