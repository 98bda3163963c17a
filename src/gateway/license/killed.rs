//! Refuses calls because of a kill that their session does not know: before a call passes without a session, and
//! after an upstream was asked. Also refuses playbacks that are blacked out before any session.

use super::call::{LicenseCall, ManagedCall};
use super::refuse::LicenseRefusal;
use super::reply::plain_body;
use super::single_flight::CallOutcome;
use super::upstream::LicenseServerFailure;
use crate::authority::Authority;
use crate::gateway::Gateway;
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::ids::SessionId;
use crate::secret::Secret;
use crate::session::{AskKind, CallNames, Input, SessionKill, SessionRefusal};
use crate::sessions::DeviceKey;
use crate::telemetry::PlayerCallOutcome;
use crate::token::other_prints;
use crate::upstream::UpstreamReply;

impl Gateway {
    /// Looks for a kill of the tokens that stand beside the one that counts.
    pub(in crate::gateway) fn killed_company(
        &self,
        authority: &Authority,
        device: Option<DeviceKey>,
        token: &Secret,
    ) -> Option<SessionKill> {
        other_prints(token.expose()).iter().find_map(|&print| {
            let names = CallNames { content: None, content_token: Some(print), token: Some(print) };
            self.sessions.killed(&authority.name, device, &names)
        })
    }
}

impl LicenseCall<'_> {
    /// Refuses a playback that is blacked out from the start, because it has no session that could.
    pub(in crate::gateway) fn blackout_refusal(&self) -> Option<LicenseRefusal> {
        let refusal = self.route.blackout_of(self.request.registration.as_deref()?)?;
        let event = self.route.authority.as_deref()?.error_name();
        let body = RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, event);
        Some(LicenseRefusal::new(LicensePhase::License, body))
    }

    /// Refuses if a kill came while an upstream was asked. Its reply is dropped.
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
        let by = self.gateway.sessions.killed_under(managed.key, id, &managed.call.names())?;
        Some(managed.refusal(AskKind::Open, &SessionRefusal::Killed(by), session))
    }

    /// Refuses if the license server's reply says that the session was killed.
    pub(in crate::gateway) fn killed_by_license_server(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
        reply: &Result<UpstreamReply, LicenseServerFailure>,
    ) -> Option<LicenseRefusal> {
        let (reply, system) = (reply.as_ref().ok()?, self.request.message.as_ref().ok()?.system);
        // Most replies can say nothing of the kind, and are not decoded for it.
        let body = managed.authority.may_say_killed(system, reply.status).then(|| plain_body(reply))??;
        let by: SessionKill = managed.authority.killed_by_license_server(system, reply.status, &body)?.into();
        // A reply about someone else's token does not concern the session.
        let is_its_own = |token| self.gateway.sessions.answers_to(managed.key, id, token);
        if managed.call.token.is_none_or(is_its_own) {
            self.gateway.sessions.deliver(managed.key, id, Input::Kill(by.clone()));
        }
        Some(managed.refusal(AskKind::Renew, &SessionRefusal::Killed(by), Some(id)))
    }

    /// The license server may take any token of a list, so one killed token refuses the whole call.
    pub(in crate::gateway) fn killed_company_refusal(&self) -> Option<LicenseRefusal> {
        let (authority, token) = (self.route.authority.as_deref()?, self.request.identity.token.as_ref()?);
        let key = self.request.key(authority);
        let by = self.gateway.killed_company(authority, key, token)?;
        let (phase, refusal) = (LicensePhase::License, SessionRefusal::Killed(by));
        let body = RefusalBody::by_refusal(&refusal, phase, AskKind::Open, authority.error_name());
        Some(LicenseRefusal::new(phase, body))
    }

    /// Refuses a call without a session if its token was killed, or, without a token, its device. Otherwise an
    /// offline license or an unknown body would be a way around a kill.
    pub(in crate::gateway) fn killed_refusal(&self) -> Option<LicenseRefusal> {
        let authority = self.route.authority.as_deref()?;
        let (key, names) = (self.request.key(authority), self.request.names());
        let by = self.gateway.sessions.killed(&authority.name, key, &names)?;
        let (phase, refusal) = (LicensePhase::License, SessionRefusal::Killed(by));
        let body = RefusalBody::by_refusal(&refusal, phase, AskKind::Open, authority.error_name());
        Some(LicenseRefusal::new(phase, body))
    }
}
