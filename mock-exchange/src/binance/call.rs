//! The requests that exist, whichever way they come in.

use super::Binance;
use super::messages::TimeUnit;
use super::orders::{self, Answer, Caller};
use super::params::{ApiError, Params};
use super::queries;
use crate::venue::state::VenueState;

/// A request that both the API socket and REST know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Ping,
    Time,
    ExchangeInfo,
    Depth,
    BookTicker,
    PriceTicker,
    DayTicker,
    Place,
    Test,
    Cancel,
    Replace,
    Status,
    OpenOrders,
    CancelAll,
    AllOrders,
    MyTrades,
    Account,
}

impl Call {
    /// By the method of the API socket.
    pub(super) fn by_method(method: &str) -> Option<Self> {
        Some(match method {
            "ping" => Self::Ping,
            "time" => Self::Time,
            "exchangeInfo" => Self::ExchangeInfo,
            "depth" => Self::Depth,
            "ticker.book" => Self::BookTicker,
            "ticker.price" => Self::PriceTicker,
            "ticker.24hr" => Self::DayTicker,
            "order.place" => Self::Place,
            "order.test" => Self::Test,
            "order.cancel" => Self::Cancel,
            "order.cancelReplace" => Self::Replace,
            "order.status" => Self::Status,
            "openOrders.status" => Self::OpenOrders,
            "openOrders.cancelAll" => Self::CancelAll,
            "allOrders" => Self::AllOrders,
            "myTrades" => Self::MyTrades,
            "account.status" => Self::Account,
            _ => return None,
        })
    }

    /// By HTTP method and path.
    pub(super) fn by_path(method: &str, path: &str) -> Option<Self> {
        Some(match (method, path.strip_prefix("/api/v3/")?) {
            ("GET", "ping") => Self::Ping,
            ("GET", "time") => Self::Time,
            ("GET", "exchangeInfo") => Self::ExchangeInfo,
            ("GET", "depth") => Self::Depth,
            ("GET", "ticker/bookTicker") => Self::BookTicker,
            ("GET", "ticker/price") => Self::PriceTicker,
            ("GET", "ticker/24hr") => Self::DayTicker,
            ("POST", "order") => Self::Place,
            ("POST", "order/test") => Self::Test,
            ("DELETE", "order") => Self::Cancel,
            ("POST", "order/cancelReplace") => Self::Replace,
            ("GET", "order") => Self::Status,
            ("GET", "openOrders") => Self::OpenOrders,
            ("DELETE", "openOrders") => Self::CancelAll,
            ("GET", "allOrders") => Self::AllOrders,
            ("GET", "myTrades") => Self::MyTrades,
            ("GET", "account") => Self::Account,
            _ => return None,
        })
    }

    /// Whether it needs a key, a time and a signature.
    pub(super) fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Ping
                | Self::Time
                | Self::ExchangeInfo
                | Self::Depth
                | Self::BookTicker
                | Self::PriceTicker
                | Self::DayTicker
        )
    }

    /// Whether it changes orders, which the ledger notes.
    pub(super) fn is_order_entry(self) -> bool {
        matches!(self, Self::Place | Self::Cancel | Self::Replace | Self::CancelAll)
    }

    /// The client id of the order that an order-entry request is about.
    pub(super) fn named_order(self, params: &Params) -> Option<&str> {
        match self {
            Self::Place | Self::Replace => params.get("newClientOrderId"),
            _ => params.get("origClientOrderId"),
        }
    }

    fn weight(self, params: &Params, succeeded: bool) -> u64 {
        match self {
            // Orders and cancels that succeed cost nothing.
            Self::Place | Self::Cancel | Self::Replace | Self::CancelAll => u64::from(!succeeded),
            Self::Ping | Self::Time | Self::Test => 1,
            Self::ExchangeInfo | Self::Account | Self::AllOrders | Self::MyTrades => 20,
            Self::Depth => 5,
            Self::BookTicker | Self::PriceTicker | Self::DayTicker => 2,
            Self::Status => 4,
            Self::OpenOrders if params.has("symbol") => 6,
            Self::OpenOrders => 80,
        }
    }
}

impl Binance {
    /// Does a request that is already authorised.
    pub(super) fn call(
        &mut self,
        state: &mut VenueState,
        call: Call,
        caller: Caller,
        params: &Params,
    ) -> Answer {
        let enforced = state.config.limits.enforced();
        if enforced && let Err(error) = self.usage.check_weight(state.now()) {
            return Err(error).into();
        }
        let answer = self.dispatch(state, call, caller, params);
        self.usage.add_weight(state.now(), call.weight(params, answer.result.is_ok()));
        answer
    }

    fn dispatch(
        &mut self,
        state: &mut VenueState,
        call: Call,
        caller: Caller,
        params: &Params,
    ) -> Answer {
        match call {
            Call::Place => self.place(state, caller, params),
            Call::Cancel => self.cancel(state, caller, params),
            Call::Replace => self.replace(state, caller, params),
            Call::CancelAll => self.cancel_all(state, caller, params),
            Call::Test => self.test_order(state, params).into(),
            _ => query(state, call, params, caller.unit).into(),
        }
    }
}

fn query(
    state: &VenueState,
    call: Call,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    match call {
        Call::Time => Ok(queries::server_time(state, unit)),
        Call::ExchangeInfo => queries::exchange_info(state, params, unit),
        Call::Depth => queries::depth(state, params),
        Call::BookTicker => queries::book_ticker(state, params),
        Call::PriceTicker => queries::price_ticker(state, params),
        Call::DayTicker => queries::day_ticker(state, params, unit),
        Call::Status => orders::order_status(state, params, unit),
        Call::OpenOrders => orders::open_orders(state, params, unit),
        Call::AllOrders => orders::all_orders(state, params, unit),
        Call::MyTrades => orders::my_trades(state, params, unit),
        Call::Account => Ok(queries::account(state, params, unit)),
        Call::Ping | Call::Place | Call::Test | Call::Cancel | Call::Replace | Call::CancelAll => {
            Ok("{}".to_owned())
        }
    }
}
