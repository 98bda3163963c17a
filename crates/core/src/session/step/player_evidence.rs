//! What a player shows of itself beside its calls: reports, the media that it fetches, and what its
//! licenses say; what the clock brings to its programme.

use std::time::{Duration, Instant};

use super::super::effect::SessionEvent;
use super::super::end_reason::EndReason;
use super::super::input::LicenseFeedback;
use super::super::life_signs::LifeSigns;
use super::super::player_report::{MediaFetch, PlayerReport, PlayingState, ReportHistory};
use super::super::policy::Policy;
use super::super::state::{BeatSource, Session, SessionState};
use super::context::Step;
use super::deadlines::bounded;
use crate::session::Enforcement;

impl Session {
    pub(super) fn media(
        &mut self,
        now: Instant,
        MediaFetch { again, leads_past, segment, stream }: MediaFetch,
        policy: &Policy,
    ) {
        self.alone = None;
        self.fetches(now, segment);
        match self.state {
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => {
                self.leads_past = leads_past.unwrap_or(self.leads_past);
                self.again = again.filter(|_| !self.leads_past);
                self.last_sign = now;
                self.asks_for_media(now);
                self.stream = policy.stream.or(stream).or(self.stream);
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Opening { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    pub(super) fn report(&mut self, report: PlayerReport, step: &mut Step<'_>) {
        self.alone = None;
        self.life.reported(step.now, &report);
        match self.state {
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => {
                self.stream = step.policy.stream.or(report.stream).or(self.stream);
                let before = self.playing();
                let reports = self
                    .reports
                    .map_or_else(|| ReportHistory::first(step.now, report), |known| known.next(step.now, report));
                self.reports = Some(reports);
                if before == Some(PlayingState::Paused) && !step.policy.beat_while_paused {
                    self.end_rest(step.now);
                }
                if before.is_some_and(|before| !before.is_under_way()) && reports.playing.is_under_way() {
                    self.resume(step.now, step.policy);
                }
                if report.playing == PlayingState::Plays && !report.starts {
                    self.use_it();
                }
                match reports.playing {
                    PlayingState::Quit if step.policy.endings.quit => self.end(EndReason::Quit, step),
                    PlayingState::Done | PlayingState::Fails if reports.is_last_word(before) => {
                        self.last_sign = step.now
                    }
                    PlayingState::Done | PlayingState::Fails | PlayingState::Quit => {}
                    PlayingState::Buffers
                    | PlayingState::Paused
                    | PlayingState::Plays
                    | PlayingState::Seeks
                    | PlayingState::Unsaid => {
                        self.last_sign = step.now;
                    }
                }
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Opening { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    /// It was not beaten while it paused, and its next beat is not late for that.
    pub(super) fn end_rest(&mut self, now: Instant) {
        match &mut self.state {
            SessionState::Live { beat } => *beat = (*beat).max(now),
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    /// The player plays again.
    fn resume(&mut self, now: Instant, policy: &Policy) {
        let half = self.interval().unwrap_or_default() / 2;
        match self.state {
            SessionState::Live { beat } if policy.beat_on_resume && now >= self.last_good() + half => {
                self.enter(SessionState::Live { beat: beat.min(now) });
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    /// One moment of the programme that has come. An end that had passed before the playback began is
    /// no reason to stop it: it shows what was.
    pub(super) fn reach(&mut self, step: &mut Step<'_>) {
        let Some((moment, running)) = self.schedule.take(step.now) else { return };
        step.note(SessionEvent::Reached(moment));
        if running && step.policy.stop_on_end && moment.ends_programme() {
            self.end(EndReason::Programme, step);
        }
    }

    pub(super) fn served(&mut self, served: LicenseFeedback, step: &mut Step<'_>) {
        match self.state {
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => {
                self.heard(step.now);
                match (step.policy.enforcement, served) {
                    // Whatever the route demands: without renewals nobody but we can keep the session.
                    (_, LicenseFeedback::NeverRenews) | (Enforcement::Auto, LicenseFeedback::Stays) => {
                        self.beats = BeatSource::Timer
                    }
                    (Enforcement::Auto, LicenseFeedback::Renews { every }) => self.carry(every, step),
                    (Enforcement::Auto, LicenseFeedback::Plain)
                    | (
                        Enforcement::Heartbeat | Enforcement::Renewal,
                        LicenseFeedback::Plain | LicenseFeedback::Renews { .. } | LicenseFeedback::Stays,
                    ) => {}
                }
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Opening { .. }
            | SessionState::Waiting { .. } => {}
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

    /// A playback of the same content and player, which began after this one.
    pub(in crate::session) fn comes_after(&mut self, now: Instant, earlier: &LifeSigns) {
        self.life = earlier.successor(now);
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
    pub(super) fn carry(&mut self, every: Option<Duration>, step: &mut Step<'_>) {
        if !step.policy.renews {
            return;
        }
        let known = match self.beats {
            BeatSource::Renewals { every } => every,
            BeatSource::Timer => {
                step.note(SessionEvent::RenewalsCarry);
                None
            }
        };
        self.beats = BeatSource::Renewals { every: every.map(bounded).or(known) };
    }
}
