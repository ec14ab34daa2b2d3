//! What one connection subscribed to.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Sides;
use crate::instrument::InstrumentId;

/// When a ticker is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// On every trade; bid and ask go stale in between.
    Trades,
    /// On every change of the best prices.
    BestPrices,
}

impl Trigger {
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("trades") => Some(Self::Trades),
            Some("bbo") => Some(Self::BestPrices),
            Some(_) => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::BestPrices => "bbo",
        }
    }
}

/// A book subscription and the book that its client holds.
#[derive(Debug)]
pub(crate) struct BookSubscription {
    pub(crate) depth: usize,
    pub(crate) shown: Sides,
}

/// An `executions` subscription.
#[derive(Debug, Default)]
pub(crate) struct ExecutionsSubscription {
    /// Number of the last message; the first has 1.
    pub(crate) sequence: u64,
    /// Whether all transitions are reported, or only those that begin and end an order.
    pub(crate) order_status: bool,
    /// Whether reports carry the rate counter.
    pub(crate) rate_counter: bool,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) tickers: BTreeMap<InstrumentId, Trigger>,
    pub(crate) trades: BTreeSet<InstrumentId>,
    pub(crate) books: BTreeMap<InstrumentId, BookSubscription>,
    pub(crate) instruments: bool,
    pub(crate) executions: Option<ExecutionsSubscription>,
    /// Sequence number of the last `balances` message.
    pub(crate) balances: Option<u64>,
}

impl Session {
    /// Whether anything is subscribed, which is when heartbeats are sent.
    pub(crate) fn is_subscribed(&self) -> bool {
        !self.tickers.is_empty()
            || !self.trades.is_empty()
            || !self.books.is_empty()
            || self.instruments
            || self.is_private()
    }

    /// Whether a private channel is subscribed, which keeps the token alive.
    pub(crate) fn is_private(&self) -> bool {
        self.executions.is_some() || self.balances.is_some()
    }
}
