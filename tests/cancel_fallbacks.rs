//! Cancels find another way when the usual one is gone: over a fresh connection, else over HTTP;
//! and when there is none, the orders are named. The exchanges' ledgers judge.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use common::judge::{all_fills_told, judge, judge_fills, told};
use common::{Bench, connection, reported, rest, resting, symbol, until, update, within};
use exchange_gateway::shutdown::{CancelPath, OrderFate, Outcome, ShutdownReport};
use exchange_gateway::types::{ClientOrderId, NewOrder, Order, OrderStatus, Price, Side};
use exchange_gateway::{
    ByteStream, Connecting, ConnectionStatus, Connector, Environment, Gateway, OrderError,
    SystemConnector,
};
use mock_exchange::{ConnectionKind, Disconnect, Fault, FaultAction, Side as Seller, Target};
use rust_decimal::Decimal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

const ALL: &[&str] = &["binance", "kraken", "deribit"];
/// Those that leave the orders of a lost connection open.
const LASTING: &[&str] = &["binance", "kraken"];

/// A network whose new connections can be refused, by kind.
#[derive(Debug, Default)]
struct Outage {
    websocket: AtomicBool,
    http: AtomicBool,
    /// So many HTTP connections more go to a server that has no room for them.
    crowded: AtomicU32,
    crowded_port: AtomicU16,
}

#[derive(Debug)]
struct Broken {
    inner: SystemConnector,
    outage: Arc<Outage>,
}

impl Connector for Broken {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        let outage = match url.scheme() {
            "ws" => &self.outage.websocket,
            _ => &self.outage.http,
        };
        if outage.load(Ordering::Relaxed) {
            let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "the test refuses it");
            return Box::pin(async move { Err(refused) });
        }
        let one_less = |left: u32| left.checked_sub(1);
        let crowded = &self.outage.crowded;
        if url.scheme() == "http"
            && crowded.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
        {
            let port = self.outage.crowded_port.load(Ordering::Relaxed);
            return Box::pin(async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            });
        }
        self.inner.connect(url)
    }
}

/// An HTTP server that has no room for anybody.
async fn has_no_room() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0_u8; 4096];
            let _ = stream.read(&mut request).await;
            let answer = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

impl Outage {
    async fn gateway(self: &Arc<Self>, bench: &Bench) -> Gateway {
        let outage = Arc::clone(self);
        let make = move |ca_file: Option<&std::path::Path>| {
            let inner = SystemConnector::new(ca_file)?;
            let outage = Arc::clone(&outage);
            Ok(Arc::new(Broken { inner, outage }) as Arc<dyn Connector>)
        };
        let environment =
            Environment { connector: Arc::new(make), seed: Some(5), ..Environment::system() };
        Gateway::start_in(bench.config.clone(), environment).await.expect("the gateway starts")
    }

    fn no_websockets(&self) {
        self.websocket.store(true, Ordering::Relaxed);
    }
}

async fn bench(exchanges: &[&str]) -> Bench {
    let mut bench = Bench::start(exchanges).await;
    bench.config.gateway.order_tag = "fbk".into();
    bench.connections(|connection| connection.http_fallback_after = Duration::from_millis(200));
    bench
}

/// The exchange reads nothing more of the trading connection that is open now. That this has begun
/// is known when something that it wrote after it arrives: the fill of another order.
async fn deafen(bench: &Bench, gateway: &Gateway, exchange: &str) {
    let price = Decimal::from(21_000);
    let NewOrder { instrument, quantity, .. } = resting(exchange);
    let other = NewOrder::limit(instrument, Side::Buy, Price(price), quantity);
    let mut updates = gateway.orders().updates();
    let other = gateway.orders().submit(other).await.expect("it rests").id();
    let trading = bench.venue(exchange).ledger().connections;
    let trading = trading.iter().find(|c| c.kind == ConnectionKind::Trading && c.closed.is_none());
    let target = Target::ConnectionId(trading.expect("it is connected").id);
    bench.add(Fault::new(FaultAction::StopReading { for_ms: None }).at(exchange).on(target));
    let taken = quantity.0;
    bench.venue(exchange).trade(symbol(exchange), Seller::Sell, price, taken).expect("it trades");
    let filled = update(&mut updates, |update| {
        update.order.client_id == other && update.order.status == OrderStatus::Filled
    });
    filled.await;
}

