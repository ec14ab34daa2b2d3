//! Ticks from a loopback socket to a subscriber, beside a bare `tokio-tungstenite` loop that parses
//! the same messages into types and throws them away.
//!
//! `cargo bench --bench tick_path`, or with `-- --quick` for a smoke run.

#[path = "support/flood.rs"]
mod flood;
mod support;

use std::hint::black_box;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use exchange_gateway::exchange::{AdapterKind, AdapterSetup, MarketSession, Outbox, SymbolTable};
use exchange_gateway::types::{ExchangeName, InstrumentSpec, Quantity, Timestamp};
use exchange_gateway::{Delivery, Gateway, MarketEvent, Ticks};
use flood::{BLOCK, Flood};
use futures::{SinkExt as _, StreamExt as _};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use support::{current_thread, instrument, is_quick, median, print_table};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// One kind of message, as the exchange writes it and as the floor reads it.
struct Kind {
    name: &'static str,
    adapter: AdapterKind,
    message: fn(usize) -> String,
    /// The least that makes types of the message; the number of decimals in it.
    parse: fn(&str) -> usize,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "Binance quote",
        adapter: AdapterKind::Binance,
        message: |n| {
            format!(
                r#"{{"stream":"btcusdt@bookTicker","data":{{"u":{},"s":"BTCUSDT","b":"{}.{:02}000000","B":"3.{n:05}000","a":"{}.{:02}000000","A":"0.{n:05}000"}}}}"#,
                400_900_217 + n,
                60_000 + n / 100,
                n % 100,
                60_001 + n / 100,
                n % 100,
            )
        },
        parse: |text| {
            let Combined { data, .. } = read::<Combined<'_, BookTicker<'_>>>(text);
            let BookTicker { symbol, bid, bid_quantity, ask, ask_quantity } = data;
            black_box(symbol);
            black_box([bid, bid_quantity, ask, ask_quantity].map(decimal)).len()
        },
    },
    Kind {
        name: "Binance trade",
        adapter: AdapterKind::Binance,
        message: |n| {
            format!(
                r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":{},"p":"{}.{:02}000000","q":"0.{n:05}000","T":1672515782136,"m":{},"M":true}}}}"#,
                705_291_099 + n,
                60_000 + n / 100,
                n % 100,
                n % 2 == 0,
            )
        },
        parse: |text| {
            let Combined { data, .. } = read::<Combined<'_, Trade<'_>>>(text);
            black_box((data.symbol, data.id, data.time, data.buyer_is_maker));
            black_box([data.price, data.quantity].map(decimal)).len()
        },
    },
    Kind {
        name: "Kraken quote",
        adapter: AdapterKind::Kraken,
        message: |n| {
            format!(
                r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"BTC/USDT","bid":{0}.{1:02},"bid_qty":0.{n:05}250,"ask":{2}.{1:02},"ask_qty":3.{n:05}100,"last":{0}.{1:02},"volume":2710.98383185,"vwap":60100.1,"low":59000.9,"high":61000.5,"change":-17.5,"change_pct":-0.17,"timestamp":"2023-09-25T09:04:31.{n:06}Z"}}]}}"#,
                60_000 + n / 100,
                n % 100,
                60_001 + n / 100,
            )
        },
        parse: |text| {
            let message = read::<Update<'_, Ticker<'_>>>(text);
            black_box((message.channel, message.kind));
            let elements = message.data.into_iter().map(|ticker| {
                let Ticker { symbol, bid, bid_qty, ask, ask_qty, timestamp } = ticker;
                black_box((symbol, timestamp));
                black_box([bid, bid_qty, ask, ask_qty].map(number)).len()
            });
            elements.sum()
        },
    },
    Kind {
        name: "Kraken trade",
        adapter: AdapterKind::Kraken,
        message: |n| {
            format!(
                r#"{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USDT","side":"{}","price":{}.{:02},"qty":0.{n:05}250,"ord_type":"limit","trade_id":{},"timestamp":"2023-10-06T17:35:55.{n:06}Z"}}]}}"#,
                if n % 2 == 0 { "buy" } else { "sell" },
                60_000 + n / 100,
                n % 100,
                10_218_208 + n,
            )
        },
        parse: |text| {
            let message = read::<Update<'_, KrakenTrade<'_>>>(text);
            black_box((message.channel, message.kind));
            let elements = message.data.into_iter().map(|trade| {
                let KrakenTrade { symbol, side, price, qty, trade_id, timestamp } = trade;
                black_box((symbol, side, trade_id, timestamp));
                black_box([price, qty].map(number)).len()
            });
            elements.sum()
        },
    },
];

#[derive(Deserialize)]
struct Combined<'a, T> {
    #[serde(rename = "stream")]
    _stream: &'a str,
    data: T,
}

