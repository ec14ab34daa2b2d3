//! The shutdown report: one structure, shown as a table, as JSON, and by `inspect`.

use serde::{Deserialize, Serialize};

use super::{AlertReport, HookReport, LeastTime, Phase, PositionReport, SwitchReport};
use crate::types::{ClientOrderId, ExchangeName, ExchangeOrderId, Instrument, OrderStatus};
use crate::types::{Quantity, Timestamp};

/// What a shutdown did, and what it could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownReport {
    /// The verdict; its [`exit_code`](Outcome::exit_code) is the program's.
    pub outcome: Outcome,
    /// Why it began: `SIGTERM`, `shutdown()`, `drain(kraken)`, ….
    pub trigger: String,
    /// When it began.
    pub started: Timestamp,
    /// From beginning to end, in milliseconds.
    pub elapsed_ms: u64,
    /// What it was allowed in all, in milliseconds; absent in reports of versions that did not tell.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Every phase that was entered, in order.
    pub phases: Vec<PhaseReport>,
    /// Every exchange, in the order of the configuration.
    pub exchanges: Vec<ExchangeReport>,
    /// Every position that was ever traded, as it is now.
    #[serde(default)]
    pub positions: Vec<PositionReport>,
    /// Every hook that was to run, in the order in which they began.
    #[serde(default)]
    pub hooks: Vec<HookReport>,
    /// Every alert that was raised since the gateway started.
    #[serde(default)]
    pub alerts: Vec<AlertReport>,
    /// The least time that the measured round trips allow, where they were measured.
    #[serde(default)]
    pub least: Option<LeastTime>,
    /// Orders of earlier runs that are not known to be closed and cannot be asked about, because
    /// this configuration does not trade their exchange or instrument. They must be seen to.
    #[serde(default)]
    pub stranded_orders: Vec<LeftoverOrder>,
    /// What was saved.
    pub state: StateReport,
    /// Everything that failed, with the name of the scope it failed in.
    pub failures: Vec<Failure>,
}

/// The verdict on a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every order confirmed closed, state saved, every connection closed in order.
    Clean,
    /// Orders and state are safe, but something else failed, for example a close was not answered.
    Degraded,
    /// The deadline ended it.
    DeadlineForced,
    /// The operator ended it with a second signal.
    OperatorForced,
    /// An order is open or unknown, or a position that was to be closed is not; each is named in
    /// the report.
    OrdersLeft,
    /// State could not be saved.
    StateNotSaved,
}

impl Outcome {
    /// The process exit code that says this.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Degraded => 10,
            Self::DeadlineForced => 11,
            Self::OperatorForced => 12,
            Self::OrdersLeft => 13,
            Self::StateNotSaved => 14,
        }
    }

    /// The name used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Degraded => "degraded",
            Self::DeadlineForced => "deadline_forced",
            Self::OperatorForced => "operator_forced",
            Self::OrdersLeft => "orders_left",
            Self::StateNotSaved => "state_not_saved",
        }
    }

    /// A sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Clean => {
                "every order is confirmed closed, state is saved, all connections closed in order"
            }
            Self::Degraded => "orders and state are safe, but something failed on the way",
            Self::DeadlineForced => "the deadline ended the shutdown before its work was done",
            Self::OperatorForced => "the operator forced the exit",
            Self::OrdersLeft => "orders or positions are still open or unknown, see the lists",
            Self::StateNotSaved => "state could not be saved",
        }
    }
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Which.
    pub phase: Phase,
    /// When it began, in milliseconds since the shutdown did; absent in reports of versions that did
    /// not tell, see [`ShutdownReport::phase_starts`].
    #[serde(default)]
    pub began_ms: Option<u64>,
    /// Time it was allowed, in milliseconds.
    pub budget_ms: u64,
    /// Time it took, in milliseconds.
    pub used_ms: u64,
    /// How it ended.
    pub ended: PhaseEnd,
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseEnd {
    /// Its work was done.
    Done,
    /// Its limit came first.
    TimedOut,
    /// The operator forced the exit.
    Forced,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeReport {
    /// Its name in the configuration.
    pub exchange: ExchangeName,
    /// Every order that was open, unknown or in flight when shutdown began, every one that closed a
    /// position, every one that is not confirmed closed now, and every one whose single fills are
    /// not all known.
    pub orders: Vec<OrderReport>,
    /// Orders of the exchange's own list that are not the gateway's; they were left alone.
    pub foreign_orders: u64,
    /// Open orders that an earlier run of this gateway placed; they are left and must be seen to.
    #[serde(default)]
    pub leftover_orders: Vec<LeftoverOrder>,
    /// How its dead-man's switch was left.
    #[serde(default)]
    pub dead_mans_switch: SwitchReport,
    /// The stages of its orders, where it trades: intake stopped, cancels sent, cancels confirmed.
    #[serde(default)]
    pub stages: Vec<StageReport>,
    /// Each of its connections.
    pub connections: Vec<ConnectionReport>,
}

/// An open order with this gateway's tag that this run did not place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverOrder {
    /// The id that the earlier run gave it.
    pub client_id: ClientOrderId,
    /// The exchange's id, where it is known.
    pub exchange_id: Option<ExchangeOrderId>,
    /// What it trades, where that is a configured instrument.
    pub instrument: Option<Instrument>,
}

