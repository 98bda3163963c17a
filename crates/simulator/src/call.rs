//! Handles one call to a service: identifies the caller, applies the fault script, does the work, logs it.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HOST, RANGE};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio::sync::oneshot;

use super::answer::ServiceAnswer;
use super::body::SimBody;
use super::caller::HeadendCaller;
use super::endpoint::HeadendEndpoint;
use super::fault_action::{ActionWord, FaultAction};
use super::journal::CallEntry;
use super::shared::HeadendShared;
use super::state::{CallMoment, HeadendState};
use super::token::{PresentedTokens, session_name};
use super::{firstlight, license, ssm};
use sidebeat_core::ledger::SlotNumber;

const AUTHORIZATIONS: &str = "nv-authorizations";

pub(super) struct HeadendCall {
    /// The device that the path names.
    pub(super) below: Option<String>,
    pub(super) body: Bytes,
    pub(super) endpoint: HeadendEndpoint,
    /// The authorization header was there and empty.
    pub(super) header_empty: bool,
    /// The host by which the caller reaches us.
    pub(super) host: String,
    pub(super) media_type: String,
    pub(super) presented: PresentedTokens,
    /// Path prefix of FirstLight's services, such as `/DEMO/fl`, if the call is to one of them.
    pub(super) services: Option<String>,
    /// The device's user, for FirstLight's services.
    pub(super) user: String,
}

/// The script ends the connection without a reply.
#[derive(Debug, Error)]
#[error("the script drops this call")]
pub(super) struct SeveredConnection;

/// Facts about the reply for the log.
#[derive(Default)]
struct ReplyNote {
    code: Option<i64>,
    message: Option<&'static str>,
    session: Option<SlotNumber>,
    status: u16,
}

/// Handles a call. It runs to its end even if the caller hangs up, because a real service does not undo its work.
pub(super) async fn serve(
    shared: &Arc<HeadendShared>,
    endpoint: HeadendEndpoint,
    parts: Parts,
    body: Bytes,
) -> Result<Response<SimBody>, SeveredConnection> {
    let (told, reply) = oneshot::channel();
    let own = Arc::clone(shared);
    shared.tasks.spawn(async move {
        // If the caller hung up, the answer is dropped.
        let _gone = told.send(story(&own, endpoint, &parts, body).await);
    });
    reply.await.unwrap_or(Err(SeveredConnection))
}

async fn story(
    shared: &Arc<HeadendShared>,
    endpoint: HeadendEndpoint,
    parts: &Parts,
    body: Bytes,
) -> Result<Response<SimBody>, SeveredConnection> {
    let (call, caller, fault) = shared.with(|state, _| arrive(state, endpoint, parts, body));
    let _in_flight = InFlight::of(shared, &call, &caller);
    if let Some(delay) = fault.as_ref().map(FaultAction::delay).filter(|delay| !delay.is_zero()) {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shared.tasks.stopped() => {}
        }
    }
    let (note, response) = perform(shared, &call, &caller, fault.as_ref(), parts).await;
    let is = |word| fault.as_ref().is_some_and(|fault| fault.is(word));
    let response = response.filter(|_| !is(ActionWord::LoseReply));
    let status = if response.is_some() { note.status } else { 0 };
    shared.with(|state, at| log(state, at, &call, &caller, fault.as_ref(), &ReplyNote { status, ..note }));
    let response = response.ok_or(SeveredConnection)?;
    Ok(if is(ActionWord::Truncate) { response.map(SimBody::truncated) } else { response })
}

fn arrive(
    state: &mut HeadendState,
    endpoint: HeadendEndpoint,
    parts: &Parts,
    body: Bytes,
) -> (HeadendCall, HeadendCaller, Option<FaultAction>) {
    let call = HeadendCall::of(state, endpoint, parts, body);
    let caller = HeadendCaller::of(state, &call, parts);
    let fault = state.faults.draw(endpoint, caller.device.as_deref(), caller.content.as_deref());
    (call, caller, fault)
}

