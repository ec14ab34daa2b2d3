//! Public methods that read: time, currencies, instruments, prices, trades.

use serde::Serialize;

use super::dispatch::method_not_found;
use super::feed::pairs;
use super::messages::{self, TradeMessage, currency, mark_price};
use super::number::Number;
use super::orders::instrument;
use super::protocol::Deribit;
use super::queries::count;
use super::rpc::{Call, Reply, RpcError};
use crate::engine::{Engine, Side};
use crate::instrument::{ContractKind, Instrument, InstrumentId};
use crate::protocol::SystemStatus;
use crate::venue::state::VenueState;
use rust_decimal::Decimal;

/// How far away a perpetual's end is.
const EXPIRATION: i64 = 32_503_708_800_000;
const CREATION: i64 = 1_534_167_754_000;

#[derive(Serialize)]
struct CurrencyMessage {
    currency: &'static str,
    currency_long: &'static str,
    coin_type: &'static str,
    min_confirmations: u32,
    min_withdrawal_fee: Number,
    withdrawal_fee: Number,
    fee_precision: u32,
    decimals: u32,
}

#[derive(Serialize)]
struct InstrumentMessage<'a> {
    instrument_name: &'a str,
    instrument_id: usize,
    kind: &'static str,
    instrument_type: &'static str,
    settlement_period: &'static str,
    base_currency: &'a str,
    quote_currency: &'a str,
    counter_currency: &'a str,
    settlement_currency: &'a str,
    price_index: String,
    is_active: bool,
    state: &'static str,
    tick_size: Number,
    tick_size_steps: [(); 0],
    min_trade_amount: Number,
    contract_size: Number,
    maker_commission: Number,
    taker_commission: Number,
    max_leverage: u32,
    creation_timestamp: i64,
    expiration_timestamp: i64,
    rfq: bool,
}

#[derive(Serialize)]
struct OrderBook<'a> {
    #[serde(flatten)]
    ticker: messages::TickerMessage<'a>,
    change_id: u64,
    bids: Vec<(Number, Number)>,
    asks: Vec<(Number, Number)>,
}

#[derive(Serialize)]
struct LastTrades {
    trades: Vec<TradeMessage>,
    has_more: bool,
}

#[derive(Serialize)]
struct IndexPrice {
    index_price: Number,
    estimated_delivery_price: Number,
}

#[derive(Serialize)]
struct PlatformStatus {
    locked: &'static str,
    locked_indices: [(); 0],
}

fn currencies() -> Vec<CurrencyMessage> {
    let named = [("BTC", "Bitcoin", 8), ("ETH", "Ethereum", 8), ("USDC", "USD Coin", 6)];
    let message = |(currency, currency_long, decimals)| CurrencyMessage {
        currency,
        currency_long,
        coin_type: currency,
        min_confirmations: 1,
        min_withdrawal_fee: Number(Decimal::new(1, 4)),
        withdrawal_fee: Number(Decimal::new(1, 4)),
        fee_precision: 4,
        decimals,
    };
    named.into_iter().map(message).collect()
}

fn listed<'a>(id: InstrumentId, listed: &'a Instrument, engine: &Engine) -> InstrumentMessage<'a> {
    let (maker, taker) = engine.fees();
    let contract = listed.contract.as_ref();
    let inverse = contract.is_some_and(|contract| contract.kind == ContractKind::Inverse);
    InstrumentMessage {
        instrument_name: &listed.symbol,
        instrument_id: id + 1,
        kind: "future",
        instrument_type: if inverse { "reversed" } else { "linear" },
        settlement_period: "perpetual",
        base_currency: &listed.base,
        quote_currency: &listed.quote,
        counter_currency: &listed.quote,
        settlement_currency: currency(listed),
        price_index: format!("{}_{}", listed.base, listed.quote).to_ascii_lowercase(),
        is_active: true,
        state: "open",
        tick_size: Number(listed.tick),
        tick_size_steps: [],
        min_trade_amount: Number(listed.quantity_min),
        contract_size: Number(listed.step),
        maker_commission: Number(maker),
        taker_commission: Number(taker),
        max_leverage: 50,
        creation_timestamp: CREATION,
        expiration_timestamp: EXPIRATION,
        rfq: false,
    }
}

