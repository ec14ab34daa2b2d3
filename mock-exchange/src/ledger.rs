//! The ledger: all that the exchange saw, as tests and the control port read it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::engine::{Balance, OrderKind, OrderStatus, Side, TimeInForce};
use crate::protocol::{ConnectionId, ConnectionKind};

/// A snapshot of every venue's ledger, by exchange name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    /// `binance`, `kraken`, `deribit`.
    pub exchanges: BTreeMap<String, ExchangeLedger>,
}

impl Ledger {
    /// The ledger of one exchange; an empty one for a venue that was not started.
    pub fn exchange(&self, name: &str) -> &ExchangeLedger {
        static EMPTY: std::sync::OnceLock<ExchangeLedger> = std::sync::OnceLock::new();
        self.exchanges.get(name).unwrap_or_else(|| EMPTY.get_or_init(ExchangeLedger::default))
    }
}

/// What one exchange saw. Lists are oldest first and bounded: the oldest entries are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeLedger {
    /// Orders in the book.
    pub open_orders: Vec<OrderRecord>,
    /// All orders.
    pub orders: Vec<OrderRecord>,
    /// All fills.
    pub fills: Vec<FillRecord>,
    /// Cancels that came in.
    pub cancels: Vec<CancelRecord>,
    /// WebSocket connections.
    pub connections: Vec<ConnectionRecord>,
    /// Order-entry requests as they came in.
    pub requests: Vec<RequestRecord>,
    /// The account.
    pub balances: BTreeMap<String, Balance>,
    /// Positions in derivatives by symbol, negative for short ones; closed ones are left out.
    #[serde(default)]
    pub positions: BTreeMap<String, Decimal>,
    /// When the dead man's switch cancels everything, unless it is set again; `None` while it is
    /// off, or where there is no timer.
    #[serde(default)]
    pub cancels_at: Option<Timestamp>,
}

impl ExchangeLedger {
    /// The latest order with this client id.
    pub fn order(&self, client_id: &str) -> Option<&OrderRecord> {
        self.orders.iter().rev().find(|order| order.client_id == client_id)
    }

    /// What the fills add up to by symbol, below zero where more was sold than bought; what adds up
    /// to nothing is left out. Fees in the base asset of a spot market are taken off.
    pub fn held(&self) -> BTreeMap<String, Decimal> {
        let mut held: BTreeMap<String, Decimal> = BTreeMap::new();
        for fill in &self.fills {
            let fee = if fill.fee_is_base() { fill.fee } else { Decimal::ZERO };
            *held.entry(fill.symbol.clone()).or_default() += fill.side.signed(fill.quantity) - fee;
        }
        held.retain(|_, quantity| !quantity.is_zero());
        held
    }
}

/// One order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// The order's own client id, never that of a cancel.
    pub client_id: String,
    /// The exchange's id, as it writes it.
    pub exchange_id: String,
    /// The venue's symbol.
    pub symbol: String,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    #[serde(rename = "type")]
    pub kind: OrderKind,
    /// Time in force.
    #[serde(rename = "tif")]
    pub time_in_force: TimeInForce,
    /// Whether it must not take.
    pub post_only: bool,
    /// Whether it may only reduce a position.
    #[serde(default)]
    pub reduce_only: bool,
    /// Limit price.
    pub price: Option<Decimal>,
    /// Quantity in base.
    pub quantity: Decimal,
    /// Status now.
    pub status: OrderStatus,
    /// Filled quantity in base.
    pub filled: Decimal,
    /// Average price of what is filled.
    pub average_price: Option<Decimal>,
    /// When the engine took it.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// One fill of an own order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillRecord {
    /// Trade number; both fills of a self-trade share it.
    pub trade_id: u64,
    /// The order's client id.
    pub client_id: String,
    /// The order's exchange id.
    pub exchange_id: String,
    /// The venue's symbol.
    pub symbol: String,
    /// The order's side.
    pub side: Side,
    /// Price.
    pub price: Decimal,
    /// Quantity in base.
    pub quantity: Decimal,
    /// Fee.
    pub fee: Decimal,
    /// Asset of the fee.
    pub fee_asset: String,
    /// Whether the order was resting.
    pub maker: bool,
    /// When.
    pub time: Timestamp,
}

impl FillRecord {
    /// Whether the fee was taken in what a spot market trades: a symbol there begins with it and
    /// goes on with the quote asset, as `BTCUSDT` and `BTC/USDT` do and `BTC-PERPETUAL` does not.
    fn fee_is_base(&self) -> bool {
        self.symbol.strip_prefix(self.fee_asset.as_str()).is_some_and(|rest| {
            let quote = rest.strip_prefix('/').unwrap_or(rest);
            !quote.is_empty() && quote.chars().all(|c| c.is_ascii_alphanumeric())
        })
    }
}

/// How a cancel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// The order was taken out.
    Canceled,
    /// It was not open: unknown, filled, cancelled or expired before.
    NotOpen,
    /// A fault kept the order open.
    Ignored,
    /// A fault refused the cancel.
    Refused,
}

/// One cancel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CancelRecord {
    /// Client id of the order, or what the request named if there is no such order.
    pub order: String,
    /// When.
    pub when: Timestamp,
    /// How it ended.
    pub outcome: CancelOutcome,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// The client's close frame came first.
    Client,
    /// The server's close frame, or its FIN or RST, went first.
    Server,
    /// TCP ended, or a frame was unreadable, without a close frame.
    Error,
}

/// One WebSocket connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// Number within the venue, from 1.
    pub id: ConnectionId,
    /// Path and query of the upgrade.
    pub path: String,
    /// What it is used for.
    pub kind: ConnectionKind,
    /// When it opened.
    pub opened: Timestamp,
    /// When it ended; `None` while it is open.
    pub closed: Option<Timestamp>,
    /// Who ended it; `None` while it is open.
    pub closed_by: Option<ClosedBy>,
    /// The code of the server's close frame.
    pub close_code_sent: Option<u16>,
    /// The code of the client's close frame; 1005 for a frame without a code.
    pub close_code_received: Option<u16>,
    /// Messages from the client, control frames included.
    pub frames_in: u64,
    /// Messages to the client, pongs excluded.
    pub frames_out: u64,
    /// Market-data messages left out because the client did not keep up.
    pub frames_dropped: u64,
}

/// One order-entry request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// When it came.
    pub time: Timestamp,
    /// The exchange's name of the method, or the HTTP method and path.
    pub method: String,
    /// The client order id it names, if any.
    pub client_id: Option<String>,
    /// The connection it came over; `None` for HTTP.
    pub connection: Option<ConnectionId>,
}
