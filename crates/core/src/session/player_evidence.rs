//! What the player shows of itself, and by which of it the session may end.
//!
//! Calls, media, reports, licenses and connections; whether anything reached the player by which it can play. One that got
//! nothing, and asks no more, is not there: its tab was closed while the open was under way, or its license server turned
//! it away. Timer beats would keep its session.

mod ends;

use std::time::{Duration, Instant};

pub(super) use self::ends::RenewalRhythm;
use super::OutageBudget;
use super::effect::PlayerFacts;
use super::life_signs::LifeSigns;
use super::player_call::CallKind;
use super::player_report::{MediaFetch, PlayerReport, PlayingState, ReportHistory, StreamType};
use super::state::DeliveryState;

#[must_use]
#[derive(Debug)]
pub(super) struct PlayerEvidence {
    /// Within which time its player surely asks for more of it through us, if it is live.
    again: Option<Duration>,
    /// Since when no connection of its player is there.
    alone: Option<Instant>,
    /// Some of the playlists of what it plays are past us.
    leads_past: bool,
    /// When the player last called.
    last_call: Instant,
    /// When the player last called or reported.
    last_sign: Instant,
    /// By when all of its licenses have run out; none where one may never.
    licensed_until: Option<Instant>,
    life: LifeSigns,
    reports: Option<ReportHistory>,
    /// No end by it before that time: the machine slept, or the process was not there.
    spared: Option<Instant>,
    /// What it plays, if anybody says.
    stream: Option<StreamType>,
    usage: DeliveryState,
}

/// What of it is known after a restart, beside the licenses.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastingEvidence {
    pub(super) again: Option<Duration>,
    pub(super) leads_past: bool,
    pub(super) last_call: Instant,
    pub(super) last_sign: Instant,
    pub(super) preloads: bool,
    pub(super) reports: Option<ReportHistory>,
    pub(super) stream: Option<StreamType>,
    /// Its media pass through us.
    pub(super) streams: bool,
    pub(super) usage: DeliveryState,
}

/// What the playbacks that share a session show together.
pub(super) struct GatheredEvidence {
    /// Of those that are active, the last one.
    pub(super) last_sign: Option<Instant>,
    /// The players of all that got something renew.
    pub(super) renewed: bool,
    /// Some player got something to play by.
    pub(super) served: bool,
    /// Where all play the same kind.
    pub(super) stream: Option<StreamType>,
}

impl PlayerEvidence {
    pub(super) fn new(now: Instant, stream: Option<StreamType>) -> Self {
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

    /// As it was written. Who was connected is not any more, by our doing: that is no evidence.
    pub(super) fn restore(now: Instant, written: LastingEvidence) -> Self {
        let LastingEvidence { again, leads_past, last_call, last_sign, preloads, reports, stream, streams, usage } =
            written;
        let life = LifeSigns { preloads, streams, ..LifeSigns::new(last_sign.min(now)) };
        Self { again, leads_past, last_call, last_sign, life, reports, usage, ..Self::new(now, stream) }
    }

    /// Of a playback of the same content and player, which began after this one.
    pub(super) fn comes_after(&mut self, now: Instant, earlier: &LifeSigns) {
        self.life = earlier.successor(now);
    }

    /// The player called.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.last_call, self.last_sign, self.life.last) = (now, now, now);
    }

    /// From now on an answer may be on its way. Who asks for a license plays on, or again.
    pub(super) fn asks(&mut self, kind: CallKind) {
        if kind == CallKind::License {
            self.reports = self.reports.map(ReportHistory::again);
        }
        match (kind, self.usage) {
            (CallKind::License | CallKind::Renewal, DeliveryState::Nothing) => self.usage = DeliveryState::Asked,
            (CallKind::License | CallKind::Renewal, DeliveryState::Asked | DeliveryState::Got)
            | (CallKind::Certificate | CallKind::Release, _) => {}
        }
    }

