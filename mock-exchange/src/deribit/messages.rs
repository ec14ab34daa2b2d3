//! Objects of orders, trades, quotes and tickers.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

use super::ids;
use super::number::Number;
use super::protocol::Extra;
use super::tape::{Printed, Tape};
use crate::engine::{Engine, Fill, Order, OrderKind, OrderStatus, Quote, Side, TimeInForce};
use crate::instrument::{Instrument, InstrumentId};

/// The number of the test account.
const USER_ID: u64 = 96_103;
/// How far from the mark price an order may trade, in percent.
const BAND_PERCENT: u32 = 5;

#[derive(Serialize)]
struct Notification<P: Serialize> {
    jsonrpc: &'static str,
    method: &'static str,
    params: P,
}

#[derive(Serialize)]
struct ChannelData<'a, D: Serialize> {
    channel: &'a str,
    data: D,
}

#[derive(Serialize)]
struct HeartbeatData {
    r#type: &'static str,
}

/// The text of a heartbeat (`heartbeat` or `test_request`).
pub(crate) fn heartbeat(r#type: &'static str) -> String {
    let params = HeartbeatData { r#type };
    super::rpc::text(&Notification { jsonrpc: "2.0", method: "heartbeat", params })
}

/// The text of a channel's message.
pub(crate) fn notification(channel: &str, data: impl Serialize) -> String {
    super::rpc::text(&Notification {
        jsonrpc: "2.0",
        method: "subscription",
        params: ChannelData { channel, data },
    })
}

/// The settlement currency of an instrument.
pub(crate) fn currency(instrument: &Instrument) -> &str {
    instrument.contract.as_ref().map_or(&instrument.quote, |contract| &contract.settlement)
}

fn contracts(instrument: &Instrument, amount: Decimal) -> Number {
    let size = instrument.contract.as_ref().map_or(Decimal::ONE, |contract| contract.size);
    Number(amount / size)
}

/// The fair price: the middle of the book, or the last price without one.
pub(crate) fn mark_price(engine: &Engine, id: InstrumentId) -> Decimal {
    let Quote { bid, ask, .. } = engine.book(id).quote();
    if bid.is_zero() || ask.is_zero() {
        engine.stats(id).last
    } else {
        ((bid + ask) / Decimal::TWO).round_dp(4)
    }
}

/// The lowest and the highest price at which an order may trade.
pub(crate) fn price_band(engine: &Engine, id: InstrumentId) -> (Decimal, Decimal) {
    let (mark, tick) = (mark_price(engine, id), engine.instruments()[id].tick);
    let width = mark * Decimal::from(BAND_PERCENT) / Decimal::ONE_HUNDRED;
    (((mark - width) / tick).ceil() * tick, ((mark + width) / tick).floor() * tick)
}

pub(crate) fn side_text(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

pub(crate) fn kind_text(kind: OrderKind) -> &'static str {
    match kind {
        OrderKind::Limit => "limit",
        OrderKind::Market => "market",
    }
}

pub(crate) fn state_text(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New | OrderStatus::PartiallyFilled => "open",
        OrderStatus::Filled => "filled",
        OrderStatus::Canceled | OrderStatus::Expired => "cancelled",
        OrderStatus::Rejected => "rejected",
    }
}

