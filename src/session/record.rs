//! A playback as plain data: what has to be known of it after a restart.
//!
//! Pure. Times are wall times, because the monotonic clock does not outlive the machine. A record taken and restored at
//! one moment behaves as its playback did, but that a call in flight is gone; [`super::resume`] then makes up for the
//! time that nobody was there. A new field of `Session` or `Playback` that must survive needs one here (with
//! `#[serde(default)]`), in `of` and in `restore`. What stands in every record is short, and what says nothing is left
//! out: two records share a page.

mod form;
mod grant;
mod matters;
mod reports;
mod stamp;
mod state;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::form::{expose, hide, is_default};
use self::grant::GrantRecord;
use self::reports::ReportsRecord;
pub use self::stamp::Stamp;
pub use self::state::StateRecord;
use super::end::End;
use super::grant::{AskKind, Ticket};
use super::lease::Leases;
use super::life::Life;
use super::playback::{Playback, Role};
use super::policy::Policy;
use super::report::Stream;
use super::schedule::{self, Schedule};
use super::state::{Beats, Over, Session, State, Untold, Use};
use super::turns::Turns;
use crate::clock::{Moment, Span, Wall};
use crate::ids::SessionId;
use crate::secret::Fingerprint;

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlaybackRecord {
    /// It began without a content token, though it has a name.
    #[serde(rename = "ba", default, skip_serializing_if = "is_default")]
    pub bare: bool,
    #[serde(rename = "b", alias = "began")]
    pub began: Wall,
    #[serde(rename = "c", alias = "content", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Fingerprint>,
    #[serde(rename = "cs", alias = "contents", default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Fingerprint>,
    #[serde(rename = "i", alias = "id")]
    pub id: SessionId,
    #[serde(rename = "k", alias = "key_sessions", default, skip_serializing_if = "Vec::is_empty")]
    pub key_sessions: Vec<Fingerprint>,
    /// By when the licenses of its key sessions run out, if that is known.
    #[serde(rename = "l", alias = "leases", default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<(Fingerprint, Option<Wall>)>,
    /// The content token that the stop named by which it is over.
    #[serde(rename = "lt", default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Fingerprint>,
    #[serde(rename = "ts", alias = "later_tokens", default, skip_serializing_if = "Vec::is_empty")]
    pub later_tokens: Vec<Fingerprint>,
    #[serde(rename = "ro", default, skip_serializing_if = "is_default")]
    pub role: Role,
    #[serde(rename = "s", alias = "session")]
    pub session: SessionRecord,
    /// Content tokens for which a kill of it holds, beside its own.
    #[serde(rename = "sh", default, skip_serializing_if = "Vec::is_empty")]
    pub shared_tokens: Vec<Fingerprint>,
    #[serde(rename = "t", alias = "token", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Fingerprint>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionRecord {
    /// Within which time its player surely asks for more media.
    #[serde(
        rename = "f",
        alias = "fetches",
        default,
        deserialize_with = "form::again",
        skip_serializing_if = "Option::is_none"
    )]
    pub again: Option<Span>,
    /// Plays since then without the authority's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Wall>,
    #[serde(rename = "cs", alias = "credit_spent", default, skip_serializing_if = "is_default")]
    pub credit_spent: bool,
    #[serde(rename = "e", alias = "every", default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    #[serde(rename = "g", alias = "generation")]
    pub generation: u32,
    #[serde(rename = "gu", alias = "good_until", default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<Wall>,
    #[serde(rename = "gr", alias = "grant", default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRecord>,
    #[serde(rename = "lp", default, skip_serializing_if = "is_default")]
    pub leads_past: bool,
    /// Its close is lost and tried again, and nobody waits for its place.
    #[serde(rename = "li", default, skip_serializing_if = "is_default")]
    pub lingers: bool,
    #[serde(rename = "lc", alias = "last_call")]
    pub last_call: Wall,
    #[serde(rename = "lg", alias = "last_good")]
    pub last_good: Wall,
    #[serde(rename = "ls", alias = "last_sign")]
    pub last_sign: Wall,
    /// The close of one that was killed here is lost: when it is tried again, and how often it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_close: Option<(Wall, u8)>,
    /// An open was in flight: nobody knows what it brought.
    #[serde(rename = "o", alias = "opening", default, skip_serializing_if = "is_default")]
    pub opening: bool,
    /// The player's renewals are the beats.
    #[serde(rename = "r", alias = "renewals", default, skip_serializing_if = "is_default")]
    pub renewals: bool,
    /// The authority lost it by a lost answer, and it opens another session in its place: until then.
    #[serde(rename = "ro", default, skip_serializing_if = "Option::is_none")]
    pub reopens_until: Option<Wall>,
    #[serde(rename = "rs", alias = "reports", default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportsRecord>,
    /// The moments of its programme that are to come, the latest first.
    #[serde(rename = "sc", alias = "schedule", default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<(Wall, schedule::Moment)>,
    #[serde(rename = "sd", alias = "seed")]
    pub seed: u32,
    /// It shares its device's session, of this interval.
    #[serde(rename = "sh", default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Span>,
    /// The machine slept this long since the last good answer: `last_good` is reckoned without that.
    #[serde(rename = "sl", default, skip_serializing_if = "is_default")]
    pub slept: Span,
    #[serde(rename = "s", alias = "state")]
    pub state: StateRecord,
    #[serde(rename = "st", alias = "stream", default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// How long the last good answer took.
    #[serde(rename = "t", alias = "took", default, skip_serializing_if = "is_default")]
    pub took: Span,
    /// The authority may know it by a newer token: an answer was lost, or a call was under way.
    #[serde(rename = "td", default, skip_serializing_if = "is_default")]
    pub token_in_doubt: bool,
    /// An older journal does not know: it plays.
    #[serde(rename = "u", default, skip_serializing_if = "is_default")]
    pub usage: Use,
}

