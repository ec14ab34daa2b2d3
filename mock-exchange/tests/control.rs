//! The control port, replay, and the program.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Client, http, limit_order};
use mock_exchange::{MockConfig, MockExchange, ReplayConfig, VenueConfig};
use serde_json::{Value, json};

fn loopback() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[tokio::test]
async fn the_control_port_shows_the_ledger_and_takes_faults() {
    let config = MockConfig {
        binance: Some(VenueConfig::quiet()),
        kraken: Some(VenueConfig::quiet()),
        control: Some(loopback()),
        ..MockConfig::default()
    };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let control = mock.control_url().expect("the control port runs");
    let venue = mock.venue("binance").expect("binance runs");
    let get = async |path: &str| {
        let (status, body) = http(&control, "GET", path, "", "").await;
        (status, serde_json::from_str::<Value>(&body).expect("JSON"))
    };
    let (status, index) = get("/").await;
    assert_eq!((status, &index["venues"][0]["name"]), (200, &json!("binance")));

    let fault = r#"{"exchange":"binance","action":{"reject":{"text":"no"}}}"#;
    let (status, body) = http(&control, "POST", "/faults", "", fault).await;
    assert_eq!((status, body.as_str()), (200, r#"{"added":[1]}"#));
    let mut client = Client::connect(&venue, "/ws-api/v3").await;
    let order = limit_order("BUY", "50000", "1", "gw-1");
    let refused = client.call(&venue, "order.place", order.clone()).await;
    assert_eq!(refused["error"]["msg"], "no");
    assert_eq!(get("/faults").await.1["faults"][0]["happened"], 1);
    assert_eq!(client.call(&venue, "order.place", order).await["status"], 200);

    let (status, ledger) = get("/ledger").await;
    assert_eq!(status, 200);
    let open = &ledger["binance"]["open_orders"][0];
    assert_eq!(
        (&open["client_id"], &open["type"], &open["tif"]),
        (&json!("gw-1"), &json!("limit"), &json!("gtc"))
    );
    assert_eq!(ledger["binance"]["connections"][0]["closed_by"], Value::Null);
    assert!(ledger["kraken"]["orders"].as_array().expect("a list").is_empty());

    let (status, body) = http(&control, "POST", "/faults", "", r#"{"action":"explode"}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("explode"), "{body}");
    let (status, _) = http(&control, "DELETE", "/faults", "", "").await;
    assert_eq!(status, 200);
    assert_eq!(get("/faults").await.1, json!({"faults": []}));
    assert_eq!(get("/nothing").await.0, 404);
    drop(client);
    mock.shutdown().await;
}

#[tokio::test]
async fn a_recording_is_played_to_the_subscribers_of_its_stream() {
    let file = std::env::temp_dir().join(format!("mock-replay-{}.jsonl", std::process::id()));
    let line = |at: u64, stream: &str, n: u64| {
        json!({"at_ms": at, "exchange": "binance", "stream": stream, "message": {"n": n}})
            .to_string()
    };
    let text = [
        line(4_000, "btcusdt@trade", 1),
        line(4_000, "ethusdt@trade", 2),
        line(6_000, "btcusdt@trade", 3),
    ]
    .join("\n");
    std::fs::write(&file, text).expect("the recording is written");
    let config = MockConfig {
        binance: Some(VenueConfig::quiet()),
        replay: Some(ReplayConfig { file: file.clone(), speed: 10.0 }),
        ..MockConfig::default()
    };
    let mock = MockExchange::start(config).await.expect("the mock starts");
    let start = std::time::Instant::now();
    let venue = mock.venue("binance").expect("binance runs");
    let mut client = Client::connect(&venue, "/stream?streams=btcusdt@trade").await;
    assert_eq!(client.json().await, json!({"stream": "btcusdt@trade", "data": {"n": 1}}));
    assert_eq!(client.json().await["data"]["n"], 3);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(client);
    mock.shutdown().await;

    std::fs::write(&file, "{\"at_ms\": 1}").expect("the recording is written");
    let config = MockConfig {
        binance: Some(VenueConfig::quiet()),
        replay: Some(ReplayConfig { file: file.clone(), speed: 1.0 }),
        ..MockConfig::default()
    };
    let error = MockExchange::start(config).await.err().expect("refused").to_string();
    assert!(error.contains("line 1"), "{error}");
    std::fs::remove_file(&file).expect("the recording is removed");
}

#[cfg(all(unix, feature = "cli"))]
#[test]
fn the_program_runs_until_a_signal_and_prints_the_ledger() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mock-exchange"))
        .args(["--binance", "127.0.0.1:0", "--kraken", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .args(["--seed", "3"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = child.stdout.take().expect("its output");
    let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("text"));
    let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("Ctrl-C")).collect();
    assert!(said.iter().any(|line| line.contains("ws://127.0.0.1:")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("secret")), "{said:?}");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    assert!(killed.success());
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.starts_with("binance: 0 orders")), "{rest:?}");
}
