//! The dead-man's switch of one exchange: a pure state machine.
//!
//! It has no socket, clock or task: inputs and the time go in, actions come out. Its rules:
//!
//! * New orders are kept out until the exchange has confirmed the switch on the present connection,
//!   and again when a timer has run out.
//! * A timer counts as armed from when it was asked for, which is earlier than the exchange counts.
//! * It is disarmed only when told that every order is confirmed closed, or confirmed kept; it counts
//!   as disarmed only when the exchange says so. Whatever is unknown leaves it armed.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::book::Moment;
use crate::exchange::{
    DeadMansSwitch, SwitchAnswer, SwitchOutcome, SwitchRequest, SwitchScope, SwitchSetting,
};
use crate::report::{SwitchKind, SwitchReport, SwitchState};
use crate::types::Timestamp;

/// A setting that is not confirmed is repeated after this at the latest.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The same during a shutdown, and for a switch that is no timer.
const RETRY: Duration = Duration::from_secs(1);
/// Unanswered requests that are remembered; the oldest is forgotten.
const MAX_ASKED: usize = 16;

/// The exchange's switch and whether it is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SwitchSettings {
    pub(crate) kind: DeadMansSwitch,
    /// The configured time of a timer; `None` leaves the switch alone. Not read for the end of a
    /// connection.
    pub(crate) timeout: Option<Duration>,
}

/// What happens to the switch.
#[derive(Debug)]
pub(crate) enum SwitchInput {
    /// A new trading session is ready: it can be set.
    SessionReady,
    /// Nothing more is written to the session. Answers may still come.
    SessionLost,
    /// The exchange answered.
    Answered(SwitchAnswer),
    /// It is this time now: the only input that asks for anything.
    Time,
    /// A shutdown begins that ends by `deadline`.
    ShutdownBegins { deadline: Instant },
    /// Every order is confirmed closed, or confirmed to be there where it is to be kept.
    Flat,
    /// It is not so, or not to be relied on: the switch stays as it is.
    Leave { reason: String },
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SwitchAction {
    /// Write this.
    Ask(SwitchRequest),
    /// New orders may be let in. Armed for the first time on this connection, or again.
    LetIn,
    /// Keep new orders out.
    KeepOut { reason: String },
    /// The exchange confirmed that it is off.
    Disarmed,
    /// Say it to the operator.
    Warn { reason: String },
}

/// What the switch is for at the moment.
#[derive(Debug)]
enum Goal {
    /// Orders come and go: it is kept armed.
    Guard,
    /// A shutdown: it goes off by the deadline.
    Until { deadline: Instant },
    /// All is closed: it is taken off.
    Disarm,
    /// It stays as it is.
    Leave { reason: String },
}

/// What the exchange has confirmed.
#[derive(Debug)]
enum Armed {
    No,
    /// A timer, at least until `until`; it goes off at about `fires_at`.
    Timer {
        until: Instant,
        fires_at: Timestamp,
    },
    /// A timer that could not be set again in time.
    RanOut,
    WhileConnected,
    Off,
}

#[derive(Debug)]
struct Asked {
    request: SwitchRequest,
    at: Moment,
    /// Whether it was the setting of the shutdown.
    last: bool,
}

pub(crate) struct Switch {
    settings: SwitchSettings,
    goal: Goal,
    armed: Armed,
    connected: bool,
    /// Whether new orders are let in.
    lets_in: bool,
    asked: VecDeque<Asked>,
    /// A disarm was written that has not been answered.
    maybe_off: bool,
    /// When to ask next.
    due: Option<Instant>,
    number: u64,
    /// What went wrong last.
    trouble: Option<String>,
}

impl Switch {
    pub(crate) fn new(settings: SwitchSettings) -> Self {
        Self {
            settings,
            goal: Goal::Guard,
            armed: Armed::No,
            connected: false,
            lets_in: false,
            asked: VecDeque::new(),
            maybe_off: false,
            due: None,
            number: 0,
            trouble: None,
        }
    }

    /// Whether there is a switch and the configuration uses it.
    pub(crate) fn is_used(&self) -> bool {
        self.settings.timeout.is_some() && self.settings.kind != DeadMansSwitch::None
    }

    /// A drain is over: orders will come again, on a new connection. What is still armed from before
    /// is set anew there.
    pub(crate) fn begins_again(&mut self) {
        *self = Self { number: self.number, ..Self::new(self.settings) };
    }

    /// Why new orders are kept out, if they are.
    pub(crate) fn bars(&self) -> Option<String> {
        let barred = self.is_used() && !self.lets_in;
        barred.then(|| match &self.trouble {
            Some(trouble) => format!("its dead-man's switch is not armed: {trouble}"),
            None => "its dead-man's switch is not armed yet".to_owned(),
        })
    }