fn lifetime_text(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Gtc => "good_til_cancelled",
        TimeInForce::Ioc => "immediate_or_cancel",
        TimeInForce::Fok => "fill_or_kill",
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Price {
    Number(Number),
    Word(&'static str),
}

/// An order.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the exchange's object has these flags")]
pub(crate) struct OrderMessage {
    label: String,
    price: Price,
    user_id: u64,
    amount: Number,
    direction: &'static str,
    time_in_force: &'static str,
    instrument_name: String,
    web: bool,
    api: bool,
    order_id: String,
    creation_timestamp: i64,
    replaced: bool,
    filled_amount: Number,
    last_update_timestamp: i64,
    post_only: bool,
    reduce_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<&'static str>,
    average_price: Number,
    mmp: bool,
    contracts: Number,
    reject_post_only: bool,
    order_state: &'static str,
    order_type: &'static str,
    is_liquidation: bool,
    risk_reducing: bool,
}

pub(crate) fn order(order: &Order, instrument: &Instrument, extra: &Extra) -> OrderMessage {
    let cancelled = state_text(order.status) == "cancelled";
    OrderMessage {
        label: order.client_id.to_string(),
        price: order.price.map_or(Price::Word("market_price"), |p| Price::Number(Number(p))),
        user_id: USER_ID,
        amount: Number(order.quantity),
        direction: side_text(order.side),
        time_in_force: if extra.day { "good_til_day" } else { lifetime_text(order.time_in_force) },
        instrument_name: order.symbol.to_string(),
        web: !extra.api,
        api: extra.api,
        order_id: ids::order_id(currency(instrument), order.id),
        creation_timestamp: order.created.as_millisecond(),
        replaced: extra.replaced,
        filled_amount: Number(order.filled),
        last_update_timestamp: order.updated.as_millisecond(),
        post_only: order.post_only,
        reduce_only: order.reduce_only,
        cancel_reason: extra.cancel_reason.filter(|_| cancelled),
        average_price: Number(order.average_price().unwrap_or_default().round_dp(8)),
        mmp: false,
        contracts: contracts(instrument, order.quantity),
        reject_post_only: extra.reject_post_only,
        order_state: state_text(order.status),
        order_type: kind_text(order.kind),
        is_liquidation: false,
        risk_reducing: false,
    }
}

/// A fill of an own order.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the exchange's object has these flags")]
pub(crate) struct FillMessage {
    trade_seq: u64,
    trade_id: String,
    timestamp: i64,
    tick_direction: u8,
    state: &'static str,
    self_trade: bool,
    reduce_only: bool,
    profit_loss: Number,
    price: Number,
    post_only: bool,
    order_type: &'static str,
    order_id: String,
    matching_id: Option<()>,
    mark_price: Number,
    liquidity: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    label: String,
    instrument_name: String,
    index_price: Number,
    fee_currency: String,
    fee: Number,
    direction: &'static str,
    contracts: Number,
    api: bool,
    amount: Number,
}

/// A fill; `order` is the order right after it.
pub(crate) fn fill(
    fill: &Fill,
    order: &Order,
    extra: &Extra,
    engine: &Engine,
    tape: &Tape,
) -> FillMessage {
    let instrument = &engine.instruments()[fill.instrument];
    let mark = Number(mark_price(engine, fill.instrument));
    FillMessage {
        trade_seq: fill.sequence,
        trade_id: ids::trade_id(currency(instrument), fill.trade_id),
        timestamp: fill.time.as_millisecond(),
        tick_direction: tape.tick_direction(fill.instrument, fill.trade_id),
        state: state_text(order.status),
        self_trade: false,
        reduce_only: order.reduce_only,
        profit_loss: Number(fill.profit),
        price: Number(fill.price),
        post_only: order.post_only,
        order_type: kind_text(order.kind),
        order_id: ids::order_id(currency(instrument), fill.order_id),
        matching_id: None,
        mark_price: mark,
        liquidity: if fill.maker { "M" } else { "T" },
        label: fill.client_id.to_string(),
        instrument_name: instrument.symbol.to_string(),
        index_price: mark,
        fee_currency: fill.fee_asset.to_string(),
        fee: Number(fill.fee),
        direction: side_text(fill.side),
        contracts: contracts(instrument, fill.quantity),
        api: extra.api,
        amount: Number(fill.quantity),
    }
}

/// A trade that everyone sees.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TradeMessage {
    timestamp: i64,
    price: Number,
    amount: Number,
    direction: &'static str,
    index_price: Number,
    instrument_name: String,
    trade_seq: u64,
    mark_price: Number,
    tick_direction: u8,
    contracts: Number,
    trade_id: String,
}

pub(crate) fn trade(printed: &Printed, engine: &Engine) -> TradeMessage {
    let trade = &printed.trade;
    let instrument = &engine.instruments()[trade.instrument];
    let mark = Number(mark_price(engine, trade.instrument));
    TradeMessage {
        timestamp: trade.time.as_millisecond(),
        price: Number(trade.price),
        amount: Number(trade.quantity),
        direction: side_text(trade.taker),
        index_price: mark,
        instrument_name: instrument.symbol.to_string(),
        trade_seq: trade.sequence,
        mark_price: mark,
        tick_direction: printed.tick_direction,
        contracts: contracts(instrument, trade.quantity),
        trade_id: ids::trade_id(currency(instrument), trade.id),
    }
}

/// The best prices. The price of an empty side is null.
#[derive(Debug, Serialize)]
pub(crate) struct QuoteMessage<'a> {
    timestamp: i64,
    instrument_name: &'a str,
    best_ask_price: Option<Number>,
    best_bid_price: Option<Number>,
    best_ask_amount: Number,
    best_bid_amount: Number,
}

