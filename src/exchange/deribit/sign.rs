//! Login by signature, and signed HTTP requests: the secret signs and never travels.
//!
//! Source: <https://docs.deribit.com/articles/authentication>, "Client Signature" and "Signature
//! Credentials" (`deri-hmac-sha256`).

use std::fmt;
use std::fmt::Write as _;

use ring::hmac;

use crate::exchange::{Credentials, Secret};
use crate::types::Timestamp;

/// Signs logins with the account's key.
pub(super) struct Signer {
    client_id: Secret,
    key: hmac::Key,
}

/// What a login must carry.
pub(super) struct Login<'s> {
    pub(super) client_id: &'s str,
    /// Unix time in milliseconds.
    pub(super) timestamp: i64,
    pub(super) nonce: String,
    pub(super) signature: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(HMAC-SHA256, <redacted>)")
    }
}

impl Signer {
    /// Any text can be a secret: it is used byte by byte.
    pub(super) fn new(credentials: &Credentials) -> Self {
        let secret = credentials.api_secret.expose().as_bytes();
        Self {
            client_id: credentials.api_key.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// A login at `now`. The time serves as the nonce: a session logs in once.
    pub(super) fn login(&self, now: Timestamp) -> Login<'_> {
        let timestamp = now.as_millisecond();
        let nonce = timestamp.to_string();
        let signature = self.signature(timestamp, &nonce);
        Login { client_id: self.client_id.expose(), timestamp, nonce, signature }
    }

    /// The value of the `Authorization` header of a POST of `body` to `target`, which is a path
    /// with its query. `number` makes the nonce another one for each request of the same moment.
    pub(super) fn authorize(
        &self,
        target: &str,
        body: &str,
        number: u64,
        now: Timestamp,
    ) -> String {
        let timestamp = now.as_millisecond();
        let nonce = format!("{timestamp}{number}");
        let payload = format!("{timestamp}\n{nonce}\nPOST\n{target}\n{body}\n");
        let (id, signature) = (self.client_id.expose(), self.seal(&payload));
        format!("deri-hmac-sha256 id={id},ts={timestamp},sig={signature},nonce={nonce}")
    }

    /// `hex(HMAC-SHA256(secret, timestamp \n nonce \n data))`. The data is empty; the line end
    /// before it stays.
    fn signature(&self, timestamp: i64, nonce: &str) -> String {
        self.seal(&format!("{timestamp}\n{nonce}\n"))
    }

    fn seal(&self, payload: &str) -> String {
        let tag = hmac::sign(&self.key, payload.as_bytes());
        tag.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(&Credentials {
            api_key: Secret::new("AMANDA"),
            api_secret: Secret::new("AMANDASECRECT"),
        })
    }

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        assert_eq!(
            signer().signature(1_576_074_319_000, "1iqt2wls"),
            "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1"
        );
    }

    #[test]
    fn a_login_signs_the_time_that_it_carries() {
        let signer = signer();
        let login = signer.login(Timestamp::from_millisecond(1_576_074_319_123).unwrap());
        assert_eq!((login.client_id, login.timestamp), ("AMANDA", 1_576_074_319_123));
        assert_eq!(login.signature, signer.signature(login.timestamp, &login.nonce));
        assert_ne!(login.signature, signer.signature(login.timestamp + 1, &login.nonce));
    }

    /// The signature is OpenSSL's over the same text.
    #[test]
    fn an_http_request_is_signed_with_its_target_and_its_body() {
        let now = Timestamp::from_millisecond(1_576_074_319_123).unwrap();
        let body =
            r#"{"jsonrpc":"2.0","id":1,"method":"private/cancel","params":{"order_id":"146062"}}"#;
        assert_eq!(
            signer().authorize("/api/v2", body, 7, now),
            "deri-hmac-sha256 id=AMANDA,ts=1576074319123,\
             sig=c09bc98afc79d828230fc06e7b3f201a523a9093b7d8a782c40c65099f6c15e0,\
             nonce=15760743191237"
        );
    }

    #[test]
    fn a_signer_never_shows_its_key() {
        let shown = format!("{:?}", signer());
        assert!(!shown.contains("AMANDA"), "{shown}");
    }
}
