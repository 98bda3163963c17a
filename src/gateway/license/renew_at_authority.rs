//! Sends the player's renewal to the authority, where that takes renewals as heartbeats.
//!
//! `call_kind` says which call is a renewal, and the core whether it comes here (`CallAnswer::Renew`).

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::call::{LicenseCall, ManagedCall};
use super::feedback::mirror_renewal;
use super::single_flight::CallOutcome;
use crate::authority::RenewalAnswer;
use crate::drm::{self, Direction, DrmMessage, configured_wrapping};
use crate::edge::ReplyBody;
use crate::edge::own_replies::own;
use crate::gateway::route::LicenseRoute;
use crate::ids::SessionId;
use crate::session::{
    AskKind, AuthorityFault, CallAnswer, CallKind, EndReason, FaultKind, Grant, Input, LicenseFeedback, Reason,
    SessionRefusal, Ticket, Verdict,
};
use crate::sessions::CallContext;
use crate::telemetry::PlayerCallOutcome;

/// Result of the renewal for the player.
enum RenewalOutcome {
    /// The authority has lost the session and another one is opened in its place. The call is decided again under
    /// that one.
    Again,
    License(Vec<u8>),
    /// The authority has lost the session, but playback goes on without one. The license server is asked.
    Pass,
    Refused(SessionRefusal),
}

/// Attempts for one call of the player; sessions reopened for it.
const MAX_RENEWALS: u32 = 3;
const MAX_REOPENS: u32 = 2;
/// Pause between two attempts; an authority's gateway needs a moment to restart.
const RENEWAL_PAUSE: Duration = Duration::from_millis(150);

impl LicenseCall<'_> {
    /// Renews at the authority. A lost answer refuses nobody: the authority is asked again, a lost session is
    /// reopened, and at last the playback goes on as in an outage.
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
            let ManagedCall { call, context, key, .. } = managed;
            let admission = self.gateway.sessions.admit_again(*key, call, context, id, self.deadline).await;
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

    /// True if another attempt may help and leaves the license server its time. A call that never set out was
    /// already held while it could be. If the authority asks for a pause, none is made.
    fn may_help(&self, fault: &AuthorityFault) -> bool {
        let left = self.deadline.saturating_duration_since(self.gateway.clock.now());
        let waits = fault.reason.retry_after.is_some() || fault.reason.code == Some(429);
        !fault.kind.was_not_processed() && !waits && left > self.route.limits.call / 2
    }

    /// Asks in a task of its own, so that a player that hangs up does not lose the session's new token.
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
        let (asked, context, key) = (self.request.message.clone(), managed.context.whole().clone(), managed.key);
        let call = managed.call;
        let key_session = self.request.key_session(&managed.call);
        let (tell, told) = oneshot::channel();
        self.gateway.tasks.carry_on(async move {
            let RenewalAnswer { license, result } = client.renew(&context, &grant, &challenge).await;
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
            // The core decides whether the session was killed, had expired or is reopened. It is asked as for a
            // license: a renewal could be granted though its player has gone. Without a player there is nothing
            // to decide.
            let decided =
                (is_gone && !tell.is_closed()).then(|| sessions.call_under(key, id, CallKind::License)).flatten();
            let news = match decided {
                Some(CallAnswer::Forward(_) | CallAnswer::Renew(..) | CallAnswer::Wait) => RenewalOutcome::Again,
                Some(CallAnswer::Pass) => RenewalOutcome::Pass,
                Some(CallAnswer::Refuse(refusal)) => RenewalOutcome::Refused(refusal),
                None => news,
            };
            // The player may be gone; the session goes on in any case.
            let _gone = tell.send(news);
        });
        // Leaves time to ask the license server if the authority stays silent.
        let until = self.deadline.checked_sub(self.route.limits.call / 6).unwrap_or(self.deadline);
        let news = tokio::time::timeout_at(until.into(), told).await;
        news.ok().and_then(Result::ok).unwrap_or_else(|| fault(FaultKind::Timeout, "the renewal took too long"))
    }

    async fn conclude_renewal(&self, managed: &ManagedCall<'_>, news: RenewalOutcome, id: SessionId) -> CallOutcome {
        match news {
            RenewalOutcome::License(license) => (PlayerCallOutcome::Served, reply(self.route, &license)),
            RenewalOutcome::Again | RenewalOutcome::Pass => self.forward_without_grant(managed, id).await,
            // The authority is silent: a running playback goes on, and the license server renews.
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
        Ok(Verdict::Blackout(dark)) => RenewalOutcome::Refused(SessionRefusal::Killed(dark.clone().into())),
        Ok(Verdict::Killed(reason)) => RenewalOutcome::Refused(SessionRefusal::Killed(reason.clone().into())),
        Ok(Verdict::Gone(_) | Verdict::Unknown(_)) => {
            RenewalOutcome::Refused(SessionRefusal::Ended(EndReason::Expired))
        }
        Err(fault) => RenewalOutcome::Refused(SessionRefusal::Unreachable(fault.clone())),
    }
}

fn fault(kind: FaultKind, message: &str) -> RenewalOutcome {
    RenewalOutcome::Refused(SessionRefusal::Unreachable(AuthorityFault {
        kind,
        reason: Reason::without_reply(message),
    }))
}

/// The renewed license in the form in which the player expects it.
fn reply(route: &LicenseRoute, license: &[u8]) -> Response<ReplyBody> {
    let (content_type, body) = configured_wrapping::wrap(&route.license.wrapping.player_reply, license);
    own(StatusCode::OK, content_type.unwrap_or("application/octet-stream"), Full::new(body.into()))
}
