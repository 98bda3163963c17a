//! Identifiers: sessions and incidents. Random, so that one tells nothing about another.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

/// Names one session for as long as this process or its store knows it.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The first eight digits: enough to find a session in a log.
    pub fn short(self) -> impl fmt::Display {
        struct Short(u64);
        impl fmt::Display for Short {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:08x}", self.0 >> 32)
            }
        }
        Short(self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Names one refusal, in the viewer's error and in our log, so that a caller on the phone can be
/// helped. Eight characters without the ones that are mistaken for each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Incident(pub u64);

impl Incident {
    pub fn random() -> Self {
        Self(random_u64())
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: [char; 32] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M',
            'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
        ];
        (0..8).try_for_each(|place| {
            let digit = (self.0 >> (place * 5)) & 31;
            fmt::Write::write_char(f, ALPHABET.get(digit as usize).copied().unwrap_or('0'))
        })
    }
}

/// Where the numbers come from: the system, or a simulation that must run the same way twice.
#[derive(Clone, Default)]
pub enum Chance {
    Given(Arc<dyn Fn() -> u64 + Send + Sync>),
    #[default]
    System,
}

impl Chance {
    pub fn draw(&self) -> u64 {
        match self {
            Self::Given(next) => next(),
            Self::System => random_u64(),
        }
    }
}

pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // The only failure is a system without a random source, where TLS could not start either.
    if rand::fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_be_bytes(bytes)
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
    fn an_incident_has_eight_plain_characters() {
        assert_eq!(Incident(0).to_string(), "00000000");
        assert_eq!(Incident(u64::MAX).to_string(), "ZZZZZZZZ");
    }
}
