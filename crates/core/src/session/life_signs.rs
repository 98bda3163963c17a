//! What a player shows of a playback beyond its start: by this [`super::preload_or_zap`] tells a preload from a zap.
//!
//! What a player does is not kept over a restart: the next signs show it again. What it is like is.

use std::time::{Duration, Instant};

use super::player_report::{PlayerReport, PlayingState};

/// Media further apart are no one playing.
const MAX_MEDIA_GAP: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) struct LifeSigns {
    /// A call of its player waits for the session that had given way, and was not answered since it came back.
    pub(super) calls: bool,
    /// The first and the last of the signs that are none of its start, without a long gap between.
    pub(super) flows: Option<(Instant, Instant)>,
    /// The last sign that is surely of this playback.
    pub(super) last: Instant,
    /// Its player says that it plays it.
    pub(super) plays: bool,
    /// Its player says that it only preloads it.
    pub(super) preloads: bool,
    pub(super) renewed: bool,
    /// When its player last said that it plays it.
    pub(super) said: Option<Instant>,
    /// Media that were asked for, and are no manifests.
    pub(super) segments: u8,
    /// Its media pass through us: some were asked for at some time.
    pub(super) streams: bool,
}

impl LifeSigns {
    /// Players fetch the beginning of what they preload. More than so many segments is a stream.
    pub(super) const MAX_PRELOADED_SEGMENTS: u8 = 8;

    pub(super) fn new(now: Instant) -> Self {
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

    /// From now on it has to show itself anew. Since when it goes on, and what its player is like, is known.
    pub(super) fn anew(&self, now: Instant) -> Self {
        let Self { flows, preloads, said, streams, .. } = *self;
        Self { flows, preloads, said, streams, ..Self::new(now) }
    }

    /// Another playback of the same content by the same player, which is like this one.
    pub(super) fn successor(&self, now: Instant) -> Self {
        let Self { preloads, streams, .. } = *self;
        Self { preloads, streams, ..Self::new(now) }
    }

    /// What it shows beside others of its device. Where their media pass through us, so would these: renewals alone are
    /// those of a license that is fetched ahead.
    pub(super) fn beside(&self, streams: bool) -> Self {
        let renews_ahead = streams && !self.streams_on();
        let Self { flows, renewed, .. } = *self;
        Self { flows: flows.filter(|_| !renews_ahead), renewed: renewed && !renews_ahead, ..*self }
    }

    pub(super) fn fetched(&mut self, now: Instant, segment: bool) {
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

    /// Where its media pass through us they tell more: a browser renews also what it only preloads. `round`: the next
    /// renewal comes within it.
    pub(super) fn renewed(&mut self, now: Instant, round: Duration) {
        self.last = now;
        if self.preloads || (self.streams && self.segments <= Self::MAX_PRELOADED_SEGMENTS) {
            return;
        }
        self.renewed = true;
        self.flow(now, MAX_MEDIA_GAP.max(round));
    }

    pub(super) fn reported(&mut self, now: Instant, report: &PlayerReport) {
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

    /// More than players fetch of what they only preload.
    pub(super) fn streams_on(&self) -> bool {
        self.segments > Self::MAX_PRELOADED_SEGMENTS
    }

    /// Whether its player has shown since it gave way that it wants the session.
    pub(super) fn wants_it(&self) -> bool {
        self.calls || self.plays || self.renewed || self.segments > 0
    }

    fn flow(&mut self, now: Instant, gap: Duration) {
        let goes_on = |(_, last): &(Instant, Instant)| now.saturating_duration_since(*last) <= gap;
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
    fn a_renewal_is_life_where_no_media_pass_through_or_a_stream_of_them_does() {
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
    fn what_is_said_to_be_a_preload_shows_no_life_until_its_player_says_something_else() {
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
    fn it_goes_on_by_media_once_a_minute_or_renewals_without_a_missed_round_also_while_it_is_away() {
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
