//! Faults that can be scripted: what goes wrong, where, when and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::protocol::{ConnectionId, ConnectionKind, SystemStatus};

/// One scripted fault.
///
/// In a file each is a `[[fault]]` table, over HTTP the same as JSON:
///
/// ```toml
/// [[fault]]
/// exchange = "binance"
/// target = { client_id = "gw-1" }
/// action = { delay_ack = { ms = 500 } }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `binance`, `kraken` or `deribit`; every venue when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// What it aims at. Default: anything.
    #[serde(default)]
    pub target: Target,
    /// What goes wrong.
    pub action: FaultAction,
    /// How often it happens; 0 means without end. Default 1.
    #[serde(default = "one")]
    pub count: u32,
    /// How many matching occasions pass unharmed first. Default 0.
    #[serde(default)]
    pub after: u32,
    /// Milliseconds after it was added before it can happen. Default 0.
    #[serde(default)]
    pub at_ms: u64,
    /// The occasion of a fault of a connection. Default: now (or as soon as a matching
    /// connection opens); for a target that is an order, when that order is placed. Faults of
    /// acknowledgements and updates have their own occasion and ignore this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

fn one() -> u32 {
    1
}

impl Fault {
    /// A fault that happens once, at the first occasion, anywhere.
    pub fn new(action: FaultAction) -> Self {
        Self {
            exchange: None,
            target: Target::Any,
            action,
            count: 1,
            after: 0,
            at_ms: 0,
            when: None,
        }
    }

    /// The same fault at one exchange.
    pub fn at(mut self, exchange: &str) -> Self {
        self.exchange = Some(exchange.to_owned());
        self
    }

