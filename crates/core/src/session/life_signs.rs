//! Collects a player's signs of life after its start, by which [`super::preload_or_zap`] tells a preload from a zap.
//!
//! A restart forgets the signs, which soon come again, and keeps the properties of the player.

use std::time::Duration;

use super::player_report::{PlayerReport, PlayingState};
use crate::time::MonotonicTime;

/// Media requests further apart do not count as continuous playing.
const MAX_MEDIA_GAP: Duration = Duration::from_secs(60);

#[must_use]
#[derive(Clone, Copy, Debug)]
pub(super) struct LifeSigns {
    /// A call of its player waits for the yielded session, and was not answered since that came back.
    calls: bool,
    /// First and last of the signs after its start, without a long gap between.
    flows: Option<(MonotonicTime, MonotonicTime)>,
    /// The last sign that is certainly of this playback.
    last: MonotonicTime,
    /// Its player reports that it plays it.
    plays: bool,
    /// Its player reports that it only preloads it.
    preloads: bool,
    renewed: bool,
    /// Time of its player's last report that it plays.
    said: Option<MonotonicTime>,
    /// Number of media requests other than manifests.
    segments: u8,
    /// Its media pass through sidebeat: some were requested at some time.
    streams: bool,
}

impl LifeSigns {
    /// Players fetch the beginning of a preload. More segments than this are a stream.
    pub(super) const MAX_PRELOADED_SEGMENTS: u8 = 8;

    pub(super) fn new(now: MonotonicTime) -> Self {
        Self {
            calls: false,
            flows: None,
            last: now,
            plays: false,
            preloads: false,
            renewed: false,
            said: None,
            segments: 0,
            streams: false,
        }
    }

    /// Signs after a restart.
    pub(super) fn written(last: MonotonicTime, preloads: bool, streams: bool) -> Self {
        Self { preloads, streams, ..Self::new(last) }
    }

    #[cfg(test)]
    pub(super) fn of_preload(now: MonotonicTime) -> Self {
        Self { preloads: true, ..Self::new(now) }
    }

    #[cfg(test)]
    pub(super) fn said_to_play(now: MonotonicTime, said: Option<MonotonicTime>) -> Self {
        Self { plays: true, said, ..Self::new(now) }
    }

    /// The playback has to show life anew. Its start and its player's properties are kept.
    pub(super) fn anew(&self, now: MonotonicTime) -> Self {
        let Self { flows, preloads, said, streams, .. } = *self;
        Self { flows, preloads, said, streams, ..Self::new(now) }
    }

    /// As [`Self::anew`], but a call that waits goes on waiting.
    pub(super) fn back(&self, now: MonotonicTime) -> Self {
        Self { calls: self.calls, ..self.anew(now) }
    }

    /// Signs of another playback of the same content by the same player.
    pub(super) fn successor(&self, now: MonotonicTime) -> Self {
        let Self { preloads, streams, .. } = *self;
        Self { preloads, streams, ..Self::new(now) }
    }

    /// The signs that count beside other playbacks of the device. If the others' media pass through sidebeat, so would
    /// its own, and renewals alone belong to a preloaded license.
    pub(super) fn beside(&self, streams: bool) -> Self {
        let renews_ahead = streams && !self.streams_on();
        let Self { flows, renewed, .. } = *self;
        Self { flows: flows.filter(|_| !renews_ahead), renewed: renewed && !renews_ahead, ..*self }
    }

    /// The player called.
    pub(super) fn heard(&mut self, now: MonotonicTime) {
        self.last = now;
    }

    /// A call of the player waits for the yielded session.
    pub(super) fn call_waits(&mut self, now: MonotonicTime) {
        (self.calls, self.last) = (true, now);
    }

    /// The call that waited has its answer.
    pub(super) fn call_goes_on(&mut self) {
        self.calls = false;
    }

    /// Media that were under way when the session gave way show nothing but the way that they take.
    pub(super) fn fetched_late(&mut self, segment: bool) {
        self.streams |= segment;
    }

    pub(super) fn fetched(&mut self, now: MonotonicTime, segment: bool) {
        self.last = now;
        self.streams |= segment;
        if !segment || self.preloads {
            return;
        }
        self.segments = self.segments.saturating_add(1);
        if self.streams_on() {
            self.flow(now, MAX_MEDIA_GAP);
        }
    }

    /// Notes a renewal. If its media pass through sidebeat they show more, because a browser also renews a preload.
    /// `round`: the next renewal comes within it.
    pub(super) fn renewed(&mut self, now: MonotonicTime, round: Duration) {
        self.last = now;
        if self.preloads || (self.streams && self.segments <= Self::MAX_PRELOADED_SEGMENTS) {
            return;
        }
        self.renewed = true;
        self.flow(now, MAX_MEDIA_GAP.max(round));
    }

