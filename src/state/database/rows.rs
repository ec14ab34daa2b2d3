//! Records to rows and back. A row that decodes is not yet a sound one: its checksum is compared
//! before it is decoded.

use std::borrow::Cow;
use std::str::FromStr;

use super::checksum::Cell;
use super::record::{BookedFill, RunEnd};
use crate::types::{
    DayStart, ExchangeOrderId, Fee, Fill, Instrument, Liquidity, NewOrder, OnShutdown, Order,
    OrderKind, OrderStatus, Position, Price, Quantity, Quote, Side, Tick, TickData, TimeInForce,
    Timestamp, Trade,
};

/// Both ways between the values of an enum and their names in the database.
macro_rules! names {
    ($to:ident, $from:ident, $kind:ty, { $($name:literal => $value:path),+ $(,)? }) => {
        fn $to(value: $kind) -> &'static str {
            match value { $($value => $name),+ }
        }

        fn $from(name: &str) -> Option<$kind> {
            match name { $($name => Some($value),)+ _ => None }
        }
    };
}

names!(side_name, side, Side, { "buy" => Side::Buy, "sell" => Side::Sell });
names!(time_in_force_name, time_in_force, TimeInForce, {
    "gtc" => TimeInForce::Gtc, "ioc" => TimeInForce::Ioc, "post_only" => TimeInForce::PostOnly,
});
names!(on_shutdown_name, on_shutdown, OnShutdown, {
    "cancel" => OnShutdown::Cancel, "keep" => OnShutdown::Keep,
});
names!(liquidity_name, liquidity, Liquidity, {
    "maker" => Liquidity::Maker, "taker" => Liquidity::Taker,
});
names!(status_name, status, OrderStatus, {
    "pending" => OrderStatus::Pending,
    "sent" => OrderStatus::Sent,
    "outcome_unknown" => OrderStatus::OutcomeUnknown,
    "open" => OrderStatus::Open,
    "partially_filled" => OrderStatus::PartiallyFilled,
    "filled" => OrderStatus::Filled,
    "canceled" => OrderStatus::Canceled,
    "rejected" => OrderStatus::Rejected,
    "expired" => OrderStatus::Expired,
    "not_sent" => OrderStatus::NotSent,
});

/// Nanoseconds since 1970; the years 1678 to 2262 fit.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

fn time_cell(time: Option<Timestamp>) -> Cell<'static> {
    time.map_or(Cell::Null, |time| Cell::Integer(nanoseconds(time)))
}

fn shown(value: impl std::fmt::Display) -> Cell<'static> {
    Cell::text(value.to_string())
}

pub(super) fn order_cells(order: &Order, run: i64) -> [Cell<'_>; 19] {
    let request = &order.request;
    let (kind, price, in_force) = match request.kind {
        OrderKind::Limit { price, time_in_force } => {
            ("limit", shown(price), Cell::text(time_in_force_name(time_in_force)))
        }
        OrderKind::Market => ("market", Cell::Null, Cell::Null),
    };
    [
        Cell::text(order.client_id.as_str()),
        Cell::text(request.instrument.exchange().as_str()),
        Cell::text(request.instrument.as_str()),
        Cell::text(side_name(request.side)),
        Cell::text(kind),
        price,
        in_force,
        shown(request.quantity),
        Cell::text(on_shutdown_name(request.on_shutdown)),
        Cell::Integer(i64::from(request.reduce_only)),
        Cell::text(status_name(order.status)),
        Cell::Integer(i64::from(!order.status.is_terminal() || order.lacks_fills())),
        shown(order.filled),
        shown(order.booked),
        Cell::optional(order.exchange_id.as_ref().map(ExchangeOrderId::as_str)),
        Cell::optional(order.reason.as_deref()),
        Cell::Integer(nanoseconds(order.created)),
        Cell::Integer(nanoseconds(order.updated)),
        Cell::Integer(run),
    ]
}

pub(super) fn transition_cells(order: &Order, seq: i64, run: i64) -> [Cell<'_>; 7] {
    [
        Cell::text(order.client_id.as_str()),
        Cell::Integer(seq),
        Cell::text(status_name(order.status)),
        shown(order.filled),
        Cell::optional(order.reason.as_deref()),
        Cell::Integer(nanoseconds(order.updated)),
        Cell::Integer(run),
    ]
}

pub(super) fn fill_cells(booked: &BookedFill, run: i64) -> [Cell<'_>; 11] {
    let fill = &booked.fill;
    [
        Cell::text(booked.instrument.exchange().as_str()),
        Cell::text(booked.instrument.as_str()),
        Cell::text(fill.fill_id.as_str()),
        Cell::text(booked.client_id.as_str()),
        shown(fill.price),
        shown(fill.quantity),
        Cell::optional(fill.fee.as_ref().map(|fee| fee.asset.as_str())),
        fill.fee.as_ref().map_or(Cell::Null, |fee| shown(fee.amount)),
        Cell::optional(fill.liquidity.map(liquidity_name)),
        time_cell(fill.time),
        Cell::Integer(run),
    ]
}

