//! Lets a session give way to another playback of its device, and perhaps come back.
//!
//! The other playback is only presumed to play. Until the close is sent, the session stays intact and its player can
//! continue it; later another session opens under the same id when the player shows life.

use super::super::effect::{CallAnswer, PlayerFacts, SessionEvent, SessionRefusal};
use super::super::end_reason::EndReason;
use super::super::grant::AskKind;
use super::super::player_call::CallKind;
use super::super::policy::Policy;
use super::super::state::{Forfeit, Session, SessionClosure, SessionState};
use super::context::Step;
use crate::time::MonotonicTime;

impl Session {
    /// Another playback of the device is presumed to play instead.
    pub(super) fn give_way(&mut self, step: &mut Step<'_>) {
        if !self.is_active() {
            return;
        }
        let beat = if let SessionState::Live { beat, .. } = self.state { Some(beat) } else { None };
        let asked = self.calls.is_asking(AskKind::Open);
        let opening = asked && matches!(self.state, SessionState::Opening { .. });
        // An owing session would otherwise come back with new credit.
        if matches!(self.state, SessionState::Owing { .. }) {
            self.unconfirmed.spend();
        }
        self.evidence.shows_itself_anew();
        self.way_back.gave_way(step.now);
        self.end(EndReason::GaveWay, step);
        if matches!(self.state, SessionState::Closing { .. }) && (beat.is_some() || opening) {
            self.way_back.close_is_unsent(step.now, beat);
        }
    }

    /// True if its player may continue it: its close waits for the call in flight.
    pub(in crate::session) fn may_return(&self, now: MonotonicTime, policy: &Policy) -> bool {
        let unsent = self.calls.in_flight().is_some_and(|call| call.ask != AskKind::Close);
        let waits = unsent && matches!(self.state, SessionState::Closing { why: EndReason::GaveWay, .. });
        waits && self.way_back.may_return(now, policy.re_entry)
    }

    /// Continues it if its close is not sent; otherwise opens it again when its turn comes.
    pub(super) fn take_back(&mut self, step: &mut Step<'_>) {
        if self.may_return(step.now, step.policy) {
            return self.come_back(step);
        }
        if !self.gives_way() {
            return;
        }
        let is_closing = matches!(self.state, SessionState::Closing { .. });
        if is_closing && self.release().is_some_and(|release| release.tries() > 0) && self.calls.is_idle() {
            // Its lost close goes on by itself.
            if let Some(grant) = self.forfeit(Forfeit::GivenBack) {
                step.give_back(grant, PlayerFacts::default());
            }
            self.close(SessionClosure::Ended(EndReason::GaveWay), step);
        }
        if !matches!(self.state, SessionState::Closed { .. }) {
            return;
        }
        self.way_back.opens_again();
        self.enter(|_| SessionState::Waiting { not_before: step.now, since: step.now });
        step.note(SessionEvent::Returned);
        step.wake();
    }

    fn come_back(&mut self, step: &mut Step<'_>) {
        let opening = self.calls.in_flight().filter(|call| call.ask == AskKind::Open);
        match (opening, self.way_back.beat_of_unsent()) {
            (Some(call), _) => self.enter(|_| SessionState::Opening { since: call.since }),
            (None, Some(beat)) => self.enter_holding(|grant| SessionState::Live { beat, grant }),
            (None, None) => return,
        }
        self.way_back.forget_unsent();
        self.evidence.came_back(step.now);
        step.note(SessionEvent::Returned);
        step.wake();
    }

    /// A call of its player, who wants it back; perhaps a call that waited for a playback that gave way meanwhile.
    pub(super) fn call_away(&mut self, now: MonotonicTime, kind: CallKind, policy: &Policy) -> CallAnswer {
        let renews = match kind {
            // The call is the first of a coming playback, or the last of an ended one.
            CallKind::Certificate | CallKind::Release => return CallAnswer::Pass,
            CallKind::License => false,
            CallKind::Renewal => true,
        };
        if let Some(refusal) = self.way_back.refusal(now) {
            return CallAnswer::Refuse(refusal.clone());
        }
        self.evidence.call_waits(now);
        if renews {
            self.shows_renewal(now, policy);
        }
        CallAnswer::Wait
    }

    /// A call that waits for the open. If that brings back a yielded session, its player is known to wait.
    pub(super) fn call_opening(&mut self, now: MonotonicTime) -> CallAnswer {
        // Its turn may take long while a call waits.
        if let SessionState::Waiting { since, .. } = &mut self.state {
            *since = now;
        }
        if self.way_back.is_returning() {
            self.evidence.call_waits(now);
        }
        CallAnswer::Wait
    }

    /// For the failed open of a returning session: `Some` if it may ask once more, with the refusal until then.
    pub(super) fn is_for_now(why: &SessionClosure) -> Option<Option<SessionRefusal>> {
        match why {
            SessionClosure::Ended(EndReason::Abandoned | EndReason::GaveWay) => Some(None),
            SessionClosure::Unreachable(fault) => Some(Some(SessionRefusal::Unreachable((**fault).clone()))),
            SessionClosure::Denied(..)
            | SessionClosure::Ended(_)
            | SessionClosure::Spent { .. }
            | SessionClosure::Unmanaged => None,
        }
    }

    /// The session cannot be opened again now: it is over as before. Its player may ask once more in a moment.
    pub(super) fn stay_away(&mut self, refusal: Option<SessionRefusal>, step: &mut Step<'_>) {
        let (calls, until) = (self.life().calls(), step.now + step.policy.refusal_memory);
        self.way_back.stay_away(refusal.map(|refusal| (until, Some(refusal).filter(|_| calls))));
        self.evidence.shows_itself_anew();
        self.enter(|_| SessionState::Closed {
            until: step.now + Policy::MAX_GIVEN_WAY_TIME,
            why: SessionClosure::Ended(EndReason::GaveWay),
        });
        step.wake();
    }
}
