//! Counts license calls at the license server, for sessions whose slot is provisional until one of them is accepted.

use std::sync::Arc;

use super::Sessions;
use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::session::{EndReason, Input};
use crate::store::DialectName;

/// A license call at the license server. When the last one of a session is dropped and its player has got nothing,
/// the session gives its slot back at once, however the call ended.
pub struct CallGuard {
    id: SessionId,
    key: DeviceKey,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// Counts a call. `None` if the authority's decision is final, and for a registered playback: it was vouched for,
    /// and its media may flow though its license is declined.
    pub fn guard_call(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<CallGuard> {
        self.table.with(key, |seat| {
            let playback = seat.device.playback_mut(id)?;
            let card = &playback.card.card;
            if card.dialect != DialectName::Embedded || card.registration.is_some() {
                return None;
            }
            playback.card.calls_in_flight += 1;
            Some(())
        })?;
        Some(CallGuard { id, key, sessions: Arc::clone(self) })
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let Self { id, key, sessions } = self;
        let came_to_nothing = sessions.table.with(*key, |seat| {
            seat.device.playback_mut(*id).is_some_and(|playback| {
                playback.card.calls_in_flight -= 1;
                playback.card.calls_in_flight == 0 && playback.session.is_active() && playback.session.is_unused()
            })
        });
        if came_to_nothing {
            sessions.deliver(*key, *id, Input::End(EndReason::Unused));
        }
    }
}
