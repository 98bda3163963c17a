//! The player's renewal, which is the session's beat where the authority takes it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::call::{LicenseCall, ManagedCall};
use super::feedback::mirror_renewal;
use super::outcome::CallOutcome;
use crate::authority::RenewalAnswer;
use crate::drm::{self, Direction, DrmMessage, configured_wrapping};
use crate::edge::ReplyBody;
use crate::gateway::route::LicenseRoute;
use crate::ids::SessionId;
use crate::session::{
    AskKind, AuthorityFault, CallAnswer, CallKind, EndReason, FaultKind, Grant, Input, LicenseFeedback, Reason,
    SessionRefusal, Ticket, Verdict,
};
use crate::telemetry::PlayerCallOutcome;

/// What the renewal came to for the player.
enum RenewalOutcome {
    /// The session is gone at the authority, and another one is opened in its place: the call is asked again under that.
    Again,
    License(Vec<u8>),
    /// The session is gone at the authority, but goes on without one: the license server is asked.
    Pass,
    Refused(SessionRefusal),
}

/// Asked so often for one call of the player, and opened anew so often.
const MAX_RENEWALS: u32 = 3;
const MAX_REOPENS: u32 = 2;
/// Between two of them; a gateway that starts anew takes a moment.
const RENEWAL_PAUSE: Duration = Duration::from_millis(150);

impl LicenseCall<'_> {
    /// An answer that is lost, or is none, refuses nobody: the authority is asked again, a session that it holds no
    /// more is opened anew, and at last the playback goes on as it does in an outage.
    pub(in crate::gateway) async fn renew(
        &self,
        managed: &ManagedCall<'_>,
        grant: Grant,
        ticket: Ticket,
        id: SessionId,
    ) -> CallOutcome {
        let (mut grant, mut ticket, mut id) = (grant, ticket, id);
        let (mut asked, mut reopened) = (0, 0);
        loop {
            asked += 1;
            let news = self.ask_for_renewal(managed, grant, ticket, id).await;
            match &news {
                RenewalOutcome::Again if reopened < MAX_REOPENS => reopened += 1,
                RenewalOutcome::Refused(SessionRefusal::Unreachable(fault))
                    if asked < MAX_RENEWALS && self.may_help(fault) =>
                {
                    tokio::time::sleep(RENEWAL_PAUSE).await;
                }
                RenewalOutcome::Again
                | RenewalOutcome::License(_)
                | RenewalOutcome::Pass
                | RenewalOutcome::Refused(_) => {
                    return self.conclude_renewal(managed, news, id).await;
                }
            }
            let ManagedCall { call, card, key, .. } = managed;
            let admission = self.gateway.sessions.admit_again(*key, call, card, id, self.deadline).await;
            id = admission.session.unwrap_or(id);
            (grant, ticket) = match admission.answer {
                CallAnswer::Renew(grant, ticket) => (grant, ticket),
                CallAnswer::Forward(grant) => return self.forward(managed, &grant, id).await,
                CallAnswer::Pass => return self.forward_without_grant(managed, id).await,
                CallAnswer::Refuse(refusal) => return self.refuse(managed.refusal(AskKind::Open, &refusal, Some(id))),
                CallAnswer::Wait => {
                    let late = fault(FaultKind::Timeout, "no decision in time");
                    return self.conclude_renewal(managed, late, id).await;
                }
            };
        }
    }

    /// Whether asking once more may help, and leaves the license server its time. A call that never set out was held
    /// already while it could; who is told to wait does.
    fn may_help(&self, fault: &AuthorityFault) -> bool {
        let left = self.deadline.saturating_duration_since(self.gateway.clock.now());
        let waits = fault.reason.retry_after.is_some() || fault.reason.code == 429;
        !fault.kind.was_not_processed() && !waits && left > self.route.limits.call / 2
    }

    /// Runs in a task of its own: a player that hangs up must not lose the session's new token.
    async fn ask_for_renewal(
        &self,
        managed: &ManagedCall<'_>,
        grant: Grant,
        ticket: Ticket,
        id: SessionId,
    ) -> RenewalOutcome {
        let challenge =
            self.request.challenge(self.route).map(|bare| Bytes::copy_from_slice(&bare)).unwrap_or_default();
        let (client, sessions) = (self.gateway.client.clone(), self.gateway.sessions.clone());
        let (asked, card, key) = (self.request.message.clone(), managed.card.clone(), managed.key);
        let call = managed.call;
        let key_session = self.request.key_session(&managed.call);
        let (tell, told) = oneshot::channel();
        self.gateway.tasks.carry_on(async move {
            let RenewalAnswer { license, result } = client.renew(&card, &grant, &challenge).await;
            if let (Ok(asked), Some(license)) = (&asked, &license) {
                mirror_renewal(&sessions, key, id, asked, license);
            }
            let lasts = license.as_deref().and_then(lasts);
            let news = news(&result, license);
            let is_gone = matches!(result, Ok(Verdict::Denied(..) | Verdict::Gone(_) | Verdict::Unknown(_)));
            sessions.answered(key, id, ticket, AskKind::Renew, result);
            match news {
                RenewalOutcome::License(_) => {
                    sessions.accept_renewal(key, id, &call);
                    sessions.licensed(key, id, LicenseFeedback::Plain, (key_session, lasts));
                }
                RenewalOutcome::Again | RenewalOutcome::Pass | RenewalOutcome::Refused(_) => {
                    sessions.deliver(key, id, Input::Unserved);
                }
            }
            // Whether it was killed, had expired or is opened anew is the core's to say. Not asked as a renewal: that
            // could be granted, and its player may be gone. Who waits no more wants nothing back.
            let decided =
                (is_gone && !tell.is_closed()).then(|| sessions.call_under(key, id, CallKind::License)).flatten();
            let news = match decided {
                Some(CallAnswer::Forward(_) | CallAnswer::Renew(..) | CallAnswer::Wait) => RenewalOutcome::Again,
                Some(CallAnswer::Pass) => RenewalOutcome::Pass,
                Some(CallAnswer::Refuse(refusal)) => RenewalOutcome::Refused(refusal),
                None => news,
            };
            // The player may be gone; the session goes on all the same.
            let _gone = tell.send(news);
        });
        // The license server may have to be asked in place of an authority that says nothing.
        let until = self.deadline.checked_sub(self.route.limits.call / 6).unwrap_or(self.deadline);
        let news = tokio::time::timeout_at(until.into(), told).await;
        news.ok().and_then(Result::ok).unwrap_or_else(|| fault(FaultKind::Timeout, "the renewal took too long"))
    }

    async fn conclude_renewal(&self, managed: &ManagedCall<'_>, news: RenewalOutcome, id: SessionId) -> CallOutcome {
        match news {
            RenewalOutcome::License(license) => (PlayerCallOutcome::Served, reply(self.route, &license)),
            RenewalOutcome::Again | RenewalOutcome::Pass => self.forward_without_grant(managed, id).await,
            // The authority gives no word: what runs goes on, and the license server renews.
            RenewalOutcome::Refused(SessionRefusal::Unreachable(fault)) => {
                match self.gateway.sessions.last_grant(managed.key, id) {
                    Some(grant) => self.forward(managed, &grant, id).await,
                    None => self.refuse(managed.refusal(AskKind::Renew, &SessionRefusal::Unreachable(fault), Some(id))),
                }
            }
            RenewalOutcome::Refused(refusal) => self.refuse(managed.refusal(AskKind::Renew, &refusal, Some(id))),
        }
    }
}

