//! Finds the playback of a device to which a call belongs. `device` calls [`place`].

use super::super::end_reason::EndReason;
use super::super::playback::Playback;
use super::super::player_call::{CallKind, OpenAbility, PlayerCall};
use super::super::policy::Policy;
use super::super::state::{SessionClosure, SessionState};
use crate::time::MonotonicTime;

pub(super) enum CallMatch {
    /// The playback at this index.
    At(usize),
    /// The call would begin a playback, but its content token has expired.
    Expired,
    Fresh,
    Nowhere,
}

impl CallMatch {
    /// True if the call begins a playback.
    pub(super) fn begins(&self) -> bool {
        match self {
            Self::Fresh => true,
            Self::At(_) | Self::Expired | Self::Nowhere => false,
        }
    }
}

/// `playbacks`: oldest first.
pub(super) fn place<C>(playbacks: &[Playback<C>], now: MonotonicTime, call: &PlayerCall, policy: &Policy) -> CallMatch {
    // A killed token is refused, even if the call belongs to another playback of the device.
    if let Some(killed) = playbacks.iter().rposition(|p| p.is_killed_with(&call.names())) {
        return CallMatch::At(killed);
    }
    match unbarred(playbacks, now, call, policy) {
        CallMatch::At(index) if playbacks.get(index).is_some_and(|p| !p.session.gives_way()) => CallMatch::At(index),
        // If no playback of the device goes on, a kill of the device holds for this call as well.
        place @ (CallMatch::At(_) | CallMatch::Expired | CallMatch::Fresh | CallMatch::Nowhere) => {
            let kill = playbacks.iter().rposition(|p| p.kill_of(&call.names()).is_some());
            kill.map_or(place, CallMatch::At)
        }
    }
}

/// Like [`place`], without regard to kills.
fn unbarred<C>(playbacks: &[Playback<C>], now: MonotonicTime, call: &PlayerCall, policy: &Policy) -> CallMatch {
    let Some((index, playback)) = find(playbacks, now, call, policy) else {
        return match (call.kind, begins(call)) {
            (CallKind::License | CallKind::Renewal, Some(place)) => place,
            (CallKind::Certificate | CallKind::License | CallKind::Release | CallKind::Renewal, _) => {
                CallMatch::Nowhere
            }
        };
    };
    let anew = begins_again(playback.session.state(), now, call.kind, policy) || playback.was_left_by_another(call);
    if !anew {
        return CallMatch::At(index);
    }
    // A renewal by a key session of an ended playback may bring the token of a running one; the token decides, because
    // it has one playback.
    let plays = playbacks.iter().rposition(|p| p.is_of(call) && p.goes_on());
    plays.map(CallMatch::At).or_else(|| begins(call)).unwrap_or(CallMatch::At(index))
}

/// The match for the first call of a playback; `None` if the call cannot open a session.
fn begins(call: &PlayerCall) -> Option<CallMatch> {
    match call.opens {
        OpenAbility::Expired => Some(CallMatch::Expired),
        OpenAbility::No => None,
        OpenAbility::Yes => Some(CallMatch::Fresh),
    }
}

/// True if such a call to a playback that is over, or about to be, begins its successor.
fn begins_again(state: &SessionState, now: MonotonicTime, call: CallKind, policy: &Policy) -> bool {
    if matches!(call, CallKind::Certificate | CallKind::Release) {
        return false;
    }
    let Some(end) = state.end_reason() else {
        let SessionState::Closed { until, why } = state else { return false };
        return now >= if let SessionClosure::Spent { again, .. } = why { *again } else { *until };
    };
    end != EndReason::GaveWay && policy.begins_again(end) && (call == CallKind::License || !end.is_wanted())
}

/// True if a first request for media may join the playback. It does so at once, because no license server judges it; so
/// it needs a content token of a playback that began with one.
fn may_join<C>(playback: &Playback<C>, call: &PlayerCall) -> bool {
    let judged_later = call.token.is_none() || call.token == call.content_token;
    judged_later
        || playback.names.began_without_token()
        || call.content_token.is_some_and(|token| playback.answers_to(token))
}

/// True if the call proves its owner. If tokens are verified, a device's name alone proves nothing: a call without a
/// token belongs to a playback that began without one, or whose key session it has. Any caller gets a certificate.
fn is_vouched_for<C>(playback: &Playback<C>, call: &PlayerCall, policy: &Policy) -> bool {
    let has_key_session = || call.key_session.is_some_and(|key| playback.names.has_key_session(key));
    let is_for_all = call.kind == CallKind::Certificate;
    !policy.tokens_prove
        || call.token.is_some()
        || playback.names.began_without_token()
        || is_for_all
        || has_key_session()
}

/// Finds the newest playback by its key session if the message proves that one exists, by its content token, by its
/// content, because it has just begun, or because there is only one.
fn find<'a, C>(
    playbacks: &'a [Playback<C>],
    now: MonotonicTime,
    call: &PlayerCall,
    policy: &Policy,
) -> Option<(usize, &'a Playback<C>)> {
    let newest = |fits: &dyn Fn(&Playback<C>) -> bool| playbacks.iter().enumerate().rev().find(|(_, p)| fits(p));
    let vouched = |p: &Playback<C>| is_vouched_for(p, call, policy);
    let continues = matches!(call.kind, CallKind::Release | CallKind::Renewal);
    let by_key_session = || newest(&|p| call.key_session.is_some_and(|key| p.names.has_key_session(key)));
    let by_token = || newest(&|p| p.is_of(call));
    // A new content token for the same content continues a running playback, never a killed one.
    let by_content = || {
        newest(&|p| {
            let goes_on = p.session.is_active() || p.session.may_return(now, policy);
            vouched(p)
                && p.plays(call.content)
                && may_join(p, call)
                && (goes_on || (p.session.is_killed() && call.token.is_none()))
        })
    };
    let just_begun = || newest(&|p| vouched(p) && call.token.is_none() && !continues && p.has_just_begun(now));
    let only = || {
        let mut candidates =
            playbacks.iter().enumerate().rev().filter(|(_, p)| p.session.is_active() && !p.is_device_session());
        let last = candidates.next();
        match candidates.next() {
            // On a device that plays one thing, only playbacks that may be over are beside the newest.
            Some(_) if policy.sessions_per_device > 1 || policy.shares_session => None,
            Some(_) | None => last.or_else(|| newest(&|p| p.session.is_killed() && !p.is_device_session())),
        }
        .filter(|(_, p)| {
            call.token.is_none() && (continues || call.content.is_none()) && (vouched(p) || p.session.is_killed())
        })
    };
    let known = if continues { by_key_session() } else { None };
    known.or_else(by_token).or_else(by_content).or_else(just_begun).or_else(only)
}
