//! A string that must never be shown: a token, password or key.
//!
//! A secret has no readable `Debug` or `Display`. Code that needs the text calls [`Secret::expose`], so that every
//! use can be found. Cheap to clone, wiped with the last clone.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The text itself. Only for building an outgoing request or comparing; never for output.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if both are clones of one. Cheap, but false does not mean that the texts differ.
    pub fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Represents the secret in tables: equal texts have equal fingerprints, and the text cannot be computed from it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the texts differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// 64 bits of SHA-256: an identifier for correlation inside one process, not a proof. `None` takes no more room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "u64", into = "u64")]
pub struct Fingerprint(NonZeroU64);

impl Fingerprint {
    /// Zero stands for the largest number, which a digest begins with as seldom.
    pub const fn new(number: u64) -> Self {
        match NonZeroU64::new(number) {
            Some(number) => Self(number),
            None => Self(NonZeroU64::MAX),
        }
    }

    pub const fn get(self) -> u64 {
        self.0.get()
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut first = [0; 8];
        first.iter_mut().zip(sha256(parts)).for_each(|(to, from)| *to = from);
        Self::new(u64::from_be_bytes(first))
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new(0)
    }
}

impl From<u64> for Fingerprint {
    fn from(number: u64) -> Self {
        Self::new(number)
    }
}

impl From<Fingerprint> for u64 {
    fn from(print: Fingerprint) -> Self {
        print.get()
    }
}

/// SHA-256 over length-prefixed parts, so that `["ab", "c"]` and `["a", "bc"]` differ.
fn sha256(parts: &[&[u8]]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    /// Names and identifiers are shorter. They are put together on the stack, because a context is allocated.
    const MAX_STACK_BYTES: usize = 256;
    let mut buffer = [0; MAX_STACK_BYTES];
    let whole = match buffer.get_mut(..parts.iter().map(|part| size_of::<u64>() + part.len()).sum()) {
        Some(joined) => {
            join(parts, joined);
            let whole = digest::digest(&digest::SHA256, joined);
            joined.zeroize();
            whole
        }
        None => {
            let mut context = digest::Context::new(&digest::SHA256);
            for part in parts {
                context.update(&length(part));
                context.update(part);
            }
            context.finish()
        }
    };
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

fn length(part: &[u8]) -> [u8; size_of::<u64>()] {
    (part.len() as u64).to_be_bytes()
}

/// Writes the parts one after the other, each behind its length. They fit exactly.
fn join(parts: &[&[u8]], mut to: &mut [u8]) {
    for part in parts {
        for piece in [&length(part)[..], part] {
            let (place, rest) = std::mem::take(&mut to).split_at_mut(piece.len());
            place.copy_from_slice(piece);
            to = rest;
        }
    }
}

/// Makes text from the far side fit for logs and errors: at most 160 characters, no control
/// characters, and every run that is long enough to be a token replaced by `…`.
pub fn scrub(text: &str) -> String {
    const MAX_SCRUBBED_CHARS: usize = 160;
    const MIN_TOKEN_RUN_BYTES: usize = 32;
    let mut clean = String::new();
    for word in text.split_inclusive(|c: char| !is_token_character(c)) {
        let body = word.trim_end_matches(|c: char| !is_token_character(c));
        clean.push_str(if body.len() >= MIN_TOKEN_RUN_BYTES { "…" } else { body });
        clean.extend(word.get(body.len()..).unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    clean.chars().take(MAX_SCRUBBED_CHARS).collect()
}

/// Makes a name that a caller chose, such as a host, fit for a log line. It may be long, where [`scrub`] would take
/// it for a token.
pub fn clean_name(bytes: &[u8]) -> String {
    const MAX_CHARS: usize = 160;
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("eyJhbGciOi")), "Secret(…)");
    }

    #[test]
    fn fingerprints_depend_on_the_bounds_of_parts() {
        assert_ne!(Fingerprint::of_parts(&[b"ab", b"c"]), Fingerprint::of_parts(&[b"a", b"bc"]));
    }

    #[test]
    fn a_fingerprint_of_any_length_is_of_the_parts_behind_their_lengths() {
        let long = [b'x'; 300];
        for length in [0, 1, 231, 232, 233, 239, 240, 241, 300] {
            let (part, other) = (&long[..length], &b"other"[..]);
            let whole = [&(length as u64).to_be_bytes()[..], part, &5_u64.to_be_bytes(), other].concat();
            let whole = digest::digest(&digest::SHA256, &whole);
            let first = u64::from_be_bytes(whole.as_ref()[..8].try_into().unwrap());
            assert_eq!(Fingerprint::of_parts(&[part, other]), Fingerprint::new(first), "{length}");
        }
    }

    #[test]
    fn a_fingerprint_is_a_number_other_than_zero() {
        assert_eq!((size_of::<Option<Fingerprint>>(), Fingerprint::new(7).get()), (8, 7));
        assert_eq!(serde_json::to_string(&Fingerprint::new(7)).unwrap(), "7");
        for (written, read) in [("7", 7), ("0", u64::MAX), ("18446744073709551615", u64::MAX)] {
            assert_eq!(serde_json::from_str::<Fingerprint>(written).unwrap(), Fingerprint::new(read), "{written}");
        }
    }

    #[test]
    fn a_clean_name_is_bounded_and_has_no_control_characters() {
        let host = "https://a-rather-long-name.of-some-department.of-some-company.example:8443";
        assert_eq!(clean_name(host.as_bytes()), host);
        assert_eq!(clean_name(b"a\r\n\x1b[31mb\xff"), "a[31mb\u{fffd}");
        assert_eq!(clean_name(&[b'a'; 500]).len(), 160);
    }

    #[test]
    fn scrub_takes_tokens_and_controls_out() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnop";
        assert_eq!(scrub(&format!("bad token {token}, sorry\r\n")), "bad token …, sorry  ");
        assert_eq!(scrub("Not Found"), "Not Found");
        assert_eq!(scrub(&"a ".repeat(500)).chars().count(), 160);
    }
}
