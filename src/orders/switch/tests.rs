//! The policy as tables: what happens, and what is done about it.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TIMER: DeadMansSwitch = DeadMansSwitch::Timer {
    scope: SwitchScope::Account,
    timeout_min: SECOND,
    timeout_max: Duration::from_secs(86_399),
    step: SECOND,
    refresh_max: Duration::from_secs(30),
};
const DROP: DeadMansSwitch = DeadMansSwitch::ConnectionDrop {
    scope: SwitchScope::Connection,
    fires_on_clean_close: true,
    suppressed_by_logout: true,
};
const MINUTE: Duration = Duration::from_secs(60);

/// A switch and the time, both moved by the test.
struct Bench {
    switch: Switch,
    start: Instant,
    seconds: u32,
}

impl Bench {
    fn new(kind: DeadMansSwitch, timeout: Option<Duration>) -> Self {
        let switch = Switch::new(SwitchSettings { kind, timeout });
        Self { switch, start: Instant::now(), seconds: 0 }
    }

    /// Ready, and armed as far as it can be.
    fn armed(kind: DeadMansSwitch) -> Self {
        let mut bench = Self::new(kind, Some(MINUTE));
        bench.step(SwitchInput::SessionReady);
        let request = bench.asks();
        assert_eq!(bench.done(request), [SwitchAction::LetIn]);
        bench
    }

    fn now(&self) -> Moment {
        let wall = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.seconds.into());
        Moment { wall, monotonic: self.start + SECOND * self.seconds }
    }

    fn at(&mut self, seconds: u32) -> &mut Self {
        self.seconds = seconds;
        self
    }

    fn step(&mut self, input: SwitchInput) -> Vec<SwitchAction> {
        self.switch.step(input, self.now())
    }

    /// What time brings, which must be one request and nothing else.
    fn asks(&mut self) -> SwitchRequest {
        match self.step(SwitchInput::Time).as_slice() {
            [SwitchAction::Ask(request)] => *request,
            other => panic!("{other:?}"),
        }
    }

    fn idle(&mut self) {
        assert_eq!(self.step(SwitchInput::Time), []);
    }

    fn answer(&mut self, request: SwitchRequest, outcome: SwitchOutcome) -> Vec<SwitchAction> {
        self.step(SwitchInput::Answered(SwitchAnswer { request, outcome }))
    }

    fn done(&mut self, request: SwitchRequest) -> Vec<SwitchAction> {
        self.answer(request, SwitchOutcome::Done { fires_at: None })
    }

    fn refused(&mut self, request: SwitchRequest) -> Vec<SwitchAction> {
        let reason = "not now".to_owned();
        self.answer(request, SwitchOutcome::Refused { code: Some(7), reason })
    }

    fn lets_in(&self) -> bool {
        self.switch.bars().is_none()
    }

    fn due(&self) -> Option<u64> {
        self.switch.next_due().map(|due| due.duration_since(self.start).as_secs())
    }

    fn state(&self) -> SwitchState {
        self.switch.report().state
    }
}

fn arm(seconds: u32) -> SwitchSetting {
    SwitchSetting::Arm { timeout: SECOND * seconds }
}

#[test]
fn without_a_switch_or_its_configuration_nothing_is_asked_and_orders_are_let_in() {
    for (kind, timeout, state) in [
        (DeadMansSwitch::None, Some(MINUTE), SwitchState::None),
        (DeadMansSwitch::None, None, SwitchState::None),
        (TIMER, None, SwitchState::NotConfigured),
        (DROP, None, SwitchState::NotConfigured),
    ] {
        let mut bench = Bench::new(kind, timeout);
        assert!(bench.lets_in());
        for input in [
            SwitchInput::SessionReady,
            SwitchInput::Time,
            SwitchInput::ShutdownBegins { deadline: bench.start },
            SwitchInput::Flat,
        ] {
            assert_eq!(bench.step(input), []);
        }
        assert!(bench.lets_in() && bench.switch.is_settled());
        assert_eq!(bench.due(), None);
        assert_eq!(bench.state(), state);
    }
}

