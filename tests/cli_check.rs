//! `check` with the real program: every fault at once, and no secret shown.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::path::Path;
use std::process::{Command, Output};

fn check(config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_exchange-gateway"))
        .args(["check", "--config"])
        .arg(config)
        .env("CHECK_TEST_KEY", "public-half")
        .env("CHECK_TEST_SECRET", "hush-hush")
        .output()
        .unwrap()
}

fn check_text(text: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    check(&path)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_fault_is_reported_at_once_with_file_line_and_key() {
    let output = check_text(
        "[gateway]\n\
         order_tag = \"TOO-LONG\"\n\
         [shutdown]\n\
         deadlne = \"20s\"\n\
         [exchanges.kraken]\n\
         instruments = [\"BTC-USD\", \"btc/usd\"]\n\
         api_secret = \"do-not-show-me\"\n\
         market_url = \"ws://example.com/\"\n\
         [exchanges.nowhere]\n\
         instruments = [\"BTC-USD\"]\n",
    );
    assert_eq!(output.status.code(), Some(2));
    let faults = text(&output.stderr);
    for expected in [
        "gateway.toml:2:13: gateway.order_tag: ",
        "gateway.toml:4:1: shutdown.deadlne: unknown key; did you mean `deadline`?",
        "gateway.toml:6:27: exchanges.kraken.instruments[1]: ",
        "gateway.toml:7:14: exchanges.kraken.api_secret: a secret must not stand",
        "gateway.toml:8:14: exchanges.kraken.market_url: ws:// to another machine",
        "gateway.toml:9:12: exchanges.nowhere: there is no adapter of this name",
    ] {
        assert!(faults.contains(expected), "{expected} is not in\n{faults}");
    }
    assert!(!faults.contains("do-not-show-me"), "{faults}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_effective_values_are_a_configuration_with_its_secrets_redacted() {
    let output = check_text(
        "[shutdown]\n\
         deadline = \"30s\"\n\
         [exchanges.kraken]\n\
         instruments = [\"BTC-USD\"]\n\
         api_key_env = \"CHECK_TEST_KEY\"\n\
         api_secret_env = \"CHECK_TEST_SECRET\"\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (shown, warned) = (text(&output.stdout), text(&output.stderr));
    for secret in ["public-half", "hush-hush"] {
        assert!(!shown.contains(secret) && !warned.contains(secret), "{shown}{warned}");
    }
    let values: toml::Table = shown.parse().unwrap();
    assert_eq!(values["shutdown"]["deadline"].as_str(), Some("30s"));
    assert_eq!(values["shutdown"]["cancel_pending"].as_str(), Some("8s"), "a default is shown");
    let kraken = &values["exchanges"]["kraken"];
    assert_eq!(kraken["api_secret"].as_str(), Some("<redacted>"));
    assert!(kraken["market_url"].as_str().unwrap().starts_with("wss://"));
}

#[test]
fn what_is_most_likely_not_meant_is_a_warning() {
    let output = check_text(
        "[shutdown]\ncancel_retry = \"9s\"\n[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\ntrading = false\n",
    );
    assert_eq!(output.status.code(), Some(0));
    let warned = text(&output.stderr);
    assert!(warned.contains("warning: shutdown.cancel_retry: a lost cancel"), "{warned}");
}

#[test]
fn a_shutdown_that_is_longer_than_a_supervisor_waits_is_one_line() {
    let kraken = "[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\ntrading = false\n";
    let output = check_text(&format!(
        "[shutdown]\ndeadline = \"8s\"\ncancel_pending = \"500ms\"\n\
        stop_new_orders = \"500ms\"\ncancel_retry = \"100ms\"\nclose_positions = \"0s\"\n{kraken}"
    ));
    assert_eq!(text(&output.stderr), "");
    let output = check_text(kraken);
    let warned = text(&output.stderr);
    assert_eq!(warned.lines().count(), 1, "{warned}");
    assert!(warned.contains("Docker kills after 10s (there set --stop-timeout 22"), "{warned}");
    let output = check_text(&format!("[shutdown]\ncancel_pending = \"14s\"\n{kraken}"));
    let warned = text(&output.stderr);
    assert!(warned.contains("warning: shutdown.cancel_pending: never in full: "), "{warned}");
    assert!(warned.contains("leaves 13s of the deadline, and not 14s; raise"), "{warned}");
}

#[test]
fn the_example_is_sound_and_a_missing_file_is_named() {
    let output = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.example.toml"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = check(Path::new("/no/such/gateway.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("/no/such/gateway.toml: cannot be read: "));
}

/// Every commented default of the example, switched on, must give the default configuration.
#[test]
fn the_example_shows_the_true_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.example.toml");
    let example = std::fs::read_to_string(path).unwrap();
    let commented = |line: &str| {
        let key = line.strip_prefix("# ")?.split_once(" = ")?.0;
        let key_like = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        // Risk limits have no defaults: an absent one is none.
        let risk = ["order_notional", "price_distance", "open_orders", "orders_per_second"];
        let risk = risk.into_iter().chain(["gross_exposure", "daily_loss", "position", "order_q"]);
        let is_risk = |name: &str| key.starts_with(&format!("max_{name}"));
        let not_default = risk.into_iter().any(is_risk)
            || ["probe_after", "dead_after", "ca_file", "dead_mans_switch", "cancel_on_disconnect"]
                .contains(&key)
            || key.contains("api_")
            || ["webhook", "webhook_token_env", "command"].contains(&key);
        (key_like && !not_default).then(|| line[2..].to_owned())
    };
    let switched_on: Vec<String> =
        example.lines().map(|line| commented(line).unwrap_or_else(|| line.to_owned())).collect();
    assert!(switched_on.iter().filter(|line| !example.contains(&format!("\n{line}"))).count() > 25);
    let plain = check_text(&example);
    let full = check_text(&switched_on.join("\n"));
    assert_eq!(full.status.code(), Some(0), "{}", text(&full.stderr));
    assert_eq!(text(&plain.stdout), text(&full.stdout));
}