impl Deribit {
    /// Answers the public methods that only read.
    pub(crate) fn list(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let params = call.params;
        let engine = &state.engine;
        match call.method {
            "public/get_time" => Ok(Reply::new(&state.now().as_millisecond())),
            "public/status" => {
                let down = state.status == SystemStatus::Maintenance;
                let locked = if down { "true" } else { "false" };
                Ok(Reply::new(&PlatformStatus { locked, locked_indices: [] }))
            }
            "public/get_currencies" => Ok(Reply::new(&currencies())),
            "public/get_instruments" => {
                let wanted = params.text("currency").filter(|wanted| wanted != "any");
                let other = params.text("kind").is_some_and(|k| k != "future" && k != "any");
                let none = other || params.flag("expired")?;
                let chosen = state.instruments.iter().enumerate().filter(|(_, instrument)| {
                    !none && wanted.as_ref().is_none_or(|wanted| currency(instrument) == wanted)
                });
                let chosen = chosen.map(|(id, instrument)| listed(id, instrument, engine));
                Ok(Reply::new(&chosen.collect::<Vec<_>>()))
            }
            "public/get_instrument" => {
                let id = instrument(state, call)?;
                Ok(Reply::new(&listed(id, &state.instruments[id], engine)))
            }
            "public/ticker" => {
                let id = instrument(state, call)?;
                let best = engine.book(id).quote();
                Ok(Reply::new(&messages::ticker(engine, id, &best, state.now())))
            }
            "public/get_order_book" => {
                let id = instrument(state, call)?;
                let depth = params.integer("depth")?.unwrap_or(5);
                let depth =
                    usize::try_from(depth).ok().filter(|depth| (1..=10_000).contains(depth));
                let depth = depth.ok_or_else(|| RpcError::param("depth", "must be 1 to 10000"))?;
                let book = engine.book(id);
                Ok(Reply::new(&OrderBook {
                    ticker: messages::ticker(engine, id, &book.quote(), state.now()),
                    change_id: book.update_id(),
                    bids: pairs(book, Side::Buy, depth),
                    asks: pairs(book, Side::Sell, depth),
                }))
            }
            "public/get_last_trades_by_instrument" => self.last_trades(state, call),
            "public/get_index_price" => {
                let name = params.required("index_name")?;
                let found = state
                    .instruments
                    .iter()
                    .position(|i| format!("{}_{}", i.base, i.quote).eq_ignore_ascii_case(&name));
                let id = found.ok_or_else(|| RpcError::param("index_name", "must be known"))?;
                let price = Number(mark_price(engine, id));
                let message = IndexPrice { index_price: price, estimated_delivery_price: price };
                Ok(Reply::new(&message))
            }
            _ => Err(method_not_found()),
        }
    }

    fn last_trades(&self, state: &VenueState, call: &Call<'_>) -> Result<Reply, RpcError> {
        let params = call.params;
        let id = instrument(state, call)?;
        let (from, to) = (params.integer("start_seq")?, params.integer("end_seq")?);
        let mut chosen: Vec<_> = self
            .tape
            .trades(id)
            .filter(|printed| {
                let sequence = i64::try_from(printed.trade.sequence).unwrap_or(i64::MAX);
                from.is_none_or(|from| sequence >= from) && to.is_none_or(|to| sequence <= to)
            })
            .collect();
        let sorting = params.text("sorting");
        let ascending = match sorting.as_deref() {
            Some("asc") => true,
            Some("desc") => false,
            _ => from.is_some(),
        };
        if !ascending {
            chosen.reverse();
        }
        let limit = count(call)?;
        let has_more = chosen.len() > limit;
        let trades = chosen.into_iter().take(limit);
        let trades = trades.map(|printed| messages::trade(printed, &state.engine)).collect();
        Ok(Reply::new(&LastTrades { trades, has_more }))
    }
}