    /// A call waits for the session that gave way.
    pub(super) fn call_waits(&mut self, now: Instant) {
        (self.life.calls, self.life.last) = (true, now);
    }

    /// The call that waited has its answer.
    pub(super) fn call_goes_on(&mut self) {
        self.life.calls = false;
    }

    /// The player renewed its license. It does so again `within` this time.
    pub(super) fn renewed(&mut self, now: Instant, within: Duration) {
        self.life.renewed(now, within);
    }

    /// The player fetches media. `left_over`: they were under way when the session gave way, and tell nothing but the way
    /// that its media take.
    pub(super) fn fetched(&mut self, now: Instant, segment: bool, left_over: bool) {
        self.alone = None;
        if !left_over {
            self.life.fetched(now, segment);
        }
        self.life.streams |= segment;
    }

    /// What the media are that the player fetches while it plays. `told`: what the route says that it plays. Until the player
    /// gets some, asking for media is a call like one for a license; later it is a sign of life and no more.
    pub(super) fn media(&mut self, now: Instant, media: MediaFetch, told: Option<StreamType>) {
        self.leads_past = media.leads_past.unwrap_or(self.leads_past);
        self.again = media.again.filter(|_| !self.leads_past);
        self.last_sign = now;
        if self.is_unused() {
            self.last_call = now;
        }
        self.stream = told.or(media.stream).or(self.stream);
    }

    /// The player reports, whatever the state of its session.
    pub(super) fn seen(&mut self, now: Instant, report: &PlayerReport) {
        self.alone = None;
        self.life.reported(now, report);
    }

