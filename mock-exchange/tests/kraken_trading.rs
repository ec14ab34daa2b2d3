//! Order entry, executions and balances over real sockets.

mod kraken_support;

use std::time::Duration;

use kraken_support::{Client, PATIENCE, best, kraken, private, quiet_kraken, token};
use mock_exchange::{
    Clock, ClosedBy, Limits, MockConfig, MockExchange, OrderStatus, Side, Tier, Venue, VenueConfig,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("decimal")
}

fn order(token: &str, more: &Value) -> Value {
    let mut params = json!({
        "order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.01,
        "limit_price": 50000.0, "token": token,
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn sell(venue: &Venue, price: &str, quantity: &str) {
    venue.trade("BTC/USD", Side::Sell, decimal(price), decimal(quantity)).expect("a trade");
}

#[tokio::test]
async fn a_resting_order_is_reported_until_its_cancel_with_growing_sequence_numbers() {
    let (mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let id = client.limit(&token, "buy", "50000.0", "c-1").await;
    let cancel =
        client.call("cancel_order", &json!({ "cl_ord_id": ["c-1"], "token": token })).await;
    assert_eq!(cancel["success"], true, "{cancel}");
    assert_eq!(cancel["result"], json!({ "order_id": id, "cl_ord_id": "c-1" }));
    let mut messages = std::mem::take(&mut client.skipped);
    messages.push(client.next_of("executions").await);
    let seen: Vec<(u64, &str)> = messages
        .iter()
        .filter(|message| message["channel"] == "executions")
        .map(|message| {
            let report = &message["data"][0];
            assert_eq!(report["order_id"], id);
            (message["sequence"].as_u64().unwrap_or(0), report["exec_type"].as_str().unwrap_or(""))
        })
        .collect();
    assert_eq!(seen, [(2, "pending_new"), (3, "new"), (4, "canceled")]);
    let new = &messages.iter().find(|m| m["sequence"] == 3).expect("new")["data"][0];
    assert_eq!(new.get("symbol"), None, "follow-up reports are deltas");
    assert_eq!(messages.last().expect("canceled")["data"][0]["reason"], "User requested");
    let ledger = mock.ledger();
    let kraken = ledger.exchange("kraken");
    assert_eq!(kraken.open_orders, []);
    assert_eq!(kraken.orders[0].status, OrderStatus::Canceled);
    assert_eq!(kraken.orders[0].exchange_id, id);
}

#[tokio::test]
async fn the_last_fill_still_says_partially_filled_and_filled_comes_apart() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    client.limit(&token, "buy", "59990.0", "c-1").await;
    sell(&venue, "59990.0", "0.004");
    sell(&venue, "59990.0", "0.006");
    let mut reports = Vec::new();
    while reports.last().is_none_or(|report: &Value| report["exec_type"] != "filled") {
        reports.push(client.report().await);
    }
    let types: Vec<(&str, &str)> = reports
        .iter()
        .map(|r| (r["exec_type"].as_str().unwrap_or(""), r["order_status"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        types[types.len() - 3..],
        [("trade", "partially_filled"), ("trade", "partially_filled"), ("filled", "filled")]
    );
    let last = &reports[reports.len() - 2];
    assert_eq!((&last["last_qty"], &last["cum_qty"]), (&json!(0.006), &json!(0.010)));
    assert_eq!((&last["liquidity_ind"], &last["cl_ord_id"]), (&json!("m"), &json!("c-1")));
    assert_eq!(last["fees"][0]["asset"], "USD");
    assert_ne!(last["exec_id"], reports[reports.len() - 3]["exec_id"]);
    assert_eq!(reports.last().and_then(|filled| filled.get("exec_id")), None);
}

#[tokio::test]
async fn an_immediate_order_takes_what_is_there_and_its_rest_expires() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    venue
        .set_quote(
            "BTC/USD",
            decimal("59999.0"),
            decimal("1"),
            decimal("60001.0"),
            decimal("0.004"),
        )
        .expect("a quote");
    let more = json!({ "limit_price": "60001.0", "time_in_force": "ioc" });
    let answer = client.call("add_order", &order(&token, &more)).await;
    assert_eq!(answer["success"], true, "{answer}");
    let expired = loop {
        let report = client.report().await;
        if report["exec_type"] == "expired" {
            break report;
        }
    };
    assert_eq!((&expired["cum_qty"], &expired["avg_price"]), (&json!(0.004), &json!(60001)));
}

#[tokio::test]
async fn a_market_order_without_a_client_id_fills_at_once_and_the_next_may_lack_one_too() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let (_, ask) = best(&venue, "BTC/USD").await;
    for _ in 0..2 {
        let params = json!({
            "order_type": "market", "side": "buy", "symbol": "BTC/USD", "order_qty": "0.01",
            "token": token,
        });
        let answer = client.call("add_order", &params).await;
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(answer["result"].get("cl_ord_id"), None);
        let trade = loop {
            let report = client.report().await;
            if report["exec_type"] == "trade" {
                break report;
            }
        };
        assert_eq!(trade["last_price"].as_f64(), Some(ask));
        assert_eq!(trade["liquidity_ind"], "t");
    }
}

#[tokio::test]
async fn refusals_have_the_venue_s_texts_and_no_result() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    for (more, error) in [
        (json!({ "token": "nonsense" }), "ESession:Invalid session"),
        (json!({ "limit_price": 50000.05 }), "EOrder:Invalid price"),
        (json!({ "order_qty": 0.00001 }), "EOrder:Order minimum not met (volume too low)"),
        (json!({ "limit_price": 1.0 }), "EOrder:Cost minimum not met"),
        (json!({ "order_qty": 100_000 }), "EOrder:Insufficient funds (insufficient user funds)"),
        (json!({ "limit_price": 61000, "post_only": true }), "EOrder:Post only order"),
        (json!({ "symbol": "DOGE/USD" }), "EQuery:Unknown asset pair"),
        (json!({ "order_type": "iceberg" }), "EGeneral:Invalid arguments"),
        (json!({ "cl_ord_id": "an id that is much too long" }), "EGeneral:Invalid arguments"),
    ] {
        let answer = client.call("add_order", &order(&token, &more)).await;
        assert_eq!(answer["success"], false, "{more}: {answer}");
        let text = answer["error"].as_str().expect("one string");
        assert!(text.starts_with(error), "{more}: {text}");
        assert_eq!(answer.get("result"), None);
    }
    for params in [json!({ "order_id": ["OABCDE-12345-FGHIJ"] }), json!({ "cl_ord_id": ["x"] })] {
        let params = order(&token, &params);
        let answer = client.call("cancel_order", &params).await;
        assert_eq!(
            (&answer["success"], &answer["error"]),
            (&json!(false), &json!("EOrder:Unknown order"))
        );
    }
}

#[tokio::test]
async fn an_open_client_id_is_taken_and_a_closed_one_is_free_again() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    client.limit(&token, "buy", "50000.0", "c-1").await;
    let again = client.call("add_order", &order(&token, &json!({ "cl_ord_id": "c-1" }))).await;
    assert_eq!(again["success"], false);
    client.call("cancel_order", &json!({ "cl_ord_id": "c-1", "token": token })).await;
    client.limit(&token, "buy", "50000.0", "c-1").await;
}

#[tokio::test]
async fn a_cancel_of_several_orders_gets_one_answer_for_each() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let first = client.limit(&token, "buy", "50000.0", "c-1").await;
    client.limit(&token, "buy", "50000.0", "c-2").await;
    let params =
        json!({ "order_id": [first, "OABCDE-12345-FGHIJ"], "cl_ord_id": ["c-2"], "token": token });
    client.send(&json!({ "method": "cancel_order", "params": params, "req_id": "seven" })).await;
    let mut answers = Vec::new();
    while answers.len() < 3 {
        let answer = client.next_where(|message| message["req_id"] == "seven").await;
        answers.push(answer["success"].as_bool().unwrap_or(false));
    }
    assert_eq!(answers, [true, false, true]);
}

