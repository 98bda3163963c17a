//! Bounds the memory of sessions that are over: they leave fingerprints and names, but no token.
//!
//! They are remembered for a while, so that late calls get the same answer. Each device has a bound of its own
//! (`session`); this is the bound for all. The oldest goes first, and is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Sessions;
use super::device_table::SessionEntry;
use super::session_context::SessionContext;
use crate::session::{Device, RetentionClass};

/// Remembered playbacks that ended or were refused. The same number holds for killed ones.
pub const MAX_ENDED_SESSIONS_REMEMBERED: usize = if cfg!(test) { 512 } else { 262_144 };
/// Remembered playbacks that were killed because another device took their slot, as a household does by itself.
pub const MAX_REPLACED_SESSIONS_REMEMBERED: usize = if cfg!(test) { 256 } else { 65_536 };
/// Each step needs to examine only a few, because there are many steps.
const MAX_REMEMBERED_EXAMINED_PER_STEP: usize = 4;

/// Bound of a retention class.
pub(super) const fn most(kind: RetentionClass) -> usize {
    match kind {
        RetentionClass::Ended | RetentionClass::Killed => MAX_ENDED_SESSIONS_REMEMBERED,
        RetentionClass::Replaced => MAX_REPLACED_SESSIONS_REMEMBERED,
    }
}

/// Drops the content tokens of playbacks that no longer need them.
pub(super) fn drop_tokens(device: &mut Device<SessionEntry>) {
    for playback in device.playbacks_mut() {
        if playback.entry.context.token.is_some() && !playback.session.may_need_token() {
            playback.entry.change_context(Arc::new(playback.entry.context.without_token()));
        }
    }
}

impl SessionContext {
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }
}

impl Sessions {
    /// Changes the bound of running playbacks. Those that run stay.
    pub fn bound(&self, max_active: usize) {
        self.max_active.store(max_active, Ordering::Relaxed);
    }

    pub(super) fn has_room(&self) -> bool {
        self.index.active() < self.max_active.load(Ordering::Relaxed)
    }

    /// Forgets the oldest sessions beyond their bound. Call it without a device's lock.
    pub(super) fn displace_surplus(self: &Arc<Self>) {
        for _ in 0..MAX_REMEMBERED_EXAMINED_PER_STEP {
            let Some((kind, key, id)) = self.index.surplus() else { return };
            self.step_seat(key, |entry, out| entry.device.displace(id, kind, out));
        }
    }
}
