//! What a JWT says about itself, and whether a key signed it.
//!
//! A head-end verifies its own tokens; sidebeat then only needs their hints (content, account, expiry, whether
//! session control applies), which [`TokenClaims::peek`] reads without a key: they decide nothing about who is
//! allowed something. An embedded authority with keys of its own proves them first: [`TokenRules::verify`].

mod key;
mod verify;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

pub use self::key::{JwksSource, KeyFault, TokenKeySet};
pub use self::verify::{TokenFault, TokenRules};

/// Claims of a token. Proven only where they come from [`TokenRules::verify`].
#[derive(Clone)]
pub struct TokenClaims(Value);

impl TokenClaims {
    /// Longer ones are not read; content tokens met are below 4 KiB.
    const MAX_TOKEN_BYTES: usize = 16 * 1024;

    /// Reads the first compact JWT of a comma list, with or without `Bearer`; an encrypted key token
    /// may stand before it, and one of the device counts only where it is alone. None for anything else.
    pub fn peek(token: &str) -> Option<Self> {
        Self::find(token).map(|(_, claims)| claims)
    }

    /// As [`Self::peek`], with the text of the JWT that the claims are of.
    fn find(token: &str) -> Option<(&str, Self)> {
        let mut readable = listed(token).filter_map(|token| Some((token, Self::read(token)?)));
        let first = readable.next()?;
        if !first.1.is_of_device() {
            return Some(first);
        }
        Some(readable.find(|(_, claims)| !claims.is_of_device()).unwrap_or(first))
    }

    /// A device authentication token: it opens sessions as a content token does, but stands for no playback.
    pub fn is_of_device(&self) -> bool {
        self.claim("typ").and_then(Value::as_str) == Some("DevAuthN")
    }

    fn read(token: &str) -> Option<Self> {
        if token.len() > Self::MAX_TOKEN_BYTES {
            return None;
        }
        let mut parts = token.split('.');
        let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let claims: Value = serde_json::from_slice(&json).ok()?;
        claims.is_object().then_some(Self(claims))
    }

    /// A claim by its path, dots between names and array positions (`contentRights.0.contentId`).
    pub fn claim(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.0, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get(name),
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// A claim as text; numbers and booleans are written out.
    pub fn text(&self, path: &str) -> Option<String> {
        match self.claim(path)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Array(_) | Value::Null | Value::Object(_) => None,
        }
    }

    /// A claim in whole seconds; numeric strings count.
    pub fn seconds(&self, path: &str) -> Option<Duration> {
        self.text(path)?.parse::<f64>().ok().filter(|s| (0.0..1e12).contains(s)).map(Duration::from_secs_f64)
    }

    /// How long the token is still good at `wall` (time since the epoch); None if it does not say.
    pub fn remaining(&self, wall: Duration) -> Option<Duration> {
        self.seconds("exp").map(|exp| exp.saturating_sub(wall))
    }

    /// How long ago the token expired, at `wall`; None if it has not, or does not say.
    pub fn expired_for(&self, wall: Duration) -> Option<Duration> {
        wall.checked_sub(self.seconds("exp")?)
    }
}

/// What of a token a caller cannot change without a better one, by which it is known again. What can be put around it
/// (empty places of a list, encrypted tokens that prove nothing) makes no other token of it; nor does the other
/// signature that everybody can make of one by ECDSA, whose second half is then another.
pub fn known_part(token: &str) -> &str {
    /// In base64url: of the curves P-256, P-384 and P-521 (RFC 7518, section 3.4).
    const ECDSA_SIGNATURE_CHARS: [usize; 3] = [86, 128, 176];
    if let Some((jwt, _)) = TokenClaims::find(token) {
        let jwt = jwt.trim_end_matches('=');
        let signature = jwt.rsplit_once('.').map_or(0, |(_, signature)| signature.len());
        // Characters that hold nothing of the second half.
        let firm = if ECDSA_SIGNATURE_CHARS.contains(&signature) { signature * 6 / 8 / 2 * 8 / 6 } else { signature };
        return jwt.get(..jwt.len() - signature + firm).unwrap_or(jwt);
    }
    let mut opaque = listed(token).filter(|token| !token.is_empty() && !is_encrypted(token));
    match (opaque.next(), opaque.next()) {
        (Some(only), None) => only,
        (_, _) => token.trim(),
    }
}

/// Without `Bearer`.
fn listed(token: &str) -> impl Iterator<Item = &str> {
    token.split(',').map(str::trim).map(|token| token.strip_prefix("Bearer ").unwrap_or(token))
}

