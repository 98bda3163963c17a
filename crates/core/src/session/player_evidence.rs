//! Collects the evidence of a player, and which of it may end the session.
//!
//! Evidence is calls, media, reports, licenses and connections, and whether the player received anything to play by. A
//! player that received nothing, and asks no more, is gone: its tab was closed during the open, or its license server
//! refused it. Timer beats would keep its session.

mod ends;

use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::ends::RenewalRhythm;
use super::OutageBudget;
use super::effect::PlayerFacts;
use super::life_signs::LifeSigns;
use super::player_call::CallKind;
use super::player_report::{MediaFetch, PlayerReport, PlayingState, ReportHistory, StreamType};
use super::record::{ReportsRecord, is_default};
use super::state::DeliveryState;
use crate::time::{ClockMoment, EpochTime, MonotonicTime, RecordedSpan};

#[must_use]
#[derive(Debug)]
pub(super) struct PlayerEvidence {
    /// Time within which a live player certainly requests more media through sidebeat.
    again: Option<Duration>,
    /// Time since which no connection of its player exists.
    alone: Option<MonotonicTime>,
    /// Some playlists bypass the proxy.
    leads_past: bool,
    /// Time of the player's last call.
    last_call: MonotonicTime,
    /// Time of the player's last call or report.
    last_sign: MonotonicTime,
    /// When the last of all licenses expires; `None` if any may be perpetual.
    licensed_until: Option<MonotonicTime>,
    life: LifeSigns,
    reports: Option<Box<ReportHistory>>,
    /// No evidence ends it before that time, because the machine slept, or no process ran.
    spared: Option<MonotonicTime>,
    /// The kind of stream, if known.
    stream: Option<StreamType>,
    usage: DeliveryState,
}

/// The joint evidence of the playbacks that share a session.
pub(super) struct GatheredEvidence {
    /// Last sign of the active ones.
    pub(super) last_sign: Option<MonotonicTime>,
    /// All served players renew.
    pub(super) renewed: bool,
    /// A player received something to play by.
    pub(super) served: bool,
    /// The kind of stream, if all have the same.
    pub(super) stream: Option<StreamType>,
}

impl PlayerEvidence {
    pub(super) fn new(now: MonotonicTime, stream: Option<StreamType>) -> Self {
        Self {
            again: None,
            alone: None,
            leads_past: false,
            last_call: now,
            last_sign: now,
            licensed_until: None,
            life: LifeSigns::new(now),
            reports: None,
            spared: None,
            stream,
            usage: DeliveryState::Asked,
        }
    }

    /// Takes over from an earlier playback of the same content and player.
    pub(super) fn comes_after(&mut self, now: MonotonicTime, earlier: &LifeSigns) {
        self.life = earlier.successor(now);
    }

    /// The player called.
    pub(super) fn heard(&mut self, now: MonotonicTime) {
        (self.last_call, self.last_sign) = (now, now);
        self.life.heard(now);
    }

    /// An answer may be in transit from now on. A player that requests a license plays on, or again.
    pub(super) fn asks(&mut self, kind: CallKind) {
        if kind == CallKind::License {
            self.reports.iter_mut().for_each(|reports| **reports = reports.again());
        }
        match (kind, self.usage) {
            (CallKind::License | CallKind::Renewal, DeliveryState::Nothing) => self.usage = DeliveryState::Asked,
            (CallKind::License | CallKind::Renewal, DeliveryState::Asked | DeliveryState::Got)
            | (CallKind::Certificate | CallKind::Release, _) => {}
        }
    }

    /// A call waits for the yielded session.
    pub(super) fn call_waits(&mut self, now: MonotonicTime) {
        self.life.call_waits(now);
    }

    /// The waiting call has its answer.
    pub(super) fn call_goes_on(&mut self) {
        self.life.call_goes_on();
    }

    /// The player renewed its license. It does so again `within` this time.
    pub(super) fn renewed(&mut self, now: MonotonicTime, within: Duration) {
        self.life.renewed(now, within);
    }

    /// The player fetches media. `left_over`: they were requested before the session gave way, and show only that its
    /// media pass through sidebeat.
    pub(super) fn fetched(&mut self, now: MonotonicTime, segment: bool, left_over: bool) {
        self.alone = None;
        if left_over {
            self.life.fetched_late(segment);
        } else {
            self.life.fetched(now, segment);
        }
    }

