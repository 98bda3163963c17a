//! What the player tells of itself, and what the clock brings to its programme.

use std::time::Instant;

use super::super::effect::{Effects, Event};
use super::super::end::End;
use super::super::policy::Policy;
use super::super::report::{Playing, Report, Reports};
use super::super::state::{Session, State};

impl Session {
    pub(super) fn report(&mut self, now: Instant, report: Report, policy: &Policy, fx: &mut Effects) {
        match self.state {
            State::Failing { .. } | State::Live { .. } => {
                let before = self.playing();
                let reports = self.reports.map_or_else(|| Reports::first(now, report), |known| known.next(now, report));
                self.reports = Some(reports);
                if before.is_some_and(|before| before != Playing::Plays) && reports.playing == Playing::Plays {
                    self.resume(now, policy);
                }
                match reports.playing {
                    Playing::Quit => self.end(now, End::Quit, policy, fx),
                    Playing::Done => {}
                    Playing::Paused | Playing::Plays | Playing::Unsaid => self.last_sign = now,
                }
            }
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } | State::Opening { .. } => {}
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
            | State::Opening { .. } => {}
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
}
