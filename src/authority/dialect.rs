//! How one authority speaks, and what the proxy has to know of it: a trait, implemented once in the file of each.
//!
//! Most authorities are asked by one request for each call: they implement [`Dialect::request`] and
//! [`Dialect::read`], which are pure, and the client does the rest. Where a call is more than one exchange, or none, a
//! dialect implements [`Dialect::perform`]. Everything else has a default, which is that of an authority without
//! peculiarities. How a new one is written: `docs/authorities.md`.

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};

use super::client::{AskContext, RenewalAnswer, unspeakable};
use super::exchange::{AuthorityReply, AuthorityRequest};
use super::pushed_kills::PushedKills;
use super::{AuthoritySignals, EmbeddedAuthority};
use crate::config::{AuthorityKind, EndpointUrl, FieldNames, OnUnreachable};
use crate::drm::DrmSystem;
use crate::registrations::AuthorizationBlock;
use crate::secret::Secret;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Grant, Policy, Reason, Schedule, Verdict};
use crate::sessions::{OpenFuture, SessionContext};
use crate::store::DialectName;
use crate::token::TokenListing;

pub(super) trait Dialect: fmt::Debug + Send + Sync {
    /// The name under which sessions are written down: a token of another dialect is none of this one's.
    fn name(&self) -> DialectName;

    /// The dialect with other settings, and with whatever it has learned that still holds. `None` if the settings are
    /// those of another kind.
    fn renewed(&self, config: AuthorityKind, signals: &AuthoritySignals) -> Option<Box<dyn Dialect>>;

    /// The name that the vendor's player SDK has for a failed call.
    fn error_name(&self) -> fn(AskKind) -> &'static str;

    // The calls.

    /// Writes the request for a call, or decides without one.
    fn request<'a>(&'a self, ask: &'a AuthorityAsk, card: &'a SessionContext) -> PreparedCall<'a> {
        let (_ask, _card) = (ask, card);
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

    /// A session's player has got something to play by. Told once a process, under the device's lock: it must neither
    /// wait nor push. An authority that pushes kills is listened to from now on, and each kill goes by `kills`. Returns how
    /// many other sessions ended for this one, if that is known.
    fn accepted(&self, grant: &Grant, kills: PushedKills) -> Option<usize> {
        let (_grant, _kills) = (grant, kills);
        None
    }

    /// An open that no session can come of, and that holds nothing a caller has written. Where an authority gives
    /// [credit](Self::on_unreachable), it shows whether an open without an answer is an outage.
    fn knock(&self) -> Option<AuthorityRequest<'_>> {
        None
    }

    /// How long one request of a call may take.
    fn timeout(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// The servers that are asked: what was learned of their clock holds as long as these are the same.
    fn endpoints(&self) -> Vec<&EndpointUrl> {
        Vec::new()
    }

    /// Whether the authority's failures are counted over all sessions: they open a breaker, and are an outage.
    fn has_breaker(&self) -> bool {
        true
    }

    // The rules that it sets.

    /// The share of the interval after which a beat is due, and the grace after the interval.
    fn pace(&self) -> (f64, Duration) {
        (1.0, Policy::default().grace)
    }

    /// For how long playbacks go on without the authority's word.
    fn on_unreachable(&self) -> OnUnreachable {
        OnUnreachable::default()
    }

    /// The route's policy with what the authority asks for.
    fn refine(&self, policy: Policy) -> Policy {
        policy
    }

    /// Whether a Widevine renewal goes to the authority, and counts as a beat.
    fn renews(&self) -> bool {
        false
    }

    // The tokens.

    /// Whether an open needs the player's content token.
    fn needs_token(&self) -> bool {
        true
    }

    /// The tokens that may stand beside a content token.
    fn token_listing(&self) -> TokenListing {
        TokenListing::Alone
    }

    /// The error code by which the authority's players know that a content token has expired.
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

    /// The reason of a kill that a license server's refusal tells of the session of the call.
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

    /// The moments that the clock will bring to the playback of this authorization; `now` and `wall` are the same
    /// moment.
    fn schedule(&self, block: &AuthorizationBlock, now: Instant, wall: Duration) -> Option<Schedule> {
        let (_block, _now, _wall) = (block, now, wall);
        None
    }

    /// The embedded authority, if it is that one.
    fn embedded(&self) -> Option<&EmbeddedAuthority> {
        None
    }
}

/// A call as its dialect has prepared it.
#[derive(Debug)]
pub(super) enum PreparedCall<'a> {
    /// Nobody need be asked.
    Decide(Result<Verdict, AuthorityFault>),
    Send(AuthorityRequest<'a>),
}

pub(super) type RenewalFuture<'a> = Pin<Box<dyn Future<Output = RenewalAnswer> + Send + 'a>>;
