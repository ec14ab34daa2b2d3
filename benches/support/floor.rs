//! The floor of orders and cancels: a bare WebSocket client that writes signed requests and waits for
//! their answers. It keeps no book and no journal; it only knows the two exchanges' requests.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{future::Future, io};

use exchange_gateway::exchange::{
    AdapterKind, AdapterSetup, Credentials, HttpRequest, HttpResponse, Outbox, Secret,
    SessionEvent, SymbolTable,
};
use exchange_gateway::types::{ExchangeName, Timestamp};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use mock_exchange::Venue;
use ring::hmac;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

/// Tells when the first byte was handed to the system after it was [armed](Self::arm).
#[derive(Debug, Clone)]
pub(crate) struct WriteClock {
    base: Instant,
    written: Arc<AtomicU64>,
}

impl WriteClock {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now(), written: Arc::default() }
    }

    pub(crate) fn arm(&self) {
        self.written.store(0, Ordering::Relaxed);
    }

    /// The time from `began` to the write.
    pub(crate) fn since(&self, began: Instant) -> Duration {
        let written = Duration::from_nanos(self.written.load(Ordering::Relaxed));
        (self.base + written).duration_since(began)
    }

    fn note(&self) {
        let now = u64::try_from(self.base.elapsed().as_nanos()).expect("a short run");
        let _ = self.written.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A TCP stream whose writes are noted.
pub(crate) struct Noted {
    pub(crate) stream: TcpStream,
    pub(crate) clock: WriteClock,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if result.is_ready() {
            self.clock.note();
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A logged-in client of one exchange.
pub(crate) struct Floor {
    adapter: AdapterKind,
    socket: WebSocketStream<Noted>,
    pub(crate) clock: WriteClock,
    api_key: String,
    secret: hmac::Key,
    token: String,
    last_id: u64,
}

/// The answer to a request of either exchange.
#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<u64>,
    req_id: Option<u64>,
    status: Option<u16>,
    success: Option<bool>,
    #[serde(borrow)]
    channel: Option<&'a str>,
}

impl Floor {
    /// Logs in and follows the private stream, as the gateway does; the gateway's own adapter says
    /// how, because none of this is measured.
    pub(crate) async fn start(venue: &Venue) -> Self {
        let adapter = AdapterKind::from_name(venue.name()).expect("an adapter for the venue");
        let url = |text: String| -> Url { text.parse().expect("a URL") };
        let mut endpoints = adapter.production();
        endpoints.http = url(venue.http_url());
        let keys = venue.credentials();
        let credentials = Credentials {
            api_key: Secret::new(keys.api_key.clone()),
            api_secret: Secret::new(keys.api_secret.clone()),
        };
        let built = adapter.build(AdapterSetup {
            exchange: ExchangeName::new(venue.name()).expect("a name"),
            endpoints,
            credentials: Some(credentials),
        });
        let mut session = built.trading_session(Arc::new(SymbolTable::new([])));
        let mut token = String::new();
        if let Some(request) = session.before_connect(Timestamp::now()) {
            let response = http(&request).await;
            let json: serde_json::Value = serde_json::from_str(&response.body).expect("JSON");
            json["result"]["token"].as_str().expect("a token").clone_into(&mut token);
            session.prepared(&response).expect("a token");
        }
        let stream = TcpStream::connect(venue.address()).await.expect("the venue listens");
        stream.set_nodelay(true).expect("a socket option");
        let clock = WriteClock::new();
        let address = format!("{}{}", venue.ws_url(), super::support::trading_path(venue.name()));
        let (mut socket, _) = tokio_tungstenite::client_async_with_config(
            address,
            Noted { stream, clock: clock.clone() },
            Some(WebSocketConfig::default().read_buffer_size(16 * 1024)),
        )
        .await
        .expect("a WebSocket handshake");
        let mut out = Outbox::default();
        session.opened(Timestamp::now(), &mut out);
        while !out.events.contains(&SessionEvent::Ready) {
            for text in out.messages.drain(..) {
                socket.send(Message::text(text)).await.expect("the venue reads");
            }
            let message = socket.next().await.expect("an answer").expect("an answer");
            let text = message.to_text().expect("a text message");
            session.received(text, Timestamp::now(), &mut out).expect("a readable answer");
        }
        let secret = hmac::Key::new(hmac::HMAC_SHA256, keys.api_secret.as_bytes());
        let api_key = keys.api_key;
        Self { adapter, socket, clock, api_key, secret, token, last_id: 1000 }
    }

    /// Places the order that rests and waits for the answer; returns its client id.
    pub(crate) async fn place(&mut self) -> String {
        let (id, client_id, text) = self.order();
        self.ask(id, text).await;
        client_id
    }

    /// Places this many orders side by side; returns their client ids.
    pub(crate) async fn place_all(&mut self, count: usize) -> Vec<String> {
        let first = self.last_id + 1;
        let mut placed = Vec::with_capacity(count);
        for _ in 0..count {
            let (_, client_id, text) = self.order();
            self.socket.feed(Message::text(text)).await.expect("the venue reads");
            placed.push(client_id);
        }
        self.answers(first, count).await;
        placed
    }

    fn order(&mut self) -> (u64, String, String) {
        self.last_id += 1;
        let id = self.last_id;
        let client_id = format!("fl{id}");
        let text = if self.adapter == AdapterKind::Kraken {
            let token = &self.token;
            format!(
                r#"{{"method":"add_order","params":{{"order_type":"limit","limit_price":20000,"time_in_force":"gtc","side":"buy","order_qty":0.01,"symbol":"BTC/USDT","cl_ord_id":"{client_id}","token":"{token}"}},"req_id":{id}}}"#
            )
        } else {
            let (key, time) = (&self.api_key, Timestamp::now().as_millisecond());
            let payload = format!(
                "apiKey={key}&newClientOrderId={client_id}&newOrderRespType=ACK&price=20000&quantity=0.01&recvWindow=5000&side=BUY&symbol=BTCUSDT&timeInForce=GTC&timestamp={time}&type=LIMIT"
            );
            let signature = self.signature(&payload);
            format!(
                r#"{{"id":{id},"method":"order.place","params":{{"apiKey":"{key}","newClientOrderId":"{client_id}","newOrderRespType":"ACK","price":"20000","quantity":"0.01","recvWindow":5000,"side":"BUY","symbol":"BTCUSDT","timeInForce":"GTC","timestamp":{time},"type":"LIMIT","signature":"{signature}"}}}}"#
            )
        };
        (id, client_id, text)
    }

    /// Cancels it and waits for the answer.
    pub(crate) async fn cancel(&mut self, client_id: &str) {
        let (id, text) = self.cancellation(client_id);
        self.ask(id, text).await;
    }

    /// Cancels them side by side and waits for all answers.
    pub(crate) async fn cancel_all(&mut self, client_ids: &[String]) {
        let first = self.last_id + 1;
        for client_id in client_ids {
            let (_, text) = self.cancellation(client_id);
            self.socket.feed(Message::text(text)).await.expect("the venue reads");
        }
        self.answers(first, client_ids.len()).await;
    }

    /// Cancels all of them with one request, and waits until the exchange has told the end of each.
    pub(crate) async fn cancel_everything(&mut self, client_ids: &[String]) {
        self.last_id += 1;
        let id = self.last_id;
        let (text, end) = if self.adapter == AdapterKind::Kraken {
            let token = &self.token;
            let text = format!(
                r#"{{"method":"cancel_all","params":{{"token":"{token}"}},"req_id":{id}}}"#
            );
            (text, r#""exec_type":"canceled""#)
        } else {
            let (key, time) = (&self.api_key, Timestamp::now().as_millisecond());
            let payload = format!("apiKey={key}&recvWindow=5000&symbol=BTCUSDT&timestamp={time}");
            let signature = self.signature(&payload);
            let text = format!(
                r#"{{"id":{id},"method":"openOrders.cancelAll","params":{{"apiKey":"{key}","recvWindow":5000,"symbol":"BTCUSDT","timestamp":{time},"signature":"{signature}"}}}}"#
            );
            (text, r#""x":"CANCELED""#)
        };
        self.socket.send(Message::text(text)).await.expect("the venue reads");
        let mut left = client_ids.len();
        while left > 0 {
            let message = self.socket.next().await.expect("an answer").expect("an answer");
            let text = message.to_text().unwrap_or_default();
            left = left.saturating_sub(text.matches(end).count());
        }
    }

    fn cancellation(&mut self, client_id: &str) -> (u64, String) {
        self.last_id += 1;
        let id = self.last_id;
        let text = if self.adapter == AdapterKind::Kraken {
            let token = &self.token;
            format!(
                r#"{{"method":"cancel_order","params":{{"cl_ord_id":["{client_id}"],"token":"{token}"}},"req_id":{id}}}"#
            )
        } else {
            let (key, time) = (&self.api_key, Timestamp::now().as_millisecond());
            let payload = format!(
                "apiKey={key}&origClientOrderId={client_id}&recvWindow=5000&symbol=BTCUSDT&timestamp={time}"
            );
            let signature = self.signature(&payload);
            format!(
                r#"{{"id":{id},"method":"order.cancel","params":{{"apiKey":"{key}","origClientOrderId":"{client_id}","recvWindow":5000,"symbol":"BTCUSDT","timestamp":{time},"signature":"{signature}"}}}}"#
            )
        };
        (id, text)
    }

    fn signature(&self, payload: &str) -> String {
        let tag = hmac::sign(&self.secret, payload.as_bytes());
        tag.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes everything");
            hex
        })
    }

    async fn ask(&mut self, id: u64, text: String) {
        self.socket.feed(Message::text(text)).await.expect("the venue reads");
        self.answers(id, 1).await;
    }

    /// Sends what was fed and waits for the answers to `count` requests from `first` on.
    async fn answers(&mut self, first: u64, count: usize) {
        self.socket.flush().await.expect("the venue reads");
        let mut left = count;
        while left > 0 {
            let message = self.socket.next().await.expect("an answer").expect("an answer");
            let Ok(text) = message.to_text() else { continue };
            let Ok(answer) = serde_json::from_str::<Answer<'_>>(text) else { continue };
            let id = answer.id.or(answer.req_id);
            if answer.channel.is_none() && id.is_some_and(|id| id >= first) {
                let accepted = answer.status == Some(200) || answer.success == Some(true);
                assert!(accepted, "the request was refused: {text}");
                left -= 1;
            }
        }
    }

    /// Reads what comes for a while, so that no sample begins with the mail of the one before.
    pub(crate) async fn drain(&mut self, turns: usize) {
        for _ in 0..turns {
            while self.socket.next().now_or_never().flatten().is_some() {}
            tokio::task::yield_now().await;
        }
    }
}

/// A request on a connection of its own.
async fn http(request: &HttpRequest) -> HttpResponse {
    let url = &request.url;
    let address = url.socket_addrs(|| None).expect("an address")[0];
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n",
        request.method,
        url.path()
    );
    for (name, value) in &request.headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes everything");
    }
    write!(head, "content-length: {}\r\n\r\n{}", request.body.len(), request.body)
        .expect("a string takes everything");
    let mut stream = TcpStream::connect(address).await.expect("the venue listens");
    stream.write_all(head.as_bytes()).await.expect("the venue reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    HttpResponse { status: 200, body: body.to_owned() }
}

/// Connects the gateway through [`Noted`] streams.
#[derive(Debug)]
pub(crate) struct NotedConnector(pub(crate) WriteClock);

impl exchange_gateway::Connector for NotedConnector {
    fn connect<'a>(&'a self, url: &'a Url) -> exchange_gateway::Connecting<'a> {
        let clock = self.0.clone();
        Box::pin(async move {
            let address = url.socket_addrs(|| None)?[0];
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(Noted { stream, clock }) as Box<dyn exchange_gateway::ByteStream>)
        })
    }
}

/// Times a future, and the first write in it.
pub(crate) async fn timed<T>(
    clock: &WriteClock,
    work: impl Future<Output = T>,
) -> (T, Duration, Duration) {
    clock.arm();
    let began = Instant::now();
    let output = work.await;
    let round_trip = began.elapsed();
    (output, clock.since(began), round_trip)
}