pub(super) fn position_cells(position: &Position, run: i64) -> [Cell<'_>; 14] {
    let day = position.day.as_ref();
    let others: String = serde_json::to_string(&position.other_fees).unwrap_or_default();
    [
        Cell::text(position.instrument.as_str()),
        Cell::text(position.currency.as_str()),
        shown(position.quantity),
        position.entry.map_or(Cell::Null, shown),
        shown(position.realized),
        shown(position.fees),
        Cell::text(others),
        shown(position.bought),
        shown(position.sold),
        Cell::Integer(nanoseconds(position.updated)),
        day.map_or(Cell::Null, |day| shown(day.date)),
        day.map_or(Cell::Null, |day| shown(day.net)),
        day.and_then(|day| day.unrealized).map_or(Cell::Null, shown),
        Cell::Integer(run),
    ]
}

pub(super) fn tick_cells(tick: &Tick, count: u64, run: i64) -> [Cell<'static>; 14] {
    let mut cells = [const { Cell::Null }; 14];
    cells[0] = Cell::text(tick.instrument.as_str());
    cells[2] = time_cell(tick.exchange_time);
    cells[3] = Cell::Integer(nanoseconds(tick.received));
    match &tick.data {
        TickData::Trade(trade) => {
            cells[1] = Cell::text("trade");
            cells[4] = shown(trade.price);
            cells[5] = shown(trade.quantity);
            cells[6] = Cell::text(side_name(trade.taker_side));
            cells[7] = shown(trade.trade_id);
        }
        TickData::Quote(quote) => {
            cells[1] = Cell::text("quote");
            cells[8] = shown(quote.bid);
            cells[9] = shown(quote.bid_quantity);
            cells[10] = shown(quote.ask);
            cells[11] = shown(quote.ask_quantity);
        }
    }
    cells[12] = Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    cells[13] = Cell::Integer(run);
    cells
}

pub(super) fn run_cells(id: i64, started: i64, pid: i64, end: Option<&RunEnd>) -> [Cell<'_>; 7] {
    [
        Cell::Integer(id),
        Cell::Integer(started),
        time_cell(end.map(|end| end.ended)),
        Cell::Integer(pid),
        Cell::optional(end.map(|end| end.trigger.as_str())),
        Cell::optional(end.map(|end| end.outcome.as_str())),
        Cell::optional(end.map(|end| end.report.as_str())),
    ]
}

/// Cells in the order of a table's columns.
pub(super) struct Columns<'r, 'a> {
    cells: std::slice::Iter<'r, Cell<'a>>,
}

type Decoded<T> = Result<T, String>;

impl<'r, 'a> Columns<'r, 'a> {
    pub(super) fn new(cells: &'r [Cell<'a>]) -> Self {
        Self { cells: cells.iter() }
    }

    fn optional_text(&mut self) -> Decoded<Option<&'r str>> {
        match self.cells.next() {
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::Null) => Ok(None),
            other => Err(format!("text expected, {other:?} found")),
        }
    }

    fn text(&mut self) -> Decoded<&'r str> {
        self.optional_text()?.ok_or_else(|| "text expected, NULL found".to_owned())
    }

    pub(super) fn optional_integer(&mut self) -> Decoded<Option<i64>> {
        match self.cells.next() {
            Some(Cell::Integer(number)) => Ok(Some(*number)),
            Some(Cell::Null) => Ok(None),
            other => Err(format!("a number expected, {other:?} found")),
        }
    }

    pub(super) fn integer(&mut self) -> Decoded<i64> {
        self.optional_integer()?.ok_or_else(|| "a number expected, NULL found".to_owned())
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Decoded<T> {
        self.text()?.parse().map_err(|error: T::Err| error.to_string())
    }

    fn optional_parse<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Decoded<Option<T>> {
        let parsed = self.optional_text()?.map(str::parse);
        parsed.transpose().map_err(|error: T::Err| error.to_string())
    }

    fn named<T>(&mut self, of: impl Fn(&str) -> Option<T>) -> Decoded<T> {
        let name = self.text()?;
        of(name).ok_or_else(|| format!("`{name}` is not known"))
    }

    fn optional_named<T>(&mut self, of: impl Fn(&str) -> Option<T>) -> Decoded<Option<T>> {
        let Some(name) = self.optional_text()? else { return Ok(None) };
        of(name).map(Some).ok_or_else(|| format!("`{name}` is not known"))
    }

    fn optional_time(&mut self) -> Decoded<Option<Timestamp>> {
        let time = self.optional_integer()?.map(|ns| Timestamp::from_nanosecond(i128::from(ns)));
        time.transpose().map_err(|error| error.to_string())
    }

    fn time(&mut self) -> Decoded<Timestamp> {
        self.optional_time()?.ok_or_else(|| "a time expected, NULL found".to_owned())
    }

    fn owned(&mut self) -> Decoded<Option<String>> {
        Ok(self.optional_text()?.map(str::to_owned))
    }
}

