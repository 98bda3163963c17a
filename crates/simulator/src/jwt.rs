//! Signs and verifies compact JWS with HS256 (RFC 7515, RFC 7518 section 3.2).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use thiserror::Error;

/// Reasons why a token is not ours.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum InvalidToken {
    #[error("not a compact HS256 token")]
    Format,
    #[error("signed for another tenant credential")]
    Kid,
    #[error("the signature does not fit")]
    Signature,
}

pub(super) fn sign(key: &hmac::Key, kid: &str, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "kid": kid, "typ": "JWT"}).to_string();
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let tag = hmac::sign(key, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    token
}

/// The claims, if `key` signed them under `kid`.
pub(super) fn verify(key: &hmac::Key, kid: &str, token: &str) -> Result<Value, InvalidToken> {
    let (header, claims) = open(key, token)?;
    if header.get("kid").and_then(Value::as_str) != Some(kid) {
        return Err(InvalidToken::Kid);
    }
    Ok(claims)
}

fn open(key: &hmac::Key, token: &str) -> Result<(Value, Value), InvalidToken> {
    let (signed, tag) = token.rsplit_once('.').ok_or(InvalidToken::Format)?;
    let (header, claims) = signed.split_once('.').ok_or(InvalidToken::Format)?;
    let (header, claims, tag) = (json_part(header)?, json_part(claims)?, bytes_part(tag)?);
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(InvalidToken::Format);
    }
    hmac::verify(key, signed.as_bytes(), &tag).map_err(|_unspecified| InvalidToken::Signature)?;
    Ok((header, claims))
}

fn json_part(part: &str) -> Result<Value, InvalidToken> {
    let bytes = bytes_part(part)?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object).ok_or(InvalidToken::Format)
}

fn bytes_part(part: &str) -> Result<Vec<u8>, InvalidToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_undecodable| InvalidToken::Format)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1.
    const EXAMPLE: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const EXAMPLE_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

    fn key(bytes: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, bytes)
    }

    #[test]
    fn the_example_of_the_rfc_verifies() {
        let secret = URL_SAFE_NO_PAD.decode(EXAMPLE_KEY).unwrap();
        let (_, claims) = open(&key(&secret), EXAMPLE).unwrap();
        assert_eq!(claims, json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true}));
    }

    #[test]
    fn a_signed_token_verifies_and_no_other_does() {
        let ours = key(b"ours");
        let token = sign(&ours, "DEMO", &json!({"typ": "Session"}));
        assert_eq!(verify(&ours, "DEMO", &token), Ok(json!({"typ": "Session"})));
        assert_eq!(verify(&ours, "OTHER", &token), Err(InvalidToken::Kid));
        assert_eq!(verify(&key(b"theirs"), "DEMO", &token), Err(InvalidToken::Signature));
        for broken in ["", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", &format!("{token} "), &format!(" {token}")] {
            assert_eq!(verify(&ours, "DEMO", broken), Err(InvalidToken::Format), "{broken:?}");
        }
    }

    #[test]
    fn one_changed_character_breaks_the_signature() {
        let ours = key(b"ours");
        let token = sign(&ours, "DEMO", &json!({"account": "ann"}));
        let other = sign(&ours, "DEMO", &json!({"account": "bob"}));
        let head = other.rsplit_once('.').unwrap().0;
        let tag = token.rsplit_once('.').unwrap().1;
        assert_eq!(verify(&ours, "DEMO", &format!("{head}.{tag}")), Err(InvalidToken::Signature));
    }
}
