//! A wrong key is told in the exchange's words, once: no storm of logins follows.

mod common;

use common::network::Attempts;
use common::{BOTH, Bench, within};
use exchange_gateway::exchange::Secret;
use exchange_gateway::state::StateView;
use exchange_gateway::{Gateway, StartError};
use mock_exchange::ConnectionKind;

/// Starts with a changed key or secret and tells the error, the logins that the exchange saw and
/// the HTTP requests that were made.
async fn start_with(exchange: &str, key: Option<&str>, secret: Option<&str>) -> (String, Attempts) {
    let mut bench = Bench::start(&[exchange]).await;
    let credentials = bench.config.exchanges[0].credentials.as_mut().expect("the mock has keys");
    if let Some(key) = key {
        credentials.api_key = Secret::new(key);
    }
    if let Some(secret) = secret {
        credentials.api_secret = Secret::new(secret);
    }
    let attempts = Attempts::default();
    let environment = attempts.environment(3);
    let started = within(Gateway::start_in(bench.config.clone(), environment)).await;
    let error = started.expect_err("the key is wrong");
    let StartError::Refused { exchange: named, connection, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((named.as_str(), connection.as_str()), (exchange, "trading"));
    let ledger = bench.all_closed().await;
    let witness = ledger.exchange(exchange);
    let logins = witness.connections.iter().filter(|c| c.kind == ConnectionKind::Trading).count();
    assert!(logins <= 1, "{exchange}: {logins} logins");
    assert_eq!(witness.requests, []);
    let port = bench.venue(exchange).address().port();
    // The list of instruments, and on Kraken the token.
    let fetched = attempts.of("http", port).len();
    assert!(fetched <= 2, "{exchange}: {fetched} HTTP requests");
    assert!(attempts.of("ws", port).len() <= 2, "{exchange}");
    // The next start must not take it for a run that was killed.
    let view = StateView::open(&bench.config.gateway.state_dir).expect("the database is closed");
    let run = view.runs(1).expect("it is readable").rows.remove(0);
    assert_eq!(run.outcome.as_deref(), Some("not_started"));
    assert_eq!(run.trigger, Some(error.to_string()));
    (error.to_string(), attempts)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_told_in_the_exchange_s_words() {
    let (shown, _) = start_with("binance", Some("no-such-key"), None).await;
    assert!(shown.contains("-2015") || shown.contains("-2014"), "{shown}");
    let (shown, _) = start_with("kraken", Some("no-such-key"), None).await;
    assert!(shown.contains("EAPI:Invalid key"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_in_the_exchange_s_words() {
    let (shown, _) = start_with("binance", None, Some("not-the-secret")).await;
    assert!(shown.contains("-1022"), "{shown}");
    let (shown, _) = start_with("kraken", None, Some("bm90IHRoZSBzZWNyZXQ=")).await;
    assert!(shown.contains("EAPI:Invalid signature"), "{shown}");
    let (shown, _) = start_with("kraken", None, Some("not base64!")).await;
    assert!(shown.contains("base64"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_keys_are_an_error_before_anything_is_connected() {
    for exchange in BOTH {
        let mut bench = Bench::start(BOTH).await;
        for configured in &mut bench.config.exchanges {
            if configured.name.as_str() == *exchange {
                configured.credentials = None;
            }
        }
        let error = within(Gateway::start(bench.config.clone())).await.expect_err("no key");
        assert!(matches!(error, StartError::MissingCredentials { .. }), "{error:?}");
        assert!(error.to_string().contains("api_key_env"), "{error}");
        let ledger = bench.mock.ledger();
        assert!(ledger.exchanges.values().all(|witness| witness.connections.is_empty()));
    }
}
