//! Refuses a license call. A stage that finds a reason returns a [`LicenseRefusal`]; only [`LicenseCall::refuse`] makes it
//! a reply.
//!
//! A content token has expired only if the authority's clock and this machine's both say so; an embedded authority uses
//! this machine's. If they differ, or the authority's time is not known (after a start or a long silence), the
//! head-end judges, and its reply tells its time. Otherwise one wrong clock would refuse every call that could
//! correct it. The core applies an expiry only to calls that would open a session; running playbacks keep their
//! token.

use super::call::{LicenseCall, ManagedCall};
use super::single_flight::CallOutcome;
use super::upstream::LicenseServerFailure;
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::refusal::token_faults::unproven;
use crate::gateway::refusal::{LicensePhase, RefusalBody, RefusedCall, RefusedLicense};
use crate::ids::SessionId;
use crate::session::{AskKind, SessionRefusal};
use crate::telemetry::PlayerCallOutcome;

/// A decision against a license call, not yet told to the player.
pub(in crate::gateway) struct LicenseRefusal {
    body: RefusalBody,
    /// True to keep the refusal in the device's notes, because no session tells it.
    is_noted_of_device: bool,
    outcome: PlayerCallOutcome,
    phase: LicensePhase,
    session: Option<SessionId>,
}

impl LicenseRefusal {
    pub(in crate::gateway) fn new(phase: LicensePhase, body: RefusalBody) -> Self {
        Self { body, is_noted_of_device: false, outcome: PlayerCallOutcome::Refused, phase, session: None }
    }

    /// The license server could not be used.
    pub(in crate::gateway) fn failed(failure: &LicenseServerFailure) -> Self {
        Self { outcome: PlayerCallOutcome::Failed, ..Self::new(LicensePhase::License, failure.refusal_body()) }
    }

    pub(in crate::gateway) fn noted_of_device(self) -> Self {
        Self { is_noted_of_device: true, ..self }
    }
}

impl ManagedCall<'_> {
    /// `ask` is the call to the authority that failed, if no session was lost by it.
    pub(in crate::gateway) fn refusal(
        &self,
        ask: AskKind,
        refusal: &SessionRefusal,
        session: Option<SessionId>,
    ) -> LicenseRefusal {
        let phase = LicensePhase::of(self.call.kind);
        let body = RefusalBody::by_refusal(refusal, phase, ask, self.authority.error_name());
        LicenseRefusal { session, ..LicenseRefusal::new(phase, body) }
    }
}

impl LicenseCall<'_> {
    /// Makes a refusal real: builds the player's reply.
    pub(in crate::gateway) fn refuse(&self, refusal: LicenseRefusal) -> CallOutcome {
        let LicenseRefusal { body, is_noted_of_device, outcome, phase, session } = refusal;
        if is_noted_of_device {
            self.note_refused(body.message.clone());
        }
        let request = self.request;
        let license = RefusedLicense {
            message: request.message.as_ref().ok(),
            profiles: &self.route.license.refusal,
            session,
            source: request.identity.device.as_ref().map(|device| device.source),
        };
        let call = RefusedCall {
            caller: &CallerNames::of(&request.identity),
            license: Some(license),
            phase,
            route: self.route,
            viewer: Some(request.viewer_call()),
        };
        (outcome, self.gateway.refuse_call(&call, &body))
    }
}

impl ManagedCall<'_> {
    /// 403 `token_expired`, with the code by which the authority's players know it.
    pub(in crate::gateway) fn expired_refusal(&self) -> LicenseRefusal {
        let Self { authority, call, expired, .. } = self;
        let body = RefusalBody {
            comes_again: None,
            code: 403,
            detail: "The content token has expired; play again with a new one.",
            error: "token_expired".to_owned(),
            error_code: authority.expired_code(),
            event: Some(authority.error_name()(AskKind::Open)),
            help: None,
            killed: false,
            message: format!("the content token expired {} s ago", expired.unwrap_or_default().as_secs()),
            taken_by: None,
        };
        LicenseRefusal::new(LicensePhase::of(call.kind), body)
    }
}

impl LicenseCall<'_> {
    /// Refuses a token that none of the authority's keys signed.
    pub(in crate::gateway) fn unproven_refusal(&self) -> Option<LicenseRefusal> {
        let body = unproven(self.route.authority.as_deref()?, self.request.identity.token_fault?);
        Some(LicenseRefusal::new(LicensePhase::License, body).noted_of_device())
    }
}