    /// Notes the media that the player fetches while it plays. `told`: the kind of stream by the route. Until the
    /// player receives some, a media request counts like a license call; later it is only a sign of life.
    pub(super) fn media(&mut self, now: MonotonicTime, media: MediaFetch, told: Option<StreamType>) {
        self.leads_past = media.leads_past.unwrap_or(self.leads_past);
        self.again = media.again.filter(|_| !self.leads_past);
        self.last_sign = now;
        if self.is_unused() {
            self.last_call = now;
        }
        self.stream = told.or(media.stream).or(self.stream);
    }

    /// The player reports, in any state of its session.
    pub(super) fn seen(&mut self, now: MonotonicTime, report: &PlayerReport) {
        self.alone = None;
        self.life.reported(now, report);
    }

    /// Notes the player's report while it plays. `told`: the kind of stream by the route. Returns the playing state
    /// before and now.
    pub(super) fn reported(
        &mut self,
        now: MonotonicTime,
        report: PlayerReport,
        told: Option<StreamType>,
    ) -> (Option<PlayingState>, PlayingState) {
        self.stream = told.or(report.stream).or(self.stream);
        let before = self.playing();
        let known = self.reports.as_deref();
        let reports = known.map_or_else(|| ReportHistory::first(now, report), |known| known.next(now, report));
        match &mut self.reports {
            Some(known) => **known = reports,
            none => *none = Some(Box::new(reports)),
        }
        if report.playing == PlayingState::Plays && !report.starts {
            self.served();
        }
        let is_sign = match reports.playing {
            PlayingState::Quit => false,
            PlayingState::Done | PlayingState::Fails => reports.is_last_word(before),
            PlayingState::Buffers
            | PlayingState::Paused
            | PlayingState::Plays
            | PlayingState::Seeks
            | PlayingState::Unsaid => true,
        };
        if is_sign {
            self.last_sign = now;
        }
        (before, reports.playing)
    }

    /// The player has received something to play by: a license, a renewal or media; or it reports that it plays.
    pub(super) fn served(&mut self) {
        self.usage = DeliveryState::Got;
    }

    /// The requested license or media did not reach the player.
    pub(super) fn unserved(&mut self) {
        self.usage = match self.usage {
            DeliveryState::Asked | DeliveryState::Nothing => DeliveryState::Nothing,
            DeliveryState::Got => DeliveryState::Got,
        };
    }

    /// When the last of all licenses expires; `None` if any may be perpetual.
    pub(super) fn licensed(&mut self, until: Option<MonotonicTime>) {
        self.licensed_until = until;
    }

    pub(super) fn connected(&mut self) {
        self.alone = None;
    }

    pub(super) fn disconnected(&mut self, now: MonotonicTime) {
        self.alone = self.alone.or(Some(now));
    }

    pub(super) fn streams(&mut self, stream: StreamType) {
        self.stream = Some(stream);
    }

    /// The player has to show life anew: the session gave way, or is being opened.
    pub(super) fn shows_itself_anew(&mut self) {
        self.life = self.life.anew(self.life.last());
    }

    /// The session goes on, because its player came back to it.
    pub(super) fn came_back(&mut self, now: MonotonicTime) {
        self.heard(now);
        self.life = self.life.back(now);
    }

    /// The playback shares a session from now on.
    pub(super) fn joined(&mut self, now: MonotonicTime) {
        self.life = LifeSigns::new(now);
        self.heard(now);
    }

    /// Takes over the evidence of those that share the session.
    pub(super) fn gathered(&mut self, of_all: &GatheredEvidence) {
        self.last_sign = of_all.last_sign.map_or(self.last_sign, |sign| sign.max(self.last_sign));
        self.stream = of_all.stream;
        if of_all.served {
            self.served();
        }
    }

    /// The player was unheard while the machine slept, and its licenses expire so much sooner.
    pub(super) fn machine_slept(&mut self, now: MonotonicTime, by: Duration) {
        self.heard(now);
        self.licensed_until = self.licensed_until.map(|until| until.checked_sub(by).unwrap_or(now));
    }

    /// The player was unheard: an expiry meanwhile ends nothing before `until`.
    pub(super) fn spare_until(&mut self, until: MonotonicTime) {
        self.spared = Some(until);
    }

    /// After a restart: a pending reply may have reached the player.
    pub(super) fn restored(&mut self) {
        self.usage = match self.usage {
            DeliveryState::Asked | DeliveryState::Got => DeliveryState::Got,
            DeliveryState::Nothing => DeliveryState::Nothing,
        };
    }

