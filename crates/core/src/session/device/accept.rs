//! Teaches a device's playbacks from accepted calls: their tokens, key session, content and turns.
//!
//! Anybody can send a call that names another's device and content, so nothing is learned before acceptance.

use super::super::playback::Playback;
use super::super::player_call::{CallKind, PlayerCall};
use super::Device;
use crate::secret::Fingerprint;
use crate::session_id::SessionId;

impl<C> Device<C> {
    /// The license server gave a license to this call of the playback.
    pub fn accept(&mut self, id: SessionId, call: &PlayerCall) {
        // Any caller gets a certificate, and a release may belong to an earlier playback.
        if !matches!(call.kind, CallKind::License | CallKind::Renewal) {
            return;
        }
        let tokens = [call.token, call.content_token.filter(|token| call.token != Some(*token))];
        if let Some(playback) = self.playback_mut(id) {
            playback.names.learn(call);
            tokens.into_iter().flatten().for_each(|token| self.learn_token(id, token));
        }
    }

    /// Adds this token of a call to the playback. A token has one playback; a token of another one is only shared.
    pub(super) fn learn_token(&mut self, id: SessionId, token: Fingerprint) {
        let is_anothers = self.playbacks.iter().any(|p| p.id != id && p.keeps(token));
        let Some(playback) = self.playback_mut(id) else { return };
        if is_anothers {
            playback.share_token(token);
        } else if !playback.keeps(token) {
            playback.learn_token(token);
        }
    }

    /// The authority renewed a license by this call. It sees no content token, so the names in the call are believed
    /// only if its key session is known, or its token was accepted before.
    pub fn accept_renewal(&mut self, id: SessionId, call: &PlayerCall) {
        let is_its_own = |playback: &mut Playback<C>| {
            let has_key_session = call.key_session.is_some_and(|key| playback.names.has_key_session(key));
            has_key_session || call.token.is_some_and(|token| playback.answers_to(token))
        };
        if self.playback_mut(id).is_some_and(is_its_own) {
            self.accept(id, call);
        }
    }
}
