//! A plain client of the Kraken venue: what a third party would write.

#![allow(dead_code, reason = "each test program uses its own part of the client")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use mock_exchange::{Credentials, MockConfig, MockExchange, Venue, VenueConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A mock with nothing but a quiet Kraken.
pub(crate) async fn quiet_kraken() -> (MockExchange, Venue) {
    kraken(VenueConfig::quiet()).await
}

/// A mock with nothing but this Kraken.
pub(crate) async fn kraken(config: VenueConfig) -> (MockExchange, Venue) {
    let config = MockConfig { seed: 7, kraken: Some(config), ..MockConfig::default() };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let venue = mock.venue("kraken").expect("the venue runs");
    (mock, venue)
}

/// One WebSocket connection.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Messages read while waiting for another one, oldest first.
    pub(crate) skipped: Vec<Value>,
}

impl Client {
    /// Connects and checks the greeting.
    pub(crate) async fn connect(venue: &Venue) -> Self {
        let mut client = Self::connect_silently(venue).await;
        let status = client.next().await;
        assert_eq!(status["channel"], "status");
        client
    }

    /// Connects and reads nothing.
    pub(crate) async fn connect_silently(venue: &Venue) -> Self {
        let url = format!("{}/v2", venue.ws_url());
        let address = venue.ws_url().replace("ws://", "");
        let stream = TcpStream::connect(address).await.expect("the port is open");
        let (socket, _) =
            tokio_tungstenite::client_async(url, stream).await.expect("the upgrade works");
        Self { socket, next_id: 1, skipped: Vec::new() }
    }

    /// Connects and subscribes `executions`.
    pub(crate) async fn private(venue: &Venue) -> (Self, String) {
        let token = token(venue).await;
        let mut client = Self::connect(venue).await;
        let params = json!({ "channel": "executions", "token": token });
        let answer = client.call("subscribe", &params).await;
        assert_eq!(answer["success"], true, "{answer}");
        let snapshot = client.next_of("executions").await;
        assert_eq!((&snapshot["type"], &snapshot["sequence"]), (&json!("snapshot"), &json!(1)));
        (client, token)
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("the socket is open");
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("the socket is open");
    }

    /// The next frame; `None` when the connection ended.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next()).await.expect("the venue is silent")?.ok()
    }

    /// The next JSON message.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.frame().await.expect("the connection is open") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The next message that is wanted; others are kept in `skipped`.
    pub(crate) async fn next_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await;
            if wanted(&message) {
                return message;
            }
            self.skipped.push(message);
        }
    }

    /// The next message of a channel.
    pub(crate) async fn next_of(&mut self, channel: &str) -> Value {
        self.next_where(|message| message["channel"] == channel).await
    }

    /// The first element of the next `executions` message.
    pub(crate) async fn report(&mut self) -> Value {
        self.next_of("executions").await["data"][0].clone()
    }

    /// Sends a request and waits for its first answer.
    pub(crate) async fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "method": method, "params": params, "req_id": id })).await;
        self.next_where(|message| message["req_id"] == id).await
    }

    /// Places a limit order and returns its id; reports are left to be read.
    pub(crate) async fn limit(&mut self, token: &str, side: &str, price: &str, id: &str) -> String {
        let params = json!({
            "order_type": "limit", "side": side, "symbol": "BTC/USD", "order_qty": "0.01",
            "limit_price": price, "cl_ord_id": id, "token": token,
        });
        let answer = self.call("add_order", &params).await;
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(answer["result"]["cl_ord_id"], id);
        answer["result"]["order_id"].as_str().expect("an id").to_owned()
    }
}

/// The best bid and ask that the venue shows.
pub(crate) async fn best(venue: &Venue, symbol: &str) -> (f64, f64) {
    let mut client = Client::connect(venue).await;
    let params = json!({ "channel": "ticker", "symbol": [symbol], "event_trigger": "bbo" });
    client.send(&json!({ "method": "subscribe", "params": params })).await;
    let ticker = client.next_of("ticker").await["data"][0].clone();
    (ticker["bid"].as_f64().expect("bid"), ticker["ask"].as_f64().expect("ask"))
}

/// A fresh token by REST.
pub(crate) async fn token(venue: &Venue) -> String {
    let answer = private(venue, "GetWebSocketsToken", "").await;
    assert_eq!(answer["result"]["expires"], 900, "{answer}");
    answer["result"]["token"].as_str().expect("a token").to_owned()
}

/// An ever-growing nonce.
pub(crate) fn nonce() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_700_000_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A signed REST call; `more` are further form parameters.
pub(crate) async fn private(venue: &Venue, method: &str, more: &str) -> Value {
    let nonce = nonce();
    let separator = if more.is_empty() { "" } else { "&" };
    let body = format!("nonce={nonce}{separator}{more}");
    let path = format!("/0/private/{method}");
    let headers = signed(&venue.credentials(), &path, nonce, &body);
    post(venue, &path, &headers, &body).await
}

/// The headers of a signed call.
pub(crate) fn signed(credentials: &Credentials, path: &str, nonce: u64, body: &str) -> String {
    let key = STANDARD.decode(&credentials.api_secret).expect("a base64 secret");
    let inner = Sha256::digest(format!("{nonce}{body}").as_bytes());
    let mut mac = Hmac::<Sha512>::new_from_slice(&key).expect("a key");
    mac.update(path.as_bytes());
    mac.update(&inner);
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    format!("API-Key: {}\r\nAPI-Sign: {signature}\r\n", credentials.api_key)
}

/// A REST call with these headers.
pub(crate) async fn post(venue: &Venue, path: &str, headers: &str, body: &str) -> Value {
    let length = body.len();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    http(
        venue,
        &format!("POST {path}"),
        &format!("{headers}{form}Content-Length: {length}\r\n"),
        body,
    )
    .await
}

/// A public REST call.
pub(crate) async fn get(venue: &Venue, path: &str) -> Value {
    http(venue, &format!("GET {path}"), "", "").await
}

async fn http(venue: &Venue, start: &str, headers: &str, body: &str) -> Value {
    let address = venue.http_url().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let request =
        format!("{start} HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("the request is written");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.expect("the venue is silent").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).expect("JSON")
}
