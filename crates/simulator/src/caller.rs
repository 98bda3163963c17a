//! Identifies the caller by its tokens.

use http::request::Parts;

use super::call::HeadendCall;
use super::endpoint::HeadendEndpoint;
use super::firstlight;
use super::state::HeadendState;
use sidebeat_core::ledger::SlotNumber;

/// Number of ended sessions that are searched for the caller.
const MAX_ENDED_SESSIONS_SEARCHED: usize = 1_000;

#[derive(Clone, Debug, Default)]
pub(super) struct HeadendCaller {
    pub(super) content: Option<String>,
    pub(super) device: Option<String>,
    pub(super) session: Option<SlotNumber>,
}

impl HeadendCaller {
    pub(super) fn of(state: &HeadendState, call: &HeadendCall, parts: &Parts) -> Self {
        if call.endpoint == HeadendEndpoint::Content {
            return Self { content: Some(parts.uri.path().to_owned()), ..Self::default() };
        }
        if call.endpoint.is_firstlight() {
            let (device, content) = firstlight::caller(state, call);
            return Self { content, device, session: None };
        }
        let session = call.presented.sessions.first().map(|session| session.slot);
        if let Some(content) = call.presented.contents.first() {
            return Self { content: Some(content.content.clone()), device: Some(content.device.clone()), session };
        }
        let Some(slot) = session else { return Self::default() };
        let live = state.ledger.row(slot).map(|row| (row.content.to_owned(), row.device.to_owned()));
        let of_ended = || {
            let ended = state.ledger.ended().take(MAX_ENDED_SESSIONS_SEARCHED).find(|ended| ended.slot == slot)?;
            Some((ended.content.to_string(), ended.device.to_string()))
        };
        let (content, device) = live.or_else(of_ended).unzip();
        Self { content, device, session }
    }
}
