//! The known tokens, and their meaning.
//!
//! This module owns the tables of `e`, `ot`, `sf` and `sta` (CTA-5004-B; version 1 has a part of `ot` and `sf`). Any
//! other token means nothing, except for an event: an unknown event still proves that the player lives. `report` calls
//! it.

/// `e`: the event that made a player report.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CmcdEvent {
    Background,
    ContentId,
    Error,
    /// The regular report, every 30 s unless the page says otherwise.
    Interval,
    /// An unknown event; it counts as a sign of life.
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

/// `sf`: the packaging of the content.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CmcdFormat {
    Dash,
    Hls,
    /// Another format, including `e` of version 2.
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

/// `ot`: the kind of the requested object.
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
    /// True if the buffer of such an object shows the playhead.
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

/// `sta`: the state of the player; version 2 only.
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

/// `st`: true for live content, including low latency (`ll`).
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
    fn an_unknown_event_is_still_an_event() {
        let known = ["b", "c", "e", "pr", "ps", "rr", "t"].map(CmcdEvent::from_token);
        assert!(!known.contains(&CmcdEvent::Other));
        for other in ["bc", "m", "um", "pe", "as", "sk", "ce", "h", "new", ""] {
            assert_eq!(CmcdEvent::from_token(other), CmcdEvent::Other);
        }
    }

    #[test]
    fn three_object_kinds_show_the_playhead() {
        let objects = ["m", "a", "v", "av", "i", "c", "tt", "k", "o"];
        let media: Vec<_> = objects
            .into_iter()
            .filter(|token| CmcdObject::from_token(token).is_some_and(CmcdObject::is_media))
            .collect();
        assert!(objects.into_iter().all(|token| CmcdObject::from_token(token).is_some()));
        assert_eq!(media, ["a", "v", "av"]);
    }
}
