use super::*;
use crate::types::Timestamp;

fn report(outcome: Outcome) -> ShutdownReport {
    ShutdownReport::new(outcome, "SIGTERM", Timestamp::UNIX_EPOCH)
}

fn phase(phase: Phase, began_ms: Option<u64>, used_ms: u64) -> PhaseReport {
    PhaseReport { phase, began_ms, budget_ms: 1000, used_ms, ended: PhaseEnd::Done }
}

fn position(currency: &str, realized: &str, unrealized: Option<&str>) -> PositionReport {
    PositionReport {
        instrument: "kraken:BTC-USD".parse().unwrap(),
        policy: ClosePolicy::Close,
        quantity: "1".parse().unwrap(),
        entry: None,
        closed: "0".parse().unwrap(),
        exit: None,
        left: "1".parse().unwrap(),
        currency: currency.into(),
        realized: realized.parse().unwrap(),
        fees: "0.25".parse().unwrap(),
        other_fees: std::collections::BTreeMap::default(),
        unrealized: unrealized.map(|text| text.parse().unwrap()),
        orders: Vec::new(),
        dust: false,
        not_closed: Some("no price".into()),
        difference: None,
        not_compared: None,
    }
}

#[test]
fn profit_is_summed_by_currency_and_what_has_no_price_is_counted() {
    let mut report = report(Outcome::Clean);
    report.positions = vec![
        position("USD", "10", Some("-2.5")),
        position("USD", "-1", None),
        position("BTC", "0.001", Some("0")),
    ];
    let totals = report.profit_totals();
    let usd = &totals["USD"];
    let shown = [usd.realized, usd.fees, usd.unrealized, usd.net].map(|sum| sum.to_string());
    assert_eq!(shown, ["9", "0.50", "-2.5", "6.00"]);
    assert_eq!((usd.unpriced, totals["BTC"].unpriced), (1, 0));
    assert_eq!(totals["BTC"].net.to_string(), "-0.249");
    for position in &mut report.positions {
        position.realized = rust_decimal::Decimal::MAX;
        position.fees = rust_decimal::Decimal::MIN;
    }
    report.profit_totals();
}

#[test]
fn a_phase_follows_the_one_before_where_a_report_does_not_tell_when_it_began() {
    let mut report = report(Outcome::Clean);
    report.phases = vec![
        phase(Phase::StopNewOrders, None, 5),
        phase(Phase::CancelPending, None, 7),
        phase(Phase::SaveState, Some(20), u64::MAX),
        phase(Phase::Disconnect, None, 1),
    ];
    assert_eq!(report.phase_starts(), [0, 5, 20, u64::MAX]);
}

#[test]
fn every_verdict_but_a_clean_one_has_a_reason_in_words() {
    assert_eq!(report(Outcome::Clean).reasons(), Vec::<String>::new());
    for outcome in [
        Outcome::Degraded,
        Outcome::DeadlineForced,
        Outcome::OperatorForced,
        Outcome::OrdersLeft,
        Outcome::StateNotSaved,
    ] {
        assert_eq!(report(outcome).reasons().len(), 1, "{outcome:?}");
    }
    let mut bad = report(Outcome::OrdersLeft);
    bad.positions = vec![position("USD", "1", None)];
    bad.state.error = Some("disk full".into());
    bad.phases =
        vec![PhaseReport { ended: PhaseEnd::TimedOut, ..phase(Phase::CancelPending, None, 1000) }];
    bad.hooks = vec![HookReport {
        name: "model".into(),
        phase: Phase::SaveState,
        priority: HookPriority::Normal,
        began_ms: 0,
        budget_ms: 5,
        used_ms: 5,
        ended: HookEnd::Panicked,
        reason: Some("index out of range".into()),
    }];
    let failure = |reason: &str| Failure { scope: "gateway".into(), reason: reason.into() };
    bad.failures = vec![failure("state not saved: disk full"), failure("index out of range")];
    bad.failures.push(Failure {
        scope: "gateway/hooks/model".into(),
        reason: "hook of phase save_state: panicked: index out of range in the model".into(),
    });
    bad.failures.extend((0..7).map(|number| failure(&format!("failure {number}"))));
    assert_eq!(
        bad.reasons(),
        [
            "kraken:BTC-USD: 1 is left that was to be closed: no price",
            "state was not saved: disk full",
            "the phase cancel pending was not done within its 1000 ms",
            "the hook model of save state panicked: index out of range",
            "gateway: failure 0",
            "gateway: failure 1",
            "gateway: failure 2",
            "gateway: failure 3",
            "gateway: failure 4",
            "2 more failures",
        ],
        "each once"
    );
}

#[test]
fn only_a_report_that_had_nothing_to_save_is_silent_on_state() {
    assert!(!report(Outcome::Clean).state_was_due(), "a drain");
    assert!(report(Outcome::StateNotSaved).state_was_due());
}
