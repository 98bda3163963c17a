//! The place beside what plays, which is nobody's right.

use std::time::Instant;

use super::super::policy::Policy;
use super::Device;
use crate::session_id::SessionId;

impl<C> Device<C> {
    /// The one that is preloaded, as far as anybody knows: its place is another device's if that needs it.
    pub fn spare(&self, policy: &Policy) -> Option<SessionId> {
        let playing = self.playing();
        let newest = playing.last().filter(|_| playing.len() > policy.sessions_per_device)?;
        let preload = playing.iter().rfind(|p| p.session.life().preloads).unwrap_or(newest);
        (!preload.session.life().plays).then_some(preload.id)
    }

    /// Whether a call waits for it, or for its license: until that has gone on its place is not to be had.
    pub fn is_awaited(&self, id: SessionId, now: Instant) -> bool {
        self.playback(id).is_some_and(|p| p.is_awaited(now))
    }

    /// The one that is being opened beside what plays, and may be a preload: [`Self::spare`] when it is there.
    pub fn coming_spare(&self, policy: &Policy) -> Option<SessionId> {
        let is_full = self.playing().len() >= policy.sessions_per_device;
        self.alone()
            .find(|p| p.session.is_active() && !p.session.is_held() && !p.plays_on())
            .filter(|_| is_full)
            .map(|p| p.id)
    }
}
