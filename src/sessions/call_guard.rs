//! License calls at the license server, for sessions whose place is provisional until one of them is accepted.

use std::sync::Arc;

use super::Sessions;
use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::session::{EndReason, Input};
use crate::store::DialectName;

/// One license call at the license server. Dropped with the last one of a session whose player has got nothing, it
/// gives the session's place back at once, however the call ended.
pub struct CallGuard {
    id: SessionId,
    key: DeviceKey,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// None where the authority has decided for good, and for a playback that was registered: somebody vouched for it,
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