    /// The same fault with another target.
    pub fn on(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// The same fault happening `count` times; 0 means without end.
    pub fn times(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// The same fault on another occasion.
    pub fn when(mut self, when: When) -> Self {
        self.when = Some(when);
        self
    }

    pub(crate) fn occasion(&self) -> When {
        match self.action.own_occasion() {
            Some(own) => own,
            None => self.when.unwrap_or(match self.target {
                Target::ClientId(_) | Target::NthOrder(_) | Target::Symbol(_) => When::Place,
                Target::Any | Target::Connection(_) | Target::ConnectionId(_) => When::Now,
            }),
        }
    }
}

/// What a fault aims at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Anything.
    #[default]
    Any,
    /// Connections of a kind, and what comes over them.
    Connection(ConnectionKind),
    /// One connection, by its number in the ledger.
    ConnectionId(ConnectionId),
    /// The order with this client id.
    ClientId(String),
    /// The n-th order placed since the venue started, from 1.
    NthOrder(u64),
    /// Orders of this symbol, as the venue writes it.
    Symbol(String),
}

/// The occasion of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once, on every matching connection (each uses one of `count`); with none open, on the
    /// next that opens.
    Now,
    /// When a connection opens.
    Open,
    /// When a text message comes in, before it is processed.
    Message,
    /// When an order is placed; the order is processed.
    Place,
    /// When a cancel comes; the cancel is processed.
    Cancel,
    /// When an update of an order goes out.
    Update,
    /// When a dead man's switch is set (Kraken, Deribit).
    Switch,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// The order is placed, its answer comes `ms` later; updates are on time.
    DelayAck {
        /// Milliseconds.
        ms: u64,
    },
    /// The order is placed, the answer never comes.
    LoseAck,
    /// The order is refused.
    Reject {
        /// The exchange's error code, where it has numbers (default -2010, 11030 on
        /// Deribit).
        #[serde(default)]
        code: Option<i64>,
        /// The error text.
        text: String,
    },
    /// A dead man's switch is not set (code 10049 on Deribit).
    RefuseSwitch {
        /// The error text.
        text: String,
    },
    /// A dead man's switch is set, the answer never comes.
    LoseSwitchAck,
    /// The order fills just before its cancel is processed.
    FillDuringCancel {
        /// Quantity that fills; all of the rest when absent.
        #[serde(default)]
        quantity: Option<rust_decimal::Decimal>,
    },
    /// The order is cancelled, the answer never comes.
    LoseCancelAck,
    /// The order is cancelled, the answer comes `ms` later.
    DelayCancelAck {
        /// Milliseconds.
        ms: u64,
    },
    /// The order stays open although a cancel came.
    IgnoreCancel {
        /// Whether the cancel is answered as if it had worked.
        ack: bool,
        /// The order is really cancelled after this long; never when absent.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// The cancel is refused and the order stays open.
    RejectCancel {
        /// The exchange's error code, where it has numbers (default -2011, 11030 on
        /// Deribit).
        #[serde(default)]
        code: Option<i64>,
        /// The error text.
        text: String,
    },
    /// An update of an order comes twice.
    DuplicateUpdates,
    /// An update of an order comes after the one that follows it, or after 50 ms.
    ReorderUpdates,
    /// An update of an order never comes.
    LoseUpdates,
    /// An update of an order comes `ms` late.
    DelayUpdates {
        /// Milliseconds.
        ms: u64,
    },
    /// The TCP connection ends without a close frame.
    Drop {
        /// By FIN or by RST.
        how: Disconnect,
    },
    /// The server stops reading.
    StopReading {
        /// For this long; for ever when absent.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// The server sends nothing more, not even pongs; the TCP connection stays open.
    GoSilent {
        /// For this long; for ever when absent.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// A text frame that is no JSON.
    SendGarbage {
        /// The text; some default when absent.
        #[serde(default)]
        text: Option<String>,
    },
    /// A binary frame.
    SendBinary,
    /// A text frame that is no UTF-8.
    SendInvalidUtf8,
    /// A text frame of this size.
    SendOversized {
        /// Bytes, at most 256 MiB.
        bytes: usize,
    },
    /// A frame that announces more than follows, then FIN.
    SendTruncated,
    /// Valid JSON of a kind that does not exist.
    SendUnknownEvent,
    /// The client's close frame is not answered and the TCP connection stays open.
    RefuseClose,
    /// The server closes with a code and a reason.
    Close {
        /// Close code.
        code: u16,
        /// Reason, at most 123 bytes.
        #[serde(default)]
        reason: String,
    },
    /// New connections are refused.
    RefuseConnections {
        /// By RST or by HTTP 503, all or only those that would become `WebSocket`s.
        how: Refusal,
        /// For this long; for ever when absent.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// The venue's status changes.
    Status {
        /// The status.
        status: SystemStatus,
        /// Back online after this long; for ever when absent.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// The notice that the server goes down soon.
    ServerShutdown,
}

/// How a TCP connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disconnect {
    /// In order.
    Fin,
    /// By reset.
    Rst,
}

/// How a new connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Accepted, then reset.
    Rst,
    /// HTTP status 503.
    Http503,
    /// WebSocket handshakes by HTTP status 503; other HTTP requests are served.
    Upgrades,
}

impl FaultAction {
    /// The only occasion that makes sense, for actions that have one.
    fn own_occasion(&self) -> Option<When> {
        match self {
            Self::DelayAck { .. } | Self::LoseAck | Self::Reject { .. } => Some(When::Place),
            Self::FillDuringCancel { .. }
            | Self::LoseCancelAck
            | Self::DelayCancelAck { .. }
            | Self::IgnoreCancel { .. }
            | Self::RejectCancel { .. } => Some(When::Cancel),
            Self::RefuseSwitch { .. } | Self::LoseSwitchAck => Some(When::Switch),
            Self::DuplicateUpdates
            | Self::ReorderUpdates
            | Self::LoseUpdates
            | Self::DelayUpdates { .. } => Some(When::Update),
            _ => None,
        }
    }

    /// Whether it concerns the venue as a whole, so that no connection is needed.
    pub(crate) fn is_venue_wide(&self) -> bool {
        matches!(self, Self::RefuseConnections { .. } | Self::Status { .. })
    }

    /// What is wrong with its values, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::SendOversized { bytes } if *bytes > 256 << 20 => {
                Some(format!("send_oversized: {bytes} bytes, at most 268435456 are possible"))
            }
            Self::Close { reason, .. } if reason.len() > 123 => Some(format!(
                "close: the reason has {} bytes, a close frame holds at most 123",
                reason.len()
            )),
            _ => None,
        }
    }
}

/// A fault as `GET /faults` lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultState {
    /// Its number, counted from 1 over all venues.
    pub id: u64,
    /// The fault.
    pub fault: Fault,
    /// How often it happened.
    pub happened: u32,
}

/// The circumstances of an occasion.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Occasion<'a> {
    pub(crate) connection: Option<(ConnectionId, ConnectionKind)>,
    /// Client id, symbol and number (from 1) of the order.
    pub(crate) order: Option<(&'a str, &'a str, u64)>,
}

