//! Scripted faults do what they say, and the ledger tells the truth behind them.

mod common;

use std::time::{Duration, Instant};

use common::{Client, LIMIT, limit_order, quiet_binance};
use mock_exchange::{
    CancelOutcome, ConnectionKind, Disconnect, Fault, FaultAction, OrderStatus, Refusal, Target,
    When,
};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

fn cancel(client_id: &str) -> serde_json::Value {
    json!({"symbol": "BTCUSDT", "origClientOrderId": client_id})
}

#[tokio::test]
async fn a_fault_file_is_read_and_its_faults_strike_in_order() {
    let (mock, venue) = quiet_binance().await;
    let ids = mock
        .faults()
        .add_toml(
            r#"
            [[fault]]
            exchange = "binance"
            target = { nth_order = 2 }
            action = { reject = { code = -1013, text = "Filter failure: TEST" } }

            [[fault]]
            target = { client_id = "slow" }
            action = { delay_ack = { ms = 60 } }

            [[fault]]
            target = { connection = "trading" }
            action = "lose_cancel_ack"
            after = 1
            "#,
        )
        .expect("the faults are well-formed");
    assert_eq!(ids, [1, 2, 3]);
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let place = |name: &str| limit_order("BUY", "50000", "0.1", name);
    assert_eq!(client.call(&venue, "order.place", place("a")).await["status"], 200);
    let refused = client.call(&venue, "order.place", place("b")).await;
    assert_eq!(refused["error"], json!({"code": -1013, "msg": "Filter failure: TEST"}));
    let start = Instant::now();
    assert_eq!(client.call(&venue, "order.place", place("slow")).await["status"], 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!(client.call(&venue, "order.cancel", cancel("a")).await["status"], 200);
    let lost = client.post(&venue, "order.cancel", cancel("slow")).await;
    let next = client.call(&venue, "ping", json!({})).await;
    assert_ne!(next["id"], lost);
    let ledger = mock.ledger();
    assert_eq!(
        ledger.exchange("binance").order("slow").expect("booked").status,
        OrderStatus::Canceled
    );
    assert!(mock.faults().list().iter().all(|state| state.happened == 1));

    let wrong = mock.faults().add_toml("[[fault]]\naction = \"explode\"");
    assert!(wrong.expect_err("unknown").to_string().contains("explode"));
    let wrong = mock.faults().add(Fault::new(FaultAction::LoseAck).at("okx"));
    assert!(wrong.expect_err("not running").to_string().contains("binance"));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn a_lost_ack_leaves_an_order_that_only_a_query_finds() {
    let (mock, venue) = quiet_binance().await;
    mock.faults().add(Fault::new(FaultAction::LoseAck)).expect("added");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let lost = client.post(&venue, "order.place", limit_order("BUY", "50000", "1", "gw-1")).await;
    let status = client.call(&venue, "order.status", cancel("gw-1")).await;
    assert_ne!(status["id"], lost);
    assert_eq!(status["result"]["status"], "NEW");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn a_fill_that_wins_against_the_cancel_is_reported_before_the_refusal() {
    let (mock, venue) = quiet_binance().await;
    let action = FaultAction::FillDuringCancel { quantity: None };
    mock.faults().add(Fault::new(action)).expect("added");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.subscribe_user(&venue).await;
    client.call(&venue, "order.place", limit_order("BUY", "50000", "1", "gw-1")).await;
    let id = client.post(&venue, "order.cancel", cancel("gw-1")).await;
    let mut filled = false;
    loop {
        let value = client.json().await;
        filled |= value["event"]["X"] == "FILLED";
        if value["id"] == id {
            assert_eq!(value["error"]["code"], -2011);
            break;
        }
    }
    assert!(filled);
    let ledger = mock.ledger();
    let binance = ledger.exchange("binance");
    assert_eq!(binance.order("gw-1").expect("booked").status, OrderStatus::Filled);
    assert_eq!(binance.cancels[0].outcome, CancelOutcome::NotOpen);
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn an_ignored_cancel_is_acknowledged_and_the_order_stays_open() {
    let (mock, venue) = quiet_binance().await;
    let action = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    mock.faults().add(Fault::new(action)).expect("added");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.call(&venue, "order.place", limit_order("BUY", "50000", "1", "gw-1")).await;
    let answer = client.call(&venue, "order.cancel", cancel("gw-1")).await;
    assert_eq!(answer["result"]["status"], "CANCELED");
    let ledger = mock.ledger();
    assert_eq!(ledger.exchange("binance").open_orders.len(), 1);
    assert_eq!(ledger.exchange("binance").cancels[0].outcome, CancelOutcome::Ignored);
    let answer = client.call(&venue, "order.cancel", cancel("gw-1")).await;
    assert_eq!(answer["result"]["status"], "CANCELED");
    assert!(mock.ledger().exchange("binance").open_orders.is_empty());
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn tcp_can_break_between_an_order_and_its_answer() {
    let (mock, venue) = quiet_binance().await;
    let target = Target::ClientId("gw-1".to_owned());
    let action = FaultAction::Drop { how: Disconnect::Rst };
    mock.faults().add(Fault::new(action).on(target)).expect("added");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.post(&venue, "order.place", limit_order("BUY", "50000", "1", "gw-1")).await;
    assert!(client.end().await.is_some());
    let ledger = mock.ledger();
    assert_eq!(ledger.exchange("binance").open_orders.len(), 1);
    mock.shutdown().await;
}

#[tokio::test]
async fn a_fault_of_one_kind_of_connection_spares_the_other() {
    let (mock, venue) = quiet_binance().await;
    let mut market = Client::connect(&venue, "/ws").await;
    let mut trading = Client::connect(&venue, "/ws-api/v3").await;
    let close = FaultAction::Close { code: 1012, reason: "restart".to_owned() };
    let fault = Fault::new(close).on(Target::Connection(ConnectionKind::Market));
    mock.faults().add(fault).expect("added");
    assert_eq!(market.close_frame().await.map(|frame| u16::from(frame.code)), Some(1012));
    assert_eq!(trading.call(&venue, "ping", json!({})).await["status"], 200);
    drop((market, trading));
    mock.shutdown().await;
}

#[tokio::test]
async fn the_shutdown_notice_has_the_form_of_each_kind_of_connection() {
    let (mock, venue) = quiet_binance().await;
    let mut raw = Client::connect(&venue, "/ws").await;
    let mut combined = Client::connect(&venue, "/stream").await;
    let mut api = Client::connect(&venue, "/ws-api/v3").await;
    mock.faults().add(Fault::new(FaultAction::ServerShutdown).times(0)).expect("added");
    assert_eq!(raw.json().await["e"], "serverShutdown");
    let wrapped = combined.json().await;
    assert_eq!(
        (&wrapped["stream"], &wrapped["data"]["e"]),
        (&json!("!serverShutdown"), &json!("serverShutdown"))
    );
    let api_notice = api.json().await;
    assert_eq!(api_notice["event"]["e"], "serverShutdown");
    assert!(api_notice.get("subscriptionId").is_none());
    drop((raw, combined, api));
    mock.shutdown().await;
}

#[tokio::test]
async fn a_message_can_be_the_occasion_of_a_fault() {
    let (mock, venue) = quiet_binance().await;
    let action = FaultAction::SendGarbage { text: Some("garbage".to_owned()) };
    mock.faults().add(Fault { after: 1, ..Fault::new(action).when(When::Message) }).expect("added");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    assert_eq!(client.call(&venue, "ping", json!({})).await["status"], 200);
    client.send(&json!({"id": "x", "method": "ping"})).await;
    assert_eq!(client.text().await, "garbage");
    assert_eq!(client.json().await["id"], "x");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn connections_can_be_refused_for_a_while() {
    let (mock, venue) = quiet_binance().await;
    let action = FaultAction::RefuseConnections { how: Refusal::Http503, for_ms: Some(100) };
    mock.faults().add(Fault::new(action)).expect("added");
    let url = format!("{}/ws", venue.ws_url());
    let connect = async || {
        let stream = TcpStream::connect(venue.address()).await.expect("TCP connects");
        client_async(&url, stream).await
    };
    let error = connect().await.expect_err("refused").to_string();
    assert!(error.contains("503"), "{error}");
    let deadline = Instant::now() + LIMIT;
    while connect().await.is_err() {
        assert!(Instant::now() < deadline, "refused for ever");
    }
    mock.shutdown().await;
}

#[tokio::test]
async fn duplicated_updates_carry_the_same_execution() {
    let (mock, venue) = quiet_binance().await;
    mock.faults().add(Fault::new(FaultAction::DuplicateUpdates)).expect("added");
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.subscribe_user(&venue).await;
    client.call(&venue, "order.place", limit_order("BUY", "50000", "1", "gw-1")).await;
    let first = client.event("executionReport").await;
    let second = client.event("executionReport").await;
    assert_eq!(first, second);
    drop(client);
    mock.shutdown().await;
}
