//! Every scripted fault as a client of the Kraken venue meets it.

mod kraken_support;

use std::time::{Duration, Instant};

use kraken_support::{Client, PATIENCE, quiet_kraken, token};
use mock_exchange::{
    CancelOutcome, ConnectionKind, Disconnect, Fault, FaultAction, MockExchange, OrderStatus,
    Refusal, SystemStatus, Target, Venue, When,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn with_client() -> (MockExchange, Venue, Client, String) {
    let (mock, venue) = quiet_kraken().await;
    let (client, token) = Client::private(&venue).await;
    (mock, venue, client, token)
}

fn add(mock: &MockExchange, fault: Fault) {
    mock.faults().add(fault.at("kraken")).expect("a fault");
}

fn client_id(id: &str) -> Target {
    Target::ClientId(id.to_owned())
}

fn order(token: &str, id: &str) -> Value {
    json!({
        "order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.01,
        "limit_price": 50000.0, "cl_ord_id": id, "token": token,
    })
}

async fn send_order(client: &mut Client, token: &str, id: &str) {
    let message = json!({ "method": "add_order", "params": order(token, id), "req_id": id });
    client.send(&message).await;
}

#[tokio::test]
async fn a_lost_ack_leaves_the_order_open_and_reported() {
    let (mock, _venue, mut client, token) = with_client().await;
    add(&mock, Fault::new(FaultAction::LoseAck).on(client_id("c-1")));
    send_order(&mut client, &token, "c-1").await;
    assert_eq!(client.report().await["exec_type"], "pending_new");
    assert_eq!(client.report().await["exec_type"], "new");
    client.send(&json!({ "method": "ping" })).await;
    client.next_where(|message| message["method"] == "pong").await;
    assert!(client.skipped.iter().all(|message| message["method"] != "add_order"));
    assert_eq!(mock.ledger().exchange("kraken").open_orders.len(), 1);
}

#[tokio::test]
async fn a_late_ack_comes_after_the_reports() {
    let (mock, _venue, mut client, token) = with_client().await;
    add(&mock, Fault::new(FaultAction::DelayAck { ms: 100 }).on(client_id("c-1")));
    send_order(&mut client, &token, "c-1").await;
    let answer = client.next_where(|message| message["method"] == "add_order").await;
    assert_eq!(answer["success"], true);
    assert!(client.skipped.iter().any(|message| message["channel"] == "executions"));
}

#[tokio::test]
async fn a_scripted_refusal_has_its_text() {
    let (mock, _venue, mut client, token) = with_client().await;
    let text = "EGeneral:Internal error".to_owned();
    add(&mock, Fault::new(FaultAction::Reject { code: None, text }).on(client_id("c-1")));
    let answer = client.call("add_order", &order(&token, "c-1")).await;
    assert_eq!(
        (&answer["success"], &answer["error"]),
        (&json!(false), &json!("EGeneral:Internal error"))
    );
}

#[tokio::test]
async fn an_order_that_fills_during_its_cancel_is_unknown_to_the_cancel() {
    let (mock, _venue, mut client, token) = with_client().await;
    add(&mock, Fault::new(FaultAction::FillDuringCancel { quantity: None }));
    client.limit(&token, "buy", "50000.0", "c-1").await;
    let params = json!({ "cl_ord_id": ["c-1"], "token": token });
    let answer = client.call("cancel_order", &params).await;
    assert_eq!(answer["error"], "EOrder:Unknown order");
    client.next_where(|m| m["data"][0]["exec_type"] == "filled").await;
    assert_eq!(mock.ledger().exchange("kraken").orders[0].status, OrderStatus::Filled);
}

#[tokio::test]
async fn cancels_can_be_lost_ignored_or_refused() {
    let (mock, _venue, mut client, token) = with_client().await;
    let text = "EService:Unavailable".to_owned();
    add(&mock, Fault::new(FaultAction::RejectCancel { code: None, text }));
    let ignore = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    add(&mock, Fault { after: 1, ..Fault::new(ignore) });
    add(&mock, Fault { after: 2, ..Fault::new(FaultAction::LoseCancelAck) });
    client.limit(&token, "buy", "50000.0", "c-1").await;
    let params = json!({ "cl_ord_id": ["c-1"], "token": token });
    let refused = client.call("cancel_order", &params).await;
    assert_eq!(refused["error"], "EService:Unavailable");
    let ignored = client.call("cancel_order", &params).await;
    assert_eq!(ignored["success"], true);
    assert_eq!(mock.ledger().exchange("kraken").open_orders.len(), 1, "it is still open");
    client.send(&json!({ "method": "cancel_order", "params": params, "req_id": "lost" })).await;
    client.next_where(|m| m["data"][0]["exec_type"] == "canceled").await;
    assert!(client.skipped.iter().all(|message| message["req_id"] != "lost"));
    let ledger = mock.ledger();
    let outcomes: Vec<CancelOutcome> =
        ledger.exchange("kraken").cancels.iter().map(|cancel| cancel.outcome).collect();
    assert_eq!(outcomes, [CancelOutcome::Refused, CancelOutcome::Ignored, CancelOutcome::Canceled]);
}

#[tokio::test]
async fn a_cancel_can_be_forgotten_for_a_while() {
    let (mock, _venue, mut client, token) = with_client().await;
    let action = FaultAction::IgnoreCancel { ack: false, for_ms: Some(50) };
    add(&mock, Fault::new(action));
    client.limit(&token, "buy", "50000.0", "c-1").await;
    let params = json!({ "cl_ord_id": ["c-1"], "token": token });
    client.send(&json!({ "method": "cancel_order", "params": params })).await;
    client.next_where(|m| m["data"][0]["exec_type"] == "canceled").await;
}

#[tokio::test]
async fn updates_can_come_twice_or_in_the_wrong_order() {
    let (mock, _venue, mut client, token) = with_client().await;
    add(&mock, Fault::new(FaultAction::DuplicateUpdates).on(client_id("c-1")));
    send_order(&mut client, &token, "c-1").await;
    let mut sequences = Vec::new();
    for _ in 0..3 {
        sequences.push(client.next_of("executions").await["sequence"].clone());
    }
    assert_eq!(sequences, [2, 2, 3]);
    add(&mock, Fault::new(FaultAction::ReorderUpdates).on(client_id("c-2")));
    send_order(&mut client, &token, "c-2").await;
    assert_eq!(client.next_of("executions").await["sequence"], 5);
    assert_eq!(client.next_of("executions").await["sequence"], 4);
    add(&mock, Fault::new(FaultAction::LoseUpdates).on(client_id("c-3")));
    send_order(&mut client, &token, "c-3").await;
    assert_eq!(client.next_of("executions").await["sequence"], 7, "6 is lost");
}

#[tokio::test]
async fn connections_can_end_without_a_close_frame() {
    for how in [Disconnect::Fin, Disconnect::Rst] {
        let (mock, _venue, mut client, token) = with_client().await;
        add(&mock, Fault::new(FaultAction::Drop { how }).on(client_id("c-1")));
        send_order(&mut client, &token, "c-1").await;
        while let Some(frame) = client.frame().await {
            assert!(!frame.is_close(), "{how:?}");
        }
        assert_eq!(mock.ledger().exchange("kraken").open_orders.len(), 1, "the order was placed");
    }
}

#[tokio::test]
async fn a_silent_server_sends_neither_pongs_nor_heartbeats() {
    let (mock, _venue, mut client, _token) = with_client().await;
    let silence = FaultAction::GoSilent { for_ms: Some(1500) };
    add(&mock, Fault::new(silence).on(Target::Connection(ConnectionKind::Trading)));
    let start = Instant::now();
    client.send(&json!({ "method": "ping", "req_id": 1 })).await;
    let heartbeat = client.next_of("heartbeat").await;
    assert_eq!(heartbeat, json!({ "channel": "heartbeat" }));
    assert!(start.elapsed() > Duration::from_millis(1400), "silent for {:?}", start.elapsed());
    assert!(client.skipped.iter().all(|message| message["method"] != "pong"));
}

#[tokio::test]
async fn a_server_that_stops_reading_answers_late() {
    let (mock, _venue, mut client, _token) = with_client().await;
    let start = Instant::now();
    add(&mock, Fault::new(FaultAction::StopReading { for_ms: Some(300) }));
    client.send(&json!({ "method": "ping", "req_id": "late" })).await;
    client.next_where(|message| message["req_id"] == "late").await;
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
}

#[tokio::test]
async fn frames_that_no_client_expects_arrive() {
    let (mock, _venue, mut client, _token) = with_client().await;
    let text = Some("not json".to_owned());
    add(&mock, Fault::new(FaultAction::SendGarbage { text }));
    assert_eq!(client.frame().await, Some(Message::text("not json")));
    add(&mock, Fault::new(FaultAction::SendBinary));
    assert!(client.frame().await.is_some_and(|frame| frame.is_binary()));
    add(&mock, Fault::new(FaultAction::SendUnknownEvent));
    assert!(client.next().await["channel"].is_string());
    add(&mock, Fault::new(FaultAction::SendOversized { bytes: 100_000 }));
    assert_eq!(client.frame().await.map(|frame| frame.len()), Some(100_000));
    // Invalid UTF-8 breaks the connection on the client's side.
    add(&mock, Fault::new(FaultAction::SendInvalidUtf8));
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_truncated_frame_ends_the_connection() {
    let (mock, _venue, mut client, _token) = with_client().await;
    add(&mock, Fault::new(FaultAction::SendTruncated));
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn the_server_can_close_with_any_code() {
    let (mock, _venue, mut client, _token) = with_client().await;
    let reason = "maintenance".to_owned();
    add(&mock, Fault::new(FaultAction::Close { code: 1013, reason }));
    let Some(Message::Close(Some(frame))) = client.frame().await else {
        panic!("no close frame");
    };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Again, "maintenance"));
}

#[tokio::test]
async fn a_close_can_stay_unanswered() {
    let (mock, _venue, mut client, _token) = with_client().await;
    add(&mock, Fault::new(FaultAction::RefuseClose));
    client.send(&json!({ "method": "ping", "req_id": "before" })).await;
    client.next_where(|message| message["req_id"] == "before").await;
    client.send_raw(Message::Close(None)).await;
    let answer = tokio::time::timeout(Duration::from_millis(300), client.frame()).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn new_connections_can_be_refused_for_a_while() {
    let (mock, venue) = quiet_kraken().await;
    let address = venue.ws_url().replace("ws://", "");
    for how in [Refusal::Http503, Refusal::Upgrades, Refusal::Rst] {
        let refuse = FaultAction::RefuseConnections { how, for_ms: Some(200) };
        add(&mock, Fault::new(refuse));
        let stream = TcpStream::connect(&address).await.expect("the port is open");
        let url = format!("{}/v2", venue.ws_url());
        let refused = tokio_tungstenite::client_async(url, stream).await;
        assert!(refused.is_err(), "{how:?}");
        let start = Instant::now();
        // Each try is a connection of its own; the venue accepts again by itself.
        loop {
            let stream = TcpStream::connect(&address).await.expect("the port is open");
            let url = format!("{}/v2", venue.ws_url());
            if tokio_tungstenite::client_async(url, stream).await.is_ok() {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{how:?} never ends");
        }
    }
}

#[tokio::test]
async fn a_status_change_is_announced_and_obeyed() {
    let (mock, venue, mut client, token) = with_client().await;
    let mut watcher = Client::connect(&venue).await;
    client.limit(&token, "buy", "50000.0", "c-1").await;
    let status = |status| Fault::new(FaultAction::Status { status, for_ms: None });

    add(&mock, status(SystemStatus::CancelOnly));
    assert_eq!(watcher.next_of("status").await["data"][0]["system"], "cancel_only");
    let answer = client.call("add_order", &order(&token, "c-2")).await;
    assert_eq!(answer["error"], "EService:Market in cancel_only mode");
    let params = json!({ "cl_ord_id": ["c-1"], "token": token });
    assert_eq!(client.call("cancel_order", &params).await["success"], true);

    add(&mock, status(SystemStatus::PostOnly));
    assert_eq!(watcher.next_of("status").await["data"][0]["system"], "post_only");
    let answer = client.call("add_order", &order(&token, "c-2")).await;
    assert_eq!(answer["error"], "EService:Market in post_only mode");
    let mut post_only = order(&token, "c-3");
    post_only["post_only"] = json!(true);
    assert_eq!(client.call("add_order", &post_only).await["success"], true);

    let action = FaultAction::Status { status: SystemStatus::Maintenance, for_ms: Some(100) };
    add(&mock, Fault::new(action));
    assert_eq!(watcher.next_of("status").await["data"][0]["system"], "maintenance");
    let params = json!({ "cl_ord_id": ["c-3"], "token": token });
    assert_eq!(client.call("cancel_order", &params).await["error"], "EService:Unavailable");
    assert_eq!(watcher.next_of("status").await["data"][0]["system"], "online");
    assert_eq!(client.call("cancel_order", &params).await["success"], true);
}

#[tokio::test]
async fn faults_find_their_occasion_target_and_count() {
    let (mock, venue, mut client, token) = with_client().await;
    let text = || "EOrder:Invalid order".to_owned();
    let reject = Fault::new(FaultAction::Reject { code: None, text: text() });
    add(&mock, reject.clone().on(Target::NthOrder(2)));
    add(&mock, reject.on(Target::Symbol("ETH/USD".to_owned())).times(2));
    let mut outcomes = Vec::new();
    for id in ["c-1", "c-2", "c-3"] {
        outcomes.push(client.call("add_order", &order(&token, id)).await["success"] == true);
    }
    assert_eq!(outcomes, [true, false, true]);
    for expected in [false, false, true] {
        let mut params = order(&token, "e");
        params["symbol"] = json!("ETH/USD");
        params["limit_price"] = json!(2000);
        assert_eq!(client.call("add_order", &params).await["success"], expected);
    }
    // On the next message of a market connection, which is another one.
    let garbage = Fault::new(FaultAction::SendGarbage { text: Some("x".to_owned()) });
    add(&mock, garbage.on(Target::Connection(ConnectionKind::Market)).when(When::Message));
    let mut market = Client::connect(&venue).await;
    client.call("cancel_all", &json!({ "token": token })).await;
    market.send(&json!({ "method": "ping" })).await;
    assert_eq!(market.frame().await, Some(Message::text("x")));
}

#[tokio::test]
async fn shutting_down_closes_every_connection_with_1001() {
    let (mock, venue) = quiet_kraken().await;
    let mut client = Client::connect(&venue).await;
    drop(token(&venue).await);
    let (ledger, close) = tokio::join!(mock.shutdown(), client.frame());
    let Some(Message::Close(Some(frame))) = close else { panic!("{close:?}") };
    assert_eq!(frame.code, CloseCode::Away);
    assert_eq!(ledger.exchange("kraken").connections[0].close_code_sent, Some(1001));
    let refused = tokio::time::timeout(PATIENCE, TcpStream::connect(venue.address())).await;
    assert!(refused.is_ok_and(|stream| stream.is_err()), "the port is closed");
}
