//! Decides between playbacks of a device beyond its limit: which one gives way, and which one comes back.
//!
//! [`super::super::preload_or_zap`] judges two of them; this module chooses the two and carries out the outcome.

use super::super::end_reason::EndReason;
use super::super::input::Input;
use super::super::playback::Playback;
use super::super::player_report::PlayingState;
use super::super::policy::Policy;
use super::super::preload_or_zap::{
    CONTEST_POLL_INTERVAL, ContestOutcome, MAX_UNDECIDED_WAIT, NewerPlayback, OlderPlayback, QUIET_PLAYBACK_TIME, judge,
};
use super::super::state::{BeatSource, Session, SessionState};
use super::Device;
use super::device_step::DeviceStep;
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

impl<C> Playback<C> {
    /// True if it has its place, or plays on credit.
    pub(super) fn plays_on(&self) -> bool {
        self.session.state().has_begun()
    }

    /// True if its open was refused, or its player received nothing.
    fn came_to_nothing(&self) -> bool {
        let over = match self.session.state().end_reason() {
            Some(why) => !matches!(why, EndReason::GaveWay | EndReason::Zapped),
            None => matches!(self.session.state(), SessionState::Closed { .. }),
        };
        over && self.session.is_unused()
    }

    /// True while the outcome of its first call is unknown.
    pub(super) fn is_undecided(&self, now: MonotonicTime) -> bool {
        let asked = match self.session.state() {
            SessionState::Waiting { .. } => now,
            SessionState::Opening { since } | SessionState::Owing { since, .. } => *since,
            SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Sharing { .. } => {
                self.session.last_good()
            }
            SessionState::Closed { .. } | SessionState::Closing { .. } | SessionState::Killed { .. } => return false,
        };
        self.session.has_asked() && now < asked + MAX_UNDECIDED_WAIT
    }

    /// True if a call waits for it, or for its license, and will go on in a moment. If it gave way before, the call
    /// would take it back, and so on.
    pub(super) fn is_awaited(&self, now: MonotonicTime) -> bool {
        let life = self.session.life();
        self.is_undecided(now) || (life.calls() && now < life.last() + MAX_UNDECIDED_WAIT)
    }

    pub(super) fn has_nothing(&self) -> bool {
        self.session.has_nothing()
    }

    fn as_older(&self, streams: bool, policy: &Policy) -> OlderPlayback {
        let (life, round) = (self.session.life(), self.session.round());
        let by_timer = self.session.beats() == BeatSource::Timer;
        let quiet = if by_timer { QUIET_PLAYBACK_TIME } else { round };
        OlderPlayback {
            by_timer,
            done: matches!(self.session.playing(), Some(PlayingState::Done | PlayingState::Fails))
                || self.has_nothing(),
            flows: life.beside(streams).flows(),
            last: life.last(),
            preloads: life.preloads(),
            overdue_at: self.session.evidence.spare(life.last() + round + policy.grace),
            quiet_at: self.session.evidence.spare(life.last() + quiet),
            said: life.said(),
        }
    }

    fn as_newer(&self, streams: bool) -> NewerPlayback {
        NewerPlayback { is_served: self.session.is_served(), life: self.session.life().beside(streams) }
    }
}

impl<C> Device<C> {
    /// The playback beside which this one opens, if the others take all places.
    pub(super) fn beside(&self, id: SessionId, policy: &Policy) -> Option<&Playback<C>> {
        let others: Vec<_> = self.playing().into_iter().filter(|p| p.id != id).collect();
        let is_full = others.len() >= policy.sessions_per_device;
        most_silent(others.into_iter()).filter(|_| is_full)
    }

    /// Looks at all changes: ends, gives way or takes back playbacks.
    pub(super) fn settle_contests(&mut self, step: &mut DeviceStep<'_>) {
        if self.playbacks.len() < 2 {
            return self.take_back_wanted(step);
        }
        self.return_for_nothing(step);
        self.take_back_wanted(step);
        self.end_what_is_known_to_be_over(step);
        self.give_preloads_up(step);
        let Some((older, newer)) = self.contest(step.policy) else { return };
        match judge(step.now, &self.as_older(older, step.policy), &self.as_newer(newer)) {
            ContestOutcome::GoOn(look) => {
                let newer = newer.id;
                if let (Some(look), Some(newer)) = (look, self.playback_mut(newer)) {
                    newer.session.look_at(look);
                }
            }
            ContestOutcome::NewerGivesWay => {
                let (newer, older) = (newer.id, older.id);
                self.presume_over(newer, older, step);
            }
            ContestOutcome::OlderGivesWay => {
                let (newer, older) = (newer.id, older.id);
                self.presume_over(older, newer, step);
            }
            ContestOutcome::OlderIsOver | ContestOutcome::TwoViewers => {
                let older = older.id;
                self.step(older, Input::End(EndReason::Zapped), step);
            }
        }
    }

