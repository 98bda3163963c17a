//! Ties connections to the devices that they serve, so that the sessions of a device learn of its last one's end.

use super::Gateway;
use super::route::GatewayRoute;
use crate::edge::{ConnectionScoped, Peer};
use crate::sessions::{ConnectionGuard, DeviceKey};

/// A device's connection, left with the edge.
impl ConnectionScoped for ConnectionGuard {
    fn let_go(self: Box<Self>) {
        Self::let_go(*self);
    }
}

impl Gateway {
    /// The connection serves this device from now on; its end will be told.
    pub(super) fn tie(&self, route: &GatewayRoute, peer: &Peer, key: Option<DeviceKey>) {
        if let Some(key) = key.filter(|_| route.config.endings.connections_gone.is_some()) {
            peer.ties.hold(key.number(), || self.sessions.tie(key));
        }
    }
}