fn lasts(license: &[u8]) -> Option<Duration> {
    drm::recognise(Direction::Reply, None, None, license).ok().as_ref().and_then(DrmMessage::lasts)
}

fn news(result: &Result<Verdict, AuthorityFault>, license: Option<Vec<u8>>) -> RenewalOutcome {
    match result {
        Ok(
            Verdict::Alive { .. }
            | Verdict::Closed
            | Verdict::Disabled
            | Verdict::Granted(_)
            | Verdict::Unconfirmed(..),
        ) => license
            .map_or_else(|| fault(FaultKind::Malformed, "the renewal reply holds no license"), RenewalOutcome::License),
        Ok(Verdict::Denied(denial, reason)) => RenewalOutcome::Refused(SessionRefusal::Denied(*denial, reason.clone())),
        Ok(Verdict::Blackout(reason) | Verdict::Killed(reason)) => {
            RenewalOutcome::Refused(SessionRefusal::Killed(reason.clone()))
        }
        Ok(Verdict::Gone(_) | Verdict::Unknown(_)) => {
            RenewalOutcome::Refused(SessionRefusal::Ended(EndReason::Expired))
        }
        Err(fault) => RenewalOutcome::Refused(SessionRefusal::Unreachable(fault.clone())),
    }
}

fn fault(kind: FaultKind, message: &str) -> RenewalOutcome {
    RenewalOutcome::Refused(SessionRefusal::Unreachable(AuthorityFault { kind, reason: Reason::new(0, None, message) }))
}

/// The renewed license in the form in which the player expects it.
fn reply(route: &LicenseRoute, license: &[u8]) -> Response<ReplyBody> {
    let (content_type, body) = configured_wrapping::wrap(&route.license.wrapping.player_reply, license);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let content_type = HeaderValue::from_static(content_type.unwrap_or("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
