use super::*;
use crate::exchange::HttpResponse;
use crate::types::{Held, Holding};

fn read(body: &str) -> Result<Vec<Holding>, String> {
    let response = HttpResponse { status: 200, body: body.to_owned() };
    adapter(true).read_holdings(&response, &known()).map_err(|error| error.to_string())
}

#[test]
fn the_positions_of_all_currencies_are_asked_for_with_a_signature() {
    let request = adapter(true).holdings_request(now()).unwrap();
    assert_eq!((request.method, request.url.as_str()), ("POST", "https://www.deribit.com/api/v2"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["method"], "private/get_positions");
    assert_eq!(body["params"]["currency"], "any");
    assert!(request.headers[0].1.starts_with("deri-hmac-sha256 id="));
    assert!(adapter(false).holdings_request(now()).is_err());
}

#[test]
fn a_size_has_the_sign_of_its_direction_and_unknown_instruments_are_left_out() {
    for (direction, size, expected) in [
        ("buy", "50", "50"),
        ("sell", "-50.0", "-50"),
        ("sell", "50", "-50"),
        ("zero", "0.0", "0"),
        ("buy", "1e-3", "0.001"),
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":[
                {{"instrument_name":"NO-PERPETUAL","size":7,"direction":"buy"}},
                {{"instrument_name":"BTC-PERPETUAL","kind":"future","size":{size},
                 "size_currency":0.001,"average_price":50000.0,"direction":"{direction}"}}]}}"#
        );
        let [holding] = &read(&body).unwrap()[..] else { panic!("{body}") };
        assert_eq!(holding.held, Held::Instrument("deribit:BTC-PERPETUAL".parse().unwrap()));
        assert_eq!(holding.amount, expected.parse().unwrap());
    }
}

#[test]
fn a_refusal_and_a_size_that_is_no_number_name_themselves() {
    let refused =
        read(r#"{"jsonrpc":"2.0","error":{"code":13021,"message":"forbidden"}}"#).unwrap_err();
    assert!(refused.contains("forbidden (13021)"), "{refused}");
    let broken = r#"{"jsonrpc":"2.0","result":[
        {"instrument_name":"BTC-PERPETUAL","size":"much","direction":"buy"}]}"#;
    let broken = read(broken).unwrap_err();
    assert!(broken.contains("BTC-PERPETUAL") && broken.contains("`size`"), "{broken}");
    assert!(read("<html>").is_err());
}