impl Occasion<'_> {
    fn matches(&self, target: &Target) -> bool {
        match target {
            Target::Any => true,
            Target::Connection(kind) => self.connection.is_some_and(|(_, own)| own == *kind),
            Target::ConnectionId(id) => self.connection.is_some_and(|(own, _)| own == *id),
            Target::ClientId(id) => self.order.is_some_and(|(own, _, _)| own == id),
            Target::Symbol(symbol) => self.order.is_some_and(|(_, own, _)| own == symbol),
            Target::NthOrder(n) => self.order.is_some_and(|(_, _, own)| own == *n),
        }
    }
}

struct Armed {
    id: u64,
    fault: Fault,
    from: Instant,
    passed: u32,
    happened: u32,
    /// A fault for now has had its moment; what is left of its count waits for connections.
    fired: bool,
}

impl Armed {
    fn spent(&self) -> bool {
        self.fault.count != 0 && self.happened >= self.fault.count
    }
}

/// The faults of one venue.
#[derive(Default)]
pub(crate) struct FaultSet {
    armed: Vec<Armed>,
}

impl FaultSet {
    pub(crate) fn add(&mut self, id: u64, fault: Fault, now: Instant) {
        let from = now + Duration::from_millis(fault.at_ms);
        self.armed.push(Armed { id, fault, from, passed: 0, happened: 0, fired: false });
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    pub(crate) fn list(&self) -> Vec<FaultState> {
        let state =
            |a: &Armed| FaultState { id: a.id, fault: a.fault.clone(), happened: a.happened };
        self.armed.iter().map(state).collect()
    }

    /// When the next fault that waits for its time is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = |a: &&Armed| a.fault.occasion() == When::Now && !a.fired;
        self.armed.iter().filter(waiting).map(|a| a.from).min()
    }

    /// The actions of this occasion; each counts as happened.
    pub(crate) fn strike(
        &mut self,
        when: When,
        occasion: Occasion<'_>,
        now: Instant,
    ) -> Vec<FaultAction> {
        self.strike_if(occasion, now, |armed| {
            let own = armed.fault.occasion();
            match when {
                When::Now => own == When::Now && !armed.fired,
                // A fault for now that found too few connections waits for more to open.
                When::Open => {
                    own == When::Open || own == When::Now && !armed.fault.action.is_venue_wide()
                }
                _ => own == when,
            }
        })
    }

    /// Faults that waited for a connection of a kind, when one turns out to be of it.
    pub(crate) fn strike_kind(
        &mut self,
        connection: ConnectionId,
        kind: ConnectionKind,
        now: Instant,
    ) -> Vec<FaultAction> {
        let occasion = Occasion { connection: Some((connection, kind)), order: None };
        self.strike_if(occasion, now, |armed| {
            matches!(armed.fault.occasion(), When::Open | When::Now)
                && matches!(armed.fault.target, Target::Connection(_))
                && !armed.fault.action.is_venue_wide()
        })
    }

    fn strike_if(
        &mut self,
        occasion: Occasion<'_>,
        now: Instant,
        fits: impl Fn(&Armed) -> bool,
    ) -> Vec<FaultAction> {
        let mut actions = Vec::new();
        for armed in &mut self.armed {
            if armed.spent()
                || now < armed.from
                || !fits(armed)
                || !occasion.matches(&armed.fault.target)
            {
                continue;
            }
            if armed.passed < armed.fault.after {
                armed.passed += 1;
                continue;
            }
            armed.happened += 1;
            actions.push(armed.fault.action.clone());
        }
        actions
    }

    /// Marks the faults for now that have just happened.
    pub(crate) fn finish_now(&mut self) {
        for armed in &mut self.armed {
            armed.fired |= armed.happened > 0;
        }
    }

    /// Venue-wide actions that are due now; each happens once.
    pub(crate) fn strike_venue(&mut self, now: Instant) -> Vec<FaultAction> {
        let mut actions = Vec::new();
        for armed in &mut self.armed {
            let is_now = armed.fault.action.is_venue_wide() && armed.fault.occasion() == When::Now;
            if is_now && armed.happened == 0 && now >= armed.from {
                armed.happened += 1;
                actions.push(armed.fault.action.clone());
            }
        }
        actions
    }
}
