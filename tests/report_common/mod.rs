//! Reports for the tests that show them: one with something in every part, and old ones.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use exchange_gateway::shutdown::{
    Alert, AlertDelivery, AlertKind, AlertReport, CancelPath, ClosePolicy, ConnectionReport,
    ExchangeReport, Failure, HookEnd, HookPriority, HookReport, LeastTime, LeftoverOrder,
    OrderFate, OrderReport, Outcome, Phase, PhaseEnd, PhaseReport, PositionReport, ShutdownReport,
    Stage, StageReport, StateReport, SwitchKind, SwitchReport, SwitchState,
};
use exchange_gateway::types::{ExchangeName, OrderStatus, Timestamp};
use rust_decimal::Decimal;

/// A report as an earlier version stored it: everything went well.
pub(crate) const OLD_CLEAN: &str = include_str!("../old_reports/clean.json");
/// A report as an earlier version stored it: an order is left.
pub(crate) const OLD_LEFT: &str = include_str!("../old_reports/left.json");

/// What a hostile exchange may say.
pub(crate) const HOSTILE: &str =
    "</td><script>alert('x')</script><img src=x onerror=alert(1)>\u{1b}[2J\u{202e}&amp;\"'";

pub(crate) fn started() -> Timestamp {
    "2026-01-31T12:00:00.123Z".parse().unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(crate) fn order(exchange: &str, number: usize, fate: OrderFate) -> OrderReport {
    let exchange = ExchangeName::new(exchange).unwrap();
    let pair = if exchange.as_str() == "kraken" { "BTC-USD" } else { "BTC-USDT" };
    let left = fate.is_left();
    OrderReport {
        client_id: format!("gw0abc1{number:06}").parse().unwrap(),
        exchange_id: (fate != OrderFate::Unknown)
            .then(|| format!("OABC-{number}").parse().unwrap()),
        instrument: exchange.instrument(pair).unwrap(),
        fate,
        status: if left { OrderStatus::Open } else { OrderStatus::Canceled },
        quantity: "0.00200000".parse().unwrap(),
        filled: "0".parse().unwrap(),
        booked: "0".parse().unwrap(),
        cancel_attempts: if left { 8 } else { 1 },
        cancel_sent_ms: Some(1),
        ended_ms: (!left).then_some(12 + number as u64 % 40),
        confirmed_after_ms: (!left).then_some(11 + number as u64 % 40),
        cancel_path: (!left).then_some(CancelPath::Live),
        reason: None,
    }
}

pub(crate) fn phase(phase: Phase, began: u64, budget: u64, used: u64) -> PhaseReport {
    let ended = if used < budget { PhaseEnd::Done } else { PhaseEnd::TimedOut };
    PhaseReport { phase, began_ms: Some(began), budget_ms: budget, used_ms: used, ended }
}

fn hook(name: &str, began: u64, used: u64, ended: HookEnd, reason: Option<&str>) -> HookReport {
    HookReport {
        name: name.to_owned(),
        phase: Phase::SaveState,
        priority: HookPriority::High,
        began_ms: began,
        budget_ms: 2000,
        used_ms: used,
        ended,
        reason: reason.map(str::to_owned),
    }
}

fn connection(kind: &str, at: u64, in_order: bool) -> ConnectionReport {
    let mut stages = Vec::new();
    if kind == "market" {
        stages.push(StageReport::new(Stage::Unsubscribed, at));
    }
    stages.push(StageReport::new(Stage::CloseFrameSent, at + 2));
    if in_order {
        stages.push(StageReport::new(Stage::CloseFrameReceived, at + 22));
        stages.push(StageReport::new(Stage::TcpClosed, at + 25));
    } else {
        stages.push(StageReport::new(Stage::Dropped, at + 3000));
    }
    ConnectionReport {
        connection: kind.to_owned(),
        closed_earlier: false,
        stages,
        close_sent: Some(1000),
        close_received: in_order.then_some(1000),
        closed_in_order: in_order,
        problem: (!in_order)
            .then(|| "the exchange did not answer the close frame in time".to_owned()),
    }
}

fn exchange(name: &str, orders: Vec<OrderReport>, in_order: bool) -> ExchangeReport {
    let stage = |stage, elapsed_ms, count, unconfirmed| StageReport {
        stage,
        elapsed_ms,
        count,
        unconfirmed,
    };
    let left = orders.iter().filter(|order| order.fate.is_left()).count() as u64;
    let all = orders.len() as u64;
    ExchangeReport {
        exchange: ExchangeName::new(name).unwrap(),
        orders,
        foreign_orders: 0,
        leftover_orders: Vec::new(),
        dead_mans_switch: SwitchReport::default(),
        stages: vec![
            stage(Stage::IntakeStopped, 0, None, None),
            stage(Stage::CancelsSent, 6, Some(all), None),
            stage(
                Stage::CancelsConfirmed,
                if left > 0 { 8000 } else { 55 },
                Some(all - left),
                Some(left),
            ),
        ],
        connections: vec![connection("market", 8120, true), connection("trading", 8121, in_order)],
    }
}

fn position(pair: &str, currency: &str) -> PositionReport {
    PositionReport {
        instrument: pair.parse().unwrap(),
        policy: ClosePolicy::Close,
        quantity: decimal("0.0250"),
        entry: Some("60001.5".parse().unwrap()),
        closed: decimal("0.0250"),
        exit: Some("60010.25".parse().unwrap()),
        left: decimal("0"),
        currency: currency.to_owned(),
        realized: decimal("12.50"),
        fees: decimal("1.125"),
        other_fees: [("BNB".to_owned(), decimal("0.001"))].into(),
        unrealized: Some(decimal("0")),
        orders: vec!["gw0abc1close1".parse().unwrap()],
        dust: false,
        not_closed: None,
        difference: None,
        not_compared: None,
    }
}

/// A report of a bad shutdown with something in every part.
pub(crate) fn full() -> ShutdownReport {
    let mut kraken: Vec<_> = (0..3).map(|n| order("kraken", n, OrderFate::Canceled)).collect();
    kraken.push(OrderReport {
        reason: Some("8 cancels written, last answer: acknowledged, not yet confirmed".into()),
        ..order("kraken", 3, OrderFate::StillOpen)
    });
    kraken.push(OrderReport {
        reason: Some(HOSTILE.to_owned()),
        ..order("kraken", 4, OrderFate::Unknown)
    });
    kraken.push(OrderReport {
        filled: "0.002".parse().unwrap(),
        booked: "0.001".parse().unwrap(),
        cancel_path: Some(CancelPath::Http),
        ..order("kraken", 5, OrderFate::FilledDuringCancel)
    });
    kraken.push(order("kraken", 6, OrderFate::Kept));
    let mut kraken = exchange("kraken", kraken, true);
    kraken.foreign_orders = 2;
    kraken.leftover_orders.push(LeftoverOrder {
        client_id: "gw0earlier".parse().unwrap(),
        exchange_id: None,
        instrument: "kraken:ETH-USD".parse().ok(),
    });
    kraken.dead_mans_switch = SwitchReport {
        kind: SwitchKind::Timer,
        scope: Some("account".into()),
        state: SwitchState::LeftArmed {
            fires_at: Some("2026-01-31T12:00:20.5Z".parse().unwrap()),
            reason: "orders open or unknown: 2".into(),
        },
    };
    let binance = (10..40).map(|n| order("binance", n, OrderFate::Canceled)).collect();
    let lost = PositionReport {
        left: decimal("0.4"),
        closed: decimal("0.1"),
        unrealized: None,
        not_closed: Some("no price is known".into()),
        difference: Some(decimal("-0.01")),
        realized: decimal("-3.75"),
        ..position("kraken:ETH-USD", "USD")
    };
    let kept = PositionReport {
        policy: ClosePolicy::Keep,
        closed: decimal("0"),
        exit: None,
        left: decimal("0.025"),
        unrealized: Some(decimal("4.2")),
        orders: Vec::new(),
        ..position("binance:SOL-USDT", "USDT")
    };
    let alert = |kind, message: &str, deliveries| AlertReport {
        alert: Alert {
            kind,
            at: started(),
            exchange: ExchangeName::new("kraken").ok(),
            message: message.to_owned(),
        },
        deliveries,
    };
    let delivery = |channel: &str, attempts, error: Option<&str>| AlertDelivery {
        channel: channel.to_owned(),
        attempts,
        error: error.map(str::to_owned),
    };
    ShutdownReport {
        elapsed_ms: 11_187,
        deadline_ms: Some(20_000),
        phases: vec![
            phase(Phase::StopNewOrders, 0, 1000, 1),
            phase(Phase::CancelPending, 1, 8000, 8000),
            phase(Phase::ClosePositions, 8001, 2000, 84),
            phase(Phase::SaveState, 8085, 3000, 35),
            phase(Phase::Disconnect, 8120, 4000, 3010),
        ],
        exchanges: vec![exchange("binance", binance, false), kraken],
        positions: vec![
            position("binance:BTC-USDT", "USDT"),
            kept,
            position("kraken:BTC-USD", "USD"),
            lost,
        ],
        hooks: vec![
            hook("save the model", 8086, 20, HookEnd::Done, None),
            hook("tell the operator", 8086, 12, HookEnd::Failed, Some("exit status 1")),
        ],
        alerts: vec![
            alert(
                AlertKind::OrdersLeft,
                "orders are open at kraken: gw0abc1000003; cancel them by hand",
                vec![
                    delivery("webhook", 3, Some("connection refused")),
                    delivery("command", 1, None),
                ],
            ),
            alert(AlertKind::PositionsLeft, "kraken:ETH-USD: 0.4 is left", Vec::new()),
        ],
        least: Some(LeastTime {
            least_ms: 96,
            exchange: ExchangeName::new("kraken").unwrap(),
            round_trip_us: 20_150,
            round_trips: 4,
            paced_ms: 15,
        }),
        stranded_orders: vec![LeftoverOrder {
            client_id: "gw0stranded".parse().unwrap(),
            exchange_id: None,
            instrument: "deribit:BTC-PERPETUAL".parse().ok(),
        }],
        state: StateReport {
            saved: true,
            directory: "gateway-state".into(),
            last_ticks: 4,
            late_ticks: 3,
            error: None,
            emergency_file: None,
        },
        failures: vec![Failure {
            scope: "gateway/binance/trading".into(),
            reason: "the exchange closed the connection (1012: restart)".into(),
        }],
        ..ShutdownReport::new(Outcome::OrdersLeft, "SIGTERM", started())
    }
}

/// A shutdown of 20 ms in which everything went well.
pub(crate) fn short() -> ShutdownReport {
    let orders = (0..6).map(|n| order("kraken", n, OrderFate::Canceled)).collect();
    let mut kraken = exchange("kraken", orders, true);
    for (stage, at) in kraken.stages.iter_mut().zip([0, 1, 4]) {
        stage.elapsed_ms = at;
    }
    for connection in &mut kraken.connections {
        let times = [5, 6, 8, 9].into_iter().skip(4 - connection.stages.len());
        for (stage, at) in connection.stages.iter_mut().zip(times) {
            stage.elapsed_ms = at;
        }
    }
    ShutdownReport {
        elapsed_ms: 19,
        deadline_ms: Some(20_000),
        phases: vec![
            phase(Phase::StopNewOrders, 0, 1000, 0),
            phase(Phase::CancelPending, 0, 8000, 4),
            phase(Phase::ClosePositions, 4, 2000, 0),
            phase(Phase::SaveState, 4, 3000, 1),
            phase(Phase::Disconnect, 5, 4000, 4),
        ],
        exchanges: vec![kraken],
        state: StateReport {
            saved: true,
            directory: "gateway-state".into(),
            ..StateReport::default()
        },
        ..ShutdownReport::new(Outcome::Clean, "SIGINT", started())
    }
}