pub(super) fn order(cells: &[Cell<'_>]) -> Decoded<Order> {
    let columns = &mut Columns::new(cells);
    let client_id = columns.parse()?;
    let _exchange = columns.text()?;
    let instrument = columns.parse()?;
    let side = columns.named(side)?;
    let kind = columns.text()?;
    let price: Option<Price> = columns.optional_parse()?;
    let in_force = columns.optional_named(time_in_force)?;
    let kind = match (kind, price, in_force) {
        ("limit", Some(price), Some(time_in_force)) => OrderKind::Limit { price, time_in_force },
        ("market", None, None) => OrderKind::Market,
        _ => return Err("neither a limit nor a market order".to_owned()),
    };
    let quantity: Quantity = columns.parse()?;
    let on_shutdown = columns.named(on_shutdown)?;
    let reduce_only = columns.integer()? != 0;
    let status = columns.named(status)?;
    let _open = columns.integer()?;
    Ok(Order {
        client_id,
        request: NewOrder { instrument, side, kind, quantity, on_shutdown, reduce_only },
        status,
        filled: columns.parse()?,
        booked: columns.parse()?,
        exchange_id: columns.optional_parse()?,
        reason: columns.owned()?,
        created: columns.time()?,
        updated: columns.time()?,
    })
}

pub(super) fn fill(cells: &[Cell<'_>]) -> Decoded<BookedFill> {
    let columns = &mut Columns::new(cells);
    let _exchange = columns.text()?;
    let instrument: Instrument = columns.parse()?;
    let fill_id = columns.text()?.to_owned();
    let client_id = columns.parse()?;
    let price = columns.parse()?;
    let quantity = columns.parse()?;
    let fee = match (columns.owned()?, columns.optional_parse()?) {
        (Some(asset), Some(amount)) => Some(Fee { asset, amount }),
        (None, None) => None,
        _ => return Err("half a fee".to_owned()),
    };
    let liquidity = columns.optional_named(liquidity)?;
    let fill = Fill { fill_id, price, quantity, fee, liquidity, time: columns.optional_time()? };
    Ok(BookedFill { client_id, instrument, fill, position: None })
}

pub(super) fn position(cells: &[Cell<'_>]) -> Decoded<Position> {
    let columns = &mut Columns::new(cells);
    let instrument = columns.parse()?;
    let currency = columns.text()?.to_owned();
    let quantity = columns.parse()?;
    let entry = columns.optional_parse()?;
    let (realized, fees) = (columns.parse()?, columns.parse()?);
    let other_fees = serde_json::from_str(columns.text()?).map_err(|error| error.to_string())?;
    let (bought, sold) = (columns.parse()?, columns.parse()?);
    let updated = columns.time()?;
    let date = columns.optional_parse()?;
    let (net, unrealized) = (columns.optional_parse()?, columns.optional_parse()?);
    let day = match (date, net) {
        (Some(date), Some(net)) => Some(DayStart { date, net, unrealized }),
        (None, None) => None,
        _ => return Err("half the beginning of a day".to_owned()),
    };
    Ok(Position {
        instrument,
        quantity,
        entry,
        currency,
        realized,
        fees,
        other_fees,
        bought,
        sold,
        updated,
        day,
    })
}

/// The tick, and how many ticks its instrument had in its run.
pub(super) fn tick(cells: &[Cell<'_>]) -> Decoded<(Tick, u64)> {
    let columns = &mut Columns::new(cells);
    let instrument = columns.parse()?;
    let kind = columns.text()?;
    let exchange_time = columns.optional_time()?;
    let received = columns.time()?;
    let data = if kind == "trade" {
        let trade = Trade {
            price: columns.parse()?,
            quantity: columns.parse()?,
            taker_side: columns.named(side)?,
            trade_id: columns.parse()?,
        };
        for _ in 0..4 {
            columns.optional_text()?;
        }
        TickData::Trade(trade)
    } else {
        for _ in 0..4 {
            columns.optional_text()?;
        }
        TickData::Quote(Quote {
            bid: columns.parse()?,
            bid_quantity: columns.parse()?,
            ask: columns.parse()?,
            ask_quantity: columns.parse()?,
        })
    };
    let count = u64::try_from(columns.integer()?).unwrap_or_default();
    Ok((Tick { instrument, exchange_time, received, data }, count))
}

/// One run of the gateway as stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RunSummary {
    /// Its number, counted from 1.
    pub id: i64,
    /// When it opened the database.
    pub started: Timestamp,
    /// When it ended in order; `None` if it was killed or still runs.
    pub ended: Option<Timestamp>,
    /// Its process.
    pub pid: u32,
    /// Why it was shut down.
    pub trigger: Option<String>,
    /// The verdict on its shutdown.
    pub outcome: Option<String>,
    /// Its report, as JSON.
    pub report: Option<String>,
}

pub(super) fn run(cells: &[Cell<'_>]) -> Decoded<RunSummary> {
    let columns = &mut Columns::new(cells);
    Ok(RunSummary {
        id: columns.integer()?,
        started: columns.time()?,
        ended: columns.optional_time()?,
        pid: u32::try_from(columns.integer()?).map_err(|error| error.to_string())?,
        trigger: columns.owned()?,
        outcome: columns.owned()?,
        report: columns.owned()?,
    })
}

/// The key of a row for people, its parts joined with `/`.
pub(super) fn key_text(keys: &[Cell<'_>]) -> String {
    let part = |cell: &Cell<'_>| match cell {
        Cell::Null => Cow::Borrowed("NULL"),
        Cell::Integer(number) => Cow::Owned(number.to_string()),
        Cell::Text(text) => Cow::Owned(text.chars().take(80).collect()),
    };
    keys.iter().map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_order_comes_back_as_it_was() {
        let instrument = "kraken:BTC-USD".parse().unwrap();
        let quantity: Quantity = "0.00000001".parse().unwrap();
        let price: Price = "1234567890.123456789".parse().unwrap();
        let at = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
        let requests = [
            NewOrder::limit(instrument, Side::Buy, price, quantity).post_only(),
            NewOrder::market(instrument, Side::Sell, quantity).keep_on_shutdown().reduce_only(),
        ];
        let every_status = [
            OrderStatus::Pending,
            OrderStatus::Sent,
            OrderStatus::OutcomeUnknown,
            OrderStatus::Open,
            OrderStatus::PartiallyFilled,
            OrderStatus::Filled,
            OrderStatus::Canceled,
            OrderStatus::Rejected,
            OrderStatus::Expired,
            OrderStatus::NotSent,
        ];
        for request in requests {
            for status in every_status {
                let before = Order {
                    client_id: "gw0abc".parse().unwrap(),
                    exchange_id: Some("OABC-1".parse().unwrap()),
                    request,
                    status,
                    filled: "0.000000005".parse().unwrap(),
                    booked: "0.000000003".parse().unwrap(),
                    reason: Some("it's \"so\"".into()),
                    created: at,
                    updated: at,
                };
                assert_eq!(order(&order_cells(&before, 3)).unwrap(), before);
                assert_eq!(status.as_str(), status_name(status));
            }
        }
    }

    #[test]
    fn a_position_comes_back_with_every_digit_and_with_nothing_that_it_lacks() {
        let instrument = "deribit:BTC-PERPETUAL".parse().unwrap();
        let flat = Position::empty(instrument, "BTC");
        let number = |text: &str| text.parse::<rust_decimal::Decimal>().unwrap();
        let held = Position {
            quantity: number("-30"),
            entry: Some("49999.123456789012345678901234".parse().unwrap()),
            realized: number("-0.0000000000000000000000000001"),
            fees: number("-0.1"),
            other_fees: [("BNB".to_owned(), number("0.020"))].into(),
            bought: number("10"),
            sold: number("40"),
            updated: Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap(),
            day: Some(DayStart {
                date: "2026-11-27".parse().unwrap(),
                net: number("1.50"),
                unrealized: Some(number("-2")),
            }),
            ..flat.clone()
        };
        let unpriced = held.day.map(|day| DayStart { unrealized: None, ..day });
        for before in [Position { day: unpriced, ..held.clone() }, flat, held] {
            assert_eq!(position(&position_cells(&before, 9)).unwrap(), before);
        }
    }

    #[test]
    fn a_fill_with_a_rebate_and_one_without_anything_come_back() {
        let instrument = "binance:BTC-USDT".parse().unwrap();
        let bare = Fill {
            fill_id: "77".into(),
            price: "1".parse().unwrap(),
            quantity: "2.50".parse().unwrap(),
            fee: None,
            liquidity: None,
            time: None,
        };
        let fee = Some(Fee { asset: "BNB".into(), amount: "-0.0001".parse().unwrap() });
        let whole = Fill { fee, liquidity: Some(Liquidity::Maker), ..bare.clone() };
        for before in [bare, whole] {
            let (client_id, position) = ("gw1".parse().unwrap(), None);
            let booked = BookedFill { client_id, instrument, fill: before, position };
            assert_eq!(fill(&fill_cells(&booked, 1)).unwrap(), booked);
        }
    }
}
