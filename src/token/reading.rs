//! Remembers what a thread has read from token texts: a session's calls bring the same text again and again.
//!
//! Only a thread that asked for it remembers ([`remember_readings`]), and it shares nothing with others. A reading
//! depends on its text alone, so neither keys nor configuration can make it wrong; verdicts about signatures are not
//! kept. A text is found by a keyed hash of 128 bits and then compared as a whole, so no reading ever answers for
//! another text, and no caller can learn a remembered text from the time that a comparison takes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{TokenClaims, token_list};
use crate::secret::{Fingerprint, Secret};

const MAX_READINGS: usize = 512;
/// All readings of one thread.
const MAX_READINGS_BYTES: usize = 2 * 1024 * 1024;
/// Longer texts are read anew each time.
const MAX_TEXT_BYTES: usize = TokenClaims::MAX_TOKEN_BYTES;
/// An entry of the tables, apart from its text and its claims.
const READING_BYTES: usize = 512;

thread_local! {
    static READINGS: RefCell<Option<TokenReadings>> = const { RefCell::new(None) };
}

/// The contents of one text. Most parts are read when they are first asked for.
pub(super) struct TokenReading {
    pub(super) ambiguous_alone: OnceCell<bool>,
    pub(super) ambiguous_naming_content: OnceCell<bool>,
    pub(super) asks_for_session: OnceCell<bool>,
    content: Option<(Range<usize>, TokenClaims)>,
    /// The `exp` of its claims, since the epoch.
    expires: Option<Duration>,
    pub(super) known_print: OnceCell<Fingerprint>,
    pub(super) other_prints: OnceCell<Arc<[Fingerprint]>>,
    text: Secret,
    /// Used since the last look for one to forget.
    used: Cell<bool>,
}

impl TokenReading {
    fn new(text: &str) -> Self {
        let content = token_list::read_content_token(text).map(|(token, claims)| {
            let start = token.as_ptr().addr() - text.as_ptr().addr();
            (start..start + token.len(), claims)
        });
        Self {
            ambiguous_alone: OnceCell::new(),
            ambiguous_naming_content: OnceCell::new(),
            asks_for_session: OnceCell::new(),
            expires: content.as_ref().and_then(|(_, claims)| claims.seconds("exp")),
            content,
            known_print: OnceCell::new(),
            other_prints: OnceCell::new(),
            text: Secret::new(text),
            used: Cell::new(false),
        }
    }

    /// The content token within `text`, which must be this reading's.
    pub(super) fn content_token<'a>(&self, text: &'a str) -> Option<(&'a str, TokenClaims)> {
        let (range, claims) = self.content.as_ref()?;
        Some((text.get(range.clone())?, claims.clone()))
    }

    fn bytes(&self) -> usize {
        let claims = self.content.as_ref().map_or(0, |(_, claims)| claims.bytes());
        READING_BYTES + self.text.expose().len() + claims
    }
}

impl TokenClaims {
    /// Estimate of the memory that the claims take.
    fn bytes(&self) -> usize {
        fn of(value: &Value) -> usize {
            /// A field's name and its share of a node.
            const FIELD_BYTES: usize = 96;
            size_of::<Value>()
                + match value {
                    Value::Array(items) => items.iter().map(of).sum(),
                    Value::Object(fields) => {
                        fields.iter().map(|(name, value)| FIELD_BYTES + name.len() + of(value)).sum()
                    }
                    Value::String(text) => text.len(),
                    Value::Bool(_) | Value::Null | Value::Number(_) => 0,
                }
        }
        of(&self.0)
    }
}

/// The readings of one thread.
#[derive(Default)]
struct TokenReadings {
    bytes: usize,
    /// The first `exp` among them; may be one of a forgotten reading.
    first_end: Option<Duration>,
    hashers: [foldhash::quality::RandomState; 2],
    known: HashMap<u128, Rc<TokenReading>, foldhash::fast::RandomState>,
    /// Oldest first; has each key of `known` once.
    order: VecDeque<u128>,
    /// Time since the epoch, as last told.
    wall: Duration,
}

impl TokenReadings {
    fn find(&mut self, text: &str) -> Rc<TokenReading> {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(text)));
        let key = high << 64 | low;
        let found = self.known.get(&key).filter(|known| known.text.expose() == text);
        if let Some(reading) = found {
            reading.used.set(true);
            return Rc::clone(reading);
        }
        let reading = Rc::new(TokenReading::new(text));
        if reading.expires.is_none_or(|end| end > self.wall) {
            self.insert(key, Rc::clone(&reading));
        }
        reading
    }

    fn insert(&mut self, key: u128, reading: Rc<TokenReading>) {
        if self.known.contains_key(&key) {
            // Another text has the same 128 bits.
            return;
        }
        self.bytes += reading.bytes();
        self.first_end = [self.first_end, reading.expires].into_iter().flatten().min();
        self.known.insert(key, reading);
        self.order.push_back(key);
        while self.known.len() > MAX_READINGS || self.bytes > MAX_READINGS_BYTES {
            self.forget_oldest();
        }
    }

    /// Gives each reading that was used meanwhile another round.
    fn forget_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else { return };
        if self.known.get(&key).is_some_and(|reading| reading.used.take()) {
            self.order.push_back(key);
        } else if let Some(reading) = self.known.remove(&key) {
            self.bytes -= reading.bytes();
        }
    }

    /// Forgets the tokens that have expired.
    fn pass_to(&mut self, wall: Duration) {
        self.wall = wall;
        if self.first_end.is_none_or(|end| end > wall) {
            return;
        }
        self.known.retain(|_, reading| reading.expires.is_none_or(|end| end > wall));
        self.order.retain(|key| self.known.contains_key(key));
        self.bytes = self.known.values().map(|reading| reading.bytes()).sum();
        self.first_end = self.known.values().filter_map(|reading| reading.expires).min();
    }
}

/// Has the calling thread remember what it reads from tokens.
pub fn remember_readings() {
    READINGS.with_borrow_mut(|readings| {
        readings.get_or_insert_default();
    });
}

/// Forgets the tokens of this thread that have expired at `wall`, the time since the epoch.
pub fn forget_expired(wall: Duration) {
    READINGS.with_borrow_mut(|readings| {
        if let Some(readings) = readings {
            readings.pass_to(wall);
        }
    });
}

/// The token as a secret; a clone of the remembered one, if there is one.
pub fn secret(text: &str) -> Secret {
    find(text).map_or_else(|| Secret::new(text), |reading| reading.text.clone())
}

/// The reading of this text; `None` in a thread that remembers none, or for a text that is too long.
pub(super) fn find(text: &str) -> Option<Rc<TokenReading>> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    READINGS.with_borrow_mut(|readings| readings.as_mut().map(|readings| readings.find(text)))
}

#[cfg(test)]
mod tests;