/// One order's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReport {
    /// The gateway's id.
    pub client_id: ClientOrderId,
    /// The exchange's id, where it is known.
    pub exchange_id: Option<ExchangeOrderId>,
    /// What it trades.
    pub instrument: Instrument,
    /// What became of it.
    pub fate: OrderFate,
    /// The last status known.
    pub status: OrderStatus,
    /// Quantity asked for.
    pub quantity: Quantity,
    /// Quantity filled.
    pub filled: Quantity,
    /// Quantity whose single fills are known; the rest of `filled` the exchange has not told.
    #[serde(default)]
    pub booked: Quantity,
    /// How often a cancel was written for it.
    pub cancel_attempts: u32,
    /// When the first cancel was written, in milliseconds since the shutdown began; 0 if before.
    #[serde(default)]
    pub cancel_sent_ms: Option<u64>,
    /// When the exchange's word on its end came, in milliseconds since the shutdown began; 0 if
    /// before.
    #[serde(default)]
    pub ended_ms: Option<u64>,
    /// From the first cancel to the terminal update, in milliseconds.
    pub confirmed_after_ms: Option<u64>,
    /// Which way the exchange's word on the end of a cancelled order came.
    #[serde(default)]
    pub cancel_path: Option<CancelPath>,
    /// Why it is not closed, or the exchange's words on how it closed.
    pub reason: Option<String>,
}

/// The ways to cancel an order and to hear of its end, each the fallback of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelPath {
    /// The trading connection that the cancel was first written to.
    Live,
    /// A trading connection that was opened after that.
    Fresh,
    /// The exchange's HTTP API.
    Http,
}

/// What became of an order at shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderFate {
    /// Cancelled, confirmed by the exchange's terminal update or answer.
    Canceled,
    /// It filled before the cancel reached it.
    FilledDuringCancel,
    /// It filled whole, as it should: an order that closes a position.
    Filled,
    /// The exchange refused it.
    Rejected,
    /// It expired.
    Expired,
    /// No byte of it was written.
    NotSent,
    /// Left open on purpose.
    Kept,
    /// Open as far as is known: the cancel was not confirmed.
    StillOpen,
    /// The exchange never said what became of it.
    Unknown,
}

impl OrderFate {
    /// Whether the exchange may still hold the order against the operator's wish.
    pub fn is_left(self) -> bool {
        matches!(self, Self::StillOpen | Self::Unknown)
    }

    /// The name used in logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::FilledDuringCancel => "filled_during_cancel",
            Self::Filled => "filled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::NotSent => "not_sent",
            Self::Kept => "kept",
            Self::StillOpen => "still_open",
            Self::Unknown => "unknown",
        }
    }
}

/// One connection's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// `market` or `trading`.
    pub connection: String,
    /// Whether it was closed before the shutdown began, by a drain; its stages are then at 0.
    #[serde(default)]
    pub closed_earlier: bool,
    /// Its disconnect stages with the time since shutdown began.
    pub stages: Vec<StageReport>,
    /// The code of the close frame that the gateway sent.
    pub close_sent: Option<u16>,
    /// The code of the close frame that the exchange sent.
    pub close_received: Option<u16>,
    /// Whether both close frames were exchanged and TCP ended after them.
    pub closed_in_order: bool,
    /// What was missing, in words.
    pub problem: Option<String>,
}

/// One disconnect stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// Which.
    pub stage: super::Stage,
    /// Milliseconds since the shutdown (or the drain of this exchange) began.
    pub elapsed_ms: u64,
    /// Orders that it is about: to be cancelled, or confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Orders that were not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<u64>,
}

impl StageReport {
    /// A stage and when it was reached.
    pub fn new(stage: super::Stage, elapsed_ms: u64) -> Self {
        Self { stage, elapsed_ms, count: None, unconfirmed: None }
    }
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StateReport {
    /// Whether everything that had to be saved was.
    pub saved: bool,
    /// The state directory.
    pub directory: String,
    /// How many last ticks were saved.
    pub last_ticks: usize,
    /// How many ticks still arrived after market data was frozen; they were not delivered.
    #[serde(default)]
    pub late_ticks: u64,
    /// Why something was not saved.
    pub error: Option<String>,
    /// Where that was written instead, one JSON object a line.
    #[serde(default)]
    pub emergency_file: Option<String>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The scope, for example `gateway/kraken/trading`.
    pub scope: String,
    /// What happened.
    pub reason: String,
}

impl ShutdownReport {
    /// A report that tells nothing yet but its verdict.
    pub fn new(outcome: Outcome, trigger: impl Into<String>, started: Timestamp) -> Self {
        Self {
            outcome,
            trigger: trigger.into(),
            started,
            elapsed_ms: 0,
            deadline_ms: None,
            phases: Vec::new(),
            exchanges: Vec::new(),
            positions: Vec::new(),
            hooks: Vec::new(),
            alerts: Vec::new(),
            least: None,
            stranded_orders: Vec::new(),
            state: StateReport::default(),
            failures: Vec::new(),
        }
    }

    /// When each phase began, in milliseconds since the shutdown did. Where a report does not tell, a
    /// phase is taken to follow the one before at once.
    pub fn phase_starts(&self) -> Vec<u64> {
        let mut next = 0;
        let start = |phase: &PhaseReport| {
            let began = phase.began_ms.unwrap_or(next);
            next = began.saturating_add(phase.used_ms);
            began
        };
        self.phases.iter().map(start).collect()
    }

    /// Whether state was to be saved: a drain of one exchange saves none.
    pub fn state_was_due(&self) -> bool {
        let state = &self.state;
        state.saved
            || !state.directory.is_empty()
            || state.error.is_some()
            || self.outcome == Outcome::StateNotSaved
    }

    /// Positions that were to be closed and are not.
    pub fn positions_left(&self) -> impl Iterator<Item = &PositionReport> {
        self.positions.iter().filter(|position| position.is_left())
    }

    /// Orders that the exchange may still hold against the operator's wish.
    pub fn orders_left(&self) -> impl Iterator<Item = &OrderReport> {
        self.exchanges.iter().flat_map(|e| &e.orders).filter(|order| order.fate.is_left())
    }
}
