//! A session as plain data; what it is a part of is [`super::PlaybackRecord`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::confirmation::Confirmation;
use super::super::end_reason::EndReason;
use super::super::grant::AskKind;
use super::super::grant_release::GrantRelease;
use super::super::held_grant::HeldGrant;
use super::super::player_evidence::{LastingEvidence, PlayerEvidence};
use super::super::player_report::StreamType;
use super::super::policy::Policy;
use super::super::program_schedule::{self, Schedule};
use super::super::session_calls::SessionCalls;
use super::super::state::{BeatSource, DeliveryState, Session, SessionClosure, SessionState};
use super::super::unconfirmed_run::UnconfirmedRun;
use super::grant::GrantRecord;
use super::reports::ReportsRecord;
use super::serde_helpers::is_default;
use super::state::StateRecord;
use crate::time::{ClockMoment, EpochTime, RecordedSpan};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CoreSessionRecord {
    /// Within which time its player surely asks for more media.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub again: Option<RecordedSpan>,
    /// Plays since then without the authority's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<EpochTime>,
    #[serde(rename = "cs", default, skip_serializing_if = "is_default")]
    pub credit_spent: bool,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub every: Option<RecordedSpan>,
    #[serde(rename = "g")]
    pub generation: u32,
    #[serde(rename = "gu", default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<EpochTime>,
    #[serde(rename = "gr", default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRecord>,
    #[serde(rename = "lp", default, skip_serializing_if = "is_default")]
    pub leads_past: bool,
    /// Its close is lost and tried again, and nobody waits for its place.
    #[serde(rename = "li", default, skip_serializing_if = "is_default")]
    pub lingers: bool,
    #[serde(rename = "lc")]
    pub last_call: EpochTime,
    #[serde(rename = "lg")]
    pub last_good: EpochTime,
    #[serde(rename = "ls")]
    pub last_sign: EpochTime,
    /// The close of one that was killed here is lost: when it is tried again, and how often it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_close: Option<(EpochTime, u8)>,
    /// An open was in flight: nobody knows what it brought.
    #[serde(rename = "o", default, skip_serializing_if = "is_default")]
    pub opening: bool,
    /// Its player says that it only preloads it.
    #[serde(rename = "pl", default, skip_serializing_if = "is_default")]
    pub preloads: bool,
    /// The player's renewals are the beats.
    #[serde(rename = "r", default, skip_serializing_if = "is_default")]
    pub renewals: bool,
    /// The authority lost it by a lost answer, and it opens another session in its place: until then.
    #[serde(rename = "ro", default, skip_serializing_if = "Option::is_none")]
    pub reopens_until: Option<EpochTime>,
    #[serde(rename = "rs", default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportsRecord>,
    /// The moments of its programme that are to come, the latest first.
    #[serde(rename = "sc", default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<(EpochTime, program_schedule::StreamTimelineEvent)>,
    #[serde(rename = "sd")]
    pub seed: u32,
    /// It shares its device's session, of this interval.
    #[serde(rename = "sh", default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<RecordedSpan>,
    /// The machine slept this long since the last good answer: `last_good` is reckoned without that.
    #[serde(rename = "sl", default, skip_serializing_if = "is_default")]
    pub slept: RecordedSpan,
    #[serde(rename = "s")]
    pub state: StateRecord,
    #[serde(rename = "st", default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamType>,
    /// Its media pass through us.
    #[serde(rename = "ms", default, skip_serializing_if = "is_default")]
    pub streams: bool,
    /// How long the last good answer took.
    #[serde(rename = "t", default, skip_serializing_if = "is_default")]
    pub took: RecordedSpan,
    /// The authority may know it by a newer token: an answer was lost, or a call was under way.
    #[serde(rename = "td", default, skip_serializing_if = "is_default")]
    pub token_in_doubt: bool,
    /// Most play.
    #[serde(rename = "u", default, skip_serializing_if = "is_default")]
    pub usage: DeliveryState,
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
        let shown = session.evidence.lasting();
        Some(Self {
            again: shown.again.map(RecordedSpan::from),
            credit: session.unconfirmed.since().map(|since| at.wall_of(since)),
            credit_spent: session.unconfirmed.is_spent(),
            every: every.map(RecordedSpan::from),
            generation: session.calls.newest().0,
            good_until: session.good_until().map(|until| at.wall_of(until)),
            grant: session.grant().map(GrantRecord::of),
            leads_past: shown.leads_past,
            lingers: session.lingers(),
            last_call: at.wall_of(shown.last_call),
            last_good: at.wall_of(session.confirmation.at()),
            last_sign: at.wall_of(shown.last_sign),
            lost_close: session.release().filter(|_| session.is_killed()).map(|of| (at.wall_of(of.next()), of.tries())),
            opening: session.calls.is_asking(AskKind::Open),
            preloads: shown.preloads,
            renewals,
            reopens_until: session.unconfirmed.reopens_until().map(|until| at.wall_of(until)),
            reports: shown.reports.map(|reports| ReportsRecord::of(&reports, at)),
            schedule: session.schedule.to_come().map(|(when, moment)| (at.wall_of(when), moment)).collect(),
            seed: session.calls.seed(),
            shares: session.sharing.then(|| session.interval().unwrap_or_default().into()),
            slept: session.confirmation.slept().into(),
            state: StateRecord::of(session, at)?,
            stream: shown.stream,
            streams: shown.streams,
            token_in_doubt: session.is_token_in_doubt() || session.may_replace_token(),
            took: session.confirmation.took().into(),
            usage: shown.usage,
        })
    }

    /// One that contradicts itself becomes an open whose answer nobody knows.
    pub(super) fn restore(&self, at: &ClockMoment, policy: &Policy) -> Session {
        let time = |wall| at.instant_of(wall);
        let held =
            |grant: &GrantRecord| HeldGrant::written(grant.restore(), self.good_until.map(time), self.token_in_doubt);
        let grant = self.grant.as_ref().map(held);
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
                SessionState::Owing { next: at.now, ran: *ran, since: time(*since), tries: *tries }
            }
            (StateRecord::Killed { by, since, until }, grant) => {
                let (by, until) = (by.clone(), time(*until));
                let since = time(*since).min(at.now);
                let (next, tries) = self.lost_close.map_or((since, 0), |(next, tries)| (time(next), tries));
                let release = grant.map(|grant| GrantRelease::written(grant, self.lingers, next, tries));
                SessionState::Killed { by, release, since, until }
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
                until: at.now + policy.end_memory,
                why: SessionClosure::Ended(EndReason::Orphaned),
            },
        };
        let evidence = LastingEvidence {
            again: self.again.map(Duration::from),
            leads_past: self.leads_past,
            last_call: time(self.last_call),
            last_sign: time(self.last_sign),
            preloads: self.preloads,
            reports: self.reports.as_ref().map(|reports| reports.restore(at)),
            stream: self.stream,
            streams: self.streams,
            usage: self.usage,
        };
        let (owes, fails) =
            (matches!(state, SessionState::Owing { .. }), matches!(state, SessionState::Failing { .. }));
        let unconfirmed = UnconfirmedRun::written(
            self.credit.map(|since| time(since).min(at.now)).filter(|_| owes || fails),
            self.credit_spent,
            self.reopens_until.map(time).filter(|_| owes),
        );
        Session {
            confirmation: Confirmation::written(time(self.last_good), self.took.into(), self.slept.into()),
            beats: if self.renewals {
                BeatSource::Renewals { every: self.every.map(Duration::from) }
            } else {
                BeatSource::Timer
            },
            deadline: Some(at.now),
            calls: SessionCalls::written(self.seed, self.generation),
            evidence: PlayerEvidence::restore(at.now, evidence),
            schedule: Schedule::of(self.schedule.iter().map(|(when, moment)| (time(*when), *moment))),
            sharing: shares.is_some(),
            state,
            unconfirmed,
            ..Session::new(at.now, self.seed, policy)
        }
    }
}
