//! Public data and the account's balances on request.

use serde_json::json;

use super::limits::{ORDERS_DAY_LIMIT, ORDERS_LIMIT, WEIGHT_LIMIT};
use super::messages::{self, TimeUnit};
use super::orders::instrument;
use super::params::{ApiError, Params};
use super::{NOTIONAL_MAX, PRICE_MAX, QUANTITY_MAX};
use crate::engine::Side;
use crate::instrument::InstrumentId;
use crate::venue::state::VenueState;

pub(super) fn server_time(state: &VenueState, unit: TimeUnit) -> String {
    format!(r#"{{"serverTime":{}}}"#, unit.of(state.now()))
}

/// The instruments that `symbol` or `symbols` (a JSON list) names; all when neither is there.
fn wanted(state: &VenueState, params: &Params) -> Result<Vec<InstrumentId>, ApiError> {
    if params.has("symbol") {
        return Ok(vec![instrument(state, params)?]);
    }
    let Some(list) = params.get("symbols") else {
        return Ok((0..state.instruments.len()).collect());
    };
    let names: Vec<String> =
        serde_json::from_str(list).map_err(|_| ApiError::illegal("symbols", "[\"A\",\"B\"]"))?;
    let find = |name: &String| {
        state.instrument(name).ok_or_else(|| ApiError::new(-1121, "Invalid symbol."))
    };
    names.iter().map(find).collect()
}

pub(super) fn exchange_info(
    state: &VenueState,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    let symbols: Vec<_> = wanted(state, params)?
        .into_iter()
        .map(|id| {
            let listed = &state.instruments[id];
            json!({
                "symbol": &*listed.symbol,
                "status": "TRADING",
                "baseAsset": &*listed.base,
                "baseAssetPrecision": 8,
                "quoteAsset": &*listed.quote,
                "quotePrecision": 8,
                "quoteAssetPrecision": 8,
                "baseCommissionPrecision": 8,
                "quoteCommissionPrecision": 8,
                "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
                "icebergAllowed": false,
                "ocoAllowed": false,
                "otoAllowed": false,
                "quoteOrderQtyMarketAllowed": true,
                "allowTrailingStop": false,
                "cancelReplaceAllowed": true,
                "amendAllowed": false,
                "isSpotTradingAllowed": true,
                "isMarginTradingAllowed": false,
                "filters": [
                    {
                        "filterType": "PRICE_FILTER",
                        "minPrice": format!("{:.8}", listed.tick),
                        "maxPrice": format!("{PRICE_MAX:.8}"),
                        "tickSize": format!("{:.8}", listed.tick),
                    },
                    {
                        "filterType": "LOT_SIZE",
                        "minQty": format!("{:.8}", listed.quantity_min),
                        "maxQty": format!("{QUANTITY_MAX:.8}"),
                        "stepSize": format!("{:.8}", listed.step),
                    },
                    {
                        "filterType": "NOTIONAL",
                        "minNotional": format!("{:.8}", listed.notional_min),
                        "applyMinToMarket": true,
                        "maxNotional": format!("{NOTIONAL_MAX:.8}"),
                        "applyMaxToMarket": false,
                        "avgPriceMins": 5,
                    },
                    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
                ],
                "permissions": [],
                "permissionSets": [["SPOT"]],
                "defaultSelfTradePreventionMode": "NONE",
                "allowedSelfTradePreventionModes": ["NONE"],
            })
        })
        .collect();
    let limit = |kind: &str, interval: &str, number: u64, limit: u64| json!({"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit});
    let info = json!({
        "timezone": "UTC",
        "serverTime": unit.of(state.now()),
        "rateLimits": [
            limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_LIMIT),
            limit("ORDERS", "SECOND", 10, ORDERS_LIMIT),
            limit("ORDERS", "DAY", 1, ORDERS_DAY_LIMIT),
            limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
        ],
        "exchangeFilters": [],
        "symbols": symbols,
    });
    Ok(info.to_string())
}

pub(super) fn depth(state: &VenueState, params: &Params) -> Result<String, ApiError> {
    let instrument = instrument(state, params)?;
    let limit = params.limit(100, 5000)?;
    Ok(partial_depth(state, instrument, limit))
}

/// `lastUpdateId`, `bids`, `asks`.
pub(super) fn partial_depth(state: &VenueState, instrument: InstrumentId, limit: usize) -> String {
    let book = state.engine.book(instrument);
    let side = |side| {
        let levels = book.levels(side, limit);
        messages::levels(levels.iter().map(|(price, quantity)| (price, quantity)))
    };
    format!(
        r#"{{"lastUpdateId":{},"bids":{},"asks":{}}}"#,
        book.update_id(),
        side(Side::Buy),
        side(Side::Sell)
    )
}

/// One object for `symbol`, a list otherwise.
fn one_or_many(
    state: &VenueState,
    params: &Params,
    show: impl Fn(InstrumentId) -> String,
) -> Result<String, ApiError> {
    let shown: Vec<String> = wanted(state, params)?.into_iter().map(show).collect();
    if params.has("symbol") { Ok(shown.concat()) } else { Ok(format!("[{}]", shown.join(","))) }
}

pub(super) fn book_ticker(state: &VenueState, params: &Params) -> Result<String, ApiError> {
    one_or_many(state, params, |id| {
        let quote = state.engine.book(id).quote();
        format!(
            r#"{{"symbol":"{}","bidPrice":"{:.8}","bidQty":"{:.8}","askPrice":"{:.8}","askQty":"{:.8}"}}"#,
            state.instruments[id].symbol,
            quote.bid,
            quote.bid_quantity,
            quote.ask,
            quote.ask_quantity,
        )
    })
}

pub(super) fn price_ticker(state: &VenueState, params: &Params) -> Result<String, ApiError> {
    one_or_many(state, params, |id| {
        let last = state.engine.stats(id).last;
        format!(r#"{{"symbol":"{}","price":"{last:.8}"}}"#, state.instruments[id].symbol)
    })
}

pub(super) fn day_ticker(
    state: &VenueState,
    params: &Params,
    unit: TimeUnit,
) -> Result<String, ApiError> {
    let (open, close) = window(state, unit);
    one_or_many(state, params, |id| {
        let day = state.engine.stats(id);
        let quote = state.engine.book(id).quote();
        format!(
            r#"{{"symbol":"{}","priceChange":"{:.8}","priceChangePercent":"{:.3}","weightedAvgPrice":"{:.8}","prevClosePrice":"{:.8}","lastPrice":"{:.8}","lastQty":"{:.8}","bidPrice":"{:.8}","bidQty":"{:.8}","askPrice":"{:.8}","askQty":"{:.8}","openPrice":"{:.8}","highPrice":"{:.8}","lowPrice":"{:.8}","volume":"{:.8}","quoteVolume":"{:.8}","openTime":{open},"closeTime":{close},"firstId":{},"lastId":{},"count":{}}}"#,
            state.instruments[id].symbol,
            day.change(),
            day.change_percent(),
            day.vwap(),
            day.open,
            day.last,
            day.last_quantity,
            quote.bid,
            quote.bid_quantity,
            quote.ask,
            quote.ask_quantity,
            day.open,
            day.high,
            day.low,
            day.volume,
            day.quote_volume,
            day.first_trade_id,
            day.last_trade_id,
            day.trades,
        )
    })
}

/// Begin and end of the last day.
fn window(state: &VenueState, unit: TimeUnit) -> (i64, i64) {
    let now = state.now();
    let length = std::time::Duration::from_secs(86_400);
    (unit.of(now.saturating_sub(length).unwrap_or(now)), unit.of(now))
}

/// The `@ticker` event.
pub(super) fn ticker_event(state: &VenueState, id: InstrumentId, unit: TimeUnit) -> String {
    let day = state.engine.stats(id);
    let quote = state.engine.book(id).quote();
    let (open, close) = window(state, unit);
    format!(
        r#"{{"e":"24hrTicker","E":{close},"s":"{}","p":"{:.8}","P":"{:.3}","w":"{:.8}","x":"{:.8}","c":"{:.8}","Q":"{:.8}","b":"{:.8}","B":"{:.8}","a":"{:.8}","A":"{:.8}","o":"{:.8}","h":"{:.8}","l":"{:.8}","v":"{:.8}","q":"{:.8}","O":{open},"C":{close},"F":{},"L":{},"n":{}}}"#,
        state.instruments[id].symbol,
        day.change(),
        day.change_percent(),
        day.vwap(),
        day.open,
        day.last,
        day.last_quantity,
        quote.bid,
        quote.bid_quantity,
        quote.ask,
        quote.ask_quantity,
        day.open,
        day.high,
        day.low,
        day.volume,
        day.quote_volume,
        day.first_trade_id,
        day.last_trade_id,
        day.trades,
    )
}

/// The `@miniTicker` event.
pub(super) fn mini_ticker_event(state: &VenueState, id: InstrumentId, unit: TimeUnit) -> String {
    let day = state.engine.stats(id);
    format!(
        r#"{{"e":"24hrMiniTicker","E":{},"s":"{}","c":"{:.8}","o":"{:.8}","h":"{:.8}","l":"{:.8}","v":"{:.8}","q":"{:.8}"}}"#,
        unit.of(state.now()),
        state.instruments[id].symbol,
        day.last,
        day.open,
        day.high,
        day.low,
        day.volume,
        day.quote_volume,
    )
}

pub(super) fn account(state: &VenueState, params: &Params, unit: TimeUnit) -> String {
    let omit_zero = params.flag("omitZeroBalances").unwrap_or(false);
    let (maker, taker) = state.engine.fees();
    let balances: Vec<_> = state
        .engine
        .account()
        .balances()
        .iter()
        .filter(|(_, held)| !(omit_zero && held.free.is_zero() && held.locked.is_zero()))
        .map(|(asset, held)| {
            json!({
                "asset": &**asset,
                "free": format!("{:.8}", held.free),
                "locked": format!("{:.8}", held.locked),
            })
        })
        .collect();
    json!({
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": format!("{maker:.8}"),
            "taker": format!("{taker:.8}"),
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": true,
        "canWithdraw": true,
        "canDeposit": true,
        "brokered": false,
        "requireSelfTradePrevention": false,
        "preventSor": false,
        "updateTime": unit.of(state.now()),
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 1,
    })
    .to_string()
}