#[test]
fn no_order_is_let_in_before_the_exchange_confirms_and_again_after_a_reconnect() {
    for kind in [TIMER, DROP] {
        let mut bench = Bench::new(kind, Some(MINUTE));
        assert!(!bench.lets_in());
        bench.idle();
        bench.step(SwitchInput::SessionReady);
        let request = bench.asks();
        assert_eq!(request.setting, arm(60));
        assert!(!bench.lets_in());
        bench.idle();
        assert_eq!(bench.done(request), [SwitchAction::LetIn]);
        assert!(bench.lets_in());
        bench.step(SwitchInput::SessionLost);
        assert!(!bench.lets_in());
        bench.at(2).step(SwitchInput::SessionReady);
        let again = bench.asks();
        // A late answer to what the old connection asked confirms nothing.
        assert_eq!(bench.done(request), []);
        assert!(!bench.lets_in());
        assert_eq!(bench.done(again), [SwitchAction::LetIn]);
    }
}

#[test]
fn a_timer_is_set_again_at_a_third_of_its_time_or_sooner_and_the_end_of_a_connection_never() {
    let mut bench = Bench::armed(TIMER);
    assert_eq!(bench.due(), Some(20));
    bench.at(19).idle();
    let request = bench.at(20).asks();
    assert_eq!(request.setting, arm(60));
    bench.at(21).done(request);
    // Counted from when it was asked, not from the answer.
    assert_eq!(bench.due(), Some(40));
    assert!(bench.lets_in());

    let mut long = Bench::new(TIMER, Some(SECOND * 3600));
    long.step(SwitchInput::SessionReady);
    let request = long.asks();
    long.done(request);
    assert_eq!(long.due(), Some(30), "no later than the exchange recommends");

    assert_eq!(Bench::armed(DROP).due(), None);
}

