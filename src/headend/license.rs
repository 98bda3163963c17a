//! The license servers: who may have a license, then the DRM's own exchange.
//!
//! Codes as on the vendor's page *Widevine licence server error codes*
//! (`docs.nagra.com/connect-player-sdk-5-for-android-docs`); there they are other numbers than the
//! session service's.

use super::answer::{Answer, JSON, OCTETS, Refusal};
use super::call::Call;
use super::endpoint::Endpoint;
use super::jwt::Invalid;
use super::state::{Moment, State};
use super::token::ContentToken;
use super::{clearkey, fairplay, playready, widevine};

const EMPTY_HEADER: Refusal = refusal(1003, "Empty header");
const AUTHORIZATIONS: Refusal = refusal(1004, "Authorisations format");
const HEADER_MISSING: Refusal = refusal(1005, "Mandatory header missing");
const UNGRANTED: Refusal = refusal(4000, "Ungranted");
const CONTENT_MISSING: Refusal = refusal(4001, "Content token missing");
const CONTENT_SEVERAL: Refusal = refusal(4003, "Several content tokens");
const EXPIRED: Refusal = refusal(4005, "Invalid expiration date");
const PLAYED: Refusal = refusal(4006, "Token already played");
const KID: Refusal = refusal(4014, "Unknown kid");
const CREDENTIAL: Refusal = refusal(4015, "Invalid credential");
const FIELD: Refusal = refusal(4016, "Invalid field");
const DEVICE: Refusal = refusal(4027, "Device id mismatch");

/// The challenge could not be read.
pub(super) const CHALLENGE: Refusal = refusal(2001, "Challenge format");
/// None of the keys asked for is known.
pub(super) const NO_KEY: Refusal = refusal(4011, "No key");

pub(super) fn license(state: &mut State, at: Moment, call: &Call) -> Result<Answer, Refusal> {
    if call.endpoint == Endpoint::Widevine && widevine::wants_certificate(&call.body) {
        return widevine::answer(state, at, call);
    }
    if call.services.is_some() {
        // What FirstLight's license servers ask for is not published; these give to everybody.
        return exchange(state, at, call);
    }
    let content = granted(state, at, call)?;
    let answer = exchange(state, at, call)?;
    // Only a license that was given uses a one-shot token up.
    state.play(at, content);
    Ok(answer)
}

fn exchange(state: &State, at: Moment, call: &Call) -> Result<Answer, Refusal> {
    match call.endpoint {
        Endpoint::FairPlay => fairplay::answer(call),
        Endpoint::PlayReady => playready::answer(state, at, call),
        Endpoint::Widevine => widevine::answer(state, at, call),
        Endpoint::Authorize
        | Endpoint::Certificate
        | Endpoint::ClearKey
        | Endpoint::Content
        | Endpoint::Heartbeat
        | Endpoint::KillAccount
        | Endpoint::KillDevice
        | Endpoint::LightBeat
        | Endpoint::Renewal
        | Endpoint::Setup
        | Endpoint::StreamDelete
        | Endpoint::StreamPut
        | Endpoint::Teardown => clearkey::answer(state, call),
    }
}

/// The Widevine service certificate as a file; whoever asks may have it.
pub(super) fn certificate(at: Moment) -> Answer {
    Answer::raw(OCTETS, widevine::reply(&widevine::Asked::Certificate, Default::default(), at.wall))
}

/// A reply in the form of its request: JSON to JSON, bytes to bytes.
pub(super) fn is_json(call: &Call) -> bool {
    call.media_type.starts_with(JSON) || matches!(call.body.trim_ascii_start().first(), Some(b'{'))
}

fn granted<'a>(state: &State, at: Moment, call: &'a Call) -> Result<&'a ContentToken, Refusal> {
    let presented = &call.presented;
    match presented.invalid {
        Some(Invalid::Format) => return Err(AUTHORIZATIONS),
        Some(Invalid::Kid) => return Err(KID),
        Some(Invalid::Signature) => return Err(CREDENTIAL),
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

fn check(state: &State, at: Moment, call: &Call, content: &ContentToken) -> Result<(), Refusal> {
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

const fn refusal(code: i64, message: &'static str) -> Refusal {
    Refusal { code, message, status: 400 }
}
