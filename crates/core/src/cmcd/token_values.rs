//! The tokens that carry a meaning here, and what each stands for.
//!
//! Owns the tables of `e`, `ot`, `sf` and `sta` (CTA-5004-B; version 1 has a part of `ot` and `sf`).
//! A token that is not in a table stands for nothing, except for an event: an unknown one still
//! shows that its player lives. Called by `report`.

/// What made a player report, `e`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CmcdEvent {
    Background,
    ContentId,
    Error,
    /// The regular report, every 30 s unless the page says otherwise.
    Interval,
    /// Known to nobody here; it counts as a sign of life.
    Other,
    PlayState,
    Rate,
    ResponseReceived,
}

impl CmcdEvent {
    pub(super) fn from_token(token: &str) -> Self {
        match token {
            "b" => Self::Background,
            "c" => Self::ContentId,
            "e" => Self::Error,
            "pr" => Self::Rate,
            "ps" => Self::PlayState,
            "rr" => Self::ResponseReceived,
            "t" => Self::Interval,
            _ => Self::Other,
        }
    }
}

/// How the content is packaged, `sf`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CmcdFormat {
    Dash,
    Hls,
    /// Neither, version 2's `e` included.
    Other,
    Smooth,
}

impl CmcdFormat {
    pub(super) fn from_token(token: &str) -> Option<Self> {
        Some(match token {
            "d" => Self::Dash,
            "h" => Self::Hls,
            "e" | "o" => Self::Other,
            "s" => Self::Smooth,
            _ => return None,
        })
    }
}

/// What is being requested, `ot`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CmcdObject {
    Audio,
    Caption,
    Init,
    Key,
    Manifest,
    Muxed,
    Other,
    TimedText,
    Video,
}

impl CmcdObject {
    /// Whether its buffer says where the player stands.
    pub fn is_media(self) -> bool {
        matches!(self, Self::Audio | Self::Muxed | Self::Video)
    }

    pub(super) fn from_token(token: &str) -> Option<Self> {
        Some(match token {
            "a" => Self::Audio,
            "av" => Self::Muxed,
            "c" => Self::Caption,
            "i" => Self::Init,
            "k" => Self::Key,
            "m" => Self::Manifest,
            "o" => Self::Other,
            "tt" => Self::TimedText,
            "v" => Self::Video,
            _ => return None,
        })
    }
}

/// What the player does, `sta`; version 2 only.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CmcdState {
    Ended,
    Failed,
    Paused,
    Playing,
    Preloading,
    Quit,
    Rebuffering,
    Seeking,
    Starting,
    Waiting,
}

impl CmcdState {
    pub(super) fn from_token(token: &str) -> Option<Self> {
        Some(match token {
            "a" => Self::Paused,
            "d" => Self::Preloading,
            "e" => Self::Ended,
            "f" => Self::Failed,
            "k" => Self::Seeking,
            "p" => Self::Playing,
            "q" => Self::Quit,
            "r" => Self::Rebuffering,
            "s" => Self::Starting,
            "w" => Self::Waiting,
            _ => return None,
        })
    }
}

/// Whether the content is live, `st`; low latency (`ll`) is.
pub(super) fn live(token: &str) -> Option<bool> {
    match token {
        "l" | "ll" => Some(true),
        "v" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_token() {
        let rows = [
            ("s", CmcdState::Starting),
            ("p", CmcdState::Playing),
            ("k", CmcdState::Seeking),
            ("r", CmcdState::Rebuffering),
            ("a", CmcdState::Paused),
            ("w", CmcdState::Waiting),
            ("e", CmcdState::Ended),
            ("f", CmcdState::Failed),
            ("q", CmcdState::Quit),
            ("d", CmcdState::Preloading),
        ];
        for (token, state) in rows {
            assert_eq!(CmcdState::from_token(token), Some(state));
        }
        for unknown in ["", "P", "pp", "?1"] {
            assert_eq!(CmcdState::from_token(unknown), None);
        }
    }

    #[test]
    fn an_unknown_event_is_still_one() {
        let known = ["b", "c", "e", "pr", "ps", "rr", "t"].map(CmcdEvent::from_token);
        assert!(!known.contains(&CmcdEvent::Other));
        for other in ["bc", "m", "um", "pe", "as", "sk", "ce", "h", "new", ""] {
            assert_eq!(CmcdEvent::from_token(other), CmcdEvent::Other);
        }
    }

    #[test]
    fn three_objects_say_where_the_player_stands() {
        let objects = ["m", "a", "v", "av", "i", "c", "tt", "k", "o"];
        let media: Vec<_> = objects
            .into_iter()
            .filter(|token| CmcdObject::from_token(token).is_some_and(CmcdObject::is_media))
            .collect();
        assert!(objects.into_iter().all(|token| CmcdObject::from_token(token).is_some()));
        assert_eq!(media, ["a", "v", "av"]);
    }
}
