//! The exchange's list of pairs.
//!
//! Source: <https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::{DecodeError, HttpResponse};
use crate::types::{ExchangeName, Instrument, InstrumentSpec, Quantity};

use super::messages::{exact, http_result, read};

/// Lists all pairs; asking for named ones fails as a whole if one of them is unknown.
pub(super) const PATH: &str = "/0/public/AssetPairs";

/// One pair. The fields that hold numbers are read only for the pairs that are wanted.
#[derive(Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the exchange's own names")]
struct Pair<'a> {
    /// `BASE/QUOTE` with the old asset names; a few pairs that are not traded have none.
    #[serde(borrow, default)]
    wsname: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pair_decimals: Option<&'a RawValue>,
    #[serde(borrow, default)]
    lot_decimals: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ordermin: Option<&'a RawValue>,
    #[serde(borrow, default)]
    costmin: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tick_size: Option<&'a RawValue>,
}

/// The name that version 2 of the WebSocket API, and the gateway, use for an asset.
pub(super) fn modern(asset: &str) -> &str {
    match asset {
        "XBT" => "BTC",
        "XDG" => "DOGE",
        other => other,
    }
}

/// The instrument of a symbol in either spelling, `BTC/USD` or `XBT/USD`.
pub(super) fn instrument(exchange: ExchangeName, symbol: &str) -> Option<Instrument> {
    let (base, quote) = symbol.split_once('/')?;
    Instrument::new(exchange, modern(base), modern(quote)).ok()
}

/// The symbol of an instrument on the WebSocket API v2.
fn symbol(instrument: Instrument) -> String {
    format!("{}/{}", instrument.base(), instrument.quote())
}

/// Reads the list; only pairs whose status is `online` are traded.
pub(super) fn read_instruments(
    response: &HttpResponse,
    wanted: &[Instrument],
) -> Result<Vec<InstrumentSpec>, DecodeError> {
    let result = http_result(response)
        .map_err(|reason| DecodeError::new(format!("{PATH} was refused: {reason}")))?;
    let pairs: BTreeMap<Cow<'_, str>, &RawValue> = read(result, "result")?;
    let mut by_symbol = BTreeMap::new();
    for (name, raw) in &pairs {
        let pair: Pair<'_> = read(raw, name)?;
        let Some((base, quote)) = pair.wsname.as_deref().and_then(|name| name.split_once('/'))
        else {
            continue;
        };
        by_symbol.insert(format!("{}/{}", modern(base), modern(quote)), pair);
    }
    let mut specs = Vec::with_capacity(wanted.len());
    for &instrument in wanted {
        let symbol = symbol(instrument);
        let Some(pair) = by_symbol.get(&symbol) else { continue };
        if pair.status.as_deref().is_none_or(|status| status == "online") {
            specs.push(spec(instrument, symbol, pair)?);
        }
    }
    Ok(specs)
}

fn spec(
    instrument: Instrument,
    symbol: String,
    pair: &Pair<'_>,
) -> Result<InstrumentSpec, DecodeError> {
    let missing =
        |key: &str| DecodeError::new(format!("pair {symbol}: `{key}` is missing or no number"));
    let step = |field: Option<&RawValue>, key| {
        let decimals: Option<u32> = field.and_then(|raw| unquoted(raw).parse().ok());
        decimals.and_then(|places| Decimal::try_new(1, places).ok()).ok_or_else(|| missing(key))
    };
    let number = |raw: &RawValue, key| exact(unquoted(raw)).map_err(|_| missing(key));
    let tick_size = match pair.tick_size {
        Some(raw) => number(raw, "tick_size")?,
        None => step(pair.pair_decimals, "pair_decimals")?,
    };
    let lot_size = step(pair.lot_decimals, "lot_decimals")?;
    let minimum = pair.ordermin.ok_or_else(|| missing("ordermin"))?;
    let min_quantity = Quantity(number(minimum, "ordermin")?);
    let min_notional = pair.costmin.map(|raw| number(raw, "costmin")).transpose()?;
    Ok(InstrumentSpec {
        instrument,
        symbol,
        tick_size,
        lot_size,
        min_quantity,
        max_quantity: None,
        min_notional,
        tick_size_steps: Vec::new(),
        contract_size: None,
    })
}

/// The HTTP API writes most numbers as strings, and some bare.
fn unquoted(raw: &RawValue) -> &str {
    raw.get().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: &str = r#"{"error":[],"result":{
        "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD",
            "pair_decimals":1,"cost_decimals":5,"lot_decimals":8,"fees":[[0,0.4]],
            "ordermin":"0.00005","costmin":"0.5","tick_size":"0.1","status":"online"},
        "XETHXXBT":{"wsname":"ETH/XBT","pair_decimals":5,"lot_decimals":8,"ordermin":"0.001",
            "status":"online"},
        "XDGUSD":{"wsname":"XDG/USD","pair_decimals":7,"lot_decimals":8,"ordermin":"13",
            "status":"cancel_only"},
        "OLD":{"altname":"OLD","lot_decimals":"x"}}}"#;

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse { status, body: body.into() }
    }

    fn wanted(names: &[&str]) -> Vec<Instrument> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn wanted_pairs_are_read_under_their_modern_names() {
        let wanted = wanted(&["kraken:BTC-USD", "kraken:NO-USD", "kraken:ETH-BTC"]);
        let specs = read_instruments(&answer(200, PAIRS), &wanted).unwrap();
        assert_eq!(specs.len(), 2);
        assert_eq!(specs[0].symbol, "BTC/USD");
        assert_eq!(specs[0].instrument, wanted[0]);
        assert_eq!(specs[0].tick_size.to_string(), "0.1");
        assert_eq!(specs[0].lot_size.to_string(), "0.00000001");
        assert_eq!(specs[0].min_quantity.to_string(), "0.00005");
        assert_eq!(specs[0].min_notional.unwrap().to_string(), "0.5");
        assert_eq!(specs[1].symbol, "ETH/BTC");
        assert_eq!(specs[1].tick_size.to_string(), "0.00001");
        assert_eq!(specs[1].min_notional, None);
    }

    #[test]
    fn a_pair_that_is_not_online_is_not_traded() {
        let specs = read_instruments(&answer(200, PAIRS), &wanted(&["kraken:DOGE-USD"])).unwrap();
        assert_eq!(specs, []);
    }

    #[test]
    fn a_refusal_and_a_broken_number_name_themselves() {
        let wanted = wanted(&["kraken:BTC-USD"]);
        let refused = r#"{"error":["EGeneral:Too many requests"]}"#;
        let error = read_instruments(&answer(200, refused), &wanted).unwrap_err();
        assert!(error.to_string().contains("EGeneral:Too many requests"), "{error}");
        let broken = PAIRS.replace("\"0.00005\"", "\"little\"");
        let error = read_instruments(&answer(200, &broken), &wanted).unwrap_err();
        assert!(error.to_string().contains("BTC/USD: `ordermin`"), "{error}");
        let error = read_instruments(&answer(502, "<html>"), &wanted).unwrap_err();
        assert!(error.to_string().contains("502"), "{error}");
    }

    #[test]
    fn both_spellings_of_a_symbol_are_one_instrument() {
        let kraken = ExchangeName::new("kraken").unwrap();
        assert_eq!(instrument(kraken, "XBT/USD"), instrument(kraken, "BTC/USD"));
        assert_eq!(instrument(kraken, "BTC/USD").unwrap().as_str(), "kraken:BTC-USD");
        assert_eq!(instrument(kraken, "BTCUSD"), None);
    }
}
