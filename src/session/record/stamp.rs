//! Whether a playback has changed enough since it was written to be written again.

use std::time::{Duration, Instant};

use super::super::grant::AskKind;
use super::super::playback::Playback;
use super::super::report::{Playing, Stream};
use super::super::schedule::Schedule;
use super::super::state::{Beats, State};
use crate::secret::{Fingerprint, Secret};

/// What of a playback was written last: tells whether it must be written again.
#[derive(Clone, Debug)]
pub struct Stamp {
    beats: Beats,
    grant: Option<(Secret, Duration)>,
    in_open: bool,
    last_good: Instant,
    licensed_until: Option<Instant>,
    names: [(usize, Option<Fingerprint>); 3],
    playing: Option<Playing>,
    schedule: Schedule,
    state: (u8, u8),
    stream: Option<Stream>,
}

/// A beat that only confirms is written when it is this much younger than the one that was.
const WORTH_IT: Duration = Duration::from_secs(1);

impl Stamp {
    /// None: nothing of this playback needs to outlive the process.
    pub fn of<C>(playback: &Playback<C>) -> Option<Self> {
        let session = &playback.session;
        let state = match session.state {
            State::Closed { .. } | State::Opening { held: true, .. } => return None,
            State::Closing { tries, .. } => (1, tries),
            State::Failing { missed, .. } => (2, missed),
            State::Killed { .. } => (3, 0),
            State::Live { .. } => (4, 0),
            State::Opening { held: false, .. } => (5, 0),
            State::Owing { tries, .. } => (6, tries),
        };
        let names = |names: &[Fingerprint]| (names.len(), names.last().copied());
        Some(Self {
            beats: session.beats,
            grant: session.grant.as_ref().map(|grant| (grant.token.clone(), grant.interval)),
            in_open: session.lane.is_some_and(|lane| lane.ask == AskKind::Open),
            last_good: session.last_good,
            licensed_until: session.licensed_until,
            names: [names(&playback.key_sessions), names(&playback.later_tokens), names(&playback.contents)],
            playing: session.playing(),
            schedule: session.schedule.clone(),
            state,
            stream: session.stream,
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
            || newer.last_good < self.last_good
            || newer.last_good.saturating_duration_since(self.last_good) >= WORTH_IT
    }
}
