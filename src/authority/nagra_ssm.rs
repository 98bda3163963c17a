//! NAGRA SSM v1 as a dialect: builds its calls and reads its replies, as pure functions.
//!
//! `docs/authorities.md` has the facts and their sources. `nv-authorizations` carries the token without a scheme: at
//! setup the content token, then only the latest session token. Any reply with a non-empty `sessionToken` replaces
//! the token. A player's renewal counts as a beat. Its documented path and the observed one differ: the one that works is
//! learned, and a reload forgets it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::AuthoritySignals;
use super::client::{AskContext, RenewalAnswer, is_no_path, naming, unspeakable};
use super::dialect::{Dialect, DialectSettings, PreparedCall, RenewalFuture};
use super::exchange::{AuthorityReply, AuthorityRequest};
use crate::config::{AuthorityKind, EndpointUrl, NagraSsmSettings, OnUnreachable};
use crate::drm::DrmSystem;
use crate::secret::Secret;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Denial, FaultKind, Grant, Reason, Verdict};
use crate::sessions::SessionContext;
use crate::store::DialectName;
use crate::token::{TokenClaims, TokenListing};

/// *Invalid expiration time*, on the vendor's page of SSM error codes.
pub(super) const TOKEN_EXPIRED_CODE: i64 = 1004;
/// *Internal error*: with status 500 at a renewal, the signature of a kill.
const KILLED_AT_RENEWAL_CODE: i64 = 6002;

impl NagraSsmSettings {
    pub(super) fn open(&self, content: &Secret) -> Option<AuthorityRequest<'_>> {
        self.call(&self.setup, content, b"{}")
    }

    pub(super) fn beat(&self, grant: &Grant) -> Option<AuthorityRequest<'_>> {
        self.call(&self.heartbeat, &grant.token, b"{}")
    }

    pub(super) fn close(&self, grant: &Grant) -> Option<AuthorityRequest<'_>> {
        self.call(&self.teardown, &grant.token, b"{}")
    }

    pub(super) fn renew<'a>(
        &'a self,
        endpoint: &'a EndpointUrl,
        grant: &Grant,
        challenge: &[u8],
    ) -> Option<AuthorityRequest<'a>> {
        let body = json!({ "challenge": STANDARD.encode(challenge) });
        self.call(endpoint, &grant.token, body.to_string().as_bytes())
    }

    /// An open that can begin no session, because it has no token.
    pub(super) fn knock(&self) -> AuthorityRequest<'_> {
        self.bare(&self.setup, b"{}")
    }

    /// A call with a token; `None` if the token cannot stand in a header.
    fn call<'a>(&'a self, endpoint: &'a EndpointUrl, token: &Secret, body: &[u8]) -> Option<AuthorityRequest<'a>> {
        let mut wire = self.bare(endpoint, body);
        wire.headers.insert(self.authorization.clone(), header_value(token.expose())?);
        Some(wire)
    }

    fn bare<'a>(&'a self, endpoint: &'a EndpointUrl, body: &[u8]) -> AuthorityRequest<'a> {
        let mut headers = HeaderMap::with_capacity(3 + self.headers.len());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        let body = Bytes::copy_from_slice(body);
        AuthorityRequest { body, endpoint, headers, method: Method::POST, path: None }
    }

    /// The header of a license call: the configured mix of content and session token.
    pub fn license_value(&self, content: &Secret, grant: &Grant) -> Option<HeaderValue> {
        self.license_authorization.fill(content.expose(), grant.token.expose())
    }

    fn read_reply(&self, asked: &AuthorityReply<'_>) -> Result<Verdict, AuthorityFault> {
        let reply = SsmReply::read(asked.body);
        if asked.status.is_success() && reply.error_code.is_none_or(|code| code == 0) {
            if !reply.is_of_a_session_service(asked.kind) {
                let reason = Reason::new(asked.status.as_u16(), None, "a good reply that is none of a session service");
                return Err(AuthorityFault { kind: FaultKind::Malformed, reason });
            }
            return self.read_good(asked, &reply);
        }
        classify(asked.kind, asked.status, reply.error_code, reply.reason(asked.status))
    }

    fn read_good(&self, asked: &AuthorityReply<'_>, said: &SsmReply) -> Result<Verdict, AuthorityFault> {
        let claims = said.token.as_ref().and_then(|token| TokenClaims::peek(token.expose()));
        let lifetime = claims.as_ref().and_then(|claims| claims.remaining(asked.time));
        match (asked.kind, said.token.clone()) {
            (AskKind::Close, _) => Ok(Verdict::Closed),
            (AskKind::Open, Some(token)) => {
                let claimed = claims.as_ref().and_then(|claims| claims.seconds("heartbeat"));
                let interval = said.interval.or(claimed.filter(|interval| !interval.is_zero()));
                Ok(Verdict::Granted(Grant { interval: interval.unwrap_or(self.interval), lifetime, token }))
            }
            (AskKind::Open, None) => Err(AuthorityFault {
                kind: FaultKind::Malformed,
                reason: Reason::new(asked.status.as_u16(), said.error_code, "the setup reply has no sessionToken"),
            }),
            (AskKind::Beat | AskKind::Renew, token) => {
                Ok(Verdict::Alive { interval: said.interval, lifetime, schedule: None, token })
            }
        }
    }
}

