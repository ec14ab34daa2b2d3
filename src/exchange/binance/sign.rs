//! Authentication of requests: all parameters but the signature, sorted by name and joined as
//! `name=value` with `&`, are signed as they stand in the JSON, without percent encoding.
//!
//! Source: binance-spot-api-docs, web-socket-api.md, "Request security".

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, signature::Ed25519KeyPair};
use serde_json::Value;
use url::form_urlencoded;

use crate::exchange::{Credentials, Secret};
use crate::types::Timestamp;

/// How long after its timestamp the exchange may still act on a request, in milliseconds: the
/// exchange's own default. A longer one lets a delayed order through.
pub(super) const RECEIVE_WINDOW_MS: u64 = 5000;

/// A secret that cannot sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignerError {
    /// There is none.
    #[error("no API key is configured: set the exchange's key and secret to trade on it")]
    Missing,
    /// The text between the PEM marks is no key.
    #[error(
        "the API secret is a PEM file but no Ed25519 private key in PKCS#8 form: give that, or the \
         secret of an HMAC key"
    )]
    Pem,
}

enum Key {
    Hmac(hmac::Key),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Signs requests with the account's key.
pub(super) struct Signer {
    api_key: Secret,
    key: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.key {
            Key::Hmac(_) => "Signer(HMAC-SHA256, <redacted>)",
            Key::Ed25519(_) => "Signer(Ed25519, <redacted>)",
        })
    }
}

impl Signer {
    /// A secret with PEM marks is an Ed25519 private key, any other is an HMAC secret.
    pub(super) fn new(credentials: Option<&Credentials>) -> Result<Self, SignerError> {
        let credentials = credentials.ok_or(SignerError::Missing)?;
        let secret = credentials.api_secret.expose();
        let key = if secret.contains("-----BEGIN") {
            Key::Ed25519(Box::new(read_pem(secret).ok_or(SignerError::Pem)?))
        } else {
            Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
        };
        Ok(Self { api_key: credentials.api_key.clone(), key })
    }

    /// Adds key, time and receive window to the parameters, and the signature over them all: a
    /// JSON object. It is written straight from the list, because it is on the way of every order.
    pub(super) fn sign(&self, mut params: Vec<(&'static str, Value)>, now: Timestamp) -> String {
        params.push(("apiKey", self.api_key.expose().into()));
        params.push(("recvWindow", RECEIVE_WINDOW_MS.into()));
        params.push(("timestamp", now.as_millisecond().into()));
        let signature = self.signature(&mut params);
        params.push(("signature", signature.into()));
        params.sort_unstable_by_key(|(name, _)| *name);
        let mut object = String::with_capacity(512);
        for (name, value) in &params {
            object.push_str(if object.is_empty() { "{\"" } else { ",\"" });
            object.push_str(name);
            // A `Value` prints itself as JSON, and writing to a string cannot fail.
            let _ = write!(object, "\":{value}");
        }
        object.push('}');
        object
    }

    /// The key, for the header of an HTTP request.
    pub(super) fn api_key(&self) -> &str {
        self.api_key.expose()
    }

    /// The query of a signed HTTP request: the parameters with time and receive window, and the
    /// signature over them as they stand there, percent-encoded (rest-api.md, "SIGNED endpoint
    /// security").
    pub(super) fn sign_query(&self, params: &[(&str, &str)], now: Timestamp) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(params);
        query.append_pair("recvWindow", &RECEIVE_WINDOW_MS.to_string());
        query.append_pair("timestamp", &now.as_millisecond().to_string());
        let query = query.finish();
        let signature = self.seal(query.as_bytes());
        let mut query = form_urlencoded::Serializer::for_suffix(query, 0);
        query.append_pair("signature", &signature);
        query.finish()
    }

