//! Ties connections to the devices that they serve, so that the sessions of a device learn of its last one's end.

use super::Gateway;
use super::route::Route;
use crate::edge::{Held, Peer};
use crate::sessions::{DeviceKey, Tie};

/// A device's connection, left with the edge.
impl Held for Tie {
    fn let_go(self: Box<Self>) {
        Self::let_go(*self);
    }
}

impl Gateway {
    /// The connection serves this device from now on; its end will be told.
    pub(super) fn tie(&self, route: &Route, peer: &Peer, key: Option<DeviceKey>) {
        if let Some(key) = key.filter(|_| route.config.endings.connections_gone.is_some()) {
            peer.ties.hold(key.number(), || self.sessions.tie(key));
        }
    }
}
