//! Connections end as the protocol demands, and the ledger says who ended them and how.

mod common;

use std::time::Duration;

use common::{Client, LIMIT, binance, limit_order, quiet_binance};
use futures::SinkExt;
use mock_exchange::{ClosedBy, ConnectionRecord, Disconnect, MockExchange, VenueConfig};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

async fn ended(mock: &MockExchange) -> ConnectionRecord {
    let ledger = mock
        .wait_for(
            |ledger| ledger.exchange("binance").connections.iter().any(|c| c.closed.is_some()),
            LIMIT,
        )
        .await
        .expect("the connection ends");
    ledger.exchange("binance").connections[0].clone()
}

#[tokio::test]
async fn a_clients_close_is_answered_with_its_code_and_the_server_ends_tcp_first() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws").await;
    let frame = CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() };
    client.socket.close(Some(frame)).await.expect("the close goes out");
    let answer = client.close_frame().await.expect("a code");
    assert_eq!(u16::from(answer.code), 4001);
    // The library reports the orderly end only after the server's FIN.
    assert!(matches!(client.end().await, None | Some(Error::ConnectionClosed)));
    drop(client);
    let record = ended(&mock).await;
    assert_eq!(record.closed_by, Some(ClosedBy::Client));
    assert_eq!((record.close_code_received, record.close_code_sent), (Some(4001), Some(4001)));
    assert_eq!(record.path, "/ws");
    mock.shutdown().await;
}

#[tokio::test]
async fn a_client_that_only_ends_tcp_is_booked_as_an_error() {
    let (mock, venue) = quiet_binance().await;
    drop(Client::connect(&venue, "/ws-api/v3").await);
    let record = ended(&mock).await;
    assert_eq!(record.closed_by, Some(ClosedBy::Error));
    assert_eq!((record.close_code_received, record.close_code_sent), (None, None));
    mock.shutdown().await;
}

#[tokio::test]
async fn shutdown_closes_with_1001_and_books_the_clients_answer() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws").await;
    let (ledger, frame) = tokio::join!(mock.shutdown(), async {
        let frame = client.close_frame().await.expect("a code");
        client.end().await;
        drop(client);
        frame
    });
    assert_eq!(u16::from(frame.code), 1001);
    let record = &ledger.exchange("binance").connections[0];
    assert_eq!(record.closed_by, Some(ClosedBy::Server));
    assert_eq!((record.close_code_sent, record.close_code_received), (Some(1001), Some(1001)));
}

#[tokio::test]
async fn shutdown_is_bounded_when_a_client_never_answers() {
    let config = VenueConfig { close_timeout: Duration::from_millis(100), ..VenueConfig::quiet() };
    let (mock, venue) = binance(config).await;
    let client = Client::connect(&venue, "/ws").await;
    let ledger = tokio::time::timeout(LIMIT, mock.shutdown()).await.expect("it ends");
    let record = &ledger.exchange("binance").connections[0];
    assert_eq!((record.closed_by, record.close_code_received), (Some(ClosedBy::Server), None));
    drop(client);
}

#[tokio::test]
async fn pings_are_echoed_with_their_payload() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    client.socket.send(Message::Ping("marker".into())).await.expect("the ping goes out");
    match client.message().await {
        Some(Ok(Message::Pong(payload))) => assert_eq!(&payload[..], b"marker"),
        other => panic!("expected a pong, got {other:?}"),
    }
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_closed() {
    let config = VenueConfig {
        heartbeat: Some(Duration::from_millis(20)),
        idle_timeout: Some(Duration::from_millis(100)),
        ..VenueConfig::quiet()
    };
    let (mock, venue) = binance(config).await;
    let client = Client::connect(&venue, "/ws").await;
    // Nobody reads, so nobody answers.
    let ledger = mock
        .wait_for(
            |ledger| ledger.exchange("binance").connections.iter().any(|c| c.closed.is_some()),
            LIMIT,
        )
        .await
        .expect("the server gives up");
    let record = &ledger.exchange("binance").connections[0];
    assert_eq!((record.closed_by, record.close_code_sent), (Some(ClosedBy::Server), Some(1008)));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn a_connection_is_closed_at_the_end_of_its_life() {
    let config = VenueConfig { lifetime: Some(Duration::from_millis(50)), ..VenueConfig::quiet() };
    let (mock, venue) = binance(config).await;
    let mut client = Client::connect(&venue, "/ws").await;
    assert_eq!(client.close_frame().await.map(|frame| u16::from(frame.code)), Some(1001));
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn dropped_connections_end_by_fin_or_by_rst() {
    let (mock, venue) = quiet_binance().await;
    let mut client = Client::connect(&venue, "/ws").await;
    venue.drop_connections(Disconnect::Fin);
    let error = client.end().await.expect("an end without a close frame");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    let mut client = Client::connect(&venue, "/ws").await;
    venue.drop_connections(Disconnect::Rst);
    match client.end().await {
        Some(Error::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        Some(Error::Protocol(problem)) => {
            assert_eq!(problem.to_string(), "Connection reset without closing handshake");
        }
        other => panic!("expected a reset, got {other:?}"),
    }
    mock.shutdown().await;
}

#[tokio::test]
async fn latency_delays_every_message_but_not_their_number() {
    let latency = Duration::from_millis(50);
    let (mock, venue) = binance(VenueConfig { latency, ..VenueConfig::quiet() }).await;
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let start = std::time::Instant::now();
    let mut ids = Vec::new();
    for n in 0..20 {
        let order = limit_order("BUY", "50000", "0.1", &format!("gw-{n}"));
        ids.push(client.post(&venue, "order.place", order).await);
    }
    for id in ids {
        let answer = client.json().await;
        assert_eq!((&answer["id"], &answer["status"]), (&json!(id), &json!(200)));
    }
    let took = start.elapsed();
    assert!(took >= latency * 2, "{took:?}");
    // One after the other they would take twenty round trips.
    assert!(took < latency * 20, "{took:?}");
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn latency_delays_the_close_both_ways() {
    let latency = Duration::from_millis(50);
    let (mock, venue) = binance(VenueConfig { latency, ..VenueConfig::quiet() }).await;
    let mut client = Client::connect(&venue, "/ws").await;
    let start = std::time::Instant::now();
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    client.socket.close(Some(frame)).await.expect("the close goes out");
    let answer = client.close_frame().await.expect("it is answered");
    assert_eq!(answer.code, CloseCode::Normal);
    assert!(start.elapsed() >= latency * 2, "{:?}", start.elapsed());
    mock.shutdown().await;
}
