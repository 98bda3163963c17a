//! Ids of playbacks and incidents. They are random, so that one reveals nothing about another.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::random::{RandomSource, random_u64, uuid};
pub use crate::session_id::SessionId;

/// Names a registered playback in players' URLs. Knowing it is enough to use the playback, so it cannot be guessed
/// and is never logged.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "[u8; 16]", into = "[u8; 16]")]
pub struct PlaybackId(u128);

impl From<[u8; 16]> for PlaybackId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl From<PlaybackId> for [u8; 16] {
    fn from(id: PlaybackId) -> Self {
        id.bytes()
    }
}

impl PlaybackId {
    pub fn random() -> Self {
        Self(u128::from(random_u64()) << 64 | u128::from(random_u64()))
    }

    /// The path segment with the id: `/~` and 32 hexadecimal digits.
    pub fn segment(self) -> String {
        format!("/~{:032x}", self.0)
    }

    /// Splits off the id at the beginning of a path below a route. The rest is empty or begins with `/`.
    pub fn strip(rest: &str) -> Option<(Self, &str)> {
        let (digits, rest) = rest.strip_prefix("/~")?.split_at_checked(32)?;
        let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !plain || !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        Some((Self(u128::from_str_radix(digits, 16).ok()?), rest))
    }

    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for PlaybackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaybackId(…)")
    }
}

/// Names one refusal, in the viewer's error and in our log, so that support can find it. Eight characters that are
/// not mistaken for each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Incident(pub u64);

/// Characters that are told apart over the phone (Crockford's base 32).
const INCIDENT_ALPHABET: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M', 'N', 'P',
    'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];
const INCIDENT_CHARS: usize = 8;

impl Incident {
    /// Has only as many bits as are shown, so that the text holds all of them.
    pub fn random() -> Self {
        Self(random_u64() & ((1 << (5 * INCIDENT_CHARS)) - 1))
    }

    /// Accepts exactly the shown form.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != INCIDENT_CHARS {
            return None;
        }
        let digit = |character| INCIDENT_ALPHABET.iter().position(|known| *known == character);
        let digits = text.chars().enumerate();
        let bits = digits.map(|(place, character)| Some((digit(character)? as u64) << (place * 5)));
        bits.sum::<Option<u64>>().map(Self)
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..INCIDENT_CHARS).try_for_each(|place| {
            let digit = (self.0 >> (place * 5)) & 31;
            fmt::Write::write_char(f, INCIDENT_ALPHABET.get(digit as usize).copied().unwrap_or('0'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_short_and_whole() {
        let id = SessionId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!(id.short().to_string(), "01234567");
    }

    #[test]
    fn a_playback_id_is_found_in_a_path_and_nowhere_else() {
        let id = PlaybackId(0xabc);
        let segment = id.segment();
        assert_eq!(PlaybackId::strip(&segment), Some((id, "")));
        assert_eq!(PlaybackId::strip(&format!("{segment}/a/b")), Some((id, "/a/b")));
        let upper = segment.to_uppercase();
        let longer = format!("{segment}0");
        for other in ["", "/", "/~stop", "/~report", &segment[1..], &segment[..30], &upper, &longer, "/~é"] {
            assert_eq!(PlaybackId::strip(other), None, "{other}");
        }
        assert_eq!(format!("{id:?}"), "PlaybackId(…)");
        assert_ne!(PlaybackId::random(), PlaybackId::random());
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let uuid = uuid();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
    }

    #[test]
    fn an_incident_has_eight_plain_characters() {
        assert_eq!(Incident(0).to_string(), "00000000");
        assert_eq!(Incident(u64::MAX).to_string(), "ZZZZZZZZ");
        let incident = Incident::random();
        assert_eq!(Incident::parse(&incident.to_string()), Some(incident));
        for other in ["", "0123456", "012345678", "0123456U", "0123456z", "0123456\u{e9}"] {
            assert_eq!(Incident::parse(other), None, "{other}");
        }
    }
}
