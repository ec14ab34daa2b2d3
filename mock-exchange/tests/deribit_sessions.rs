//! Logins, heartbeats, limits, cancel on disconnect, and the same methods over HTTP.

mod deribit_support;

use std::time::Duration;

use deribit_support::{
    Client, PATIENCE, assert_shape, credentials, deribit, hmac_hex, http, limit, now_ms,
    quiet_deribit, recorded, signed, with,
};
use mock_exchange::{ClosedBy, ExchangeLedger, Limits, MockExchange, OrderStatus, VenueConfig};
use serde_json::{Value, json};

fn open(ledger: &ExchangeLedger) -> Vec<&str> {
    ledger.open_orders.iter().map(|order| order.client_id.as_str()).collect()
}

async fn wait(mock: &MockExchange, met: impl Fn(&ExchangeLedger) -> bool) -> ExchangeLedger {
    let ledger = mock.wait_for(|ledger| met(ledger.exchange("deribit")), PATIENCE).await;
    ledger.expect("it happens").exchange("deribit").clone()
}

#[tokio::test]
async fn the_documented_credentials_log_in_and_private_calls_need_a_login() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::connect(&venue).await;
    assert_eq!(client.code("private/buy", limit(10.0, 50_000.0, "c-1")).await, 13009);
    let wrong = with(credentials(&venue), &json!({ "client_secret": "wrong" }));
    assert_eq!(client.code("public/auth", wrong).await, 13004);
    let answer = client.call("public/auth", credentials(&venue)).await;
    assert_shape(&answer, &recorded("auth_response.json"), &[]);
    let scope = answer["result"]["scope"].as_str().expect("a scope");
    assert!(scope.contains("trade:read_write") && scope.contains("connection"), "{scope}");
    client.rest("buy", 50_000.0, "c-1").await;
}

#[tokio::test]
async fn a_signature_logs_in_while_it_is_fresh_and_right() {
    let (_mock, venue) = quiet_deribit().await;
    let own = venue.credentials();
    let mut client = Client::connect(&venue).await;
    let signature = |timestamp: i64, data: &str| {
        let signature = hmac_hex(&own.api_secret, &format!("{timestamp}\nabc\n{data}"));
        json!({
            "grant_type": "client_signature", "client_id": own.api_key, "nonce": "abc",
            "timestamp": timestamp, "data": data, "signature": signature, "scope": "session:gw",
        })
    };
    let old = signature(now_ms() - 600_000, "");
    assert_eq!(client.code("public/auth", old).await, 13009);
    let changed = with(signature(now_ms(), "one"), &json!({ "data": "two" }));
    assert_eq!(client.code("public/auth", changed).await, 13009);
    let result = client.ok("public/auth", signature(now_ms(), "one")).await;
    assert_eq!(result["sid"], "gw");
    client.rest("buy", 50_000.0, "c-1").await;
}

#[tokio::test]
async fn tokens_are_renewed_expire_and_end_with_their_connection() {
    let config = VenueConfig { limits: Limits::Off, ..VenueConfig::quiet() };
    let (mock, venue) = deribit(config).await;
    let mut client = Client::connect(&venue).await;
    let first = client.ok("public/auth", credentials(&venue)).await;
    assert_eq!(first["expires_in"], 900);
    let refresh = json!({ "grant_type": "refresh_token", "refresh_token": first["refresh_token"] });
    let second = client.ok("public/auth", refresh.clone()).await;
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(client.code("public/auth", refresh).await, 13009, "a token is renewed once");

    let mut other = Client::connect(&venue).await;
    let with_token = json!({ "access_token": second["access_token"] });
    other.ok("private/get_open_orders", with_token.clone()).await;
    client.socket.close(None).await.expect("a close");
    client.closed().await;
    wait(&mock, |ledger| ledger.connections[0].closed.is_some()).await;
    assert_eq!(other.code("private/get_open_orders", with_token).await, 13009);

    let narrow = with(credentials(&venue), &json!({ "scope": "session:s trade:read expires:1" }));
    let named = other.ok("public/auth", narrow).await;
    assert_eq!(named["expires_in"], 1);
    assert_eq!(other.code("private/buy", limit(10.0, 50_000.0, "c-1")).await, 13021);
    let refused = other.code("private/enable_cancel_on_disconnect", json!({})).await;
    assert_eq!(refused, 13021, "the scope grants no account:read_write");
    let start = std::time::Instant::now();
    while other.call("private/get_open_orders", json!({})).await.get("error").is_none() {
        assert!(start.elapsed() < PATIENCE, "the login never expires");
    }
}

