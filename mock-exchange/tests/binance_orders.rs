//! Orders over the API socket are answered, reported and booked as the exchange does.

mod common;

use common::{Client, LIMIT, assert_shape, limit_order, quiet_binance, recorded};
use mock_exchange::{CancelOutcome, OrderStatus, Side};
use rust_decimal::Decimal;
use serde_json::json;

#[tokio::test]
async fn a_resting_order_is_answered_then_reported_then_cancelled_under_the_cancels_name() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.subscribe_user(&venue).await;
    let mut order = limit_order("BUY", "50000.00", "0.01", "gw-1");
    order["newOrderRespType"] = "ACK".into();
    let id = client.post(&venue, "order.place", order).await;

    let text = client.text().await;
    assert!(text.starts_with(&format!(r#"{{"id":{id},"status":200,"result":{{"#)), "{text}");
    let report = client.json().await;
    assert_eq!(report["subscriptionId"], 0);
    let report = &report["event"];
    assert_eq!(
        (&report["x"], &report["X"], &report["c"]),
        (&json!("NEW"), &json!("NEW"), &json!("gw-1"))
    );
    assert_eq!(report["C"], "");
    let position = client.json().await;
    assert_eq!(position["event"]["B"][0]["a"], "USDT");
    assert_eq!(position["event"]["B"][0]["l"], "500.00000000");

    let cancel = json!({"symbol": "BTCUSDT", "origClientOrderId": "gw-1"});
    let answer = client.call(&venue, "order.cancel", cancel.clone()).await;
    assert_eq!(answer["result"]["status"], "CANCELED");
    assert_eq!(answer["result"]["origClientOrderId"], "gw-1");
    let cancel_id = answer["result"]["clientOrderId"].as_str().expect("a name").to_owned();
    assert_ne!(cancel_id, "gw-1");
    let report = client.event("executionReport").await;
    assert_eq!(
        (&report["x"], &report["c"], &report["C"]),
        (&json!("CANCELED"), &json!(cancel_id), &json!("gw-1"))
    );

    let again = client.call(&venue, "order.cancel", cancel).await;
    assert_eq!((&again["status"], &again["error"]["code"]), (&json!(400), &json!(-2011)));

    drop(client);
    let ledger = mock.shutdown().await;
    let binance = ledger.exchange("binance");
    assert!(binance.open_orders.is_empty());
    assert_eq!(binance.order("gw-1").expect("booked").status, OrderStatus::Canceled);
    let outcomes: Vec<_> = binance.cancels.iter().map(|c| (c.order.as_str(), c.outcome)).collect();
    assert_eq!(outcomes, [("gw-1", CancelOutcome::Canceled), ("gw-1", CancelOutcome::NotOpen)]);
    assert_eq!(binance.balances["USDT"].locked, Decimal::ZERO);
}

#[tokio::test]
async fn a_market_order_fills_at_the_quote_and_pays_its_fee_in_what_it_received() {
    let (mock, venue) = quiet_binance().await;
    let one = Decimal::ONE;
    let (bid, ask) = (Decimal::from(59_990), Decimal::from(60_010));
    venue.set_quote("BTCUSDT", bid, one, ask, one).expect("the quote is set");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.subscribe_user(&venue).await;
    let order = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.5", "newClientOrderId": "m-1"});
    let answer = client.call(&venue, "order.place", order).await;
    let result = &answer["result"];
    assert_eq!(result["status"], "FILLED");
    assert_eq!(result["cummulativeQuoteQty"], "30005.00000000");
    assert_eq!(result["fills"][0]["price"], "60010.00000000");
    assert_eq!(result["fills"][0]["commission"], "0.00050000");
    assert_eq!(result["fills"][0]["commissionAsset"], "BTC");
    assert_eq!(client.event("executionReport").await["x"], "NEW");
    let trade = client.event("executionReport").await;
    assert_eq!(
        (&trade["x"], &trade["X"], &trade["m"]),
        (&json!("TRADE"), &json!("FILLED"), &json!(false))
    );

    let ledger = mock.ledger();
    let btc = ledger.exchange("binance").balances["BTC"].free;
    assert_eq!(btc, Decimal::from(1_000) + Decimal::new(4995, 4));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn another_participants_trade_fills_a_resting_order() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.subscribe_user(&venue).await;
    client.call(&venue, "order.place", limit_order("BUY", "50000", "2", "gw-1")).await;
    let price = Decimal::from(50_000);
    venue.trade("BTCUSDT", Side::Sell, price, Decimal::ONE).expect("the trade happens");
    let partial = loop {
        let report = client.event("executionReport").await;
        if report["x"] == "TRADE" {
            break report;
        }
    };
    assert_eq!((&partial["X"], &partial["m"]), (&json!("PARTIALLY_FILLED"), &json!(true)));
    assert_eq!(partial["L"], "50000.00000000");
    venue.trade("BTC/USDT", Side::Sell, price, Decimal::TEN).expect("the trade happens");
    let ledger = mock
        .wait_for(|ledger| ledger.exchange("binance").fills.len() == 2, LIMIT)
        .await
        .expect("both fills are booked");
    let order = ledger.exchange("binance").order("gw-1").expect("booked").clone();
    assert_eq!(order.status, OrderStatus::Filled);
    assert_eq!(order.average_price, Some(price));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn an_immediate_order_expires_with_its_reason_and_a_post_only_one_is_refused() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.subscribe_user(&venue).await;
    let mut ioc = limit_order("BUY", "50000", "1", "ioc-1");
    ioc["timeInForce"] = "IOC".into();
    let answer = client.call(&venue, "order.place", ioc).await;
    assert_eq!(answer["result"]["status"], "EXPIRED");
    assert_eq!(client.event("executionReport").await["x"], "NEW");
    let expired = client.event("executionReport").await;
    assert_eq!(
        (&expired["x"], &expired["eR"]),
        (&json!("EXPIRED"), &json!("UNFILLED_IOC_QUANTITY_EXPIRED"))
    );

    let maker = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "price": "70000", "quantity": "1"});
    let answer = client.call(&venue, "order.place", maker.clone()).await;
    assert_eq!(answer["error"]["code"], -2010);
    assert_eq!(answer["error"]["msg"], "Order would immediately match and take.");
    let mut surplus = maker;
    surplus["timeInForce"] = "GTC".into();
    let answer = client.call(&venue, "order.place", surplus).await;
    assert_eq!(answer["error"]["code"], -1106);
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn refusals_carry_the_codes_of_the_exchange() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let ok = limit_order("BUY", "50000", "1", "gw-1");
    let with = |name: &str, value: &str| {
        let mut order = ok.clone();
        order[name] = value.into();
        order
    };
    let cases = [
        (with("symbol", "NOPE"), -1121, "Invalid symbol."),
        (with("price", "50000.001"), -1013, "Filter failure: PRICE_FILTER"),
        (with("quantity", "0.000001"), -1013, "Filter failure: LOT_SIZE"),
        (with("quantity", "0.00001"), -1013, "Filter failure: NOTIONAL"),
        (with("price", "5e4"), -1100, "Illegal characters found in parameter 'price'"),
        (with("price", "1.123456789"), -1111, "too much precision"),
        (with("newClientOrderId", "a b"), -1100, "newClientOrderId"),
        (with("side", "HOLD"), -1117, "Invalid side."),
        (with("quantity", "5000"), -2010, "Account has insufficient balance"),
        (with("timestamp", "1600000000000"), -1021, "outside of the recvWindow"),
    ];
    for (order, code, text) in cases {
        let answer = client.call(&venue, "order.place", order).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(answer["error"]["msg"].as_str().expect("text").contains(text), "{answer}");
        assert!(answer["rateLimits"].is_array(), "{answer}");
    }
    let first = client.call(&venue, "order.place", ok.clone()).await;
    assert_eq!(first["status"], 200);
    let second = client.call(&venue, "order.place", ok).await;
    assert_eq!(second["error"]["msg"], "Duplicate order sent.");
    assert_eq!(mock.ledger().exchange("binance").open_orders.len(), 1);
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn queries_and_cancel_all_agree_with_the_ledger() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    for n in 1..=3 {
        let order = limit_order("BUY", "50000", "0.1", &format!("gw-{n}"));
        assert_eq!(client.call(&venue, "order.place", order).await["status"], 200);
    }
    let open = client.call(&venue, "openOrders.status", json!({})).await;
    assert_eq!(open["result"].as_array().expect("a list").len(), 3);
    let one = json!({"symbol": "BTCUSDT", "orderId": "2"});
    let status = client.call(&venue, "order.status", one).await;
    assert_eq!(status["result"]["clientOrderId"], "gw-2");
    let unknown = json!({"symbol": "BTCUSDT", "origClientOrderId": "nobody"});
    let status = client.call(&venue, "order.status", unknown).await;
    assert_eq!(status["error"]["code"], -2013);
    let missing = client.call(&venue, "openOrders.cancelAll", json!({})).await;
    assert_eq!(missing["error"]["code"], -1102);
    let all = client.call(&venue, "openOrders.cancelAll", json!({"symbol": "BTCUSDT"})).await;
    assert_eq!(all["result"].as_array().expect("a list").len(), 3);
    let none = client.call(&venue, "openOrders.cancelAll", json!({"symbol": "BTCUSDT"})).await;
    assert_eq!(none["error"]["code"], -2011);
    drop(client);
    let ledger = mock.shutdown().await;
    assert!(ledger.exchange("binance").open_orders.is_empty());
    assert_eq!(ledger.exchange("binance").requests.len(), 6);
}