#[test]
fn a_timer_that_cannot_be_set_again_keeps_orders_out_when_it_runs_out_and_not_before() {
    for refused in [true, false] {
        let mut bench = Bench::armed(TIMER);
        let mut warnings = 0;
        for seconds in 20..60 {
            let actions = bench.at(seconds).step(SwitchInput::Time);
            for action in actions {
                match action {
                    SwitchAction::Ask(request) if refused => {
                        let told = bench.refused(request);
                        assert!(matches!(told.as_slice(), [SwitchAction::Warn { .. }]), "{told:?}");
                        warnings += 1;
                    }
                    SwitchAction::Ask(_) => {}
                    SwitchAction::Warn { reason } => {
                        assert!(reason.contains("not answered for 5000 ms"), "{reason}");
                        warnings += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(bench.lets_in(), "{seconds}");
        }
        assert!((7..=8).contains(&warnings), "{warnings}");
        let actions = bench.at(60).step(SwitchInput::Time);
        let [SwitchAction::KeepOut { reason }, rest @ ..] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        assert!(reason.contains("ran out"), "{reason}");
        assert!(!bench.lets_in());
        assert!(matches!(bench.state(), SwitchState::Unconfirmed { .. }));
        let Some(SwitchAction::Ask(request)) = rest.last() else { panic!("{rest:?}") };
        assert_eq!(bench.at(61).done(*request), [SwitchAction::LetIn]);
        assert!(bench.lets_in());
    }
}

#[test]
fn an_answer_that_comes_when_its_time_is_over_lets_nothing_in() {
    let mut bench = Bench::new(TIMER, Some(MINUTE));
    bench.step(SwitchInput::SessionReady);
    let request = bench.asks();
    assert_eq!(bench.at(60).done(request), []);
    assert!(!bench.lets_in());
}

#[test]
fn a_refused_arming_is_told_and_repeated() {
    let mut bench = Bench::new(DROP, Some(Duration::ZERO));
    bench.step(SwitchInput::SessionReady);
    let request = bench.asks();
    let reason = "arming it was refused: not now (7)".to_owned();
    assert_eq!(bench.refused(request), [SwitchAction::Warn { reason }]);
    assert!(bench.switch.bars().is_some_and(|why| why.contains("not now")));
    let request = bench.at(1).asks();
    assert_eq!(bench.done(request), [SwitchAction::LetIn]);
}

#[test]
fn a_shutdown_sets_a_timer_once_to_what_remains_within_the_exchange_s_range() {
    for (deadline, now, expected) in [(30, 10, 20), (10, 10, 1), (100_010, 10, 86_399)] {
        let mut bench = Bench::armed(TIMER);
        let deadline = bench.start + SECOND * deadline;
        bench.at(now).step(SwitchInput::ShutdownBegins { deadline });
        let request = bench.asks();
        assert_eq!(request.setting, arm(expected));
        bench.done(request);
        assert_eq!(bench.due(), None);
        let fires_at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs((now + expected).into());
        let SwitchState::LeftArmed { fires_at: Some(at), .. } = bench.state() else { panic!() };
        assert_eq!(at, fires_at);
    }
    let mut bench = Bench::armed(DROP);
    let deadline = bench.start + MINUTE;
    bench.step(SwitchInput::ShutdownBegins { deadline });
    bench.idle();
    assert!(matches!(bench.state(), SwitchState::LeftArmed { fires_at: None, .. }));
}

#[test]
fn an_older_answer_does_not_stand_for_the_setting_of_the_shutdown() {
    let mut bench = Bench::armed(TIMER);
    let older = bench.at(20).asks();
    let deadline = bench.start + SECOND * 40;
    bench.step(SwitchInput::ShutdownBegins { deadline });
    let last = bench.asks();
    bench.done(older);
    assert_eq!(bench.due(), Some(21), "it is repeated if it stays unanswered");
    bench.done(last);
    assert_eq!(bench.due(), None);
}

#[test]
fn only_the_exchange_s_word_makes_it_disarmed() {
    for kind in [TIMER, DROP] {
        let mut bench = Bench::armed(kind);
        bench.step(SwitchInput::Flat);
        assert!(!bench.switch.is_settled());
        let request = bench.asks();
        assert_eq!(request.setting, SwitchSetting::Disarm);
        assert!(matches!(bench.state(), SwitchState::Unconfirmed { .. }));
        let told = bench.refused(request);
        assert!(matches!(told.as_slice(), [SwitchAction::Warn { .. }]));
        assert!(matches!(bench.state(), SwitchState::LeftArmed { .. }), "it was refused");
        assert!(!bench.switch.is_settled());
        let request = bench.at(10).asks();
        // What comes later changes nothing any more.
        bench.step(SwitchInput::Leave { reason: "late".into() });
        assert_eq!(bench.done(request), [SwitchAction::Disarmed]);
        assert!(bench.switch.is_settled());
        assert_eq!(bench.state(), SwitchState::Disarmed);
        assert_eq!(bench.due(), None);
        bench.step(SwitchInput::SessionLost);
        bench.step(SwitchInput::SessionReady);
        bench.idle();
        assert_eq!(bench.state(), SwitchState::Disarmed);
    }
}

#[test]
fn what_is_to_be_left_stays_armed_and_says_why() {
    for kind in [TIMER, DROP] {
        let mut bench = Bench::armed(kind);
        let why = "orders open or unknown: 1".to_owned();
        bench.step(SwitchInput::Leave { reason: why.clone() });
        bench.at(50).idle();
        assert!(bench.switch.is_settled());
        // Too late: the report has promised that it goes off.
        bench.step(SwitchInput::Flat);
        bench.idle();
        let SwitchState::LeftArmed { reason, fires_at } = bench.state() else { panic!() };
        assert_eq!(reason, why);
        assert_eq!(fires_at.is_some(), kind == TIMER);
    }
}

#[test]
fn a_lost_connection_leaves_a_timer_running_and_takes_the_other_kind_with_it() {
    let mut timer = Bench::armed(TIMER);
    timer.step(SwitchInput::SessionLost);
    timer.step(SwitchInput::Flat);
    assert!(!timer.switch.is_settled(), "it is still armed");
    timer.idle();
    timer.step(SwitchInput::SessionReady);
    assert_eq!(timer.asks().setting, SwitchSetting::Disarm);

    let mut drop = Bench::armed(DROP);
    drop.step(SwitchInput::SessionLost);
    drop.step(SwitchInput::Flat);
    assert!(drop.switch.is_settled());
    assert!(matches!(drop.state(), SwitchState::LeftArmed { fires_at: None, .. }));
}

#[test]
fn what_was_never_armed_is_called_unconfirmed() {
    for kind in [TIMER, DROP] {
        let mut bench = Bench::new(kind, Some(MINUTE));
        bench.step(SwitchInput::SessionReady);
        bench.asks();
        bench.step(SwitchInput::Leave { reason: "forced".into() });
        assert!(matches!(bench.state(), SwitchState::Unconfirmed { .. }));
    }
}
