//! Scripted faults as a client of the Deribit venue meets them.

mod deribit_support;

use std::time::{Duration, Instant};

use deribit_support::{Client, PATIENCE, limit, quiet_deribit, with};
use mock_exchange::{
    CancelOutcome, ConnectionKind, Disconnect, Fault, FaultAction, MockExchange, OrderStatus,
    Refusal, SystemStatus, Target, Venue, When,
};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const ORDERS: &str = "user.orders.any.any.raw";

async fn with_client() -> (MockExchange, Venue, Client) {
    let (mock, venue) = quiet_deribit().await;
    let mut client = Client::login(&venue).await;
    client.subscribe(&[ORDERS]).await;
    (mock, venue, client)
}

fn add(mock: &MockExchange, fault: Fault) {
    mock.faults().add(fault.at("deribit")).expect("a fault");
}

fn label(id: &str) -> Target {
    Target::ClientId(id.to_owned())
}

#[tokio::test]
async fn a_lost_answer_leaves_the_order_open_and_findable_by_its_label() {
    let (mock, _venue, mut client) = with_client().await;
    add(&mock, Fault::new(FaultAction::LoseAck).on(label("c-1")));
    let id = client.post("private/buy", limit(10.0, 50_000.0, "c-1")).await;
    assert_eq!(client.data(ORDERS).await["label"], "c-1");
    let by_label = json!({ "label": "c-1", "currency": "BTC" });
    let found = client.ok("private/get_order_state_by_label", by_label).await;
    assert_eq!(found[0]["order_state"], "open");
    assert!(client.skipped.iter().all(|message| message["id"] != id));
}

#[tokio::test]
async fn a_late_answer_comes_after_the_update() {
    let (mock, _venue, mut client) = with_client().await;
    add(&mock, Fault::new(FaultAction::DelayAck { ms: 100 }).on(label("c-1")));
    client.rest("buy", 50_000.0, "c-1").await;
    assert!(client.skipped.iter().any(|message| message["params"]["channel"] == ORDERS));
}

#[tokio::test]
async fn a_scripted_refusal_has_its_code_and_text() {
    let (mock, _venue, mut client) = with_client().await;
    let text = "matching_engine_queue_full".to_owned();
    add(&mock, Fault::new(FaultAction::Reject { code: Some(10047), text }).on(label("c-1")));
    let answer = client.call("private/buy", limit(10.0, 50_000.0, "c-1")).await;
    assert_eq!(answer["error"], json!({ "code": 10047, "message": "matching_engine_queue_full" }));
    client.rest("buy", 50_000.0, "c-1").await;
}

#[tokio::test]
async fn an_order_that_fills_during_its_cancel_is_not_open_to_the_cancel() {
    let (mock, _venue, mut client) = with_client().await;
    client.subscribe(&["user.trades.any.any.raw"]).await;
    add(&mock, Fault::new(FaultAction::FillDuringCancel { quantity: None }));
    let id = client.rest("buy", 50_000.0, "c-1").await;
    assert_eq!(client.code("private/cancel", json!({ "order_id": id })).await, 11044);
    assert_eq!(client.data("user.trades.any.any.raw").await[0]["order_id"], json!(id));
    assert_eq!(mock.ledger().exchange("deribit").orders[0].status, OrderStatus::Filled);
}

#[tokio::test]
async fn cancels_can_be_refused_ignored_or_lost() {
    let (mock, _venue, mut client) = with_client().await;
    let text = "temporarily_unavailable".to_owned();
    add(&mock, Fault::new(FaultAction::RejectCancel { code: Some(13028), text }));
    let ignore = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    add(&mock, Fault { after: 1, ..Fault::new(ignore) });
    add(&mock, Fault { after: 2, ..Fault::new(FaultAction::LoseCancelAck) });
    let id = client.rest("buy", 50_000.0, "c-1").await;
    let params = json!({ "order_id": id });
    assert_eq!(client.code("private/cancel", params.clone()).await, 13028);
    let ignored = client.ok("private/cancel", params.clone()).await;
    assert_eq!(
        (&ignored["order_state"], &ignored["cancel_reason"]),
        (&json!("cancelled"), &json!("user_request"))
    );
    assert_eq!(mock.ledger().exchange("deribit").open_orders.len(), 1, "it is still open");
    let lost = client.post("private/cancel", params).await;
    client.next_where(|m| m["params"]["data"]["order_state"] == "cancelled").await;
    assert!(client.skipped.iter().all(|message| message["id"] != lost));
    let ledger = mock.ledger();
    let outcomes: Vec<CancelOutcome> =
        ledger.exchange("deribit").cancels.iter().map(|cancel| cancel.outcome).collect();
    assert_eq!(outcomes, [CancelOutcome::Refused, CancelOutcome::Ignored, CancelOutcome::Canceled]);
}

#[tokio::test]
async fn updates_can_come_twice_in_the_wrong_order_or_never() {
    let (mock, venue, mut client) = with_client().await;
    add(&mock, Fault::new(FaultAction::DuplicateUpdates).on(label("c-1")));
    client.rest("buy", 50_000.0, "c-1").await;
    assert_eq!(client.data(ORDERS).await, client.data(ORDERS).await);
    add(&mock, Fault::new(FaultAction::ReorderUpdates).on(label("c-2")));
    let params = limit(10.0, 60_500.0, "c-2");
    client.ok("private/buy", params).await;
    assert_eq!(client.data(ORDERS).await["order_state"], "filled");
    assert_eq!(client.data(ORDERS).await["order_state"], "open");
    add(&mock, Fault::new(FaultAction::LoseUpdates).on(label("c-3")));
    let id = client.rest("buy", 50_000.0, "c-3").await;
    client.ok("private/cancel", json!({ "order_id": id })).await;
    assert_eq!(client.data(ORDERS).await["order_state"], "cancelled", "open is lost");
    drop(venue);
}

