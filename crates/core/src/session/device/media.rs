//! Finds the playback of a device to which a request for media belongs.
//!
//! Media have a path of their own, and a license call does not always name it: no HLS player can. So a playback and
//! media with the same content token are one playback, in either order. Once an accepted call has shown this, the
//! playback keeps the path, apart from its names. A caller with only such a path can fetch media, but neither stop nor
//! control the playback.

use super::super::playback::Playback;
use super::super::player_call::MediaNames;
use super::super::session_kill::SessionKill;
use super::Device;
use crate::session_id::SessionId;

impl<C> Device<C> {
    /// The newest playback of this path. If that is over or missing: the one of the same content token, if that goes on
    /// or was killed.
    pub fn playback_of_media(&self, names: &MediaNames) -> Option<&Playback<C>> {
        let newest = |fits: &dyn Fn(&Playback<C>) -> bool| self.playbacks.iter().rev().find(|p| fits(p));
        let own = newest(&|p| p.has_token(names.path) || p.has_media_path(names.path));
        let Some(token) = names.content_token.filter(|_| own.is_none_or(|p| !p.goes_on() && !p.session.is_killed()))
        else {
            return own;
        };
        let is_killed = |p: &Playback<C>| p.session.killed_by().is_some_and(SessionKill::follows_token);
        let killed = newest(&|p| is_killed(p) && p.is_killed_by_name(token));
        killed.or_else(|| newest(&|p| p.has_token(token) && p.goes_on())).or(own)
    }

    /// These media are this playback's. The path is only learned once a call with their token was accepted; until then
    /// the token leads to the playback.
    pub fn fetches_media(&mut self, id: SessionId, names: &MediaNames) {
        let Some(playback) = self.playback_mut(id) else { return };
        let is_accepted = names.content_token.is_some_and(|token| playback.names.has_accepted(token));
        if is_accepted && !playback.has_token(names.path) {
            playback.names.learn_media_path(names.path);
        }
    }
}