/// Cuts the trading connection, for good.
async fn cut_off(bench: &Bench, outage: &Outage, gateway: &Gateway, exchange: &str) {
    outage.no_websockets();
    bench.venue(exchange).drop_connections(Disconnect::Rst);
    until("it is down", || {
        let status = connection(gateway, exchange, "trading").status;
        matches!(status, ConnectionStatus::Waiting { .. } | ConnectionStatus::Connecting)
    })
    .await;
}

/// Orders at rest on each exchange, whose trading connection then goes deaf.
async fn deaf(bench: &Bench, gateway: &Gateway, exchanges: &[&str]) -> Vec<ClientOrderId> {
    let mut ids = Vec::new();
    for exchange in exchanges {
        ids.extend(rest(gateway, exchange, 3).await.iter().map(Order::id));
        deafen(bench, gateway, exchange).await;
    }
    ids
}

fn all_ended_over(
    report: &ShutdownReport,
    ids: &[ClientOrderId],
    fate: OrderFate,
    path: CancelPath,
) {
    // A lost connection was not closed in order, but nothing is left.
    assert!(matches!(report.outcome, Outcome::Clean | Outcome::Degraded), "{report:#?}");
    for id in ids {
        let line = reported(report, *id);
        assert_eq!((line.fate, line.cancel_path), (fate, Some(path)), "{report:#?}");
        assert!(line.cancel_attempts > 0 && line.confirmed_after_ms.is_some(), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_live_connection_there_is_no_need_of_another() {
    let bench = bench(ALL).await;
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in ALL {
        ids.extend(rest(&gateway, exchange, 3).await.iter().map(Order::id));
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    all_ended_over(&report, &ids, OrderFate::Canceled, CancelPath::Live);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_fresh_connection_if_the_live_one_is_deaf() {
    let mut bench = bench(ALL).await;
    // Fresh connections are made sooner than that.
    bench.connections(|connection| connection.http_fallback_after = Duration::from_secs(60));
    bench.config.shutdown.deadline = Duration::from_secs(60);
    bench.config.shutdown.cancel_pending = Duration::from_secs(40);
    let gateway = bench.gateway().await;
    let ids = deaf(&bench, &gateway, ALL).await;
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    all_ended_over(&report, &ids, OrderFate::Canceled, CancelPath::Fresh);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_if_no_fresh_connection_can_be_had() {
    let bench = bench(ALL).await;
    let outage = Arc::new(Outage::default());
    let gateway = outage.gateway(&bench).await;
    let ids = deaf(&bench, &gateway, ALL).await;
    outage.no_websockets();
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    all_ended_over(&report, &ids, OrderFate::Canceled, CancelPath::Http);
    for exchange in ALL {
        let witness = ledger.exchange(exchange);
        assert_eq!(witness.open_orders, [], "{exchange}");
        let over_http = witness.requests.iter().filter(|request| {
            let method = request.method.as_str();
            let cancels =
                matches!(method, "DELETE /api/v3/order" | "CancelOrder" | "private/cancel");
            cancels && request.connection.is_none()
        });
        assert!(over_http.count() >= 3, "{exchange}: {:?}", witness.requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_races_the_cancel_over_http_wins() {
    let bench = bench(ALL).await;
    let outage = Arc::new(Outage::default());
    let gateway = outage.gateway(&bench).await;
    let updates = gateway.orders().updates();
    let mut ids = Vec::new();
    for exchange in ALL {
        ids.push(rest(&gateway, exchange, 1).await.remove(0).id());
        deafen(&bench, &gateway, exchange).await;
        bench.fault(exchange, FaultAction::FillDuringCancel { quantity: None });
    }
    outage.no_websockets();
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    all_ended_over(&report, &ids, OrderFate::FilledDuringCancel, CancelPath::Http);
    let told = told(updates).await;
    for exchange in ALL {
        judge_fills(&told, ledger.exchange(exchange));
        all_fills_told(&told, ledger.exchange(exchange));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_over_http_whose_answer_is_lost_or_untrue_is_asked_about() {
    let untrue = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    for fault in [FaultAction::LoseCancelAck, untrue] {
        let bench = bench(ALL).await;
        let outage = Arc::new(Outage::default());
        let gateway = outage.gateway(&bench).await;
        let ids = deaf(&bench, &gateway, ALL).await;
        for exchange in ALL {
            bench.add(Fault::new(fault.clone()).at(exchange).times(2));
        }
        outage.no_websockets();
        let report = within(gateway.shutdown()).await;
        let ledger = bench.mock.ledger();
        judge(&report, &ledger);
        all_ended_over(&report, &ids, OrderFate::Canceled, CancelPath::Http);
        for exchange in ALL {
            assert_eq!(ledger.exchange(exchange).open_orders, [], "{exchange}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_without_room_is_asked_again_later() {
    for exchange in ALL {
        let bench = bench(&[exchange]).await;
        let outage = Arc::new(Outage::default());
        let gateway = outage.gateway(&bench).await;
        let ids = deaf(&bench, &gateway, &[exchange]).await;
        outage.no_websockets();
        outage.crowded_port.store(has_no_room().await, Ordering::Relaxed);
        outage.crowded.store(3, Ordering::Relaxed);
        let report = within(gateway.shutdown()).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(outage.crowded.load(Ordering::Relaxed), 0, "{exchange}");
        all_ended_over(&report, &ids, OrderFate::Canceled, CancelPath::Http);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_named_if_http_is_broken_too() {
    let mut bench = bench(ALL).await;
    bench.config.shutdown.cancel_pending = Duration::from_secs(3);
    let outage = Arc::new(Outage::default());
    let gateway = outage.gateway(&bench).await;
    let ids = deaf(&bench, &gateway, ALL).await;
    outage.no_websockets();
    outage.http.store(true, Ordering::Relaxed);
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert_eq!(report.outcome.exit_code(), 13);
    for id in ids {
        let line = reported(&report, id);
        assert_eq!((line.fate, line.cancel_path), (OrderFate::StillOpen, None), "{line:?}");
        let reason = line.reason.as_deref().expect("a reason");
        assert!(reason.contains("the test refuses it"), "{reason}");
        assert!(reason.contains("the trading connection is down"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_s_cancel_does_not_wait_for_the_connection() {
    let bench = bench(LASTING).await;
    let outage = Arc::new(Outage::default());
    let gateway = outage.gateway(&bench).await;
    for exchange in LASTING {
        let orders = rest(&gateway, exchange, 2).await;
        cut_off(&bench, &outage, &gateway, exchange).await;
        let ended = within(gateway.orders().cancel(orders[0].id())).await.expect("it ended");
        assert_eq!(ended.status, OrderStatus::Canceled, "{exchange}");
        let ledger = bench.mock.ledger();
        assert_eq!(
            ledger.exchange(exchange).open_orders.len(),
            1,
            "{exchange}: the other one was not to be cancelled"
        );
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_settled_over_http() {
    let bench = bench(ALL).await;
    let outage = Arc::new(Outage::default());
    let gateway = outage.gateway(&bench).await;
    outage.no_websockets();
    for exchange in ALL {
        let mut updates = gateway.orders().updates();
        let drop = FaultAction::Drop { how: Disconnect::Rst };
        bench.add(Fault::new(drop).at(exchange).on(Target::NthOrder(1)));
        let unknown = within(gateway.orders().submit(resting(exchange))).await;
        let Err(OrderError::OutcomeUnknown { id, .. }) = unknown else {
            panic!("{exchange}: {unknown:?}")
        };
        // Deribit cancels the orders of a connection that is lost.
        let expected =
            if *exchange == "deribit" { OrderStatus::Canceled } else { OrderStatus::Open };
        let settled = update(&mut updates, |update| {
            update.order.client_id == id && update.order.status == expected
        });
        settled.await;
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    for exchange in ALL {
        assert_eq!(ledger.exchange(exchange).open_orders, [], "{exchange}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_be_kept_is_kept_if_the_exchange_says_so_over_http() {
    let bench = bench(LASTING).await;
    let outage = Arc::new(Outage::default());
    let gateway = outage.gateway(&bench).await;
    let mut ids = Vec::new();
    for exchange in LASTING {
        let order = resting(exchange).keep_on_shutdown();
        ids.push(gateway.orders().submit(order).await.expect("it rests").id());
        cut_off(&bench, &outage, &gateway, exchange).await;
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    for id in ids {
        assert_eq!(reported(&report, id).fate, OrderFate::Kept, "{report:#?}");
    }
}
