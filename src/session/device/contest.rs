//! Playbacks of one device that are one too many beside each other: who gives way to whom, and who comes back.
//!
//! The judge is [`super::super::contest`]; here it is decided who stands before it, and what follows.

use std::time::Instant;

use super::super::call::{Call, CallKind};
use super::super::contest::{Newer, Older, Outcome, QUIET, judge};
use super::super::end::End;
use super::super::grant::AskKind;
use super::super::input::Input;
use super::super::life::Life;
use super::super::playback::{Playback, Yields};
use super::super::policy::Policy;
use super::super::report::Playing;
use super::super::state::{Beats, Over, Session, State, Use};
use super::super::verdict::Verdict;
use super::place::Place;
use super::{Device, Outbox};
use crate::ids::SessionId;

impl<C> Playback<C> {
    /// It has its place, or plays on credit.
    fn plays_on(&self) -> bool {
        self.session.is_active() && !matches!(self.session.state(), State::Opening { .. })
    }

    /// Its open was refused, or its player got nothing by it.
    fn came_to_nothing(&self) -> bool {
        let over = match self.session.state() {
            State::Closed { why: Over::Ended(why), .. } | State::Closing { why, .. } => {
                !matches!(why, End::GaveWay | End::Zapped)
            }
            State::Closed { .. } => true,
            State::Failing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. } => false,
        };
        over && self.session.is_unused()
    }

    fn has_nothing(&self) -> bool {
        self.session.usage == Use::Nothing
    }

    fn as_older(&self, newer: SessionId, policy: &Policy) -> Older {
        let Session { life, beats, .. } = &self.session;
        let (by_timer, round) = (*beats == Beats::Timer, self.session.round());
        let quiet = if by_timer { QUIET } else { round };
        Older {
            by_timer,
            done: matches!(self.session.playing(), Some(Playing::Done | Playing::Fails)) || self.has_nothing(),
            has_returned: self.yields.has_been_to(newer),
            last: life.last,
            overdue_at: self.session.spare(life.last + round + policy.grace),
            quiet_at: self.session.spare(life.last + quiet),
        }
    }

    fn as_newer(&self) -> Newer {
        Newer { is_served: self.session.is_served(), life: self.session.life }
    }
}

impl<C> Device<C> {
    /// The one that is preloaded, as far as anybody knows: its place is another device's if that needs it.
    pub fn spare(&self, policy: &Policy) -> Option<SessionId> {
        let playing = self.playing();
        let newest = playing.last().filter(|_| playing.len() > policy.sessions_per_device)?;
        (!newest.session.life.plays).then_some(newest.id)
    }

    /// The playback that this one is opened beside, where the device has its places without it.
    pub(super) fn beside(&self, id: SessionId, policy: &Policy) -> Option<&Playback<C>> {
        let others: Vec<_> = self.playing().into_iter().filter(|p| p.id != id).collect();
        let is_full = others.len() >= policy.sessions_per_device;
        most_silent(others.into_iter()).filter(|_| is_full)
    }

    /// The authority has no place for this one, which proves that it knows its token: so another of the device gives
    /// way, of those that are `alike` counted by it. False where none does.
    pub fn turn(
        &mut self,
        id: SessionId,
        now: Instant,
        alike: impl Fn(&C) -> bool,
        policy: &Policy,
        out: &mut Outbox,
    ) -> bool {
        let Some(asks) = self.playbacks.iter().find(|p| p.id == id) else { return false };
        let Session { life, returns, .. } = asks.session;
        if !asks.session.is_active() || asks.session.is_held() || (returns && !life.wants_it()) {
            return false;
        }
        let others = self.playbacks.iter().filter(|p| p.id != id && p.session.is_active() && !p.session.is_held());
        let others: Vec<_> = others.filter(|p| alike(&p.card)).collect();
        let known = others.iter().find(|p| asks.yields.to == Some(p.id)).copied().filter(|_| returns);
        let spare = others.last().copied().filter(|_| others.len() > policy.sessions_per_device);
        let Some(rival) = known.or(spare).or_else(|| most_silent(others.into_iter())) else { return false };
        let asks_for_license = life.calls && !life.renewed;
        let gives_way = match (returns, self.is_older(id, rival.id)) {
            (false, _) => true,
            (true, true) => !rival.session.life.plays,
            // Its viewer has gone back to it.
            (true, false) if asks_for_license => true,
            // Its player shows something of it, and the other one must have ended.
            (true, false) => {
                let newer = Newer { is_served: true, life: asks.session.life };
                matches!(judge(now, &rival.as_older(id, policy), &newer), Outcome::OlderGivesWay | Outcome::OlderIsOver)
            }
        };
        let rival = rival.id;
        if gives_way && asks_for_license {
            // Perhaps for the sound of what is preloaded: no evidence that the other one is over.
            self.playback_mut(rival).into_iter().for_each(|rival| rival.yields = Yields::default());
        }
        if gives_way {
            self.give_way(rival, id, now, policy, out);
        }
        gives_way
    }