pub(crate) fn quote<'a>(
    instrument: &'a Instrument,
    quote: &Quote,
    time: Timestamp,
) -> QuoteMessage<'a> {
    let price = |price: Decimal| (!price.is_zero()).then_some(Number(price));
    QuoteMessage {
        timestamp: time.as_millisecond(),
        instrument_name: &instrument.symbol,
        best_ask_price: price(quote.ask),
        best_bid_price: price(quote.bid),
        best_ask_amount: Number(quote.ask_quantity),
        best_bid_amount: Number(quote.bid_quantity),
    }
}

/// A ticker. The price of an empty side is zero.
#[derive(Debug, Serialize)]
pub(crate) struct TickerMessage<'a> {
    timestamp: i64,
    state: &'static str,
    stats: StatsMessage,
    index_price: Number,
    instrument_name: &'a str,
    last_price: Number,
    settlement_price: Number,
    min_price: Number,
    max_price: Number,
    open_interest: Number,
    mark_price: Number,
    interest_value: Number,
    best_ask_price: Number,
    best_bid_price: Number,
    estimated_delivery_price: Number,
    best_ask_amount: Number,
    best_bid_amount: Number,
    current_funding: Number,
    funding_8h: Number,
}

#[derive(Debug, Serialize)]
struct StatsMessage {
    high: Number,
    low: Number,
    price_change: Number,
    volume: Number,
    volume_usd: Number,
    volume_notional: Number,
}

pub(crate) fn ticker<'a>(
    engine: &'a Engine,
    id: InstrumentId,
    best: &Quote,
    time: Timestamp,
) -> TickerMessage<'a> {
    let (instrument, stats) = (&engine.instruments()[id], engine.stats(id));
    let mark = Number(mark_price(engine, id));
    let (low, high) = price_band(engine, id);
    TickerMessage {
        timestamp: time.as_millisecond(),
        state: "open",
        stats: StatsMessage {
            high: Number(stats.high),
            low: Number(stats.low),
            price_change: Number(stats.change_percent().round_dp(4)),
            volume: Number(stats.volume),
            volume_usd: Number(stats.quote_volume.round_dp(2)),
            volume_notional: Number(stats.quote_volume.round_dp(2)),
        },
        index_price: mark,
        instrument_name: &instrument.symbol,
        last_price: Number(stats.last),
        settlement_price: Number(stats.open),
        min_price: Number(low),
        max_price: Number(high),
        open_interest: Number(engine.position(id).size.abs()),
        mark_price: mark,
        interest_value: Number(Decimal::ZERO),
        best_ask_price: Number(best.ask),
        best_bid_price: Number(best.bid),
        estimated_delivery_price: mark,
        best_ask_amount: Number(best.ask_quantity),
        best_bid_amount: Number(best.bid_quantity),
        current_funding: Number(Decimal::ZERO),
        funding_8h: Number(Decimal::new(1742, 8)),
    }
}
