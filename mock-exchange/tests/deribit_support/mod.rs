//! A plain client of the Deribit venue: what a third party would write.

#![allow(dead_code, reason = "each test program uses its own part of the client")]

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use mock_exchange::{MockConfig, MockExchange, Venue, VenueConfig};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn quiet_deribit() -> (MockExchange, Venue) {
    deribit(VenueConfig::quiet()).await
}

/// A mock with nothing but this Deribit.
pub(crate) async fn deribit(config: VenueConfig) -> (MockExchange, Venue) {
    let config = MockConfig { seed: 7, deribit: Some(config), ..MockConfig::default() };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let venue = mock.venue("deribit").expect("the venue runs");
    (mock, venue)
}

/// One WebSocket connection.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Messages read while waiting for another one, oldest first.
    pub(crate) skipped: Vec<Value>,
}

impl Client {
    pub(crate) async fn connect(venue: &Venue) -> Self {
        let url = format!("{}/ws/api/v2", venue.ws_url());
        let stream = TcpStream::connect(venue.address()).await.expect("the port is open");
        let (socket, _) =
            tokio_tungstenite::client_async(url, stream).await.expect("the upgrade works");
        Self { socket, next_id: 1, skipped: Vec::new() }
    }

    /// Connects and logs in with the account's key.
    pub(crate) async fn login(venue: &Venue) -> Self {
        let mut client = Self::connect(venue).await;
        client.ok("public/auth", credentials(venue)).await;
        client
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    /// Sends a request without waiting; returns its id.
    pub(crate) async fn post(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send_text(&request.to_string()).await;
        id
    }

    /// The next frame; `None` when the connection ended.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next()).await.expect("the venue is silent")?.ok()
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.frame().await.expect("the connection is open") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The next message that is wanted, among those skipped too; others are kept in `skipped`.
    pub(crate) async fn next_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.skipped.iter().position(&wanted) {
            return self.skipped.remove(index);
        }
        loop {
            let message = self.next().await;
            if wanted(&message) {
                return message;
            }
            self.skipped.push(message);
        }
    }

    /// The data of the next message of a channel.
    pub(crate) async fn data(&mut self, channel: &str) -> Value {
        let message = self.next_where(|message| message["params"]["channel"] == channel).await;
        message["params"]["data"].clone()
    }

    /// Calls a method and returns the whole answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.post(method, params).await;
        self.next_where(|message| message["id"] == id).await
    }

    /// Calls a method that works and returns its result.
    pub(crate) async fn ok(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert_eq!(answer.get("error"), None, "{method}: {answer}");
        answer["result"].clone()
    }

    /// Calls a method that fails and returns its code.
    pub(crate) async fn code(&mut self, method: &str, params: Value) -> i64 {
        let answer = self.call(method, params).await;
        answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{method}: {answer}"))
    }

    /// Subscribes, with a login.
    pub(crate) async fn subscribe(&mut self, channels: &[&str]) {
        let result = self.ok("private/subscribe", json!({ "channels": channels })).await;
        assert_eq!(result.as_array().map(Vec::len), Some(channels.len()), "{result}");
    }

    /// Places a resting order for 10 USD of BTC-PERPETUAL and returns its id.
    pub(crate) async fn rest(&mut self, side: &str, price: f64, label: &str) -> String {
        let result = self.ok(&format!("private/{side}"), limit(10.0, price, label)).await;
        assert_eq!(result["order"]["order_state"], "open", "{result}");
        result["order"]["order_id"].as_str().expect("an id").to_owned()
    }

    /// Reads until the connection ends; the code of the close frame, if there was one.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(message) = self.frame().await {
            if let Message::Close(frame) = message {
                code = frame.map(|frame| frame.code.into());
            }
        }
        code
    }
}

pub(crate) fn limit(amount: f64, price: f64, label: &str) -> Value {
    json!({
        "instrument_name": "BTC-PERPETUAL", "amount": amount, "type": "limit", "price": price,
        "label": label,
    })
}

/// The same parameters with others on top.
pub(crate) fn with(mut params: Value, more: &Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

pub(crate) fn credentials(venue: &Venue) -> Value {
    let own = venue.credentials();
    json!({
        "grant_type": "client_credentials", "client_id": own.api_key,
        "client_secret": own.api_secret,
    })
}

pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub(crate) fn hmac_hex(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

pub(crate) fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("a decimal")
}

/// One HTTP request: status and JSON.
pub(crate) async fn http(
    venue: &Venue,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, Value) {
    let mut stream = TcpStream::connect(venue.address()).await.expect("the port is open");
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("the request is written");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.expect("the venue is silent").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), serde_json::from_str(body).expect("JSON"))
}

/// The header that ccxt signs with.
pub(crate) fn signed(venue: &Venue, method: &str, target: &str) -> String {
    let own = venue.credentials();
    let (timestamp, nonce) = (now_ms(), now_ms());
    let payload = format!("{timestamp}\n{nonce}\n{method}\n{target}\n\n");
    let signature = hmac_hex(&own.api_secret, &payload);
    format!(
        "Authorization: deri-hmac-sha256 id={},ts={timestamp},sig={signature},nonce={nonce}\r\n",
        own.api_key
    )
}

pub(crate) fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/testdata/deribit/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("the recording is JSON")
}

/// Every key of the recording is there, with a value of the same JSON type; keys that the venue
/// itself sometimes leaves out are named.
pub(crate) fn assert_shape(value: &Value, recording: &Value, optional: &[&str]) {
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
                match own.get(key) {
                    Some(own) => assert_shape(own, recorded, optional),
                    None => assert!(optional.contains(&key.as_str()), "{key} lacks in {value}"),
                }
            }
        }
        (Value::Array(own), Value::Array(recorded)) => {
            if let (Some(own), Some(recorded)) = (own.first(), recorded.first()) {
                assert_shape(own, recorded, optional);
            }
        }
        _ => assert_eq!(kind(value), kind(recording), "{value} for {recording}"),
    }
}
