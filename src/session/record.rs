//! A playback as plain data: what has to be known of it after a restart.
//!
//! Pure. Times are wall times, because the monotonic clock does not outlive the machine. A record
//! taken and restored at one moment behaves as its playback did, but that a call in flight is gone;
//! [`super::resume`] then makes up for the time that nobody was there. A new field of `Session` or
//! `Playback` that must survive needs one here (with `#[serde(default)]`), in `of` and in `restore`.

mod stamp;

use std::time::Duration;

use arrayvec::ArrayVec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::stamp::Stamp;
use super::end::End;
use super::grant::{AskKind, Grant};
use super::lease::Leases;
use super::playback::Playback;
use super::policy::Policy;
use super::report::{Playing, Reports, Stream};
use super::schedule::{self, Schedule};
use super::state::{Beats, Over, Session, State};
use super::verdict::Reason;
use crate::clock::{Moment, Wall};
use crate::ids::SessionId;
use crate::secret::{Fingerprint, Secret};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlaybackRecord {
    pub began: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Fingerprint>,
    pub id: SessionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_sessions: Vec<Fingerprint>,
    /// By when the licenses of its key sessions run out, if that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<(Fingerprint, Option<Wall>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_tokens: Vec<Fingerprint>,
    pub session: SessionRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Fingerprint>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionRecord {
    /// Plays since then without the authority's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Wall>,
    #[serde(default)]
    pub credit_spent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    #[serde(default)]
    pub fetches: bool,
    pub generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRecord>,
    pub last_call: Wall,
    pub last_good: Wall,
    pub last_sign: Wall,
    /// An open was in flight: nobody knows what it brought.
    #[serde(default)]
    pub opening: bool,
    /// The player's renewals are the beats.
    #[serde(default)]
    pub renewals: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportsRecord>,
    /// The moments of its programme that are to come, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<(Wall, schedule::Moment)>,
    pub seed: u32,
    pub state: StateRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// How long the last good answer took.
    #[serde(default)]
    pub took: Duration,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantRecord {
    pub interval: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Duration>,
    #[serde(serialize_with = "expose", deserialize_with = "hide")]
    pub token: Secret,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportsRecord {
    pub at: Option<Wall>,
    pub gaps: [Duration; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playhead: Option<(Wall, Duration)>,
    pub playing: Playing,
}

/// A state that holds a grant, may hold one, or must not be forgotten.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StateRecord {
    Closing { next: Wall, tries: u8, why: End },
    Failing { missed: u8, retry: Wall },
    Killed { by: Reason, until: Wall },
    Live { beat: Wall },
    Opening { since: Wall },
    Owing { since: Wall, tries: u8 },
}

impl PlaybackRecord {
    /// None where [`Stamp::of`] is none.
    pub fn of<C>(playback: &Playback<C>, at: &Moment) -> Option<Self> {
        Some(Self {
            began: at.wall_of(playback.began),
            content: playback.content,
            contents: playback.contents.to_vec(),
            id: playback.id,
            key_sessions: playback.key_sessions.to_vec(),
            leases: playback
                .leases()
                .iter()
                .map(|lease| (lease.key_session, lease.ends.map(|ends| at.wall_of(ends))))
                .collect(),
            later_tokens: playback.later_tokens.to_vec(),
            session: SessionRecord::of(&playback.session, at)?,
            token: playback.token,
        })
    }

    /// The playback as it was, without its call in flight. It has to be resumed.
    pub fn restore<C>(&self, card: C, at: &Moment, policy: &Policy) -> Playback<C> {
        let leases: Leases = self.leases.iter().map(|(of, ends)| (*of, ends.map(|ends| at.instant_of(ends)))).collect();
        let mut session = self.session.restore(at, policy);
        session.licensed_until = leases.last_end();
        Playback {
            card,
            id: self.id,
            session,
            began: at.instant_of(self.began),
            content: self.content,
            contents: self.contents.iter().copied().take(super::playback::CONTENTS).collect(),
            key_sessions: self.key_sessions.iter().copied().take(super::playback::KEY_SESSIONS).collect(),
            leases,
            later_tokens: self.later_tokens.iter().copied().take(super::playback::TOKENS).collect(),
            token: self.token,
        }
    }
}

impl SessionRecord {
    fn of(session: &Session, at: &Moment) -> Option<Self> {
        let (every, renewals) = match session.beats {
            Beats::Renewals { every } => (every, true),
            Beats::Timer => (None, false),
        };
        Some(Self {
            credit: session.credit.map(|since| at.wall_of(since)),
            credit_spent: session.credit_spent,
            every,
            fetches: session.fetches,
            generation: session.generation,
            good_until: session.good_until.map(|until| at.wall_of(until)),
            grant: session.grant.as_ref().map(GrantRecord::of),
            last_call: at.wall_of(session.last_call),
            last_good: at.wall_of(session.last_good),
            last_sign: at.wall_of(session.last_sign),
            opening: session.lane.is_some_and(|lane| lane.ask == AskKind::Open),
            renewals,
            reports: session.reports.map(|reports| ReportsRecord {
                at: reports.at.map(|seen| at.wall_of(seen)),
                gaps: reports.gaps,
                playhead: reports.playhead.map(|(seen, playhead)| (at.wall_of(seen), playhead)),
                playing: reports.playing,
            }),
            schedule: session.schedule.to_come().map(|(when, moment)| (at.wall_of(when), moment)).collect(),
            seed: session.seed,
            state: StateRecord::of(&session.state, at)?,
            stream: session.stream,
            took: session.took,
        })
    }

    /// A record whose parts contradict each other (a live session without a grant) becomes an open
    /// whose answer nobody knows.
    fn restore(&self, at: &Moment, policy: &Policy) -> Session {
        let time = |wall| at.instant_of(wall);
        let grant = self.grant.as_ref().map(GrantRecord::restore);
        let state = match (&self.state, &grant) {
            (StateRecord::Closing { next, tries, why }, Some(_)) => {
                State::Closing { next: time(*next), tries: *tries, why: *why }
            }
            (StateRecord::Failing { missed, retry }, Some(_)) => {
                State::Failing { missed: *missed, retry: time(*retry) }
            }
            (StateRecord::Owing { since, tries }, None) => {
                State::Owing { next: at.now, since: time(*since), tries: *tries }
            }
            (StateRecord::Killed { by, until }, _) => State::Killed { by: by.clone(), until: time(*until) },
            (StateRecord::Live { beat }, Some(_)) => State::Live { beat: time(*beat) },
            (
                StateRecord::Closing { .. }
                | StateRecord::Failing { .. }
                | StateRecord::Live { .. }
                | StateRecord::Opening { .. }
                | StateRecord::Owing { .. },
                _,
            ) => State::Closed { until: at.now + policy.end_memory, why: Over::Ended(End::Orphaned) },
        };
        let grant = grant.filter(|_| !matches!(state, State::Closed { .. }));
        Session {
            // Who was connected is not any more.
            alone: None,
            away: None,
            // One that goes on with a grant has another chance first.
            credit: self.credit.map(time).filter(|_| matches!(state, State::Owing { .. })),
            credit_spent: self.credit_spent,
            beats: if self.renewals { Beats::Renewals { every: self.every } } else { Beats::Timer },
            deadline: Some(at.now),
            fetches: self.fetches,
            grant,
            good_until: self.good_until.map(time),
            lane: None,
            failing_until: None,
            given_up: ArrayVec::new(),
            last_call: time(self.last_call),
            last_good: time(self.last_good),
            last_sign: time(self.last_sign),
            licensed_until: None,
            not_before: at.now,
            generation: self.generation,
            lingers: false,
            reports: self.reports.as_ref().map(|reports| Reports {
                at: reports.at.map(time),
                gaps: reports.gaps,
                playhead: reports.playhead.map(|(seen, playhead)| (time(seen), playhead)),
                playing: reports.playing,
            }),
            schedule: Schedule::of(self.schedule.iter().map(|(when, moment)| (time(*when), *moment))),
            seed: self.seed,
            slept: Duration::ZERO,
            took: self.took,
            spared: None,
            state,
            stream: self.stream,
        }
    }
}

impl StateRecord {
    fn of(state: &State, at: &Moment) -> Option<Self> {
        Some(match state {
            State::Closed { .. } | State::Opening { held: true, .. } => return None,
            State::Closing { next, tries, why } => Self::Closing { next: at.wall_of(*next), tries: *tries, why: *why },
            State::Failing { missed, retry } => Self::Failing { missed: *missed, retry: at.wall_of(*retry) },
            State::Killed { by, until } => Self::Killed { by: by.clone(), until: at.wall_of(*until) },
            State::Live { beat } => Self::Live { beat: at.wall_of(*beat) },
            State::Opening { held: false, since } => Self::Opening { since: at.wall_of(*since) },
            State::Owing { since, tries, .. } => Self::Owing { since: at.wall_of(*since), tries: *tries },
        })
    }
}

impl GrantRecord {
    fn of(grant: &Grant) -> Self {
        Self { interval: grant.interval, lifetime: grant.lifetime, token: grant.token.clone() }
    }

    fn restore(&self) -> Grant {
        let Self { interval, lifetime, token } = self.clone();
        Grant { interval: super::step::bounded(interval), lifetime, token }
    }
}

/// A record is the one place where a token is written down: the journal could not use it otherwise.
pub fn expose<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

pub fn hide<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

#[cfg(test)]
mod tests;
