//! Reads from one media request whether another device sent it, the player's report, and its position in the title.
//!
//! The position takes the manifest's times and the player's buffer. No player that was measured reports its playhead
//! (`docs/players.md`); it is the start of the requested segment minus the buffer. Event reports do not serve,
//! because hls.js puts the buffer of the last arrived segment into them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::RANGE;

use super::MediaCall;
use super::paths::MediaTarget;
use crate::cmcd::{self, CmcdObject};
use crate::config;
use crate::gateway::cmcd_report;
use crate::gateway::identity::sources::{self, IdentityEvidence};
use crate::session::{PlayerReport, PlayingState};

impl MediaCall<'_> {
    /// True if another device uses the path: the source that named the device names another one now. Query and path
    /// do not count, because a player cannot repeat them with every segment.
    pub(super) fn is_foreign(&self, below: &str) -> bool {
        let asked = self.route.config.device.iter().filter(|source| source.kind() == self.registration.device_source);
        let asked: Vec<_> = asked
            .filter(|source| match source {
                // Below a playback's own path both belong to its server.
                config::IdentitySource::PathSegment | config::IdentitySource::Query(_) => false,
                config::IdentitySource::Cookie(_)
                | config::IdentitySource::Header(_)
                | config::IdentitySource::Mtls
                | config::IdentitySource::Peer
                | config::IdentitySource::TokenClaim(_) => true,
            })
            .cloned()
            .collect();
        let (headers, query) = (&self.request.headers, self.request.uri.query());
        let evidence = IdentityEvidence { claims: None, headers, peer: self.peer, query, rest: below };
        sources::device(&asked, &evidence).is_some_and(|device| device.name != self.registration.device)
    }

    /// The player's CMCD report in this request.
    pub(super) fn report(&self, target: &MediaTarget) -> Option<PlayerReport> {
        let query = self.request.uri.query();
        let told = query.and_then(cmcd::from_query).or_else(|| cmcd::from_headers(&self.request.headers))?;
        self.playback.tells.store(true, Ordering::Relaxed);
        let mut report = cmcd_report::read(&told);
        report.by_interval = false;
        if let Some(wanted) = self.playback.learned().wanted(&target.path, self.first_byte()) {
            wanted.place(&mut report, &told);
        }
        Some(report)
    }

    fn first_byte(&self) -> u64 {
        let range = self.request.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let first = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        first.unwrap_or_default()
    }
}

/// The requested segment; times in milliseconds from the title's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedSegment {
    pub(super) start: u64,
    /// End of the title, if known.
    pub(super) title_end: Option<u64>,
}

impl WantedSegment {
    /// Adds the playhead to `report`, from the player's CMCD (`told`) in its request for this segment.
    pub(super) fn place(self, report: &mut PlayerReport, told: &cmcd::CmcdReport) {
        let of_video = matches!(told.object, None | Some(CmcdObject::Muxed | CmcdObject::Video));
        // A player that reports no buffer right after a start or a seek has none.
        let buffer = told.buffer_ms.or_else(|| told.startup.then_some(0));
        let (None, true, Some(buffer)) = (report.playhead, of_video, buffer) else { return };
        let at = self.start.saturating_sub(buffer);
        report.playhead = Some(Duration::from_millis(at));
        report.until = told.duration_ms.map(|duration| Duration::from_millis(self.until(report.playing, at, duration)));
    }

    /// Position that a player at `at` can reach before it must ask again.
    fn until(self, playing: PlayingState, at: u64, duration: u64) -> u64 {
        let end = self.start.saturating_add(duration);
        // Half a segment of tolerance, because manifests round.
        if let Some(title_end) = self.title_end.filter(|title_end| end.saturating_add(duration / 2) >= *title_end) {
            return title_end;
        }
        match playing {
            // With a full buffer the player asks for the next segment after playing one. If it does not ask, it
            // may be paused without saying so.
            PlayingState::Unsaid => end.min(at.saturating_add(duration)),
            PlayingState::Buffers
            | PlayingState::Done
            | PlayingState::Fails
            | PlayingState::Paused
            | PlayingState::Plays
            | PlayingState::Quit
            | PlayingState::Seeks => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> cmcd::CmcdReport {
        cmcd::from_query(&format!("CMCD={}", query.replace('=', "%3D").replace(',', "%2C"))).unwrap()
    }

    #[test]
    fn a_request_tells_where_its_player_stands_and_how_far_it_can_come() {
        for (query, playing, start, expected) in [
            ("bl=5900,d=2000,ot=v", PlayingState::Plays, 8000, (Some(2100), Some(10_000))),
            // Perhaps paused: it would have asked again by then.
            ("bl=5900,d=2000,ot=v", PlayingState::Unsaid, 8000, (Some(2100), Some(4100))),
            ("bl=300,d=2000,ot=v", PlayingState::Unsaid, 8000, (Some(7700), Some(9700))),
            // Nothing more to ask for.
            ("bl=5900,d=2000,ot=v", PlayingState::Unsaid, 18_000, (Some(12_100), Some(20_100))),
            ("d=2000,ot=v,su", PlayingState::Unsaid, 8000, (Some(8000), Some(10_000))),
            ("d=2000,ot=v", PlayingState::Unsaid, 8000, (None, None)),
            ("bl=5900,ot=av", PlayingState::Plays, 8000, (Some(2100), None)),
            ("bl=5900,d=2000,ot=a", PlayingState::Plays, 8000, (None, None)),
            (
                "bl=999999999999999,d=999999999999999,ot=v",
                PlayingState::Plays,
                u64::MAX,
                (Some(u64::MAX - 999_999_999_999_999), Some(20_100)),
            ),
        ] {
            let mut report = PlayerReport { playing, ..PlayerReport::default() };
            WantedSegment { start, title_end: Some(20_100) }.place(&mut report, &told(query));
            let ms = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
            assert_eq!((ms(report.playhead), ms(report.until)), expected, "{query}");
        }
    }
}
