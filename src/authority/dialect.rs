//! How an authority speaks, and what the proxy must know of it: a trait with one implementation per kind.
//!
//! Most dialects need one request for each call. They implement [`Dialect::request`] and [`Dialect::read`], which are
//! pure, and the client does the rest. A dialect whose call is several exchanges, or none, implements
//! [`Dialect::perform`]. Everything else has a default for an authority without peculiarities. `docs/authorities.md`
//! tells how to write a new one.

use std::fmt;
use std::pin::Pin;
use std::sync::Weak;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};

use super::client::{AskContext, RenewalAnswer, unspeakable};
use super::exchange::{AuthorityReply, AuthorityRequest};
use super::{AuthoritySignals, EmbeddedAuthority};
use crate::config::{AuthorityKind, EndpointUrl, FieldNames, OnUnreachable};
use crate::drm::DrmSystem;
use crate::registrations::AuthorizationBlock;
use crate::secret::{Fingerprint, Secret};
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Grant, Policy, Reason, Schedule, Verdict};
use crate::sessions::{DeviceKey, OpenFuture, SessionContext, Sessions};
use crate::store::DialectName;
use crate::token::TokenListing;

pub(super) trait Dialect: fmt::Debug + Send + Sync {
    /// The name that stands in session records. A token of another dialect means nothing to this one.
    fn name(&self) -> DialectName;

    /// The dialect with other settings; keeps learned facts that still hold. `None` if the settings are for another
    /// kind.
    fn renewed(&self, config: AuthorityKind, signals: &AuthoritySignals) -> Option<Box<dyn Dialect>>;

    /// The name that the vendor's player SDK has for a failed call.
    fn error_name(&self) -> fn(AskKind) -> &'static str;

    // The calls.