#[tokio::test]
async fn ids_are_echoed_with_their_type_and_what_is_no_request_is_refused() {
    let (_mock, venue) = quiet_deribit().await;
    let mut client = Client::connect(&venue).await;
    let expected = recorded("public_test_response.json");
    for (id, text) in [
        (json!(8212), r#"{"jsonrpc":"2.0","id":8212,"method":"public/test","params":{}}"#),
        (json!("a-1"), r#"{"params":{},"id":"a-1","method":"public/test","jsonrpc":"2.0"}"#),
    ] {
        client.send_text(text).await;
        let answer = client.next().await;
        assert_eq!((&answer["id"], &answer["result"]), (&id, &expected["result"]));
    }
    let long = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}", "x".repeat(33_000));
    for (text, code) in [
        ("no json", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","method":"public/test"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"public/test","params":[1]}"#, -32602),
        (long.as_str(), -32600),
    ] {
        client.send_text(text).await;
        assert_eq!(client.next().await["error"]["code"], code, "{code}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_heartbeat_is_closed_and_its_orders_go() {
    let heartbeat = Some(Duration::from_millis(150));
    let (mock, venue) = deribit(VenueConfig { heartbeat, ..VenueConfig::quiet() }).await;
    let mut client = Client::login(&venue).await;
    assert_eq!(client.code("public/set_heartbeat", json!({ "interval": 9 })).await, -32602);
    client.ok("private/enable_cancel_on_disconnect", json!({ "scope": "connection" })).await;
    client.rest("buy", 50_000.0, "c-1").await;
    client.ok("public/set_heartbeat", json!({ "interval": 10 })).await;
    let test_request = recorded("heartbeat_test_request.json");
    for _ in 0..4 {
        client.next_where(|message| *message == test_request).await;
        client.ok("public/test", json!({})).await;
    }
    assert_eq!(open(mock.ledger().exchange("deribit")), ["c-1"]);
    client.next_where(|message| *message == test_request).await;
    // Another request is no answer.
    client.ok("public/get_time", json!({})).await;
    assert_eq!(client.closed().await, Some(1000));
    let ledger = wait(&mock, |ledger| ledger.connections[0].closed.is_some()).await;
    assert_eq!(ledger.orders[0].status, OrderStatus::Canceled);
    assert_eq!(ledger.connections[0].closed_by, Some(ClosedBy::Server));
}

#[tokio::test]
async fn without_an_answer_expected_disable_heartbeat_ends_it() {
    let heartbeat = Some(Duration::from_millis(100));
    let (_mock, venue) = deribit(VenueConfig { heartbeat, ..VenueConfig::quiet() }).await;
    let mut client = Client::connect(&venue).await;
    client.ok("public/set_heartbeat", json!({ "interval": 10 })).await;
    client.ok("public/disable_heartbeat", json!({})).await;
    let silence = tokio::time::timeout(Duration::from_millis(350), client.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn a_lost_or_closed_connection_takes_its_own_orders_with_it_and_no_others() {
    for clean in [true, false] {
        let (mock, venue) = quiet_deribit().await;
        let mut watcher = Client::login(&venue).await;
        watcher.subscribe(&["user.orders.any.any.raw"]).await;
        watcher.rest("buy", 50_000.0, "others").await;
        let mut client = Client::login(&venue).await;
        client.ok("private/enable_cancel_on_disconnect", json!({})).await;
        let state = client.ok("private/get_cancel_on_disconnect", json!({})).await;
        assert_eq!(state, json!({ "scope": "connection", "enabled": true }));
        client.rest("buy", 50_000.0, "own").await;
        if clean {
            client.socket.close(None).await.expect("a close");
        } else {
            drop(client);
        }
        let message = watcher
            .next_where(|message| message["params"]["data"]["order_state"] == "cancelled")
            .await;
        let order = &message["params"]["data"];
        assert_eq!(
            (&order["label"], &order["cancel_reason"]),
            (&json!("own"), &json!("cancel_on_disconnect")),
            "clean: {clean}"
        );
        assert_eq!(open(mock.ledger().exchange("deribit")), ["others"]);
    }
}

#[tokio::test]
async fn a_logout_leaves_the_orders_and_answers_nothing() {
    let (mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.ok("private/enable_cancel_on_disconnect", json!({})).await;
    client.rest("buy", 50_000.0, "c-1").await;
    client.post("private/logout", json!({ "invalidate_token": true })).await;
    assert_eq!(client.closed().await, Some(1000));
    wait(&mock, |ledger| ledger.connections[0].closed.is_some()).await;
    assert_eq!(open(mock.ledger().exchange("deribit")), ["c-1"]);
}

#[tokio::test]
async fn without_it_a_lost_connection_leaves_its_orders_and_for_the_account_new_ones_have_it() {
    let (mock, venue) = quiet_deribit().await;
    let mut first = Client::login(&venue).await;
    first.rest("buy", 50_000.0, "first").await;
    first.ok("private/enable_cancel_on_disconnect", json!({ "scope": "account" })).await;
    let state = first.ok("private/get_cancel_on_disconnect", json!({ "scope": "account" })).await;
    assert_eq!(state, json!({ "scope": "account", "enabled": true }));
    let mut second = Client::login(&venue).await;
    second.rest("buy", 50_000.0, "second").await;
    drop(first);
    drop(second);
    let ledger = wait(&mock, |ledger| ledger.connections.iter().all(|c| c.closed.is_some())).await;
    assert_eq!(open(&ledger), ["first"], "the connection was open before the setting");
}

#[tokio::test]
async fn who_runs_out_of_credits_is_told_and_loses_the_session() {
    let (mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.ok("private/enable_cancel_on_disconnect", json!({})).await;
    for number in 0..40 {
        client.post("private/buy", limit(10.0, 50_000.0, &format!("c-{number}"))).await;
    }
    let refusal = client.next_where(|message| message.get("error").is_some()).await;
    assert_eq!(refusal["error"]["code"], 10028);
    assert_eq!(refusal["error"]["message"], "too_many_requests");
    assert_eq!(client.closed().await, Some(1008));
    let ledger = wait(&mock, |ledger| ledger.open_orders.is_empty()).await;
    assert!((20..=25).contains(&ledger.orders.len()), "{} orders", ledger.orders.len());

    let (_mock, venue) = deribit(VenueConfig { limits: Limits::Off, ..VenueConfig::quiet() }).await;
    let mut client = Client::login(&venue).await;
    for number in 0..40 {
        client.rest("buy", 50_000.0, &format!("c-{number}")).await;
    }
}

#[tokio::test]
async fn the_same_methods_answer_over_http() {
    let (mock, venue) = quiet_deribit().await;
    let (status, answer) =
        http(&venue, "GET", "/api/v2/public/get_instruments?currency=any", "", "").await;
    assert_eq!(status, 200);
    let names: Vec<&Value> = answer["result"]
        .as_array()
        .expect("instruments")
        .iter()
        .map(|instrument| &instrument["instrument_name"])
        .collect();
    let expected = ["BTC-PERPETUAL", "ETH-PERPETUAL", "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"];
    assert_eq!(names, expected);
    let target = "/api/v2/private/buy?instrument_name=BTC-PERPETUAL&amount=10&type=limit&price=50000.0&label=h-1";
    let (status, answer) = http(&venue, "GET", target, "", "").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(13009)));
    let forged = signed(&venue, "POST", target);
    let (status, answer) = http(&venue, "GET", target, &forged, "").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(13009)));
    let (status, answer) = http(&venue, "GET", target, &signed(&venue, "GET", target), "").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["result"]["order"]["label"], "h-1");

    let basic =
        "Authorization: Basic Zm83V0FQUm00UDpXMEg2RkpXNElSUFoxTU9ROEZQNktNQzVSWkRVVUtYUw==\r\n";
    let body = r#"{"jsonrpc":"2.0","id":"x","method":"private/get_open_orders","params":{}}"#;
    let (status, answer) =
        http(&venue, "POST", "/api/v2/private/get_open_orders", basic, body).await;
    assert_eq!((status, &answer["id"]), (200, &json!("x")), "{answer}");
    assert_eq!(answer["result"].as_array().map(Vec::len), Some(1));

    let own = venue.credentials();
    let login = format!(
        "/api/v2/public/auth?grant_type=client_credentials&client_id={}&client_secret={}",
        own.api_key, own.api_secret
    );
    let (_, answer) = http(&venue, "GET", &login, "", "").await;
    let token = answer["result"]["access_token"].as_str().expect("a token");
    let bearer = format!("Authorization: bearer {token}\r\n");
    let (_, answer) = http(&venue, "GET", "/api/v2/private/cancel_all", &bearer, "").await;
    assert_eq!(answer["result"], 1);
    let target = "/api/v2/public/subscribe?channels=[]";
    let (status, answer) = http(&venue, "GET", target, "", "").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(10030)));
    assert!(mock.ledger().exchange("deribit").open_orders.is_empty());
}
