//! Reports that players are served: to the log and, with `Type=notify`, to systemd.

use std::net::SocketAddr;

use sd_notify::NotifyState;

use crate::edge::BoundAddress;

/// Reports that this process serves players and that its predecessor has handed over.
pub(super) fn tell_ready() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::warn!(%fault, "the service manager cannot be told");
    }
}

/// Logs the addresses. By then all of them are served, so a reader of these lines may call at once.
pub(super) fn say_addresses(players: &[BoundAddress], admin: Option<SocketAddr>) {
    for bound in players {
        let scheme = if bound.tls { "https" } else { "http" };
        tracing::info!("players: {scheme}://{}", bound.address);
    }
    if let Some(address) = admin {
        tracing::info!("admin: http://{address}");
    }
}
