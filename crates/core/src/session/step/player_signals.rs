//! Applies a player's evidence beside its calls: reports, media requests and licenses; and the moments of its
//! programme.

use std::time::Duration;

use super::super::effect::SessionEvent;
use super::super::end_reason::EndReason;
use super::super::input::LicenseFeedback;
use super::super::player_report::{MediaFetch, PlayerReport, PlayingState};
use super::super::policy::Policy;
use super::super::state::{BeatSource, Session, SessionState};
use super::context::Step;
use super::deadlines::bounded;
use crate::session::Enforcement;
use crate::time::MonotonicTime;

impl Session {
    pub(super) fn media(&mut self, now: MonotonicTime, media: MediaFetch, policy: &Policy) {
        self.evidence.fetched(now, media.segment, self.is_left_over(now));
        if self.state.has_begun() {
            self.evidence.media(now, media, policy.stream);
        }
    }

    pub(super) fn report(&mut self, report: PlayerReport, step: &mut Step<'_>) {
        self.evidence.seen(step.now, &report);
        if !self.state.has_begun() {
            return;
        }
        let (before, playing) = self.evidence.reported(step.now, report, step.policy.stream);
        if before == Some(PlayingState::Paused) && !step.policy.beat_while_paused {
            self.end_rest(step.now);
        }
        if before.is_some_and(|before| !before.is_under_way()) && playing.is_under_way() {
            self.resume(step.now, step.policy);
        }
        if playing == PlayingState::Quit && step.policy.endings.quit {
            self.end(EndReason::Quit, step);
        }
    }

    /// Ends a pause without beats, so that the next beat is not late.
    pub(super) fn end_rest(&mut self, now: MonotonicTime) {
        if let SessionState::Live { beat, .. } = &mut self.state {
            *beat = (*beat).max(now);
        }
    }

    /// The player plays again.
    fn resume(&mut self, now: MonotonicTime, policy: &Policy) {
        let half = self.interval().unwrap_or_default() / 2;
        if let SessionState::Live { beat, .. } = self.state
            && policy.beat_on_resume
            && now >= self.last_good() + half
        {
            self.enter_holding(|grant| SessionState::Live { beat: beat.min(now), grant });
        }
    }

    /// A moment of the programme has come. An end before the playback's start does not stop it: it shows a past
    /// programme.
    pub(super) fn reach(&mut self, step: &mut Step<'_>) {
        let Some((moment, running)) = self.schedule.take(step.now) else { return };
        step.note(SessionEvent::Reached(moment));
        if running && step.policy.stop_on_end && moment.ends_programme() {
            self.end(EndReason::Programme, step);
        }
    }

    pub(super) fn served(&mut self, served: LicenseFeedback, step: &mut Step<'_>) {
        if !self.state.has_begun() {
            return;
        }
        self.evidence.heard(step.now);
        match (step.policy.enforcement, served) {
            // Without renewals only sidebeat can keep the session, whatever the route demands.
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

    /// True if a yielded session still receives media requests that were in transit.
    fn is_left_over(&self, now: MonotonicTime) -> bool {
        self.gives_way() && self.way_back.is_left_over(now)
    }

    /// The player may renew once more before its round and the authority's patience are over.
    pub(super) fn shows_renewal(&mut self, now: MonotonicTime, policy: &Policy) {
        self.evidence.renewed(now, self.round() + policy.grace);
    }

    /// The player's renewals are the beats from now on.
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