    /// Writes the request for a call, or decides without one.
    fn request<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> PreparedCall<'a> {
        let (_ask, _card) = (ask, context);
        PreparedCall::Decide(Err(unspeakable("this authority is not asked by requests")))
    }

    /// Reads what the reply to a call means. A reply that stands in no row of the dialect's table is a fault, and never
    /// a kill.
    ///
    /// # Errors
    /// The reply is no decision.
    fn read(&self, reply: &AuthorityReply<'_>) -> Result<Verdict, AuthorityFault> {
        let _reply = reply;
        Err(unspeakable("this authority is not asked by requests"))
    }

    /// Makes a call of the core: by default one request and its reply, under the breaker of the authority.
    fn perform<'a>(&'a self, context: AskContext<'a>, ask: &'a AuthorityAsk) -> OpenFuture<'a> {
        Box::pin(context.exchange(ask))
    }

    /// Sends a player's own renewal challenge as the session's beat; see [`Self::renews`].
    fn renew<'a>(&'a self, context: AskContext<'a>, grant: &'a Grant, challenge: &'a [u8]) -> RenewalFuture<'a> {
        let (_context, _grant, _challenge) = (context, grant, challenge);
        Box::pin(async { RenewalAnswer::failed(unspeakable("this authority takes no renewals")) })
    }

    /// A session's player has got a license or media. Called once per process and session, under the device's lock,
    /// so it must neither wait nor push. A dialect with pushed kills listens from now on and sends them by `kills`.
    /// Returns how many other sessions ended for this one, if known.
    fn accepted(&self, grant: &Grant, kills: PushedKills) -> Option<usize> {
        let (_grant, _kills) = (grant, kills);
        None
    }

    /// An open that can begin no session and holds nothing from a caller. If the authority gives
    /// [credit](Self::on_unreachable), it shows whether an unanswered open is an outage.
    fn knock(&self) -> Option<AuthorityRequest<'_>> {
        None
    }

    /// Longest time of one request.
    fn timeout(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// The servers of this authority. The learned clock offset holds as long as these stay the same.
    fn endpoints(&self) -> Vec<&EndpointUrl> {
        Vec::new()
    }

    /// True if failures of all sessions count together: they open a breaker and are an outage.
    fn has_breaker(&self) -> bool {
        true
    }

    // The rules that it sets.

    /// The share of the interval after which a beat is due, and the grace after the interval.
    fn pace(&self) -> (f64, Duration) {
        (1.0, Policy::default().grace)
    }

    /// Time for which playbacks go on while the authority is unreachable.
    fn on_unreachable(&self) -> OnUnreachable {
        OnUnreachable::default()
    }

    /// The route's policy, adapted to the authority.
    fn refine(&self, policy: Policy) -> Policy {
        policy
    }

    /// True if a Widevine renewal goes to the authority and counts as a beat.
    fn renews(&self) -> bool {
        false
    }

    // The tokens.

    /// True if an open needs the player's content token.
    fn needs_token(&self) -> bool {
        true
    }

    /// The tokens that may stand beside a content token.
    fn token_listing(&self) -> TokenListing {
        TokenListing::Alone
    }

    /// The error code that tells the authority's players of an expired content token.
    fn expired_code(&self) -> Option<i64> {
        None
    }

    /// The header by which a license call carries its content token when there is no session.
    fn token_header(&self, content: &Secret) -> Option<(HeaderName, HeaderValue)> {
        let _content = content;
        None
    }

    /// The header by which a license call carries the session, if the authority wants one.
    fn license_header(&self, content: Option<&Secret>, grant: &Grant) -> Option<(HeaderName, HeaderValue)> {
        let (_content, _grant) = (content, grant);
        None
    }

    /// True if a reply of a license server with this status may tell of a kill.
    fn may_say_killed(&self, system: DrmSystem, status: StatusCode) -> bool {
        let (_system, _status) = (system, status);
        false
    }

    /// The reason of a kill, if this reply of a license server tells of one.
    fn killed_by_license_server(&self, system: DrmSystem, status: StatusCode, body: &[u8]) -> Option<Reason> {
        let (_system, _status, _body) = (system, status, body);
        None
    }

    // Playbacks that are registered.

    /// The names of the fields of an authorization, and the caller's headers that go with every call.
    fn authorization(&self) -> (&FieldNames, &[HeaderName]) {
        static PLAIN: FieldNames = FieldNames(std::collections::BTreeMap::new());
        (&PLAIN, &[])
    }

    /// The future events of the playback that this authorization names; `now` and `wall` are the same moment.
    fn schedule(&self, block: &AuthorizationBlock, now: Instant, wall: Duration) -> Option<Schedule> {
        let (_block, _now, _wall) = (block, now, wall);
        None
    }

    /// The embedded authority, if this is one.
    fn embedded(&self) -> Option<&EmbeddedAuthority> {
        None
    }
}

/// The settings of a kind, from which its dialect is made.
pub(super) trait DialectSettings {
    fn dialect(self: Box<Self>, signals: &AuthoritySignals) -> Box<dyn Dialect>;
}

/// A call as its dialect has prepared it.
#[derive(Debug)]
pub(super) enum PreparedCall<'a> {
    /// The verdict is clear without a call.
    Decide(Result<Verdict, AuthorityFault>),
    Send(AuthorityRequest<'a>),
}

pub(super) type RenewalFuture<'a> = Pin<Box<dyn Future<Output = RenewalAnswer> + Send + 'a>>;

/// Delivers a kill of one session. It may outlive the session: then, or if the session has another token, a kill does
/// nothing.
#[derive(Clone, Debug)]
pub(super) struct PushedKills {
    key: DeviceKey,
    sessions: Weak<Sessions>,
    token: Fingerprint,
}

impl PushedKills {
    pub(super) fn of(sessions: Weak<Sessions>, context: &SessionContext, grant: &Grant) -> Self {
        let key = DeviceKey::new(&context.authority_name, context.device_source, &context.device);
        Self { key, sessions, token: grant.token.fingerprint() }
    }

    /// Delivers a kill; false if the session is gone.
    #[cfg_attr(not(test), expect(dead_code, reason = "no authority of today pushes; the example does"))]
    pub(super) fn push(&self, reason: &Reason) -> bool {
        self.sessions.upgrade().is_some_and(|sessions| sessions.kill_pushed(self.key, self.token, reason))
    }
}
