//! Chooses the shape by DRM system, phase and player family, unless the route sets it.

use bytes::Bytes;
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, ORIGIN, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::body;
use super::{LicensePhase, RefusalBody};
use crate::config::{RefusalProfile, RefusalProfiles, RefusalSettings};
use crate::drm::{DrmMessage, DrmSystem};
use crate::edge::ReplyBody;
use crate::edge::own_replies::{INCIDENT, PROBLEM_TYPE, own};
use crate::ids::Incident;

const SSM_ERROR: HeaderName = HeaderName::from_static("x-ssm-error");

/// Player families, recognised by the requests that unmodified players send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PlayerFamily {
    Browser,
    Kodi,
    Native,
    /// Sends raw octets from a page. Shows an error only when the CDM rejects a reply.
    VideoJs,
}

/// The shape that a profile leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum RefusalShape {
    Http,
    /// 200 with JSON that is no license.
    RejectClearKey,
    /// 200 with the Widevine error message.
    RejectWidevine,
    Soap200,
    Soap500,
}

impl RefusalShape {
    pub(in crate::gateway) fn choose(
        profiles: &RefusalSettings,
        message: Option<&DrmMessage>,
        phase: LicensePhase,
        turned: &RefusalBody,
        headers: &HeaderMap,
    ) -> Self {
        let Some(message) = message else { return Self::Http };
        // An app that wraps its requests unwraps the reply, so only a status reaches it.
        if message.wrapped {
            return Self::Http;
        }
        let RefusalProfiles { first, renewal } = of(profiles, message.system);
        // PlayReady, FairPlay and ClearKey mark no renewals, but a request after a kill is one.
        let again = phase == LicensePhase::Renewal || (turned.killed && message.system != DrmSystem::Widevine);
        let profile = if again { renewal } else { first };
        match profile {
            // The player ignores an HTTP error of a renewal and plays on. An error message would end a playback
            // that may recover.
            RefusalProfile::Auto
                if turned.comes_again.is_some()
                    && phase == LicensePhase::Renewal
                    && family(headers) == PlayerFamily::VideoJs =>
            {
                Self::Http
            }
            RefusalProfile::Auto => automatic(message.system, phase, again, family(headers)),
            RefusalProfile::Http => Self::Http,
            RefusalProfile::Reject => reject(message.system),
            RefusalProfile::Soap200 => Self::Soap200,
            RefusalProfile::Soap500 => Self::Soap500,
        }
    }

    /// Name of the profile in the configuration.
    pub(in crate::gateway) fn profile_name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::RejectClearKey | Self::RejectWidevine => "reject",
            Self::Soap200 => "soap-200",
            Self::Soap500 => "soap-500",
        }
    }

    pub(in crate::gateway) fn reply(
        self,
        turned: &RefusalBody,
        phase: LicensePhase,
        incident: Incident,
    ) -> Response<ReplyBody> {
        const SOAP: &str = "text/xml; charset=utf-8";
        let status = match self {
            Self::Http => turned.comes_again.unwrap_or(StatusCode::FORBIDDEN),
            Self::RejectClearKey | Self::RejectWidevine => StatusCode::OK,
            Self::Soap200 => turned.comes_again.unwrap_or(StatusCode::OK),
            Self::Soap500 => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let (content_type, body): (_, Bytes) = match self {
            Self::Http => (PROBLEM_TYPE, body::problem(turned, phase, status, incident).into()),
            // The type is not that of a problem, because this reply must pass for a license until the CDM reads it.
            Self::RejectClearKey => ("application/json", body::problem(turned, phase, status, incident).into()),
            Self::RejectWidevine => ("application/octet-stream", Bytes::from_static(&body::WIDEVINE)),
            Self::Soap200 | Self::Soap500 => (SOAP, body::soap(turned, phase, incident).into()),
        };
        let mut response = own(status, content_type, Full::new(body));
        let headers = response.headers_mut();
        let language = turned.help.as_ref().filter(|_| self != Self::RejectWidevine).map(|help| &help.language);
        headers.extend(language.and_then(|tag| Some((CONTENT_LANGUAGE, HeaderValue::try_from(tag).ok()?))));
        if turned.comes_again == Some(status) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let reason = turned.error_code.map_or_else(|| turned.error.clone(), |code| code.to_string());
        for (name, value) in [(SSM_ERROR, reason), (INCIDENT, incident.to_string())] {
            // Digits and our own names always fit into a header.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn of(profiles: &RefusalSettings, system: DrmSystem) -> RefusalProfiles {
    match system {
        DrmSystem::ClearKey => profiles.clearkey,
        DrmSystem::FairPlay => profiles.fairplay,
        DrmSystem::PlayReady => profiles.playready,
        DrmSystem::Widevine => profiles.widevine,
    }
}

fn automatic(system: DrmSystem, phase: LicensePhase, again: bool, family: PlayerFamily) -> RefusalShape {
    match (system, family) {
        (DrmSystem::FairPlay, _) => RefusalShape::Http,
        // dash.js shows a fault under 200 at once; native stacks expect Microsoft's 500.
        (DrmSystem::PlayReady, PlayerFamily::Browser | PlayerFamily::VideoJs) => RefusalShape::Soap200,
        (DrmSystem::PlayReady, PlayerFamily::Native) => RefusalShape::Soap500,
        // Kodi repeats the request at every sample until it gets a 200.
        (DrmSystem::PlayReady, PlayerFamily::Kodi) => {
            if again {
                RefusalShape::Soap200
            } else {
                RefusalShape::Soap500
            }
        }
        (DrmSystem::ClearKey, PlayerFamily::VideoJs) if again => RefusalShape::RejectClearKey,
        (DrmSystem::ClearKey, _) => RefusalShape::Http,
        // After its certificate request, video.js ignores every HTTP error.
        (DrmSystem::Widevine, PlayerFamily::VideoJs) if phase != LicensePhase::Certificate => {
            RefusalShape::RejectWidevine
        }
        (DrmSystem::Widevine, PlayerFamily::Kodi) if again => RefusalShape::RejectWidevine,
        (DrmSystem::Widevine, _) => RefusalShape::Http,
    }
}

/// The in-band refusal. FairPlay has none; the configuration allows none.
fn reject(system: DrmSystem) -> RefusalShape {
    match system {
        DrmSystem::ClearKey => RefusalShape::RejectClearKey,
        DrmSystem::FairPlay => RefusalShape::Http,
        DrmSystem::PlayReady => RefusalShape::Soap200,
        DrmSystem::Widevine => RefusalShape::RejectWidevine,
    }
}

fn family(headers: &HeaderMap) -> PlayerFamily {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(USER_AGENT).contains("Kodi") {
        PlayerFamily::Kodi
    } else if !headers.contains_key(ORIGIN) {
        PlayerFamily::Native
    } else if text(CONTENT_TYPE).starts_with("application/octet-stream") {
        PlayerFamily::VideoJs
    } else {
        PlayerFamily::Browser
    }
}

#[cfg(test)]
mod tests;