    /// Playbacks with a session of their own: only these can be one too many.
    pub(super) fn alone(&self) -> impl DoubleEndedIterator<Item = &Playback<C>> {
        self.playbacks.iter().filter(|p| p.is_alone())
    }

    /// True if the first one began before the other.
    pub(super) fn is_older(&self, one: SessionId, other: SessionId) -> bool {
        let at = |id| self.playbacks.iter().position(|p| p.id == id);
        at(one) < at(other)
    }

    pub(super) fn playing(&self) -> Vec<&Playback<C>> {
        self.alone().filter(|p| p.plays_on()).collect()
    }

    fn contest(&self, policy: &Policy) -> Option<(&Playback<C>, &Playback<C>)> {
        let mut playing = self.playing();
        if playing.len() <= policy.sessions_per_device {
            return None;
        }
        let newer = playing.pop()?;
        Some((most_silent(playing.into_iter())?, newer))
    }

    pub(super) fn as_newer(&self, newer: &Playback<C>) -> NewerPlayback {
        newer.as_newer(self.streams())
    }

    pub(super) fn as_older(&self, older: &Playback<C>, policy: &Policy) -> OlderPlayback {
        older.as_older(self.streams(), policy)
    }

    /// True if media of the device pass through sidebeat.
    fn streams(&self) -> bool {
        self.playbacks.iter().any(|p| p.session.life().streams())
    }

    fn presume_over(&mut self, id: SessionId, to: SessionId, step: &mut DeviceStep<'_>) {
        match self.playback_mut(id) {
            Some(playback) if playback.is_awaited(step.now) => {
                playback.session.look_at(step.now + CONTEST_POLL_INTERVAL)
            }
            Some(_) | None => self.give_way(id, to, step),
        }
    }

    pub(super) fn give_way(&mut self, id: SessionId, to: SessionId, step: &mut DeviceStep<'_>) {
        let Some(playback) = self.playback_mut(id) else { return };
        playback.order.gave_way(to);
        self.step(id, Input::GiveWay, step);
    }

    /// Takes back playbacks whose successor came to nothing, once: if there is no place for them either, they are not
    /// requested again and again.
    fn return_for_nothing(&mut self, step: &mut DeviceStep<'_>) {
        let nothing = |to: SessionId| self.playbacks.iter().any(|p| p.id == to && p.came_to_nothing());
        let back =
            self.playbacks.iter().filter(|p| p.session.gives_way() && p.order.gave_way_to().is_some_and(nothing));
        for id in back.map(|p| p.id).collect::<Vec<_>>() {
            self.playback_mut(id).into_iter().for_each(|playback| playback.order.waits_for_nothing());
            self.take_back(id, step);
        }
    }

    /// The playback that a yielding one waits for. If that has given way itself, it waits for that one's successor.
    fn waits_for(&self, playback: &Playback<C>) -> Option<SessionId> {
        let mut to = playback.order.gave_way_to()?;
        for _ in 0..self.playbacks.len() {
            let next = self.playbacks.iter().find(|p| p.id == to && p.session.gives_way());
            let Some(next) = next.and_then(|p| p.order.gave_way_to()) else { break };
            to = next;
        }
        Some(to)
    }

    fn take_back_wanted(&mut self, step: &mut DeviceStep<'_>) {
        let away = self.playbacks.iter().filter(|p| p.session.gives_way() && self.is_wanted_back(p, step.now));
        let waits = |p: &Playback<C>| {
            let to = self.waits_for(p);
            self.playbacks.iter().any(|r| Some(r.id) == to && r.is_undecided(step.now))
        };
        for (id, waits) in away.map(|p| (p.id, waits(p))).collect::<Vec<_>>() {
            if waits {
                self.playback_mut(id).into_iter().for_each(|p| p.session.look_at(step.now + CONTEST_POLL_INTERVAL));
            } else {
                self.take_back(id, step);
            }
        }
    }

