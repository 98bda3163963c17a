//! Whether a route's license server or origin can be reached: told once when that changes, and counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::license::LicenseCall;
use super::license::upstream::LicenseServerFailure;
use crate::config::Endpoint;
use crate::telemetry::Telemetry;
use crate::upstream::{Fault, Held, Reply};

/// A reply that asks the player to come again comes no sooner than this after its call: hls.js then makes its 27 calls
/// one after the other and without a pause.
const COMES_AGAIN_MIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct UpstreamReach {
    lost: AtomicBool,
}

impl UpstreamReach {
    /// After every call of the route to the server.
    pub(super) fn tell<T>(&self, telemetry: &Telemetry, route: &str, server: &Endpoint, held: &Held<T>) {
        if held.again > 0 {
            telemetry.metrics.upstream_retries(route, held.again, held.outcome.is_ok());
        }
        match held.outcome.as_ref().err().filter(|fault| fault.was_not_processed()) {
            Some(why) => self.tell_loss(route, server, why),
            // Mostly it was not lost, and that is a look.
            None if held.outcome.is_ok()
                && self.lost.load(Ordering::Relaxed)
                && self.lost.swap(false, Ordering::Relaxed) =>
            {
                tracing::info!(route, server = server.host_and_port(), "the server is reached again");
            }
            None => {}
        }
    }

    /// When the first call that meets it begins to wait: an operator is to read it meanwhile. Once, until the server is
    /// reached again.
    pub(super) fn tell_loss(&self, route: &str, server: &Endpoint, why: &Fault) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            let server = server.host_and_port();
            tracing::warn!(route, server, %why, "the server cannot be reached: calls are held, and then fail");
        }
    }
}

impl LicenseCall<'_> {
    /// Asks the license server; a failure that may pass is told no sooner than is good for players that come again.
    pub(super) async fn ask_license_server(
        &self,
        authorization: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Reply, LicenseServerFailure> {
        let reply = self.forward(authorization).await;
        self.pace(&reply).await;
        reply
    }

    async fn pace(&self, reply: &Result<Reply, LicenseServerFailure>) {
        let comes_again = reply.as_ref().is_err_and(|failure| failure.comes_again().is_some());
        let began = self.deadline.checked_sub(self.route.limits.call);
        if let Some(began) = began.filter(|_| comes_again) {
            tokio::time::sleep_until((began + COMES_AGAIN_MIN).min(self.deadline).into()).await;
        }
    }
}
