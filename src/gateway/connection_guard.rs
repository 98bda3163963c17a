//! Ties connections to the devices that they serve, so that a device's sessions learn when its last connection
//! closes.

use super::Gateway;
use super::route::GatewayRoute;
use crate::edge::{ConnectionScoped, Peer};
use crate::sessions::{ConnectionGuard, DeviceKey};

/// Counts one connection of a device until the edge drops it.
impl ConnectionScoped for ConnectionGuard {
    fn let_go(self: Box<Self>) {
        Self::let_go(*self);
    }
}

impl Gateway {
    /// Counts the connection for this device until it closes.
    pub(super) fn guard(&self, route: &GatewayRoute, peer: &Peer, key: Option<DeviceKey>) {
        if let Some(key) = key.filter(|_| route.config.endings.connections_gone.is_some()) {
            peer.guards.hold(key.number(), || self.sessions.guard(key));
        }
    }
}
