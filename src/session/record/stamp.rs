//! Whether a playback has changed enough since it was written to be written again.

use std::time::{Duration, Instant};

use super::super::end::End;
use super::super::grant::AskKind;
use super::super::playback::Playback;
use super::super::report::{Playing, Stream};
use super::super::schedule::Schedule;
use super::super::state::{Beats, Over, Session, State, Use};
use crate::secret::{Fingerprint, Secret};

/// What of a playback was written last: tells whether it must be written again.
#[derive(Clone, Debug)]
pub struct Stamp {
    beats: Beats,
    grant: Option<(Secret, Duration)>,
    in_open: bool,
    last_good: Instant,
    leads_past: bool,
    licensed_until: Option<Instant>,
    names: [(usize, Option<Fingerprint>); 3],
    playing: Option<Playing>,
    schedule: Schedule,
    state: (u8, u8),
    stream: Option<Stream>,
    /// Nothing of it has reached its player; the rest is one after a restart.
    unused: bool,
}

/// A beat that only confirms is written when it is this much younger than the one that was.
const WORTH_IT: Duration = Duration::from_secs(1);

impl Session {
    /// Something of it must be known after a restart: what it holds, or that it is over.
    pub(super) fn outlives(&self) -> bool {
        match &self.state {
            // Who was sent away by our own end is welcome again, and who was told that nobody can say may ask.
            State::Closed { why: Over::Ended(End::Drained) | Over::Unreachable(_), .. } => false,
            // Nothing was ever asked for it.
            State::Closed { .. } => self.generation > 0,
            State::Opening { held, .. } => !held,
            State::Closing { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Owing { .. } => true,
        }
    }
}

impl Stamp {
    /// None: nothing of this playback needs to outlive the process.
    pub fn of<C>(playback: &Playback<C>) -> Option<Self> {
        let session = Some(&playback.session).filter(|session| session.outlives())?;
        let state = match session.state {
            State::Closed { .. } => (0, 0),
            State::Closing { tries, .. } => (1, tries),
            State::Failing { missed, .. } => (2, missed),
            State::Killed { .. } => (3, session.lost_close.map_or(0, |(_, tries)| tries)),
            State::Live { .. } => (4, 0),
            State::Opening { .. } => (5, 0),
            State::Owing { tries, .. } => (6, tries),
        };
        let names = |names: &[Fingerprint]| (names.len(), names.last().copied());
        Some(Self {
            beats: session.beats,
            grant: session.grant.as_ref().map(|grant| (grant.token.clone(), grant.interval)),
            in_open: session.lane.is_some_and(|lane| lane.ask == AskKind::Open),
            last_good: session.last_good,
            leads_past: session.leads_past,
            licensed_until: session.licensed_until,
            names: [names(&playback.key_sessions), names(&playback.later_tokens), names(&playback.contents)],
            playing: session.playing(),
            schedule: session.schedule.clone(),
            state,
            stream: session.stream,
            unused: session.usage == Use::Nothing,
        })
    }

    /// Whether `newer` says something that has to be written.
    pub fn is_outdated_by(&self, newer: &Self) -> bool {
        let same_grant = match (&self.grant, &newer.grant) {
            (Some((one, before)), Some((other, after))) => one.is_clone_of(other) && before == after,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        !same_grant
            || self.state != newer.state
            || self.in_open != newer.in_open
            || self.beats != newer.beats
            || self.names != newer.names
            || self.licensed_until != newer.licensed_until
            || self.playing != newer.playing
            || self.schedule != newer.schedule
            || self.stream != newer.stream
            || self.leads_past != newer.leads_past
            || self.unused != newer.unused
            || newer.last_good < self.last_good
            || newer.last_good.saturating_duration_since(self.last_good) >= WORTH_IT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    /// A beat that only confirms is the exception: one is written a second.
    #[test]
    fn whatever_a_next_process_must_know_is_written_when_it_changes() {
        let before = Stamp {
            beats: Beats::Timer,
            grant: Some((Secret::new("token"), WORTH_IT * 30)),
            in_open: false,
            last_good: Clock.now() + WORTH_IT,
            leads_past: false,
            licensed_until: None,
            names: [(0, None); 3],
            playing: None,
            schedule: Schedule::default(),
            state: (4, 0),
            stream: None,
            unused: true,
        };
        let changes: [(&str, bool, fn(&mut Stamp)); 14] = [
            ("nothing", false, |_| {}),
            ("a token", true, |stamp| stamp.grant = Some((Secret::new("token"), WORTH_IT * 30))),
            ("an interval", true, |stamp| stamp.grant = stamp.grant.take().map(|(token, _)| (token, WORTH_IT))),
            ("no grant", true, |stamp| stamp.grant = None),
            ("who beats", true, |stamp| stamp.beats = Beats::Renewals { every: None }),
            ("an open", true, |stamp| stamp.in_open = true),
            ("a name", true, |stamp| stamp.names = [(0, None), (1, Some(Fingerprint(7))), (0, None)]),
            ("a license", true, |stamp| stamp.licensed_until = Some(stamp.last_good)),
            ("a state", true, |stamp| stamp.state = (2, 1)),
            ("a use", true, |stamp| stamp.unused = false),
            ("what leads past", true, |stamp| stamp.leads_past = true),
            ("an earlier good answer", true, |stamp| stamp.last_good -= Duration::from_millis(1)),
            ("a later good answer", false, |stamp| stamp.last_good += WORTH_IT / 2),
            ("a much later good answer", true, |stamp| stamp.last_good += WORTH_IT),
        ];
        for (what, written, change) in changes {
            let mut newer = before.clone();
            change(&mut newer);
            assert_eq!(before.is_outdated_by(&newer), written, "{what}");
        }
    }
}