    /// When [`SwitchInput::Time`] is wanted.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if !self.is_used() {
            return None;
        }
        let runs_out = match self.armed {
            Armed::Timer { until, .. } if matches!(self.goal, Goal::Guard) => Some(until),
            _ => None,
        };
        let ask = self.due.filter(|_| self.connected);
        ask.into_iter().chain(runs_out).min()
    }

    /// Whether there is nothing to wait for: it is confirmed off, or is to stay as it is.
    pub(crate) fn is_settled(&self) -> bool {
        // One that goes off with its connection is gone with it.
        let gone =
            !self.connected && matches!(self.settings.kind, DeadMansSwitch::ConnectionDrop { .. });
        let stays = matches!(self.goal, Goal::Leave { .. });
        !self.is_used() || gone || stays || matches!(self.armed, Armed::Off)
    }

    /// Whether it has been asked to be taken off.
    pub(crate) fn is_to_be_off(&self) -> bool {
        matches!(self.goal, Goal::Disarm)
    }

    pub(crate) fn step(&mut self, input: SwitchInput, now: Moment) -> Vec<SwitchAction> {
        let mut actions = Vec::new();
        if !self.is_used() {
            return actions;
        }
        match input {
            SwitchInput::SessionReady => self.session_ready(now),
            SwitchInput::SessionLost => {
                self.connected = false;
                self.lets_in = false;
            }
            SwitchInput::Answered(answer) => self.answered(answer, now, &mut actions),
            SwitchInput::Time => self.time(now, &mut actions),
            SwitchInput::ShutdownBegins { deadline } => {
                if matches!(self.goal, Goal::Guard) {
                    self.goal = Goal::Until { deadline };
                    if self.is_timer() {
                        self.due = Some(now.monotonic);
                    }
                }
            }
            SwitchInput::Flat => {
                if !matches!(self.goal, Goal::Leave { .. }) {
                    self.goal = Goal::Disarm;
                    self.due = (!self.is_settled()).then_some(now.monotonic);
                }
            }
            SwitchInput::Leave { reason } => {
                if !matches!(self.goal, Goal::Disarm) {
                    self.goal = Goal::Leave { reason };
                    self.due = None;
                }
            }
        }
        actions
    }

    fn is_timer(&self) -> bool {
        matches!(self.settings.kind, DeadMansSwitch::Timer { .. })
    }

    fn session_ready(&mut self, now: Moment) {
        self.connected = true;
        self.lets_in = false;
        // Their answers will never come, and what they set is found out by asking again.
        self.asked.clear();
        let idle = match self.goal {
            Goal::Guard | Goal::Until { .. } => false,
            // The new connection has placed no order, so there is nothing to disarm on it.
            Goal::Disarm => !self.is_timer() || matches!(self.armed, Armed::Off),
            Goal::Leave { .. } => true,
        };
        if matches!(self.armed, Armed::WhileConnected) && !idle {
            self.armed = Armed::No;
        }
        self.due = (!idle).then_some(now.monotonic);
    }

    fn time(&mut self, now: Moment, actions: &mut Vec<SwitchAction>) {
        if let Armed::Timer { until, .. } = self.armed
            && matches!(self.goal, Goal::Guard)
            && now.monotonic >= until
        {
            self.armed = Armed::RanOut;
            let trouble = self.trouble.get_or_insert_with(|| "it was not set again in time".into());
            let reason = format!("the timer ran out: {trouble}");
            self.lets_in = false;
            actions.push(SwitchAction::KeepOut { reason });
        }
        if !self.connected || self.due.is_none_or(|due| due > now.monotonic) {
            return;
        }
        if let Some(unanswered) = self.asked.back() {
            let waited = now.monotonic.duration_since(unanswered.at.monotonic);
            if waited >= self.pause() {
                let what = describe(unanswered.request.setting);
                let reason = format!("{what} was not answered for {} ms", waited.as_millis());
                self.trouble = Some(reason.clone());
                actions.push(SwitchAction::Warn { reason });
            }
        }
        let setting = match self.goal {
            Goal::Guard => {
                SwitchSetting::Arm { timeout: self.settings.timeout.unwrap_or_default() }
            }
            Goal::Until { deadline } => {
                SwitchSetting::Arm { timeout: self.budget(deadline, now.monotonic) }
            }
            Goal::Disarm => SwitchSetting::Disarm,
            Goal::Leave { .. } => {
                self.due = None;
                return;
            }
        };
        self.number += 1;
        let request = SwitchRequest { number: self.number, setting };
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_front();
        }
        let last = matches!(self.goal, Goal::Until { .. });
        self.maybe_off |= setting == SwitchSetting::Disarm;
        self.asked.push_back(Asked { request, at: now, last });
        self.due = Some(now.monotonic + self.pause());
        actions.push(SwitchAction::Ask(request));
    }

    fn answered(&mut self, answer: SwitchAnswer, now: Moment, actions: &mut Vec<SwitchAction>) {
        let number = answer.request.number;
        let Some(at) = self.asked.iter().position(|asked| asked.request.number == number) else {
            return;
        };
        let Some(asked) = self.asked.remove(at) else { return };
        // Requests are carried out in their order, so older answers will not come.
        self.asked.drain(..at);
        let fires_at = match answer.outcome {
            SwitchOutcome::Done { fires_at } => fires_at,
            SwitchOutcome::Refused { code, reason } => {
                let code = code.map_or_else(String::new, |code| format!(" ({code})"));
                let what = describe(asked.request.setting);
                let reason = format!("{what} was refused: {reason}{code}");
                self.trouble = Some(reason.clone());
                if asked.request.setting == SwitchSetting::Disarm {
                    self.maybe_off = false;
                }
                actions.push(SwitchAction::Warn { reason });
                return;
            }
        };
        self.trouble = None;
        match asked.request.setting {
            SwitchSetting::Disarm => {
                self.armed = Armed::Off;
                self.maybe_off = false;
                self.due = None;
                actions.push(SwitchAction::Disarmed);
            }
            SwitchSetting::Arm { timeout } => {
                self.is_armed(&asked, timeout, fires_at, now, actions);
            }
        }
    }

    fn is_armed(
        &mut self,
        asked: &Asked,
        timeout: Duration,
        fires_at: Option<Timestamp>,
        now: Moment,
        actions: &mut Vec<SwitchAction>,
    ) {
        let again = if self.is_timer() {
            let computed = || {
                let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
                asked.at.wall.checked_add(timeout).unwrap_or(Timestamp::MAX)
            };
            let until = asked.at.monotonic + timeout;
            let fires_at = fires_at.unwrap_or_else(computed);
            self.armed = Armed::Timer { until, fires_at };
            Some(asked.at.monotonic + self.refresh())
        } else {
            self.armed = Armed::WhileConnected;
            None
        };
        match self.goal {
            Goal::Guard => self.due = again,
            Goal::Until { .. } if asked.last || !self.is_timer() => self.due = None,
            // An older setting than the one that is wanted now.
            _ => {}
        }
        let is_on = match self.armed {
            Armed::Timer { until, .. } => until > now.monotonic,
            _ => true,
        };
        if self.connected && is_on && !self.lets_in {
            self.lets_in = true;
            actions.push(SwitchAction::LetIn);
        }
    }

    /// The time until the deadline, as far as the exchange's range allows.
    fn budget(&self, deadline: Instant, now: Instant) -> Duration {
        let remaining = deadline.saturating_duration_since(now);
        match self.settings.kind {
            DeadMansSwitch::Timer { timeout_min, timeout_max, .. } => {
                remaining.clamp(timeout_min, timeout_max)
            }
            _ => remaining,
        }
    }

    /// The time between two settings of a timer: a third of it, so that two may get lost.
    fn refresh(&self) -> Duration {
        let third = self.settings.timeout.unwrap_or_default() / 3;
        match self.settings.kind {
            DeadMansSwitch::Timer { refresh_max, .. } => third.min(refresh_max),
            _ => RETRY,
        }
    }

    /// The time until a setting that was not confirmed is repeated.
    fn pause(&self) -> Duration {
        let limit = if matches!(self.goal, Goal::Guard) { ANSWER_LIMIT } else { RETRY };
        self.refresh().min(limit)
    }

    /// How it stands, for the report.
    pub(crate) fn report(&self) -> SwitchReport {
        let (kind, scope) = match self.settings.kind {
            DeadMansSwitch::None => (SwitchKind::None, None),
            DeadMansSwitch::Timer { scope, .. } => (SwitchKind::Timer, Some(scope)),
            DeadMansSwitch::ConnectionDrop { scope, .. } => {
                (SwitchKind::ConnectionDrop, Some(scope))
            }
        };
        let scope = scope.map(|scope: SwitchScope| scope.as_str().to_owned());
        SwitchReport { kind, scope, state: self.state() }
    }

    fn state(&self) -> SwitchState {
        if self.settings.kind == DeadMansSwitch::None {
            return SwitchState::None;
        }
        if self.settings.timeout.is_none() {
            return SwitchState::NotConfigured;
        }
        let why = || match (&self.goal, &self.trouble) {
            (Goal::Leave { reason }, _) => reason.clone(),
            (_, Some(trouble)) => trouble.clone(),
            (Goal::Disarm, None) => "there was no connection to take it off".to_owned(),
            _ => "the orders were not confirmed closed".to_owned(),
        };
        let unsure = |otherwise: &str| {
            let reason = self.trouble.clone().unwrap_or_else(|| otherwise.to_owned());
            SwitchState::Unconfirmed { reason }
        };
        match self.armed {
            Armed::Off => SwitchState::Disarmed,
            _ if self.maybe_off => unsure("the exchange did not confirm that it is off"),
            Armed::Timer { fires_at, .. } => {
                SwitchState::LeftArmed { fires_at: Some(fires_at), reason: why() }
            }
            Armed::WhileConnected => SwitchState::LeftArmed { fires_at: None, reason: why() },
            Armed::RanOut => unsure("the timer ran out"),
            Armed::No => unsure("it was never confirmed to be armed"),
        }
    }
}

fn describe(setting: SwitchSetting) -> &'static str {
    match setting {
        SwitchSetting::Arm { .. } => "arming it",
        SwitchSetting::Disarm => "disarming it",
    }
}

#[cfg(test)]
mod tests;