    /// After a restart the player counts as present; the clock may have been set back.
    pub(super) fn goes_on(&mut self, now: MonotonicTime) {
        self.heard(now);
        if let Some(reports) = &mut self.reports {
            reports.at = reports.at.map(|at| at.min(now));
        }
    }

    /// Earliest time at which an end at `at` may count.
    pub(super) fn spare(&self, at: MonotonicTime) -> MonotonicTime {
        self.spared.map_or(at, |until| at.max(until))
    }

    /// The budget for a playback of its kind; an unknown kind counts as the stricter one.
    pub(super) fn allowed(&self, budget: &OutageBudget) -> Duration {
        match self.stream {
            Some(StreamType::Live) => budget.live,
            Some(StreamType::Vod) => budget.vod,
            None => budget.shorter(),
        }
    }

    /// The facts about the player for authorities.
    pub(super) fn told(&self, now: MonotonicTime) -> PlayerFacts {
        let playhead = self.reports().and_then(|reports| reports.playhead(now));
        PlayerFacts { playhead, playing: self.playing() }
    }

    pub(super) fn playing(&self) -> Option<PlayingState> {
        self.reports().map(|reports| reports.playing)
    }

    pub(super) fn stream(&self) -> Option<StreamType> {
        self.stream
    }

    pub(super) fn alone_since(&self) -> Option<MonotonicTime> {
        self.alone
    }

    pub(super) fn last_sign(&self) -> MonotonicTime {
        self.last_sign
    }

    pub(super) fn licensed_until(&self) -> Option<MonotonicTime> {
        self.licensed_until
    }

    pub(super) fn life(&self) -> &LifeSigns {
        &self.life
    }

    pub(super) fn usage(&self) -> DeliveryState {
        self.usage
    }

    /// True if the player has received nothing to play by.
    pub(super) fn is_unused(&self) -> bool {
        match self.usage {
            DeliveryState::Asked | DeliveryState::Nothing => true,
            DeliveryState::Got => false,
        }
    }

    pub(super) fn leads_past(&self) -> bool {
        self.leads_past
    }

    pub(super) fn reports(&self) -> Option<&ReportHistory> {
        self.reports.as_deref()
    }
}

/// The evidence as plain data. The licenses are those of the playback.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct EvidenceRecord {
    /// Within which time the player surely asks for more media.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub again: Option<RecordedSpan>,
    #[serde(rename = "c")]
    pub last_call: EpochTime,
    #[serde(rename = "s")]
    pub last_sign: EpochTime,
    #[serde(rename = "lp", default, skip_serializing_if = "is_default")]
    pub leads_past: bool,
    /// The player says that it only preloads.
    #[serde(rename = "pl", default, skip_serializing_if = "is_default")]
    pub preloads: bool,
    #[serde(rename = "rs", default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportsRecord>,
    #[serde(rename = "st", default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamType>,
    /// The media pass through sidebeat.
    #[serde(rename = "ms", default, skip_serializing_if = "is_default")]
    pub streams: bool,
    /// Most play.
    #[serde(rename = "u", default, skip_serializing_if = "is_default")]
    pub usage: DeliveryState,
}

impl PlayerEvidence {
    pub(super) fn record(&self, at: &ClockMoment) -> EvidenceRecord {
        EvidenceRecord {
            again: self.again.map(RecordedSpan::from),
            last_call: at.wall_of(self.last_call),
            last_sign: at.wall_of(self.last_sign),
            leads_past: self.leads_past,
            preloads: self.life.preloads(),
            reports: self.reports.as_ref().map(|reports| ReportsRecord::of(reports, at)),
            stream: self.stream,
            streams: self.life.streams(),
            usage: self.usage,
        }
    }

    /// Restores recorded evidence. Earlier connections ended with the process, which is no evidence.
    pub(super) fn restore(record: &EvidenceRecord, at: &ClockMoment) -> Self {
        let last_sign = at.time_of(record.last_sign);
        Self {
            again: record.again.map(Duration::from),
            leads_past: record.leads_past,
            last_call: at.time_of(record.last_call),
            last_sign,
            life: LifeSigns::written(last_sign.min(at.time()), record.preloads, record.streams),
            reports: record.reports.as_ref().map(|reports| Box::new(reports.restore(at))),
            usage: record.usage,
            ..Self::new(at.time(), record.stream)
        }
    }

