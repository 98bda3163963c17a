//! Decides whether a playback has changed enough since its last record to be written again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::time::Duration;

use super::super::end_reason::EndReason;
use super::super::grant::AskKind;
use super::super::grant_release::GrantRelease;
use super::super::playback::Playback;
use super::super::player_report::{PlayingState, ReportHistory, StreamType};
use super::super::program_schedule::Schedule;
use super::super::role::Role;
use super::super::state::{BeatSource, DeliveryState, Session, SessionClosure, SessionState};
use crate::secret::{Fingerprint, Secret};
use crate::time::MonotonicTime;

/// The facts of a playback's last record, to decide whether it must be written again.
#[derive(Clone, Debug)]
pub struct WrittenStamp {
    beats: BeatSource,
    grant: Option<(Secret, Duration)>,
    in_open: bool,
    last_good: MonotonicTime,
    leads_past: bool,
    licensed_until: Option<MonotonicTime>,
    names: [(usize, Option<Fingerprint>); 4],
    /// The player's reported position, which gives the present one.
    playhead: Option<ReportHistory>,
    playing: Option<PlayingState>,
    /// Hash of the facts that seldom change.
    rest: u64,
    /// For a shared session: the playback whose content token opens it.
    role: Role,
    schedule: Schedule,
    state: (u8, u8),
    stream: Option<StreamType>,
    /// Nothing has reached its player. `Asked` and `Got` are equal here, because a restart makes both `Got`.
    unused: bool,
}

/// A beat that only confirms is written if it is at least so much younger than the written one.
const MIN_BEAT_PROGRESS_TO_WRITE: Duration = Duration::from_secs(1);
/// The same for a playhead, or players that report with each segment would cause a write for each.
const MIN_PLAYHEAD_AGE_TO_WRITE: Duration = Duration::from_secs(5);
/// A playhead runs on by itself; it is only written if it is further than this from its expected position.
const PLAYHEAD_DRIFT_TOLERANCE: Duration = Duration::from_millis(500);

impl Session {
    /// True if a fact must survive a restart: a grant that it holds, or its end.
    pub(super) fn outlives(&self) -> bool {
        match &self.state {
            // A player that sidebeat itself ended may begin again, and an undecided one may ask again.
            SessionState::Closed {
                why: SessionClosure::Ended(EndReason::Drained) | SessionClosure::Unreachable(_),
                ..
            } => false,
            // Otherwise no call was ever made for it.
            SessionState::Closed { .. } => self.calls.has_asked() || self.sharing,
            SessionState::Waiting { .. } => false,
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => true,
        }
    }
}

impl WrittenStamp {
    /// `None` if nothing of this playback must survive the process.
    pub fn of<C>(playback: &Playback<C>) -> Option<Self> {
        let session = Some(&playback.session).filter(|session| session.outlives())?;
        let tries = session.release().map_or(0, GrantRelease::tries);
        let state = match session.state {
            SessionState::Closed { .. } => (0, 0),
            SessionState::Closing { .. } => (1, tries),
            SessionState::Failing { missed, .. } => (2, missed),
            SessionState::Killed { .. } => (3, tries),
            SessionState::Live { .. } => (4, 0),
            SessionState::Opening { .. } => (5, 0),
            SessionState::Owing { tries, .. } => (6, tries),
            SessionState::Sharing { .. } => (7, 0),
            SessionState::Waiting { .. } => (8, 0),
        };
        Some(Self {
            beats: session.beats,
            grant: session.grant().map(|grant| (grant.token.clone(), grant.interval)),
            in_open: session.calls.is_asking(AskKind::Open),
            last_good: session.last_good(),
            leads_past: session.evidence.leads_past(),
            licensed_until: session.evidence.licensed_until(),
            names: playback.names.counts(),
            playhead: session.evidence.reports().filter(|reports| reports.playhead.is_some()).copied(),
            playing: session.playing(),
            rest: rest(playback),
            role: playback.role,
            schedule: session.schedule.clone(),
            state,
            stream: session.evidence.stream(),
            unused: session.evidence.usage() == DeliveryState::Nothing,
        })
    }

    /// True if the player is not where the written record puts it, by a report that is at least so much younger.
    pub fn has_moved(&self, newer: &Self, after: Duration) -> bool {
        let Some(reports) = &newer.playhead else { return false };
        let Some((at, playhead)) = reports.playhead else { return false };
        let Some(written) = &self.playhead else { return true };
        let since = written.playhead.map_or(Duration::MAX, |(written, _)| at.saturating_duration_since(written));
        let taken_for = written.playhead(at).unwrap_or_default();
        since >= after && since > Duration::ZERO && playhead.abs_diff(taken_for) >= PLAYHEAD_DRIFT_TOLERANCE
    }

    /// True if `newer` has a fact that must be written.
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
            || self.rest != newer.rest
            || self.role != newer.role
            || self.schedule != newer.schedule
            || self.stream != newer.stream
            || self.leads_past != newer.leads_past
            || self.unused != newer.unused
            || self.has_moved(newer, MIN_PLAYHEAD_AGE_TO_WRITE)
            || newer.last_good < self.last_good
            || newer.last_good.saturating_duration_since(self.last_good) >= MIN_BEAT_PROGRESS_TO_WRITE
    }
}

