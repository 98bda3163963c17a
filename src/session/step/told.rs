//! What a player shows of itself beside its calls: reports, the media that it fetches, and what its
//! licenses say; what the clock brings to its programme.

use std::time::{Duration, Instant};

use super::super::effect::{Effects, Event};
use super::super::end::End;
use super::super::input::Served;
use super::super::policy::Policy;
use super::super::report::{Media, Playing, Report, Reports};
use super::super::state::{Beats, Session, State};
use super::due::bounded;
use crate::config::Enforcement;

impl Session {
    pub(super) fn media(&mut self, now: Instant, Media { again, leads_past, segment, stream }: Media, policy: &Policy) {
        self.alone = None;
        self.fetches(now, segment);
        match self.state {
            State::Failing { .. } | State::Live { .. } | State::Owing { .. } => {
                self.leads_past = leads_past.unwrap_or(self.leads_past);
                self.again = again.filter(|_| !self.leads_past);
                self.last_sign = now;
                self.asks_for_media(now);
                self.stream = policy.stream.or(stream).or(self.stream);
            }
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } | State::Opening { .. } => {}
        }
    }

    pub(super) fn report(&mut self, now: Instant, report: Report, policy: &Policy, fx: &mut Effects) {
        self.alone = None;
        self.life.reported(now, &report);
        match self.state {
            State::Failing { .. } | State::Live { .. } | State::Owing { .. } => {
                self.stream = policy.stream.or(report.stream).or(self.stream);
                let before = self.playing();
                let reports = self.reports.map_or_else(|| Reports::first(now, report), |known| known.next(now, report));
                self.reports = Some(reports);
                if before == Some(Playing::Paused) && !policy.beat_while_paused {
                    self.end_rest(now);
                }
                if before.is_some_and(|before| !before.is_under_way()) && reports.playing.is_under_way() {
                    self.resume(now, policy);
                }
                if report.playing == Playing::Plays && !report.starts {
                    self.use_it();
                }
                match reports.playing {
                    Playing::Quit if policy.endings.quit => self.end(now, End::Quit, policy, fx),
                    Playing::Done | Playing::Fails if reports.is_last_word(before) => self.last_sign = now,
                    Playing::Done | Playing::Fails | Playing::Quit => {}
                    Playing::Buffers | Playing::Paused | Playing::Plays | Playing::Seeks | Playing::Unsaid => {
                        self.last_sign = now;
                    }
                }
            }
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } | State::Opening { .. } => {}
        }
    }

    /// It was not beaten while it paused, and its next beat is not late for that.
    fn end_rest(&mut self, now: Instant) {
        match &mut self.state {
            State::Live { beat } => *beat = (*beat).max(now),
            State::Closed { .. }
            | State::Closing { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Opening { .. }
            | State::Owing { .. } => {}
        }
    }

    /// The player plays again.
    fn resume(&mut self, now: Instant, policy: &Policy) {
        let half = self.interval().unwrap_or_default() / 2;
        match self.state {
            State::Live { beat } if policy.beat_on_resume && now >= self.last_good + half => {
                self.enter(State::Live { beat: beat.min(now) });
            }
            State::Closed { .. }
            | State::Closing { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. } => {}
        }
    }

    /// One moment of the programme that has come. An end that had passed before the playback began is
    /// no reason to stop it: it shows what was.
    pub(super) fn reach(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        let Some((moment, running)) = self.schedule.take(now) else { return };
        fx.note(Event::Reached(moment));
        if running && policy.stop_on_end && moment.ends_programme() {
            self.end(now, End::Programme, policy, fx);
        }
    }

    pub(super) fn served(&mut self, now: Instant, served: Served, policy: &Policy, fx: &mut Effects) {
        match self.state {
            State::Failing { .. } | State::Live { .. } | State::Owing { .. } => {
                self.heard(now);
                match (policy.enforcement, served) {
                    // Whatever the route demands: without renewals nobody but we can keep the session.
                    (_, Served::NeverRenews) | (Enforcement::Auto, Served::Stays) => self.beats = Beats::Timer,
                    (Enforcement::Auto, Served::Renews { every }) => self.carry(every, policy, fx),
                    (Enforcement::Auto, Served::Plain)
                    | (
                        Enforcement::Heartbeat | Enforcement::Renewal,
                        Served::Plain | Served::Renews { .. } | Served::Stays,
                    ) => {}
                }
            }
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } | State::Opening { .. } => {}
        }
    }

    /// What one that gave way had under way comes for a moment longer, and tells nothing but the way that its media take.
    fn fetches(&mut self, now: Instant, segment: bool) {
        const LEFT_OVER: Duration = Duration::from_secs(3);
        if !self.gives_way() || self.gave_way.is_none_or(|since| now >= since + LEFT_OVER) {
            self.life.fetched(now, segment);
        }
        self.life.streams |= segment;
    }

    /// The player called.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_call = now;
        self.last_sign = now;
        self.life.last = now;
    }

    /// It may come once more before its round and the authority's patience are over.
    pub(super) fn shows_renewal(&mut self, now: Instant, policy: &Policy) {
        self.life.renewed(now, self.round() + policy.grace);
    }

    /// From now on the player's renewals are the beats.
    pub(super) fn carry(&mut self, every: Option<Duration>, policy: &Policy, fx: &mut Effects) {
        if !policy.renews {
            return;
        }
        let known = match self.beats {
            Beats::Renewals { every } => every,
            Beats::Timer => {
                fx.note(Event::RenewalsCarry);
                None
            }
        };
        self.beats = Beats::Renewals { every: every.map(bounded).or(known) };
    }
}
