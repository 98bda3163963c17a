//! Counts the requests for media by their kind and outcome.

use super::MediaCall;
use crate::gateway::Gateway;
use crate::gateway::route::GatewayRoute;
use crate::telemetry::MediaLabels;

/// The kind of a request for media; a label of its metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MediaKind {
    Manifest,
    /// Neither a manifest nor recognised as media.
    Other,
    Segment,
}

/// Outcome of a request for media; a label of its metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MediaOutcome {
    /// A killed live playlist was ended behind the last segment that its player knows.
    Ended,
    Failed,
    Passed,
    Refused,
    Slate,
}

impl MediaKind {
    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Other => "other",
            Self::Segment => "segment",
        }
    }
}

impl MediaOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Slate => "slate",
        }
    }
}

impl Gateway {
    pub(super) fn count_media(&self, route: &GatewayRoute, kind: MediaKind, outcome: MediaOutcome) {
        let labels = MediaLabels { kind: kind.name(), outcome: outcome.name(), route: route.path.clone() };
        self.telemetry.metrics.media_request(&labels);
    }
}

impl MediaCall<'_> {
    pub(super) fn count(&self, kind: MediaKind, outcome: MediaOutcome) {
        self.gateway.count_media(self.route, kind, outcome);
    }
}
