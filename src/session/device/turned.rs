//! License calls that were zapped away while they waited.
//!
//! Their players ask again by themselves within a second or so, and would zap back whoever zapped them.
//! A viewer who presses play again begins another key session, whose challenge is another one.

use std::time::Instant;

use super::super::call::{Call, CallKind};
use super::super::policy::Policy;
use crate::secret::Fingerprint;

/// More tabs than one device has.
const MOST: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Turned(Vec<Away>);

#[derive(Debug)]
struct Away {
    challenge: Option<Fingerprint>,
    key_session: Option<Fingerprint>,
    until: Instant,
}

impl Turned {
    pub(super) fn note(&mut self, now: Instant, call: &Call, policy: &Policy) {
        let Call { challenge, key_session, kind, .. } = *call;
        if kind != CallKind::License || challenge.or(key_session).is_none() {
            return;
        }
        self.0.retain(|away| now < away.until && !away.is_of(call));
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Away { challenge, key_session, until: now + policy.denial_memory });
    }

    /// Whether this is a retry of one of them; then it stays refused, however often its player asks.
    pub(super) fn is_retry(&mut self, now: Instant, call: &Call, policy: &Policy) -> bool {
        let known = call.kind == CallKind::License && self.0.iter().any(|away| now < away.until && away.is_of(call));
        if known {
            self.note(now, call, policy);
        }
        known
    }
}

impl Away {
    fn is_of(&self, call: &Call) -> bool {
        let same = |one: Option<Fingerprint>, other| one.is_some() && one == other;
        same(self.challenge, call.challenge) || same(self.key_session, call.key_session)
    }
}
