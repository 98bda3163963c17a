//! Admits a new connection: takes its place among all connections, and its address's share.

use std::net::IpAddr;
use std::sync::Arc;

use super::address_limits::{AddressKey, AddressResource, AddressShare};
use super::connection_state::ConnectionState;
use super::counters::{add, take};
use super::permit_pool::Permit;
use super::shared::EdgeShared;

/// The place of an open connection among all, its address's share, and its count in the gauge.
pub(super) struct ConnectionPlace {
    pub(super) line: Arc<ConnectionState>,
    share: Option<AddressShare>,
    shared: Arc<EdgeShared>,
}

impl ConnectionPlace {
    /// Takes a place. If all are taken, the longest-idle connection gives its own. `None` if the connection must be
    /// closed; that is counted and logged here.
    pub(super) fn take(shared: &Arc<EdgeShared>, address: IpAddr) -> Option<Self> {
        let share = share_of(shared, address)?;
        let Some(permit) = shared.connections.enter().or_else(|| shared.make_room()) else {
            add(&shared.counters.refused_connections);
            log_refused(shared, address, "connections");
            return None;
        };
        let line = Arc::new(ConnectionState::new(Arc::clone(&shared.registry)));
        line.occupy(permit);
        line.await_request(shared.unanswered.enter());
        shared.registry.admit(&line, shared.connections.inside());
        add(&shared.counters.open);
        Some(Self { line, share, shared: Arc::clone(shared) })
    }

    /// Moves the connection to the viewer that a trusted proxy named. False if that address has its full share.
    pub(super) fn belongs_to(&mut self, viewer: IpAddr) -> bool {
        if self.share.is_none() {
            let Some(share) = share_of(&self.shared, viewer) else { return false };
            self.share = share;
        }
        true
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        drop(self.line.vacate());
        self.line.await_nothing();
        self.shared.spare_descriptors.refill();
        take(&self.shared.counters.open);
    }
}

/// Takes the address's share of connections and of new ones. A trusted proxy needs none, because it calls for many.
/// `None` if the address has its full share; that is counted and logged here.
fn share_of(shared: &Arc<EdgeShared>, address: IpAddr) -> Option<Option<AddressShare>> {
    if shared.forwarding.load().trusts(address) {
        return Some(None);
    }
    if !shared.addresses.arrive(address, shared.clock.now()) {
        add(&shared.counters.refused_connections);
        log_refused(shared, address, AddressResource::ConnectionRate.label());
        return None;
    }
    let share = shared.addresses.take(address, AddressResource::Connections, 1);
    if share.is_none() {
        add(&shared.counters.refused_connections);
        log_refused(shared, address, "connections_per_address");
    }
    share.map(Some)
}

fn log_refused(shared: &EdgeShared, address: IpAddr, limit: &'static str) {
    let address = AddressKey::of(address);
    if shared.may_log(limit, address) {
        tracing::info!(limit, peer = %address, "closed a new connection at once");
    }
}

impl EdgeShared {
    /// Tells the longest-idle connection to close, and returns its place.
    pub(super) fn make_room(&self) -> Option<Permit> {
        let permit = self.registry.evict()?;
        add(&self.counters.evicted);
        // After a reload with a lower limit there may be more connections than allowed.
        self.connections.is_within_bounds().then_some(permit)
    }
}
