//! The names that REST uses for assets and pairs, and the lists that clients load first.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use crate::instrument::Instrument;

/// REST's id of an asset: `XXBT`, `ZUSD`; newer assets have none of their own (`SOL`).
pub(crate) fn asset_id(asset: &str) -> &str {
    match asset {
        "BTC" => "XXBT",
        "ETH" => "XETH",
        "USD" => "ZUSD",
        "EUR" => "ZEUR",
        other => other,
    }
}

/// REST's short name of an asset: `XBT` for `BTC`.
pub(crate) fn asset_name(asset: &str) -> &str {
    if asset == "BTC" { "XBT" } else { asset }
}

/// REST's short name of a pair: `XBTUSD`.
pub(crate) fn pair_name(instrument: &Instrument) -> String {
    format!("{}{}", asset_name(&instrument.base), asset_name(&instrument.quote))
}

/// REST's id of a pair: `XXBTZUSD`, and the short name for pairs with a newer asset.
fn pair_id(instrument: &Instrument) -> String {
    let (base, quote) = (asset_id(&instrument.base), asset_id(&instrument.quote));
    if base.len() == 4 && quote.len() == 4 && quote.starts_with('Z') {
        format!("{base}{quote}")
    } else {
        pair_name(instrument)
    }
}

/// Whether a client means this pair by any of its names.
pub(crate) fn is_named(instrument: &Instrument, name: &str) -> bool {
    let slashed = format!("{}/{}", asset_name(&instrument.base), asset_name(&instrument.quote));
    *instrument.symbol == *name
        || slashed == name
        || pair_name(instrument) == name
        || pair_id(instrument) == name
        || format!("{}{}", instrument.base, instrument.quote) == name
}

/// The result of `Assets`.
pub(crate) fn assets<'a>(instruments: impl Iterator<Item = &'a Instrument>) -> Value {
    let mut result = Map::new();
    for instrument in instruments {
        for asset in [&instrument.base, &instrument.quote] {
            let decimals = if asset_id(asset).starts_with('Z') { 4 } else { 10 };
            let entry = json!({
                "aclass": "currency",
                "altname": asset_name(asset),
                "decimals": decimals,
                "display_decimals": 5,
                "status": "enabled",
            });
            result.insert(asset_id(asset).to_owned(), entry);
        }
    }
    Value::Object(result)
}

/// The result of `AssetPairs`. Pairs that were asked for are named as they were asked for.
///
/// # Errors
///
/// The venue's text when a name is unknown.
pub(crate) fn asset_pairs(
    instruments: &[Instrument],
    asked: Option<&str>,
    status: &str,
) -> Result<Value, &'static str> {
    let mut result = Map::new();
    let Some(asked) = asked else {
        for instrument in instruments {
            result.insert(pair_id(instrument), pair_entry(instrument, status));
        }
        return Ok(Value::Object(result));
    };
    for name in asked.split(',').map(str::trim) {
        let instrument = instruments
            .iter()
            .find(|instrument| is_named(instrument, name))
            .ok_or("EQuery:Unknown asset pair")?;
        result.insert(name.to_owned(), pair_entry(instrument, status));
    }
    Ok(Value::Object(result))
}

fn pair_entry(instrument: &Instrument, status: &str) -> Value {
    let fee_steps = |percent: Decimal| json!([[0, percent_number(percent)]]);
    json!({
        "altname": pair_name(instrument),
        "wsname": format!("{}/{}", asset_name(&instrument.base), asset_name(&instrument.quote)),
        "aclass_base": "currency",
        "base": asset_id(&instrument.base),
        "aclass_quote": "currency",
        "quote": asset_id(&instrument.quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": instrument.price_decimals(),
        "lot_decimals": instrument.quantity_decimals(),
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": fee_steps(Decimal::new(25, 2)),
        "fees_maker": fee_steps(Decimal::new(16, 2)),
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": instrument.quantity_min.to_string(),
        "costmin": instrument.notional_min.to_string(),
        "tick_size": instrument.tick.to_string(),
        "status": status,
    })
}

/// Fee percentages are the only numbers of REST that are not text; two decimals fit exactly.
fn percent_number(percent: Decimal) -> Value {
    serde_json::from_str(&percent.to_string()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(base: &str, quote: &str) -> Instrument {
        Instrument::new(base, quote, "/")
    }

    #[test]
    fn a_pair_that_was_asked_for_is_named_as_asked() {
        let instruments = [instrument("BTC", "USD"), instrument("SOL", "USD")];
        let all = asset_pairs(&instruments, None, "online").expect("pairs");
        assert_eq!(all["XXBTZUSD"]["wsname"], "XBT/USD");
        assert_eq!(all["SOLUSD"]["altname"], "SOLUSD");
        for name in ["BTC/USD", "XBT/USD", "XBTUSD", "XXBTZUSD"] {
            let one = asset_pairs(&instruments, Some(name), "online").expect(name);
            assert_eq!(one[name]["altname"], "XBTUSD");
        }
        assert!(asset_pairs(&instruments, Some("DOGE/USD"), "online").is_err());
    }

    #[test]
    fn the_assets_of_every_pair_are_listed_with_their_short_names() {
        let instruments = [instrument("BTC", "USD"), instrument("SOL", "USDT")];
        let assets = assets(instruments.iter());
        assert_eq!(assets["XXBT"]["altname"], "XBT");
        assert_eq!(assets["ZUSD"]["altname"], "USD");
        assert_eq!(assets["SOL"]["altname"], "SOL");
        assert_eq!(assets["USDT"]["altname"], "USDT");
    }
}
