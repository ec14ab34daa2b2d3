//! A plain client over a real socket.
#![allow(dead_code, reason = "each test uses a part")]

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use mock_exchange::{Credentials, MockConfig, MockExchange, Venue, VenueConfig};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Binance alone, with a market that stands still at 60 000.
pub(crate) async fn quiet_binance() -> (MockExchange, Venue) {
    binance(VenueConfig::quiet()).await
}

pub(crate) async fn binance(config: VenueConfig) -> (MockExchange, Venue) {
    let config = MockConfig { seed: 7, binance: Some(config), ..MockConfig::default() };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let venue = mock.venue("binance").expect("binance runs");
    (mock, venue)
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    next_id: u64,
}

impl Client {
    pub(crate) async fn connect(venue: &Venue, path: &str) -> Self {
        let stream = TcpStream::connect(venue.address()).await.expect("TCP connects");
        let url = format!("{}{path}", venue.ws_url());
        let (socket, _) = client_async(url, stream).await.expect("the handshake succeeds");
        Self { socket, next_id: 1 }
    }

    pub(crate) async fn send(&mut self, value: &Value) {
        self.send_text(&value.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the message goes out");
    }

    pub(crate) async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(LIMIT, self.socket.next()).await.expect("something comes in time")
    }

    /// The next text, without control frames.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Reads until the close frame.
    pub(crate) async fn close_frame(&mut self) -> Option<CloseFrame> {
        loop {
            match self.message().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    /// Reads until TCP ends and says how.
    pub(crate) async fn end(&mut self) -> Option<Error> {
        loop {
            match self.message().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    }

    /// Calls a Binance API method, signed, and returns the answer; events are skipped.
    pub(crate) async fn call(&mut self, venue: &Venue, method: &str, params: Value) -> Value {
        let id = self.post(venue, method, params).await;
        loop {
            let value = self.json().await;
            if value["id"] == id {
                return value;
            }
        }
    }

    /// Sends a signed call without waiting; returns its id.
    pub(crate) async fn post(&mut self, venue: &Venue, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let params = signed(&venue.credentials(), params);
        self.send(&json!({"id": id, "method": method, "params": params})).await;
        id
    }

    /// Subscribes to the user data stream.
    pub(crate) async fn subscribe_user(&mut self, venue: &Venue) {
        let answer = self.call(venue, "userDataStream.subscribe.signature", json!({})).await;
        assert_eq!(answer["result"]["subscriptionId"], 0, "{answer}");
    }

    /// The next user event of a kind.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            let value = self.json().await;
            if value["event"]["e"] == kind {
                return value["event"].clone();
            }
        }
    }
}

pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub(crate) fn hmac_hex(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Adds key, time and signature.
pub(crate) fn signed(credentials: &Credentials, params: Value) -> Value {
    let Value::Object(mut map) = params else { panic!("params are an object") };
    map.insert("apiKey".to_owned(), credentials.api_key.clone().into());
    map.entry("timestamp").or_insert_with(|| now_ms().into());
    let payload = payload(&map);
    map.insert("signature".to_owned(), hmac_hex(&credentials.api_secret, &payload).into());
    Value::Object(map)
}

fn payload(map: &Map<String, Value>) -> String {
    // The map is sorted by name.
    let pairs = map.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn limit_order(side: &str, price: &str, quantity: &str, client_id: &str) -> Value {
    json!({
        "symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC",
        "price": price, "quantity": quantity, "newClientOrderId": client_id,
    })
}

/// One HTTP exchange: status and body.
pub(crate) async fn http(
    url: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let address = url.strip_prefix("http://").expect("an http URL");
    let mut stream = TcpStream::connect(address).await.expect("TCP connects");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("the request goes out");
    let mut answer = String::new();
    let read = timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.expect("the answer comes in time").expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

pub(crate) fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/testdata/binance/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("the recording is JSON")
}

/// Every key of the recording is there, with a value of the same JSON type.
pub(crate) fn assert_shape(value: &Value, recording: &Value) {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match (value, recording) {
        (Value::Object(own), Value::Object(recorded)) => {
            for (key, recorded) in recorded {
                let own = own.get(key).unwrap_or_else(|| panic!("{key} is missing in {value}"));
                assert_shape(own, recorded);
            }
        }
        (Value::Array(own), Value::Array(recorded)) => {
            if let (Some(own), Some(recorded)) = (own.first(), recorded.first()) {
                assert_shape(own, recorded);
            }
        }
        _ => assert_eq!(kind(value), kind(recording), "{value} for {recording}"),
    }
}
