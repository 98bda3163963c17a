//! Finds the recipient of an answer when the playback that asked is forgotten.

use super::super::grant::AskKind;
use super::super::input::Input;
use super::Device;
use crate::session_id::SessionId;

impl<C> Device<C> {
    /// The answer to a renewal belongs to its session. The calling playback may have been stopped meanwhile, and have
    /// made room for another one of the same content.
    pub fn addressee(&self, id: SessionId, input: &Input) -> SessionId {
        if self.playback(id).is_some() || !matches!(input, Input::Answered(_, AskKind::Renew, _)) {
            return id;
        }
        self.playbacks.iter().find(|p| p.renewed_by == Some(id)).map_or(id, |session| session.id)
    }
}
