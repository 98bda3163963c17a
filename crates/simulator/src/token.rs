//! The tokens of the simulated tenant: content tokens, session tokens, and the reader of their header.
//!
//! Field names are those that the vendor documents (`docs.nagra.com/mdrm`, page *SSP tokens reference*).

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::jwt::{self, InvalidToken};
use sidebeat_core::ledger::SlotNumber;
use sidebeat_core::secret::Secret;
use sidebeat_system::random::random_u64;

/// Tokens of a comma list that are read.
const MAX_TOKENS_READ: usize = 8;

/// A grant by the operator: account, device, content, and session limits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ContentToken {
    pub(super) account: String,
    pub(super) content: String,
    pub(super) device: String,
    /// Seconds since the Unix epoch.
    pub(super) expires: Option<u64>,
    pub(super) jti: Option<String>,
    /// Present if sessions are counted.
    pub(super) session: Option<SessionControl>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct SessionControl {
    /// The operator's own session id.
    pub(super) external: Option<String>,
    pub(super) limit: Option<u32>,
}

/// The right to make one call for a session: `turn` counts the rotations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SessionToken {
    pub(super) slot: SlotNumber,
    pub(super) turn: u64,
}

/// Content of `nv-authorizations`.
#[derive(Debug, Default)]
pub(super) struct PresentedTokens {
    pub(super) contents: Vec<ContentToken>,
    pub(super) invalid: Option<InvalidToken>,
    /// True if the header was present and not empty.
    pub(super) given: bool,
    pub(super) sessions: Vec<SessionToken>,
}

/// Signs and reads the tokens of one tenant.
pub(super) struct Issuer {
    key: hmac::Key,
    tenant: String,
}

impl Issuer {
    pub(super) fn new(secret: Option<&Secret>, tenant: &str) -> Self {
        let random: Vec<u8> = (0..4).flat_map(|_| random_u64().to_be_bytes()).collect();
        let secret = secret.map_or(random.as_slice(), |secret| secret.expose().as_bytes());
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), tenant: tenant.to_owned() }
    }

    pub(super) fn content(&self, token: &ContentToken) -> String {
        let rights = json!({
            "contentId": token.content,
            "sessionControl": token.session.as_ref().map(|session| json!({
                "sessionControlEnabled": true, "maxSessions": session.limit, "sessionId": session.external,
            })),
        });
        jwt::sign(
            &self.key,
            &self.tenant,
            &without_nulls(json!({
                "typ": "ContentAuthZ", "ver": "1.0", "exp": token.expires, "jti": token.jti,
                "device": {"deviceId": token.device, "accountId": token.account},
                "contentRights": [rights],
            })),
        )
    }

    /// `expires` in seconds since the Unix epoch, `interval` in seconds.
    pub(super) fn session(&self, token: SessionToken, account: &str, interval: u64, expires: u64) -> String {
        jwt::sign(
            &self.key,
            &self.tenant,
            &json!({
                "typ": "Session", "ver": "1.0", "sessionId": session_name(token.slot), "tenantId": self.tenant,
                "accountId": account, "heartbeat": interval, "turn": token.turn, "exp": expires,
            }),
        )
    }

    /// Reads a comma list without spaces, as the vendor documents it. Skips encrypted key tokens (five parts) and
    /// tokens of other types.
    pub(super) fn read(&self, header: Option<&str>) -> PresentedTokens {
        let mut presented = PresentedTokens::default();
        let Some(list) = header.filter(|list| !list.is_empty()) else { return presented };
        presented.given = true;
        for token in list.split(',').take(MAX_TOKENS_READ).filter(|token| token.matches('.').count() != 4) {
            match jwt::verify(&self.key, &self.tenant, token) {
                Ok(claims) => presented.take(&claims),
                Err(invalid) => presented.invalid = presented.invalid.or(Some(invalid)),
            }
        }
        presented
    }
}

