//! A session as plain data, which is a part of [`super::PlaybackRecord`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::confirmation::{Confirmation, ConfirmationRecord};
use super::super::end_reason::EndReason;
use super::super::grant::AskKind;
use super::super::grant_release::GrantRelease;
use super::super::held_grant::{GrantRecord, HeldGrant};
use super::super::player_evidence::{EvidenceRecord, PlayerEvidence};
use super::super::policy::Policy;
use super::super::program_schedule::{self, Schedule};
use super::super::session_calls::SessionCalls;
use super::super::state::{BeatSource, Session, SessionClosure, SessionState};
use super::super::unconfirmed_run::{UnconfirmedRecord, UnconfirmedRun};
use super::serde_helpers::is_default;
use super::state::StateRecord;
use crate::time::{ClockMoment, EpochTime, RecordedSpan};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CoreSessionRecord {
    #[serde(rename = "c")]
    pub confirmation: ConfirmationRecord,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub every: Option<RecordedSpan>,
    #[serde(rename = "p")]
    pub evidence: EvidenceRecord,
    #[serde(rename = "g")]
    pub generation: u32,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRecord>,
    /// Its close is lost and tried again, and no playback waits for its place.
    #[serde(rename = "li", default, skip_serializing_if = "is_default")]
    pub lingers: bool,
    /// Next try and number of tries of the lost close after an operator's kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_close: Option<(EpochTime, u8)>,
    /// An open was in flight, with an unknown result.
    #[serde(rename = "o", default, skip_serializing_if = "is_default")]
    pub opening: bool,
    /// The player's renewals are the beats.
    #[serde(rename = "r", default, skip_serializing_if = "is_default")]
    pub renewals: bool,
    /// The coming moments of its programme, the latest first.
    #[serde(rename = "sc", default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<(EpochTime, program_schedule::StreamTimelineEvent)>,
    #[serde(rename = "d")]
    pub seed: u32,
    /// Interval of its device's session, if it shares that.
    #[serde(rename = "sh", default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<RecordedSpan>,
    #[serde(rename = "s")]
    pub state: StateRecord,
    #[serde(rename = "u", default, skip_serializing_if = "is_default")]
    pub unconfirmed: UnconfirmedRecord,
}

impl CoreSessionRecord {
    pub(super) fn of(session: &Session, at: &ClockMoment) -> Option<Self> {
        if !session.outlives() {
            return None;
        }
        let (every, renewals) = match session.beats {
            BeatSource::Renewals { every } => (every, true),
            BeatSource::Timer => (None, false),
        };
        Some(Self {
            confirmation: session.confirmation.record(at),
            every: every.map(RecordedSpan::from),
            evidence: session.evidence.record(at),
            generation: session.calls.made(),
            grant: session.held().map(|grant| grant.record(at, session.may_replace_token())),
            lingers: session.lingers(),
            lost_close: session.release().filter(|_| session.is_killed()).map(|of| (at.wall_of(of.next()), of.tries())),
            opening: session.calls.is_asking(AskKind::Open),
            renewals,
            schedule: session.schedule.to_come().map(|(when, moment)| (at.wall_of(when), moment)).collect(),
            seed: session.calls.seed(),
            shares: session.sharing.then(|| session.interval().unwrap_or_default().into()),
            state: StateRecord::of(session, at)?,
            unconfirmed: session.unconfirmed.record(at),
        })
    }

    /// A record that contradicts itself becomes an open with an unknown result.
    pub(super) fn restore(&self, at: &ClockMoment, policy: &Policy) -> Session {
        let time = |wall| at.time_of(wall);
        let grant = self.grant.as_ref().map(|grant| HeldGrant::restore(grant, at));
        let shares = self.shares.filter(|_| grant.is_none());
        let state = match (&self.state, grant) {
            (StateRecord::Closed { until, why }, _) => {
                SessionState::Closed { until: time(*until), why: why.restore(at) }
            }
            (StateRecord::Closing { next, tries, why }, Some(grant)) => {
                let release = GrantRelease::written(grant, self.lingers, time(*next), *tries);
                SessionState::Closing { release: Some(release), why: *why }
            }
            (StateRecord::Failing { missed, retry }, Some(grant)) => {
                SessionState::Failing { grant, missed: *missed, regular: None, retry: time(*retry) }
            }
            (StateRecord::Owing { ran, since, tries }, None) if shares.is_none() => {
                SessionState::Owing { next: at.time(), ran: *ran, since: time(*since), tries: *tries }
            }
            (StateRecord::Killed { by, since, until }, grant) => {
                let (by, until) = (by.clone(), time(*until));
                let since = time(*since).min(at.time());
                let (next, tries) = self.lost_close.map_or((since, 0), |(next, tries)| (time(next), tries));
                let release = grant.map(|grant| GrantRelease::written(grant, self.lingers, next, tries));
                SessionState::Killed { by: by.into(), release, since, until }
            }
            (StateRecord::Live { beat }, Some(grant)) => SessionState::Live { beat: time(*beat), grant },
            (StateRecord::Live { .. }, None) if shares.is_some() => {
                SessionState::Sharing { interval: shares.map(Duration::from).unwrap_or_default() }
            }
            (
                StateRecord::Closing { .. }
                | StateRecord::Failing { .. }
                | StateRecord::Live { .. }
                | StateRecord::Opening { .. }
                | StateRecord::Owing { .. },
                _,
            ) => SessionState::Closed {
                until: at.time() + policy.end_memory,
                why: SessionClosure::Ended(EndReason::Orphaned),
            },
        };
        let (owes, fails) =
            (matches!(state, SessionState::Owing { .. }), matches!(state, SessionState::Failing { .. }));
        Session {
            confirmation: Confirmation::restore(&self.confirmation, at),
            beats: if self.renewals {
                BeatSource::Renewals { every: self.every.map(Duration::from) }
            } else {
                BeatSource::Timer
            },
            deadline: Some(at.time()),
            calls: SessionCalls::written(self.seed, self.generation),
            evidence: PlayerEvidence::restore(&self.evidence, at),
            schedule: Schedule::of(self.schedule.iter().map(|(when, moment)| (time(*when), *moment))),
            sharing: shares.is_some(),
            state,
            unconfirmed: UnconfirmedRun::restore(&self.unconfirmed, at, owes || fails, owes),
            ..Session::new(at.time(), self.seed, policy)
        }
    }
}
