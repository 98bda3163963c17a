//! What a player shows of a playback beyond its start: by this [`super::contest`] tells a preload from a zap.
//!
//! Not kept over a restart: the next signs show it again.

use std::time::{Duration, Instant};

use super::report::{Playing, Report};

/// Media further apart are no one playing.
const LONGEST_GAP: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// A call of its player waits for the session that had given way.
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
    /// Media that were asked for, and are no manifests.
    pub(super) segments: u8,
    /// Its media pass through us: some were asked for at some time.
    pub(super) streams: bool,
}

impl Life {
    /// Players fetch the beginning of what they preload. More than so many segments is a stream.
    pub(super) const PRELOADED: u8 = 8;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            calls: false,
            flows: None,
            last: now,
            plays: false,
            preloads: false,
            renewed: false,
            segments: 0,
            streams: false,
        }
    }

    /// From now on it has to show itself anew. Since when it goes on, and what its player is like, is known.
    pub(super) fn anew(&self, now: Instant) -> Self {
        let Self { flows, preloads, streams, .. } = *self;
        Self { flows, preloads, streams, ..Self::new(now) }
    }

    pub(super) fn fetched(&mut self, now: Instant, segment: bool) {
        self.last = now;
        self.streams |= segment;
        if !segment || self.preloads {
            return;
        }
        self.segments = self.segments.saturating_add(1);
        if self.streams_on() {
            self.flow(now, LONGEST_GAP);
        }
    }

    /// Where its media pass through us they tell more: a browser renews also what it only preloads. `round`: the next
    /// renewal comes within it.
    pub(super) fn renewed(&mut self, now: Instant, round: Duration) {
        self.last = now;
        if self.preloads || (self.streams && self.segments <= Self::PRELOADED) {
            return;
        }
        self.renewed = true;
        self.flow(now, LONGEST_GAP.max(round));
    }

    pub(super) fn reported(&mut self, now: Instant, report: &Report) {
        if report.of_several {
            return;
        }
        self.last = now;
        match report.playing {
            Playing::Unsaid => self.preloads |= report.preloads,
            Playing::Plays if !report.starts => (self.plays, self.preloads) = (true, false),
            Playing::Buffers
            | Playing::Done
            | Playing::Fails
            | Playing::Paused
            | Playing::Plays
            | Playing::Quit
            | Playing::Seeks => self.preloads = false,
        }
    }

    /// More than players fetch of what they only preload.
    pub(super) fn streams_on(&self) -> bool {
        self.segments > Self::PRELOADED
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