#[derive(Deserialize)]
struct BookTicker<'a> {
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "b")]
    bid: &'a str,
    #[serde(rename = "B")]
    bid_quantity: &'a str,
    #[serde(rename = "a")]
    ask: &'a str,
    #[serde(rename = "A")]
    ask_quantity: &'a str,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    quantity: &'a str,
    #[serde(rename = "T")]
    time: i64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
}

#[derive(Deserialize)]
struct Update<'a, T> {
    channel: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: [T; 1],
}

#[derive(Deserialize)]
struct Ticker<'a> {
    symbol: &'a str,
    #[serde(borrow)]
    bid: &'a RawValue,
    #[serde(borrow)]
    bid_qty: &'a RawValue,
    #[serde(borrow)]
    ask: &'a RawValue,
    #[serde(borrow)]
    ask_qty: &'a RawValue,
    timestamp: &'a str,
}

#[derive(Deserialize)]
struct KrakenTrade<'a> {
    symbol: &'a str,
    side: &'a str,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    trade_id: u64,
    timestamp: &'a str,
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text).expect("a message of this kind")
}

fn decimal(text: &str) -> Decimal {
    Decimal::from_str(text).expect("a decimal")
}

fn number(raw: &RawValue) -> Decimal {
    decimal(raw.get())
}

fn messages(kind: &Kind) -> Vec<String> {
    (0..BLOCK).map(kind.message).collect()
}

/// The floor: a connection and nothing else.
struct Floor {
    flood: Flood,
    socket: WebSocketStream<TcpStream>,
    parse: fn(&str) -> usize,
}

impl Floor {
    async fn start(kind: &Kind) -> Self {
        let flood = Flood::start(kind.adapter, &messages(kind));
        let stream = connect(flood.address).await;
        // The size that was found to be quickest for a bare loop as well.
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let url = format!("ws://{}/", flood.address);
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config))
                .await
                .expect("a WebSocket handshake");
        let requests: &[&str] = match kind.adapter {
            AdapterKind::Kraken => &[
                r#"{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USDT"]},"req_id":1}"#,
                r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USDT"]},"req_id":2}"#,
            ],
            _ => &[r#"{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}"#],
        };
        for request in requests {
            socket.send(Message::text(*request)).await.expect("the server reads");
            socket.next().await.expect("an acknowledgement").expect("an acknowledgement");
        }
        Self { flood, socket, parse: kind.parse }
    }

    async fn read(&mut self, blocks: usize) {
        self.flood.write(blocks);
        for _ in 0..blocks * BLOCK {
            let message = self.socket.next().await.expect("a message").expect("a message");
            black_box((self.parse)(message.to_text().expect("a text message")));
        }
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// The gateway with one queued subscriber.
struct Measured {
    flood: Flood,
    gateway: Gateway,
    ticks: Ticks,
    _state: tempfile::TempDir,
}

impl Measured {
    async fn start(kind: &Kind, mock: &mock_exchange::MockExchange) -> Self {
        let flood = Flood::start(kind.adapter, &messages(kind));
        let state = tempfile::tempdir().expect("a temporary directory");
        let name = kind.adapter.as_str();
        let mut config = support::config(&[mock.venue(name).expect("a venue")], &state);
        let exchange = &mut config.exchanges[0];
        exchange.trading = false;
        let url = format!("ws://{}{}", flood.address, support::market_path(kind.adapter));
        exchange.market_url = Some(url.parse().expect("a URL"));
        let gateway = Gateway::start(config).await.expect("the gateway starts");
        let delivery = Delivery::Queue { capacity: 16 * 1024 };
        let ticks = gateway.subscribe_with(&[instrument(name)], delivery).expect("it is listed");
        Self { flood, gateway, ticks, _state: state }
    }

    async fn read(&mut self, blocks: usize) {
        self.flood.write(blocks);
        let mut left = blocks * BLOCK;
        while left > 0 {
            match self.ticks.next().await.expect("the gateway runs") {
                MarketEvent::Tick(tick) => {
                    black_box(tick);
                    left -= 1;
                }
                other => panic!("the subscriber of a quick bench was too slow: {other:?}"),
            }
        }
    }
}

/// What the socket bench found of one kind of message.
struct Found {
    floor: Vec<f64>,
    gateway: Vec<f64>,
    floor_allocations: f64,
    gateway_allocations: f64,
}

/// Measures floor and gateway in turn, so that a busy machine slows both.
#[allow(clippy::cast_precision_loss, reason = "a number of messages")]
fn measure(kind: &Kind, rounds: usize, blocks: usize) -> Found {
    let runtime = current_thread();
    let mock = support::mock(&[kind.adapter.as_str()], Duration::ZERO);
    let mut floor = runtime.block_on(Floor::start(kind));
    let mut gateway = runtime.block_on(Measured::start(kind, &mock));
    runtime.block_on(floor.read(blocks));
    runtime.block_on(gateway.read(blocks));
    let messages = (blocks * BLOCK) as f64;
    let (mut of_floor, mut of_gateway) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        runtime.block_on(floor.read(blocks));
        of_floor.push(messages / began.elapsed().as_secs_f64());
        let began = Instant::now();
        runtime.block_on(gateway.read(blocks));
        of_gateway.push(messages / began.elapsed().as_secs_f64());
    }
    // All of this thread's work, the WebSocket library's included.
    let allocations =
        |work: &mut dyn FnMut()| allocation_counter::measure(work).count_total as f64 / messages;
    let floor_allocations = allocations(&mut || runtime.block_on(floor.read(blocks)));
    let gateway_allocations = allocations(&mut || runtime.block_on(gateway.read(blocks)));
    let Measured { flood, gateway, .. } = gateway;
    drop(flood);
    let report = runtime.block_on(gateway.shutdown());
    assert_eq!(report.outcome, exchange_gateway::Outcome::Clean, "{report:#?}");
    Found { floor: of_floor, gateway: of_gateway, floor_allocations, gateway_allocations }
}