/// A compact JWE (RFC 7516, section 3.1).
fn is_encrypted(token: &str) -> bool {
    token.matches('.').count() == 4
}

impl std::fmt::Debug for TokenClaims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenClaims(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn claims_are_found_by_path() {
        let token = jwt(r#"{"exp":1700000060,"device":{"accountId":"a1"},"contentRights":[{"contentId":"c1"}],"n":7}"#);
        for text in
            [token.clone(), format!("Bearer {token}"), format!("{token},{}", jwt("{}")), format!("a.b.c.d.e,{token}")]
        {
            let claims = TokenClaims::peek(&text).unwrap();
            assert_eq!(claims.text("device.accountId").as_deref(), Some("a1"));
            assert_eq!(claims.text("contentRights.0.contentId").as_deref(), Some("c1"));
            assert_eq!(claims.text("n").as_deref(), Some("7"));
            assert_eq!(claims.text("contentRights.1.contentId"), None);
            assert_eq!(claims.remaining(Duration::from_secs(1_700_000_000)), Some(Duration::from_secs(60)));
        }
    }

    #[test]
    fn a_token_is_known_again_whatever_stands_around_it() {
        let token = jwt(r#"{"exp":1700000060}"#);
        for text in [
            token.clone(),
            format!("{token}="),
            format!("{token},"),
            format!(" , {token} "),
            format!("a.b.c.d.e,{token}"),
            format!("{token},a.b.c.d.e"),
            format!("{token},{token}"),
            format!("{token},opaque"),
            format!("opaque,Bearer {token}"),
        ] {
            assert_eq!(known_part(&text), token, "{text}");
        }
        for text in ["opaque", " opaque,", ",,opaque", "a.b.c.d.e,opaque", "opaque,1.2.3.4.5", "Bearer opaque"] {
            assert_eq!(known_part(text), "opaque", "{text}");
        }
        let of_device = jwt(r#"{"typ":"DevAuthN"}"#);
        assert_eq!(known_part(&format!("{of_device},{token}")), token);
        assert_eq!(known_part(&format!("{}{token}", "x,".repeat(100))), token);
        assert_eq!(known_part(&of_device), of_device);
        // Nobody knows which of them counts.
        assert_ne!(known_part("one,two"), known_part("one,three"));
        assert_eq!(known_part("a.b.c.d.e"), "a.b.c.d.e");
    }

    #[test]
    fn the_other_signature_of_an_ecdsa_token_makes_no_other_token_and_a_forged_one_does() {
        for half in [32, 48, 66] {
            let signature = |r: u8, s: u8| [vec![r; half], vec![s; half]].concat();
            let signed = |r, s| format!("e30.e30.{}", URL_SAFE_NO_PAD.encode(signature(r, s)));
            assert_eq!(known_part(&signed(1, 2)), known_part(&signed(1, 0xf3)));
            assert_ne!(known_part(&signed(1, 2)), known_part(&signed(4, 2)));
        }
        // Of any other kind it is the whole.
        let signed = |last: u8| format!("e30.e30.{}", URL_SAFE_NO_PAD.encode([[1; 31].as_slice(), &[last]].concat()));
        assert_ne!(known_part(&signed(1)), known_part(&signed(2)));
    }

    #[test]
    fn expiry_is_told_from_its_second_on() {
        let at = |claims: &str, wall| TokenClaims::peek(&jwt(claims)).unwrap().expired_for(Duration::from_secs(wall));
        for exp in [r#"{"exp":1700000060}"#, r#"{"exp":"1700000060"}"#, r#"{"exp":1700000060.0}"#] {
            assert_eq!(at(exp, 1_700_000_059), None, "{exp}");
            assert_eq!(at(exp, 1_700_000_060), Some(Duration::ZERO), "{exp}");
            assert_eq!(at(exp, 1_700_000_090), Some(Duration::from_secs(30)), "{exp}");
        }
        // Milliseconds, negative numbers, words and silence say nothing.
        for exp in [r#"{"exp":1700000060000}"#, r#"{"exp":-1}"#, r#"{"exp":"soon"}"#, r#"{"exp":null}"#, "{}"] {
            assert_eq!(at(exp, 4_000_000_000), None, "{exp}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in ["", "opaque", "a.b", "a.b.c.d", "a.!!!.c", "e30.W10.sig", &format!("a.{}.c", "A".repeat(20_000))] {
            assert!(TokenClaims::peek(text).is_none(), "{}", text.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,200}", path in "[a-z0-9.]{0,20}") {
            if let Some(claims) = TokenClaims::peek(&text) {
                let _any = claims.text(&path);
            }
        }
    }
}