    /// Hashes the facts that seldom change.
    pub(super) fn hash_lasting(&self, into: &mut impl Hasher) {
        (self.again, self.life.preloads(), self.life.streams()).hash(into);
        self.reports().map(|reports| (reports.slowed, reports.until)).hash(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_delivery_to_the_player_counts_for_good() {
        type Change = fn(&mut PlayerEvidence);
        let (asks, unserved): (Change, Change) = (|it| it.asks(CallKind::License), PlayerEvidence::unserved);
        let (served, restored): (Change, Change) = (PlayerEvidence::served, PlayerEvidence::restored);
        for (changes, usage) in [
            (vec![], DeliveryState::Asked),
            (vec![unserved], DeliveryState::Nothing),
            (vec![unserved, asks], DeliveryState::Asked),
            (vec![unserved, restored], DeliveryState::Nothing),
            (vec![restored], DeliveryState::Got),
            (vec![served, unserved, asks], DeliveryState::Got),
        ] {
            let mut evidence = PlayerEvidence::new(Clock.now(), None);
            changes.iter().for_each(|change| change(&mut evidence));
            assert_eq!(evidence.usage(), usage, "after {} changes", changes.len());
        }
    }

    #[test]
    fn a_quit_is_no_sign_of_life_and_neither_is_a_repeated_end() {
        for (playing, first, again) in [
            (PlayingState::Plays, true, true),
            (PlayingState::Paused, true, true),
            (PlayingState::Done, true, false),
            (PlayingState::Fails, true, false),
            (PlayingState::Quit, false, false),
        ] {
            let began = Clock.now();
            let mut evidence = PlayerEvidence::new(began, None);
            let report = PlayerReport { playing, ..PlayerReport::default() };
            for (after, is_sign) in [(SECOND, first), (SECOND * 2, again)] {
                evidence.reported(began + after, report, None);
                assert_eq!(evidence.last_sign() == began + after, is_sign, "{playing:?} after {after:?}");
            }
        }
    }

    #[test]
    fn the_route_gives_the_kind_of_stream_before_the_player_does() {
        let (live, vod) = (Some(StreamType::Live), Some(StreamType::Vod));
        for (known, told, said, stream) in
            [(None, None, None, None), (live, None, None, live), (live, None, vod, vod), (None, live, vod, live)]
        {
            let now = Clock.now();
            let mut evidence = PlayerEvidence::new(now, known);
            evidence.media(now, MediaFetch { stream: said, ..MediaFetch::default() }, told);
            assert_eq!(evidence.stream(), stream);
            let mut evidence = PlayerEvidence::new(now, known);
            evidence.reported(now, PlayerReport { stream: said, ..PlayerReport::default() }, told);
            assert_eq!(evidence.stream(), stream);
        }
    }

    #[test]
    fn written_evidence_survives_a_restart_and_connections_do_not() {
        let now = Clock.now();
        let mut evidence = PlayerEvidence::new(now, None);
        evidence.media(now, MediaFetch { again: Some(SECOND), segment: true, ..MediaFetch::default() }, None);
        evidence.fetched(now, true, false);
        evidence.seen(now, &PlayerReport { preloads: true, ..PlayerReport::default() });
        evidence.disconnected(now + SECOND);
        let at = ClockMoment { now: now.into(), wall: SECOND };
        let restored = PlayerEvidence::restore(&evidence.record(&at), &at);
        assert_eq!((restored.alone_since(), restored.last_sign()), (None, now));
        assert!(restored.life().preloads() && restored.life().streams() && restored.life().segments() == 0);
        assert_eq!((restored.again, restored.usage()), (Some(SECOND), DeliveryState::Asked));
    }

    #[test]
    fn after_the_machine_slept_the_player_was_heard_and_its_licenses_end_sooner() {
        let now = Clock.now();
        let mut evidence = PlayerEvidence::new(now, None);
        evidence.licensed(Some(now + SECOND * 100));
        evidence.machine_slept(now + SECOND * 10, SECOND * 60);
        assert_eq!((evidence.last_sign(), evidence.licensed_until()), (now + SECOND * 10, Some(now + SECOND * 40)));
        assert_eq!(evidence.spare(now), now);
        evidence.spare_until(now + SECOND * 20);
        assert_eq!((evidence.spare(now), evidence.spare(now + SECOND * 30)), (now + SECOND * 20, now + SECOND * 30));
    }
}
