//! Counts the connections of each device, and tells its playbacks when the last one ends.
//!
//! The gateway leaves a [`ConnectionGuard`] with each connection that serves the device.

use std::sync::Arc;

use super::Sessions;
use super::session_context::DeviceKey;

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
    pub fn tie(self: &Arc<Self>, key: DeviceKey) -> ConnectionGuard {
        self.count(key, true, |connections| *connections += 1);
        ConnectionGuard { key, ours: false, sessions: Arc::clone(self) }
    }

    /// Changes the count. With `tells` the playbacks are told of the first connection and of the end of the last.
    /// Done under the device's lock, so that an end and a beginning cannot overtake each other.
    fn count(self: &Arc<Self>, key: DeviceKey, tells: bool, change: impl FnOnce(&mut usize)) {
        self.with_seat(key, |seat, out| {
            let before = seat.connections;
            change(&mut seat.connections);
            let connected = seat.connections > 0;
            if tells && connected != (before > 0) {
                let policy = |kept: &super::SessionEntry| kept.card.policy();
                seat.device.connected(self.clock.now(), connected, policy, out);
            }
        });
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.sessions.count(self.key, !self.ours, |connections| *connections -= 1);
    }
}
