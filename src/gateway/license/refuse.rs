//! Refuses a license call. A stage that finds a reason returns a [`LicenseRefusal`]; only [`LicenseCall::refuse`]
//! makes it a reply.

use super::call::{LicenseCall, ManagedCall};
use super::outcome::CallOutcome;
use super::upstream::LicenseServerFailure;
use crate::gateway::identity::caller::CallerNames;
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
