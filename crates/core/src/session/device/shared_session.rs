//! Lets all playbacks of a device share one session, if the authority counts devices.
//!
//! The session is a playback of its own that no player calls ([`Role::DeviceSession`]). Those that share it
//! ([`Role::Sharing`]) show life and end by themselves, each by its own evidence. The session answers their players'
//! calls, and its fate is that of all that share it. It ends with the last of them. They do not compete, because
//! further playbacks of the device cost no place.

use super::super::effect::CallAnswer;
use super::super::end_reason::EndReason;
use super::super::grant::AskKind;
use super::super::input::{Input, LicenseFeedback};
use super::super::playback::{Playback, PlaybackStart};
use super::super::player_call::PlayerCall;
use super::super::player_evidence::GatheredEvidence;
use super::super::policy::Policy;
use super::super::role::Role;
use super::super::state::{BeatSource, Session, SessionClosure, SessionState};
use super::super::step::SharedFate;
use super::super::unconfirmed_run::UnconfirmedRun;
use super::super::verdict::{KillSource, Verdict};
use super::competing_playbacks::most_silent;
use super::device_step::DeviceStep;
use super::{Device, DeviceEffects};
use crate::secret::Fingerprint;
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

/// Playbacks that share a session. Another one ends the one that was silent for longest, once the new player has
/// received something: apps that change the title without a stop leave playbacks behind.
pub(super) const MAX_SHARING: usize = 16;

impl<C> Device<C> {
    /// Adds a playback with a session of its own, or one that shares its device's. `None` if there is no room.
    pub(super) fn begin_by_unit(
        &mut self,
        call: &PlayerCall,
        mut start: impl FnMut() -> Option<PlaybackStart<C>>,
        step: &mut DeviceStep<'_>,
    ) -> Option<usize> {
        if self.is_unsettled(step.policy) {
            return None;
        }
        let begun = start()?;
        if !step.policy.shares_session {
            return Some(self.begin(call, begun, step));
        }
        let same = |p: &Playback<C>| p.is_of(call) || p.plays(call.content);
        let spent = self.playbacks.iter().any(|p| p.session.has_spent() && same(p));
        let shared = |p: &&Playback<C>| p.is_device_session() && p.session.is_active() && p.account == begun.account;
        let session = match self.playbacks.iter().find(shared).map(|p| p.id) {
            Some(session) => session,
            None => self.begin_session(call, start()?, (begun.id, spent), step),
        };
        self.end_most_silent(session, false, step);
        self.forget_all(|p| p.is_spent() && same(p), step.out);
        self.forget_surplus(step.out);
        let seed = begun.seed;
        let mut playback = Playback::begin(begun, step.now, call, step.policy);
        playback.role = Role::Sharing(session);
        playback.session = Session::sharing(step.now, seed, step.policy);
        let beside = call.content_token.filter(|token| call.token != Some(*token));
        let id = playback.id;
        self.playbacks.reserve_exact(1);
        self.playbacks.push(playback);
        beside.into_iter().for_each(|token| self.learn_token(id, token));
        self.start_shared(session, step);
        Some(self.playbacks.len() - 1)
    }

    /// `first`: the playback that opens it. `spent`: an earlier one of the same content has used its credit.
    fn begin_session(
        &mut self,
        call: &PlayerCall,
        start: PlaybackStart<C>,
        (first, spent): (SessionId, bool),
        step: &DeviceStep<'_>,
    ) -> SessionId {
        let id = start.id;
        let mut playback = Playback::begin_device_session(start, step.now, call, step.policy, first);
        playback.session.unconfirmed = UnconfirmedRun::new(spent);
        self.playbacks.reserve_exact(1);
        self.playbacks.push(playback);
        id
    }

    /// Like [`Playback::answers_to`], for the playback of this id, or one that shares the session of this id.
    pub fn answers_to(&self, id: SessionId, token: Fingerprint) -> bool {
        let is_it = |p: &&Playback<C>| p.id == id || p.shares() == Some(id);
        self.playbacks.iter().filter(is_it).any(|p| p.answers_to(token))
    }

    fn sharing(&self, session: SessionId) -> impl DoubleEndedIterator<Item = &Playback<C>> {
        self.playbacks.iter().filter(move |p| p.role == Role::Sharing(session))
    }