    pub(super) fn reported(&mut self, now: MonotonicTime, report: &PlayerReport) {
        if report.of_several {
            return;
        }
        self.last = now;
        match report.playing {
            PlayingState::Unsaid => self.preloads |= report.preloads,
            PlayingState::Plays if !report.starts => {
                (self.plays, self.preloads, self.said) = (true, false, Some(now));
            }
            PlayingState::Buffers
            | PlayingState::Done
            | PlayingState::Fails
            | PlayingState::Paused
            | PlayingState::Plays
            | PlayingState::Quit
            | PlayingState::Seeks => self.preloads = false,
        }
    }

    /// True if it fetched more than players fetch for a preload.
    pub(super) fn streams_on(&self) -> bool {
        self.segments > Self::MAX_PRELOADED_SEGMENTS
    }

    /// True if its player has shown since it gave way that it wants the session.
    pub(super) fn wants_it(&self) -> bool {
        self.calls || self.plays || self.renewed || self.segments > 0
    }

    pub(super) fn calls(&self) -> bool {
        self.calls
    }

    pub(super) fn flows(&self) -> Option<(MonotonicTime, MonotonicTime)> {
        self.flows
    }

    pub(super) fn last(&self) -> MonotonicTime {
        self.last
    }

    pub(super) fn plays(&self) -> bool {
        self.plays
    }

    pub(super) fn preloads(&self) -> bool {
        self.preloads
    }

    pub(super) fn renews(&self) -> bool {
        self.renewed
    }

    pub(super) fn said(&self) -> Option<MonotonicTime> {
        self.said
    }

    #[cfg(test)]
    pub(super) fn segments(&self) -> u8 {
        self.segments
    }

    pub(super) fn streams(&self) -> bool {
        self.streams
    }

    fn flow(&mut self, now: MonotonicTime, gap: Duration) {
        let goes_on = |(_, last): &(MonotonicTime, MonotonicTime)| now.saturating_duration_since(*last) <= gap;
        let since = self.flows.filter(goes_on).map_or(now, |(first, _)| first);
        self.flows = Some((since, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);
    const ROUND: Duration = Duration::from_secs(100);

    fn says(playing: PlayingState) -> PlayerReport {
        PlayerReport { playing, ..PlayerReport::default() }
    }

    fn fetched(segments: usize) -> LifeSigns {
        let mut life = LifeSigns::new(Clock.now());
        (0..segments).for_each(|_| life.fetched(life.last, true));
        life
    }

    #[test]
    fn a_renewal_is_life_unless_media_pass_through_without_a_stream() {
        for (segments, renewed) in [(0, true), (1, false), (8, false), (9, true)] {
            let mut life = fetched(segments);
            life.fetched(life.last, false);
            life.renewed(life.last, ROUND);
            assert_eq!((life.renewed, usize::from(life.segments)), (renewed, segments));
            let mut anew = life.anew(life.last);
            anew.renewed(life.last, ROUND);
            assert_eq!(anew.renewed, segments == 0, "what its player is like is known: {segments}");
        }
    }

    #[test]
    fn a_reported_preload_shows_no_life_until_its_player_reports_otherwise() {
        for playing in [PlayingState::Buffers, PlayingState::Paused, PlayingState::Plays] {
            let mut life = LifeSigns::new(Clock.now());
            life.reported(life.last, &PlayerReport { preloads: true, ..PlayerReport::default() });
            life = life.anew(life.last);
            life.renewed(life.last, ROUND);
            assert_eq!((life.renewed, life.flows), (false, None));
            (0..20).for_each(|_| life.fetched(life.last, true));
            life.renewed(life.last, ROUND);
            assert_eq!((life.segments, life.renewed, life.flows), (0, false, None));
            life.reported(life.last, &says(playing));
            (0..9).for_each(|_| life.fetched(life.last, true));
            assert_eq!((life.segments, life.plays), (9, playing == PlayingState::Plays));
        }
    }

    #[test]
    fn a_report_tells_that_it_plays_if_it_is_of_this_playback_and_past_its_start() {
        let now = Clock.now();
        let of = |report: PlayerReport| {
            let mut life = LifeSigns::new(now);
            life.reported(now + SECOND, &report);
            (life.plays, life.last > now)
        };
        assert_eq!(of(says(PlayingState::Plays)), (true, true));
        assert_eq!(of(PlayerReport { starts: true, ..says(PlayingState::Plays) }), (false, true));
        assert_eq!(of(PlayerReport { of_several: true, ..says(PlayingState::Plays) }), (false, false));
    }

    #[test]
    fn signs_continue_by_media_each_minute_or_renewals_in_each_round_even_after_giving_way() {
        for (round, apart, goes_on) in [(0, 60, true), (0, 61, false), (100, 100, true), (100, 101, false)] {
            let mut life = LifeSigns::new(Clock.now());
            let began = life.last;
            life.renewed(began, SECOND * round);
            life = life.anew(began);
            let now = began + SECOND * apart;
            life.renewed(now, SECOND * round);
            assert_eq!(life.flows, Some((if goes_on { began } else { now }, now)), "{apart} s apart");
        }
    }
}
