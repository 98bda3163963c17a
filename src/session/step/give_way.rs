//! Gives way to another playback of its device, and perhaps comes back.
//!
//! That another one plays is presumed. Until the close is sent the session is what it was, and its player goes on with
//! it; later another session is opened under the same id when the player shows that it is there.

use std::time::Instant;

use super::super::call::CallKind;
use super::super::effect::{Answer, Effect, Effects, Event, Refusal};
use super::super::end::End;
use super::super::grant::AskKind;
use super::super::life::Life;
use super::super::policy::Policy;
use super::super::state::{Over, Session, State};
use super::answered::give_back;

/// What a session needs to go on after it gave way.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Away {
    /// When its next beat is due; none while it is opened.
    beat: Option<Instant>,
    since: Instant,
}

impl Session {
    /// Another playback of the device is presumed to be the one that plays.
    pub(super) fn give_way(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        if !self.is_active() {
            return;
        }
        let beat = match self.state {
            State::Live { beat } => Some(beat),
            State::Closed { .. }
            | State::Closing { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Opening { .. }
            | State::Owing { .. } => None,
        };
        let asked = self.lane.is_some_and(|lane| lane.ask == AskKind::Open);
        let opening = asked && matches!(self.state, State::Opening { .. });
        // One that owes its open would come back with its credit made new.
        self.credit_spent |= matches!(self.state, State::Owing { .. });
        self.life = self.life.anew(self.life.last);
        self.gave_way = Some(now);
        self.end(now, End::GaveWay, policy, fx);
        if matches!(self.state, State::Closing { .. }) && (beat.is_some() || opening) {
            self.away = Some(Away { beat, since: now });
        }
    }

    /// Whether its player may come back to it: its close waits for the call that is under way.
    pub(in crate::session) fn may_return(&self, now: Instant, policy: &Policy) -> bool {
        let unsent = self.lane.is_some_and(|lane| lane.ask != AskKind::Close);
        let waits = unsent && matches!(self.state, State::Closing { why: End::GaveWay, .. });
        waits && self.away.is_some_and(|away| now < away.since + policy.re_entry)
    }

    /// What it was, if its close is not sent; else opened again, when its turn comes.
    pub(super) fn take_back(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        if self.may_return(now, policy) {
            return self.come_back(now, fx);
        }
        if !self.gives_way() {
            return;
        }
        if matches!(self.state, State::Closing { tries: 1.., .. }) && self.lane.is_none() {
            // Its close is lost, and goes on by itself.
            if let Some(grant) = self.grant.take() {
                give_back(grant, fx);
            }
            self.close(now, Over::Ended(End::GaveWay), policy, fx);
        }
        if !matches!(self.state, State::Closed { .. }) {
            return;
        }
        (self.away, self.good_until, self.lingers, self.token_in_doubt) = (None, None, false, false);
        self.returns = true;
        self.enter(State::Opening { held: true, since: now });
        fx.note(Event::Returned);
        fx.push(Effect::Wake);
    }

    fn come_back(&mut self, now: Instant, fx: &mut Effects) {
        let opening = self.lane.filter(|lane| lane.ask == AskKind::Open);
        let next = match (opening, self.away.and_then(|away| away.beat)) {
            (Some(lane), _) => State::Opening { held: false, since: lane.since },
            (None, Some(beat)) => State::Live { beat },
            (None, None) => return,
        };
        self.heard(now);
        self.enter(next);
        let calls = self.life.calls;
        (self.away, self.life) = (None, Life { calls, ..self.life.anew(now) });
        fx.note(Event::Returned);
        fx.push(Effect::Wake);
    }

    /// A call of its player, who wants it back; perhaps one that waited for what gave way meanwhile.
    pub(super) fn call_away(&mut self, now: Instant, kind: CallKind, policy: &Policy) -> Answer {
        let renews = match kind {
            // The first step of a playback to come, or the last of one that is over.
            CallKind::Certificate | CallKind::Release => return Answer::Pass,
            CallKind::License => false,
            CallKind::Renewal => true,
        };
        if let Some((_, Some(refusal))) = self.refused_back.as_ref().filter(|(until, _)| now < *until) {
            return Answer::Refuse(refusal.clone());
        }
        self.life.calls = true;
        if renews {
            self.shows_renewal(now, policy);
        } else {
            self.life.last = now;
        }
        Answer::Wait
    }

    /// A call that waits for the open. Where that brings back what gave way, it is known from now on that somebody waits.
    pub(super) fn call_opening(&mut self, now: Instant) -> Answer {
        // Its turn may be long in coming while somebody waits.
        if let State::Opening { held: true, since } = &mut self.state {
            *since = now;
        }
        if self.returns {
            (self.life.calls, self.life.last) = (true, now);
        }
        Answer::Wait
    }

    /// Whether one that was to be opened again may ask once more, though this came of it; and what it is told meanwhile.
    pub(super) fn is_for_now(why: &Over) -> Option<Option<Refusal>> {
        match why {
            Over::Ended(End::Abandoned | End::GaveWay) => Some(None),
            Over::Unreachable(fault) => Some(Some(Refusal::Unreachable(fault.clone()))),
            Over::Denied(..) | Over::Ended(_) | Over::Spent { .. } | Over::Unmanaged => None,
        }
    }

    /// It was to be opened again, and cannot be now: it is over as it was. Its player may ask once more in a moment.
    pub(super) fn stay_away(&mut self, now: Instant, refusal: Option<Refusal>, policy: &Policy, fx: &mut Effects) {
        self.returns = false;
        let calls = self.life.calls;
        self.refused_back = refusal.map(|refusal| (now + policy.denial_memory, Some(refusal).filter(|_| calls)));
        self.life = self.life.anew(self.life.last);
        self.enter(State::Closed { until: now + Policy::GIVEN_WAY, why: Over::Ended(End::GaveWay) });
        fx.push(Effect::Wake);
    }
}
