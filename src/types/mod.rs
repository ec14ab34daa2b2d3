//! The vocabulary: instruments, money, ticks, orders and fills. Data only; this module knows no other.

mod closing;
mod holding;
mod id;
mod instrument;
mod kill_switch;
mod money;
mod order;
mod position;
mod spec;
mod tick;

pub use closing::{ClosePolicy, ClosingOrder};
pub use holding::{Comparison, ComparisonLine, Held, Holding};
pub use id::{ClientOrderId, ExchangeOrderId, InvalidId};
pub use instrument::{ExchangeName, Instrument, InvalidInstrument};
pub use jiff::Timestamp;
pub use kill_switch::{DayLoss, KillSwitch};
pub use money::{InvalidNumber, Price, Quantity};
pub(crate) use money::{exact_decimal, exact_json_number};
pub use order::{
    Fee, Fill, Liquidity, NewOrder, OnShutdown, Order, OrderKind, OrderStatus, Side, TimeInForce,
};
pub use position::{DayStart, Position, PriceBasis, Valuation};
pub use spec::{InstrumentSpec, InvalidOrder, TickSizeStep};
pub use tick::{Quote, Tick, TickData, Trade};