    /// Ends the most silent playback beyond the limit, among those whose players have (`served`) or have not received
    /// something. A call that is not accepted yet may be anybody's, so it ends only others like it.
    fn end_most_silent(&mut self, session: SessionId, served: bool, step: &mut DeviceStep<'_>) {
        let active = || self.sharing(session).filter(|p| p.session.is_active());
        let alike = || active().filter(|p| p.session.is_served() == served);
        let is_full = if served { alike().count() > MAX_SHARING } else { active().count() >= MAX_SHARING };
        let surplus = most_silent(alike()).filter(|_| is_full).map(|p| p.id);
        if let Some(id) = surplus {
            self.step(id, Input::End(EndReason::Zapped), step);
        }
    }

    /// Like [`Device::deliver`], for a session and the playbacks that share it.
    pub(super) fn deliver_by_role(
        &mut self,
        id: SessionId,
        input: Input,
        step: &mut DeviceStep<'_>,
    ) -> Option<CallAnswer> {
        let (role, active) = self.playbacks.iter().find(|p| p.id == id).map(|p| (p.role, p.session.is_active()))?;
        match (role, input) {
            (Role::Sharing(session), input @ (Input::RetryCall(_) | Input::Call(_))) if active => {
                self.step(id, input.clone(), step);
                let answer = self.step(session, input, step);
                if matches!(answer, Some(CallAnswer::Renew(..))) {
                    self.playback_mut(session).into_iter().for_each(|playback| playback.renewed_by = Some(id));
                }
                answer
            }
            (Role::Sharing(session), Input::Answered(ticket, ask, result)) => {
                let renewed =
                    ask == AskKind::Renew && matches!(result, Ok(Verdict::Alive { .. } | Verdict::Granted(_)));
                if renewed {
                    self.step(id, Input::Served(LicenseFeedback::Renews { every: None }), step);
                    self.step(id, Input::Used, step);
                }
                self.step(session, Input::Answered(ticket, ask, result), step)
            }
            (Role::Sharing(session), Input::Kill(by)) if self.playbacks.iter().any(|p| p.id == session) => {
                self.step(session, Input::Kill(by), step)
            }
            (Role::Sharing(session), Input::Forgive) => self.forgive(session, step),
            (Role::DeviceSession { .. }, Input::Forgive) => self.forgive(id, step),
            (Role::Alone | Role::DeviceSession { .. } | Role::Sharing(_), input) => self.step(id, input, step),
        }
    }

    fn forgive(&mut self, session: SessionId, step: &mut DeviceStep<'_>) -> Option<CallAnswer> {
        let killed: Vec<_> = self.sharing(session).filter(|p| p.session.is_killed()).map(|p| p.id).collect();
        for id in killed {
            self.step(id, Input::Forgive, step);
        }
        self.step(session, Input::Forgive, step)
    }

    /// Updates all after an input to this playback or session.
    pub(super) fn settle_shared(&mut self, id: SessionId, step: &mut DeviceStep<'_>) {
        let sessions = self.playbacks.iter().filter(|p| p.is_device_session()).map(|p| p.id);
        for session in sessions.collect::<Vec<_>>() {
            self.try_another_token(session, step);
            self.start_shared(session, step);
            let by = self.playbacks.iter().find(|p| p.id == session).and_then(|p| p.session.killed_by());
            let is_ordered = by.is_some_and(|by| by.source() == KillSource::Operator);
            let follows = |p: &&Playback<C>| p.session.is_active() || (is_ordered && p.is_over());
            for one in self.sharing(session).filter(follows).map(|p| p.id).collect::<Vec<_>>() {
                self.follow(one, session, step);
            }
            self.end_most_silent(session, true, step);
            self.gather(session, step.now);
            self.end_with_the_last(session, id, step);
        }
    }

    /// After a restart, once all records of the device were restored: ends playbacks whose session is unknown, and a
    /// session without playbacks.
    pub fn rejoin(&mut self, now: MonotonicTime, policy: impl Fn(&C) -> Policy, out: &mut DeviceEffects) {
        let is_known = |session| self.playbacks.iter().any(|p| p.id == session);
        let lost = |p: &&Playback<C>| p.shares().is_some_and(|session| !is_known(session)) && p.session.is_active();
        for (id, policy) in self.playbacks.iter().filter(lost).map(|p| (p.id, policy(&p.entry))).collect::<Vec<_>>() {
            self.step(id, Input::End(EndReason::Orphaned), &mut DeviceStep { now, policy: &policy, out });
        }
        let shared = self.playbacks.iter().find(|p| p.is_device_session()).map(|p| (p.id, policy(&p.entry)));
        if let Some((session, policy)) = shared {
            self.settle_shared(session, &mut DeviceStep { now, policy: &policy, out });
        }
    }

