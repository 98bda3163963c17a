//! Ends a playback whose callers have all gone while it waited for its turn.

use super::super::end_reason::EndReason;
use super::super::input::Input;
use super::super::policy::Policy;
use super::{Device, DeviceEffects};
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

impl<C> Device<C> {
    /// No call waits for it any more: it gives up its turn, unless its open was sent, which is completed. False if
    /// there is no turn to give up.
    pub fn desert(&mut self, id: SessionId, now: MonotonicTime, policy: &Policy, out: &mut DeviceEffects) -> bool {
        // A returning playback plays: its media are signs of life, with or without a waiting call.
        let waits = self.alone().any(|p| p.id == id && p.session.is_held() && !p.session.returns());
        if waits {
            self.deliver(id, now, Input::End(EndReason::Abandoned), policy, out);
        }
        waits
    }
}
