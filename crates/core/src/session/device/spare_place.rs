//! Finds the place beside the playing ones, to which no playback has a right.

use super::super::policy::Policy;
use super::Device;
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

impl<C> Device<C> {
    /// The likely preload: another device may take its place if it needs one.
    pub fn spare(&self, policy: &Policy) -> Option<SessionId> {
        let playing = self.playing();
        let newest = playing.last().filter(|_| playing.len() > policy.sessions_per_device)?;
        let preload = playing.iter().rfind(|p| p.session.life().preloads()).unwrap_or(newest);
        (!preload.session.life().plays()).then_some(preload.id)
    }

    /// True if a call waits for it, or for its license; its place is not available until that has gone on.
    pub fn is_awaited(&self, id: SessionId, now: MonotonicTime) -> bool {
        self.playback(id).is_some_and(|p| p.is_awaited(now))
    }

    /// The playback that is being opened beside the playing ones, and may be a preload: [`Self::spare`] once it is
    /// open.
    pub fn coming_spare(&self, policy: &Policy) -> Option<SessionId> {
        let is_full = self.playing().len() >= policy.sessions_per_device;
        self.alone()
            .find(|p| p.session.is_active() && !p.session.is_held() && !p.plays_on())
            .filter(|_| is_full)
            .map(|p| p.id)
    }
}
