//! Handles license calls without a session: why they have none, whether they may pass, and the line that they leave.
//!
//! Where the route demands sessions, a call that could bring a license needs one. Each call that passes without a
//! session logs its reason, for a person who looks for a viewer that is not counted.

use std::fmt;

use super::call::LicenseCall;
use super::refuse::LicenseRefusal;
use super::reply::LicenseReply;
use crate::config::{SessionControlMode, UnrecognisedCalls};
use crate::drm::{DrmMessage, MessageKind, UnrecognisedBody};
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::telemetry::PlayerCallOutcome;

/// Reasons why a call has no session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum SessionlessReason {
    /// The call has no body and its URL shows no message: mostly a certificate request.
    Bodyless,
    NoAuthority,
    NoDevice,
    /// The call asks for no license: a certificate request, or a release of something unknown.
    NoLicense,
    NoToken,
    /// An offline license outlives its playback.
    Offline,
    /// `session-control` or the content token rules a session out.
    Unasked,
    Unrecognised(UnrecognisedBody),
}

/// Facts besides the message that decide why a call has no session.
#[derive(Clone, Copy, Debug)]
struct SessionFacts {
    has_device: bool,
    has_token: bool,
    /// The route's authority opens no session without a content token.
    needs_token: bool,
    /// `session-control` and the content token allow a session.
    wanted: bool,
}

impl SessionlessReason {
    /// The first reason that applies.
    fn of_message(message: &DrmMessage, facts: SessionFacts) -> Self {
        match message.kind {
            MessageKind::LicenseRequest | MessageKind::Renewal if message.offline => Self::Offline,
            MessageKind::LicenseRequest | MessageKind::Renewal if !facts.wanted => Self::Unasked,
            MessageKind::LicenseRequest | MessageKind::Renewal if !facts.has_device => Self::NoDevice,
            MessageKind::LicenseRequest | MessageKind::Renewal if !facts.has_token && facts.needs_token => {
                Self::NoToken
            }
            MessageKind::Acknowledge
            | MessageKind::Certificate
            | MessageKind::CertificateRequest
            | MessageKind::Error
            | MessageKind::License
            | MessageKind::LicenseRequest
            | MessageKind::Other
            | MessageKind::Provisioning
            | MessageKind::Release
            | MessageKind::Renewal => Self::NoLicense,
        }
    }

    /// Error and detail for a route that demands sessions.
    fn refusal(self) -> (&'static str, &'static str) {
        match self {
            Self::NoDevice => ("device_missing", "The call names no device, and this route demands a session."),
            Self::NoToken => ("token_missing", "The call brings no content token, and this route demands a session."),
            Self::Unrecognised(_) => {
                ("message_unrecognised", "This route serves license messages that it can read alone.")
            }
            Self::Bodyless | Self::NoAuthority | Self::NoLicense | Self::Offline | Self::Unasked => {
                ("license_without_session", "A license was given without a session, which this route demands.")
            }
        }
    }
}

