//! When a day's loss reaches its limit, nothing new is let in, all that is open is cancelled by the
//! exchange's own word, and it stays so over restarts until a person resets it.

mod common;

use std::collections::BTreeMap;

use common::judge::judge;
use common::{BOTH, Bench, instrument, quoted, rest, resting, until, within};
use exchange_gateway::config::OnRestart;
use exchange_gateway::shutdown::{AlertKind, ClosePolicy, Outcome};
use exchange_gateway::types::{NewOrder, Order, OrderStatus, Quantity, Side};
use exchange_gateway::{Gateway, OrderError, Phase};
use mock_exchange::{Fault, FaultAction};

/// A day's loss of 50 USDT trips it.
async fn bench() -> Bench {
    let mut bench = Bench::start(BOTH).await;
    let most = "50".parse().expect("a number");
    bench.config.risk.max_daily_loss = BTreeMap::from([("USDT".to_owned(), most)]);
    bench
}

/// Buys 0.01 at 50,001 and has the market fall by 5,002: a loss of 50.02.
async fn lose(bench: &Bench, gateway: &Gateway) {
    let mut ticks = gateway.subscribe(instrument("binance")).expect("it is configured");
    bench.quote("binance", 50_000);
    quoted(&mut ticks, 50_000).await;
    let quantity = Quantity("0.01".parse().expect("a number"));
    let order = NewOrder::market(instrument("binance"), Side::Buy, quantity);
    let bought = within(gateway.orders().submit(order)).await.expect("it is taken in").client_id;
    let is_filled = |order: Order| order.status == OrderStatus::Filled;
    until("it is filled", || gateway.orders().get(bought).is_some_and(is_filled)).await;
    assert_eq!(gateway.kill_switch(), None, "nothing is lost yet");
    bench.quote("binance", 44_999);
}

async fn tripped(gateway: &Gateway) {
    let mut switch = gateway.kill_switch_changes();
    within(switch.wait_for(Option::is_some)).await.expect("the gateway runs");
}

fn is_refused(gateway: &Gateway) -> bool {
    let refused = |exchange: &&str| {
        let refusal = gateway.orders().submit_nowait(resting(exchange));
        matches!(refusal, Err(OrderError::KillSwitch { .. }))
    };
    BOTH.iter().all(refused)
}

