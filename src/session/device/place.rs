//! Which of a device's playbacks a call belongs to.

use std::time::Instant;

use super::super::call::{Call, CallKind};
use super::super::end::End;
use super::super::playback::Playback;
use super::super::state::{Over, State};

pub(super) enum Place {
    /// With the playback at this index.
    At(usize),
    Fresh,
    Nowhere,
}

/// `playbacks`: oldest first.
pub(super) fn place<C>(playbacks: &[Playback<C>], now: Instant, call: &Call) -> Place {
    let Some((index, playback)) = find(playbacks, now, call) else {
        let begins = call.openable && matches!(call.kind, CallKind::License | CallKind::Renewal);
        return if begins { Place::Fresh } else { Place::Nowhere };
    };
    if !call.openable || !begins_again(playback.session.state(), now, call.kind) {
        return Place::At(index);
    }
    // Found by its key session, it may still carry the token of another one that was killed.
    let killed = playbacks.iter().position(|p| p.session.is_killed() && p.is_of(call));
    killed.map_or(Place::Fresh, Place::At)
}

/// Whether such a call to a playback that is over, or about to be, is the first of its successor.
fn begins_again(state: &State, now: Instant, call: CallKind) -> bool {
    match (call, state) {
        (CallKind::Certificate | CallKind::Release, _) => false,
        (CallKind::License | CallKind::Renewal, State::Closed { until, why }) => match why {
            Over::Denied(..) | Over::Unmanaged | Over::Unreachable(_) => now >= *until,
            // Only the app can ask for the next one.
            Over::Ended(End::Programme) => false,
            Over::Ended(end) => call == CallKind::License || !end.is_wanted(),
        },
        (CallKind::License, State::Closing { .. }) => true,
        (
            CallKind::License | CallKind::Renewal,
            State::Closing { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Opening { .. },
        ) => false,
    }
}

/// Newest first: by its key session where the message proves that one exists, by its content token,
/// by its content, because it has just begun, or because there is only one.
fn find<'a, C>(playbacks: &'a [Playback<C>], now: Instant, call: &Call) -> Option<(usize, &'a Playback<C>)> {
    let newest = |fits: &dyn Fn(&Playback<C>) -> bool| playbacks.iter().enumerate().rev().find(|(_, p)| fits(p));
    let continues = matches!(call.kind, CallKind::Release | CallKind::Renewal);
    let by_key_session = || newest(&|p| call.key_session.is_some_and(|key| p.has_key_session(key)));
    let by_token = || newest(&|p| p.is_of(call));
    // A new content token for the same content goes on with a running playback, never with a killed one.
    let by_content = || {
        newest(&|p| p.plays(call.content) && (p.session.is_active() || (p.session.is_killed() && call.token.is_none())))
    };
    let just_begun = || newest(&|p| call.token.is_none() && !continues && p.has_just_begun(now));
    let only = || {
        let mut candidates = playbacks.iter().enumerate().filter(|(_, p)| p.session.is_active());
        let first = candidates.next();
        match candidates.next() {
            Some(_) => None,
            None => first.or_else(|| newest(&|p| p.session.is_killed())),
        }
        .filter(|_| call.token.is_none() && (continues || call.content.is_none()))
    };
    let known = if continues { by_key_session() } else { None };
    known.or_else(by_token).or_else(by_content).or_else(just_begun).or_else(only)
}
