//! An order that the exchange will not cancel is named, and holds up nothing beyond its limit.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::{BOTH, Bench, logs, phase, reported, rest, within};
use exchange_gateway::Phase;
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd};
use mock_exchange::{Fault, FaultAction};
use tracing::Level;

async fn shut_down_while_cancels_do_nothing(action: FaultAction, tag: &str, why: &[&str]) {
    logs::keep();
    let mut bench = Bench::start(BOTH).await;
    bench.config.gateway.order_tag = tag.to_owned();
    bench.config.shutdown.cancel_pending = Duration::from_millis(700);
    let gateway = bench.gateway().await;
    let mut ids = Vec::new();
    for exchange in BOTH {
        ids.extend(rest(&gateway, exchange, 2).await.iter().map(|order| (*exchange, order.id())));
    }
    bench.add(Fault::new(action).times(0));

    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert_eq!(report.outcome.exit_code(), 13);
    assert_eq!(report.orders_left().count(), 4);
    for (exchange, id) in ids {
        let line = reported(&report, id);
        assert_eq!(line.fate, OrderFate::StillOpen, "{line:?}");
        // Again every 200 ms, and no more often than that.
        assert!((2..=12).contains(&line.cancel_attempts), "{line:?}");
        assert_eq!(line.confirmed_after_ms, None);
        let reason = line.reason.as_deref().expect("it says why");
        let logged = logs::with(&["cancel not confirmed", id.as_str()]);
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert_eq!(logged[0].level, Level::ERROR);
        assert!(logged[0].text.contains(&format!("exchange={exchange}")), "{logged:?}");
        assert!(!reason.contains("is down"), "the connection lived: {reason}");
        for part in why {
            assert!(reason.contains(part), "{reason}");
            assert!(logged[0].text.contains(part), "{logged:?}");
        }
    }

    let cancelling = phase(&report, Phase::CancelPending);
    assert_eq!(cancelling.ended, PhaseEnd::TimedOut);
    assert_eq!(cancelling.budget_ms, 700);
    assert!((700..1_700).contains(&cancelling.used_ms), "{cancelling:?}");
    // What comes after is done as ever.
    for later in [Phase::SaveState, Phase::Disconnect] {
        assert_eq!(phase(&report, later).ended, PhaseEnd::Done);
    }
    assert!(report.state.saved);
    assert!(report.elapsed_ms < 4_000, "{} ms", report.elapsed_ms);
    let mut connections = report.exchanges.iter().flat_map(|exchange| &exchange.connections);
    assert!(connections.all(|connection| connection.closed_in_order), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_cancels_are_never_answered_is_named() {
    let action = FaultAction::IgnoreCancel { ack: false, for_ms: None };
    shut_down_while_cancels_do_nothing(action, "cta", &["cancels written", "no answer"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_cancels_are_acknowledged_and_nothing_more_is_named() {
    let action = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    shut_down_while_cancels_do_nothing(action, "ctb", &["acknowledged, not yet confirmed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_cancels_are_refused_is_named_with_the_exchange_s_words() {
    let text = "Not now, thank you".to_owned();
    let action = FaultAction::RejectCancel { code: None, text };
    shut_down_while_cancels_do_nothing(action, "ctc", &["Not now, thank you"]).await;
}