#[tokio::test]
async fn cancel_all_and_batches_count_their_orders() {
    let (mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let batch = json!({
        "symbol": "BTC/USD", "token": token,
        "orders": [
            { "order_type": "limit", "side": "buy", "order_qty": 0.01, "limit_price": 50000, "cl_ord_id": "b-1" },
            { "order_type": "limit", "side": "buy", "order_qty": 0, "limit_price": 50000 },
            { "order_type": "limit", "side": "buy", "order_qty": "0.01", "limit_price": "50001", "cl_ord_id": "b-3" },
        ],
    });
    let answer = client.call("batch_add", &batch).await;
    assert_eq!(answer["success"], true);
    let outcomes: Vec<Option<bool>> = answer["result"]["orders"]
        .as_array()
        .expect("orders")
        .iter()
        .map(|element| element["success"].as_bool())
        .collect();
    assert_eq!(outcomes, [Some(true), Some(false), Some(true)]);
    client.limit(&token, "buy", "50002.0", "c-4").await;
    let params = json!({ "orders": ["b-1", "unknown"], "token": token });
    let answer = client.call("batch_cancel", &params).await;
    assert_eq!(answer["result"]["count"], 1, "{answer}");
    let answer = client.call("cancel_all", &json!({ "token": token })).await;
    assert_eq!(answer["result"]["count"], 2);
    assert_eq!(mock.ledger().exchange("kraken").open_orders, []);
}

#[tokio::test]
async fn an_amended_order_keeps_its_ids_and_trades_at_its_new_price() {
    let (mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let id = client.limit(&token, "buy", "50000.0", "c-1").await;
    let params =
        json!({ "cl_ord_id": "c-1", "order_qty": 0.02, "limit_price": 50500.5, "token": token });
    let answer = client.call("amend_order", &params).await;
    assert_eq!(answer["result"]["order_id"], id, "{answer}");
    let amended = loop {
        let report = client.report().await;
        if report["exec_type"] == "amended" {
            break report;
        }
    };
    assert_eq!((&amended["limit_price"], &amended["order_qty"]), (&json!(50500.5), &json!(0.02)));
    sell(&venue, "50500.5", "0.02");
    let ledger = mock
        .wait_for(|ledger| ledger.exchange("kraken").open_orders.is_empty(), PATIENCE)
        .await
        .expect("it fills");
    assert_eq!(ledger.exchange("kraken").fills[0].quantity, decimal("0.02"));
}

#[tokio::test]
async fn the_snapshot_lists_open_orders_and_fills_when_asked() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    client.limit(&token, "buy", "59990.0", "c-1").await;
    sell(&venue, "59990.0", "0.004");
    let mut late = Client::connect(&venue).await;
    let params = json!({ "channel": "executions", "snap_trades": true, "token": token });
    let answer = late.call("subscribe", &params).await;
    assert_eq!(answer["result"]["maxratecount"], 180);
    let orders = late.next_of("executions").await;
    assert_eq!((&orders["type"], &orders["sequence"]), (&json!("snapshot"), &json!(1)));
    let open = &orders["data"][0];
    assert_eq!(
        (&open["cl_ord_id"], &open["order_status"]),
        (&json!("c-1"), &json!("partially_filled"))
    );
    assert_eq!((&open["order_qty"], &open["cum_qty"]), (&json!(0.01), &json!(0.004)));
    let trades = late.next_of("executions").await;
    assert_eq!(
        (&trades["type"], &trades["data"][0]["exec_type"]),
        (&json!("snapshot"), &json!("trade"))
    );
    assert_eq!(trades["sequence"], 2);
}

#[tokio::test]
async fn full_reports_name_the_order_every_time() {
    let config = VenueConfig { kraken_full_reports: true, ..VenueConfig::quiet() };
    let (_mock, venue) = kraken(config).await;
    let (mut client, token) = Client::private(&venue).await;
    client.send(&json!({ "method": "add_order", "params": order(&token, &json!({})) })).await;
    for exec_type in ["pending_new", "new"] {
        let report = client.report().await;
        assert_eq!(report["exec_type"], exec_type);
        for key in ["symbol", "side", "order_type", "order_qty", "limit_price", "cum_qty"] {
            assert!(report.get(key).is_some(), "{key} is missing in {report}");
        }
    }
}

#[tokio::test]
async fn a_fill_makes_two_ledger_entries_with_one_reference() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let params = json!({ "channel": "balances", "token": token });
    let answer = client.call("subscribe", &params).await;
    assert_eq!(answer["success"], true);
    let snapshot = client.next_of("balances").await;
    assert_eq!((&snapshot["type"], &snapshot["sequence"]), (&json!("snapshot"), &json!(1)));
    let held = |asset: &str| {
        let all = snapshot["data"].as_array().expect("assets");
        all.iter().find(|entry| entry["asset"] == asset).expect("held")["balance"].clone()
    };
    client.limit(&token, "buy", "59990.0", "c-1").await;
    sell(&venue, "59990.0", "0.01");
    let base = client.next_of("balances").await;
    let quote = client.next_of("balances").await;
    assert_eq!((&base["sequence"], &quote["sequence"]), (&json!(2), &json!(3)));
    let (base, quote) = (&base["data"][0], &quote["data"][0]);
    assert_eq!(base["ref_id"], quote["ref_id"]);
    assert_ne!(base["ledger_id"], quote["ledger_id"]);
    assert_eq!((&base["asset"], &base["amount"]), (&json!("BTC"), &json!(0.01)));
    assert_eq!((&quote["asset"], &quote["amount"]), (&json!("USD"), &json!(-599.9)));
    let after = held("USD").as_f64().unwrap_or(0.0) - 599.9 - quote["fee"].as_f64().unwrap_or(0.0);
    assert!((quote["balance"].as_f64().unwrap_or(0.0) - after).abs() < 1e-6, "{quote}");
}