impl PresentedTokens {
    fn take(&mut self, claims: &Value) {
        match claims.get("typ").and_then(Value::as_str) {
            Some("ContentAuthZ" | "DevAuthN") => self.contents.push(ContentToken::of(claims)),
            Some("Session") => self.sessions.extend(SessionToken::of(claims)),
            Some(_) | None => {}
        }
    }
}

impl ContentToken {
    fn of(claims: &Value) -> Self {
        let rights = claims.pointer("/contentRights/0").unwrap_or(&Value::Null);
        let device = claims.get("device").unwrap_or(claims);
        let control = rights.get("sessionControl").or_else(|| claims.get("sessionControl"));
        Self {
            account: text(device, "accountId").unwrap_or_default(),
            content: text(rights, "contentId").unwrap_or_default(),
            device: text(device, "deviceId").unwrap_or_default(),
            expires: claims.get("exp").and_then(Value::as_u64),
            jti: text(claims, "jti"),
            session: control.and_then(SessionControl::of),
        }
    }
}

impl SessionControl {
    /// Sessions are counted if the object is present and does not disable it.
    fn of(control: &Value) -> Option<Self> {
        if !control.is_object() || control.get("sessionControlEnabled") == Some(&Value::Bool(false)) {
            return None;
        }
        let limit = control.get("maxSessions").and_then(Value::as_u64).and_then(|limit| u32::try_from(limit).ok());
        Some(Self { external: text(control, "sessionId"), limit })
    }
}

impl SessionToken {
    fn of(claims: &Value) -> Option<Self> {
        let slot = u64::from_str_radix(claims.get("sessionId")?.as_str()?, 16).ok()?;
        Some(Self { slot: SlotNumber(slot), turn: claims.get("turn")?.as_u64()? })
    }
}

/// Name of a slot in tokens, list and log.
pub(super) fn session_name(slot: SlotNumber) -> String {
    format!("{:016x}", slot.0)
}

fn text(object: &Value, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// Removes claims that are not set, at every level.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer::new(Some(&Secret::new("s")), "DEMO")
    }

    fn token() -> ContentToken {
        ContentToken {
            account: "ann".into(),
            content: "news".into(),
            device: "tv".into(),
            expires: Some(2_000_000_000),
            jti: Some("one".into()),
            session: Some(SessionControl { external: None, limit: Some(3) }),
        }
    }

    #[test]
    fn a_content_and_a_session_token_are_read_back() {
        let session = SessionToken { slot: SlotNumber(0xfe), turn: 7 };
        let list = format!("{},{}", issuer().content(&token()), issuer().session(session, "ann", 30, 1));
        let presented = issuer().read(Some(&list));
        assert_eq!((presented.contents, presented.sessions), (vec![token()], vec![session]));
        assert!(presented.given && presented.invalid.is_none());
    }

    #[test]
    fn a_token_without_session_control_counts_no_session() {
        let plain = ContentToken { session: None, jti: None, ..token() };
        assert_eq!(issuer().read(Some(&issuer().content(&plain))).contents, [plain]);
        assert_eq!(SessionControl::of(&json!({"sessionControlEnabled": false, "maxSessions": 1})), None);
        assert!(SessionControl::of(&json!({"groups": [], "sessionId": "x"})).is_some());
    }

    #[test]
    fn spaces_and_foreign_signatures_are_faults() {
        let ours = issuer().content(&token());
        let theirs = Issuer::new(None, "DEMO").content(&token());
        assert_eq!(issuer().read(Some(&format!("{ours}, {ours}"))).invalid, Some(InvalidToken::Format));
        assert_eq!(issuer().read(Some(&theirs)).invalid, Some(InvalidToken::Signature));
        assert!(!issuer().read(Some("")).given && !issuer().read(None).given);
    }

    #[test]
    fn encrypted_key_tokens_are_passed_over() {
        let presented = issuer().read(Some("a.b.c.d.e"));
        assert!(presented.given && presented.invalid.is_none() && presented.contents.is_empty());
    }
}