/// A market session that knows the instrument.
fn session(adapter: AdapterKind) -> Box<dyn MarketSession> {
    let exchange = ExchangeName::new(adapter.as_str()).expect("a name");
    let endpoints = adapter.production();
    let built = adapter.build(AdapterSetup { exchange, endpoints, credentials: None });
    let symbol = if adapter == AdapterKind::Kraken { "BTC/USDT" } else { "BTCUSDT" };
    let spec = InstrumentSpec {
        instrument: instrument(adapter.as_str()),
        symbol: symbol.into(),
        tick_size: Decimal::new(1, 2),
        lot_size: Decimal::new(1, 8),
        min_quantity: Quantity::ZERO,
        max_quantity: None,
        min_notional: None,
        tick_size_steps: Vec::new(),
        contract_size: None,
    };
    let mut session = built.market_session(Arc::new(SymbolTable::new([spec])));
    session.opened(Timestamp::UNIX_EPOCH, &mut Outbox::default());
    session
}

/// Decodes one message; its tick stays in the outbox until the next.
fn decode(session: &mut dyn MarketSession, text: &str, out: &mut Outbox) {
    out.ticks.clear();
    session.received(text, Timestamp::UNIX_EPOCH, out).expect("a message of this kind");
}

/// Allocations of the decoding of a block, after a block of warm-up.
fn decoding_allocations(kind: &Kind) -> u64 {
    let (mut session, mut out, messages) =
        (session(kind.adapter), Outbox::default(), messages(kind));
    let mut all = || messages.iter().for_each(|text| decode(session.as_mut(), text, &mut out));
    all();
    allocation_counter::measure(all).count_total
}

/// Decoding alone, without a socket.
fn decoding(criterion: &mut Criterion) {
    for kind in &KINDS {
        let messages = messages(kind);
        let mut group = criterion.benchmark_group(kind.name);
        group.throughput(Throughput::Elements(BLOCK as u64));
        group.bench_function("floor", |bencher| {
            bencher.iter(|| messages.iter().map(|text| (kind.parse)(text)).sum::<usize>());
        });
        let (mut session, mut out) = (session(kind.adapter), Outbox::default());
        group.bench_function("gateway", |bencher| {
            bencher.iter(|| messages.iter().for_each(|m| decode(session.as_mut(), m, &mut out)));
        });
        group.finish();
    }
}

fn main() {
    let quick = is_quick();
    let (rounds, blocks) = if quick { (20, 5) } else { (301, 10) };
    if !quick {
        let mut criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(1))
            .without_plots();
        decoding(&mut criterion);
    }
    let mut rows = Vec::new();
    for kind in &KINDS {
        let found = measure(kind, rounds, blocks);
        let (floor, gateway) = (median(&found.floor), median(&found.gateway));
        let decoding = decoding_allocations(kind);
        assert_eq!(decoding, 0, "decoding {} allocates", kind.name);
        rows.push(vec![
            kind.name.to_owned(),
            format!("{:.2} M/s", floor / 1e6),
            format!("{:.2} M/s", gateway / 1e6),
            format!("{:.2}", gateway / floor),
            decoding.to_string(),
            format!("{:.3}", found.gateway_allocations - found.floor_allocations),
        ]);
    }
    println!();
    print_table(
        &[
            "Ticks, socket to subscriber",
            "bare loop",
            "gateway",
            "ratio (goal ≥ 0.70)",
            "allocations in decoding",
            "allocations a tick beyond the bare loop",
        ],
        &rows,
    );
}