    fn signature(&self, params: &mut [(&'static str, Value)]) -> String {
        params.sort_by_key(|(name, _)| *name);
        let mut payload = String::with_capacity(256);
        for (name, value) in params {
            if !payload.is_empty() {
                payload.push('&');
            }
            payload.push_str(name);
            payload.push('=');
            match value {
                Value::String(text) => payload.push_str(text),
                other => {
                    let _ = write!(payload, "{other}");
                }
            }
        }
        self.seal(payload.as_bytes())
    }

    fn seal(&self, payload: &[u8]) -> String {
        match &self.key {
            Key::Hmac(key) => hex(hmac::sign(key, payload).as_ref()),
            Key::Ed25519(key) => STANDARD.encode(key.sign(payload)),
        }
    }
}

/// Environment variables often hold a PEM file in one line, with its line ends written as `\n`.
fn read_pem(text: &str) -> Option<Ed25519KeyPair> {
    let text = text.replace("\\n", "\n");
    let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    // Without the check of the public half, because OpenSSL writes keys without it.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API_KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

    fn signer(secret: &str) -> Result<Signer, SignerError> {
        let credentials =
            Credentials { api_key: Secret::new(API_KEY), api_secret: Secret::new(secret) };
        Signer::new(Some(&credentials))
    }

    #[test]
    fn the_documented_order_is_signed_as_documented() {
        let mut params: Vec<(&'static str, Value)> = vec![
            ("symbol", "BTCUSDT".into()),
            ("side", "SELL".into()),
            ("type", "LIMIT".into()),
            ("timeInForce", "GTC".into()),
            ("quantity", "0.01000000".into()),
            ("price", "52000.00".into()),
            ("recvWindow", 100.into()),
            ("timestamp", 1_645_423_376_532_i64.into()),
            ("apiKey", API_KEY.into()),
        ];
        assert_eq!(
            signer(SECRET).unwrap().signature(&mut params),
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
        );
    }

    #[test]
    fn the_documented_logon_is_signed_as_documented() {
        let mut params: Vec<(&'static str, Value)> =
            vec![("timestamp", 1_649_729_878_532_i64.into()), ("apiKey", API_KEY.into())];
        assert_eq!(
            signer(SECRET).unwrap().signature(&mut params),
            "1cf54395b336b0a9727ef27d5d98987962bc47aca6e13fe978612d0adee066ed"
        );
    }

    // rest-api.md, "SIGNED endpoint examples for POST /api/v3/order", HMAC keys.
    #[test]
    fn the_documented_http_request_is_signed_as_documented() {
        let params = [
            ("symbol", "LTCBTC"),
            ("side", "BUY"),
            ("type", "LIMIT"),
            ("timeInForce", "GTC"),
            ("quantity", "1"),
            ("price", "0.1"),
        ];
        let now = Timestamp::from_millisecond(1_499_827_319_559).unwrap();
        assert_eq!(
            signer(SECRET).unwrap().sign_query(&params, now),
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000\
             &timestamp=1499827319559\
             &signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
        );
    }

    #[test]
    fn a_signed_request_carries_key_time_and_window() {
        let now = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let params = signer(SECRET).unwrap().sign(vec![("symbol", "BTCUSDT".into())], now);
        let params: Value = serde_json::from_str(&params).unwrap();
        assert_eq!(params["apiKey"], API_KEY);
        assert_eq!(params["timestamp"], 1_700_000_000_123_i64);
        assert_eq!(params["recvWindow"], 5000);
        assert_eq!(params["signature"].as_str().unwrap().len(), 64);
    }

    // The first key and the public key's check are of RFC 8032, section 7.1, test 1.
    #[test]
    fn an_ed25519_key_signs_what_its_public_half_verifies() {
        let pem = "-----BEGIN PRIVATE KEY-----\\n\
                   MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n\
                   -----END PRIVATE KEY-----";
        let public = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64,
            0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68,
            0xf7, 0x07, 0x51, 0x1a,
        ];
        let signature = signer(pem).unwrap().signature(&mut [("timestamp", 5.into())]);
        let signature = STANDARD.decode(signature).unwrap();
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
            .verify(b"timestamp=5", &signature)
            .unwrap();
    }

    #[test]
    fn a_secret_that_cannot_sign_says_what_to_give_and_not_what_it_is() {
        let error = signer("-----BEGIN PRIVATE KEY-----\nHUSH\n-----END PRIVATE KEY-----");
        let message = error.unwrap_err().to_string();
        assert!(message.contains("HMAC") && !message.contains("HUSH"), "{message}");
        assert_eq!(Signer::new(None).unwrap_err(), SignerError::Missing);
        assert!(!format!("{:?}", signer(SECRET).unwrap()).contains(SECRET));
    }
}