    /// The authority has no place for it, and a newer one of the device has its place: this one has lost its turn.
    pub(super) fn is_lost_turn(&self, id: SessionId, input: &Input) -> bool {
        let Input::Answered(ticket, AskKind::Open, Ok(Verdict::Denied(denial, _))) = input else { return false };
        let Some(at) = self.playbacks.iter().position(|p| p.id == id) else { return false };
        let is_of = |p: &Playback<C>| p.session.is_asking() && p.session.lane.is_some_and(|l| l.ticket == *ticket);
        let [asks, newer @ ..] = self.playbacks.get(at..).unwrap_or_default() else { return false };
        let plays = newer.iter().any(|p| p.session.is_active() && !p.session.is_held());
        denial.may_pass() && is_of(asks) && !asks.session.returns && plays
    }

    /// Whether this call's player asks again by itself for what its device went away from.
    pub(super) fn is_turned_away(&mut self, place: &Place, now: Instant, call: &Call, policy: &Policy) -> bool {
        let at = match place {
            Place::At(index) => self.playbacks.get(*index).filter(|p| p.session.gives_way()),
            Place::Expired | Place::Fresh | Place::Nowhere => None,
        };
        let known = |p: &Playback<C>| call.key_session.is_some_and(|key_session| p.has_key_session(key_session));
        // Its license had not come when it gave way. A viewer who presses play again begins another key session.
        let is_retry = at.is_some_and(|p| p.session.is_unused() && known(p)) && call.kind == CallKind::License;
        let begins = at.is_some() || place.begins();
        if is_retry {
            self.turned.note(now, call, policy);
        }
        is_retry || (begins && self.is_full(policy) && self.turned.is_retry(now, call, policy))
    }

    /// Looks at what has changed: who comes back, and who is over.
    pub(super) fn settle_contests(&mut self, now: Instant, policy: &Policy, out: &mut Outbox) {
        if self.playbacks.len() < 2 {
            return self.take_back_wanted(now, policy, out);
        }
        self.return_for_nothing(now, policy, out);
        self.take_back_wanted(now, policy, out);
        self.end_what_is_known_to_be_over(now, policy, out);
        self.give_preloads_up(now, policy, out);
        let Some((older, newer)) = self.contest(policy) else { return };
        match judge(now, &older.as_older(newer.id, policy), &newer.as_newer()) {
            Outcome::GoOn(look) => {
                let newer = newer.id;
                if let (Some(look), Some(newer)) = (look, self.playback_mut(newer)) {
                    newer.session.deadline = newer.session.deadline.map(|deadline| deadline.min(look));
                }
            }
            Outcome::NewerGivesWay => {
                let (newer, older) = (newer.id, older.id);
                self.give_way(newer, older, now, policy, out);
            }
            Outcome::OlderGivesWay => {
                let (newer, older) = (newer.id, older.id);
                self.give_way(older, newer, now, policy, out);
            }
            Outcome::OlderIsOver => {
                let older = older.id;
                self.step(older, now, Input::End(End::Zapped), policy, out);
            }
        }
    }

    /// They stand in the order of their beginning.
    fn is_older(&self, one: SessionId, other: SessionId) -> bool {
        let at = |id| self.playbacks.iter().position(|p| p.id == id);
        at(one) < at(other)
    }

    fn playing(&self) -> Vec<&Playback<C>> {
        self.playbacks.iter().filter(|p| p.plays_on()).collect()
    }

    fn contest(&self, policy: &Policy) -> Option<(&Playback<C>, &Playback<C>)> {
        let mut playing = self.playing();
        if playing.len() <= policy.sessions_per_device {
            return None;
        }
        let newer = playing.pop()?;
        Some((most_silent(playing.into_iter())?, newer))
    }

