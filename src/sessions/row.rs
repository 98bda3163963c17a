//! One session as an operator sees it: what the admin listener lists and counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::card::Card;
use super::table::Kept;
use super::timeline::Timeline;
use crate::eme::Mirror;
use crate::ids::SessionId;
use crate::session::{Beats, Playback, Playing, State, Stream};

#[derive(Clone, Debug)]
pub struct Row {
    pub age: Duration,
    pub beats: u32,
    pub card: Arc<Card>,
    /// Since the last connection of its player ended.
    pub connections_gone: Option<Duration>,
    pub id: SessionId,
    pub interval: Option<Duration>,
    pub key_sessions: usize,
    /// Since the authority last confirmed it; none before it first did.
    pub last_good: Option<Duration>,
    /// Its key sessions as the wire shows them.
    pub mirror: Mirror,
    /// Until our next beat; none while the player's renewals are the beats.
    pub next_beat: Option<Duration>,
    /// For how long it has played without the authority's word.
    pub on_credit: Option<Duration>,
    /// Wall time since the epoch.
    pub opened: Duration,
    /// Who keeps it alive: `timer` or `renewals`.
    pub paced_by: &'static str,
    /// Those that share the session, oldest first, where its authority counts devices.
    pub playbacks: Vec<Row>,
    /// What the player last said of itself, if it reports.
    pub player: Option<&'static str>,
    /// Whether anything has reached its player that it can play by.
    pub served: bool,
    pub state: &'static str,
    /// `live` or `vod`, if anybody says.
    pub stream: Option<&'static str>,
    pub timeline: Timeline,
}

impl Row {
    pub(super) fn of(playback: &Playback<Kept>, now: Instant, wall: Duration) -> Self {
        let session = &playback.session;
        let next_beat = match (session.state(), session.beats()) {
            (State::Live { beat }, Beats::Timer) => Some(beat.saturating_duration_since(now)),
            (_, Beats::Renewals { .. } | Beats::Timer) => None,
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
                Beats::Renewals { .. } => "renewals",
                Beats::Timer => "timer",
            },
            playbacks: Vec::new(),
            player: session.playing().map(playing_name),
            served: session.is_served(),
            state: state_name(session.state()),
            stream: session.stream().map(|stream| match stream {
                Stream::Live => "live",
                Stream::Vod => "vod",
            }),
            timeline,
        }
    }
}

fn playing_name(playing: Playing) -> &'static str {
    match playing {
        Playing::Buffers => "buffers",
        Playing::Done => "done",
        Playing::Fails => "fails",
        Playing::Paused => "paused",
        Playing::Plays => "plays",
        Playing::Quit => "quit",
        Playing::Seeks => "seeks",
        Playing::Unsaid => "reports",
    }
}

/// Every state by its name; [`state_place`] tells which one a session is in.
pub(super) const STATES: [&str; 8] = ["closed", "closing", "failing", "killed", "live", "opening", "owing", "waiting"];

pub(super) fn state_place(state: &State) -> usize {
    match state {
        State::Closed { .. } => 0,
        State::Closing { .. } => 1,
        State::Failing { .. } => 2,
        State::Killed { .. } => 3,
        State::Live { .. } => 4,
        State::Opening { held: false, .. } => 5,
        State::Owing { .. } => 6,
        State::Opening { held: true, .. } => 7,
    }
}

pub(super) fn state_name(state: &State) -> &'static str {
    STATES.get(state_place(state)).copied().unwrap_or_default()
}
