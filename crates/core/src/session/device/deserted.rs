//! A playback whose callers have all gone while it waited for its turn.

use std::time::Instant;

use super::super::end_reason::EndReason;
use super::super::input::Input;
use super::super::policy::Policy;
use super::{Device, DeviceEffects};
use crate::session_id::SessionId;

impl<C> Device<C> {
    /// Nobody waits for it any more: it gives up its turn, unless its open has set out, which is seen through. False where
    /// there is no turn to give up.
    pub fn desert(&mut self, id: SessionId, now: Instant, policy: &Policy, out: &mut DeviceEffects) -> bool {
        // One that comes back plays: its media are signs of life, whether a call waits or not.
        let waits = self.alone().any(|p| p.id == id && p.session.is_held() && !p.session.returns());
        if waits {
            self.deliver(id, now, Input::End(EndReason::Abandoned), policy, out);
        }
        waits
    }
}
