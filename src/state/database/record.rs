//! What is recorded, and why recording may fail.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::market::LastTick;
use crate::types::{ClientOrderId, Fill, Instrument, Order, Position, Timestamp};

/// One thing to be kept. Records are written in the order in which they were handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The order as it now is, with one more row in its history.
    Order(Box<Order>),
    /// A part of an order that traded. One that is stored already changes nothing.
    Fill(Box<BookedFill>),
    /// The position in an instrument as it now is.
    Position(Box<Position>),
    /// The last ticks; each replaces the one before it of its instrument and kind.
    Ticks {
        /// One an instrument.
        ticks: Vec<LastTick>,
    },
    /// The run ended in order. A run without this was killed.
    RunEnded(Box<RunEnd>),
}

/// A fill with the order and the instrument that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedFill {
    /// The gateway's id of the order.
    pub client_id: ClientOrderId,
    /// What was traded, and where.
    pub instrument: Instrument,
    /// The fill. Its id is unique within the instrument.
    #[serde(flatten)]
    pub fill: Fill,
    /// The position that it made, which is stored with it. The database tells positions by
    /// themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// When.
    pub ended: Timestamp,
    /// Why it was shut down, for example `SIGTERM`.
    pub trigger: String,
    /// The verdict, for example `clean`.
    pub outcome: String,
    /// The whole report as JSON.
    pub report: String,
}

impl Record {
    /// An order as it now is.
    pub fn order(order: Order) -> Self {
        Self::Order(Box::new(order))
    }

    /// A part of an order that traded.
    pub fn fill(client_id: ClientOrderId, instrument: Instrument, fill: Fill) -> Self {
        Self::Fill(Box::new(BookedFill { client_id, instrument, fill, position: None }))
    }

    /// A part of an order that traded, with the position after it.
    pub(crate) fn booked(order: &Order, fill: Fill, position: Option<Position>) -> Self {
        let (client_id, instrument) = (order.client_id, order.request.instrument);
        Self::Fill(Box::new(BookedFill { client_id, instrument, fill, position }))
    }
}

/// Why records are no longer written. It is final: nothing is written until the database is opened
/// again, and what comes later is kept in memory for an emergency dump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFailed {
    /// The disk or the quota is full.
    #[error("the state database cannot be written, the disk is full: {0}")]
    DiskFull(Arc<str>),
    /// The system refused to write or to read.
    #[error("the state database cannot be written: {0}")]
    Io(Arc<str>),
    /// Another program keeps the database locked.
    #[error("another program keeps the state database locked: {0}")]
    Locked(Arc<str>),
    /// The file is broken.
    #[error("the state database is damaged, see `exchange-gateway state verify`: {0}")]
    Damaged(Arc<str>),
    /// Records came faster than the disk takes them for so long that one had to be given up.
    #[error("{0} records wait for the disk and no more fit in the memory set aside for them")]
    Overflow(usize),
    /// The database has been closed.
    #[error("the state database is closed")]
    Closed,
    /// Another reason, in SQLite's words.
    #[error("the state database refused a record: {0}")]
    Refused(Arc<str>),
}

impl WriteFailed {
    pub(super) fn from_sqlite(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let words: Arc<str> = error.to_string().into();
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::DiskFull(words),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked(words),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Damaged(words),
            Some(
                Code::SystemIoFailure
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::PermissionDenied
                | Code::FileLockingProtocolFailed,
            ) => Self::Io(words),
            _ => Self::Refused(words),
        }
    }
}

/// Why an intent was not taken. Its order must not be sent; its callback is never run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntentRefused {
    /// Too many records wait for the disk. Others still have room.
    #[error("the state database is behind: {depth} records wait; try again")]
    Busy {
        /// How many wait.
        depth: usize,
    },
    /// Nothing is written any more.
    #[error(transparent)]
    Failed(#[from] WriteFailed),
}
