//! Tracks whether a route's license server or origin can be reached: logs changes once, and counts retries.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::EndpointUrl;
use crate::telemetry::Telemetry;
use crate::upstream::{HeldOutcome, UpstreamFault};

#[derive(Debug, Default)]
pub(super) struct UpstreamReach {
    lost: AtomicBool,
}

impl UpstreamReach {
    /// Call after every call of the route to the server.
    pub(super) fn tell<T>(&self, telemetry: &Telemetry, route: &str, server: &EndpointUrl, held: &HeldOutcome<T>) {
        if held.again > 0 {
            telemetry.metrics.upstream_retries(route, held.again, held.outcome.is_ok());
        }
        match held.outcome.as_ref().err().filter(|fault| fault.was_not_processed()) {
            Some(why) => self.tell_loss(route, server, why),
            // Mostly the server was not lost, so only a load is needed.
            None if held.outcome.is_ok()
                && self.lost.load(Ordering::Relaxed)
                && self.lost.swap(false, Ordering::Relaxed) =>
            {
                tracing::info!(route, server = server.host_and_port(), "the server is reached again");
            }
            None => {}
        }
    }

    /// Call when a call begins to wait, so that an operator can read it meanwhile. Logs once until the server is
    /// reached again.
    pub(super) fn tell_loss(&self, route: &str, server: &EndpointUrl, why: &UpstreamFault) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            let server = server.host_and_port();
            tracing::warn!(route, server, %why, "the server cannot be reached: calls are held, and then fail");
        }
    }
}