/// Hashes the other facts of a record that no beat changes: a change of them is worth a record. It is only a hash,
/// because a million of these are kept.
fn rest<C>(playback: &Playback<C>) -> u64 {
    let Playback { leases, names, session, .. } = playback;
    let mut sum = DefaultHasher::new();
    names.hash_lasting(&mut sum);
    session.evidence.hash_lasting(&mut sum);
    session.unconfirmed.hash_lasting(&mut sum);
    for lease in leases.as_slice() {
        (lease.key_session, lease.ends).hash(&mut sum);
    }
    session.good_until().hash(&mut sum);
    session.lingers().hash(&mut sum);
    session.sharing.hash(&mut sum);
    match &session.state {
        SessionState::Closed { until, why } => {
            (until, discriminant(why)).hash(&mut sum);
            match why {
                // A presumed end may be certain by now: then its player no longer takes it back.
                SessionClosure::Ended(why) => why.hash(&mut sum),
                SessionClosure::Spent { again, .. } => again.hash(&mut sum),
                SessionClosure::Denied(..) | SessionClosure::Unmanaged | SessionClosure::Unreachable(_) => {}
            }
        }
        SessionState::Closing { why, .. } => why.hash(&mut sum),
        SessionState::Killed { by: _, release: _, since, until } => (since, until).hash(&mut sum),
        SessionState::Owing { ran, since, .. } => (ran, since).hash(&mut sum),
        SessionState::Sharing { interval } => interval.hash(&mut sum),
        SessionState::Failing { .. }
        | SessionState::Live { .. }
        | SessionState::Opening { .. }
        | SessionState::Waiting { .. } => {}
    }
    sum.finish()
}

#[cfg(test)]
mod tests {
    use super::super::super::player_report::PlayerReport;
    use super::*;
    use crate::time::testing::Clock;

    fn stamp_of_nothing() -> WrittenStamp {
        WrittenStamp {
            beats: BeatSource::Timer,
            grant: Some((Secret::new("token"), MIN_BEAT_PROGRESS_TO_WRITE * 30)),
            in_open: false,
            last_good: Clock.now() + MIN_BEAT_PROGRESS_TO_WRITE,
            leads_past: false,
            licensed_until: None,
            names: [(0, None); 4],
            playhead: None,
            playing: None,
            rest: 0,
            role: Role::Alone,
            schedule: Schedule::default(),
            state: (4, 0),
            stream: None,
            unused: true,
        }
    }

    /// A beat that only confirms is the exception: one is written each second.
    #[test]
    fn every_fact_for_the_next_process_is_written_when_it_changes() {
        let before = stamp_of_nothing();
        let changes: [(&str, bool, fn(&mut WrittenStamp)); 15] = [
            ("nothing", false, |_| {}),
            ("a token", true, |stamp| stamp.grant = Some((Secret::new("token"), MIN_BEAT_PROGRESS_TO_WRITE * 30))),
            ("an interval", true, |stamp| {
                stamp.grant = stamp.grant.take().map(|(token, _)| (token, MIN_BEAT_PROGRESS_TO_WRITE))
            }),
            ("no grant", true, |stamp| stamp.grant = None),
            ("who beats", true, |stamp| stamp.beats = BeatSource::Renewals { every: None }),
            ("an open", true, |stamp| stamp.in_open = true),
            ("a name", true, |stamp| stamp.names[1] = (1, Some(Fingerprint::new(7)))),
            ("a license", true, |stamp| stamp.licensed_until = Some(stamp.last_good)),
            ("a state", true, |stamp| stamp.state = (2, 1)),
            ("what changes seldom", true, |stamp| stamp.rest = 1),
            ("a use", true, |stamp| stamp.unused = false),
            ("what leads past", true, |stamp| stamp.leads_past = true),
            ("an earlier good answer", true, |stamp| stamp.last_good = stamp.last_good - Duration::from_millis(1)),
            ("a later good answer", false, |stamp| stamp.last_good += MIN_BEAT_PROGRESS_TO_WRITE / 2),
            ("a much later good answer", true, |stamp| stamp.last_good += MIN_BEAT_PROGRESS_TO_WRITE),
        ];
        for (what, written, change) in changes {
            let mut newer = before.clone();
            change(&mut newer);
            assert_eq!(before.is_outdated_by(&newer), written, "{what}");
        }
    }

    /// The playhead runs on by itself while its player plays.
    #[test]
    fn a_playhead_is_written_when_it_leaves_its_expected_position() {
        const SECOND: Duration = Duration::from_secs(1);
        let began = Clock.now();
        let stamp = |after: u32, playhead: u32, playing| {
            let report = PlayerReport { playhead: Some(SECOND * playhead), playing, ..PlayerReport::default() };
            let reports = ReportHistory::first(began + SECOND * after, report);
            WrittenStamp { playhead: Some(reports), ..stamp_of_nothing() }
        };
        let (plays, paused) = (PlayingState::Plays, PlayingState::Paused);
        for (written, said, after, moved) in [
            (stamp(0, 10, plays), stamp(20, 30, plays), Duration::ZERO, false),
            (stamp(0, 10, plays), stamp(20, 90, plays), Duration::ZERO, true),
            (stamp(0, 10, paused), stamp(20, 10, paused), Duration::ZERO, false),
            (stamp(0, 10, paused), stamp(2, 90, paused), Duration::ZERO, true),
            (stamp(0, 10, paused), stamp(2, 90, paused), MIN_PLAYHEAD_AGE_TO_WRITE, false),
            (stamp(0, 10, paused), stamp(6, 90, paused), MIN_PLAYHEAD_AGE_TO_WRITE, true),
            (stamp_of_nothing(), stamp(0, 10, paused), MIN_PLAYHEAD_AGE_TO_WRITE, true),
            (stamp(0, 10, paused), stamp_of_nothing(), Duration::ZERO, false),
        ] {
            assert_eq!(written.has_moved(&said, after), moved, "{:?} {:?}", written.playhead, said.playhead);
        }
    }
}
