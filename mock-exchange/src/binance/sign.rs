//! Keys, signatures and the time window.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::params::{ApiError, Params};
use crate::config::Credentials;

/// The published sample key of the exchange's documentation.
pub(super) fn credentials() -> Credentials {
    Credentials {
        api_key: "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A".to_owned(),
        api_secret: "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j".to_owned(),
    }
}

/// Whether `signature` (hex) is the HMAC-SHA256 of `payload`.
pub(super) fn verify(secret: &str, payload: &str, signature: &str) -> bool {
    let Ok(signature) = hex::decode(signature) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(payload.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

/// The key must be the test account's.
pub(super) fn check_key(credentials: &Credentials, key: &str) -> Result<(), ApiError> {
    if key == credentials.api_key {
        return Ok(());
    }
    let well_formed = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Err(if well_formed {
        ApiError::new(-2015, "Invalid API-key, IP, or permissions for action.").with_status(401)
    } else {
        ApiError::new(-2014, "API-key format invalid.").with_status(401)
    })
}

/// The signature must fit `payload`.
pub(super) fn check_signature(
    credentials: &Credentials,
    payload: &str,
    signature: &str,
) -> Result<(), ApiError> {
    if verify(&credentials.api_secret, payload, signature) {
        Ok(())
    } else {
        Err(ApiError::new(-1022, "Signature for this request is not valid."))
    }
}

/// `timestamp` must lie within the receive window, at most a second ahead.
pub(super) fn check_time(params: &Params, now: Timestamp) -> Result<(), ApiError> {
    params.required("timestamp")?;
    let Some(sent) = params.integer("timestamp")? else {
        return Err(ApiError::missing("timestamp"));
    };
    // Milliseconds have 13 digits until the year 2286, microseconds 16.
    let sent = if sent > 100_000_000_000_000 { sent } else { sent.saturating_mul(1000) };
    let window = match params.get("recvWindow") {
        None => 5_000_000,
        Some(text) => {
            let millis: f64 =
                text.parse().map_err(|_| ApiError::illegal("recvWindow", "^[0-9.]{1,20}$"))?;
            if !(0.0..=60_000.0).contains(&millis) {
                return Err(ApiError::new(-1131, "'recvWindow' must be less than 60000."));
            }
            #[expect(clippy::cast_possible_truncation, reason = "at most 60 million")]
            let micros = (millis * 1000.0) as i64;
            micros
        }
    };
    let now = now.as_microsecond();
    if sent >= now + 1_000_000 {
        let text = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(ApiError::new(-1021, text));
    }
    if now - sent > window {
        let text = "Timestamp for this request is outside of the recvWindow.";
        return Err(ApiError::new(-1021, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_signatures_are_accepted() {
        let secret = credentials().api_secret;
        let key = credentials().api_key;
        let order = format!(
            "apiKey={key}&price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL\
             &symbol=BTCUSDT&timeInForce=GTC&timestamp=1645423376532&type=LIMIT"
        );
        let signature = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24";
        assert!(verify(&secret, &order, signature));
        assert!(verify(&secret, &order, &signature.to_uppercase()));
        let logon = format!("apiKey={key}&timestamp=1649729878532");
        let signature = "1cf54395b336b0a9727ef27d5d98987962bc47aca6e13fe978612d0adee066ed";
        assert!(verify(&secret, &logon, signature));
        assert!(!verify(&secret, &order, signature));
    }

    #[test]
    fn a_request_outside_its_window_is_refused() {
        let now = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let at = |millis: i64, window: &str| {
            let mut form = std::collections::BTreeMap::new();
            form.insert("timestamp".to_owned(), (now.as_millisecond() + millis).to_string());
            form.insert("recvWindow".to_owned(), window.to_owned());
            check_time(&Params::from_form(form), now).map_err(|error| error.code)
        };
        assert_eq!(at(0, "100"), Ok(()));
        assert_eq!(at(-100, "100"), Ok(()));
        assert_eq!(at(-101, "100"), Err(-1021));
        assert_eq!(at(999, "100"), Ok(()));
        assert_eq!(at(1000, "100"), Err(-1021));
        assert_eq!(at(0, "60001"), Err(-1131));
    }
}
