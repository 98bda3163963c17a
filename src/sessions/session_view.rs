//! A session as operators see it: the row that the admin listener lists.

use std::sync::Arc;
use std::time::Duration;

use super::device_table::SessionEntry;
use super::session_context::SessionContext;
use super::timeline::Timeline;
use crate::clock::MonotonicTime;
use crate::eme::Mirror;
use crate::ids::SessionId;
use crate::session::{BeatSource, Playback, PlayingState, SessionState, StreamType};

/// The state of a session without its data, for lists, filters and counters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SessionPhase {
    Closed,
    Closing,
    Failing,
    Killed,
    Live,
    Opening,
    Owing,
    /// The open waits for its turn among the playbacks of its device.
    Waiting,
}

#[derive(Clone, Debug)]
pub struct SessionView {
    pub age: Duration,
    pub beats: u32,
    pub context: Arc<SessionContext>,
    /// Time since the player's last connection ended.
    pub connections_gone: Option<Duration>,
    pub id: SessionId,
    pub interval: Option<Duration>,
    pub key_sessions: usize,
    /// Time since the authority last confirmed the session; `None` before the first time.
    pub last_good: Option<Duration>,
    /// Its key sessions as the wire shows them.
    pub mirror: Mirror,
    /// Time until our next beat; `None` while the player's renewals are the beats.
    pub next_beat: Option<Duration>,
    /// Time that it has played without the authority's word.
    pub on_credit: Option<Duration>,
    /// Wall time since the epoch.
    pub opened: Duration,
    pub paced_by: BeatSource,
    /// Playbacks that share the session, oldest first, where the authority counts devices.
    pub playbacks: Vec<SessionView>,
    /// The player's last reported state, if it reports.
    pub player: Option<PlayingState>,
    /// True if the player has got a license or media.
    pub served: bool,
    pub state: SessionPhase,
    /// Live or on demand, if known.
    pub stream: Option<StreamType>,
    pub timeline: Timeline,
}

impl SessionView {
    pub(super) fn of(playback: &Playback<SessionEntry>, now: MonotonicTime, wall: Duration) -> Self {
        let session = &playback.session;
        let next_beat = match (session.state(), session.beats()) {
            (SessionState::Live { beat, .. }, BeatSource::Timer) => Some(beat.saturating_duration_since(now)),
            (_, BeatSource::Renewals { .. } | BeatSource::Timer) => None,
        };
        let timeline = playback.entry.timeline.clone();
        let opened = playback.entry.context.opened.into();
        Self {
            age: wall.saturating_sub(opened),
            beats: timeline.beats(),
            context: playback.entry.context.clone(),
            connections_gone: session.alone_since().map(|since| now.saturating_duration_since(since)),
            id: playback.id,
            interval: session.interval(),
            key_sessions: playback.key_sessions(),
            last_good: timeline.confirmed().then(|| now.saturating_duration_since(session.last_good())),
            mirror: playback.entry.mirror.clone(),
            next_beat,
            on_credit: session.on_credit().map(|since| now.saturating_duration_since(since)),
            opened,
            paced_by: session.beats(),
            playbacks: Vec::new(),
            player: session.playing(),
            served: session.is_served(),
            state: SessionPhase::of(session.state()),
            stream: session.stream(),
            timeline,
        }
    }
}

impl SessionPhase {
    pub const ALL: [Self; 8] = [
        Self::Closed,
        Self::Closing,
        Self::Failing,
        Self::Killed,
        Self::Live,
        Self::Opening,
        Self::Owing,
        Self::Waiting,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Closing => "closing",
            Self::Failing => "failing",
            Self::Killed => "killed",
            Self::Live => "live",
            Self::Opening => "opening",
            Self::Owing => "owing",
            Self::Waiting => "waiting",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    pub(super) fn of(state: &SessionState) -> Self {
        match state {
            SessionState::Closed { .. } => Self::Closed,
            SessionState::Closing { .. } => Self::Closing,
            SessionState::Failing { .. } => Self::Failing,
            SessionState::Killed { .. } => Self::Killed,
            SessionState::Live { .. } | SessionState::Sharing { .. } => Self::Live,
            SessionState::Opening { .. } => Self::Opening,
            SessionState::Waiting { .. } => Self::Waiting,
            SessionState::Owing { .. } => Self::Owing,
        }
    }

    /// True if the session has ended and is only remembered.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Killed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_found_by_its_word_and_counted_at_its_place() {
        let words = SessionPhase::ALL.map(SessionPhase::name);
        assert_eq!(words, ["closed", "closing", "failing", "killed", "live", "opening", "owing", "waiting"]);
        assert_eq!(words.map(SessionPhase::named), SessionPhase::ALL.map(Some));
        assert_eq!(SessionPhase::named("none"), None);
        assert!(SessionPhase::ALL.into_iter().enumerate().all(|(place, phase)| phase as usize == place));
    }
}
