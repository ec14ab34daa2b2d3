//! When things happen: the phases of a shutdown, and the stages of a disconnect.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The phases of a gateway's life. They only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Ticks and orders flow.
    Running,
    /// The gate closes: no new order can be written after this phase.
    StopNewOrders,
    /// Own open orders are cancelled and each cancel is confirmed.
    CancelPending,
    /// Positions are closed if asked.
    ClosePositions,
    /// Market data is frozen and state is saved.
    SaveState,
    /// Close frames are exchanged and sockets closed.
    Disconnect,
    /// Everything has ended.
    Complete,
}

impl Phase {
    /// The phases that do work at shutdown, in order.
    pub const WORKING: [Self; 5] = [
        Self::StopNewOrders,
        Self::CancelPending,
        Self::ClosePositions,
        Self::SaveState,
        Self::Disconnect,
    ];

    /// The name used in logs, configurations and JSON, `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::StopNewOrders => "stop_new_orders",
            Self::CancelPending => "cancel_pending",
            Self::ClosePositions => "close_positions",
            Self::SaveState => "save_state",
            Self::Disconnect => "disconnect",
            Self::Complete => "complete",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The stages of a disconnect, each logged once with `target: "exchange_gateway::stage"` and the
/// fields `exchange`, `connection` (`orders` for the first three), `stage`, `elapsed_ms` and where
/// they apply `count`, `unconfirmed`, `code`, `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// No new order can be written any more.
    IntakeStopped,
    /// A cancel has been written for every open order (`count`).
    CancelsSent,
    /// Waiting for cancels has ended: `count` confirmed, `unconfirmed` not.
    CancelsConfirmed,
    /// The exchange acknowledged the end of all market subscriptions.
    Unsubscribed,
    /// Our close frame is written (`code`).
    CloseFrameSent,
    /// The exchange's close frame arrived (`code`, `reason`).
    CloseFrameReceived,
    /// The exchange ended TCP after both close frames.
    TcpClosed,
    /// The connection was dropped without the whole exchange of close frames (`reason`).
    Dropped,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 8] = [
        Self::IntakeStopped,
        Self::CancelsSent,
        Self::CancelsConfirmed,
        Self::Unsubscribed,
        Self::CloseFrameSent,
        Self::CloseFrameReceived,
        Self::TcpClosed,
        Self::Dropped,
    ];

    /// The name used in logs and JSON, `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IntakeStopped => "intake_stopped",
            Self::CancelsSent => "cancels_sent",
            Self::CancelsConfirmed => "cancels_confirmed",
            Self::Unsubscribed => "unsubscribed",
            Self::CloseFrameSent => "close_frame_sent",
            Self::CloseFrameReceived => "close_frame_received",
            Self::TcpClosed => "tcp_closed",
            Self::Dropped => "dropped",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
