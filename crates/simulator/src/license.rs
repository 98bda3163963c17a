//! The license servers: check the right to a license, then make the DRM system's exchange.
//!
//! The codes are those of the vendor's page *Widevine licence server error codes*
//! (`docs.nagra.com/connect-player-sdk-5-for-android-docs`), which differ from the session service's.

use super::answer::{JSON, OCTETS, ServiceAnswer, ServiceRefusal};
use super::call::HeadendCall;
use super::endpoint::HeadendEndpoint;
use super::jwt::InvalidToken;
use super::state::{CallMoment, HeadendState};
use super::token::ContentToken;
use super::{clearkey, fairplay, playready, widevine};

const EMPTY_HEADER: ServiceRefusal = refusal(1003, "Empty header");
const AUTHORIZATIONS: ServiceRefusal = refusal(1004, "Authorisations format");
const HEADER_MISSING: ServiceRefusal = refusal(1005, "Mandatory header missing");
const UNGRANTED: ServiceRefusal = refusal(4000, "Ungranted");
const CONTENT_MISSING: ServiceRefusal = refusal(4001, "Content token missing");
const CONTENT_SEVERAL: ServiceRefusal = refusal(4003, "Several content tokens");
const EXPIRED: ServiceRefusal = refusal(4005, "Invalid expiration date");
const PLAYED: ServiceRefusal = refusal(4006, "Token already played");
const KID: ServiceRefusal = refusal(4014, "Unknown kid");
const CREDENTIAL: ServiceRefusal = refusal(4015, "Invalid credential");
const FIELD: ServiceRefusal = refusal(4016, "Invalid field");
const DEVICE: ServiceRefusal = refusal(4027, "Device id mismatch");

/// The challenge could not be read.
pub(super) const CHALLENGE: ServiceRefusal = refusal(2001, "Challenge format");
/// None of the requested keys is known.
pub(super) const NO_KEY: ServiceRefusal = refusal(4011, "No key");

pub(super) fn license(
    state: &mut HeadendState,
    at: CallMoment,
    call: &HeadendCall,
) -> Result<ServiceAnswer, ServiceRefusal> {
    if call.endpoint == HeadendEndpoint::Widevine && widevine::wants_certificate(&call.body) {
        return widevine::answer(state, at, call);
    }
    if call.services.is_some() {
        // The demands of FirstLight's license servers are not published, so these license every caller.
        return exchange(state, at, call);
    }
    let content = granted(state, at, call)?;
    let answer = exchange(state, at, call)?;
    // A one-shot token is used up only by a license that was given.
    state.play(at, content);
    Ok(answer)
}

fn exchange(state: &HeadendState, at: CallMoment, call: &HeadendCall) -> Result<ServiceAnswer, ServiceRefusal> {
    match call.endpoint {
        HeadendEndpoint::FairPlay => fairplay::answer(call),
        HeadendEndpoint::PlayReady => playready::answer(state, at, call),
        HeadendEndpoint::Widevine => widevine::answer(state, at, call),
        HeadendEndpoint::Authorize
        | HeadendEndpoint::Certificate
        | HeadendEndpoint::ClearKey
        | HeadendEndpoint::Content
        | HeadendEndpoint::Heartbeat
        | HeadendEndpoint::KillAccount
        | HeadendEndpoint::KillDevice
        | HeadendEndpoint::LightBeat
        | HeadendEndpoint::Renewal
        | HeadendEndpoint::Setup
        | HeadendEndpoint::StreamDelete
        | HeadendEndpoint::StreamPut
        | HeadendEndpoint::Teardown => clearkey::answer(state, call),
    }
}

/// The Widevine service certificate as a file, for every caller.
pub(super) fn certificate(at: CallMoment) -> ServiceAnswer {
    ServiceAnswer::raw(OCTETS, widevine::reply(&widevine::RequestedLicense::Certificate, Default::default(), at.wall))
}

/// True if the reply must be JSON: it has the form of its request.
pub(super) fn is_json(call: &HeadendCall) -> bool {
    call.media_type.starts_with(JSON) || matches!(call.body.trim_ascii_start().first(), Some(b'{'))
}

fn granted<'a>(
    state: &HeadendState,
    at: CallMoment,
    call: &'a HeadendCall,
) -> Result<&'a ContentToken, ServiceRefusal> {
    let presented = &call.presented;
    match presented.invalid {
        Some(InvalidToken::Format) => return Err(AUTHORIZATIONS),
        Some(InvalidToken::Kid) => return Err(KID),
        Some(InvalidToken::Signature) => return Err(CREDENTIAL),
        None if !presented.given => return Err(if call.header_empty { EMPTY_HEADER } else { HEADER_MISSING }),
        None => {}
    }
    let content = match presented.contents.as_slice() {
        [content] => content,
        [] => return Err(CONTENT_MISSING),
        _ => return Err(CONTENT_SEVERAL),
    };
    check(state, at, call, content)?;
    Ok(content)
}

fn check(
    state: &HeadendState,
    at: CallMoment,
    call: &HeadendCall,
    content: &ContentToken,
) -> Result<(), ServiceRefusal> {
    if content.expires.is_some_and(|expires| expires <= at.wall) {
        return Err(EXPIRED);
    }
    if content.device.is_empty() || content.content.is_empty() {
        return Err(FIELD);
    }
    if content.session.is_some() && state.settings.needs_session {
        let session = call.presented.sessions.first().filter(|session| state.holds(**session, content));
        let row = session.and_then(|session| state.ledger.row(session.slot)).ok_or(UNGRANTED)?;
        if row.device != content.device {
            return Err(DEVICE);
        }
    }
    if state.was_played(content) { Err(PLAYED) } else { Ok(()) }
}

const fn refusal(code: i64, message: &'static str) -> ServiceRefusal {
    ServiceRefusal { code, message, status: 400 }
}
