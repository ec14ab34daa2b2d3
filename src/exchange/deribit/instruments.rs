//! Instrument rules from `public/get_instruments`.
//!
//! Source: <https://docs.deribit.com/api-reference/market-data/public-get_instruments>.

use rust_decimal::Decimal;
use serde::Deserialize;

use super::errors::RpcError;
use super::messages::{Envelope, Field, malformed, shorten};
use crate::exchange::{DecodeError, HttpRequest, HttpResponse};
use crate::types::{Instrument, InstrumentSpec, Quantity, TickSizeStep};

/// The request for all instruments of all currencies that have not expired.
pub(super) fn request(http: &url::Url) -> HttpRequest {
    let mut url = http.clone();
    url.set_path("/api/v2/public/get_instruments");
    url.set_query(Some("currency=any&expired=false"));
    HttpRequest { method: "GET", url, headers: Vec::new(), body: String::new() }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listing<'a> {
    #[serde(borrow)]
    instrument_name: Field<'a>,
    #[serde(borrow)]
    is_active: Field<'a>,
    #[serde(borrow)]
    tick_size: Field<'a>,
    #[serde(borrow)]
    tick_size_steps: Field<'a>,
    #[serde(borrow)]
    min_trade_amount: Field<'a>,
    #[serde(borrow)]
    contract_size: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Step<'a> {
    #[serde(borrow)]
    above_price: Field<'a>,
    #[serde(borrow)]
    tick_size: Field<'a>,
}

/// Reads the rules of the wanted instruments; others are not looked into. The strike of some
/// options has a lowercase `d` for the point, which is a capital in the gateway's name.
pub(super) fn read(
    response: &HttpResponse,
    wanted: &[Instrument],
) -> Result<Vec<InstrumentSpec>, DecodeError> {
    let answer: Envelope<'_> = serde_json::from_str(&response.body).map_err(|error| {
        DecodeError::new(format!("get_instruments: {}", malformed(&error).reason))
    })?;
    if answer.error.is_present() {
        let RpcError { code, reason } = RpcError::read(answer.error);
        let code = code.map_or_else(String::new, |code| format!(" ({code})"));
        return Err(DecodeError::new(format!("get_instruments was refused: {reason}{code}")));
    }
    if !answer.result.is_present() {
        return Err(DecodeError::new("get_instruments: `result` is missing"));
    }
    let listings: Vec<Listing<'_>> = answer.result.read("result")?;
    let mut specs = Vec::with_capacity(wanted.len());
    for listing in &listings {
        let Some(name) = listing.instrument_name.optional_text() else { continue };
        let same = |instrument: &&Instrument| instrument.pair().eq_ignore_ascii_case(&name);
        let Some(instrument) = wanted.iter().find(same) else { continue };
        if listing.is_active.is_false() {
            continue;
        }
        let spec = read_listing(listing, *instrument, &name).map_err(|error| {
            DecodeError::new(format!("get_instruments, {}: {error}", instrument.pair()))
        })?;
        specs.push(spec);
    }
    Ok(specs)
}

fn read_listing(
    listing: &Listing<'_>,
    instrument: Instrument,
    symbol: &str,
) -> Result<InstrumentSpec, DecodeError> {
    let steps: Vec<Step<'_>> = listing.tick_size_steps.read("tick_size_steps")?;
    let mut tick_size_steps = Vec::with_capacity(steps.len());
    for step in steps {
        tick_size_steps.push(TickSizeStep {
            above_price: number(step.above_price, "tick_size_steps.above_price")?,
            tick_size: number(step.tick_size, "tick_size_steps.tick_size")?,
        });
    }
    tick_size_steps.sort_by_key(|step| step.above_price);
    let min_trade_amount = number(listing.min_trade_amount, "min_trade_amount")?;
    let contract_size = listing.contract_size.optional_amount::<Decimal>("contract_size")?;
    Ok(InstrumentSpec {
        instrument,
        symbol: shorten(symbol),
        tick_size: number(listing.tick_size, "tick_size")?,
        tick_size_steps,
        lot_size: min_trade_amount,
        min_quantity: Quantity(min_trade_amount),
        max_quantity: None,
        min_notional: None,
        contract_size: contract_size.map(|size| size.normalize()),
    })
}

fn number(field: Field<'_>, key: &str) -> Result<Decimal, DecodeError> {
    field.amount(key).map(|value: Decimal| value.normalize())
}

