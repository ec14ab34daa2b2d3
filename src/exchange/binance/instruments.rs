//! Instrument rules from `GET /api/v3/exchangeInfo`.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde::Deserialize;

use super::errors::ApiError;
use super::messages::Field;
use crate::exchange::{DecodeError, HttpRequest, HttpResponse};
use crate::types::{Instrument, InstrumentSpec, Quantity};

/// The request for all symbols that are traded, without the long permission lists. A list of wanted
/// symbols is not sent along, because one unknown symbol makes Binance refuse the whole request
/// without saying which it was.
pub(super) fn request(http: &url::Url) -> HttpRequest {
    let mut url = http.clone();
    url.set_path("/api/v3/exchangeInfo");
    url.set_query(Some("symbolStatus=TRADING&showPermissionSets=false"));
    HttpRequest { method: "GET", url, headers: Vec::new(), body: String::new() }
}

#[derive(Deserialize)]
struct ExchangeInfo<'a> {
    #[serde(borrow)]
    symbols: Vec<Listing<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listing<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    #[serde(borrow)]
    status: Field<'a>,
    #[serde(borrow)]
    base_asset: Field<'a>,
    #[serde(borrow)]
    quote_asset: Field<'a>,
    #[serde(borrow)]
    filters: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter<'a> {
    #[serde(borrow, rename = "filterType")]
    kind: Field<'a>,
    #[serde(borrow)]
    tick_size: Field<'a>,
    #[serde(borrow)]
    step_size: Field<'a>,
    #[serde(borrow)]
    min_qty: Field<'a>,
    #[serde(borrow)]
    max_qty: Field<'a>,
    #[serde(borrow)]
    min_notional: Field<'a>,
}

/// Reads the rules of the wanted instruments; symbols that nobody wants are not looked into.
pub(super) fn read(
    response: &HttpResponse,
    wanted: &[Instrument],
) -> Result<Vec<InstrumentSpec>, DecodeError> {
    if response.status != 200 {
        return Err(refused(response));
    }
    let info: ExchangeInfo<'_> = serde_json::from_str(&response.body)
        .map_err(|error| DecodeError::new(format!("exchangeInfo: {error}")))?;
    let mut specs = Vec::with_capacity(wanted.len());
    for listing in &info.symbols {
        let (Some(base), Some(quote)) = (
            listing.base_asset.optional_text("baseAsset"),
            listing.quote_asset.optional_text("quoteAsset"),
        ) else {
            continue;
        };
        let is_wanted = |instrument: &&Instrument| {
            instrument.base() == base.as_ref() && instrument.quote() == quote.as_ref()
        };
        let Some(instrument) = wanted.iter().find(is_wanted) else { continue };
        if listing.status.optional_text("status").as_deref() != Some("TRADING") {
            continue;
        }
        let spec = read_listing(listing, *instrument).map_err(|error| {
            DecodeError::new(format!("exchangeInfo, {}: {error}", instrument.pair()))
        })?;
        specs.push(spec);
    }
    Ok(specs)
}

fn refused(response: &HttpResponse) -> DecodeError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Flat<'a> {
        #[serde(borrow)]
        code: Field<'a>,
        #[serde(borrow)]
        msg: Field<'a>,
    }
    let flat: Flat<'_> = serde_json::from_str(&response.body).unwrap_or_default();
    let ApiError { code, reason, .. } =
        ApiError::read(Field::default(), flat.code, flat.msg, Field::default());
    let status = response.status;
    DecodeError::new(match code {
        Some(code) => format!("exchangeInfo was refused with status {status}: {reason} ({code})"),
        None => format!("exchangeInfo was refused with status {status}"),
    })
}

fn read_listing(
    listing: &Listing<'_>,
    instrument: Instrument,
) -> Result<InstrumentSpec, DecodeError> {
    let filters =
        listing.filters.token().ok_or_else(|| DecodeError::new("`filters` is missing"))?;
    let filters: Vec<Filter<'_>> = serde_json::from_str(filters)
        .map_err(|error| DecodeError::new(format!("`filters`: {error}")))?;
    let find = |name: &str| {
        filters.iter().find(|filter| {
            filter.kind.optional_text("filterType").is_some_and(|kind| kind == *name)
        })
    };
    let missing = |name: &str| DecodeError::new(format!("the filter {name} is missing"));
    let price = find("PRICE_FILTER").ok_or_else(|| missing("PRICE_FILTER"))?;
    let lot = find("LOT_SIZE").ok_or_else(|| missing("LOT_SIZE"))?;
    // NOTIONAL took the place of MIN_NOTIONAL; some symbols still have the older one.
    let min_notional = match find("NOTIONAL").or_else(|| find("MIN_NOTIONAL")) {
        Some(filter) => Some(limit(filter.min_notional, "minNotional")?),
        None => None,
    };
    let max_quantity = limit(lot.max_qty, "LOT_SIZE.maxQty")?;
    Ok(InstrumentSpec {
        instrument,
        symbol: listing.symbol.text("symbol").map(Cow::into_owned)?,
        tick_size: limit(price.tick_size, "PRICE_FILTER.tickSize")?,
        lot_size: limit(lot.step_size, "LOT_SIZE.stepSize")?,
        min_quantity: Quantity(limit(lot.min_qty, "LOT_SIZE.minQty")?),
        max_quantity: Some(Quantity(max_quantity)).filter(|max| !max.is_zero()),
        min_notional: min_notional.filter(|min| !min.is_zero()),
        tick_size_steps: Vec::new(),
        contract_size: None,
    })
}