    /// What the player reports while it plays. `told`: what the route says that it plays. Gives what the player was said
    /// to do before, and does now.
    pub(super) fn reported(
        &mut self,
        now: Instant,
        report: PlayerReport,
        told: Option<StreamType>,
    ) -> (Option<PlayingState>, PlayingState) {
        self.stream = told.or(report.stream).or(self.stream);
        let before = self.playing();
        let reports = self.reports.map_or_else(|| ReportHistory::first(now, report), |known| known.next(now, report));
        self.reports = Some(reports);
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

    /// A license, a renewal, media, or the player's word that it plays: it has got something to play by.
    pub(super) fn served(&mut self) {
        self.usage = DeliveryState::Got;
    }

    /// What the player asked for has not reached it.
    pub(super) fn unserved(&mut self) {
        self.usage = match self.usage {
            DeliveryState::Asked | DeliveryState::Nothing => DeliveryState::Nothing,
            DeliveryState::Got => DeliveryState::Got,
        };
    }

    /// By when all of its licenses have run out; none where one may never.
    pub(super) fn licensed(&mut self, until: Option<Instant>) {
        self.licensed_until = until;
    }

    pub(super) fn connected(&mut self) {
        self.alone = None;
    }

    pub(super) fn disconnected(&mut self, now: Instant) {
        self.alone = self.alone.or(Some(now));
    }

    pub(super) fn streams(&mut self, stream: StreamType) {
        self.stream = Some(stream);
    }

    /// From now on the player has to show itself anew: the session gave way, or is opened.
    pub(super) fn shows_itself_anew(&mut self) {
        self.life = self.life.anew(self.life.last);
    }

    /// The session goes on, because its player came back to it.
    pub(super) fn came_back(&mut self, now: Instant) {
        self.heard(now);
        self.life = LifeSigns { calls: self.life.calls, ..self.life.anew(now) };
    }

    /// The playback shares a session from now on.
    pub(super) fn joined(&mut self, now: Instant) {
        self.life = LifeSigns::new(now);
        self.heard(now);
    }

    /// What those that share the session show is what it shows itself.
    pub(super) fn gathered(&mut self, of_all: &GatheredEvidence) {
        self.last_sign = of_all.last_sign.map_or(self.last_sign, |sign| sign.max(self.last_sign));
        self.stream = of_all.stream;
        if of_all.served {
            self.served();
        }
    }

    /// Nobody could hear the player while the machine slept, and its licenses ran out by so much sooner.
    pub(super) fn machine_slept(&mut self, now: Instant, by: Duration) {
        self.heard(now);
        self.licensed_until = self.licensed_until.map(|until| until.checked_sub(by).unwrap_or(now));
    }

    /// Nobody was there to hear the player: whatever ran out meanwhile ends nothing before `until`.
    pub(super) fn spare_until(&mut self, until: Instant) {
        self.spared = Some(until);
    }

    /// After a restart: what was on its way when the process died may have reached the player.
    pub(super) fn restored(&mut self) {
        self.usage = match self.usage {
            DeliveryState::Asked | DeliveryState::Got => DeliveryState::Got,
            DeliveryState::Nothing => DeliveryState::Nothing,
        };
    }

    /// After a restart the player is taken to be there; the clock may have been set back.
    pub(super) fn goes_on(&mut self, now: Instant) {
        self.heard(now);
        if let Some(reports) = &mut self.reports {
            reports.at = reports.at.map(|at| at.min(now));
        }
    }

    /// When an end that has come at `at` may count.
    pub(super) fn spare(&self, at: Instant) -> Instant {
        self.spared.map_or(at, |until| at.max(until))
    }

    /// How much of this a playback of its kind is allowed; unknown counts as the stricter.
    pub(super) fn allowed(&self, budget: &OutageBudget) -> Duration {
        match self.stream {
            Some(StreamType::Live) => budget.live,
            Some(StreamType::Vod) => budget.vod,
            None => budget.shorter(),
        }
    }

    /// What authorities may be told of the player.
    pub(super) fn told(&self, now: Instant) -> PlayerFacts {
        let playhead = self.reports.and_then(|reports| reports.playhead(now));
        PlayerFacts { playhead, playing: self.playing() }
    }

    pub(super) fn playing(&self) -> Option<PlayingState> {
        self.reports.map(|reports| reports.playing)
    }

    pub(super) fn stream(&self) -> Option<StreamType> {
        self.stream
    }

    pub(super) fn alone_since(&self) -> Option<Instant> {
        self.alone
    }

    pub(super) fn last_sign(&self) -> Instant {
        self.last_sign
    }

    pub(super) fn licensed_until(&self) -> Option<Instant> {
        self.licensed_until
    }

    pub(super) fn life(&self) -> &LifeSigns {
        &self.life
    }

    pub(super) fn usage(&self) -> DeliveryState {
        self.usage
    }

    /// The player has got nothing to play by.
    pub(super) fn is_unused(&self) -> bool {
        match self.usage {
            DeliveryState::Asked | DeliveryState::Nothing => true,
            DeliveryState::Got => false,
        }
    }

    pub(super) fn lasting(&self) -> LastingEvidence {
        let Self { again, leads_past, last_call, last_sign, life, reports, stream, usage, .. } = *self;
        let LifeSigns { preloads, streams, .. } = life;
        LastingEvidence { again, leads_past, last_call, last_sign, preloads, reports, stream, streams, usage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_reached_the_player_once_has_reached_it_for_good() {
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
    fn a_quit_is_no_sign_of_life_and_neither_is_an_end_that_was_told_before() {
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
    fn the_route_tells_what_is_played_before_the_player_does() {
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
    fn what_is_written_of_it_is_what_is_known_after_a_restart_and_who_was_connected_is_not() {
        let now = Clock.now();
        let mut evidence = PlayerEvidence::new(now, None);
        evidence.media(now, MediaFetch { again: Some(SECOND), segment: true, ..MediaFetch::default() }, None);
        evidence.fetched(now, true, false);
        evidence.seen(now, &PlayerReport { preloads: true, ..PlayerReport::default() });
        evidence.disconnected(now + SECOND);
        let restored = PlayerEvidence::restore(now, evidence.lasting());
        assert_eq!((restored.alone_since(), restored.last_sign()), (None, now));
        assert!(restored.life().preloads && restored.life().streams && restored.life().segments == 0);
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
