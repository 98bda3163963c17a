//! Counts the connections and the license calls that concern a device.
//!
//! The gateway leaves a [`ConnectionGuard`] with each connection that serves the device; when the last one ends, its
//! playbacks are told. A [`CallGuard`] stands for a license call at the license server, for sessions whose slot is
//! provisional until one of them is accepted.

use std::sync::Arc;

use super::Sessions;
use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::session::{EndReason, Input};
use crate::store::DialectName;

/// Counts one connection of a device until it is dropped.
pub struct ConnectionGuard {
    key: DeviceKey,
    /// True if we ended the connection, which is no evidence.
    ours: bool,
    sessions: Arc<Sessions>,
}

impl ConnectionGuard {
    /// Uncounts a connection that we ended; the device's playbacks are not told.
    pub fn let_go(mut self) {
        self.ours = true;
    }
}

impl Sessions {
    /// Counts a connection that begins to serve this device.
    pub fn guard(self: &Arc<Self>, key: DeviceKey) -> ConnectionGuard {
        self.count(key, true, |connections| *connections += 1);
        ConnectionGuard { key, ours: false, sessions: Arc::clone(self) }
    }

    /// Changes the count. With `tells` the playbacks are told of the first connection and of the end of the last.
    /// Done under the device's lock, so that an end and a beginning cannot overtake each other.
    fn count(self: &Arc<Self>, key: DeviceKey, tells: bool, change: impl FnOnce(&mut usize)) {
        self.with_seat(key, |entry, out| {
            let before = entry.connections;
            change(&mut entry.connections);
            let connected = entry.connections > 0;
            if tells && connected != (before > 0) {
                let policy = |kept: &super::SessionEntry| kept.context.policy();
                entry.device.connected(self.clock.now().into(), connected, policy, out);
            }
        });
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.sessions.count(self.key, !self.ours, |connections| *connections -= 1);
    }
}

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
        self.table.with(key, |entry| {
            let playback = entry.device.playback_mut(id)?;
            let context = &playback.entry.context;
            if context.dialect != DialectName::Embedded || context.registration.is_some() {
                return None;
            }
            playback.entry.rare_mut().calls_in_flight += 1;
            Some(())
        })?;
        Some(CallGuard { id, key, sessions: Arc::clone(self) })
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let Self { id, key, sessions } = self;
        let came_to_nothing = sessions.table.with(*key, |entry| {
            entry.device.playback_mut(*id).is_some_and(|playback| {
                let calls_in_flight = &mut playback.entry.rare_mut().calls_in_flight;
                *calls_in_flight -= 1;
                *calls_in_flight == 0 && playback.session.is_active() && playback.session.is_unused()
            })
        });
        if came_to_nothing {
            sessions.deliver(*key, *id, Input::End(EndReason::Unused));
        }
    }
}