impl LicenseCall<'_> {
    pub(in crate::gateway) fn sessionless_reason(&self) -> SessionlessReason {
        let Self { request, route, .. } = self;
        let message = match &request.message {
            Err(UnrecognisedBody::Tangled) => return SessionlessReason::Unrecognised(UnrecognisedBody::Tangled),
            Err(_) if request.onward.body.is_empty() => return SessionlessReason::Bodyless,
            Err(unknown) => return SessionlessReason::Unrecognised(*unknown),
            Ok(message) => message,
        };
        let Some(authority) = route.authority.as_deref() else { return SessionlessReason::NoAuthority };
        let facts = SessionFacts {
            has_device: request.identity.device.is_some(),
            has_token: request.identity.token.is_some(),
            needs_token: authority.needs_token(),
            wanted: request.wants_session(route),
        };
        SessionlessReason::of_message(message, facts)
    }

    /// Refuses a call that could bring a license without the session that the route demands.
    pub(in crate::gateway) fn sessionless_refusal(&self, reason: SessionlessReason) -> Option<LicenseRefusal> {
        if self.lacks_proof(reason) {
            return Some(self.refusal_as(SessionlessReason::NoToken));
        }
        let refused = match reason {
            SessionlessReason::NoDevice | SessionlessReason::NoToken => self.demands_sessions(),
            // No player sends such a request.
            SessionlessReason::Unrecognised(UnrecognisedBody::Tangled) => self.route.authority.is_some(),
            SessionlessReason::Unrecognised(UnrecognisedBody::Compressed | UnrecognisedBody::Unknown) => {
                self.route.license.unrecognised == UnrecognisedCalls::Refuse
            }
            SessionlessReason::Bodyless
            | SessionlessReason::NoAuthority
            | SessionlessReason::NoLicense
            | SessionlessReason::Offline
            | SessionlessReason::Unasked => false,
        };
        refused.then(|| self.refusal_as(reason))
    }

    /// True if tokens must prove who calls and this call proves nothing. That holds for offline licenses, for
    /// calls that want no session and for unreadable ones, too. A registered playback was vouched for.
    fn lacks_proof(&self, reason: SessionlessReason) -> bool {
        let may_ask_for_a_license = match reason {
            SessionlessReason::NoDevice
            | SessionlessReason::NoToken
            | SessionlessReason::Offline
            | SessionlessReason::Unasked
            | SessionlessReason::Unrecognised(_) => true,
            SessionlessReason::Bodyless | SessionlessReason::NoAuthority | SessionlessReason::NoLicense => false,
        };
        may_ask_for_a_license && self.proves_nothing()
    }

    fn proves_nothing(&self) -> bool {
        self.verifies_tokens() && self.request.identity.token.is_none() && self.request.registration.is_none()
    }

    /// True if the reply holds a license that the call did not visibly ask for, or may hold one in an encoding
    /// that cannot be read here.
    pub(in crate::gateway) fn withholds(&self, reason: SessionlessReason, reply: Option<&LicenseReply>) -> bool {
        let is_license =
            |reply: &LicenseReply| reply.message.as_ref().is_some_and(|it| it.kind == MessageKind::License);
        let license = reply.is_some_and(|reply| reply.is_sealed || is_license(reply));
        let unseen = match reason {
            SessionlessReason::Bodyless | SessionlessReason::Unrecognised(_) => {
                self.route.license.unrecognised == UnrecognisedCalls::Refuse
            }
            SessionlessReason::NoLicense => self.demands_sessions(),
            SessionlessReason::NoAuthority
            | SessionlessReason::NoDevice
            | SessionlessReason::NoToken
            | SessionlessReason::Offline
            | SessionlessReason::Unasked => false,
        };
        license && (unseen || self.proves_nothing())
    }

    fn demands_sessions(&self) -> bool {
        self.route.authority.is_some() && self.route.license.session_control == SessionControlMode::Always
    }

    fn verifies_tokens(&self) -> bool {
        self.route.authority.as_ref().is_some_and(|authority| authority.verifies_tokens())
    }

    pub(in crate::gateway) fn refusal_as(&self, reason: SessionlessReason) -> LicenseRefusal {
        let (error, detail) = reason.refusal();
        let body = RefusalBody { message: self.why(reason), ..RefusalBody::ours(403, error, detail) };
        LicenseRefusal::new(LicensePhase::License, body).noted_of_device()
    }

    /// The reason in words for a person.
    fn why(&self, reason: SessionlessReason) -> String {
        let config = &self.route.config;
        match reason {
            SessionlessReason::Bodyless => "a call without a body, and without a challenge in its URL".to_owned(),
            SessionlessReason::NoAuthority => "the route has no authority".to_owned(),
            SessionlessReason::NoDevice => format!("no device in {}", listed(&config.device)),
            SessionlessReason::NoLicense => "no license is asked for, or none of a known playback".to_owned(),
            SessionlessReason::NoToken => format!("no content token in {}", listed(&config.content_token)),
            SessionlessReason::Offline => "a license to keep outlives its playback".to_owned(),
            SessionlessReason::Unasked => "the content token, or session-control, asks for no session".to_owned(),
            SessionlessReason::Unrecognised(unknown) => unknown.to_string(),
        }
    }

    /// Logs a call that passed without a session, and adds it to the device's notes.
    pub(in crate::gateway) fn note_sessionless(&self, reason: SessionlessReason, outcome: PlayerCallOutcome) {
        if outcome == PlayerCallOutcome::Passed && self.may_write("passed") {
            let (device, account) = self.identity();
            let why = self.why(reason);
            tracing::info!(route = &*self.route.path, device, account, reason = why, "passed without a session");
            self.note_of_device(outcome, why);
        }
    }
}

fn listed(places: &[impl fmt::Display]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drm::{self, Direction};

    #[test]
    fn the_first_reason_that_applies_is_reported() {
        let message = |text: &str| drm::recognise(Direction::Request, None, None, text.as_bytes()).unwrap();
        let license = |kind: &str| message(&format!(r#"{{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"{kind}"}}"#));
        let facts =
            |wanted, has_device, has_token, needs_token| SessionFacts { has_device, has_token, needs_token, wanted };
        let (temporary, certificate) = (license("temporary"), message("\u{8}\u{4}"));
        for (facts, reason) in [
            (facts(false, false, false, true), SessionlessReason::Unasked),
            (facts(true, false, false, true), SessionlessReason::NoDevice),
            (facts(true, true, false, true), SessionlessReason::NoToken),
            (facts(true, true, false, false), SessionlessReason::NoLicense),
            (facts(true, true, true, true), SessionlessReason::NoLicense),
        ] {
            assert_eq!(SessionlessReason::of_message(&temporary, facts), reason, "{facts:?}");
            let kept = SessionlessReason::of_message(&license("persistent-license"), facts);
            assert_eq!(kept, SessionlessReason::Offline, "{facts:?}");
            assert_eq!(SessionlessReason::of_message(&certificate, facts), SessionlessReason::NoLicense, "{facts:?}");
        }
    }
}
