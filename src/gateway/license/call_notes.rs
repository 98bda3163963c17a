//! Leaves the traces of a license call: counters, and what it tells of calls that nothing could be sent for.

use std::time::Duration;

use http::Response;

use super::outgoing::UnfitRequest;
use super::request::LicenseRequest;
use super::upstream::LicenseServerFailure;
use crate::edge::ReplyBody;
use crate::gateway::Gateway;
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::gateway::route::Route;
use crate::telemetry::{CallLabels, Outcome};

impl Gateway {
    pub(in crate::gateway) fn count(&self, route: &Route, request: &LicenseRequest, outcome: Outcome, took: Duration) {
        let metrics = &self.telemetry.metrics;
        let (drm, kind) = match &request.message {
            Ok(message) => (message.system.label(), message.kind.label()),
            Err(unrecognised) => {
                metrics.unrecognised(&route.path, unrecognised.label());
                ("unknown", "unknown")
            }
        };
        metrics.license_call(&CallLabels { drm, kind, outcome: outcome.name(), route: route.path.clone() }, took);
    }

    /// Nothing could be sent for it, so nothing is asked of anybody.
    pub(in crate::gateway) fn refuse_unfit(
        &self,
        route: &Route,
        unfit: UnfitRequest,
        caller: impl FnOnce() -> CallerNames,
    ) -> Response<ReplyBody> {
        if let UnfitRequest::Wrapping(misfit) = unfit {
            let failure = LicenseServerFailure::Misfit(misfit);
            self.telemetry.metrics.upstream_fault(&route.path, failure.name());
            return self.turn_away(route, (&caller(), None), &RefusalBody::by_failure(&failure), LicensePhase::License);
        }
        self.naming(unfit.reply(), caller)
    }
}
