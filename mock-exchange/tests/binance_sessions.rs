//! Sessions, signatures, rate limits and REST.

mod common;

use common::{Client, hmac_hex, http, limit_order, now_ms, quiet_binance, signed};
use serde_json::{Value, json};

#[tokio::test]
async fn a_logged_on_session_needs_no_signature_but_a_time() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let refused = json!({"id": "r", "method": "userDataStream.subscribe"});
    client.send(&refused).await;
    let answer = client.json().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("r"), &json!(-2015)));

    let logon = client.call(&venue, "session.logon", json!({})).await;
    assert!(logon["result"]["authorizedSince"].is_i64(), "{logon}");
    client.send(&json!({"id": "u", "method": "userDataStream.subscribe"})).await;
    assert_eq!(client.json().await["result"], json!({"subscriptionId": 0}));
    client.send(&json!({"id": "u2", "method": "userDataStream.subscribe"})).await;
    assert_eq!(client.json().await["error"]["code"], -2035);

    let mut order = limit_order("BUY", "50000", "0.1", "gw-1");
    client.send(&json!({"id": "o", "method": "order.place", "params": order})).await;
    assert_eq!(client.json().await["error"]["code"], -1102);
    order["timestamp"] = now_ms().into();
    client.send(&json!({"id": "o", "method": "order.place", "params": order})).await;
    assert_eq!(client.json().await["status"], 200);

    client.send(&json!({"id": "out", "method": "session.logout"})).await;
    let answer = loop {
        let value = client.json().await;
        if value["id"] == "out" {
            break value;
        }
    };
    assert_eq!(answer["result"]["apiKey"], Value::Null);
    assert_eq!(client.json().await["event"]["e"], "eventStreamTerminated");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn wrong_keys_and_signatures_are_refused() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let mut params = signed(&venue.credentials(), json!({"symbol": "BTCUSDT"}));
    params["symbol"] = "ETHUSDT".into();
    client.send(&json!({"id": 1, "method": "openOrders.status", "params": params})).await;
    assert_eq!(client.json().await["error"]["code"], -1022);
    let mut other = venue.credentials();
    other.api_key = "A".repeat(64);
    let params = signed(&other, json!({}));
    client.send(&json!({"id": 2, "method": "openOrders.status", "params": params})).await;
    let answer = client.json().await;
    assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(401), &json!(-2015)));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn rate_limits_are_always_shown_unless_declined() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.send(&json!({"id": "1", "method": "ping"})).await;
    let answer = client.json().await;
    assert_eq!((&answer["id"], &answer["result"]), (&json!("1"), &json!({})));
    assert_eq!(answer["rateLimits"][0]["rateLimitType"], "REQUEST_WEIGHT");
    let declined = json!({"returnRateLimits": "false"});
    client.send(&json!({"id": "2", "method": "time", "params": declined})).await;
    let answer = client.json().await;
    assert!(answer.get("rateLimits").is_none(), "{answer}");
    assert!(answer["result"]["serverTime"].is_i64());
    let mut quiet =
        Client::connect(&venue, "/ws-api/v3?returnRateLimits=false&timeUnit=MICROSECOND").await;
    quiet.send(&json!({"id": 3, "method": "time"})).await;
    let answer = quiet.json().await;
    assert!(answer.get("rateLimits").is_none(), "{answer}");
    assert!(answer["result"]["serverTime"].as_i64().expect("a time") > 1_000_000_000_000_000);
    drop((client, quiet));
    mock.shutdown().await;
}

#[tokio::test]
async fn the_hundred_and_first_order_in_ten_seconds_is_one_too_many() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    // The window is aligned to the clock: at most twice its limit passes before a refusal.
    let mut refused = None;
    for n in 0..210 {
        let name = format!("gw-{n}");
        let mut order = limit_order("BUY", "50000", "0.001", &name);
        order["timeInForce"] = "IOC".into();
        let answer = client.call(&venue, "order.place", order).await;
        if answer["status"] != 200 {
            refused = Some((n, answer));
            break;
        }
    }
    let (placed, answer) = refused.expect("a limit");
    assert!(placed >= 100, "refused after {placed}");
    assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(429), &json!(-1015)));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn rest_places_queries_and_cancels_with_signature_and_key() {
    let (mock, venue) = quiet_binance().await;
    let credentials = venue.credentials();
    let url = venue.http_url();
    let key = format!(
        "X-MBX-APIKEY: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        credentials.api_key
    );
    let sign = |query: &str| {
        let query = format!("{query}&timestamp={}", now_ms());
        format!("{query}&signature={}", hmac_hex(&credentials.api_secret, &query))
    };
    let order = sign(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&price=50000&quantity=0.1&newClientOrderId=gw-1",
    );
    let (status, body) = http(&url, "POST", "/api/v3/order", &key, &order).await;
    assert_eq!(status, 200, "{body}");
    let path = format!("/api/v3/openOrders?{}", sign("symbol=BTCUSDT"));
    let (status, body) = http(&url, "GET", &path, &key, "").await;
    assert_eq!(status, 200, "{body}");
    let open: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(open[0]["clientOrderId"], "gw-1");
    let path = format!("/api/v3/order?{}", sign("symbol=BTCUSDT&origClientOrderId=gw-1"));
    let (status, body) = http(&url, "DELETE", &path, &key, "").await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = http(&url, "DELETE", &path, &key, "").await;
    assert_eq!(status, 400);
    assert!(body.contains("-2011"), "{body}");
    let (status, _) = http(&url, "GET", "/api/v3/account", &key, "").await;
    assert_eq!(status, 400);
    let path = format!("/api/v3/account?{}", sign("omitZeroBalances=true"));
    let (status, body) = http(&url, "GET", &path, &key, "").await;
    assert_eq!(status, 200, "{body}");
    assert!(mock.ledger().exchange("binance").open_orders.is_empty());
    mock.shutdown().await;
}

#[tokio::test]
async fn rest_answers_what_clients_ask_before_they_trade() {
    let (mock, venue) = quiet_binance().await;
    let url = venue.http_url();
    let (status, body) = http(&url, "GET", "/api/v3/exchangeInfo", "", "").await;
    assert_eq!(status, 200);
    let info: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(info["symbols"].as_array().expect("a list").len(), 3);
    assert_eq!(info["symbols"][0]["filters"][0]["filterType"], "PRICE_FILTER");
    for (path, start) in [
        ("/fapi/v1/exchangeInfo", r#"{"symbols":[]}"#),
        ("/sapi/v1/margin/allPairs", "[]"),
        ("/api/v3/ping", "{}"),
        ("/api/v3/time", r#"{"serverTime":"#),
        ("/api/v3/depth?symbol=BTCUSDT", r#"{"lastUpdateId":"#),
    ] {
        let (status, body) = http(&url, "GET", path, "", "").await;
        assert_eq!(status, 200, "{path}");
        assert!(body.starts_with(start), "{path}: {body}");
    }
    let (status, _) = http(&url, "GET", "/nothing", "", "").await;
    assert_eq!(status, 404);
    mock.shutdown().await;
}
