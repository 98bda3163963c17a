//! A session as operators see it: the row that the admin listener lists.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::device_table::SessionEntry;
use super::session_context::SessionContext;
use super::timeline::Timeline;
use crate::eme::Mirror;
use crate::ids::SessionId;
use crate::session::{BeatSource, Playback, PlayingState, SessionState, StreamType};

#[derive(Clone, Debug)]
pub struct SessionView {
    pub age: Duration,
    pub beats: u32,
    pub card: Arc<SessionContext>,
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
    /// The source of its beats: `timer` or `renewals`.
    pub paced_by: &'static str,
    /// Playbacks that share the session, oldest first, where the authority counts devices.
    pub playbacks: Vec<SessionView>,
    /// The player's last reported state, if it reports.
    pub player: Option<&'static str>,
    /// True if the player has got a license or media.
    pub served: bool,
    pub state: &'static str,
    /// `live` or `vod`, if known.
    pub stream: Option<&'static str>,
    pub timeline: Timeline,
}

impl SessionView {
    pub(super) fn of(playback: &Playback<SessionEntry>, now: Instant, wall: Duration) -> Self {
        let session = &playback.session;
        let next_beat = match (session.state(), session.beats()) {
            (SessionState::Live { beat }, BeatSource::Timer) => Some(beat.saturating_duration_since(now)),
            (_, BeatSource::Renewals { .. } | BeatSource::Timer) => None,
        };
        let timeline = playback.card.timeline.clone();
        Self {
            age: wall.saturating_sub(playback.card.card.opened),
            beats: timeline.beats(),
            card: playback.card.card.clone(),
            connections_gone: session.alone_since().map(|since| now.saturating_duration_since(since)),
            id: playback.id,
            interval: session.interval(),
            key_sessions: playback.key_sessions(),
            last_good: timeline.confirmed().then(|| now.saturating_duration_since(session.last_good())),
            mirror: playback.card.mirror.clone(),
            next_beat,
            on_credit: session.on_credit().map(|since| now.saturating_duration_since(since)),
            opened: playback.card.card.opened,
            paced_by: match session.beats() {
                BeatSource::Renewals { .. } => "renewals",
                BeatSource::Timer => "timer",
            },
            playbacks: Vec::new(),
            player: session.playing().map(playing_name),
            served: session.is_served(),
            state: state_name(session.state()),
            stream: session.stream().map(|stream| match stream {
                StreamType::Live => "live",
                StreamType::Vod => "vod",
            }),
            timeline,
        }
    }
}

fn playing_name(playing: PlayingState) -> &'static str {
    match playing {
        PlayingState::Buffers => "buffers",
        PlayingState::Done => "done",
        PlayingState::Fails => "fails",
        PlayingState::Paused => "paused",
        PlayingState::Plays => "plays",
        PlayingState::Quit => "quit",
        PlayingState::Seeks => "seeks",
        PlayingState::Unsaid => "reports",
    }
}

/// All states by name; [`state_place`] gives a session's index.
pub(super) const STATES: [&str; 8] = ["closed", "closing", "failing", "killed", "live", "opening", "owing", "waiting"];

pub(super) fn state_place(state: &SessionState) -> usize {
    match state {
        SessionState::Closed { .. } => 0,
        SessionState::Closing { .. } => 1,
        SessionState::Failing { .. } => 2,
        SessionState::Killed { .. } => 3,
        SessionState::Live { .. } => 4,
        SessionState::Opening { held: false, .. } => 5,
        SessionState::Owing { .. } => 6,
        SessionState::Opening { held: true, .. } => 7,
    }
}

pub(super) fn state_name(state: &SessionState) -> &'static str {
    STATES.get(state_place(state)).copied().unwrap_or_default()
}