#[tokio::test]
async fn connections_can_end_without_a_close_frame() {
    for how in [Disconnect::Fin, Disconnect::Rst] {
        let (mock, _venue, mut client) = with_client().await;
        add(&mock, Fault::new(FaultAction::Drop { how }).on(label("c-1")));
        client.post("private/buy", limit(10.0, 50_000.0, "c-1")).await;
        assert_eq!(client.closed().await, None, "{how:?}");
        assert_eq!(mock.ledger().exchange("deribit").open_orders.len(), 1, "it was placed");
    }
}

#[tokio::test]
async fn a_silent_or_deaf_server_answers_late() {
    for action in [
        FaultAction::GoSilent { for_ms: Some(300) },
        FaultAction::StopReading { for_ms: Some(300) },
    ] {
        let (mock, _venue, mut client) = with_client().await;
        let silent = matches!(action, FaultAction::GoSilent { .. });
        let start = Instant::now();
        add(&mock, Fault::new(action).on(Target::Connection(ConnectionKind::Trading)));
        let first = client.post("public/test", json!({})).await;
        if silent {
            // What is said meanwhile is lost; a later question is answered.
            let pause = Duration::from_millis(50);
            loop {
                let id = client.post("public/test", json!({})).await;
                let answer = client.next_where(|message| message["id"] == id);
                if tokio::time::timeout(pause, answer).await.is_ok() {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "it never speaks again");
            }
            assert!(client.skipped.iter().all(|message| message["id"] != first));
        } else {
            client.next_where(|message| message["id"] == first).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn frames_that_no_client_expects_arrive() {
    let (mock, _venue, mut client) = with_client().await;
    let text = Some("not json".to_owned());
    add(&mock, Fault::new(FaultAction::SendGarbage { text }));
    assert_eq!(client.frame().await, Some(Message::text("not json")));
    add(&mock, Fault::new(FaultAction::SendBinary));
    assert!(client.frame().await.is_some_and(|frame| frame.is_binary()));
    add(&mock, Fault::new(FaultAction::SendUnknownEvent));
    assert!(client.next().await["params"]["channel"].is_string());
    add(&mock, Fault::new(FaultAction::SendOversized { bytes: 100_000 }));
    assert_eq!(client.frame().await.map(|frame| frame.len()), Some(100_000));
    add(&mock, Fault::new(FaultAction::SendTruncated));
    assert_eq!(client.frame().await, None);
    let (mock, _venue, mut client) = with_client().await;
    add(&mock, Fault::new(FaultAction::SendInvalidUtf8));
    assert_eq!(client.frame().await, None);
    let (mock, _venue, mut client) = with_client().await;
    let reason = "maintenance".to_owned();
    add(&mock, Fault::new(FaultAction::Close { code: 1013, reason }));
    let Some(Message::Close(Some(frame))) = client.frame().await else {
        panic!("no close frame");
    };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Again, "maintenance"));
}

#[tokio::test]
async fn a_fault_finds_the_first_message_of_a_connection() {
    let (mock, venue) = quiet_deribit().await;
    let drop = Fault::new(FaultAction::Drop { how: Disconnect::Rst });
    add(&mock, drop.on(Target::Connection(ConnectionKind::Market)).when(When::Message));
    let mut client = Client::connect(&venue).await;
    client.post("public/test", json!({})).await;
    assert_eq!(client.closed().await, None);
    Client::login(&venue).await.ok("public/test", json!({})).await;
}

#[tokio::test]
async fn new_connections_can_be_refused_for_a_while() {
    let (mock, venue) = quiet_deribit().await;
    let refuse = FaultAction::RefuseConnections { how: Refusal::Http503, for_ms: Some(200) };
    add(&mock, Fault::new(refuse));
    let url = format!("{}/ws/api/v2", venue.ws_url());
    let start = Instant::now();
    let mut refused = 0;
    loop {
        let stream = TcpStream::connect(venue.address()).await.expect("the port is open");
        if tokio_tungstenite::client_async(&url, stream).await.is_ok() {
            break;
        }
        refused += 1;
        assert!(start.elapsed() < PATIENCE, "it never ends");
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_status_change_is_announced_and_obeyed() {
    let (mock, _venue, mut client) = with_client().await;
    client.subscribe(&["platform_state"]).await;
    let id = client.rest("buy", 50_000.0, "c-1").await;
    let status = |status| Fault::new(FaultAction::Status { status, for_ms: None });
    add(&mock, status(SystemStatus::CancelOnly));
    let order = || limit(10.0, 50_000.0, "c-2");
    assert_eq!(client.code("private/buy", order()).await, 10012);
    add(&mock, status(SystemStatus::PostOnly));
    assert_eq!(client.code("private/buy", order()).await, 11030);
    client.ok("private/buy", with(order(), &json!({ "post_only": true }))).await;
    let action = FaultAction::Status { status: SystemStatus::Maintenance, for_ms: Some(100) };
    add(&mock, Fault::new(action));
    client.next_where(|m| m["params"]["data"] == json!({ "maintenance": true })).await;
    assert_eq!(client.code("private/cancel", json!({ "order_id": id })).await, 11051);
    client.next_where(|m| m["params"]["data"] == json!({ "maintenance": false })).await;
    client.ok("private/cancel", json!({ "order_id": id })).await;
}
