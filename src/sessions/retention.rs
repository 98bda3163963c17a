//! What is kept of sessions, and how many: a session that is over leaves fingerprints and names behind, no token.
//!
//! Playbacks that are over are remembered for a while, so that whoever still asks gets the same answer. Each
//! device has a bound of its own (`session`); here is the one for all. The oldest goes first, and is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Sessions;
use super::device_table::SessionEntry;
use super::session_context::SessionContext;
use crate::session::{Device, RetentionClass};

/// Playbacks that ended or were refused; and, apart from them, those that were killed.
pub const MAX_ENDED_SESSIONS_REMEMBERED: usize = if cfg!(test) { 512 } else { 262_144 };
/// Those that were killed because their place went to another device: a household does that by itself.
pub const MAX_REPLACED_SESSIONS_REMEMBERED: usize = if cfg!(test) { 256 } else { 65_536 };
/// Steps are many: each needs to look at a few only.
const MAX_REMEMBERED_EXAMINED_PER_STEP: usize = 4;

/// How many of a kind are remembered.
pub(super) const fn most(kind: RetentionClass) -> usize {
    match kind {
        RetentionClass::Ended | RetentionClass::Killed => MAX_ENDED_SESSIONS_REMEMBERED,
        RetentionClass::Replaced => MAX_REPLACED_SESSIONS_REMEMBERED,
    }
}

/// Of a playback that is over nobody needs the token any more.
pub(super) fn drop_tokens(device: &mut Device<SessionEntry>) {
    for playback in device.playbacks_mut() {
        if playback.card.card.token.is_some() && !playback.session.may_need_token() {
            playback.card.card = Arc::new(playback.card.card.without_token());
            playback.card.record = None;
        }
    }
}

impl SessionContext {
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }
}

impl Sessions {
    /// How many playbacks may go on at a time; those that do stay.
    pub fn bound(&self, max_active: usize) {
        self.max_active.store(max_active, Ordering::Relaxed);
    }

    pub(super) fn has_room(&self) -> bool {
        self.index.active() < self.max_active.load(Ordering::Relaxed)
    }

    /// Forgets the oldest of what is remembered beyond its bound. No device's lock is held.
    pub(super) fn displace_surplus(self: &Arc<Self>) {
        for _ in 0..MAX_REMEMBERED_EXAMINED_PER_STEP {
            let Some((kind, key, id)) = self.index.surplus() else { return };
            self.step_seat(key, |seat, out| seat.device.displace(id, kind, out));
        }
    }
}