/// The currency that an instrument settles in, which requests by label ask for: `BTC` of
/// `BTC-PERPETUAL`, `USDC` of `ETH_USDC-PERPETUAL`.
pub(super) fn settlement_currency(instrument: Instrument) -> &'static str {
    let base = instrument.base();
    base.split_once('_').map_or(base, |(_, settlement)| settlement)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"jsonrpc":"2.0","result":[
        {"tick_size":0.5,"tick_size_steps":[],"min_trade_amount":10.0,"contract_size":10.0,"is_active":true,
         "kind":"future","instrument_name":"BTC-PERPETUAL","settlement_currency":"BTC","base_currency":"BTC"},
        {"tick_size":1e-4,"tick_size_steps":[{"above_price":0.005,"tick_size":0.0005}],"min_trade_amount":0.1,
         "contract_size":1,"is_active":true,"kind":"option","instrument_name":"BTC-27DEC24-60000-C"},
        {"tick_size":0.0001,"min_trade_amount":1000,"contract_size":1000,"is_active":true,"kind":"option",
         "instrument_name":"XRP_USDC-27DEC24-0d625-C"},
        {"instrument_name":"BTC-29NOV24","is_active":false},
        {"instrument_name":"ODD-PERPETUAL","tick_size":"none"},
        {"instrument_name":"BTC_USDC","kind":"spot"}],"usIn":1,"usOut":2,"usDiff":1,"testnet":true}"#;

    fn read_names(body: &str, names: &[&str]) -> Result<Vec<InstrumentSpec>, DecodeError> {
        let wanted: Vec<Instrument> =
            names.iter().map(|name| format!("deribit:{name}").parse().unwrap()).collect();
        read(&HttpResponse { status: 200, body: body.into() }, &wanted)
    }

    #[test]
    fn the_rules_of_a_wanted_instrument_are_read_exactly() {
        let specs = read_names(LIST, &["BTC-27DEC24-60000-C", "BTC-PERPETUAL"]).unwrap();
        let perpetual = InstrumentSpec {
            instrument: "deribit:BTC-PERPETUAL".parse().unwrap(),
            symbol: "BTC-PERPETUAL".into(),
            tick_size: Decimal::new(5, 1),
            tick_size_steps: Vec::new(),
            lot_size: Decimal::from(10),
            min_quantity: "10".parse().unwrap(),
            max_quantity: None,
            min_notional: None,
            contract_size: Some(Decimal::from(10)),
        };
        assert_eq!(specs[0], perpetual);
        assert_eq!(specs[1].tick_size, Decimal::new(1, 4));
        let step = TickSizeStep { above_price: Decimal::new(5, 3), tick_size: Decimal::new(5, 4) };
        assert_eq!(specs[1].tick_size_steps, [step]);
        assert_eq!(specs[1].lot_size, Decimal::new(1, 1));
    }

    #[test]
    fn a_strike_with_a_point_is_wanted_in_capitals_and_asked_as_it_is() {
        let specs = read_names(LIST, &["XRP_USDC-27DEC24-0D625-C"]).unwrap();
        assert_eq!(specs[0].symbol, "XRP_USDC-27DEC24-0d625-C");
        assert_eq!(specs[0].instrument.pair(), "XRP_USDC-27DEC24-0D625-C");
    }

    #[test]
    fn an_unknown_or_expired_instrument_is_absent() {
        assert_eq!(read_names(LIST, &["BTC-29NOV24", "NO-PERPETUAL"]).unwrap(), []);
    }

    #[test]
    fn a_wanted_instrument_without_its_rules_is_an_error_that_names_it() {
        let error = read_names(LIST, &["ODD-PERPETUAL"]).unwrap_err().to_string();
        assert!(error.contains("ODD-PERPETUAL") && error.contains("min_trade_amount"), "{error}");
    }

    #[test]
    fn a_refusal_says_so_in_the_exchanges_words() {
        let body = r#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"param":"currency","reason":"wrong currency"}}}"#;
        let error = read_names(body, &[]).unwrap_err().to_string();
        assert!(error.contains("-32602") && error.contains("wrong currency"), "{error}");
        assert!(read_names("<html>", &[]).is_err());
        assert!(read_names("{}", &[]).is_err());
    }

    #[test]
    fn requests_by_label_ask_in_the_currency_of_settlement() {
        let currency = |name: &str| settlement_currency(format!("d:{name}").parse().unwrap());
        assert_eq!(currency("BTC-27DEC24-60000-C"), "BTC");
        assert_eq!(currency("ETH_USDC-PERPETUAL"), "USDC");
    }

    #[test]
    fn everything_is_asked_for_once() {
        let url = url::Url::parse("https://www.deribit.com").unwrap();
        assert_eq!(
            request(&url).url.as_str(),
            "https://www.deribit.com/api/v2/public/get_instruments?currency=any&expired=false"
        );
    }
}
