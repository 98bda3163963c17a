//! License calls without a session: why one has none, whether it may pass, and the line that it leaves.
//!
//! Where the route demands sessions, a call that could bring a license passes under one or not at all. Whatever else
//! passes says in words why it has no session, for the person who looks for a viewer that is not counted.

use super::call::LicenseCall;
use super::refuse::LicenseRefusal;
use super::reply::LicenseReply;
use crate::config::{IdentitySource, SessionControlMode, TokenSource, UnrecognisedCalls};
use crate::drm::{DrmMessage, MessageKind, UnrecognisedBody};
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::telemetry::PlayerCallOutcome;

/// Why a call has no session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum SessionlessReason {
    /// Nothing is asked in a body, and nothing that we know in the URL: mostly a certificate.
    Bodyless,
    NoAuthority,
    NoDevice,
    /// A certificate request, a release of what nobody knows, and the like.
    NoLicense,
    NoToken,
    /// A license to keep outlives its playback.
    Offline,
    /// `session-control`, or the content token itself.
    Unasked,
    Unrecognised(UnrecognisedBody),
}

/// What decides, beside its message, why a license call has no session.
#[derive(Clone, Copy, Debug)]
struct SessionFacts {
    has_device: bool,
    has_token: bool,
    /// The route's authority opens none without a content token.
    needs_token: bool,
    /// By `session-control`, or by the content token itself.
    wanted: bool,
}

impl SessionlessReason {
    /// The first that applies.
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

    /// The refusal where the route demands sessions of such calls.
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

    /// Refuses a call that could bring a license past the sessions that the route demands.
    pub(in crate::gateway) fn sessionless_refusal(&self, reason: SessionlessReason) -> Option<LicenseRefusal> {
        if self.lacks_proof(reason) {
            return Some(self.refusal_as(SessionlessReason::NoToken));
        }
        let refused = match reason {
            SessionlessReason::NoDevice | SessionlessReason::NoToken => self.demands_sessions(),
            // No player's request is like that.
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

    /// Where tokens prove whose a call is, none is no way around that: not for a license to keep, nor where no session
    /// is asked for, nor for what nobody can read. Who registered a playback vouches for it.
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

    /// The reply holds a license, or may hold one in an encoding that is not read here, though nothing in the call asked for one that we could see.
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

    /// For a person.
    fn why(&self, reason: SessionlessReason) -> String {
        let config = &self.route.config;
        match reason {
            SessionlessReason::Bodyless => "a call without a body, and without a challenge in its URL".to_owned(),
            SessionlessReason::NoAuthority => "the route has no authority".to_owned(),
            SessionlessReason::NoDevice => format!("no device in {}", listed(config.device.iter().map(rung))),
            SessionlessReason::NoLicense => "no license is asked for, or none of a known playback".to_owned(),
            SessionlessReason::NoToken => {
                format!("no content token in {}", listed(config.content_token.iter().map(token_source)))
            }
            SessionlessReason::Offline => "a license to keep outlives its playback".to_owned(),
            SessionlessReason::Unasked => "the content token, or session-control, asks for no session".to_owned(),
            SessionlessReason::Unrecognised(unknown) => unknown.to_string(),
        }
    }

    /// A line, and an entry for whoever asks about the device later, for a call that passed without a session.
    pub(in crate::gateway) fn note_sessionless(&self, reason: SessionlessReason, outcome: PlayerCallOutcome) {
        if outcome == PlayerCallOutcome::Passed && self.may_write("passed") {
            let (device, account) = self.identity();
            let why = self.why(reason);
            tracing::info!(route = &*self.route.path, device, account, reason = why, "passed without a session");
            self.note_of_device("passed", why);
        }
    }
}

fn listed(places: impl Iterator<Item = String>) -> String {
    places.collect::<Vec<_>>().join(" or ")
}

fn token_source(source: &TokenSource) -> String {
    match source {
        TokenSource::CustomData => "custom-data".to_owned(),
        TokenSource::Header(name) => format!("header:{name}"),
        TokenSource::Query(name) => format!("query:{name}"),
    }
}

fn rung(rung: &IdentitySource) -> String {
    match rung {
        IdentitySource::Cookie(name) => format!("cookie:{name}"),
        IdentitySource::Header(name) => format!("header:{name}"),
        IdentitySource::Mtls => "mtls".to_owned(),
        IdentitySource::PathSegment => "path-segment".to_owned(),
        IdentitySource::Peer => "peer".to_owned(),
        IdentitySource::Query(name) => format!("query:{name}"),
        IdentitySource::TokenClaim(path) => format!("token-claim:{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drm::{self, Direction};

    #[test]
    fn the_first_reason_that_applies_is_told() {
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
