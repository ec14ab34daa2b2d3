//! Signed requests to the HTTP API.
//!
//! Source: <https://docs.kraken.com/api/docs/guides/spot-rest-auth>.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use url::{Url, form_urlencoded};

use crate::exchange::{Credentials, HttpRequest, Secret};
use crate::types::Timestamp;

/// The account behind a key: it signs, and it keeps the nonce growing over all sessions.
#[derive(Debug)]
pub(super) struct Account {
    http: Url,
    key: Result<Key, &'static str>,
    last_nonce: AtomicU64,
}

#[derive(Debug)]
struct Key {
    api_key: Secret,
    secret: hmac::Key,
}

impl Account {
    /// An account reached at `http`. A missing or unusable key shows at the first request.
    pub(super) fn new(http: Url, credentials: Option<&Credentials>) -> Self {
        let key = credentials.ok_or("no API key is configured").and_then(|credentials| {
            let secret = STANDARD
                .decode(credentials.api_secret.expose().trim())
                .map_err(|_| "the API secret is not base64")?;
            let secret = hmac::Key::new(hmac::HMAC_SHA512, &secret);
            Ok(Key { api_key: credentials.api_key.clone(), secret })
        });
        Self { http, key, last_nonce: AtomicU64::new(0) }
    }

    /// A signed POST of `fields` to `path`, or why there is no key to sign with.
    pub(super) fn request(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<HttpRequest, &'static str> {
        let key = self.key.as_ref().map_err(|reason| *reason)?;
        let nonce = self.next_nonce(now).to_string();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("nonce", &nonce);
        form.extend_pairs(fields);
        let body = form.finish();
        let headers = vec![
            ("api-key", key.api_key.expose().to_owned()),
            ("api-sign", signature(&key.secret, path, &nonce, &body)),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let mut url = self.http.clone();
        url.set_path(path);
        Ok(HttpRequest { method: "POST", url, headers, body })
    }

    /// Why nothing can be signed, if nothing can.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.key.as_ref().err().copied()
    }

    /// Microseconds, and one more than the last where the clock stands still or went back.
    fn next_nonce(&self, now: Timestamp) -> u64 {
        let clock = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let grow = |last: u64| last.saturating_add(1).max(clock);
        let update = self
            .last_nonce
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(grow(last)));
        match update {
            Ok(last) | Err(last) => grow(last),
        }
    }
}

/// `base64(HMAC-SHA512(secret, path || SHA256(nonce || body)))`.
fn signature(secret: &hmac::Key, path: &str, nonce: &str, body: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(nonce.as_bytes());
    hash.update(body.as_bytes());
    let mut tag = hmac::Context::with_key(secret);
    tag.update(path.as_bytes());
    tag.update(hash.finish().as_ref());
    STANDARD.encode(tag.sign())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str =
        "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==";

    fn account(secret: &str) -> Account {
        let credentials =
            Credentials { api_key: Secret::new("the key"), api_secret: Secret::new(secret) };
        Account::new("https://api.kraken.com".parse().unwrap(), Some(&credentials))
    }

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let key = hmac::Key::new(hmac::HMAC_SHA512, &STANDARD.decode(SECRET).unwrap());
        let body =
            "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25";
        assert_eq!(
            signature(&key, "/0/private/AddOrder", "1616492376594", body),
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
        );
    }

    #[test]
    fn a_request_carries_its_nonce_key_and_signature() {
        let account = account(SECRET);
        let now = Timestamp::from_microsecond(1_616_492_376_594_000).unwrap();
        let request =
            account.request("/0/private/QueryOrders", &[("txid", "O-1 &2")], now).unwrap();
        assert_eq!(request.url.as_str(), "https://api.kraken.com/0/private/QueryOrders");
        assert_eq!(request.body, "nonce=1616492376594000&txid=O-1+%262");
        assert_eq!(request.headers[0], ("api-key", "the key".to_owned()));
        assert_eq!(request.headers[1].0, "api-sign");
        assert_eq!(request.method, "POST");
    }

    #[test]
    fn the_nonce_grows_even_if_the_clock_does_not() {
        let account = account(SECRET);
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let nonces = [100, 100, 50, 200, -5].map(|micros| account.next_nonce(at(micros)));
        assert_eq!(nonces, [100, 101, 102, 200, 201]);
    }

    #[test]
    fn a_key_that_cannot_sign_says_why() {
        let unusable = account("not base64!");
        assert_eq!(unusable.fault(), Some("the API secret is not base64"));
        assert!(unusable.request("/", &[], Timestamp::UNIX_EPOCH).is_err());
        let none = Account::new("https://api.kraken.com".parse().unwrap(), None);
        assert_eq!(none.fault(), Some("no API key is configured"));
        assert!(!format!("{unusable:?}").contains("not base64!"));
    }
}
