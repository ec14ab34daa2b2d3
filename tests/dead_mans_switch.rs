//! Dead-man's switches: armed before the first order, set again while the gateway lives, taken off
//! when all is confirmed closed, and left armed for whatever is not.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::{Bench, logs, reconnected, reported, rest, resting, submit_when_open, update, within};
use exchange_gateway::shutdown::{
    ExchangeReport, OrderFate, Outcome, ShutdownReport, SwitchKind, SwitchState,
};
use exchange_gateway::types::OrderStatus as Status;
use exchange_gateway::{Gateway, OrderError, StartError};
use mock_exchange::{
    ClosedBy, ConnectionKind, Disconnect, ExchangeLedger, Fault, FaultAction, OrderStatus,
    RequestRecord, Target,
};
use rust_decimal::Decimal;
use tracing::Level;

const KRAKEN: &str = "kraken";
const DERIBIT: &str = "deribit";
/// Long enough that no test sees it go off.
const LONG: Duration = Duration::from_secs(3600);

/// A gateway to Kraken whose timer is set to `timeout`.
async fn kraken(timeout: Duration) -> Bench {
    let mut bench = Bench::start(&[KRAKEN]).await;
    let exchange = &mut bench.config.exchanges[0];
    exchange.account_is_ours = true;
    exchange.dead_mans_switch = Some(timeout);
    bench
}

/// The settings that the exchange saw of the gateway.
fn settings(witness: &ExchangeLedger) -> Vec<&RequestRecord> {
    let is_setting = |request: &&RequestRecord| {
        request.connection.is_some()
            && (request.method == "cancel_all_orders_after"
                || request.method.ends_with("_cancel_on_disconnect"))
    };
    witness.requests.iter().filter(is_setting).collect()
}

/// A fault of the gateway's own cancels: what the switch cancels is not asked for by anybody.
fn on_the_connection(action: FaultAction) -> Fault {
    Fault::new(action).on(Target::Connection(ConnectionKind::Trading)).times(0)
}

/// Whether the timer has gone off.
fn fired(witness: &ExchangeLedger) -> bool {
    let of_itself = |request: &RequestRecord| {
        request.connection.is_none() && request.method == "cancel_all_orders_after"
    };
    witness.requests.iter().any(of_itself)
}

fn of(report: &ShutdownReport) -> &ExchangeReport {
    &report.exchanges[0]
}