fn limit(field: Field<'_>, key: &str) -> Result<Decimal, DecodeError> {
    field.amount(key).map(|value: Decimal| value.normalize())
}

/// Quote assets of Spot, the longer ones first where one ends with another.
const QUOTE_ASSETS: [&str; 21] = [
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "BIDR", "USD1", "DOGE", "BTC", "ETH", "BNB",
    "EUR", "TRY", "BRL", "JPY", "GBP", "AUD", "ARS", "MXN", "XRP",
];

/// Splits a symbol before a known quote asset.
pub(super) fn split(symbol: &str) -> Option<(&str, &str)> {
    QUOTE_ASSETS.iter().find_map(|quote| {
        let base = symbol.strip_suffix(quote)?;
        (!base.is_empty()).then_some((base, &symbol[base.len()..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = r#"{"timezone":"UTC","serverTime":1,"rateLimits":[],"exchangeFilters":[],"symbols":[
        {"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","baseAssetPrecision":8,"quoteAsset":"USDT",
         "orderTypes":["LIMIT"],"filters":[
          {"filterType":"PRICE_FILTER","minPrice":"0.01000000","maxPrice":"1000000.00000000","tickSize":"0.01000000"},
          {"filterType":"LOT_SIZE","minQty":"0.00001000","maxQty":"9000.00000000","stepSize":"0.00001000"},
          {"filterType":"MARKET_LOT_SIZE","minQty":"0.00000000","maxQty":"100.0","stepSize":"0.00000000"},
          {"filterType":"ICEBERG_PARTS","limit":10},
          {"filterType":"NOTIONAL","minNotional":"5.00000000","applyMinToMarket":true,"maxNotional":"9000000.00000000"}]},
        {"symbol":"ETHBTC","status":"TRADING","baseAsset":"ETH","quoteAsset":"BTC","filters":[
          {"filterType":"PRICE_FILTER","tickSize":"0.00001"},
          {"filterType":"LOT_SIZE","minQty":"0.0001","maxQty":"0","stepSize":"0.0001"},
          {"filterType":"MIN_NOTIONAL","minNotional":"0.0001"}]},
        {"symbol":"LUNAUSDT","status":"BREAK","baseAsset":"LUNA","quoteAsset":"USDT","filters":[]},
        {"symbol":"ODD","status":"TRADING","baseAsset":7,"filters":"none"}]}"#;

    fn read_pairs(body: &str, pairs: &[&str]) -> Result<Vec<InstrumentSpec>, DecodeError> {
        let wanted: Vec<Instrument> =
            pairs.iter().map(|pair| format!("binance:{pair}").parse().unwrap()).collect();
        read(&HttpResponse { status: 200, body: body.into() }, &wanted)
    }

    #[test]
    fn the_rules_of_a_wanted_instrument_are_read_exactly() {
        let specs = read_pairs(INFO, &["BTC-USDT", "ETH-BTC"]).unwrap();
        assert_eq!(
            specs[0],
            InstrumentSpec {
                instrument: "binance:BTC-USDT".parse().unwrap(),
                symbol: "BTCUSDT".into(),
                tick_size: Decimal::new(1, 2),
                lot_size: Decimal::new(1, 5),
                min_quantity: "0.00001".parse().unwrap(),
                max_quantity: Some("9000".parse().unwrap()),
                min_notional: Some(Decimal::from(5)),
                tick_size_steps: Vec::new(),
                contract_size: None,
            }
        );
        assert_eq!(specs[1].max_quantity, None);
        assert_eq!(specs[1].min_notional, Some(Decimal::new(1, 4)));
    }

    #[test]
    fn an_unknown_or_halted_instrument_is_absent() {
        assert_eq!(read_pairs(INFO, &["LUNA-USDT", "NO-USDT"]).unwrap(), []);
    }

    #[test]
    fn a_wanted_instrument_without_its_rules_is_an_error_that_names_it() {
        let body = INFO.replace("LOT_SIZE", "GONE");
        let error = read_pairs(&body, &["BTC-USDT"]).unwrap_err().to_string();
        assert!(error.contains("BTC-USDT") && error.contains("LOT_SIZE"), "{error}");
        let body = INFO.replace("0.01000000\"}", "x\"}");
        let error = read_pairs(&body, &["BTC-USDT"]).unwrap_err().to_string();
        assert!(error.contains("tickSize"), "{error}");
    }

    #[test]
    fn a_refusal_says_so_in_the_exchanges_words() {
        let body = r#"{"code":-1003,"msg":"Way too much request weight used."}"#.to_owned();
        let error = read(&HttpResponse { status: 429, body }, &[]).unwrap_err().to_string();
        assert!(error.contains("429") && error.contains("Way too much"), "{error}");
        let html = HttpResponse { status: 502, body: "<html>".into() };
        assert!(read(&html, &[]).unwrap_err().to_string().contains("502"));
    }

    #[test]
    fn everything_is_asked_for_once_and_filtered_by_status() {
        let url = url::Url::parse("https://api.binance.com").unwrap();
        assert_eq!(
            request(&url).url.as_str(),
            "https://api.binance.com/api/v3/exchangeInfo?symbolStatus=TRADING&showPermissionSets=false"
        );
    }

    #[test]
    fn a_symbol_splits_before_its_quote_asset() {
        assert_eq!(split("BTCUSDT"), Some(("BTC", "USDT")));
        assert_eq!(split("BNBBTC"), Some(("BNB", "BTC")));
        assert_eq!(split("BTCFDUSD"), Some(("BTC", "FDUSD")));
        assert_eq!(split("USDT"), None);
        assert_eq!(split("btcusdt"), None);
    }
}
