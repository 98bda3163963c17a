//! The session service, version 1: setup, heartbeat, renewal, teardown and the operator's kills.
//!
//! The codes are those of the vendor's page *SSM error codes*
//! (`docs.nagra.com/connect-player-sdk-5-for-android-docs`). A status is documented only for 1007, 3002 and 6002; the
//! others are 400, or 500 if the server is to blame.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{ServiceAnswer, ServiceRefusal};
use super::call::HeadendCall;
use super::jwt::InvalidToken;
use super::settings::HeartbeatSpelling;
use super::state::{CallMoment, HeadendState};
use super::token::{ContentToken, SessionToken};
use super::widevine;

pub(super) const FORMAT: ServiceRefusal = refusal(400, 1000, "Bad request format");
pub(super) const AUTHENTICATION: ServiceRefusal = refusal(400, 1003, "Invalid authentication token");
pub(super) const EXPIRED: ServiceRefusal = refusal(400, 1004, "Invalid expiration time");
pub(super) const INVALID_TOKEN: ServiceRefusal = refusal(400, 1006, "Invalid token");
pub(super) const LIMIT: ServiceRefusal = refusal(400, 1007, "Maximum active sessions exceeded");
pub(super) const DISABLED: ServiceRefusal = refusal(400, 1008, "Session management disabled");
pub(super) const CREDENTIAL: ServiceRefusal = refusal(400, 1012, "Credential key not available");
pub(super) const DEVICE_MISSING: ServiceRefusal = refusal(400, 1013, "Missing device id");
/// The vendor's code for this limit is not public, so an unused number stands in.
pub(super) const LIMIT_DEVICE: ServiceRefusal = refusal(400, 1014, "Maximum active sessions of the device exceeded");
pub(super) const EXTERNAL_LONG: ServiceRefusal = refusal(400, 1017, "External session id too long");
pub(super) const EXTERNAL_USED: ServiceRefusal = refusal(400, 1018, "External session id already in use");
pub(super) const NOT_FOUND: ServiceRefusal = refusal(404, 3002, "Not Found");
pub(super) const UNAVAILABLE: ServiceRefusal = refusal(500, 4001, "SSM not available");

pub(super) fn setup(
    state: &mut HeadendState,
    at: CallMoment,
    call: &HeadendCall,
) -> Result<ServiceAnswer, ServiceRefusal> {
    let content = content_token(at, call)?;
    let (slot, token) = state.open(at, content)?;
    let spelling = match state.settings.spelling {
        HeartbeatSpelling::Camel => "heartBeat",
        HeartbeatSpelling::Lower => "heartbeat",
    };
    let interval = state.settings.heartbeat_json.clone().unwrap_or_else(|| state.settings.wire_interval().into());
    let reply = Map::from_iter([(spelling.to_owned(), interval), ("sessionToken".to_owned(), token.into())]);
    Ok(ServiceAnswer { session: Some(slot), ..ServiceAnswer::json(&Value::Object(reply)) })
}

pub(super) fn heartbeat(
    state: &mut HeadendState,
    at: CallMoment,
    call: &HeadendCall,
) -> Result<ServiceAnswer, ServiceRefusal> {
    let token = state.beat(at, session_token(call)?)?;
    Ok(ServiceAnswer::json(&json!({ "sessionToken": token })))
}

/// Answers a Widevine renewal that counts as a beat: takes `{"challenge"}`, returns the license and the next token.
pub(super) fn renewal(
    state: &mut HeadendState,
    at: CallMoment,
    call: &HeadendCall,
) -> Result<ServiceAnswer, ServiceRefusal> {
    let session = session_token(call)?;
    let body: Value = serde_json::from_slice(&call.body).map_err(|_not_json| FORMAT)?;
    let challenge = body.get("challenge").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    let challenge = challenge.ok_or(FORMAT)?;
    let asked = widevine::read(&challenge).filter(widevine::RequestedLicense::is_of_a_license).ok_or(FORMAT)?;
    let license = widevine::reply(&asked, state.settings.widevine, at.wall);
    let token = state.beat(at, session)?;
    let reply = json!({"license": STANDARD.encode(license), "sessionToken": token, "errorCode": 0});
    Ok(ServiceAnswer::json(&reply).about(asked.name()))
}

pub(super) fn teardown(state: &mut HeadendState, call: &HeadendCall) -> Result<ServiceAnswer, ServiceRefusal> {
    state.close(session_token(call)?)?;
    Ok(ServiceAnswer::empty(StatusCode::NO_CONTENT))
}

pub(super) fn kill_account(state: &mut HeadendState, call: &HeadendCall) -> Result<ServiceAnswer, ServiceRefusal> {
    let account = named(call, "account")?;
    Ok(killed(state.ledger.kill_account(&account)))
}

pub(super) fn kill_device(state: &mut HeadendState, call: &HeadendCall) -> Result<ServiceAnswer, ServiceRefusal> {
    let device = named(call, "device")?;
    Ok(killed(state.ledger.kill_device(&device)))
}

fn content_token(at: CallMoment, call: &HeadendCall) -> Result<&ContentToken, ServiceRefusal> {
    if let Some(invalid) = call.presented.invalid {
        return Err(broken(invalid));
    }
    let content = call.presented.contents.first().ok_or(AUTHENTICATION)?;
    if content.expires.is_some_and(|expires| expires <= at.wall) {
        return Err(EXPIRED);
    }
    if content.device.is_empty() { Err(DEVICE_MISSING) } else { Ok(content) }
}

/// The token of a session's call, which carries nothing else.
fn session_token(call: &HeadendCall) -> Result<SessionToken, ServiceRefusal> {
    if call.presented.invalid.is_some() || !call.presented.contents.is_empty() {
        return Err(INVALID_TOKEN);
    }
    match call.presented.sessions.as_slice() {
        [token] => Ok(*token),
        [] if !call.presented.given => Err(AUTHENTICATION),
        _ => Err(INVALID_TOKEN),
    }
}

fn broken(invalid: InvalidToken) -> ServiceRefusal {
    match invalid {
        InvalidToken::Format => AUTHENTICATION,
        InvalidToken::Kid => CREDENTIAL,
        InvalidToken::Signature => INVALID_TOKEN,
    }
}

fn named(call: &HeadendCall, key: &str) -> Result<String, ServiceRefusal> {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_not_json| FORMAT)?;
    body.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(FORMAT)
}

fn killed(count: usize) -> ServiceAnswer {
    ServiceAnswer::json(&json!({ "killedSessions": count }))
}

const fn refusal(status: u16, code: i64, message: &'static str) -> ServiceRefusal {
    ServiceRefusal { code, message, status }
}
