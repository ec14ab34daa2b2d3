//! Signatures of `public/auth` and of HTTP requests.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What `client_signature` signs.
pub(crate) fn auth_payload(timestamp: &str, nonce: &str, data: &str) -> String {
    format!("{timestamp}\n{nonce}\n{data}")
}

/// What the `deri-hmac-sha256` header signs; `target` is the path with its query.
pub(crate) fn http_payload(
    (timestamp, nonce): (&str, &str),
    method: &str,
    target: &str,
    body: &str,
) -> String {
    format!("{timestamp}\n{nonce}\n{method}\n{target}\n{body}\n")
}

/// Whether `signature` is hex(HMAC-SHA256(secret, payload)).
pub(crate) fn matches(secret: &str, payload: &str, signature: &str) -> bool {
    let Ok(expected) = hex::decode(signature) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(payload.as_bytes());
    mac.verify_slice(&expected).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with openssl: printf '1699999999999\nabc\n' | openssl dgst -sha256 -hmac secret
    const SIGNATURE: &str = "30b02dc1ad5f77c624b91b699574caff7137edb98c5a6734ae338cc1e590299c";

    #[test]
    fn a_signature_of_another_tool_verifies_and_a_changed_one_does_not() {
        let payload = auth_payload("1699999999999", "abc", "");
        assert!(matches("secret", &payload, SIGNATURE));
        assert!(!matches("secreT", &payload, SIGNATURE));
        assert!(!matches("secret", &auth_payload("1699999999998", "abc", ""), SIGNATURE));
        assert!(!matches("secret", &payload, "no hex"));
    }
}
