//! Which devices have a connection: the last one's end is told to the device's playbacks.
//!
//! A tie stands for one connection that serves one device. The gateway leaves it with the connection.

use std::sync::Arc;

use super::Sessions;
use super::card::DeviceKey;

/// One connection of a device, until it is dropped.
pub struct Tie {
    key: DeviceKey,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// A connection begins to serve this device.
    pub fn tie(self: &Arc<Self>, key: DeviceKey) -> Tie {
        self.count(key, |connections| *connections += 1);
        Tie { key, sessions: Arc::clone(self) }
    }

    /// Under the device's lock, so that an end and a beginning cannot overtake each other.
    fn count(self: &Arc<Self>, key: DeviceKey, change: impl FnOnce(&mut usize)) {
        self.with_seat(key, |seat, out| {
            let before = seat.connections;
            change(&mut seat.connections);
            let connected = seat.connections > 0;
            if connected != (before > 0) {
                let policy = |kept: &super::Kept| kept.card.policy();
                seat.device.connected(self.clock.now(), connected, policy, out);
            }
        });
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.sessions.count(self.key, |connections| *connections -= 1);
    }
}
