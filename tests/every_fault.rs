//! Every fault that the mock knows, under a gateway with orders on both exchanges, and a shutdown
//! at the end: whatever went wrong, the report is the truth.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::judge::{judge, judge_fills, told};
use common::{BOTH, Bench, resting, symbol, within};
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::{Gateway, OrderError};
use futures::StreamExt as _;
use mock_exchange::{
    ConnectionKind, Disconnect, Fault, FaultAction, Refusal, Side, SystemStatus, Target, When,
};
use rust_decimal::Decimal;

/// The number of a fault's kind: a new kind does not compile until it is given one, and a case.
fn kind(action: &FaultAction) -> usize {
    match action {
        FaultAction::DelayAck { .. } => 0,
        FaultAction::LoseAck => 1,
        FaultAction::Reject { .. } => 2,
        FaultAction::FillDuringCancel { .. } => 3,
        FaultAction::LoseCancelAck => 4,
        FaultAction::DelayCancelAck { .. } => 5,
        FaultAction::IgnoreCancel { .. } => 6,
        FaultAction::RejectCancel { .. } => 7,
        FaultAction::DuplicateUpdates => 8,
        FaultAction::ReorderUpdates => 9,
        FaultAction::LoseUpdates => 10,
        FaultAction::DelayUpdates { .. } => 11,
        FaultAction::Drop { .. } => 12,
        FaultAction::StopReading { .. } => 13,
        FaultAction::GoSilent { .. } => 14,
        FaultAction::SendGarbage { .. } => 15,
        FaultAction::SendBinary => 16,
        FaultAction::SendInvalidUtf8 => 17,
        FaultAction::SendOversized { .. } => 18,
        FaultAction::SendTruncated => 19,
        FaultAction::SendUnknownEvent => 20,
        FaultAction::RefuseClose => 21,
        FaultAction::Close { .. } => 22,
        FaultAction::RefuseConnections { .. } => 23,
        FaultAction::Status { .. } => 24,
        FaultAction::ServerShutdown => 25,
        FaultAction::RefuseSwitch { .. } => 26,
        FaultAction::LoseSwitchAck => 27,
    }
}

const KINDS: usize = 28;

/// A fault, and whether every order can be settled in spite of it.
struct Case {
    fault: Fault,
    settles: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |settles: bool, fault: Fault| cases.push(Case { fault, settles });
    let always = |action| Fault::new(action).times(0);
    let on = |kind, action| Fault::new(action).on(Target::Connection(kind));
    let (market, trading) = (ConnectionKind::Market, ConnectionKind::Trading);
    let text = || "Fault.".to_owned();

    case(true, always(FaultAction::DelayAck { ms: 60 }));
    case(true, always(FaultAction::DelayAck { ms: 600 }));
    case(true, always(FaultAction::LoseAck));
    case(true, Fault::new(FaultAction::Reject { code: None, text: text() }).times(2));
    case(true, Fault::new(FaultAction::Reject { code: Some(-1007), text: text() }));
    case(true, always(FaultAction::FillDuringCancel { quantity: None }));
    case(true, always(FaultAction::FillDuringCancel { quantity: Some(Decimal::new(2, 3)) }));
    case(true, always(FaultAction::LoseCancelAck));
    case(true, always(FaultAction::DelayCancelAck { ms: 700 }));
    case(true, always(FaultAction::IgnoreCancel { ack: true, for_ms: Some(300) }));
    case(true, Fault::new(FaultAction::IgnoreCancel { ack: false, for_ms: None }).times(3));
    case(false, always(FaultAction::IgnoreCancel { ack: true, for_ms: None }));
    case(false, always(FaultAction::IgnoreCancel { ack: false, for_ms: None }));
    case(true, Fault::new(FaultAction::RejectCancel { code: None, text: text() }).times(4));
    case(false, always(FaultAction::RejectCancel { code: None, text: text() }));
    case(true, always(FaultAction::DuplicateUpdates));
    case(true, always(FaultAction::ReorderUpdates));
    case(true, always(FaultAction::LoseUpdates));
    case(true, Fault::new(FaultAction::LoseUpdates).times(3));
    case(true, always(FaultAction::DelayUpdates { ms: 80 }));
    for how in [Disconnect::Fin, Disconnect::Rst] {
        for occasion in [When::Now, When::Place, When::Cancel, When::Update] {
            case(true, on(trading, FaultAction::Drop { how }).when(occasion));
        }
        case(true, on(market, FaultAction::Drop { how }));
        case(true, Fault::new(FaultAction::Drop { how }).when(When::Open).times(2));
        case(true, on(trading, FaultAction::Drop { how }).when(When::Message));
    }
    case(true, on(trading, FaultAction::StopReading { for_ms: Some(300) }));
    case(false, Fault::new(FaultAction::StopReading { for_ms: None }).times(2));
    case(true, on(trading, FaultAction::GoSilent { for_ms: None }));
    case(true, on(market, FaultAction::GoSilent { for_ms: None }));
    case(true, on(trading, FaultAction::GoSilent { for_ms: None }).when(When::Cancel));
    case(true, Fault::new(FaultAction::SendGarbage { text: None }).times(2));
    case(true, always(FaultAction::SendGarbage { text: None }).when(When::Update));
    case(true, Fault::new(FaultAction::SendBinary).times(2));
    case(true, on(trading, FaultAction::SendInvalidUtf8).when(When::Place));
    case(true, on(market, FaultAction::SendInvalidUtf8));
    case(true, on(trading, FaultAction::SendOversized { bytes: 17 << 20 }).when(When::Cancel));
    case(true, on(trading, FaultAction::SendTruncated).when(When::Update));
    case(true, on(trading, FaultAction::SendTruncated).when(When::Cancel));
    case(true, always(FaultAction::SendUnknownEvent).when(When::Update));
    case(false, Fault::new(FaultAction::RefuseClose).times(2));
    let close = |code| FaultAction::Close { code, reason: text() };
    for occasion in [When::Now, When::Place, When::Cancel, When::Update, When::Open] {
        case(true, on(trading, close(1012)).when(occasion));
    }
    case(true, on(market, close(1001)));
    for how in [Refusal::Rst, Refusal::Http503] {
        case(true, Fault::new(FaultAction::RefuseConnections { how, for_ms: Some(300) }));
    }
    for status in [SystemStatus::CancelOnly, SystemStatus::PostOnly, SystemStatus::Maintenance] {
        case(true, Fault::new(FaultAction::Status { status, for_ms: Some(200) }));
    }
    case(true, Fault::new(FaultAction::ServerShutdown).times(2));
    case(true, on(trading, FaultAction::ServerShutdown).when(When::Cancel));
    case(true, Fault::new(FaultAction::RefuseSwitch { text: text() }));
    case(true, Fault::new(FaultAction::LoseSwitchAck));
    case(false, always(FaultAction::RefuseSwitch { text: text() }));
    cases
}

