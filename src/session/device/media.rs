//! Which of a device's playbacks a request for media belongs to.
//!
//! Media have a path of their own, and a license call does not always name it: no HLS player can. So a playback and media
//! that came with the same content token are one playback, whichever came first. What an accepted call has shown to be
//! one stays one: the path becomes a name of the playback.

use std::time::{Duration, Instant};

use super::super::call::MediaNames;
use super::super::playback::Playback;
use super::super::verdict::Reason;
use super::Device;
use crate::ids::SessionId;
use crate::secret::Fingerprint;

/// Media without a content token may be those of a license that was given so long before.
const LICENSED_AHEAD: Duration = Duration::from_secs(60);

impl<C> Device<C> {
    /// The newest playback of this path. Where that is over, or there is none: the one of the same content token, if that
    /// goes on or was killed.
    pub fn playback_of_media(&self, names: &MediaNames) -> Option<&Playback<C>> {
        let newest = |fits: &dyn Fn(&Playback<C>) -> bool| self.playbacks.iter().rev().find(|p| fits(p));
        let own = newest(&|p| p.has_token(names.path));
        let Some(token) = names.content_token.filter(|_| own.is_none_or(|p| !p.goes_on() && !p.session.is_killed()))
        else {
            return own;
        };
        let is_killed = |p: &Playback<C>| p.session.killed_by().is_some_and(Reason::follows_token);
        let killed = newest(&|p| is_killed(p) && p.is_killed_by_name(token));
        killed.or_else(|| newest(&|p| p.has_token(token) && p.goes_on())).or(own)
    }

    /// These media are this playback's. Nothing is learned before one of its calls was accepted with their token: until
    /// then the token itself leads to it.
    pub fn fetches_media(&mut self, id: SessionId, names: &MediaNames) {
        let Some(playback) = self.playback_mut(id) else { return };
        if playback.has_token(names.path) || names.content_token.is_some_and(|token| playback.has_accepted(token)) {
            self.tie_media(id, names.path);
        }
    }

    /// The media of this path are this playback's.
    pub fn tie_media(&mut self, id: SessionId, path: Fingerprint) {
        let Some(playback) = self.playback_mut(id) else { return };
        playback.has_media = true;
        if playback.has_token(path) {
            playback.keep_path(path);
        } else {
            self.learn_token(id, path);
        }
    }

    /// The only playback that was given its license lately and has no media yet.
    pub fn waits_for_media(&self, now: Instant) -> Option<SessionId> {
        let waits = |p: &&Playback<C>| {
            let is_licensed = p.token.is_some_and(|token| p.has_accepted(token)) && p.session.is_served();
            let has_media = p.has_media || p.session.life.streams;
            is_licensed && !has_media && p.goes_on() && !p.is_device_session() && now < p.began + LICENSED_AHEAD
        };
        let mut waiting = self.playbacks.iter().filter(waits);
        waiting.next().filter(|_| waiting.next().is_none()).map(|p| p.id)
    }
}
