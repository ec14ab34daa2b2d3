//! A trading connection with open orders is never given up: neither for a refusal, nor for a
//! panic, nor because it is half open. A shutdown does not wait for the next attempt.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use common::judge::judge;
use common::{
    BOTH, Bench, connection, logs, phase, reconnected, reported, rest, resting, submit_when_open,
    until, within,
};
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd, ShutdownReport};
use exchange_gateway::types::{ClientOrderId, Order};
use exchange_gateway::{
    ByteStream, Connecting, ConnectionStatus, Connector, Environment, Gateway, Phase,
    SystemConnector,
};
use mock_exchange::{ConnectionKind, Disconnect, Fault, FaultAction, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

/// A network that a test makes go wrong.
#[derive(Debug, Default)]
struct Trouble {
    /// Where HTTP connections go instead, if anywhere.
    http_port: AtomicU16,
    /// How many attempts to open a WebSocket of this path still panic.
    panics: AtomicU32,
}

#[derive(Debug)]
struct Troubled {
    inner: SystemConnector,
    trouble: Arc<Trouble>,
}

impl Connector for Troubled {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        let port = self.trouble.http_port.load(Ordering::Relaxed);
        if url.scheme() == "http" && port > 0 {
            return Box::pin(async move {
                let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            });
        }
        let is_trading = url.scheme() == "ws" && !url.path().starts_with("/stream");
        let one_less = |left: u32| left.checked_sub(1);
        let panics = &self.trouble.panics;
        let burns = is_trading
            && panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        assert!(!burns, "the network card is on fire");
        self.inner.connect(url)
    }
}

impl Trouble {
    fn environment(self: &Arc<Self>) -> Environment {
        let trouble = Arc::clone(self);
        let make = move |ca_file: Option<&std::path::Path>| {
            let inner = SystemConnector::new(ca_file)?;
            let trouble = Arc::clone(&trouble);
            Ok(Arc::new(Troubled { inner, trouble }) as Arc<dyn Connector>)
        };
        Environment { connector: Arc::new(make), seed: Some(5), ..Environment::system() }
    }
}

/// An HTTP server that knows no key.
async fn knows_no_key() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0_u8; 4096];
            let _ = stream.read(&mut request).await;
            let body = r#"{"error":["EAPI:Invalid key"]}"#;
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn waits_because(gateway: &Gateway, exchange: &str, words: &str) -> bool {
    let status = connection(gateway, exchange, "trading").status;
    matches!(status, ConnectionStatus::Waiting { reason } if reason.contains(words))
}