/// Everything is confirmed closed, and the report says that the switch has tripped.
async fn ends_tripped(gateway: &Gateway, bench: &Bench) {
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
    let failure = report.failures.iter().find(|failure| failure.scope == "gateway/risk");
    let failure = failure.expect("the report names the kill switch");
    assert!(failure.reason.contains("the kill switch has tripped"), "{failure:?}");
    let tells = |kind: AlertKind| kind == AlertKind::KillSwitch;
    assert!(!report.alerts.is_empty(), "a person is told");
    assert!(report.alerts.iter().all(|told| tells(told.alert.kind)), "{:#?}", report.alerts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_days_loss_stops_trading_cancels_all_and_holds_until_a_person_resets_it() {
    let bench = bench().await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 3).await;
    }
    let kept = resting("kraken").keep_on_shutdown();
    within(gateway.orders().submit(kept)).await.expect("it rests");
    lose(&bench, &gateway).await;
    tripped(&gateway).await;
    let switch = gateway.kill_switch().expect("it has tripped");
    let loss = switch.loss.as_ref().expect("by a loss");
    assert_eq!((loss.currency.as_str(), loss.limit), ("USDT", "50".parse().expect("a number")));
    assert!(loss.lost >= loss.limit, "{loss:?}");
    assert!(is_refused(&gateway));
    // By the exchanges' own word, and not by a shutdown: it runs, and ticks flow.
    let all_closed = |ledger: &mock_exchange::Ledger| {
        BOTH.iter().all(|exchange| ledger.exchange(exchange).open_orders.is_empty())
    };
    bench.ledger(all_closed).await;
    until("every end is confirmed", || gateway.orders().unfinished().is_empty()).await;
    assert_eq!(*gateway.phase().borrow(), Phase::Running);
    let mut ticks = gateway.subscribe(instrument("binance")).expect("it is configured");
    bench.quote("binance", 45_500);
    quoted(&mut ticks, 45_500).await;
    let file = gateway.state_directory().kill_switch_file();
    until("it is kept", || file.exists()).await;
    ends_tripped(&gateway, &bench).await;
    drop(gateway);

    // A restart changes nothing about it.
    let gateway = bench.gateway().await;
    assert_eq!(gateway.kill_switch().expect("it is still tripped").reason, switch.reason);
    assert!(is_refused(&gateway));
    ends_tripped(&gateway, &bench).await;
    drop(gateway);

    // A person does.
    let gateway = bench.gateway().await;
    assert!(within(gateway.reset_kill_switch()).await.expect("it is kept"));
    assert!(!within(gateway.reset_kill_switch()).await.expect("it is kept"));
    rest(&gateway, "kraken", 1).await;
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    drop(gateway);
    let gateway = bench.gateway().await;
    assert_eq!(gateway.kill_switch(), None);
    rest(&gateway, "kraken", 1).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_counts_anew_from_its_reset() {
    let bench = bench().await;
    let gateway = bench.gateway().await;
    lose(&bench, &gateway).await;
    tripped(&gateway).await;
    within(gateway.reset_kill_switch()).await.expect("it is kept");
    // The same loss again, which the reset allows no more.
    let mut ticks = gateway.subscribe(instrument("binance")).expect("it is configured");
    bench.quote("binance", 44_000);
    quoted(&mut ticks, 44_000).await;
    rest(&gateway, "kraken", 1).await;
    until("the reset is kept with what was lost before", || {
        let kept = std::fs::read_to_string(gateway.state_directory().kill_switch_file());
        kept.is_ok_and(|kept| kept.contains("\"USDT\""))
    })
    .await;
    assert_eq!(gateway.kill_switch(), None);
    bench.quote("binance", 38_000);
    tripped(&gateway).await;
    ends_tripped(&gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_a_switch_that_has_tripped() {
    let bench = bench().await;
    let state = &bench.config.gateway.state_dir;
    std::fs::create_dir_all(state).expect("a directory");
    let file = state.join("kill-switch.json");
    std::fs::write(&file, "{\"state\": \"res").expect("a file");
    let gateway = bench.gateway().await;
    assert!(is_refused(&gateway));
    let refused = gateway.orders().submit_nowait(resting("binance")).expect_err("it has tripped");
    let words = refused.to_string();
    assert!(words.contains("kill-switch.json") && words.contains("risk reset"), "{words}");
    ends_tripped(&gateway, &bench).await;
    drop(gateway);
    let found = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(found, "{\"state\": \"res", "what cannot be read is left to be looked at");
    let gateway = bench.gateway().await;
    assert!(within(gateway.reset_kill_switch()).await.expect("it is kept"));
    rest(&gateway, "binance", 1).await;
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_flight_or_of_an_earlier_run_do_not_outlive_the_switch() {
    let mut bench = bench().await;
    bench.config.orders.on_restart = OnRestart::Adopt;
    let gateway = bench.gateway().await;
    let kept = resting("binance").keep_on_shutdown();
    within(gateway.orders().submit(kept)).await.expect("it rests");
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(bench.mock.ledger().exchange("binance").open_orders.len(), 1);
    drop(gateway);

    let gateway = bench.gateway().await;
    assert_eq!(gateway.orders().unfinished().len(), 1, "it is this run's now");
    // The exchange takes it in and its answer is lost: nobody knows of it when the switch trips.
    bench.add(Fault::new(FaultAction::LoseAck).at("kraken"));
    gateway.orders().submit_nowait(resting("kraken")).expect("it is let in");
    assert!(gateway.trip_kill_switch("a person said so"));
    assert!(!gateway.trip_kill_switch("again"));
    until("every end is confirmed", || gateway.orders().unfinished().is_empty()).await;
    let ledger = bench.mock.ledger();
    assert!(BOTH.iter().all(|exchange| ledger.exchange(exchange).open_orders.is_empty()));
    assert_eq!(gateway.kill_switch().expect("it has tripped").reason, "a person said so");
    ends_tripped(&gateway, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_closes_positions_all_the_same() {
    let mut bench = bench().await;
    for exchange in &mut bench.config.exchanges {
        exchange.positions.on_shutdown = ClosePolicy::Close;
    }
    let gateway = bench.gateway().await;
    lose(&bench, &gateway).await;
    tripped(&gateway).await;
    assert!(is_refused(&gateway));
    ends_tripped(&gateway, &bench).await;
    let held: Vec<_> = gateway.positions().into_iter().filter(|held| !held.is_flat()).collect();
    assert_eq!(held, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_hand_is_taken_up_when_the_gateway_looks_again() {
    let bench = bench().await;
    let gateway = bench.gateway().await;
    assert!(gateway.trip_kill_switch("a person said so"));
    let file = gateway.state_directory().kill_switch_file();
    until("it is kept", || file.exists()).await;
    assert!(!within(gateway.recheck_kill_switch()).await.expect("it is readable"));
    assert!(is_refused(&gateway));
    // A broken file resets nothing.
    std::fs::write(&file, "?").expect("a file");
    within(gateway.recheck_kill_switch()).await.expect_err("it is unreadable");
    assert!(is_refused(&gateway));
    let reset =
        format!("{{\"state\":\"reset\",\"at\":\"{}\"}}", exchange_gateway::types::Timestamp::now());
    std::fs::write(&file, reset).expect("a file");
    assert!(within(gateway.recheck_kill_switch()).await.expect("it is readable"));
    rest(&gateway, "binance", 1).await;
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_trips_right_before_the_shutdown_is_kept() {
    let bench = bench().await;
    for _ in 0..3 {
        let gateway = bench.gateway().await;
        // It has just been looked at, and is not again for a moment.
        gateway.reload_limits(gateway.limits()).expect("they hold already");
        tokio::task::yield_now().await;
        assert!(gateway.trip_kill_switch("a person said so"));
        within(gateway.shutdown()).await;
        let file = gateway.state_directory().kill_switch_file();
        let kept = std::fs::read_to_string(&file).expect("it is kept");
        assert!(kept.contains("a person said so"), "{kept}");
        drop(gateway);
        std::fs::remove_file(file).expect("it is there");
    }
}
