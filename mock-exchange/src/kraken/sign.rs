//! The `API-Sign` header of private REST requests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Whether `signature` is base64(HMAC-SHA512(secret, path || SHA256(nonce || body))).
///
/// `secret` is the base64 text of the key, `path` the request path without its query and `body`
/// the exact bytes sent. A secret or signature that is not base64 never matches.
pub(crate) fn signature_matches(
    secret: &str,
    path: &str,
    nonce: &str,
    body: &[u8],
    signature: &str,
) -> bool {
    let Ok(expected) = STANDARD.decode(signature.trim()) else {
        return false;
    };
    keyed_digest(secret, path, nonce, body)
        .is_some_and(|digest| digest.verify_slice(&expected).is_ok())
}

fn keyed_digest(secret: &str, path: &str, nonce: &str, body: &[u8]) -> Option<Hmac<Sha512>> {
    let key = STANDARD.decode(secret).ok()?;
    let mut inner = Sha256::new();
    inner.update(nonce.as_bytes());
    inner.update(body);
    let mut outer = Hmac::<Sha512>::new_from_slice(&key).ok()?;
    outer.update(path.as_bytes());
    outer.update(&inner.finalize());
    Some(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the exchange's own documentation of the header.
    const SECRET: &str =
        "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==";
    const BODY: &[u8] =
        b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25";
    const SIGNATURE: &str =
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==";

    #[test]
    fn the_documented_example_verifies() {
        assert!(signature_matches(SECRET, "/0/private/AddOrder", "1616492376594", BODY, SIGNATURE));
    }

    #[test]
    fn another_path_nonce_body_or_garbage_does_not() {
        let check = |path, nonce, body: &[u8], signature| {
            assert!(!signature_matches(SECRET, path, nonce, body, signature));
        };
        check("/0/private/CancelOrder", "1616492376594", BODY, SIGNATURE);
        check("/0/private/AddOrder", "1616492376595", BODY, SIGNATURE);
        check("/0/private/AddOrder", "1616492376594", b"nonce=1616492376594", SIGNATURE);
        check("/0/private/AddOrder", "1616492376594", BODY, "not base64!");
        check("/0/private/AddOrder", "1616492376594", BODY, "");
    }
}
