//! Zapped away, and perhaps back again before the authority was told.
//!
//! The close of a playback that is zapped away may have to wait: for a call of its that is under way,
//! or because the device zaps so fast that nobody knows yet where it will stay. Until the close is sent
//! the session is what it was, and a viewer who comes back goes on with it.

use std::time::Instant;

use super::super::effect::{Effects, Event};
use super::super::end::End;
use super::super::grant::AskKind;
use super::super::policy::Policy;
use super::super::state::{Session, State};

/// What a session needs to go on after it was zapped away.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Away {
    /// When its next beat is due; none where it could not go on.
    pub(super) beat: Option<Instant>,
    since: Instant,
}

impl Away {
    /// It could go on, with this beat.
    pub(super) fn could_go_on(self, beat: Instant) -> Self {
        Self { beat: Some(beat), ..self }
    }
}

impl Session {
    /// The device starts something else. The close is sent at `close`, if the lane is free by then.
    pub(super) fn zap(&mut self, now: Instant, close: Instant, policy: &Policy, fx: &mut Effects) {
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
        // One that owes its open would come back with its credit made new.
        let opening = asked && matches!(self.state, State::Opening { .. });
        self.end(now, End::Zapped, policy, fx);
        if let State::Closing { tries, why, .. } = self.state
            && (beat.is_some() || opening)
        {
            self.away = Some(Away { beat, since: now });
            self.enter(State::Closing { next: close, tries, why });
        }
    }

    /// Whether the viewer may come back to it: its close is not sent, and it could go on.
    pub(in crate::session) fn may_return(&self, now: Instant, policy: &Policy) -> bool {
        let unsent = matches!(self.state, State::Closing { tries: 0, why: End::Zapped, .. });
        let Some(away) = self.away.filter(|away| unsent && now < away.since + policy.re_entry) else { return false };
        match self.lane.map(|lane| lane.ask) {
            Some(AskKind::Close) => false,
            Some(AskKind::Open) => true,
            None | Some(AskKind::Beat | AskKind::Renew) => self.grant.is_some() && away.beat.is_some(),
        }
    }

    pub(super) fn come_back(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        if !self.may_return(now, policy) {
            return;
        }
        let opening = self.lane.filter(|lane| lane.ask == AskKind::Open);
        let next = match (opening, self.away.and_then(|away| away.beat)) {
            (Some(lane), _) => State::Opening { held: false, since: lane.since },
            (None, Some(beat)) => State::Live { beat },
            (None, None) => return,
        };
        self.heard(now);
        self.enter(next);
        self.away = None;
        fx.note(Event::Returned);
    }
}