    fn take_back(&mut self, id: SessionId, step: &mut DeviceStep<'_>) {
        let wish = self.wishes;
        if let Some(playback) = self.playback_mut(id) {
            playback.order.called_back(wish);
        }
        self.step(id, Input::TakeBack, step);
    }

    /// True if its player wants it back. A preload's beginning is fetched until moments after it gave way, so such
    /// media mean nothing once another playback has gone meanwhile.
    fn is_wanted_back(&self, playback: &Playback<C>, now: MonotonicTime) -> bool {
        let Session { way_back, .. } = &playback.session;
        let life = playback.session.life();
        // A player's report is news after a refusal, and so is a call if none waited at that time.
        let is_news = |was_told: bool| life.plays() || (life.calls() && !was_told);
        if !life.wants_it() || way_back.is_refused(now, is_news) {
            return false;
        }
        let mut others = self.alone().filter(|p| p.session.is_active());
        let said_later = |p: &Playback<C>| p.session.life().plays() && p.session.life().said() > life.said();
        let is_preload = others.any(|p| self.is_older(p.id, playback.id) || said_later(p));
        let flows = now < life.last() + QUIET_PLAYBACK_TIME && (!is_preload || life.streams_on());
        life.calls() || life.plays() || life.renews() || flows
    }

    /// Ends playbacks whose successor's player reports that it plays. Such a report is certain, but does not outweigh
    /// later signs of others.
    fn end_what_is_known_to_be_over(&mut self, step: &mut DeviceStep<'_>) {
        let plays =
            |p: &&Playback<C>| p.is_alone() && p.plays_on() && p.session.is_served() && p.session.life().plays();
        let Some(at) = self.playbacks.iter().rposition(|p| plays(&p)) else { return };
        let Some((id, said)) = self.playbacks.get(at).map(|p| (p.id, p.session.life().said())) else { return };
        let one_place = step.policy.sessions_per_device == 1;
        let over = self.playbacks.iter().take(at).filter(|p| {
            let life = p.session.life();
            p.session.gives_way() && !life.preloads() && life.said() <= said && Some(life.last()) <= said
        });
        let over = over.filter(|p| one_place || self.waits_for(p) == Some(id)).map(|p| p.id);
        for id in over.collect::<Vec<_>>() {
            self.step(id, Input::End(EndReason::Zapped), step);
        }
    }

    /// Keeps one preload beside the playing ones: of the later playbacks the one with the newest wish that showed life
    /// last. Another one gives way, or the playback that it shows to be over.
    fn give_preloads_up(&mut self, step: &mut DeviceStep<'_>) {
        let playing = self.playing();
        let spares = || playing.iter().copied().skip(step.policy.sessions_per_device);
        let waits = self.alone().rfind(|p| p.session.is_held() || p.session.is_asking());
        let served =
            spares().filter(|p| p.session.is_served()).max_by_key(|p| (p.order.wish(), p.session.life().last()));
        let surplus: Vec<_> = spares()
            .filter_map(|p| {
                let newer = |other: &&Playback<C>| self.is_older(p.id, other.id);
                let other = served.filter(|served| served.id != p.id);
                let to = other.or_else(|| waits.filter(newer).filter(|_| p.has_nothing()))?;
                let older = most_silent(playing.iter().copied().filter(|other| self.is_older(other.id, p.id)));
                let is_preload = |older: &&Playback<C>| older.session.life().preloads() && !p.session.life().preloads();
                let streams = |older: &Playback<C>| {
                    p.session.life().streams_on() && older.session.life().last() < p.session.life().last()
                };
                let is_over =
                    |older: &&Playback<C>| match judge(step.now, &self.as_older(older, step.policy), &self.as_newer(p))
                    {
                        ContestOutcome::OlderGivesWay | ContestOutcome::OlderIsOver | ContestOutcome::TwoViewers => {
                            true
                        }
                        ContestOutcome::GoOn(_) | ContestOutcome::NewerGivesWay => streams(older),
                    };
                Some(
                    older
                        .filter(|older| is_preload(older) || is_over(older))
                        .map_or((p.id, to.id), |older| (older.id, p.id)),
                )
            })
            .collect();
        for (id, to) in surplus {
            self.presume_over(id, to, step);
        }
    }
}

pub(super) fn most_silent<'a, C>(playbacks: impl Iterator<Item = &'a Playback<C>>) -> Option<&'a Playback<C>> {
    playbacks.min_by_key(|p| p.session.life().last())
}
