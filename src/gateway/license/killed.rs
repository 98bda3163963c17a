//! Refuses calls for a kill that no session of theirs tells: before a call passes without a session, and after an upstream
//! was asked. Refuses what was blacked out before any session, too.

use super::call::{LicenseCall, ManagedCall};
use super::outcome::CallOutcome;
use super::refuse::LicenseRefusal;
use super::reply::plain_body;
use super::upstream::LicenseServerFailure;
use crate::authority::Authority;
use crate::gateway::Gateway;
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::ids::SessionId;
use crate::secret::Secret;
use crate::session::{AskKind, CallNames, Input, Reason, SessionRefusal};
use crate::sessions::DeviceKey;
use crate::telemetry::PlayerCallOutcome;
use crate::token::other_prints;
use crate::upstream::UpstreamReply;

impl Gateway {
    /// Why the playback of a token was killed that stands beside the one that counts.
    pub(in crate::gateway) fn killed_company(
        &self,
        authority: &Authority,
        device: Option<DeviceKey>,
        token: &Secret,
    ) -> Option<Reason> {
        other_prints(token.expose()).find_map(|print| {
            let names = CallNames { content: None, content_token: Some(print), token: Some(print) };
            self.sessions.killed(&authority.name, device, &names)
        })
    }
}

impl LicenseCall<'_> {
    /// A playback that is blacked out from the start has no session that could say so.
    pub(in crate::gateway) fn blackout_refusal(&self) -> Option<LicenseRefusal> {
        let refusal = self.route.blackout_of(self.request.registration.as_deref()?)?;
        let event = self.route.authority.as_deref()?.error_name();
        let body = RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, event);
        Some(LicenseRefusal::new(LicensePhase::License, body))
    }

    /// Killed while an upstream was asked: what it said is not passed on.
    pub(in crate::gateway) fn killed_meanwhile(
        &self,
        managed: &ManagedCall<'_>,
        session: Option<SessionId>,
        outcome: &CallOutcome,
    ) -> Option<LicenseRefusal> {
        if outcome.0 == PlayerCallOutcome::Refused {
            return None;
        }
        let Some(id) = session else { return self.killed_refusal() };
        let reason = self.gateway.sessions.killed_under(managed.key, id, &managed.call.names())?;
        Some(managed.refusal(AskKind::Open, &SessionRefusal::Killed(reason), session))
    }

    /// Killed, as the license server says instead of giving a license.
    pub(in crate::gateway) fn killed_by_license_server(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
        reply: &Result<UpstreamReply, LicenseServerFailure>,
    ) -> Option<LicenseRefusal> {
        let (reply, system) = (reply.as_ref().ok()?, self.request.message.as_ref().ok()?.system);
        let body = plain_body(reply)?;
        let reason = managed.authority.killed_by_license_server(system, reply.status, &body)?;
        // What it says of a token that may be anybody's, it does not say of the session.
        let is_its_own = |token| self.gateway.sessions.answers_to(managed.key, id, token);
        if managed.call.token.is_none_or(is_its_own) {
            self.gateway.sessions.deliver(managed.key, id, Input::Kill(reason.clone()));
        }
        Some(managed.refusal(AskKind::Renew, &SessionRefusal::Killed(reason), Some(id)))
    }

    /// The server may take any token of a list, so one that was killed is refused in whatever company it comes.
    pub(in crate::gateway) fn killed_company_refusal(&self) -> Option<LicenseRefusal> {
        let (authority, token) = (self.route.authority.as_deref()?, self.request.identity.token.as_ref()?);
        let key = self.request.key(authority);
        let reason = self.gateway.killed_company(authority, key, token)?;
        let (phase, refusal) = (LicensePhase::License, SessionRefusal::Killed(reason));
        let body = RefusalBody::by_refusal(&refusal, phase, AskKind::Open, authority.error_name());
        Some(LicenseRefusal::new(phase, body))
    }

    /// A call that is none of a session's does not pass with a token that was killed, nor without one from a device
    /// that was: a license to keep, or a body that nobody knows, would be the way around a kill.
    pub(in crate::gateway) fn killed_refusal(&self) -> Option<LicenseRefusal> {
        let authority = self.route.authority.as_deref()?;
        let (key, names) = (self.request.key(authority), self.request.names());
        let reason = self.gateway.sessions.killed(&authority.name, key, &names)?;
        let (phase, refusal) = (LicensePhase::License, SessionRefusal::Killed(reason));
        let body = RefusalBody::by_refusal(&refusal, phase, AskKind::Open, authority.error_name());
        Some(LicenseRefusal::new(phase, body))
    }
}