#[tokio::test]
async fn the_counter_refuses_when_young_orders_are_cancelled_too_fast() {
    let config = VenueConfig { kraken_tier: Tier::Starter, ..VenueConfig::quiet() };
    let (_mock, venue) = kraken(config).await;
    let (mut client, token) = Client::private(&venue).await;
    let mut refused = None;
    for n in 0..10 {
        let answer = client.call("add_order", &order(&token, &json!({ "cl_ord_id": "c" }))).await;
        if answer["success"] == false {
            refused = Some((n, answer["error"].clone()));
            break;
        }
        client.call("cancel_order", &json!({ "cl_ord_id": "c", "token": token })).await;
    }
    // Each pair of add and cancel costs nine points of sixty.
    let (after, error) = refused.expect("a refusal");
    assert!((6..=8).contains(&after), "refused after {after}");
    // The refused cancel left its order open, or the counter refused the next order.
    let text = error.as_str().expect("text");
    assert!(text.starts_with("EOrder:Rate limit exceeded") || text.contains("cl_ord_id"), "{text}");
}

#[tokio::test]
async fn limits_that_are_off_refuse_nothing() {
    let config = VenueConfig { limits: Limits::Off, ..VenueConfig::quiet() };
    let (_mock, venue) = kraken(config).await;
    let (mut client, token) = Client::private(&venue).await;
    for _ in 0..300 {
        let answer = client.call("add_order", &order(&token, &json!({}))).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
}

#[tokio::test]
async fn the_switch_cancels_the_whole_account_and_disarms_itself() {
    let (mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    client.limit(&token, "buy", "50000.0", "c-1").await;
    let disarm =
        client.call("cancel_all_orders_after", &json!({ "timeout": 0, "token": token })).await;
    assert_eq!(disarm["result"]["triggerTime"], "0");
    let arm =
        client.call("cancel_all_orders_after", &json!({ "timeout": 1, "token": token })).await;
    assert!(arm["result"]["currentTime"].as_str().is_some_and(|t| t.len() == 20), "{arm}");
    // The connection that armed it may be gone.
    drop(client);
    mock.wait_for(|ledger| ledger.exchange("kraken").open_orders.is_empty(), PATIENCE)
        .await
        .expect("the switch fires");
    let ledger = mock.ledger();
    assert_eq!(ledger.exchange("kraken").orders[0].status, OrderStatus::Canceled);
}

#[tokio::test]
async fn a_token_is_needed_for_every_private_request() {
    let (_mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    for method in
        ["add_order", "amend_order", "batch_add", "batch_cancel", "cancel_all", "cancel_order"]
    {
        let answer = client.call(method, &order("", &json!({}))).await;
        assert_eq!(answer["error"], "ESession:Invalid session", "{method}");
    }
    let answer = client.call("subscribe", &json!({ "channel": "executions" })).await;
    assert_eq!(answer["success"], false);
}

#[tokio::test]
async fn rest_finds_orders_and_fills_by_client_id() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, token) = Client::private(&venue).await;
    let open = client.limit(&token, "buy", "50000.0", "c-1").await;
    let filled = client.limit(&token, "buy", "59990.0", "c-2").await;
    sell(&venue, "59990.0", "0.01");
    client.limit(&token, "buy", "50001.0", "c-3").await;

    let answer = private(&venue, "OpenOrders", "cl_ord_id=c-1").await;
    let orders = answer["result"]["open"].as_object().expect("orders");
    assert_eq!(orders.keys().collect::<Vec<_>>(), [&open]);
    assert_eq!(orders[&open]["vol"], "0.01");
    let answer = private(&venue, "ClosedOrders", "cl_ord_id=c-2").await;
    assert_eq!(answer["result"]["closed"][&filled]["status"], "closed");
    let answer = private(&venue, "QueryOrders", &format!("txid={open},{filled}")).await;
    assert_eq!(answer["result"].as_object().map(serde_json::Map::len), Some(2));
    assert!(answer["result"][&filled].get("trades").is_none(), "only if asked for");
    let asked = format!("txid={filled}&trades=true");
    let answer = private(&venue, "QueryOrders", &asked).await;
    let named = answer["result"][&filled]["trades"][0].as_str().expect("an execution").to_owned();
    let answer = private(&venue, "TradesHistory", "").await;
    let trades = answer["result"]["trades"].as_object().expect("trades");
    assert!(trades.values().all(|trade| trade["ordertxid"] == filled));
    let answer = private(&venue, "QueryTrades", &format!("txid={named}")).await;
    assert_eq!(answer["result"], json!({ &named: trades[&named] }));
    let answer = private(&venue, "QueryTrades", "txid=TAAAAA-AAAAA-AAAAAA").await;
    assert_eq!(answer["error"], json!(["EQuery:Unknown transaction"]));
    let answer = private(&venue, "CancelOrder", "cl_ord_id=c-1").await;
    assert_eq!(answer["result"]["count"], 1);
    let again = private(&venue, "CancelOrder", &format!("txid={open}")).await;
    assert_eq!(again["error"], json!(["EOrder:Unknown order"]));
    let answer = private(&venue, "CancelAll", "").await;
    assert_eq!(answer["result"]["count"], 1);
    let balance = private(&venue, "Balance", "").await;
    assert!(balance["result"]["XXBT"].is_string(), "{balance}");
}

#[tokio::test]
async fn rest_checks_key_signature_and_nonce() {
    use kraken_support::{nonce, post, signed};
    let (_mock, venue) = quiet_kraken().await;
    let path = "/0/private/Balance";
    let number = nonce();
    let body = format!("nonce={number}");
    let good = signed(&venue.credentials(), path, number, &body);
    let mut stranger = venue.credentials();
    stranger.api_key = "someone".into();
    let unknown = signed(&stranger, path, number, &body);
    let elsewhere = signed(&venue.credentials(), "/0/private/CancelAll", number, &body);
    for (headers, error) in [
        (unknown.as_str(), "EAPI:Invalid key"),
        ("", "EAPI:Invalid key"),
        (elsewhere.as_str(), "EAPI:Invalid signature"),
    ] {
        assert_eq!(post(&venue, path, headers, &body).await["error"], json!([error]));
    }
    assert_eq!(post(&venue, path, &good, &body).await["error"], json!([]));
    assert_eq!(post(&venue, path, &good, &body).await["error"], json!(["EAPI:Invalid nonce"]));
}

#[tokio::test]
async fn each_token_is_new_and_all_work_on_one_connection() {
    let (_mock, venue) = quiet_kraken().await;
    let (mut client, used) = Client::private(&venue).await;
    let fresh = token(&venue).await;
    assert_ne!(used, fresh);
    let answer = client.call("add_order", &order(&fresh, &json!({}))).await;
    assert_eq!(answer["success"], true, "{answer}");
}

#[tokio::test]
async fn a_token_lasts_a_quarter_of_an_hour_and_longer_with_a_private_subscription() {
    let hour = Duration::from_secs(3600);
    let config = MockConfig {
        kraken: Some(VenueConfig { idle_timeout: Some(hour), ..VenueConfig::quiet() }),
        clock: Clock::simulated(jiff::Timestamp::now()),
        ..MockConfig::default()
    };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let venue = mock.venue("kraken").expect("the venue runs");
    let (mut subscribed, token) = Client::private(&venue).await;
    let mut other = Client::connect(&venue).await;
    let place = order(&token, &json!({}));
    assert_eq!(other.call("add_order", &place).await["success"], true);

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(901)).await;
    tokio::time::resume();

    assert_eq!(other.call("add_order", &place).await["error"], "ESession:Invalid session");
    assert_eq!(subscribed.call("add_order", &place).await["success"], true);
    let params = json!({ "channel": "executions", "token": token });
    assert_eq!(subscribed.call("unsubscribe", &params).await["success"], true);
    assert_eq!(subscribed.call("add_order", &place).await["error"], "ESession:Invalid session");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let idle_timeout = Some(Duration::from_millis(200));
    let (mock, venue) = kraken(VenueConfig { idle_timeout, ..VenueConfig::quiet() }).await;
    let mut quiet = Client::connect(&venue).await;
    while quiet.frame().await.is_some() {}
    let ledger = mock
        .wait_for(|ledger| ledger.exchange("kraken").connections[0].closed.is_some(), PATIENCE)
        .await
        .expect("it is closed");
    assert_eq!(ledger.exchange("kraken").connections[0].closed_by, Some(ClosedBy::Server));
}