fn all_cancelled(report: &ShutdownReport, ids: &[ClientOrderId]) {
    assert!(matches!(report.outcome, Outcome::Clean | Outcome::Degraded), "{report:#?}");
    assert_eq!(phase(report, Phase::CancelPending).ended, PhaseEnd::Done, "{report:#?}");
    for id in ids {
        assert_eq!(reported(report, *id).fate, OrderFate::Canceled, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_worked_and_is_refused_is_tried_again() {
    let bench = Bench::start(&["kraken"]).await;
    let trouble = Arc::new(Trouble::default());
    let gateway = Gateway::start_in(bench.config.clone(), trouble.environment()).await;
    let gateway = gateway.expect("the gateway starts");
    let order = rest(&gateway, "kraken", 1).await.remove(0);
    trouble.http_port.store(knows_no_key().await, Ordering::Relaxed);
    bench.venue("kraken").drop_connections(Disconnect::Rst);
    until("it waits", || waits_because(&gateway, "kraken", "Invalid key")).await;
    trouble.http_port.store(0, Ordering::Relaxed);
    reconnected(&gateway, "kraken", "trading", 1).await;
    submit_when_open(&gateway, resting("kraken")).await;
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_cuts_the_wait_for_the_next_attempt_short() {
    let mut bench = Bench::start(BOTH).await;
    bench.connections(|connection| {
        connection.backoff_min = Duration::from_secs(3_000);
        connection.backoff_max = Duration::from_secs(3_000);
    });
    let trouble = Arc::new(Trouble::default());
    let gateway = Gateway::start_in(bench.config.clone(), trouble.environment()).await;
    let gateway = gateway.expect("the gateway starts");
    let mut ids = Vec::new();
    for exchange in BOTH {
        ids.extend(rest(&gateway, exchange, 3).await.iter().map(Order::id));
    }
    trouble.http_port.store(knows_no_key().await, Ordering::Relaxed);
    for exchange in BOTH {
        bench.venue(exchange).drop_connections(Disconnect::Rst);
    }
    until("they wait", || {
        waits_because(&gateway, "kraken", "") && waits_because(&gateway, "binance", "")
    })
    .await;
    trouble.http_port.store(0, Ordering::Relaxed);
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    all_cancelled(&report, &ids);
    // Nobody needs market data any more: it stays closed, and that is said.
    for exchange in &report.exchanges {
        let market = exchange.connections.iter().find(|c| c.connection == "market");
        let problem = market.and_then(|market| market.problem.as_deref()).unwrap_or_default();
        assert!(problem.contains("was not connected: "), "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_connection_is_survived_once() {
    let mut bench = Bench::start(&["binance"]).await;
    bench.config.gateway.order_tag = "pnc".into();
    let trouble = Arc::new(Trouble::default());
    let gateway = Gateway::start_in(bench.config.clone(), trouble.environment()).await;
    let gateway = gateway.expect("the gateway starts");
    let order = rest(&gateway, "binance", 1).await.remove(0);
    trouble.panics.store(1, Ordering::Relaxed);
    bench.venue("binance").drop_connections(Disconnect::Rst);
    reconnected(&gateway, "binance", "trading", 1).await;
    assert_eq!(trouble.panics.load(Ordering::Relaxed), 0);
    submit_when_open(&gateway, resting("binance")).await;

    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    assert_eq!(reported(&report, order.id()).fate, OrderFate::Canceled);
    let [failure] = report.failures.as_slice() else { panic!("{report:#?}") };
    assert_eq!(failure.scope, "gateway/binance/trading");
    assert!(failure.reason.contains("on fire; started again"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_panic_gives_the_connection_up() {
    let bench = Bench::start(&["binance"]).await;
    let trouble = Arc::new(Trouble::default());
    let gateway = Gateway::start_in(bench.config.clone(), trouble.environment()).await;
    let gateway = gateway.expect("the gateway starts");
    rest(&gateway, "binance", 1).await;
    trouble.panics.store(2, Ordering::Relaxed);
    bench.venue("binance").drop_connections(Disconnect::Rst);
    until("it is given up", || {
        let status = connection(&gateway, "binance", "trading").status;
        matches!(status, ConnectionStatus::Failed { .. })
    })
    .await;
}

/// Deafens or mutes the trading connections, and shuts down. Tells how many each exchange then saw.
async fn half_open(action: FaultAction) -> [usize; 2] {
    logs::keep();
    let mut bench = Bench::start(BOTH).await;
    bench.config.gateway.order_tag = "hop".into();
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        ids.extend(rest(&gateway, exchange, 3).await.iter().map(Order::id));
        let trading = bench.venue(exchange).ledger().connections;
        let trading = trading.iter().find(|c| c.kind == ConnectionKind::Trading);
        let target = Target::ConnectionId(trading.expect("it is connected").id);
        bench.add(Fault::new(action.clone()).at(exchange).on(target));
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    all_cancelled(&report, &ids);
    ["binance", "kraken"].map(|exchange| {
        let all = bench.venue(exchange).ledger().connections;
        all.iter().filter(|c| c.kind == ConnectionKind::Trading).count()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_cancelled_over_a_fresh_connection_if_the_old_one_is_mute() {
    let [binance, kraken] = half_open(FaultAction::GoSilent { for_ms: None }).await;
    assert_eq!(binance, 2, "a fresh connection brought the cancels");
    // Kraken reads the cancels and answers questions over HTTP, so that the fresh connection may
    // be needed no more by the time the old one is given up.
    assert!((1..=2).contains(&kraken), "{kraken} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_cancelled_over_a_fresh_connection_if_the_old_one_is_deaf() {
    let opened = half_open(FaultAction::StopReading { for_ms: None }).await;
    assert_eq!(opened, [2, 2], "fresh connections brought the cancels");
}