/// A value marked as sensitive, so that no debug output shows it. `None` if the text cannot stand in a header.
pub(super) fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The verdict on an open without a content token.
pub(super) fn tokenless() -> Verdict {
    Verdict::Denied(Denial::Token, Reason::without_reply("there is no content token"))
}

/// The license inside a renewal reply: a string, or an array whose first element counts.
pub(super) fn license(body: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let license = value.get("license")?;
    crate::drm::configured_wrapping::base64_decode(license.as_str().or_else(|| license.get(0)?.as_str())?.as_bytes())
}

/// Reads a kill from the reply of a PlayReady license server. Such renewals do not reach the authority; the license
/// server answers for a killed session as the authority would.
pub(super) fn killed_by_license_server(status: StatusCode, body: &[u8]) -> Option<Reason> {
    if status != StatusCode::INTERNAL_SERVER_ERROR {
        return None;
    }
    let said = SsmReply::read(body);
    let killed = said.error_code == Some(KILLED_AT_RENEWAL_CODE);
    killed.then(|| Reason { killed_on: Some(AskKind::Renew), ..said.reason(status) })
}

/// The table of replies. A kill is (404, 3002) on an open and (500, 6002) on a renewal. On the calls of a running
/// session (404, 3002) means that the token is unknown: killed, expired, or replaced by a lost answer; the core tells
/// which. A reply in no row is a fault, and never a kill.
fn classify(ask: AskKind, status: StatusCode, code: Option<i64>, reason: Reason) -> Result<Verdict, AuthorityFault> {
    let refused = |reason| Err(AuthorityFault { kind: FaultKind::Refused, reason });
    match (ask, status.as_u16(), code) {
        (AskKind::Close, 404, _) | (AskKind::Close, _, Some(3002)) => Ok(Verdict::Unknown(reason)),
        (AskKind::Open, 404, Some(3002)) | (AskKind::Renew, 500, Some(KILLED_AT_RENEWAL_CODE)) => {
            Ok(Verdict::Killed(reason))
        }
        (AskKind::Beat | AskKind::Renew, 404, Some(3002)) => Ok(Verdict::Unknown(reason)),
        (AskKind::Open, _, Some(1007)) => Ok(Verdict::Denied(Denial::Limit, reason)),
        (AskKind::Open, _, Some(1018)) => Ok(Verdict::Denied(Denial::InUse, reason)),
        (_, _, Some(1008)) => Ok(Verdict::Disabled),
        (_, _, Some(1003 | TOKEN_EXPIRED_CODE | 1006)) => Ok(Verdict::Denied(Denial::Token, reason)),
        (_, _, Some(4000 | 4001 | KILLED_AT_RENEWAL_CODE)) => refused(reason),
        (_, _, Some(1000 | 1001 | 1005 | 1009 | 1011..=1013 | 1017 | 1018 | 3001 | 3002 | 3004)) => {
            Ok(Verdict::Denied(Denial::Rejected, reason))
        }
        (_, 408 | 429 | 500..=599, _) => refused(reason),
        (AskKind::Open, 400..=499, _) => Ok(Verdict::Denied(Denial::Rejected, reason)),
        (_, _, _) => Err(AuthorityFault { kind: FaultKind::Malformed, reason }),
    }
}

/// The kind of a reply's body, beside its fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SsmReplyBody {
    Empty,
    /// A JSON object with one of the fields that the head-end's replies have.
    Known,
    /// No JSON object: a page, mostly.
    Page,
    Unknown,
}

/// The few fields of a reply that matter, whatever their case and type.
struct SsmReply {
    body: SsmReplyBody,
    error_code: Option<i64>,
    interval: Option<Duration>,
    message: String,
    token: Option<Secret>,
}