impl PlaybackRecord {
    /// None where [`Stamp::of`] is none.
    pub fn of<C>(playback: &Playback<C>, at: &Moment) -> Option<Self> {
        Some(Self {
            bare: playback.bare && playback.token.is_some(),
            began: at.wall_of(playback.began),
            content: playback.content,
            contents: playback.contents.to_vec(),
            id: playback.id,
            key_sessions: playback.key_sessions.to_vec(),
            leases: playback.leases().iter().map(|of| (of.key_session, of.ends.map(|ends| at.wall_of(ends)))).collect(),
            left: playback.left,
            later_tokens: playback.later_tokens.to_vec(),
            role: playback.role,
            session: SessionRecord::of(&playback.session, at)?,
            shared_tokens: playback.shared_tokens.clone(),
            token: playback.token,
        })
    }

    /// The playback as it was, without its call in flight. It has to be resumed.
    pub fn restore<C>(&self, card: C, at: &Moment, policy: &Policy) -> Playback<C> {
        let leases: Leases = self.leases.iter().map(|(of, ends)| (*of, ends.map(|ends| at.instant_of(ends)))).collect();
        let mut session = self.session.restore(at, policy);
        session.licensed_until = leases.last_end();
        Playback {
            account: None,
            card,
            id: self.id,
            role: self.role.restored(&session),
            session,
            bare: self.bare || self.token.is_none(),
            began: at.instant_of(self.began),
            content: self.content,
            contents: self.contents.iter().copied().take(super::playback::CONTENTS).collect(),
            key_sessions: self.key_sessions.iter().copied().take(super::playback::KEY_SESSIONS).collect(),
            kill_memory: policy.kill_memory,
            leases,
            left: self.left,
            later_tokens: self.later_tokens.iter().copied().take(super::playback::TOKENS).collect(),
            shared_tokens: self.shared_tokens.iter().copied().take(super::playback::TOKENS).collect(),
            token: self.token,
            // Whatever else was accepted beside it is known, too.
            token_accepted: self.session.usage != Use::Nothing,
            turns: Turns::default(),
            gave_way_to: None,
            wish: 0,
        }
    }
}

