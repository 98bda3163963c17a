//! What a player shows of itself beside its calls: reports, and the media that it fetches.

use std::time::Instant;

use super::super::effect::Effects;
use super::super::end::End;
use super::super::policy::Policy;
use super::super::report::{Playing, Report, Reports};
use super::super::state::{Session, State};

impl Session {
    pub(super) fn media(&mut self, now: Instant, live: bool) {
        match self.state {
            State::Failing { .. } | State::Live { .. } => {
                self.last_sign = now;
                self.media = Some(live);
            }
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } | State::Opening { .. } => {}
        }
    }

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
    pub(super) fn resume(&mut self, now: Instant, policy: &Policy) {
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
}
