//! The balances of the account.
//!
//! Source: binance-spot-api-docs, rest-api.md, "Account information"; a weight of 20.

use rust_decimal::Decimal;
use serde::Deserialize;
use url::Url;

use super::messages::shorten;
use super::sign::Signer;
use crate::exchange::{DecodeError, HttpRequest, HttpResponse};
use crate::types::{Held, Holding, Timestamp};

pub(super) fn request(http: &Url, signer: &Signer, now: Timestamp) -> HttpRequest {
    let mut url = http.clone();
    url.set_path("/api/v3/account");
    url.set_query(Some(&signer.sign_query(&[("omitZeroBalances", "true")], now)));
    let headers = vec![("x-mbx-apikey", signer.api_key().to_owned())];
    HttpRequest { method: "GET", url, headers, body: String::new() }
}

#[derive(Deserialize)]
struct Account {
    balances: Vec<Balance>,
}

#[derive(Deserialize)]
struct Balance {
    asset: String,
    free: String,
    locked: String,
}

pub(super) fn read(response: &HttpResponse) -> Result<Vec<Holding>, DecodeError> {
    let HttpResponse { status, body } = response;
    if *status != 200 {
        return Err(DecodeError::new(format!("status {status}: {}", shorten(body))));
    }
    let account: Account = serde_json::from_str(body)
        .map_err(|error| DecodeError::new(shorten(&format!("account: {error}"))))?;
    let holding = |balance: Balance| {
        let Balance { asset, free, locked } = balance;
        let number = |text: &str| Decimal::from_str_exact(text).ok();
        let amount = number(&free).zip(number(&locked)).and_then(|(f, l)| f.checked_add(l));
        let amount = amount.ok_or_else(|| {
            DecodeError::new(shorten(&format!("balance of {asset}: `{free}` and `{locked}`")))
        })?;
        Ok(Holding { held: Held::Asset(asset), amount })
    };
    account.balances.into_iter().map(holding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Vec<Holding>, String> {
        read(&HttpResponse { status, body: body.into() }).map_err(|error| error.to_string())
    }

    #[test]
    fn what_orders_hold_is_held_all_the_same() {
        let body = r#"{"makerCommission":15,"balances":[
            {"asset":"BTC","free":"4723846.89208129","locked":"0.10000000"},
            {"asset":"LTC","free":"0.00000000","locked":"0.00000000"}],"uid":354937868}"#;
        let of = |asset: &str, amount: &str| Holding {
            held: Held::Asset(asset.into()),
            amount: amount.parse().unwrap(),
        };
        let expected = vec![of("BTC", "4723846.99208129"), of("LTC", "0")];
        assert_eq!(answer(200, body), Ok(expected));
    }

    #[test]
    fn a_refusal_and_a_balance_that_is_no_number_name_themselves() {
        let refused = r#"{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}"#;
        assert!(answer(401, refused).unwrap_err().contains("-2015"));
        let broken = r#"{"balances":[{"asset":"BTC","free":"much","locked":"0"}]}"#;
        assert!(answer(200, broken).unwrap_err().contains("`much`"));
        assert!(answer(200, "<html>").is_err());
    }
}