fn left_armed(report: &ShutdownReport) -> (Option<exchange_gateway::types::Timestamp>, &str) {
    match &of(report).dead_mans_switch.state {
        SwitchState::LeftArmed { fires_at, reason } => (*fires_at, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timer_is_set_before_the_first_order_and_taken_off_by_a_clean_shutdown() {
    let bench = kraken(LONG).await;
    let gateway = bench.gateway().await;
    assert!(bench.mock.ledger().exchange(KRAKEN).cancels_at.is_some(), "armed when start returns");
    rest(&gateway, KRAKEN, 2).await;
    let report = within(gateway.shutdown()).await;
    let ledger = bench.all_closed().await;
    let witness = ledger.exchange(KRAKEN);
    assert_eq!(witness.requests[0].method, "cancel_all_orders_after", "{:?}", witness.requests);
    // Armed, then to the time that the shutdown may take, then off.
    assert_eq!(settings(witness).len(), 3, "{:?}", witness.requests);
    assert_eq!(witness.cancels_at, None);
    assert!(!fired(witness));
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let switch = &of(&report).dead_mans_switch;
    assert_eq!((switch.kind, switch.scope.as_deref()), (SwitchKind::Timer, Some("account")));
    assert_eq!(switch.state, SwitchState::Disarmed);
    judge(&report, &ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_is_not_configured_is_never_touched() {
    logs::keep();
    let mut bench = Bench::start(&[KRAKEN]).await;
    bench.config.exchanges[0].account_is_ours = true;
    let gateway = bench.gateway().await;
    let said = logs::with(&["dead-man's switch is off", "exchange=kraken"]);
    assert!(said.iter().any(|line| line.level == Level::WARN), "{said:?}");
    rest(&gateway, KRAKEN, 1).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(settings(bench.mock.ledger().exchange(KRAKEN)), Vec::<&RequestRecord>::new());
    assert_eq!(of(&report).dead_mans_switch.state, SwitchState::NotConfigured);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_without_a_switch_is_said_to_have_none() {
    logs::keep();
    let bench = Bench::start(&["binance"]).await;
    let gateway = bench.gateway().await;
    let said = logs::with(&["no dead-man's switch", "exchange=binance"]);
    assert!(said.iter().any(|line| line.level == Level::WARN), "{said:?}");
    let report = within(gateway.shutdown()).await;
    assert_eq!(of(&report).dead_mans_switch.state, SwitchState::None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timer_is_set_again_while_the_gateway_lives_and_after_a_reconnect() {
    let bench = kraken(Duration::from_secs(9)).await;
    let gateway = bench.gateway().await;
    let first = bench.mock.ledger().exchange(KRAKEN).cancels_at.expect("it is on");
    let ledger = bench.ledger(|l| l.exchange(KRAKEN).cancels_at.is_some_and(|at| at > first)).await;
    let before = settings(ledger.exchange(KRAKEN)).len();
    bench.venue(KRAKEN).drop_connections(Disconnect::Rst);
    reconnected(&gateway, KRAKEN, "trading", 1).await;
    submit_when_open(&gateway, resting(KRAKEN)).await;
    let ledger = bench.mock.ledger();
    let witness = ledger.exchange(KRAKEN);
    let connection = witness.requests.iter().find(|r| r.method == "add_order").expect("an order");
    let on_the_new = |r: &&&RequestRecord| r.connection == connection.connection;
    assert!(settings(witness).iter().filter(on_the_new).count() >= 1, "{:?}", witness.requests);
    assert!(settings(witness).len() > before);
    let report = within(gateway.shutdown()).await;
    assert_eq!(of(&report).dead_mans_switch.state, SwitchState::Disarmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_leaves_the_timer_to_cancel_its_orders() {
    let bench = kraken(Duration::from_secs(5)).await;
    let gateway = bench.gateway().await;
    rest(&gateway, KRAKEN, 2).await;
    drop(gateway);
    let ledger = bench.ledger(|l| fired(l.exchange(KRAKEN))).await;
    let witness = ledger.exchange(KRAKEN);
    assert_eq!(witness.open_orders, []);
    assert!(witness.orders.iter().all(|order| order.status == OrderStatus::Canceled));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_confirmed_closed_leaves_the_timer_armed_to_the_deadline() {
    let mut bench = kraken(LONG).await;
    bench.config.shutdown.deadline = Duration::from_secs(4);
    bench.config.shutdown.cancel_pending = Duration::from_millis(300);
    bench.config.shutdown.stop_new_orders = Duration::from_millis(200);
    bench.config.shutdown.save_state = Duration::from_secs(1);
    bench.config.shutdown.disconnect = Duration::from_secs(1);
    let gateway = bench.gateway().await;
    let stays = rest(&gateway, KRAKEN, 1).await.remove(0).id();
    bench.add(on_the_connection(FaultAction::IgnoreCancel { ack: false, for_ms: None }));
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert_eq!(reported(&report, stays).fate, OrderFate::StillOpen);
    let (fires_at, reason) = left_armed(&report);
    let fires_at = fires_at.expect("a timer has a time");
    assert!(fires_at >= report.started);
    assert_eq!(reason, "orders open or unknown: 1");
    // It was set to an hour: that it goes off at all within the test is the shutdown's setting.
    let ledger = bench.ledger(|l| fired(l.exchange(KRAKEN))).await;
    assert_eq!(ledger.exchange(KRAKEN).open_orders, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_an_earlier_run_leaves_the_timer_armed() {
    let bench = kraken(LONG).await;
    let (price, quantity) = (Decimal::from(20_000), Decimal::new(1, 2));
    let side = mock_exchange::Side::Buy;
    let venue = bench.venue(KRAKEN);
    venue
        .place_by_hand(common::symbol(KRAKEN), "gw88earlier", side, price, quantity)
        .expect("it rests");
    let gateway = bench.gateway().await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft);
    let (_, reason) = left_armed(&report);
    assert_eq!(reason, "orders of an earlier run still open: 1");
    assert!(bench.mock.ledger().exchange(KRAKEN).cancels_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_orders_survive_because_the_timer_is_taken_off_when_the_others_are_closed() {
    let bench = kraken(LONG).await;
    let gateway = bench.gateway().await;
    rest(&gateway, KRAKEN, 1).await;
    let kept = within(gateway.orders().submit(resting(KRAKEN).keep_on_shutdown())).await;
    let kept = kept.expect("it rests").id();
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(reported(&report, kept).fate, OrderFate::Kept);
    assert_eq!(of(&report).dead_mans_switch.state, SwitchState::Disarmed);
    let ledger = bench.all_closed().await;
    assert_eq!(ledger.exchange(KRAKEN).cancels_at, None);
    judge(&report, &ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_exit_leaves_the_timer_armed_and_says_that_kept_orders_go_with_it() {
    let mut bench = kraken(LONG).await;
    bench.config.shutdown.cancel_pending = Duration::from_secs(8);
    let gateway = bench.gateway().await;
    rest(&gateway, KRAKEN, 1).await;
    within(gateway.orders().submit(resting(KRAKEN).keep_on_shutdown())).await.expect("it rests");
    bench.add(on_the_connection(FaultAction::IgnoreCancel { ack: false, for_ms: None }));
    gateway.force();
    let report = within(gateway.shutdown()).await;
    let (_, reason) = left_armed(&report);
    let expected = "orders open or unknown: 1; kept orders, which it cancels too: 1";
    assert_eq!(reason, expected);
    assert!(bench.mock.ledger().exchange(KRAKEN).cancels_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_takes_the_timer_off_again() {
    let mut bench = Bench::start(&[KRAKEN, DERIBIT]).await;
    for exchange in &mut bench.config.exchanges {
        if exchange.name.as_str() == KRAKEN {
            exchange.account_is_ours = true;
            exchange.dead_mans_switch = Some(LONG);
        } else {
            exchange.credentials.as_mut().expect("keys").api_secret =
                exchange_gateway::exchange::Secret::new("wrong");
        }
    }
    // So that the other is armed when this one fails.
    bench.config.exchanges.sort_by_key(|exchange| exchange.name.as_str() != KRAKEN);
    let failed = Gateway::start(bench.config.clone()).await.err();
    assert!(matches!(failed, Some(StartError::Refused { .. })), "{failed:?}");
    let ledger = bench.ledger(|l| settings(l.exchange(KRAKEN)).len() == 2).await;
    assert_eq!(ledger.exchange(KRAKEN).cancels_at, None);
}

fn refuse() -> Fault {
    Fault::new(FaultAction::RefuseSwitch { text: "EGeneral:Permission denied".into() }).times(0)
}

async fn does_not_start(mut bench: Bench) {
    bench.connections(|connection| {
        connection.connect_timeout = Duration::from_millis(2_500);
        connection.ready_timeout = Duration::from_millis(2_500);
    });
    bench.add(refuse());
    let failed = Gateway::start(bench.config.clone()).await.err();
    let Some(StartError::NotLive { reason, .. }) = failed else { panic!("{failed:?}") };
    assert!(reason.contains("dead-man's switch") && reason.contains("Permission"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_timer_cannot_be_set_the_gateway_does_not_start() {
    does_not_start(kraken(LONG).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_end_of_the_connection_cannot_be_guarded_the_gateway_does_not_start() {
    does_not_start(Bench::start(&[DERIBIT]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_new_order_is_written_once_the_timer_has_run_out_until_it_is_set_again() {
    let bench = kraken(Duration::from_secs(6)).await;
    let gateway = bench.gateway().await;
    let mut updates = gateway.orders().updates();
    let lost = rest(&gateway, KRAKEN, 1).await.remove(0).id();
    bench.add(refuse());
    bench.ledger(|l| fired(l.exchange(KRAKEN))).await;
    let ended = update(&mut updates, |u| u.order.client_id == lost && u.order.status.is_terminal());
    assert_eq!(ended.await.order.status, Status::Canceled);
    let refused = gateway.orders().submit(resting(KRAKEN)).await;
    // The lane may close between taking the order in and storing it.
    let Err(OrderError::NotConnected { reason, .. } | OrderError::NotSent { reason, .. }) = refused
    else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("dead-man's switch is not armed"), "{reason}");
    assert_eq!(bench.mock.ledger().exchange(KRAKEN).orders.len(), 1);
    bench.mock.faults().clear();
    let next = submit_when_open(&gateway, resting(KRAKEN)).await.id();
    assert!(bench.mock.ledger().exchange(KRAKEN).cancels_at.is_some());
    let report = within(gateway.shutdown()).await;
    assert_eq!(reported(&report, next).fate, OrderFate::Canceled);
    assert_eq!(of(&report).dead_mans_switch.state, SwitchState::Disarmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_disarming_is_not_confirmed_is_called_so() {
    let lost = [
        (Fault::new(FaultAction::LoseSwitchAck).times(0), "not answered"),
        (refuse(), "Permission denied"),
    ];
    for (fault, why) in lost {
        let mut bench = kraken(LONG).await;
        bench.config.shutdown.cancel_pending = Duration::from_millis(1_500);
        let gateway = bench.gateway().await;
        rest(&gateway, KRAKEN, 1).await;
        let is_lost = fault.action == FaultAction::LoseSwitchAck;
        bench.add(fault);
        let report = within(gateway.shutdown()).await;
        assert_eq!(report.outcome, Outcome::Degraded, "{report:#?}");
        assert!(report.orders_left().next().is_none());
        let reason = match &of(&report).dead_mans_switch.state {
            SwitchState::Unconfirmed { reason } if is_lost => reason,
            SwitchState::LeftArmed { reason, .. } if !is_lost => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason.contains(why), "{reason}");
        assert_eq!(bench.mock.ledger().exchange(KRAKEN).cancels_at.is_some(), !is_lost);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deribit_is_armed_before_the_first_order_and_disarmed_when_flat() {
    let bench = Bench::start(&[DERIBIT]).await;
    let gateway = bench.gateway().await;
    rest(&gateway, DERIBIT, 2).await;
    let report = within(gateway.shutdown()).await;
    let ledger = bench.all_closed().await;
    let witness = ledger.exchange(DERIBIT);
    assert_eq!(witness.requests[0].method, "private/enable_cancel_on_disconnect");
    let methods: Vec<_> = settings(witness).iter().map(|r| r.method.as_str()).collect();
    let expected = ["private/enable_cancel_on_disconnect", "private/disable_cancel_on_disconnect"];
    assert_eq!(methods, expected);
    let switch = &of(&report).dead_mans_switch;
    assert_eq!(switch.kind, SwitchKind::ConnectionDrop);
    assert_eq!(switch.state, SwitchState::Disarmed);
    judge(&report, &ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_deribit_the_close_itself_cancels_what_was_not_confirmed_closed() {
    let mut bench = Bench::start(&[DERIBIT]).await;
    bench.config.shutdown.cancel_pending = Duration::from_millis(300);
    let gateway = bench.gateway().await;
    let stays = rest(&gateway, DERIBIT, 1).await.remove(0).id();
    let kept = within(gateway.orders().submit(resting(DERIBIT).keep_on_shutdown())).await;
    let kept = kept.expect("it rests").id();
    bench.add(on_the_connection(FaultAction::RejectCancel { code: None, text: "no".into() }));
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert!(reported(&report, stays).fate.is_left());
    let (fires_at, reason) = left_armed(&report);
    assert_eq!(fires_at, None);
    assert_eq!(reason, "orders open or unknown: 1; kept orders, which it cancels too: 1");
    let ledger = bench.all_closed().await;
    let witness = ledger.exchange(DERIBIT);
    assert_eq!(witness.open_orders, [], "{kept} too");
    assert!(witness.connections.iter().all(|c| c.closed_by == Some(ClosedBy::Client)));
    assert_eq!(settings(witness).len(), 1, "armed and never taken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_deribit_it_can_be_left_alone_and_orders_then_outlive_their_connection() {
    let mut bench = Bench::start(&[DERIBIT]).await;
    bench.config.exchanges[0].cancel_on_disconnect = false;
    let gateway = bench.gateway().await;
    rest(&gateway, DERIBIT, 1).await;
    bench.venue(DERIBIT).drop_connections(Disconnect::Rst);
    reconnected(&gateway, DERIBIT, "trading", 1).await;
    reconnected(&gateway, DERIBIT, "market", 1).await;
    let ledger = bench.mock.ledger();
    assert_eq!(ledger.exchange(DERIBIT).open_orders.len(), 1);
    assert_eq!(settings(ledger.exchange(DERIBIT)), Vec::<&RequestRecord>::new());
    let report = within(gateway.shutdown()).await;
    assert_eq!(of(&report).dead_mans_switch.state, SwitchState::NotConfigured);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deribit_gateway_that_dies_takes_its_orders_with_it() {
    let bench = Bench::start(&[DERIBIT]).await;
    let gateway = bench.gateway().await;
    rest(&gateway, DERIBIT, 2).await;
    drop(gateway);
    let ledger = bench.all_closed().await;
    assert_eq!(ledger.exchange(DERIBIT).open_orders, []);
}