impl SsmReply {
    /// Reads a body; an empty or non-JSON one has no fields.
    fn read(body: &[u8]) -> Self {
        const REPLY_FIELDS: [&str; 4] = ["errorCode", "heartBeat", "license", "sessionToken"];
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let is_known = |name: &String| REPLY_FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known));
        let kind = match &value {
            Value::Object(fields) if fields.keys().any(is_known) => SsmReplyBody::Known,
            Value::Object(_) => SsmReplyBody::Unknown,
            _ if body.iter().all(u8::is_ascii_whitespace) => SsmReplyBody::Empty,
            _ => SsmReplyBody::Page,
        };
        let field = |name: &str| {
            value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let number = |name| field(name).and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
        let text = |name| field(name).and_then(Value::as_str).unwrap_or_default();
        Self {
            body: kind,
            error_code: number("errorCode").map(|code| code as i64),
            interval: number("heartBeat").filter(|s| (0.001..=86_400.0).contains(s)).map(Duration::from_secs_f64),
            message: text("message").to_owned(),
            // A text that cannot stand in a header is no token.
            token: Some(text("sessionToken"))
                .filter(|token| !token.is_empty() && header_value(token).is_some())
                .map(Secret::new),
        }
    }

    /// False for a reply of a captive portal or CDN, which answers 200 to everything. The true answer is then lost.
    fn is_of_a_session_service(&self, ask: AskKind) -> bool {
        match (ask, self.body) {
            (_, SsmReplyBody::Known) => true,
            // The reply to a teardown carries nothing, so it may hold anything but a page.
            (AskKind::Close, SsmReplyBody::Empty | SsmReplyBody::Unknown) => true,
            (AskKind::Close, SsmReplyBody::Page)
            | (
                AskKind::Beat | AskKind::Open | AskKind::Renew,
                SsmReplyBody::Empty | SsmReplyBody::Page | SsmReplyBody::Unknown,
            ) => false,
        }
    }

    fn reason(&self, status: StatusCode) -> Reason {
        let message =
            if self.message.is_empty() { status.canonical_reason().unwrap_or("no message") } else { &self.message };
        Reason::new(status.as_u16(), self.error_code, message)
    }
}

#[derive(Debug)]
pub(in crate::authority) struct SsmDialect {
    config: Box<NagraSsmSettings>,
    renewal_path: LearnedRenewalPath,
}

impl SsmDialect {
    pub(in crate::authority) fn new(config: Box<NagraSsmSettings>) -> Self {
        Self { config, renewal_path: LearnedRenewalPath::default() }
    }
}

impl DialectSettings for NagraSsmSettings {
    fn dialect(self: Box<Self>, _signals: &AuthoritySignals) -> Box<dyn Dialect> {
        Box::new(SsmDialect::new(self))
    }
}

impl Dialect for SsmDialect {
    fn name(&self) -> DialectName {
        DialectName::NagraSsm
    }

    fn renewed(&self, config: AuthorityKind, _signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::NagraSsm(config) = config else { return None };
        Some(Box::new(Self::new(config)))
    }

