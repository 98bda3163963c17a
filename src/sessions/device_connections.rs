//! Which devices have a connection: the last one's end is told to the device's playbacks.
//!
//! A tie stands for one connection that serves one device. The gateway leaves it with the connection.

use std::sync::Arc;

use super::Sessions;
use super::session_context::DeviceKey;

/// One connection of a device, until it is dropped.
pub struct ConnectionGuard {
    key: DeviceKey,
    /// Its end is our doing, and no evidence.
    ours: bool,
    sessions: Arc<Sessions>,
}

impl ConnectionGuard {
    /// The connection ends from our side: its device is not told.
    pub fn let_go(mut self) {
        self.ours = true;
    }
}

impl Sessions {
    /// A connection begins to serve this device.
    pub fn tie(self: &Arc<Self>, key: DeviceKey) -> ConnectionGuard {
        self.count(key, true, |connections| *connections += 1);
        ConnectionGuard { key, ours: false, sessions: Arc::clone(self) }
    }

    /// `tells`: whether the first and the last one are news to the device. Under the device's lock, so that an end and a beginning cannot overtake each other.
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