impl SessionRecord {
    fn of(session: &Session, at: &Moment) -> Option<Self> {
        if !session.outlives() {
            return None;
        }
        let (every, renewals) = match session.beats {
            Beats::Renewals { every } => (every, true),
            Beats::Timer => (None, false),
        };
        Some(Self {
            again: session.again.map(Span::from),
            credit: session.credit.map(|since| at.wall_of(since)),
            credit_spent: session.credit_spent,
            every: every.map(Span::from),
            generation: session.generation,
            good_until: session.good_until.map(|until| at.wall_of(until)),
            grant: session.grant.as_ref().map(GrantRecord::of),
            leads_past: session.leads_past,
            lingers: session.lingers,
            last_call: at.wall_of(session.last_call),
            last_good: at.wall_of(session.last_good),
            last_sign: at.wall_of(session.last_sign),
            lost_close: session.lost_close.map(|(next, tries)| (at.wall_of(next), tries)),
            opening: session.lane.is_some_and(|lane| lane.ask == AskKind::Open),
            renewals,
            reopens_until: session.reopens_until.map(|until| at.wall_of(until)),
            reports: session.reports.map(|reports| ReportsRecord::of(&reports, at)),
            schedule: session.schedule.to_come().map(|(when, moment)| (at.wall_of(when), moment)).collect(),
            seed: session.seed,
            shares: session.shares.map(Span::from),
            slept: session.slept.into(),
            state: StateRecord::of(&session.state, at)?,
            stream: session.stream,
            token_in_doubt: session.token_in_doubt || session.may_replace_token(),
            took: session.took.into(),
            usage: session.usage,
        })
    }

    /// One that contradicts itself becomes an open whose answer nobody knows.
    fn restore(&self, at: &Moment, policy: &Policy) -> Session {
        let time = |wall| at.instant_of(wall);
        let grant = self.grant.as_ref().map(GrantRecord::restore);
        let shares = self.shares.filter(|_| grant.is_none());
        let state = match (&self.state, &grant) {
            (StateRecord::Closed { until, why }, _) => State::Closed { until: time(*until), why: why.restore(at) },
            (StateRecord::Closing { next, tries, why }, Some(_)) => {
                State::Closing { next: time(*next), tries: *tries, why: *why }
            }
            (StateRecord::Failing { missed, retry }, Some(_)) => {
                State::Failing { missed: *missed, retry: time(*retry) }
            }
            (StateRecord::Owing { ran, since, tries }, None) if shares.is_none() => {
                State::Owing { next: at.now, ran: *ran, since: time(*since), tries: *tries }
            }
            (StateRecord::Killed { by, since, until }, _) => {
                let (by, until) = (by.clone(), time(*until));
                let since = since.map(time).or_else(|| until.checked_sub(policy.memory_of_kill(&by)));
                State::Killed { by, since: since.unwrap_or(at.now).min(at.now), until }
            }
            (StateRecord::Live { beat }, Some(_)) => State::Live { beat: time(*beat) },
            (StateRecord::Live { beat }, None) if shares.is_some() => State::Live { beat: time(*beat) },
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
            again: self.again.map(Duration::from),
            credit: self
                .credit
                .map(|since| time(since).min(at.now))
                .filter(|_| matches!(state, State::Failing { .. } | State::Owing { .. })),
            credit_spent: self.credit_spent,
            beats: if self.renewals { Beats::Renewals { every: self.every.map(Duration::from) } } else { Beats::Timer },
            deadline: Some(at.now),
            grant,
            good_until: self.good_until.map(time),
            last_interval: None,
            last_answered: Ticket(self.generation),
            leads_past: self.leads_past,
            last_call: time(self.last_call),
            last_good: time(self.last_good),
            last_sign: time(self.last_sign),
            life: Life::new(time(self.last_sign).min(at.now)),
            generation: self.generation,
            lingers: self.lingers,
            lost_close: self.lost_close.map(|(next, tries)| (time(next), tries)),
            reopens_until: self.reopens_until.map(time).filter(|_| matches!(state, State::Owing { .. })),
            reports: self.reports.as_ref().map(|reports| reports.restore(at)),
            schedule: Schedule::of(self.schedule.iter().map(|(when, moment)| (time(*when), *moment))),
            seed: self.seed,
            shares: shares.map(Duration::from),
            slept: self.slept.into(),
            took: self.took.into(),
            state,
            stream: self.stream,
            token_in_doubt: self.token_in_doubt,
            untold: Untold::Never,
            usage: self.usage,
            // Who was connected is not any more, by our doing: that is no evidence.
            ..Session::new(at.now, self.seed, policy)
        }
    }
}

#[cfg(test)]
mod tests;
