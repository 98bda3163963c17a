//! The story of one call to a service: who calls, what the script has for it, the work, the log.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HOST, RANGE};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio::sync::oneshot;

use super::action::{Action, Word};
use super::answer::Answer;
use super::body::SimBody;
use super::caller::Caller;
use super::endpoint::Endpoint;
use super::journal::Entry;
use super::shared::Shared;
use super::state::{Moment, State};
use super::token::{Presented, session_name};
use super::{firstlight, license, ssm};
use crate::authority::ledger::SlotNumber;

const AUTHORIZATIONS: &str = "nv-authorizations";

pub(super) struct Call {
    /// The device that the path names.
    pub(super) below: Option<String>,
    pub(super) body: Bytes,
    pub(super) endpoint: Endpoint,
    /// The authorization header was there and empty.
    pub(super) header_empty: bool,
    /// How the caller reaches us.
    pub(super) host: String,
    pub(super) media_type: String,
    pub(super) presented: Presented,
    /// Where FirstLight's services begin: `/DEMO/fl`, if the call is to one of them.
    pub(super) services: Option<String>,
    /// Whose device it is, for FirstLight's services.
    pub(super) user: String,
}

/// The script ends the connection without a reply.
#[derive(Debug, Error)]
#[error("the script drops this call")]
pub(super) struct Severed;

/// What the log is told of the reply.
#[derive(Default)]
struct Note {
    code: Option<i64>,
    message: Option<&'static str>,
    session: Option<SlotNumber>,
    status: u16,
}

/// Runs to its end even if the caller hangs up: a real service does not take its work back.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    parts: Parts,
    body: Bytes,
) -> Result<Response<SimBody>, Severed> {
    let (told, reply) = oneshot::channel();
    let own = Arc::clone(shared);
    shared.tasks.spawn(async move {
        // Nobody listens any more if the caller hung up.
        let _gone = told.send(story(&own, endpoint, &parts, body).await);
    });
    reply.await.unwrap_or(Err(Severed))
}

async fn story(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    parts: &Parts,
    body: Bytes,
) -> Result<Response<SimBody>, Severed> {
    let (call, caller, fault) = shared.with(|state, _| arrive(state, endpoint, parts, body));
    let _in_flight = InFlight::of(shared, &call, &caller);
    if let Some(delay) = fault.as_ref().map(Action::delay).filter(|delay| !delay.is_zero()) {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shared.tasks.stopped() => {}
        }
    }
    let (note, response) = perform(shared, &call, &caller, fault.as_ref(), parts).await;
    let is = |word| fault.as_ref().is_some_and(|fault| fault.is(word));
    let response = response.filter(|_| !is(Word::LoseReply));
    let status = if response.is_some() { note.status } else { 0 };
    shared.with(|state, at| log(state, at, &call, &caller, fault.as_ref(), &Note { status, ..note }));
    let response = response.ok_or(Severed)?;
    Ok(if is(Word::Truncate) { response.map(SimBody::truncated) } else { response })
}

fn arrive(state: &mut State, endpoint: Endpoint, parts: &Parts, body: Bytes) -> (Call, Caller, Option<Action>) {
    let call = Call::of(state, endpoint, parts, body);
    let caller = Caller::of(state, &call, parts);
    let fault = state.faults.draw(endpoint, caller.device.as_deref(), caller.content.as_deref());
    (call, caller, fault)
}

async fn perform(
    shared: &Shared,
    call: &Call,
    caller: &Caller,
    fault: Option<&Action>,
    parts: &Parts,
) -> (Note, Option<Response<SimBody>>) {
    if fault.is_some_and(|fault| fault.is(Word::Drop)) {
        return (Note::default(), None);
    }
    if let Some(answer) = fault.and_then(Action::answer) {
        return respond(answer);
    }
    if call.endpoint == Endpoint::Content {
        let response = shared.content.serve(parts.uri.path(), parts.headers.get(RANGE)).await;
        return (Note { status: response.status().as_u16(), ..Note::default() }, Some(response));
    }
    respond(shared.with(|state, at| {
        if let Some(slot) = caller.session.filter(|_| fault.is_some_and(|fault| fault.is(Word::Kill))) {
            state.ledger.kill(slot);
            state.settle();
        }
        let answer = work(state, at, call);
        let garbled = fault.is_some_and(|fault| fault.is(Word::Garble));
        if garbled { Answer::raw("text/html", "<html>All is well</html>") } else { answer }
    }))
}

fn work(state: &mut State, at: Moment, call: &Call) -> Answer {
    let done = match call.endpoint {
        Endpoint::Authorize => Ok(firstlight::authorize(state, at, call)),
        Endpoint::Certificate | Endpoint::Content => Ok(license::certificate(at)),
        Endpoint::ClearKey | Endpoint::FairPlay | Endpoint::PlayReady | Endpoint::Widevine => {
            license::license(state, at, call)
        }
        Endpoint::Heartbeat => ssm::heartbeat(state, at, call),
        Endpoint::KillAccount => ssm::kill_account(state, call),
        Endpoint::KillDevice => ssm::kill_device(state, call),
        Endpoint::LightBeat => Ok(firstlight::heartbeat(state, at, call)),
        Endpoint::StreamDelete => Ok(firstlight::delete_stream(state, call)),
        Endpoint::StreamPut => Ok(firstlight::put_stream(state, at, call)),
        Endpoint::Renewal => ssm::renewal(state, at, call),
        Endpoint::Setup => ssm::setup(state, at, call),
        Endpoint::Teardown => ssm::teardown(state, call),
    };
    done.unwrap_or_else(Answer::from)
}

fn respond(answer: Answer) -> (Note, Option<Response<SimBody>>) {
    let note =
        Note { code: answer.code, message: answer.message, session: answer.session, status: answer.status.as_u16() };
    (note, Some(answer.into_response()))
}

fn log(state: &mut State, at: Moment, call: &Call, caller: &Caller, fault: Option<&Action>, note: &Note) {
    *state.counters.calls.entry(call.endpoint.name()).or_default() += 1;
    if let Some(code) = note.code {
        *state.counters.refused.entry(code).or_default() += 1;
    }
    let ms = state.milliseconds(at.now);
    state.journal.add(Entry {
        code: note.code,
        content: caller.content.clone(),
        device: caller.device.clone(),
        endpoint: call.endpoint.name(),
        fault: fault.map(Action::name),
        message: note.message,
        ms,
        seq: 0,
        session: note.session.or(caller.session).map(session_name),
        status: note.status,
    });
}

impl Call {
    fn of(state: &State, endpoint: Endpoint, parts: &Parts, body: Bytes) -> Self {
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
    shared: Arc<Shared>,
    slot: SlotNumber,
}

impl InFlight {
    fn of(shared: &Arc<Shared>, call: &Call, caller: &Caller) -> Option<Self> {
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
