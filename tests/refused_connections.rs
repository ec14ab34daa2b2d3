//! An exchange that refuses connections is tried again, not stormed; at the start it is an error
//! that says what was tried.

mod common;

use std::time::{Duration, Instant};

use common::judge::judge;
use common::network::Attempts;
use common::{BOTH, Bench, connection, reconnected, reported, rest, until, within};
use exchange_gateway::shutdown::{OrderFate, Outcome};
use exchange_gateway::{ConnectionStatus, Gateway, StartError};
use futures::future::join_all;
use mock_exchange::{Disconnect, FaultAction, Refusal};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_exchange_is_tried_with_growing_jittered_waits_until_it_recovers() {
    join_all([Refusal::Rst, Refusal::Http503].map(|how| async move {
        let mut bench = Bench::start(BOTH).await;
        bench.connections(|connection| {
            connection.backoff_min = Duration::from_millis(40);
            connection.backoff_max = Duration::from_millis(320);
        });
        let attempts = Attempts::default();
        let environment = attempts.environment(11);
        let gateway = Gateway::start_in(bench.config.clone(), environment).await;
        let gateway = gateway.expect("the gateway starts");
        for exchange in BOTH {
            let venue = bench.venue(exchange);
            let port = venue.address().port();
            let order = rest(&gateway, exchange, 1).await.remove(0);
            let attempted = || attempts.of("ws", port).len() + attempts.of("http", port).len();
            let before = attempted();
            bench.fault(exchange, FaultAction::RefuseConnections { how, for_ms: Some(800) });
            venue.drop_connections(Disconnect::Rst);
            let waits = |kind| {
                let status = connection(&gateway, exchange, kind).status;
                matches!(status, ConnectionStatus::Waiting { .. })
            };
            until("it waits", || waits("market")).await;
            reconnected(&gateway, exchange, "market", 1).await;
            reconnected(&gateway, exchange, "trading", 1).await;
            // Two connections over 0.8 s: without growth there would be some forty attempts each,
            // and with whole waits alone five.
            let tried = attempted() - before;
            assert!((4..=40).contains(&tried), "{exchange} {how:?}: {tried} attempts");
            assert!(gateway.orders().get(order.id()).is_some());
        }
        let report = within(gateway.shutdown()).await;
        judge(&report, &bench.mock.ledger());
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        let orders = report.exchanges.iter().flat_map(|exchange| &exchange.orders);
        for order in orders {
            assert_eq!(reported(&report, order.client_id).fate, OrderFate::Canceled);
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_refuses_from_the_start_is_named_with_its_address_and_answer() {
    let ways = [(Refusal::Rst, "reset"), (Refusal::Http503, "503")];
    let cases = ways.iter().flat_map(|way| BOTH.iter().map(move |exchange| (*way, *exchange)));
    join_all(cases.map(|((how, words), exchange)| async move {
        let bench = Bench::start(BOTH).await;
        bench.fault(exchange, FaultAction::RefuseConnections { how, for_ms: None });
        let refused = within(Gateway::start(bench.config.clone())).await;
        let error = refused.expect_err("nothing can be fetched");
        let StartError::Instruments { exchange: named, url, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(named.as_str(), exchange);
        assert!(url.starts_with(&bench.venue(exchange).http_url()), "{url}");
        let shown = error.to_string();
        assert!(shown.contains(words) && shown.contains(url.as_str()), "{shown}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_accepts_and_never_answers_costs_the_connect_timeout() {
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = mute.local_addr().expect("it is bound").port();
    for market in [true, false] {
        let mut bench = Bench::start(&["binance"]).await;
        bench.connections(|connection| {
            connection.connect_timeout = Duration::from_millis(250);
            connection.ready_timeout = Duration::from_millis(500);
        });
        let url = |path: &str| Some(format!("ws://127.0.0.1:{port}{path}").parse().expect("a URL"));
        let (name, exchange) =
            (["trading", "market"][usize::from(market)], &mut bench.config.exchanges[0]);
        if market {
            exchange.market_url = url("/stream");
        } else {
            exchange.trading_url = url("/ws-api/v3");
        }
        let began = Instant::now();
        let error = within(Gateway::start(bench.config.clone())).await.expect_err("it is mute");
        let StartError::NotLive { connection, limit_ms, reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((connection.as_str(), *limit_ms), (name, 750), "{error}");
        assert!(reason.contains("connecting took longer than 250 ms"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        // What had been started is closed again.
        let ledger = bench.all_closed().await;
        let other = &ledger.exchange("binance").connections;
        assert_eq!(other.len(), 1, "{other:?}");
        assert_eq!(other[0].close_code_received, Some(1000), "{other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_port_that_never_answers_is_named_at_the_start() {
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = mute.local_addr().expect("it is bound").port();
    let mut bench = Bench::start(&["kraken"]).await;
    bench.connections(|connection| connection.connect_timeout = Duration::from_millis(150));
    let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
    bench.config.exchanges[0].http_url = Some(url);
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("it is mute");
    let shown = error.to_string();
    assert!(shown.contains(&format!("127.0.0.1:{port}")) && shown.contains("150 ms"), "{shown}");
    assert_eq!(bench.venue("kraken").ledger().connections, []);
}
