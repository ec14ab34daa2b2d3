//! The account's timer that cancels every order.
//!
//! Source: <https://docs.kraken.com/api/docs/websocket-v2/cancel_after>.

use std::time::Duration;

use serde::Deserialize;

use super::messages::{Outcome, read, shorten, timestamp};
use super::orders::json;
use crate::exchange::{SwitchAnswer, SwitchOutcome, SwitchRequest, SwitchSetting};

pub(super) const METHOD: &str = "cancel_all_orders_after";

/// Unlike the rest of the API this answer is written in camel case. `triggerTime` is `"0"` when the
/// timer is off, so that it need not be a time.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Times {
    trigger_time: Option<String>,
}

/// The request that sets the timer, in whole seconds rounded up; zero takes it off.
pub(super) fn request(setting: SwitchSetting, token: &str, number: u64) -> String {
    let seconds = match setting {
        SwitchSetting::Arm { timeout } => whole_seconds(timeout),
        SwitchSetting::Disarm => 0,
    };
    format!(
        r#"{{"method":"{METHOD}","params":{{"timeout":{seconds},"token":{}}},"req_id":{number}}}"#,
        json(token),
    )
}

/// At least 1, as zero would take the timer off.
fn whole_seconds(timeout: Duration) -> u64 {
    (timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)).max(1)
}

/// What the response says. A time that cannot be read is left out: the setting counts all the same.
pub(super) fn answer(request: SwitchRequest, outcome: Outcome<'_>) -> SwitchAnswer {
    let outcome = match outcome {
        Outcome::Done(result) => {
            let times: Times =
                result.and_then(|result| read(result, "result").ok()).unwrap_or_default();
            let trigger = times.trigger_time.filter(|_| request.setting != SwitchSetting::Disarm);
            let fires_at = timestamp(trigger.as_deref(), "triggerTime").ok().flatten();
            SwitchOutcome::Done { fires_at }
        }
        Outcome::Failed(error) => SwitchOutcome::Refused { code: None, reason: shorten(error) },
    };
    SwitchAnswer { request, outcome }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::testing::{NOW, adapter, symbols, told};
    use super::*;
    use crate::exchange::{Adapter, Outbox, SessionEvent, TradingSession};

    fn arm(timeout: Duration) -> SwitchRequest {
        SwitchRequest { number: 7, setting: SwitchSetting::Arm { timeout } }
    }

    fn set(session: &mut dyn TradingSession, request: SwitchRequest) -> Value {
        let mut out = Outbox::default();
        session.set_switch(request, NOW, &mut out);
        assert_eq!(out.messages.len(), 1);
        serde_json::from_str(&out.messages[0]).unwrap()
    }

    #[test]
    fn the_request_is_the_recorded_one_but_for_its_number_and_token() {
        let mut session = adapter("").trading_session(symbols());
        let mut recorded: Value =
            serde_json::from_str(include_str!("testdata/cancel_all_orders_after_request.json"))
                .unwrap();
        let written = set(&mut *session, arm(Duration::from_secs(100)));
        recorded["params"]["token"] = written["params"]["token"].clone();
        recorded["req_id"] = written["req_id"].clone();
        assert_eq!(written, recorded);
    }

    #[test]
    fn a_timeout_is_rounded_up_and_never_takes_the_timer_off() {
        for (ms, seconds) in [(0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
        let mut session = adapter("").trading_session(symbols());
        let disarm = SwitchRequest { number: 1, setting: SwitchSetting::Disarm };
        assert_eq!(set(&mut *session, disarm)["params"]["timeout"], 0);
    }

    #[test]
    fn the_recorded_answer_tells_when_the_timer_goes_off() {
        let mut session = adapter("").trading_session(symbols());
        let asked = arm(Duration::from_secs(100));
        let number = set(&mut *session, asked)["req_id"].to_string();
        let recorded = include_str!("testdata/cancel_all_orders_after_ack.json");
        let text = recorded.replace("1234567890", &number);
        let fires_at = Some("2023-09-21T15:51:09Z".parse().unwrap());
        let outcome = SwitchOutcome::Done { fires_at };
        let expected = SessionEvent::Switch(SwitchAnswer { request: asked, outcome });
        assert_eq!(told(&mut *session, &text), [expected]);
        // The same again answers nothing that is still asked.
        assert!(matches!(
            told(&mut *session, &text).as_slice(),
            [SessionEvent::Acknowledged { .. }]
        ));
    }

    #[test]
    fn a_disarmed_timer_has_no_time_and_a_refusal_is_in_the_exchange_s_words() {
        let mut session = adapter("").trading_session(symbols());
        let mut answered = |setting, rest: &str| {
            let asked = SwitchRequest { number: 3, setting };
            let number = &set(&mut *session, asked)["req_id"];
            let text = format!(r#"{{"method":"{METHOD}","req_id":{number},{rest}}}"#);
            match told(&mut *session, &text).as_slice() {
                [SessionEvent::Switch(answer)] if answer.request == asked => answer.outcome.clone(),
                other => panic!("{other:?}"),
            }
        };
        let done = SwitchOutcome::Done { fires_at: None };
        let armed = SwitchSetting::Arm { timeout: Duration::from_secs(5) };
        for (setting, result) in [
            (SwitchSetting::Disarm, r#"{"currentTime":"2023-09-21T15:49:29Z","triggerTime":"0"}"#),
            (armed, r#"{"triggerTime":"soon"}"#),
            (armed, r#"{"triggerTime":7}"#),
            (armed, "{}"),
        ] {
            let rest = format!(r#""success":true,"result":{result}"#);
            assert_eq!(answered(setting, &rest), done, "{result}");
        }
        let reason = "EGeneral:Invalid arguments:timeout".to_owned();
        let rest = format!(r#""success":false,"error":"{reason}""#);
        assert_eq!(answered(armed, &rest), SwitchOutcome::Refused { code: None, reason });
    }
}