    /// Who gave way to the same newer one before, and came back, is over when that one comes back as well: two titles
    /// do not take turns for ever.
    fn give_way(&mut self, id: SessionId, to: SessionId, now: Instant, policy: &Policy, out: &mut Outbox) {
        let is_older = self.is_older(id, to);
        let Some(playback) = self.playback_mut(id) else { return };
        let again = playback.yields.has_been_to(to) && is_older;
        playback.yields.note(to);
        let input = if again { Input::End(End::Zapped) } else { Input::GiveWay };
        // Whoever gave way to this one waits for the other one from now on.
        for waiting in self.playbacks.iter_mut().filter(|p| p.yields.to == Some(id) && p.session.gives_way()) {
            waiting.yields = Yields { to: Some(to), times: 1 };
        }
        self.step(id, now, input, policy, out);
    }

    /// What it gave way to came to nothing.
    fn return_for_nothing(&mut self, now: Instant, policy: &Policy, out: &mut Outbox) {
        let nothing = |to: SessionId| self.playbacks.iter().any(|p| p.id == to && p.came_to_nothing());
        let back = self.playbacks.iter().filter(|p| p.session.gives_way() && p.yields.to.is_some_and(nothing));
        for id in back.map(|p| p.id).collect::<Vec<_>>() {
            if let Some(playback) = self.playback_mut(id) {
                playback.yields = Yields::default();
            }
            self.step(id, now, Input::TakeBack, policy, out);
        }
    }

    fn take_back_wanted(&mut self, now: Instant, policy: &Policy, out: &mut Outbox) {
        let back = self.playbacks.iter().filter(|p| p.session.gives_way() && self.is_wanted_back(p, now));
        for id in back.map(|p| p.id).collect::<Vec<_>>() {
            self.step(id, now, Input::TakeBack, policy, out);
        }
    }

    /// The beginning of a preload is fetched until some moments after it gave way.
    fn is_wanted_back(&self, playback: &Playback<C>, now: Instant) -> bool {
        let Session { life, refused_back, .. } = &playback.session;
        // What the player says of itself is news to whoever refused.
        let is_refused = refused_back.as_ref().is_some_and(|(until, _)| now < *until) && !life.plays;
        if !life.wants_it() || is_refused {
            return false;
        }
        let mut others = self.playbacks.iter().filter(|p| p.session.is_active());
        let is_preload = others.any(|p| self.is_older(p.id, playback.id));
        life.calls || life.plays || life.renewed || !is_preload || life.segments > Life::PRELOADED
    }

    /// What the player itself says is no presumption.
    fn end_what_is_known_to_be_over(&mut self, now: Instant, policy: &Policy, out: &mut Outbox) {
        let plays = |p: &&Playback<C>| p.plays_on() && p.session.is_served() && p.session.life.plays;
        let Some(at) = self.playbacks.iter().rposition(|p| plays(&p)) else { return };
        let id = self.playbacks.get(at).map(|p| p.id);
        let one_place = policy.sessions_per_device == 1;
        let over = self.playbacks.iter().take(at).filter(|p| p.session.gives_way());
        let over = over.filter(|p| one_place || p.yields.to == id).map(|p| p.id);
        for id in over.collect::<Vec<_>>() {
            self.step(id, now, Input::End(End::Zapped), policy, out);
        }
    }

    /// One preload is kept beside what plays: the last one that reached its player.
    fn give_preloads_up(&mut self, now: Instant, policy: &Policy, out: &mut Outbox) {
        let playing = self.playing();
        let spares = playing.iter().skip(policy.sessions_per_device);
        let waits = self.playbacks.iter().rfind(|p| p.session.is_held() || p.session.is_asking());
        let served = playing.iter().rfind(|p| p.session.is_served());
        let surplus: Vec<_> = spares
            .filter_map(|p| {
                let newer = |other: &&Playback<C>| self.is_older(p.id, other.id);
                let to = served.copied().filter(newer).or_else(|| waits.filter(newer).filter(|_| p.has_nothing()))?;
                Some((p.id, to.id))
            })
            .collect();
        for (id, to) in surplus {
            self.give_way(id, to, now, policy, out);
        }
    }
}

fn most_silent<'a, C>(playbacks: impl Iterator<Item = &'a Playback<C>>) -> Option<&'a Playback<C>> {
    playbacks.min_by_key(|p| p.session.life.last)
}