    /// Names in the vendor's player SDK.
    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |ask| match ask {
            AskKind::Beat => "ssmheartbeaterror",
            AskKind::Close => "ssmteardownerror",
            AskKind::Open => "ssmsetuperror",
            AskKind::Renew => "ssmrenewalerror",
        }
    }

    fn request<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> PreparedCall<'a> {
        let request = match (ask.kind, &ask.grant) {
            (AskKind::Open, _) => match &context.token {
                Some(token) => self.config.open(token),
                None => return PreparedCall::Decide(Ok(tokenless())),
            },
            (AskKind::Beat, Some(grant)) => self.config.beat(grant),
            (AskKind::Close, Some(grant)) => self.config.close(grant),
            // Renewals carry the player's challenge and come through `renew`.
            (AskKind::Renew, _) | (AskKind::Beat | AskKind::Close, None) => None,
        };
        match request {
            Some(request) => PreparedCall::Send(request),
            None => PreparedCall::Decide(Err(unspeakable("the token cannot stand in a header"))),
        }
    }

    fn read(&self, reply: &AuthorityReply<'_>) -> Result<Verdict, AuthorityFault> {
        self.config.read_reply(reply)
    }

    fn renew<'a>(&'a self, context: AskContext<'a>, grant: &'a Grant, challenge: &'a [u8]) -> RenewalFuture<'a> {
        Box::pin(self.renew_at_either(context, grant, challenge))
    }

    fn knock(&self) -> Option<AuthorityRequest<'_>> {
        Some(self.config.knock())
    }

    fn timeout(&self) -> Duration {
        self.config.timeout
    }

    fn endpoints(&self) -> Vec<&EndpointUrl> {
        let NagraSsmSettings { heartbeat, renewal, renewal_other, setup, teardown, .. } = &*self.config;
        [setup, heartbeat, teardown, renewal].into_iter().chain(renewal_other).collect()
    }

    fn pace(&self) -> (f64, Duration) {
        (self.config.fraction, self.config.grace)
    }

    fn on_unreachable(&self) -> OnUnreachable {
        self.config.on_unreachable
    }

    fn renews(&self) -> bool {
        true
    }

    fn token_listing(&self) -> TokenListing {
        TokenListing::NamingContent
    }

    fn expired_code(&self) -> Option<i64> {
        Some(TOKEN_EXPIRED_CODE)
    }

    fn token_header(&self, content: &Secret) -> Option<(HeaderName, HeaderValue)> {
        Some((self.config.authorization.clone(), header_value(content.expose())?))
    }

    fn license_header(&self, content: Option<&Secret>, grant: &Grant) -> Option<(HeaderName, HeaderValue)> {
        Some((self.config.authorization.clone(), self.config.license_value(content?, grant)?))
    }

    fn may_say_killed(&self, system: DrmSystem, status: StatusCode) -> bool {
        system == DrmSystem::PlayReady && status == StatusCode::INTERNAL_SERVER_ERROR
    }

    fn killed_by_license_server(&self, system: DrmSystem, status: StatusCode, body: &[u8]) -> Option<Reason> {
        if self.may_say_killed(system, status) { killed_by_license_server(status, body) } else { None }
    }
}

#[derive(Debug, Default)]
struct LearnedRenewalPath {
    /// The path in use has brought an answer of the session service.
    has_worked: AtomicBool,
    /// The other path has answered.
    use_other: AtomicBool,
}

impl SsmDialect {
    /// The path for renewals, and the one to try if that is not found.
    fn renewal_paths(&self) -> (&EndpointUrl, Option<&EndpointUrl>) {
        match &self.config.renewal_other {
            Some(other) if self.renewal_path.use_other.load(Ordering::Relaxed) => (other, Some(&self.config.renewal)),
            other => (&self.config.renewal, other.as_ref()),
        }
    }

    /// Uses this path from now on. Taking it by name keeps two calls that find out at once from undoing each other.
    fn keep_renewal_path(&self, endpoint: &EndpointUrl) {
        self.renewal_path.use_other.store(!std::ptr::eq(endpoint, &self.config.renewal), Ordering::Relaxed);
    }

    async fn renew_at_either(&self, context: AskContext<'_>, grant: &Grant, challenge: &[u8]) -> RenewalAnswer {
        let permit = match context.permit() {
            Ok(permit) => permit,
            Err(fault) => return RenewalAnswer::failed(fault),
        };
        let (usual, other) = self.renewal_paths();
        let mut renewal = self.renew_at(usual, context, grant, challenge).await;
        if let Some(other) = other.filter(|_| is_no_path(&renewal.result)) {
            let elsewhere = self.renew_at(other, context, grant, challenge).await;
            let has_worked = self.renewal_path.has_worked.load(Ordering::Relaxed);
            // A path that has worked may have replaced the token. Then an unknown session at the other path proves
            // nothing.
            if matches!(elsewhere.result, Ok(Verdict::Alive { .. })) || !has_worked {
                renewal = elsewhere;
                if !is_no_path(&renewal.result) {
                    self.keep_renewal_path(other);
                }
            }
        }
        if renewal.result.is_ok() {
            self.renewal_path.has_worked.store(true, Ordering::Relaxed);
        }
        context.tell(permit, &renewal.result);
        context.count(&renewal.result);
        renewal
    }

    async fn renew_at(
        &self,
        endpoint: &EndpointUrl,
        context: AskContext<'_>,
        grant: &Grant,
        challenge: &[u8],
    ) -> RenewalAnswer {
        let Some(request) = self.config.renew(endpoint, grant, challenge) else {
            return RenewalAnswer::failed(unspeakable("the token cannot stand in a header"));
        };
        match context.send(request, self.config.timeout).await {
            Ok(reply) => RenewalAnswer {
                license: license(&reply.body),
                result: context.read(&reply).map_err(|fault| naming(fault, endpoint)),
            },
            Err(fault) => RenewalAnswer::failed(fault),
        }
    }
}

#[cfg(test)]
mod tests;