async fn perform(
    shared: &HeadendShared,
    call: &HeadendCall,
    caller: &HeadendCaller,
    fault: Option<&FaultAction>,
    parts: &Parts,
) -> (ReplyNote, Option<Response<SimBody>>) {
    if fault.is_some_and(|fault| fault.is(ActionWord::Drop)) {
        return (ReplyNote::default(), None);
    }
    if let Some(answer) = fault.and_then(FaultAction::answer) {
        return respond(answer);
    }
    if call.endpoint == HeadendEndpoint::Content {
        let response = shared.content.serve(parts.uri.path(), parts.headers.get(RANGE)).await;
        return (ReplyNote { status: response.status().as_u16(), ..ReplyNote::default() }, Some(response));
    }
    respond(shared.with(|state, at| {
        if let Some(slot) = caller.session.filter(|_| fault.is_some_and(|fault| fault.is(ActionWord::Kill))) {
            state.ledger.kill(slot);
            state.settle();
        }
        let answer = work(state, at, call);
        let garbled = fault.is_some_and(|fault| fault.is(ActionWord::Garble));
        if garbled { ServiceAnswer::raw("text/html", "<html>All is well</html>") } else { answer }
    }))
}

fn work(state: &mut HeadendState, at: CallMoment, call: &HeadendCall) -> ServiceAnswer {
    let done = match call.endpoint {
        HeadendEndpoint::Authorize => Ok(firstlight::authorize(state, at, call)),
        HeadendEndpoint::Certificate | HeadendEndpoint::Content => Ok(license::certificate(at)),
        HeadendEndpoint::ClearKey
        | HeadendEndpoint::FairPlay
        | HeadendEndpoint::PlayReady
        | HeadendEndpoint::Widevine => license::license(state, at, call),
        HeadendEndpoint::Heartbeat => ssm::heartbeat(state, at, call),
        HeadendEndpoint::KillAccount => ssm::kill_account(state, call),
        HeadendEndpoint::KillDevice => ssm::kill_device(state, call),
        HeadendEndpoint::LightBeat => Ok(firstlight::heartbeat(state, at, call)),
        HeadendEndpoint::StreamDelete => Ok(firstlight::delete_stream(state, call)),
        HeadendEndpoint::StreamPut => Ok(firstlight::put_stream(state, at, call)),
        HeadendEndpoint::Renewal => ssm::renewal(state, at, call),
        HeadendEndpoint::Setup => ssm::setup(state, at, call),
        HeadendEndpoint::Teardown => ssm::teardown(state, call),
    };
    done.unwrap_or_else(ServiceAnswer::from)
}

fn respond(answer: ServiceAnswer) -> (ReplyNote, Option<Response<SimBody>>) {
    let note = ReplyNote {
        code: answer.code,
        message: answer.message,
        session: answer.session,
        status: answer.status.as_u16(),
    };
    (note, Some(answer.into_response()))
}

fn log(
    state: &mut HeadendState,
    at: CallMoment,
    call: &HeadendCall,
    caller: &HeadendCaller,
    fault: Option<&FaultAction>,
    note: &ReplyNote,
) {
    *state.counters.calls.entry(call.endpoint.name()).or_default() += 1;
    if let Some(code) = note.code {
        *state.counters.refused.entry(code).or_default() += 1;
    }
    let ms = state.milliseconds(at.now);
    state.journal.add(CallEntry {
        code: note.code,
        content: caller.content.clone(),
        device: caller.device.clone(),
        endpoint: call.endpoint.name(),
        fault: fault.map(FaultAction::name),
        message: note.message,
        ms,
        seq: 0,
        session: note.session.or(caller.session).map(session_name),
        status: note.status,
    });
}

impl HeadendCall {
    fn of(state: &HeadendState, endpoint: HeadendEndpoint, parts: &Parts, body: Bytes) -> Self {
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("not text"));
        let authorizations = header(AUTHORIZATIONS);
        let below = parts.uri.path().split_once("/user/stream/").map(|(_, device)| device);
        Self {
            below: below.map(|device| percent_decode_str(device).decode_utf8_lossy().into_owned()),
            body,
            endpoint,
            header_empty: authorizations == Some(""),
            host: header(HOST.as_str()).unwrap_or_default().to_owned(),
            media_type: header(CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase(),
            presented: state.issuer.read(authorizations),
            services: parts.uri.path().split_once("/fl/").map(|(tenant, _)| format!("{tenant}/fl")),
            user: firstlight::user(parts),
        }
    }
}

/// Counts a session's call as being served until it ends, however it ends.
struct InFlight {
    shared: Arc<HeadendShared>,
    slot: SlotNumber,
}

impl InFlight {
    fn of(shared: &Arc<HeadendShared>, call: &HeadendCall, caller: &HeadendCaller) -> Option<Self> {
        let slot = caller.session.filter(|_| call.endpoint.is_of_a_session())?;
        shared.with(|state, _| state.enter(slot));
        Some(Self { shared: Arc::clone(shared), slot })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.with(|state, _| state.leave(self.slot));
    }
}
