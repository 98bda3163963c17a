//! Reads the claims of a JWT, and proves its signature.
//!
//! A head-end verifies its own tokens. sidebeat then needs only hints (content, account, expiry, whether session
//! control applies), which [`TokenClaims::peek`] reads without a key; they grant nothing. An embedded authority with
//! keys proves tokens first: [`TokenRules::verify`].

mod key;
mod reading;
mod token_list;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use self::key::{JwksSource, KeyFault, TokenKeySet};
pub use self::reading::{forget_expired, remember_readings, secret};
pub use self::token_list::{TokenListing, asks_for_session, known_print, other_prints, shows_encrypted};
pub use self::verify::{TokenFault, TokenRules};

/// Claims of a token, cheap to clone. Only [`TokenRules::verify`] proves them.
#[derive(Clone)]
pub struct TokenClaims(Arc<Value>);

impl TokenClaims {
    /// Longer tokens are not read; real content tokens are below 4 KiB.
    const MAX_TOKEN_BYTES: usize = 16 * 1024;

    /// Reads the content token of a comma list, with or without `Bearer`: the first JWT that names content, because
    /// key tokens may stand beside it; else the first; a device's token only if there is no other. `None` without a
    /// JWT.
    pub fn peek(token: &str) -> Option<Self> {
        token_list::content_token(token).map(|(_, claims)| claims)
    }

    /// True for a device authentication token, which opens sessions like a content token but stands for no playback.
    pub fn is_of_device(&self) -> bool {
        self.claim("typ").and_then(Value::as_str) == Some("DevAuthN")
    }

    /// True if the token asks for a session. Its head-end may decide otherwise.
    pub fn wants_session(&self) -> bool {
        let control = ["contentRights.0.sessionControl", "sessionControl"].iter().find_map(|at| self.claim(at));
        control.is_some_and(|control| control.get("sessionControlEnabled") != Some(&Value::Bool(false)))
    }

    fn read(token: &str) -> Option<Self> {
        if token.len() > Self::MAX_TOKEN_BYTES {
            return None;
        }
        let [_header, payload, _signature] = token_list::decoded_parts(token)?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        claims.is_object().then(|| Self(Arc::new(claims)))
    }

    /// A claim by its path: names and array positions joined by dots (`contentRights.0.contentId`).
    pub fn claim(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&*self.0, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get(name),
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// A claim as text; numbers and booleans are converted.
    pub fn text(&self, path: &str) -> Option<String> {
        match self.claim(path)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Array(_) | Value::Null | Value::Object(_) => None,
        }
    }

    /// A claim in seconds; numeric strings count.
    pub fn seconds(&self, path: &str) -> Option<Duration> {
        let seconds = match self.claim(path)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => None,
        };
        seconds.filter(|s| (0.0..1e12).contains(s)).map(Duration::from_secs_f64)
    }

    /// Remaining validity at `wall` (time since the epoch); `None` if the token does not tell.
    pub fn remaining(&self, wall: Duration) -> Option<Duration> {
        self.seconds("exp").map(|exp| exp.saturating_sub(wall))
    }

    /// Time since the expiry at `wall`; `None` if the token has not expired or does not tell.
    pub fn expired_for(&self, wall: Duration) -> Option<Duration> {
        wall.checked_sub(self.seconds("exp")?)
    }
}

impl std::fmt::Debug for TokenClaims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenClaims(…)")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_whether_it_wants_a_session() {
        for (claims, wants) in [
            (r#"{"sessionControl":{}}"#, true),
            (r#"{"contentRights":[{"sessionControl":{"sessionControlEnabled":true}}]}"#, true),
            (r#"{"contentRights":[{"sessionControl":{"sessionControlEnabled":false}}]}"#, false),
            (r#"{"sessionControl":{"sessionControlEnabled":false}}"#, false),
            (r#"{"sessionControl":{"sessionControlEnabled":"false"}}"#, true),
            (r#"{"contentRights":[{"contentId":"c"}]}"#, false),
            ("{}", false),
        ] {
            assert_eq!(TokenClaims::peek(&jwt(claims)).unwrap().wants_session(), wants, "{claims}");
        }
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
    fn a_token_is_expired_from_its_second_on() {
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
    fn a_text_that_is_no_token_has_no_claims() {
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