/// Trades a little: some orders are cancelled by the bot, some fill in part, some rest.
async fn trade_on(bench: &Bench, gateway: &Gateway, exchange: &str, orders: usize) {
    let mut last = None;
    for _ in 0..orders {
        // A lost answer must not hold up the others: nobody waits for it.
        match gateway.orders().submit_nowait(resting(exchange)) {
            Ok(id) => last = Some(id),
            Err(OrderError::NotConnected { .. } | OrderError::Restricted { .. }) => {}
            Err(other) => panic!("{exchange}: {other}"),
        }
        tokio::task::yield_now().await;
    }
    let (price, part) = (Decimal::from(20_000), Decimal::new(3, 3));
    let traded = bench.venue(exchange).trade(symbol(exchange), Side::Sell, price, part);
    traded.expect("the market moves");
    if let Some(id) = last {
        let orders = gateway.orders().clone();
        // It ends when the order has ended, or with the shutdown.
        tokio::spawn(async move { orders.cancel(id).await });
    }
}

async fn survive(case: &Case) {
    let mut bench = Bench::start(BOTH).await;
    bench.config.orders.ack_timeout = Duration::from_millis(150);
    bench.config.orders.query_retry = Duration::from_millis(100);
    bench.config.shutdown.cancel_retry = Duration::from_millis(100);
    bench.config.shutdown.cancel_pending =
        Duration::from_millis(if case.settles { 10_000 } else { 800 });
    bench.connections(|connection| {
        connection.close_timeout = Duration::from_millis(if case.settles { 3_000 } else { 300 });
        connection.probe_after = Some(Duration::from_millis(300));
        connection.dead_after = Some(Duration::from_millis(900));
    });
    if kind(&case.fault.action) >= kind(&FaultAction::RefuseSwitch { text: String::new() }) {
        for exchange in bench.config.exchanges.iter_mut().filter(|e| e.name.as_str() == "kraken") {
            exchange.account_is_ours = true;
            exchange.dead_mans_switch = Some(Duration::from_secs(3600));
        }
    }
    let gateway = bench.gateway().await;
    let updates = gateway.orders().updates();
    for exchange in BOTH {
        trade_on(&bench, &gateway, exchange, 3).await;
        bench.ledger(|ledger| !ledger.exchange(exchange).orders.is_empty()).await;
        bench.add(case.fault.clone().at(exchange));
        if matches!(case.fault.action, FaultAction::RefuseConnections { .. }) {
            bench.venue(exchange).drop_connections(Disconnect::Rst);
        }
        trade_on(&bench, &gateway, exchange, 3).await;
    }
    let report = within(gateway.shutdown()).await;
    let ledger = bench.mock.ledger();
    judge(&report, &ledger);
    let told = told(updates).await;
    for exchange in BOTH {
        judge_fills(&told, ledger.exchange(exchange));
    }
    for failure in &report.failures {
        assert!(!failure.reason.contains("panicked"), "{failure:?}");
    }
    assert!(report.state.saved);
    if case.settles {
        // A connection that was down at the end is a blemish; an order left would be a fault.
        assert!(matches!(report.outcome, Outcome::Clean | Outcome::Degraded), "{report:#?}");
        assert_eq!(report.orders_left().count(), 0, "{report:#?}");
        for exchange in BOTH {
            let witness = ledger.exchange(exchange);
            assert_eq!(witness.open_orders, [], "{exchange}");
            let all = witness.orders.iter().filter_map(|seen| told.get(&seen.client_id));
            let open = all.filter_map(|told| told.last.as_ref()).find(|o| !o.status.is_terminal());
            assert_eq!(open, None, "{exchange}: the end of every order was told");
        }
    } else {
        assert_ne!(report.outcome, Outcome::Clean, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_fault_the_report_is_the_truth() {
    let cases = cases();
    let covered: BTreeSet<_> = cases.iter().map(|case| kind(&case.fault.action)).collect();
    assert_eq!(covered, (0..KINDS).collect(), "every kind of fault has a case");
    let survived = futures::stream::iter(cases).map(|case| async move {
        let shown = format!("{:?}", case.fault);
        let outcome = tokio::spawn(async move { survive(&case).await }).await;
        outcome.err().map(|_| shown)
    });
    let failed: Vec<_> = survived.buffer_unordered(6).filter_map(|f| async { f }).collect().await;
    assert!(failed.is_empty(), "{} faults broke it: {failed:#?}", failed.len());
}
