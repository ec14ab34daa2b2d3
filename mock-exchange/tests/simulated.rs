//! The mock runs over any byte stream and under paused time.

mod common;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use mock_exchange::{
    ByteStream, Clock, ClosedBy, Listener, Listeners, MarketConfig, MockConfig, MockExchange,
    VenueConfig,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

struct Wire(DuplexStream);

impl ByteStream for Wire {
    fn reset_on_drop(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

struct Wires(mpsc::Receiver<Wire>);

impl Listener for Wires {
    type Stream = Wire;

    async fn accept(&mut self) -> io::Result<Wire> {
        match self.0.recv().await {
            Some(wire) => Ok(wire),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
}

async fn start(market: MarketConfig) -> (MockExchange, WebSocketStream<DuplexStream>) {
    let (sender, receiver) = mpsc::channel(4);
    let config = MockConfig {
        seed: 5,
        binance: Some(VenueConfig { market, ..VenueConfig::default() }),
        clock: Clock::simulated("2026-01-01T00:00:00Z".parse().expect("a time")),
        ..MockConfig::default()
    };
    let listeners = Listeners { binance: Some(Wires(receiver)), ..Listeners::default() };
    let mock = MockExchange::start_on(config, listeners).expect("the mock starts");
    let (client, server) = duplex(1 << 16);
    sender.send(Wire(server)).await.expect("the mock accepts");
    let url = "ws://127.0.0.1:1/ws/btcusdt@bookTicker";
    let (socket, _) = client_async(url, client).await.expect("the handshake succeeds");
    (mock, socket)
}

#[tokio::test(start_paused = true)]
async fn pings_come_every_twenty_seconds_and_a_mute_client_is_closed_after_sixty() {
    let (mock, mut socket) = start(MarketConfig::Quiet).await;
    let start = Instant::now();
    let ping = socket.next().await.expect("a frame").expect("readable");
    assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
    assert_eq!(start.elapsed().as_secs(), 20);
    // The library answers a ping only when it is polled again: nobody does.
    let ended = mock
        .wait_for(
            |ledger| ledger.exchange("binance").connections.iter().any(|c| c.closed.is_some()),
            Duration::from_secs(300),
        )
        .await
        .expect("the server gives up");
    let record = &ended.exchange("binance").connections[0];
    assert_eq!((record.closed_by, record.close_code_sent), (Some(ClosedBy::Server), Some(1008)));
    let lived = record.closed.expect("closed").duration_since(record.opened);
    assert_eq!(lived.as_secs(), 20 + 60 + 2);
    mock.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_trace_under_simulated_time() {
    let mut traces = Vec::new();
    for _ in 0..2 {
        let (mock, mut socket) = start(MarketConfig::Seeded { events_per_second: 20.0 }).await;
        let mut trace = Vec::new();
        while trace.len() < 200 {
            if let Message::Text(text) = socket.next().await.expect("a frame").expect("readable") {
                trace.push(text.to_string());
            }
        }
        socket.send(Message::Close(None)).await.expect("the close goes out");
        while socket.next().await.is_some() {}
        let ledger = mock.shutdown().await;
        let record = &ledger.exchange("binance").connections[0];
        trace.push(format!("{:?} {:?}", record.closed, record.closed_by));
        traces.push(trace);
    }
    assert_eq!(traces[0], traces[1], "seed 5");
}