    /// Starts the session once its account has no other session to give back at this device.
    fn start_shared(&mut self, session: SessionId, step: &mut DeviceStep<'_>) {
        let Some(held) = self.playbacks.iter().find(|p| p.id == session && p.session.is_held()) else { return };
        let mut others = self.playbacks.iter().filter(|p| p.is_device_session() && p.account == held.account);
        if !others.any(|p| p.session.takes_place()) {
            self.step(session, Input::Start, step);
        }
    }

    /// `step` may be of another playback's route. How long a kill is remembered is the follower's own; what it may end by
    /// from now on is looked up at its next tick, which comes at once.
    fn follow(&mut self, id: SessionId, session: SessionId, step: &mut DeviceStep<'_>) {
        let Some(fate) = self.playback(session).and_then(|p| p.session.fate()) else { return };
        let Some(one) = self.playback_mut(id) else { return };
        if let (SharedFate::Plays { interval }, false) = (&fate, one.session.waits()) {
            return one.session.share(*interval);
        }
        let policy = Policy { kill_memory: one.kill_memory, ..step.policy.clone() };
        let DeviceStep { now, out, .. } = step;
        self.step(id, Input::Followed(fate), &mut DeviceStep { now: *now, policy: &policy, out });
        let active = self.playback_mut(id).filter(|p| p.session.is_active());
        active.into_iter().for_each(|p| p.session.look_at(*now));
    }

    /// The session's content token is no good: tries that of another waiting playback, which must not be refused for
    /// it.
    fn try_another_token(&mut self, session: SessionId, step: &mut DeviceStep<'_>) {
        let Some(playback) = self.playbacks.iter().find(|p| p.id == session) else { return };
        let SessionState::Closed { why: SessionClosure::Denied(denial, _), .. } = playback.session.state() else {
            return;
        };
        let (Role::DeviceSession { by }, false) = (playback.role, denial.may_pass()) else { return };
        let used = playback.first_token();
        let other = |p: &&Playback<C>| p.session.is_active() && p.first_token().is_some() && p.first_token() != used;
        let Some((next, token)) = self.sharing(session).find(other).map(|p| (p.id, p.first_token())) else { return };
        let alike = self.sharing(session).filter(|p| p.session.is_active() && (p.id == by || p.first_token() == used));
        for id in alike.map(|p| p.id).collect::<Vec<_>>() {
            self.follow(id, session, step);
        }
        if let Some(playback) = self.playback_mut(session) {
            playback.session.open_anew(step.now, step.policy);
            playback.opened_by(next, token);
        }
    }

    /// Gives the session the evidence of those that share it.
    fn gather(&mut self, session: SessionId, now: MonotonicTime) {
        let active = || self.sharing(session).filter(|p| p.session.is_active());
        let served = || active().filter(|p| p.session.is_served());
        let newest = served().rfind(|p| p.names.is_accepted()).map(|p| (p.id, p.first_token()));
        let gathered = GatheredEvidence {
            last_sign: active().map(|p| p.session.last_sign()).max(),
            renewed: served().all(|p| matches!(p.session.beats(), BeatSource::Renewals { .. })),
            served: served().next().is_some(),
            stream: active().map(|p| p.session.stream()).reduce(|one, other| one.filter(|_| one == other)).flatten(),
        };
        let Some(playback) = self.playback_mut(session) else { return };
        // The outcome of a pending open belongs to the token that it was sent with.
        let opens = playback.session.calls.is_asking(AskKind::Open);
        if let Some((id, token)) = newest.filter(|_| !opens) {
            playback.opened_by(id, token);
        }
        playback.session.gathered(now, &gathered);
    }

    /// Ends the session with the last playback. `last`: the one that had the latest input.
    fn end_with_the_last(&mut self, session: SessionId, last: SessionId, step: &mut DeviceStep<'_>) {
        let is_over = |p: &Playback<C>| !p.session.is_active();
        let alive = self.playbacks.iter().any(|p| p.id == session && !is_over(p));
        if !alive || !self.sharing(session).all(is_over) {
            return;
        }
        let why = |p: &Playback<C>| p.session.state().end_reason();
        let said = self.sharing(session).find(|p| p.id == last).and_then(why);
        let why = said.or_else(|| self.sharing(session).rev().find_map(why)).unwrap_or(EndReason::Orphaned);
        self.step(session, Input::End(why), step);
    }
}
