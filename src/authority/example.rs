//! An example dialect that follows the steps of `docs/authorities.md`. Only tests use it.
//!
//! Its wire resembles that of authorities with a public one: an open returns the session in `Location`, the interval
//! is the time to `Expires`, and 410 tells whether a device took the slot.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;

use super::AuthoritySignals;
use super::client::unspeakable;
use super::dialect::{Dialect, DialectSettings, PreparedCall, PushedKills};
use super::exchange::{AuthorityReply, AuthorityRequest};
use crate::config::{AuthorityKind, EndpointUrl, ExampleSettings};
use crate::secret::Secret;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Denial, FaultKind, Grant, Reason, Verdict};
use crate::sessions::SessionContext;
use crate::store::DialectName;

#[derive(Debug)]
pub(super) struct ExampleDialect {
    kills: ExampleKillSenders,
    settings: Box<ExampleSettings>,
}

/// Senders of pushed kills for the running sessions.
type ExampleKillSenders = Arc<Mutex<Vec<PushedKills>>>;

impl ExampleDialect {
    pub(super) fn new(settings: Box<ExampleSettings>) -> Self {
        Self { kills: Arc::default(), settings }
    }
}

impl DialectSettings for ExampleSettings {
    fn dialect(self: Box<Self>, _signals: &AuthoritySignals) -> Box<dyn Dialect> {
        Box::new(ExampleDialect::new(self))
    }
}

impl Dialect for ExampleDialect {
    fn name(&self) -> DialectName {
        DialectName::Example
    }

    fn renewed(&self, config: AuthorityKind, _signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::Example(settings) = config else { return None };
        Some(Box::new(Self { kills: self.kills.clone(), settings }))
    }

    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |_| "example-error"
    }

    fn request<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> PreparedCall<'a> {
        let request = match (ask.kind, &ask.grant) {
            (AskKind::Open, _) => context.token.as_ref().and_then(|token| self.open(token)),
            (AskKind::Beat, Some(grant)) => self.call(Method::POST, grant),
            (AskKind::Close, Some(grant)) => self.call(Method::DELETE, grant),
            (AskKind::Renew, _) | (AskKind::Beat | AskKind::Close, None) => None,
        };
        request.map_or_else(|| PreparedCall::Decide(Err(unspeakable("the call cannot be written"))), PreparedCall::Send)
    }

    /// The table of the replies. A reply in no row is a fault, and never a kill.
    fn read(&self, reply: &AuthorityReply<'_>) -> Result<Verdict, AuthorityFault> {
        let reason = || Reason::new(reply.status.as_u16(), None, reply.status.canonical_reason().unwrap_or_default());
        let malformed = || AuthorityFault { kind: FaultKind::Malformed, reason: reason() };
        match (reply.kind, reply.status.as_u16()) {
            (AskKind::Open, 202) => {
                let (interval, session) = (reply.expires_in(), reply.location());
                let (interval, session) = interval.zip(session).ok_or_else(malformed)?;
                Ok(Verdict::Granted(Grant { interval, lifetime: None, token: Secret::new(session) }))
            }
            (AskKind::Beat | AskKind::Renew, 202) => {
                Ok(Verdict::Alive { interval: reply.expires_in(), lifetime: None, schedule: None, token: None })
            }
            (AskKind::Close, 202 | 404 | 410) => Ok(Verdict::Closed),
            (AskKind::Open, 409) => Ok(Verdict::Denied(Denial::Limit, reason())),
            // Another session began, and the newest wins.
            (AskKind::Beat | AskKind::Renew, 409) => Ok(Verdict::Killed(reason())),
            (AskKind::Beat | AskKind::Renew, 410) => Ok(match terminator(reply.body) {
                Some(device) => Verdict::Killed(reason().taken_by(&device)),
                None => Verdict::Gone(reason()),
            }),
            (_, 408 | 429 | 500..=599) => Err(AuthorityFault { kind: FaultKind::Refused, reason: reason() }),
            _ => Err(malformed()),
        }
    }

    /// A dialect that holds a connection for each session would begin to listen here.
    fn accepted(&self, _grant: &Grant, kills: PushedKills) -> Option<usize> {
        self.kills.lock().unwrap_or_else(PoisonError::into_inner).push(kills);
        None
    }

    fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    fn endpoints(&self) -> Vec<&EndpointUrl> {
        vec![&self.settings.sessions]
    }
}

impl ExampleDialect {
    fn open(&self, token: &Secret) -> Option<AuthorityRequest<'_>> {
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_str(token.expose()).ok()?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        let (body, endpoint, method, path) = (Bytes::new(), &self.settings.sessions, Method::POST, None);
        Some(AuthorityRequest { body, endpoint, headers, method, path })
    }

    /// The session's id is its token: it names the path.
    fn call(&self, method: Method, grant: &Grant) -> Option<AuthorityRequest<'_>> {
        let path = Some(format!("{}/{}", self.settings.sessions.path(), grant.token.expose()));
        let (body, endpoint, headers) = (Bytes::new(), &self.settings.sessions, HeaderMap::new());
        Some(AuthorityRequest { body, endpoint, headers, method, path })
    }
}

/// The device that ended the session, where the reply names one.
fn terminator(body: &[u8]) -> Option<String> {
    let reply: Value = serde_json::from_slice(body).ok()?;
    Some(reply.get("terminator")?.get("deviceName")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
