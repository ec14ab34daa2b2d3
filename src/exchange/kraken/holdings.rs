//! The balances of the account, under the names that the gateway has for assets.
//!
//! Source: <https://docs.kraken.com/api/docs/rest-api/get-account-balance>.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::instruments::modern;
use super::messages::{http_result, read as read_part};
use super::sign::Account;
use crate::exchange::{DecodeError, HttpRequest, HttpResponse};
use crate::types::{Held, Holding, Timestamp};

/// Assets that the HTTP API still has a letter before: `X` for a coin, `Z` for a currency. Newer
/// ones have none, though their names may begin with these letters.
const LETTERED: [&str; 20] = [
    "XETC", "XETH", "XLTC", "XMLN", "XREP", "XXBT", "XXDG", "XXLM", "XXMR", "XXRP", "XZEC", "ZAUD",
    "ZCAD", "ZEUR", "ZGBP", "ZJPY", "ZUSD", "XICN", "XNMC", "XXVN",
];

pub(super) fn request(account: &Account, now: Timestamp) -> Result<HttpRequest, DecodeError> {
    account.request("/0/private/Balance", &[], now).map_err(DecodeError::new)
}

/// The modern name; what earns rewards (`BTC.F`) is traded like the rest of the asset.
fn name(id: &str) -> &str {
    let id = id.strip_suffix(".F").unwrap_or(id);
    modern(if LETTERED.contains(&id) { &id[1..] } else { id })
}

pub(super) fn read(response: &HttpResponse) -> Result<Vec<Holding>, DecodeError> {
    let result = http_result(response).map_err(DecodeError::new)?;
    let balances: BTreeMap<String, &RawValue> = read_part(result, "result")?;
    let mut sums: BTreeMap<String, Decimal> = BTreeMap::new();
    for (id, amount) in balances {
        let amount = amount.get().trim_matches('"');
        let sum = sums.entry(name(&id).to_owned()).or_default();
        let number = Decimal::from_str_exact(amount).ok().and_then(|more| sum.checked_add(more));
        *sum = number.ok_or_else(|| {
            let amount: String = amount.chars().take(64).collect();
            DecodeError::new(format!("balance of {id}: `{amount}` is no number"))
        })?;
    }
    let holding = |(asset, amount)| Holding { held: Held::Asset(asset), amount };
    Ok(sums.into_iter().map(holding).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, account};
    use super::*;

    fn answer(body: &str) -> Result<Vec<(String, String)>, String> {
        let read = read(&HttpResponse { status: 200, body: body.into() });
        let shown = |held: Holding| (held.held.to_string(), held.amount.to_string());
        read.map(|all| all.into_iter().map(shown).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_question_is_signed_and_a_key_that_cannot_sign_says_why() {
        let asked = request(&account("c2VjcmV0"), NOW).unwrap();
        assert_eq!(asked.url.as_str(), "https://api.kraken.com/0/private/Balance");
        assert_eq!((asked.method, asked.headers[1].0), ("POST", "api-sign"));
        assert!(request(&account("no base64!"), NOW).is_err());
    }

    #[test]
    fn balances_are_under_their_modern_names_and_rewards_are_with_the_rest() {
        let body = r#"{"error":[],"result":{"ZUSD":"171288.6158","ZEUR":"504861.8946",
            "XXBT":"1011.1908877900","XBT.F":"0.5","USDT":"500000.00000000","XXDG":"1","ZEUS":"2",
            "ETH2.S":"198.3970800000"}}"#;
        let expected = [
            ("BTC", "1011.6908877900"),
            ("DOGE", "1"),
            ("ETH2.S", "198.3970800000"),
            ("EUR", "504861.8946"),
            ("USD", "171288.6158"),
            ("USDT", "500000.00000000"),
            ("ZEUS", "2"),
        ];
        let expected = expected.map(|(asset, sum)| (asset.to_owned(), sum.to_owned()));
        assert_eq!(answer(body), Ok(expected.to_vec()));
    }

    #[test]
    fn a_refusal_and_a_balance_that_is_no_number_name_themselves() {
        let refused = answer(r#"{"error":["EGeneral:Permission denied"]}"#).unwrap_err();
        assert_eq!(refused, "EGeneral:Permission denied");
        let broken = answer(r#"{"error":[],"result":{"XXBT":"much"}}"#).unwrap_err();
        assert!(broken.contains("XXBT") && broken.contains("`much`"), "{broken}");
        assert!(answer("<html>").is_err());
    }
}
