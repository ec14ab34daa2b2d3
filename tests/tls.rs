//! Encrypted connections: `wss://` and `https://` with a certificate of one's own, and a clear
//! error when nobody vouches for it.

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::judge::judge;
use common::receiver::{OK, Receiver};
use common::{BOTH, Bench, instrument, quoted, rest, within};
use exchange_gateway::shutdown::{AlertKind, Outcome};
use exchange_gateway::{Delivery, Gateway, StartError};
use mock_exchange::{ClosedBy, Fault, FaultAction};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A self-signed certificate for `localhost`, in memory and as a PEM file.
struct Certificate {
    config: Arc<ServerConfig>,
    file: PathBuf,
}

impl Certificate {
    fn new(bench: &Bench, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let file = bench.state.path().join(format!("{name}.pem"));
        std::fs::write(&file, made.cert.pem()).expect("a file");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the key fits");
        Self { config: Arc::new(config), file }
    }
}

/// Takes TLS off before a server that speaks none. It ends with the test's runtime.
async fn terminate(config: Arc<ServerConfig>, server: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate hangs up here.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut plain = TcpStream::connect(server).await.expect("the mock listens");
                // Ends come as errors too; the mock's ledger judges how the connection ended.
                let _ = copy_bidirectional(&mut client, &mut plain).await;
            });
        }
    });
    port
}

/// Puts TLS before both exchanges.
async fn encrypted(host: &str, trusted: bool) -> Bench {
    let mut bench = Bench::start(BOTH).await;
    let certificate = Certificate::new(&bench, "localhost");
    for at in 0..bench.config.exchanges.len() {
        let venue = bench.venue(bench.config.exchanges[at].name.as_str());
        let port = terminate(certificate.config.clone(), venue.address()).await;
        let exchange = &mut bench.config.exchanges[at];
        for (url, scheme) in [
            (&mut exchange.market_url, "wss"),
            (&mut exchange.trading_url, "wss"),
            (&mut exchange.http_url, "https"),
        ] {
            let path = url.as_ref().expect("the mock's address").path().to_owned();
            let encrypted = format!("{scheme}://{host}:{port}{path}");
            *url = Some(encrypted.parse().expect("a URL"));
        }
        exchange.ca_file = trusted.then(|| certificate.file.clone());
    }
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_tls_with_a_certificate_of_one_s_own() {
    let bench = encrypted("localhost", true).await;
    let gateway = bench.gateway().await;
    let queue = Delivery::Queue { capacity: 1024 };
    for exchange in BOTH {
        let mut ticks =
            gateway.subscribe_with(&[instrument(exchange)], queue).expect("it is configured");
        bench.quote(exchange, 31_000);
        assert_eq!(quoted(&mut ticks, 31_000).await, []);
        rest(&gateway, exchange, 3).await;
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let ledger = bench.all_closed().await;
    judge(&report, &ledger);
    for exchange in BOTH {
        assert_eq!(ledger.exchange(exchange).open_orders, []);
        for connection in &ledger.exchange(exchange).connections {
            assert_eq!(connection.closed_by, Some(ClosedBy::Client), "{connection:?}");
            assert_eq!(connection.close_code_received, Some(1000), "{connection:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_is_refused_with_a_reason() {
    let bench = encrypted("localhost", false).await;
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("not trusted");
    assert!(matches!(error, StartError::Instruments { .. }), "{error:?}");
    let shown = error.to_string();
    assert!(shown.contains("https://localhost:"), "{shown}");
    assert!(shown.contains("certificate") && shown.contains("UnknownIssuer"), "{shown}");
    assert!(bench.mock.ledger().exchanges.values().all(|e| e.connections.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused_with_a_reason() {
    let bench = encrypted("127.0.0.1", true).await;
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("another name");
    let shown = error.to_string();
    assert!(shown.contains("not valid for name"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_certificate_file_is_named_before_anything_is_connected() {
    let mut bench = Bench::start(BOTH).await;
    let missing = bench.state.path().join("nobody.pem");
    bench.config.exchanges[1].ca_file = Some(missing.clone());
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("no such file");
    assert!(matches!(error, StartError::Tls { .. }), "{error:?}");
    let shown = error.to_string();
    let exchange = bench.config.exchanges[1].name.to_string();
    assert!(shown.contains("nobody.pem") && shown.contains(&exchange), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_posted_over_tls_to_whom_somebody_vouches_for_and_to_nobody_else() {
    for trusted in [true, false] {
        let receiver = Receiver::start(&[OK]).await;
        let mut bench = Bench::start(&["kraken"]).await;
        let certificate = Certificate::new(&bench, "localhost");
        let port = terminate(certificate.config.clone(), receiver.address()).await;
        let alerts = &mut bench.config.alerts;
        alerts.webhook = Some(format!("https://localhost:{port}/hook").parse().expect("a URL"));
        alerts.ca_file = trusted.then(|| certificate.file.clone());
        alerts.webhook_retries = 0;
        alerts.shutdown_wait = common::PATIENCE / 2;
        bench.config.shutdown.cancel_pending = Duration::from_millis(300);
        let gateway = bench.gateway().await;
        rest(&gateway, "kraken", 1).await;
        bench.add(Fault::new(FaultAction::IgnoreCancel { ack: true, for_ms: None }).times(0));
        let report = within(gateway.shutdown()).await;
        assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
        let [told] = report.alerts.as_slice() else { panic!("{report:#?}") };
        assert_eq!(told.alert.kind, AlertKind::OrdersLeft);
        let error = told.deliveries[0].error.as_deref();
        assert_eq!(receiver.posts().len(), usize::from(trusted));
        assert_eq!(error.is_none(), trusted, "{error:?}");
        assert!(trusted || error.is_some_and(|words| words.contains("UnknownIssuer")), "{error:?}");
    }
    let mut bench = Bench::start(&["kraken"]).await;
    bench.config.alerts.webhook = Some("https://localhost/".parse().expect("a URL"));
    bench.config.alerts.ca_file = Some(bench.state.path().join("nobody.pem"));
    let error = within(Gateway::start(bench.config.clone())).await.expect_err("no such file");
    assert!(matches!(error, StartError::Alerts { .. }), "{error:?}");
    assert!(error.to_string().starts_with("alerts: cannot read certificates from"), "{error}");
}