#[tokio::test]
async fn cancel_replace_says_which_half_failed() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.call(&venue, "order.place", limit_order("BUY", "50000", "1", "gw-1")).await;
    let replace = |old: &str, new: &str, price: &str| {
        let mut params = limit_order("BUY", price, "1", new);
        params["cancelReplaceMode"] = "STOP_ON_FAILURE".into();
        params["cancelOrigClientOrderId"] = old.into();
        params
    };
    let both = client.call(&venue, "order.cancelReplace", replace("gw-1", "gw-2", "50001")).await;
    assert_eq!(both["result"]["cancelResponse"]["origClientOrderId"], "gw-1");
    assert_eq!(both["result"]["newOrderResponse"]["clientOrderId"], "gw-2");
    let none = client.call(&venue, "order.cancelReplace", replace("gw-1", "gw-3", "50001")).await;
    assert_eq!(none["error"]["code"], -2022);
    assert_eq!(none["error"]["data"]["newOrderResult"], "NOT_ATTEMPTED");
    let half = client.call(&venue, "order.cancelReplace", replace("gw-2", "gw-4", "0.001")).await;
    assert_eq!((&half["status"], &half["error"]["code"]), (&json!(409), &json!(-2021)));
    assert_eq!(half["error"]["data"]["newOrderResponse"]["code"], -1013);
    assert!(mock.ledger().exchange("binance").open_orders.is_empty());
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn answers_and_events_have_the_recorded_shapes() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let logon = client.call(&venue, "session.logon", json!({})).await;
    assert_shape(&logon["result"], &recorded("api_session_logon_ack.json")["result"]);
    client.subscribe_user(&venue).await;
    let mut order = limit_order("BUY", "50000", "1", "gw-1");
    order["newOrderRespType"] = "ACK".into();
    let ack = client.call(&venue, "order.place", order).await;
    // The recorded ids are texts, the ids here are numbers: both are echoed as sent.
    let without_id = |mut value: serde_json::Value| {
        value["id"] = json!("");
        value
    };
    assert_shape(&without_id(ack), &recorded("api_order_place_ack.json"));
    let report = client.json().await;
    assert_shape(&report, &recorded("user_execution_report_new.json"));
    let position = client.json().await;
    assert_shape(&position, &recorded("user_account_position.json"));
    let open = client.call(&venue, "openOrders.status", json!({})).await;
    assert_shape(&without_id(open), &recorded("api_open_orders_status.json"));
    let market = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"});
    let filled = client.call(&venue, "order.place", market.clone()).await;
    assert_shape(&without_id(filled), &recorded("api_order_place_full_filled.json"));
    let mut too_much = market;
    too_much["side"] = "SELL".into();
    too_much["quantity"] = "1500".into();
    let rejected = client.call(&venue, "order.place", too_much).await;
    assert_shape(&without_id(rejected), &recorded("api_order_place_rejected.json"));
    drop(client);
    mock.shutdown().await;
}
